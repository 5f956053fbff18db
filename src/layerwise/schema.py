"""The two tables that describe vectors: the index (a row per vector) and the texts (a row per text)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from layerwise.array_types import I64
from layerwise.errors import SourceError
from layerwise.example import PART, Example

# Text of the user, which --no-text leaves out of every table.
TEXT_COLUMNS = ("text", "words", "token_id")
PAIR_START = "pair_start"  # the column of the offset in `text` at which the second of two texts begins
NO_TEXT = -1  # the text of a pair that a special token belongs to
CONTEXT_COLUMNS = ("context_before", "context_after")


@dataclass(frozen=True)
class RowColumns:
    """The rows of one text: start and end of each (code points), and the other index columns of its level.

    `texts` are those of the rows where it isn't known where in the text they are; start and end are then 0 here and null
    in the index.
    """

    starts: I64
    ends: I64
    extra: Mapping[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Coverage:
    """Counts of one text: tokens, those of them that are unknown, windows, and truncated tokens.

    `empty` says that a text has only special tokens; `special_only` that its row is made of them, against the request.
    `context_before` and `context_after` are tokens of its neighbours that it was encoded with; `None` without context.
    """

    tokens: int
    unknown: int
    windows: int
    truncated: int
    special_only: bool = False
    empty: bool = False
    context_before: int | None = None
    context_after: int | None = None


@dataclass(frozen=True)
class Carried:
    """How columns are carried: their known types, and which are kept when texts are left out."""

    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    no_text: bool = False
    keep: tuple[str, ...] = ()

    def array(self, name: str, values: Sequence[Any], type_: pa.DataType | None = None) -> pa.Array[Any]:
        """Return a column as an Arrow array, of its known type where there is one.

        Raises:
            SourceError: values that no type holds.
        """
        try:
            return pa.array(values, type=type_ or self.types.get(name))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            why = "its values are of several types" if self.no_text else str(error).splitlines()[0]
            raise SourceError(
                f"column {name!r} can't be carried: {why}; leave it out, or give values of one type"
            ) from None

    def table(self, columns: Mapping[str, pa.Array[Any]]) -> pa.Table:
        """Return the table of `columns`, without text where texts are left out."""
        return pa.table(
            {name: values for name, values in columns.items() if not self.hides(name, values.type)}
        )

    def hides(self, name: str, kind: pa.DataType) -> bool:
        """Return whether a column may hold text and is left out."""
        if not self.no_text or name in self.keep or name in ("id", "source"):
            return False
        return name in TEXT_COLUMNS or not _is_plain(kind)


def texts_table(
    examples: Sequence[Example], coverage: Sequence[Coverage], first_doc: int, level: str, carried: Carried
) -> pa.Table:
    """Return the texts: doc, id, source, line, text, words, counts of tokens (see `Coverage`), carried columns."""
    docs = np.arange(first_doc, first_doc + len(examples))
    columns: dict[str, pa.Array[Any]] = {
        "doc": pa.array(docs, pa.int64()),
        "id": carried.array("id", [e.id for e in examples]),
        "source": pa.array([e.source for e in examples], pa.string()),
        "line": pa.array([e.line for e in examples], pa.int64()),
        "text": pa.array([e.text for e in examples], pa.string()),
    }
    if any(e.pair is not None for e in examples):
        begins = [None if e.pair is None else e.pair.border + 1 for e in examples]
        columns[PAIR_START] = pa.array(begins, pa.int32())
    if any(e.words is not None for e in examples):
        columns["words"] = pa.array([e.words for e in examples], pa.list_(pa.string()))
    for name in ("tokens", "unknown", "windows", "truncated"):
        columns[name] = pa.array([getattr(c, name) for c in coverage], pa.int32())
    for name in CONTEXT_COLUMNS:
        if any(getattr(c, name) is not None for c in coverage):
            columns[name] = pa.array([getattr(c, name) for c in coverage], pa.int32())
    if any(c.special_only for c in coverage):
        columns["special_only"] = pa.array([c.special_only for c in coverage])
    columns |= _text_columns(examples, carried)
    if level != "word":
        for name in _names(e.word_columns for e in examples):
            columns[name] = carried.array(name, [e.word_columns.get(name) for e in examples])
    return carried.table(columns)


def index_table(
    examples: Sequence[Example], rows: Sequence[RowColumns], first_doc: int, level: str, carried: Carried
) -> pa.Table:
    """Return the index: doc, then start, end, text and the columns of the level; at text level the carried columns."""
    counts = [len(r) for r in rows]
    docs = np.repeat(np.arange(first_doc, first_doc + len(examples)), counts)
    columns: dict[str, pa.Array[Any]] = {"doc": pa.array(docs, pa.int64())}
    if level == "text":
        columns["text"] = pa.array([e.text for e in examples], pa.string())
        return carried.table(columns | _text_columns(examples, carried))
    shifts = [_shifts(e, r) for e, r in zip(examples, rows, strict=True)]
    starts = _concatenate([r.starts - shift for r, shift in zip(rows, shifts, strict=True)])
    ends = _concatenate([r.ends - shift for r, shift in zip(rows, shifts, strict=True)])
    nowhere = np.repeat([r.texts is not None for r in rows], counts).astype(bool)
    columns["start"] = pa.array(starts, pa.int32(), mask=nowhere)
    columns["end"] = pa.array(ends, pa.int32(), mask=nowhere)
    texts = (text for e, r in zip(examples, rows, strict=True) for text in _texts_of_rows(e, r))
    columns["text"] = pa.array(texts, pa.string())
    if any(e.pair is not None for e in examples):
        names = (name for e, r in zip(examples, rows, strict=True) for name in _names_of_texts(e, r))
        columns[PART] = pa.array(names, pa.string())
    for name, kind in _EXTRA[level].items():
        columns[name] = pa.array(
            np.concatenate([r.extra[name] for r in rows]) if rows else [], kind, from_pandas=True
        )
    if level == "word":
        columns |= _word_columns(examples, rows, carried)
    # Few tokenizers drop words, so most datasets don't need the column.
    if level == "token" and not any(r.extra["dropped"].any() for r in rows):
        del columns["dropped"]
    if "word" in columns:
        values = columns["word"].to_numpy()  # -1 for a token that belongs to no word
        columns["word"] = pa.array(values, pa.int32(), mask=values < 0)
    return carried.table(columns)


def _shifts(example: Example, rows: RowColumns) -> I64 | int:
    """Return what offsets in two texts lose to count in the text of each row, (rows,)."""
    if example.pair is None:
        return 0
    shifts: I64 = (rows.extra["text_of_pair"] == 1) * (example.pair.border + 1)
    return shifts


def _names_of_texts(example: Example, rows: RowColumns) -> Iterable[str | None]:
    """Return the column of the text of a pair that each row is of; None for special tokens."""
    if example.pair is None:
        return [None] * len(rows)
    names = example.pair.names
    return [None if text == NO_TEXT else names[text] for text in rows.extra["text_of_pair"].tolist()]


def _texts_of_rows(example: Example, rows: RowColumns) -> Iterable[str]:
    if rows.texts is not None:
        return rows.texts
    return (example.text[start:end] for start, end in zip(rows.starts, rows.ends, strict=True))


_EXTRA: dict[str, dict[str, Any]] = {
    "token": {
        "token_id": pa.int32(),
        "word": pa.int32(),
        "special": pa.bool_(),
        "dropped": pa.bool_(),
        "unknown": pa.int32(),
    },
    "word": {"word": pa.int32(), "dropped": pa.bool_(), "unknown": pa.int32()},
    "span": {"span": pa.int32(), "unknown": pa.int32()},
}


def carried_columns(examples: Sequence[Example]) -> dict[str, list[str]]:
    """Return the names of the carried columns: with one value per text, and with one per word."""
    return {
        "text": _names(e.columns for e in examples),
        "word": _names(e.word_columns for e in examples),
    }


def left_out_columns(examples: Sequence[Example], carried: Carried) -> list[str]:
    """Return the carried columns that aren't stored because texts are left out, of some examples."""
    if not carried.no_text:
        return []
    arrays = _text_columns(examples, carried)
    for name in carried_columns(examples)["word"]:
        arrays[name] = carried.array(name, [list(e.word_columns.get(name) or ()) for e in examples])
    return [name for name, array in arrays.items() if carried.hides(name, array.type)]


def _text_columns(examples: Sequence[Example], carried: Carried) -> dict[str, pa.Array[Any]]:
    names = _names(e.columns for e in examples)
    return {name: carried.array(name, [e.columns.get(name) for e in examples]) for name in names}


def _word_columns(
    examples: Sequence[Example], rows: Sequence[RowColumns], carried: Carried
) -> dict[str, pa.Array[Any]]:
    """Return one value per row for columns with one value per word."""
    columns = {}
    for name in _names(e.word_columns for e in examples):
        kind = carried.types.get(name)
        inner = kind.value_type if kind is not None and hasattr(kind, "value_type") else None
        values: list[Any] = []
        for example, text_rows in zip(examples, rows, strict=True):
            column = example.word_columns.get(name)
            values += [column[w] if column is not None else None for w in text_rows.extra["word"].tolist()]
        columns[name] = replace(carried, types={}).array(name, values, inner)
    return columns


def _names(columns: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return all names in the order in which they first appear."""
    return list(dict.fromkeys(name for mapping in columns for name in mapping))


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether a type can hold no text: numbers, booleans, times, and lists of these."""
    types = pa.types
    inner = (types.is_dictionary, types.is_list, types.is_large_list, types.is_fixed_size_list)
    if any(test(kind) for test in inner):
        return _is_plain(kind.value_type)
    numbers = (types.is_integer, types.is_floating, types.is_decimal)
    return any(test(kind) for test in (*numbers, types.is_boolean, types.is_temporal, types.is_null))


def _concatenate(arrays: Sequence[I64]) -> I64:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)
