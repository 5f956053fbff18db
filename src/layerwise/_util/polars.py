"""Data frames of polars: the only module that imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from layerwise.errors import RequestError

if TYPE_CHECKING:
    from polars import DataFrame as PolarsFrame

__all__ = ["PolarsFrame", "polars_rows"]


def polars_rows(index: Any, values: Any, names: Sequence[str]) -> PolarsFrame:
    """Return a pyarrow table and the columns of an array beside each other.

    Args:
        index: the table, n rows.
        values: float32 (n, width).
        names: the names of the array's columns.

    Raises:
        RequestError: polars isn't installed.
    """
    try:
        import polars
    except ImportError:
        raise RequestError(
            "to_polars needs polars, which isn't installed; pip install 'layerwise[polars]'"
        ) from None
    frame = cast(polars.DataFrame, polars.from_arrow(index))
    return frame.hstack(polars.from_numpy(values, schema=list(names), orient="row"))
