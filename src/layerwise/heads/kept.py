"""Columns of the source that are written beside the answers."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.example import DOCUMENT, PART, Example, clean
from layerwise.read.corpus import Corpus

_LOGGER = logging.getLogger("layerwise")
_ANY_KEYS = ("jsonl", "json", "python")  # formats in which a key may be missing in some records


@dataclass(frozen=True, slots=True)
class KeptValues:
    """The columns of one record as JSON values: one value for the text, or one per word."""

    of_text: Mapping[str, Any] = field(default_factory=dict)
    of_words: Mapping[str, Sequence[Any]] = field(default_factory=dict)


class KeptColumns:
    """Takes the columns that the user names from the records of a corpus.

    A column whose name predictions use is written as `source.NAME`, as datasets name it.
    """

    def __init__(self, corpus: Corpus, names: Sequence[str], used: Collection[str] = ()) -> None:
        """Check the names as far as the columns are known before the first record.

        Args:
            corpus: the source.
            names: the columns.
            used: the keys that predictions use.

        Raises:
            RequestError: a column that doesn't exist, or two that would be written under the same name.
        """
        self._corpus = corpus
        id_column = next((name for name, role in corpus.roles.items() if role == "id"), "id")
        self._used = frozenset(used) - ({"id"} if id_column == "id" else set())
        unique = dict.fromkeys([names] if isinstance(names, str) else names)
        self._outputs = {name: self._output(name) for name in unique}
        self._missing = set(self._outputs)
        self._is_checked = False
        outputs = list(self._outputs.values())
        twice = next((output for output in outputs if outputs.count(output) > 1), None)
        if twice is not None:
            raise RequestError(f"{argument('keep')} would write two columns as {twice!r}; rename one of them")
        if corpus.columns is not None:
            self._check(corpus.columns)

    def _output(self, name: str) -> str:
        return f"source.{name}" if name in self._used else name

    def _check(self, columns: Collection[str]) -> None:
        roles, several = self._corpus.roles, len(self._texts) > 1
        names = list(dict.fromkeys((*roles, *columns)))
        for name in self._outputs:
            if name not in names:
                raise RequestError(
                    f"{argument('keep', [name])}: the source has no such column, only {', '.join(names)}; name one of them"
                )
            is_joined = several and not (self._corpus.paired or self._corpus.joint)
            if is_joined and roles.get(name) == "text":
                raise RequestError(
                    f"{argument('keep', [name])}: the column is joined with others to one text; leave it out"
                )
        self._is_checked = True

    @property
    def _texts(self) -> list[str]:
        return [name for name, role in self._corpus.roles.items() if role == "text"]

    def values(self, examples: Sequence[Example]) -> KeptValues:
        """Return the columns of one record, whose texts are `examples`.

        Raises:
            RequestError: in the first record, a column that doesn't exist.
        """
        if not self._outputs:
            return KeptValues()
        self._check_first(examples[0])
        of_text: dict[str, Any] = {}
        of_words: dict[str, Sequence[Any]] = {}
        for name, output in self._outputs.items():
            values = self._of_words(name, examples[0])
            if values is None:
                of_text[output] = as_json(self._of_text(name, examples))
            else:
                of_words[output] = as_json(values)
        return KeptValues(of_text, of_words)

    def id(self, example: Example) -> Any:
        """Return the user's own id of a text: of the column that the options name, else of a column `id`."""
        if "id" in self._corpus.roles.values():
            return example.id
        return as_json(example.columns.get("source.id"))

    def _check_first(self, example: Example) -> None:
        if self._is_checked or (self._corpus.columns is None and self._corpus.format in _ANY_KEYS):
            return
        self._check(self._corpus.columns or (*example.columns, *example.word_columns))

    def _of_words(self, name: str, example: Example) -> Sequence[Any] | None:
        if self._corpus.roles.get(name) == "words":
            self._missing.discard(name)
            return example.words
        values: Sequence[Any] | None = self._carried(name, example.word_columns)
        return values

    def _of_text(self, name: str, examples: Sequence[Example]) -> Any:
        role = self._corpus.roles.get(name)
        if role is None:
            return self._carried(name, examples[0].columns)
        self._missing.discard(name)
        if role == "id":
            return examples[0].id
        pair = examples[0].pair
        if pair is not None:
            return examples[0].texts[pair.names.index(clean(name))]
        return next(e.text for e in examples if len(examples) == 1 or e.columns[PART] == clean(name))

    def _carried(self, name: str, columns: Mapping[str, Any]) -> Any:
        names = (DOCUMENT,) if name == self._corpus.document else (clean(name), f"source.{name}")
        for carried in names:  # as `read.example_builder` names them
            if carried in columns:
                self._missing.discard(name)
                return columns[carried]
        return None

    def log_notes(self) -> None:
        """Log a note for columns that no record had, and for those that have another name in the output."""
        for name, output in self._outputs.items():
            if name in self._missing:
                _LOGGER.warning(
                    "%s: no record has a value in this column, so all are null", argument("keep", [name])
                )
            elif output != name:
                _LOGGER.warning(
                    "column %r is written as %r, since predictions have something else under its name",
                    name,
                    output,
                )


def as_json(value: Any) -> Any:
    """Return a value that JSON can hold: numbers that aren't finite become `None`, other objects their text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return str(value)
