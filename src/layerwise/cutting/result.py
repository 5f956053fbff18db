"""What `cut` returns: what was written, and how far it is from the model that it was cut from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from layerwise.results import Estimate, Result, Table
from layerwise.wording import Message, messages_json


@dataclass(frozen=True, slots=True)
class DroppedScore:
    """The score of a label without some blocks, and with all of them, on the same rows and folds.

    Attributes:
        task, label, metric, rows: the task, its column, the metric, and the number of rows.
        without, whole: the scores, with intervals.
    """

    task: str
    label: str
    metric: str
    rows: int
    without: Estimate
    whole: Estimate


@dataclass(frozen=True, slots=True, repr=False)
class CutModel(Result):
    """A smaller model; returned by `lw.cut`.

    `to_pandas()` has the columns `name` and `value`.

    Attributes:
        out: the folder that was written.
        to: `folder`, `onnx` or `static`.
        at: the layer of the source that it ends at.
        dropped: the numbers of the blocks that were left out.
        blocks, width: the number of blocks, and of numbers per vector.
        parameters: the number of numbers of its weights.
        bytes: the size of the folder.
        source: name, revision, and hashes of the model that it was cut from.
        parity: the largest difference from the source, by what was compared, as a share of the largest number.
        outputs: with `onnx`, the names of the outputs.
        errors: with `int8`, the relative error of each output.
        score: with `drop` and `probe`, the score without the blocks.
        notes: what the user should know.
    """

    out: str
    to: str
    at: str
    dropped: tuple[int, ...]
    blocks: int
    width: int
    parameters: int
    bytes: int
    source: Mapping[str, Any]
    parity: Mapping[str, float]
    outputs: tuple[str, ...] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
    score: DroppedScore | None = None
    notes: tuple[Message, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        values = {
            name: getattr(self, name) for name in type(self).__slots__ if name not in ("score", "notes")
        }
        values |= {"dropped": list(self.dropped), "outputs": list(self.outputs)}
        values |= {"source": dict(self.source), "parity": dict(self.parity), "errors": dict(self.errors)}
        values["score"] = None if self.score is None else asdict(self.score)
        return {**values, "notes": list(self.notes), "messages": messages_json(notes=self.notes)}

    def _lines(self) -> Sequence[str]:
        without = f" without {', '.join(map(str, self.dropped))}" if self.dropped else ""
        return [
            f"CutModel: {self.source['id']} up to layer {self.at}{without}: {self.out}",
            f"{self.blocks} blocks, {self.parameters:,} parameters, {self.bytes:,} bytes",
            ", ".join(f"{name} differs by at most {value:.1g}" for name, value in self.parity.items()),
        ]

    def _table(self) -> Table:
        values = self.to_json()
        names = [name for name in values if name not in ("notes", "messages", "source", "score")]
        return {"name": names, "value": [values[name] for name in names]}
