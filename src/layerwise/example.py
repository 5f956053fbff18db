"""One text of a corpus, with its source and its columns: what `read` passes to `encode`."""

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DOCUMENT = "document"  # the column of the document that a text is part of
PART = "part"  # the column that tells which text of a pair a text or a row is
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class JointPair:
    """Two texts that are encoded together: the length of the first, and the columns that they come from."""

    border: int
    names: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Example:
    """One text of a corpus.

    `text` never holds a lone surrogate. `words` is `None` for raw text; for pre-split input it holds the
    words and `text` is the words joined by one space. `columns` are the carried columns with one value for the
    text; `word_columns` hold one value per word (pre-split input only). `pair` is set where two texts are encoded
    together: `text` is then both with a line end between them. `redacted` are the kinds of the spans that were replaced
    in the text, `replaced` the pieces of the text as it was that stand in it as `[KIND]` now: start, end and kind, in order.
    """

    text: str
    words: tuple[str, ...] | None = None
    id: str | int | None = None
    source: str | None = None
    line: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    word_columns: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    pair: JointPair | None = None
    redacted: tuple[str, ...] = ()
    replaced: tuple[tuple[int, int, str], ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or the two that are encoded together."""
        if self.pair is None:
            return (self.text,)
        return self.text[: self.pair.border], self.text[self.pair.border + 1 :]

    @property
    def where(self) -> str:
        """A name for error messages: `reviews.csv, line 17`."""
        source = self.source or "text"
        return f"{source}, line {self.line}" if self.line is not None else source


def joint_example(texts: Sequence[str], names: Sequence[str]) -> Example:
    """Return the example of two texts that are encoded together; `names` are those of their columns."""
    first, second = texts
    return Example(f"{first}\n{second}", pair=JointPair(len(first), (names[0], names[1])))


def document_of(example: Example) -> Hashable:
    """Return what tells the document of a text from others; `None` for a text that is in none."""
    return document_key(example.columns.get(DOCUMENT))


def document_key(value: Any) -> Hashable:
    """Return what tells a document from others, given the value of its column; `None` for no document.

    >>> document_key("a"), document_key(" "), document_key(float("nan")), document_key([1])
    ('a', None, None, '[1]')
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    return value if isinstance(value, Hashable) else repr(value)


def digest(examples: Iterable[Example]) -> str:
    """Return a SHA-256 over all fields of the examples that can affect a stored byte."""
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
            *([example.pair.border, example.pair.names] if example.pair is not None else []),
        ]
        state.update(json.dumps(fields, ensure_ascii=True, default=repr, separators=(",", ":")).encode())
        state.update(b"\n")
    return state.hexdigest()


def clean(text: str) -> str:
    """Return `text` with every lone surrogate replaced by U+FFFD, one for one."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
