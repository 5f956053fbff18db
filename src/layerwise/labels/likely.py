"""Find the column of a dataset that is most likely one of labels, for the command that is proposed after an extraction."""

import re
from collections.abc import Sequence
from typing import Any

from layerwise.columns import is_present
from layerwise.example import DOCUMENT, PART
from layerwise.read.recognise import is_tag
from layerwise.states import Layered

_USUAL = ("label", "labels", "tag", "tags", "ner_tags", "class", "category", "target", "score", "rating")
_PARTS = frozenset({"train", "dev", "validation", "valid", "test"})
_IDS = re.compile(r"(?:^|[_ .-])(?:id|ids|key|uuid|index)$", re.IGNORECASE)
_MOST_CLASSES, _ROWS_PER_CLASS = 50, 5
_MOST_NUMBERS = 20  # different whole numbers that may be classes


def likely_label(rows: Layered, of_texts: Sequence[str], of_words: Sequence[str]) -> tuple[str, str] | None:
    """Return the task and the name of a column of labels; `None` where none looks like one. Only the first part is read.

    A column of classes repeats few values; one of numbers has decimals. Names such as `label` come first.

    Args:
        rows: the rows of a dataset.
        of_texts, of_words: the names of the carried columns with a value per text, and per word.
    """
    part = next(rows.parts(), None)
    if part is None:
        return None
    columns = {name: part.texts[name].to_pylist() for name in of_texts if name in part.texts.column_names}
    tasks = {name: _task(values, of_words=False) for name, values in columns.items() if _may_be_label(name)}
    if rows.level == "word":
        words = {name: part.index[name].to_pylist() for name in of_words if name in part.index.column_names}
        tasks |= {name: _task(values, of_words=True) for name, values in words.items()}
    likely = [name for name, task in tasks.items() if task is not None]
    first = [name for name in _USUAL if name in likely] or likely
    return None if not first else (str(tasks[first[0]]), first[0])


def _may_be_label(name: str) -> bool:
    return name not in (DOCUMENT, PART) and not _IDS.search(name)


def _task(values: Sequence[Any], *, of_words: bool) -> str | None:
    """Return the task that the values of a column suggest; `None` where they look like no labels."""
    present = [value for value in values if is_present(value)]
    if not present or any(isinstance(value, list | dict) for value in present):
        return None
    names = {str(value).strip() for value in present}
    if of_words and any(name != "O" and is_tag(name) for name in names):
        return "tag"
    if len(names) < 2 or {name.lower() for name in names} <= _PARTS:
        return None
    numbers = list(map(_number, names))
    if None not in numbers and (len(names) > _MOST_NUMBERS or any("." in name for name in names)):
        return "regress" if any("." in name for name in names) else None
    is_repeated = len(names) <= _MOST_CLASSES and len(present) >= _ROWS_PER_CLASS * len(names)
    return "classify" if is_repeated else None


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None
