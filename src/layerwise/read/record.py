"""What the readers return to the corpus: records, and bad records with their place."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Marks around quotations from a file in a message; neither occurs in decoded text or in repr().
_OPEN, _CLOSE = "\ud800", "\ud801"
LISTED = 20  # names in a message, at most
_QUOTED = re.compile(f"{_OPEN}[^{_CLOSE}]*{_CLOSE}")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file: the fields by column name, and the line (Parquet: row) where it starts."""

    line: int | None
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A bad record: its file, its line (Parquet: row; counted from 1), and what is wrong."""

    source: str
    line: int | None
    why: str


class BadRecordError(Exception):
    """A record that can't become an example; the corpus adds file and line, or skips it."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one file.

    `names` are in the order of the file; `required` are those that every record must have (all, except in JSONL);
    `types` are Arrow types, where the file has them; `scalars` are the columns whose type can't hold lists; `classes`
    are the names of integer classes, by column.
    """

    names: tuple[str, ...]
    required: frozenset[str]
    types: Mapping[str, Any] = field(default_factory=dict)
    scalars: frozenset[str] = frozenset()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def listed(names: Iterable[str]) -> str:
    """Return names for a message: the first `LISTED`, separated by commas."""
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(repr, names[:LISTED])) + more if names else "none"


def shown(value: object, longest: int = 60) -> str:
    """Return a value for a message: on one line, cut to `longest` characters."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def quoted(text: str) -> str:
    """Return a quotation from a file with marks around it, which `without_marks` removes from every message."""
    return f"{_OPEN}{_strip_marks(text)}{_CLOSE}"


def without_marks(message: str, *, quote: bool) -> str:
    """Return a message without marks; unless `quote` is set, replace its quotations from files by "…".

    >>> without_marks(f"column 3 holds {quoted('a secret')}; give numbers", quote=False)
    'column 3 holds …; give numbers'
    """
    return _strip_marks(message) if quote else _QUOTED.sub("…", message)


def _strip_marks(text: str) -> str:
    return text.replace(_OPEN, "").replace(_CLOSE, "")
