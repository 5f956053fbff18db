"""Read columns as one value per row, whether they belong to the rows or to their texts."""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from layerwise.states import Layered


def is_paired(dataset: Layered) -> bool:
    """Return whether the rows are pairs: consecutive rows of the two texts of a record (`extract --text a,b`)."""
    if dataset.level != "text" or dataset.rows % 2:
        return False
    names: list[str] = []
    places: list[tuple[str, int]] = []
    for part in dataset.parts():
        texts = part.texts
        if not {"part", "source", "line"} <= set(texts.column_names) or texts.num_rows != part.rows:
            return False
        names += texts["part"].to_pylist()
        places += zip(texts["source"].to_pylist(), texts["line"].to_pylist(), strict=True)
    # The user may have a column with this name too; the two texts of a real pair have the same line.
    together = places[::2] == places[1::2]
    return bool(names) and names[0] != names[1] and names == names[:2] * (len(names) // 2) and together


def column_values(part: Layered, column: str) -> tuple[list[Any], bool]:
    """Return the value of a column for each row, and whether the column exists (else all values are `None`).

    A column of the index has a value per row, a column of the texts applies to every row of its text; at token
    level a list has a value per word, which applies to the tokens of that word.
    """
    index, texts = part.index, part.texts
    if column in index.column_names:
        return index[column].to_pylist(), True
    if column not in texts.column_names:
        return [None] * index.num_rows, False
    of_text = dict(zip(texts["doc"].to_pylist(), texts[column].to_pylist(), strict=True))
    docs = index["doc"].to_pylist()
    if part.level == "token" and pa.types.is_list(texts.schema.field(column).type):
        words = index["word"].to_pylist()
        return [_of_word(of_text[d], w) for d, w in zip(docs, words, strict=True)], True
    return [of_text[doc] for doc in docs], True


def _of_word(values: Sequence[Any] | None, word: int | None) -> Any:
    if values is None or word is None or not 0 <= word < len(values):
        return None
    return values[word]


def is_present(value: Any) -> bool:
    """Return whether a label is present: not missing, not empty or blank, not NaN."""
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and not (isinstance(value, float | Decimal) and value != value)


def trimmed(value: Any) -> str:
    """Return a value as text without blanks at its ends; empty where it is missing."""
    return str(value).strip() if is_present(value) else ""


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of classes in the order in which they are listed: numbers by their value, then other names.

    >>> in_order(["10", "b", "2", "-0.5"])
    ['-0.5', '2', '10', 'b']
    """
    return sorted(names, key=place_of)


def place_of(name: str) -> tuple[float, str]:
    """Return the sort key of a class: its number, or infinity for a name that isn't a finite number."""
    try:
        number = float(name) if name.isascii() and "_" not in name else math.inf
    except ValueError:
        number = math.inf
    return (number if math.isfinite(number) else math.inf, name)
