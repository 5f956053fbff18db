"""Convert the texts that Python callers pass, in any of the usual containers, to a list."""

from collections.abc import ItemsView, Mapping
from typing import Any, NoReturn

from layerwise.errors import RequestError

_SHOWN = 8  # columns listed in an error
_USUAL = ("text", "sentence", "tokens", "words")


def listed(texts: Any) -> list[Any]:
    """Return the texts in a list, tuple, array, column (numpy, pandas, polars, Arrow, `datasets`) or generator.

    Words of a text in an array or a column become a list. The caller checks that each item is a text.

    Raises:
        RequestError: one string; a table or mapping, of which one column is needed; a container without order.
    """
    if isinstance(texts, str | bytes):
        kind = "string" if isinstance(texts, str) else "bytes object"
        raise RequestError(f"got one {kind} for a list of texts; put it in a list")
    if (columns := _columns(texts)) is not None:
        raise RequestError(_table_message(texts, columns))
    if hasattr(type(texts), "mix_stats"):  # a dataset or states: both have this method
        raise RequestError(
            "got a dataset for texts; pass a column of its texts, such as dataset.texts['text']"
        )
    if (shape := _of_type(texts, "shape")) is not None and len(shape) != 1:
        raise RequestError(f"got an array of shape {tuple(shape)} for texts; give one column of it")
    if isinstance(texts, set | frozenset | ItemsView):
        why = "names beside its texts" if isinstance(texts, ItemsView) else "no order"
        raise RequestError(f"got a {type(texts).__name__} for texts, which has {why}; give a list")
    try:
        items = texts.to_pylist() if hasattr(type(texts), "to_pylist") else list(texts)
    except TypeError:
        raise RequestError(
            f"got {texts!r:.60} for texts; give a list of strings, or of lists of words"
        ) from None
    return [_words(item) for item in items]


def refuse(number: int, text: Any) -> NoReturn:
    """Raise the error for a text that is neither a string nor a list of words; for a record it names the columns.

    Raises:
        RequestError: always.
    """
    if isinstance(text, Mapping) and text:
        columns = [str(key) for key in text]
        raise RequestError(
            f"text {number} is a record, with the columns {_shown(columns)}; "
            f"pass one of them, such as [record[{_suggested(columns)!r}] for record in …]"
        )
    raise RequestError(f"text {number} is {type(text).__name__}; give a string or a list of words")


def _of_type(texts: Any, name: str) -> Any:
    """Return an attribute if its type defines it; pandas also makes rows and columns attributes."""
    return getattr(texts, name, None) if hasattr(type(texts), name) else None


def _words(item: Any) -> Any:
    """Return an item unchanged, or as a list where it is an array or a column."""
    if isinstance(item, str):
        return item
    for name in ("to_pylist", "to_list", "tolist"):
        if hasattr(item, name):
            values = getattr(item, name)()
            return values if isinstance(values, list) else item
    return item


def _columns(texts: Any) -> list[str] | None:
    """Return the names of the columns of a table or a mapping; `None` for anything else."""
    if isinstance(texts, Mapping):
        return [str(key) for key in texts]
    names = getattr(_of_type(texts, "dtype"), "names", None)  # a structured array
    for attribute in ("column_names", "columns"):
        names = _of_type(texts, attribute) if names is None else names
    if names is None:
        names = getattr(_of_type(texts, "schema"), "names", None)
    return None if names is None or callable(names) else [str(name) for name in names]


def _table_message(texts: Any, columns: list[str]) -> str:
    """Return the error message for a table or a mapping."""
    kind = "mapping" if isinstance(texts, Mapping) else "table"
    if not columns:
        return f"got an empty {kind} for texts; give a list of strings, or of lists of words"
    return (
        f"got a {kind} for texts, with the columns {_shown(columns)}; "
        f"pass one of them, such as [{_suggested(columns)!r}]"
    )


def _shown(columns: list[str]) -> str:
    return ", ".join(columns[:_SHOWN]) + (", …" if len(columns) > _SHOWN else "")


def _suggested(columns: list[str]) -> str:
    """Return the column that most likely holds the texts."""
    return next((name for name in _USUAL if name in columns), columns[0])
