"""Texts given in Python: a list of them, in any of the usual containers."""

from collections.abc import ItemsView, Mapping
from typing import Any, NoReturn

from layerwise.errors import RequestError

_SHOWN = 8  # columns that an error names
_USUAL = ("text", "sentence", "tokens", "words")


def listed(given: Any) -> list[Any]:
    """Return the texts in a list, tuple, array, column (numpy, pandas, polars, Arrow, `datasets`) or generator.

    Lists of words that come as arrays or columns are lists of words. Whether each item is a text is for the caller
    to check.

    Raises:
        RequestError: one string; a table or mapping, of which one column is needed; what has no order.
    """
    if isinstance(given, str | bytes):
        kind = "string" if isinstance(given, str) else "piece of bytes"
        raise RequestError(f"got one {kind} for a list of texts; put it in brackets")
    if (columns := _columns(given)) is not None:
        raise RequestError(_naming(given, columns))
    if hasattr(type(given), "mix_stats"):
        raise RequestError(
            "got a dataset for texts; pass a column of its texts, such as dataset.texts['text']"
        )
    if (shape := _of_type(given, "shape")) is not None and len(shape) != 1:
        raise RequestError(f"got an array of shape {tuple(shape)} for texts; give one column of it")
    if isinstance(given, set | frozenset | ItemsView):
        why = "names beside its texts" if isinstance(given, ItemsView) else "no order"
        raise RequestError(f"got a {type(given).__name__} for texts, which has {why}; give a list")
    try:
        items = given.to_pylist() if hasattr(type(given), "to_pylist") else list(given)
    except TypeError:
        raise RequestError(
            f"got {given!r:.60} for texts; give a list of strings, or of lists of words"
        ) from None
    return [_words(item) for item in items]


def refuse(number: int, text: Any) -> NoReturn:
    """Say what a text is that is neither a string nor a list of words; of a record, which column to take.

    Raises:
        RequestError: always.
    """
    if isinstance(text, Mapping) and text:
        columns = [str(key) for key in text]
        raise RequestError(
            f"text {number} is a record, with the columns {_shown(columns)}; "
            f"pass one of them, such as [record[{_wanted(columns)!r}] for record in …]"
        )
    raise RequestError(f"text {number} is {type(text).__name__}; give a string or a list of words")


def _of_type(given: Any, name: str) -> Any:
    """Return an attribute that a type has; pandas gives rows and columns out as attributes too."""
    return getattr(given, name, None) if hasattr(type(given), name) else None


def _words(item: Any) -> Any:
    """Return an item as it is, or as a list where it is an array or a column."""
    if isinstance(item, str):
        return item
    for name in ("to_pylist", "to_list", "tolist"):
        if hasattr(item, name):
            made = getattr(item, name)()
            return made if isinstance(made, list) else item
    return item


def _columns(given: Any) -> list[str] | None:
    """Return the names of the columns of a table or a mapping; `None` for what is neither."""
    if isinstance(given, Mapping):
        return [str(key) for key in given]
    names = getattr(_of_type(given, "dtype"), "names", None)  # of a structured array
    for attribute in ("column_names", "columns"):
        names = _of_type(given, attribute) if names is None else names
    if names is None:
        names = getattr(_of_type(given, "schema"), "names", None)
    return None if names is None or callable(names) else [str(name) for name in names]


def _naming(given: Any, columns: list[str]) -> str:
    """Return what an error says of a table."""
    kind = "mapping" if isinstance(given, Mapping) else "table"
    if not columns:
        return f"got an empty {kind} for texts; give a list of strings, or of lists of words"
    return (
        f"got a {kind} for texts, with the columns {_shown(columns)}; "
        f"pass one of them, such as [{_wanted(columns)!r}]"
    )


def _shown(columns: list[str]) -> str:
    return ", ".join(columns[:_SHOWN]) + (", …" if len(columns) > _SHOWN else "")


def _wanted(columns: list[str]) -> str:
    """Return the column that most likely holds the texts."""
    return next((name for name in _USUAL if name in columns), columns[0])
