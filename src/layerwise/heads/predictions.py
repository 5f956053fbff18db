"""What `predict` returns: the answers for all texts of a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from layerwise._util.display import count_of
from layerwise.read import Skipped
from layerwise.results import Result, Table


@dataclass(frozen=True, slots=True, repr=False)
class Predictions(Result):
    """The predictions for the texts of a source, in their order: `for prediction in predictions`, `predictions[0]`.

    `to_pandas()` has a row per text, and a column per key of the predictions.

    Attributes:
        answers: for each text what `layerwise predict` writes as a JSON line: `doc`, `id` when there is one, the kept
            columns, `empty` (which is true) for an empty text, and the answer.
        notices: what the user should know about the source.
        skipped: the bad records that were skipped.
    """

    answers: Sequence[dict[str, Any]]
    notices: Sequence[str] = ()
    skipped: Sequence[Skipped] = ()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)

    @overload
    def __getitem__(self, number: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[dict[str, Any]]: ...
    def __getitem__(self, number: int | slice) -> Any:
        return self.answers[number]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the predictions as JSON values."""
        return list(self.answers)

    def _lines(self) -> Sequence[str]:
        skipped = f", {count_of(len(self.skipped), 'record')} skipped" if self.skipped else ""
        first = f"the first: {self.answers[0]}" if self.answers else ""
        return [f"Predictions for {count_of(len(self), 'text')}{skipped}", *self.notices, first]

    def _table(self) -> Table:
        names = dict.fromkeys(name for answer in self.answers for name in answer)
        return {name: [answer.get(name) for answer in self.answers] for name in names}
