"""What stands in a dataset, seen again as texts with tokens: each row is a token of its text."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from layerwise.encode.tokenizer import NO_WORD, Tokens
from layerwise.errors import DatasetError
from layerwise.example import Example
from layerwise.schema import Carried, Coverage
from layerwise.store import LayerDataset

Columns = dict[str, list[str]]
_ALWAYS = ("doc", "id", "source", "line", "tokens", "windows", "truncated")


@dataclass(frozen=True)
class StoredText:
    """A text of a dataset: what was read, its rows as tokens, and what became of it."""

    example: Example
    tokens: Tokens
    coverage: Coverage


def stored_columns(part: LayerDataset) -> Columns:
    """Return the carried columns that stand in the texts of a part: with a value per text, and one per word."""
    columns = {
        kind: [name for name in part.manifest["columns"][kind] if name in part.texts.column_names]
        for kind in ("text", "word")
    }
    for name in columns["word"]:
        if not pa.types.is_list(part.texts[name].type) and not pa.types.is_null(part.texts[name].type):
            raise DatasetError(
                f"{part.path}: column {name!r} of words is {part.texts[name].type} and no list: damaged, see "
                "`layerwise verify`"
            )
    return columns


def carried_as_stored(part: LayerDataset, columns: Columns) -> Carried:
    """Return how to carry columns on as they are stored: in their types, and without texts where there are none."""
    types = {field.name: field.type for field in part.texts.schema}
    return Carried(types, "text" not in types, tuple(columns["text"] + columns["word"]))


def stored_texts(part: LayerDataset, columns: Columns) -> list[StoredText]:
    """Return the texts of a part of level token or word, in order.

    Raises:
        DatasetError: a column that every dataset has is missing.
    """
    for name in _ALWAYS:
        if name not in part.texts.column_names:
            raise DatasetError(
                f"the texts of {part.path} have no column {name!r}: damaged, see `layerwise verify`"
            )
    docs = part.index["doc"].to_numpy()
    begins = np.searchsorted(docs, part.texts["doc"].to_numpy())
    rows = {
        "start": _numbers(part.index, "start", 0),
        "end": _numbers(part.index, "end", 0),
        "word": _numbers(part.index, "word", NO_WORD),
        "special": _numbers(part.index, "special", 0),
        "dropped": _numbers(part.index, "dropped", 0),
    }
    return [
        StoredText(
            _example(text, columns),
            _tokens({name: values[begin:end] for name, values in rows.items()}),
            Coverage(text["tokens"], text["windows"], text["truncated"]),
        )
        for text, begin, end in zip(part.texts.to_pylist(), begins, [*begins[1:], len(docs)], strict=True)
    ]


def _example(row: dict[str, Any], columns: Columns) -> Example:
    words = row.get("words")
    return Example(
        row.get("text") or "",
        tuple(words) if words is not None else None,
        row["id"],
        row["source"],
        row["line"],
        {name: row[name] for name in columns["text"]},
        {name: tuple(row[name]) for name in columns["word"] if row[name] is not None},
    )


def _tokens(rows: dict[str, npt.NDArray[np.int64]]) -> Tokens:
    inside = np.flatnonzero(rows["special"] == 0)
    length = len(rows["special"])
    prefix, suffix = (int(inside[0]), int(length - 1 - inside[-1])) if len(inside) else (length, 0)
    nothing = np.zeros(length, dtype=np.int64)
    dropped = frozenset(rows["word"][rows["dropped"] > 0].tolist())
    return Tokens(nothing, nothing, rows["start"], rows["end"], rows["word"], prefix, suffix, dropped)


def _numbers(index: pa.Table, name: str, missing: int) -> npt.NDArray[np.int64]:
    if name not in index.column_names:
        return np.full(index.num_rows, missing, dtype=np.int64)
    values: npt.NDArray[np.int64] = index[name].cast(pa.int64()).fill_null(missing).to_numpy()
    return values
