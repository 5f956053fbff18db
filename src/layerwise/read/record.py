"""What the readers of the formats hand to the corpus: records, and places where one was bad."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


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
