"""What the readers of the formats hand to the corpus: records, and places where one was bad."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Around what a message quotes of a file; neither is in any text that was read, or in what repr() returns.
_OPEN, _CLOSE = "\ud800", "\ud801"
_QUOTED = re.compile(f"{_OPEN}[^{_CLOSE}]*{_CLOSE}")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as its file has it: the fields by column name, and the line (Parquet: row) it starts at."""

    line: int | None
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A bad record: its file, its line (Parquet: row; counted from 1), and what is wrong with it."""

    source: str
    line: int | None
    why: str


class BadRecordError(Exception):
    """A record that can't become an example; the corpus adds file and line, or passes over it."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one file.

    `names` were met, in order; `sure` are those that no record may lack (all of them, but in JSONL);
    `types` are Arrow types, where the file has them; `scalars` can't hold a list by their type.
    """

    names: tuple[str, ...]
    sure: frozenset[str]
    types: Mapping[str, Any] = field(default_factory=dict)
    scalars: frozenset[str] = frozenset()


def listed(names: Iterable[str]) -> str:
    """Return names for a message: the first twenty, comma between them."""
    names = list(names)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more if names else "none"


def shown(value: object, longest: int = 60) -> str:
    """Return a value for a message: on one line, and not long."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def quoted(text: str) -> str:
    """Return what a message quotes of a file, marked for `told`, through which all messages of a corpus go."""
    return f"{_OPEN}{_unmarked(text)}{_CLOSE}"


def told(message: str, *, quote: bool) -> str:
    """Return a message with what it quotes of a file, or with "…" in its place.

    >>> told(f"column 3 holds {quoted('a secret')}; give numbers", quote=False)
    'column 3 holds …; give numbers'
    """
    return _unmarked(message) if quote else _QUOTED.sub("…", message)


def _unmarked(text: str) -> str:
    return text.replace(_OPEN, "").replace(_CLOSE, "")
