"""What the reading side hands over: one text, where it came from, and what came with it."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Example:
    """One text of a corpus.

    `text` never holds a lone surrogate. `words` is `None` for raw text; for pre-split input it holds the
    words and `text` is the words joined by one space. `columns` are the carried columns that belong to the
    text; `word_columns` hold one value per word (pre-split input only).
    """

    text: str
    words: tuple[str, ...] | None = None
    id: str | int | None = None
    source: str | None = None
    line: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    word_columns: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """A name for error messages: `reviews.csv, line 17`."""
        place = self.source or "text"
        return f"{place}, line {self.line}" if self.line is not None else place


def digest(examples: Iterable[Example]) -> str:
    """Return a SHA-256 over everything of the records that can reach a stored byte."""
    state = hashlib.sha256()
    for example in examples:
        fields = [
            example.text,
            example.words,
            example.id,
            example.source,
            example.line,
            dict(example.columns),
            dict(example.word_columns),
        ]
        state.update(json.dumps(fields, ensure_ascii=True, default=repr, separators=(",", ":")).encode())
        state.update(b"\n")
    return state.hexdigest()


def clean(text: str) -> str:
    """Return `text` with every lone surrogate replaced by U+FFFD, one for one."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
