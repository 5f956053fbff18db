"""Which rows are meant: by number, mask, slice or the value of a column; and which are not finite."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from layerwise.array_types import F32, I64
from layerwise.errors import RequestError
from layerwise.mixes import block_slices

Rows = slice | Sequence[int] | Sequence[bool] | NDArray[Any] | None
"""A selection of rows: `None` (all), a slice, a mask (one boolean per row), or row numbers in any order."""


def odd_row(values: F32) -> int | None:
    """Return the first row of (rows, width) that holds NaN or infinity; `None` when all are finite.

    One pass: a sum is finite only where all its terms are.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in block_slices(*values.shape):
            if not np.isfinite(values[rows].sum()):
                not_finite = ~np.isfinite(values[rows]).all(axis=1)
                if not_finite.any():
                    return int(rows.start) + int(not_finite.argmax())
    return None


def select_rows(rows: Rows, count: int) -> slice | I64:
    """Return the selected rows of `count`: a slice of step 1, or row numbers in 0 … count - 1.

    Raises:
        RequestError: a row out of range, a mask of the wrong length, or a value of another type.
    """
    if rows is None:
        return slice(0, count)
    if isinstance(rows, slice):
        start, stop, step = rows.indices(count)
        return slice(start, max(start, stop)) if step == 1 else np.arange(start, stop, step, dtype=np.int64)
    chosen = np.asarray(rows)
    if chosen.ndim == 1 and chosen.dtype == bool:
        if len(chosen) != count:
            raise RequestError(
                f"a mask of {len(chosen)} doesn't fit {count} rows; give a truth value per row"
            )
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or (len(chosen) and chosen.dtype.kind not in "iu"):
        got = f"an array of {chosen.dtype} with shape {chosen.shape}"
        raise RequestError(f"rows can't be {got}; give a slice, a mask, or row numbers such as [0, 5]")
    numbers = chosen.astype(np.int64)
    wrong = numbers[(numbers < -count) | (numbers >= count)]
    if len(wrong):
        raise RequestError(f"row {wrong[0]} doesn't exist; there are {count}, counted from 0")
    return np.where(numbers < 0, numbers + count, numbers)


def row_blocks(rows: slice | I64, width: int) -> Iterator[Any]:
    """Yield valid rows in blocks of a few MiB, each a slice or row numbers as `rows` is."""
    if isinstance(rows, slice):
        blocks = block_slices(rows.stop - rows.start, width)
        yield from (slice(rows.start + block.start, rows.start + block.stop) for block in blocks)
    else:
        yield from (rows[block] for block in block_slices(len(rows), width))


def matches(name: str, column: Any, condition: Any) -> NDArray[np.bool_]:
    """Return for each value of `column`, a pyarrow array, whether it equals `condition`, or one of a list of values.

    Raises:
        RequestError: with the name of the column, when its type can't be compared with the condition.
    """
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _contains(name, pa.array(column.to_pylist(), kind), condition)
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    is_list = isinstance(condition, list | tuple | set | frozenset | range | np.ndarray)
    try:
        values = pa.array(list(condition) if is_list else [condition])
        if pa.types.is_null(kind):
            column, kind = column.cast(values.type), values.type
        mask: NDArray[np.bool_] = np.asarray(pc.is_in(column, value_set=values.cast(kind)), bool)
    except (pa.ArrowException, TypeError) as error:
        why = str(error).partition("\n")[0]
        got = f"column {name!r} holds {kind} and can't be compared with {condition!r:.60}"
        raise RequestError(f"{got} ({why}); give values of its type") from None
    return mask


def other_case(column: Any, condition: Any) -> str | None:
    """Return a value of a column that equals a string but for its case; `None` without one, or for other conditions."""
    kind = column.type
    if not isinstance(condition, str) or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return None
    position = pc.index(pc.utf8_lower(column), condition.lower()).as_py()
    return None if position < 0 else str(column[position].as_py())


def _contains(name: str, lists: Any, condition: Any) -> NDArray[np.bool_]:
    hits = matches(name, lists.flatten(), condition)
    mask = np.zeros(len(lists), bool)
    mask[pc.list_parent_indices(lists).to_numpy()[hits]] = True
    return mask
