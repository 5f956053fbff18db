"""Names of integer classes: those in a file's own metadata (`ClassLabel` of `datasets`), and those that a user gives."""

from collections.abc import Mapping, Sequence
from typing import Any

from layerwise._util.guarded import parse_json
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.read.record import BadRecordError, listed, quoted, shown

Names = tuple[str, ...]
_LABELS = (
    "label",
    "labels",
    "label_id",
    "class",
    "target",
    "tag",
    "tags",
    "ner_tags",
    "pos_tags",
    "chunk_tags",
)
_MISSING = -1  # what `datasets` writes for a class that isn't known


def names_in_schema(schema: Any) -> dict[str, Names]:
    """Return the names of classes that the metadata of an Arrow schema gives, by column."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    if metadata is None:
        return {}
    try:
        info = parse_json(metadata)["info"]
    except (ValueError, KeyError, TypeError):
        return {}
    return names_of(info.get("features")) if isinstance(info, dict) else {}


def names_of(features: Any) -> dict[str, Names]:
    """Return the names of classes in the description of features, as JSON or as objects of `datasets`."""
    if not isinstance(features, Mapping):
        return {}
    names = {str(column): _names(feature) for column, feature in features.items()}
    return {column: value for column, value in names.items() if value}


def _names(feature: Any) -> Names:
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    inner = _entry(feature, "feature")
    names = _entry(feature if inner is None else inner, "names")
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return tuple(names)
    return ()


def _entry(feature: Any, name: str) -> Any:
    return feature.get(name) if isinstance(feature, Mapping) else getattr(feature, name, None)


def holds_classes(value: Any) -> bool:
    """Return whether a value may be the number of a class, or a list of such numbers."""
    if isinstance(value, list):
        return bool(value) and all(map(holds_classes, value))
    return _number(value) is not None


def is_label(column: str) -> bool:
    """Return whether a column has a usual name of labels."""
    return column.lower() in _LABELS


def column_and_names(classes: Names, columns: Sequence[str], candidates: Sequence[str]) -> tuple[str, Names]:
    """Return the column whose classes a user names, and their names in order.

    Args:
        classes: the names; before the first may stand the column and `=`.
        columns: all columns.
        candidates: the columns that hold numbers of classes.

    Raises:
        RequestError: it isn't clear which column is meant; a name is blank, or stands twice.
    """
    column, equals, first = classes[0].partition("=")
    if equals:
        if column not in columns:
            raise RequestError(
                f"{argument('classes', ','.join(classes))} names the classes of column {column!r}, and the columns are "
                f"{quoted(listed(columns))}; name one of them before the '='"
            )
        return column, _checked((first, *classes[1:]))
    _checked(classes)
    labels = [name for name in candidates if is_label(name)]
    for names in (labels, candidates):
        if len(names) == 1:
            return names[0], classes
    example = argument("classes", f"{(labels or list(candidates) or ['label'])[0]}={','.join(classes)}")
    what = (
        f"{quoted(listed(candidates))} hold numbers" if candidates else "no column holds numbers of classes"
    )
    raise RequestError(
        f"{argument('classes')} doesn't tell which column it names the classes of ({what}); name it, such as {example}"
    )


def _checked(names: Names) -> Names:
    wrong = next((name for name in names if not name.strip() or names.count(name) > 1), None)
    if wrong is None:
        return names
    what = f"holds {wrong!r} twice" if wrong.strip() else "holds a blank name"
    raise RequestError(
        f"{argument('classes', ','.join(names))} {what}, and each class needs a name of its own; correct it"
    )


def count_missing(value: Any) -> int:
    """Return how many numbers say that a class is missing: -1, itself or in a list."""
    return sum(map(count_missing, value)) if isinstance(value, list) else int(_number(value) == _MISSING)


def named(value: Any, column: str, names: Names) -> Any:
    """Return the name of a class for its number, for each item of a list.

    Raises:
        BadRecordError: a number without a name, or something else than a number.
    """
    if isinstance(value, list):
        return [named(item, column, names) for item in value]
    if value is None or value == "" or value != value:
        return value
    number = _number(value)
    if number == _MISSING:
        return None
    if number is None or not 0 <= number < len(names):
        raise BadRecordError(
            f"column {quoted(repr(column))} holds {quoted(shown(value))} and its classes are the numbers 0 to "
            f"{len(names) - 1} ({listed(names)}); name every class with {argument('classes')}"
        )
    return names[number]


def _number(value: Any) -> int | None:
    """Return the whole number that a value is, or that its text gives; an integer column with gaps holds 1.0."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        digits = text.removesuffix(".0")
        return (
            int(digits)
            if len(digits) < 10 and digits.removeprefix("-").isdecimal() and digits.isascii()
            else None
        )
    if isinstance(value, int | float) and value == value and abs(value) < 1e9 and int(value) == value:
        return int(value)
    return None
