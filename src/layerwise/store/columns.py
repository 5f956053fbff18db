"""Checking the columns of a dataset's tables when they are read, so that other code can rely on their types."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from layerwise.errors import DatasetError

# The types of the columns that layerwise writes, where they exist; some may be null in all rows.
_TYPES = {
    "doc": pa.int64(),
    "source": pa.string(),
    "line": pa.int64(),
    "text": pa.string(),
    "start": pa.int32(),
    "end": pa.int32(),
    "token_id": pa.int32(),
    "word": pa.int32(),
    "span": pa.int32(),
    "special": pa.bool_(),
    "dropped": pa.bool_(),
    "tokens": pa.int32(),
    "unknown": pa.int32(),
    "windows": pa.int32(),
    "truncated": pa.int32(),
    "special_only": pa.bool_(),
    "context_before": pa.int32(),
    "context_after": pa.int32(),
    "pair_start": pa.int32(),
}
_EVERYWHERE = ("doc", "special", "tokens", "unknown", "windows", "truncated")
_OF_ROWS = {
    "token": ("start", "end", "word", "special"),
    "word": ("start", "end", "word"),
    "span": ("start", "end"),
}


def check_columns(table: pa.Table, path: Path, kind: str, level: str, first: int, texts: int) -> None:
    """Check an `index`, or the `texts`, of a shard.

    Args:
        table: read from `path`.
        kind: `index` or `texts`.
        level: what a row of the index stands for.
        first, texts: the number of the shard's first text, and how many it has.

    Raises:
        DatasetError: naming the column that is missing, of another type, or numbers texts that don't exist.
    """
    needed = ("doc", *(_OF_ROWS.get(level, ()) if kind == "index" else ()))
    wrong = next((name for name in needed if name not in table.column_names), None)
    if wrong is not None:
        raise _damaged(path, f"it has no column {wrong!r}")
    for name, type_ in _TYPES.items():
        if name in table.column_names and not _fits(table[name], name, type_):
            holds = f"{table[name].type} with {table[name].null_count} nulls"
            raise _damaged(path, f"column {name!r} is {holds} where {type_} is needed")
    docs = table["doc"].to_numpy()
    if kind == "texts" and not np.array_equal(docs, np.arange(first, first + texts)):
        raise _damaged(path, f"its texts aren't numbered from {first} on")
    if len(docs) and ((np.diff(docs) < 0).any() or docs[0] < first or docs[-1] >= first + texts):
        raise _damaged(path, f"its rows aren't those of texts {first} to {first + texts - 1} in order")


def _fits(column: pa.ChunkedArray, name: str, expected: pa.DataType) -> bool:
    if name in _EVERYWHERE and column.null_count:
        return False
    return bool(column.type == expected or (pa.types.is_null(column.type) and name not in _EVERYWHERE))


def _damaged(path: Path, what: str) -> DatasetError:
    return DatasetError(f"{path} is damaged: {what}; restore it from a copy")
