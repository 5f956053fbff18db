"""Which labels are one class: the same text after trimming, the same number, or the same boolean.

Programs write one label in several ways: pandas makes 1.0 of 1 in a column that has a gap, a cell keeps a blank at its
end, a boolean is `True`, `true` or `TRUE`. Labels from different files are compared here, and nowhere else.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np

from layerwise.arguments import argument
from layerwise.columns import column_values, is_present
from layerwise.states import Layered
from layerwise.wording import Message, some

Key = tuple[str, Any]
"""What all spellings of a class share: the kind of label, and its value."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_LONGEST_NUMBER = 400  # characters
_LARGEST_EXPONENT = 2000
_FRACTIONS = 1 << 24  # float32 has none from here on
_PANDAS_DIGITS = 10  # decimals that to_json of pandas writes
_WHOLE = re.compile(r"[+-]?\d+\.0*", re.ASCII)
_BOOLEANS = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
_NOT_AVAILABLE = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
_SHOWN = 5  # entries of a list in a message


@dataclass(frozen=True, slots=True)
class Spelling:
    """The classes that some labels belong to.

    Attributes:
        names: the name of the class of each label; a key is the type of a label and the label itself.
        merged: for each class that is spelled in several ways, its spellings.
    """

    names: Mapping[tuple[type, Any], str]
    merged: tuple[tuple[Any, ...], ...]

    def name(self, label: Any) -> str:
        """Return the name of the class of a label; "" for a missing one."""
        return self.names.get(_written(label), "") if is_present(label) else ""

    @property
    def notes(self) -> list[Message]:
        """Messages for the user: spellings that are one class, and a class that may be a missing label."""
        notes: list[Message] = []
        if self.merged:
            notes.append(
                Message(
                    "note.spellings",
                    classes=some([" = ".join(map(repr, spellings)) for spellings in self.merged], _SHOWN),
                )
            )
        missing = [name for name in dict.fromkeys(self.names.values()) if name in _NOT_AVAILABLE]
        if missing:
            notes.append(
                Message("note.missing.class", names=[*map(repr, missing)], option=argument("na", missing[0]))
            )
        return notes


def key_of(label: Any) -> Key:
    """Return what all spellings of a class share; a label is a string, a number or a boolean that isn't missing.

    >>> key_of("pos ") == key_of("pos"), key_of("1.0") == key_of(1), key_of(True) == key_of(1)
    (True, True, False)
    """
    if isinstance(label, bool | np.bool_):
        return "boolean", bool(label)
    if not isinstance(label, int | float | Decimal):
        text = str(label).strip()
        if text in _BOOLEANS:
            return "boolean", _BOOLEANS[text]
        if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
            return "text", text
        label = Decimal(text)
    return ("number", _number(label)) if _is_usual(label) else ("text", str(label))


def _is_usual(number: int | float | Decimal) -> bool:
    """Return whether a number is finite, and of a size that a text in a file has."""
    if isinstance(number, Decimal):
        return number.is_finite() and abs(number.adjusted()) < _LARGEST_EXPONENT
    return isinstance(number, int) or isfinite(number)


def _number(number: int | float | Decimal) -> int | str:
    """Return a number in a form that is equal for equal numbers of any type."""
    if number == int(number):
        return int(number)
    value = float(number)
    # A column of float32 gives 0.10000000149011612, or 0.1000000015 in JSON, for what other formats write as 0.1.
    single = np.float32(value) if abs(value) < _FRACTIONS else np.float32(0)
    if value in (float(single), round(float(single), _PANDAS_DIGITS)):
        value = float(str(single))
    return int(value) if value.is_integer() else repr(value)


def spell(labels: Iterable[Any], classes: Sequence[str] = ()) -> Spelling:
    """Return the classes of labels, of which some may be missing.

    A class that equals one of `classes` has its name. Otherwise its name is its commonest spelling, the first of
    equally common ones, without blanks around it; a whole number that came as `1.0` is `1`.

    Args:
        labels: strings, numbers or booleans.
        classes: the names of classes that there are already, such as those of a head.
    """
    counts = Counter(_written(label) for label in labels if is_present(label))
    spellings: dict[Key, list[tuple[type, Any]]] = {}
    for written in counts:
        spellings.setdefault(key_of(written[1]), []).append(written)
    class_names = {key_of(name): name for name in classes}
    names: dict[tuple[type, Any], str] = {}
    for key, several in spellings.items():
        names |= dict.fromkeys(several, class_names.get(key) or _commonest(several, counts))
    merged = tuple(
        tuple(written[1] for written in several) for several in spellings.values() if len(several) > 1
    )
    return Spelling(names, merged)


def row_names(rows: Layered, column: str | None) -> list[str | None] | None:
    """Return the class of each row, `None` where it is missing; `None` without a column or without rows."""
    return class_of_each(column_values(rows, column)[0]) or None if column is not None else None


def class_of_each(values: Iterable[Any]) -> list[str | None]:
    """Return the class of each value, `None` where it is missing; several labels are joined by commas."""
    cells = [value if isinstance(value, list) else [value] for value in values]
    spelling = spell(label for cell in cells for label in cell)
    return [", ".join(filter(None, map(spelling.name, cell))) or None for cell in cells]


def _written(label: Any) -> tuple[type, Any]:
    """Return a label with its type, since 1, 1.0 and True are equal in Python."""
    value = label if isinstance(label, str | bool | int | float | Decimal) else str(label)
    return type(value), value


def _commonest(several: Sequence[tuple[type, Any]], counts: Mapping[tuple[type, Any], int]) -> str:
    tidy: Counter[str] = Counter()
    for written in several:
        tidy[_tidy(written[1])] += counts[written]
    return max(tidy, key=tidy.__getitem__)


def _tidy(label: Any) -> str:
    """Return a label as the name of a class."""
    if isinstance(label, float | Decimal) and not isinstance(label, bool):
        return str(key_of(label)[1])
    text = str(label).strip()
    return (
        str(int(text.partition(".")[0])) if len(text) <= _LONGEST_NUMBER and _WHOLE.fullmatch(text) else text
    )


def shortened(items: Sequence[str]) -> str:
    """Return items for a message: the first five, and how many more there are."""
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
