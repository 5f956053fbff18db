"""Data frames of pandas: the only module that imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from layerwise.errors import RequestError

if TYPE_CHECKING:
    from pandas import DataFrame as PandasFrame  # type: ignore[import-untyped]

__all__ = ["PandasFrame", "pandas_frame", "pandas_rows"]


def pandas_frame(columns: Mapping[str, Sequence[Any]]) -> PandasFrame:
    """Return columns of equal lengths as a data frame; `None` is missing.

    Raises:
        RequestError: pandas isn't installed.
    """
    return _pandas().DataFrame({name: list(values) for name, values in columns.items()})


def pandas_rows(index: Any, values: Any, names: Sequence[str]) -> PandasFrame:
    """Return a pyarrow table and the columns of an array beside each other.

    Args:
        index: the table, n rows.
        values: float32 (n, width).
        names: the names of the array's columns.

    Raises:
        RequestError: pandas isn't installed.
    """
    pandas = _pandas()
    described = index.replace_schema_metadata(
        None
    ).to_pandas()  # metadata of pandas may make a column the index
    return pandas.concat([described, pandas.DataFrame(values, columns=list(names))], axis=1)


def _pandas() -> ModuleType:
    try:
        import pandas
    except ImportError:
        raise RequestError(
            "to_pandas needs pandas, which isn't installed; pip install 'layerwise[pandas]'"
        ) from None
    module: ModuleType = pandas
    return module
