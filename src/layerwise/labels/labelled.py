"""Read the labels of rows, name and number their classes, and refuse labels from which nothing can be learned.

Training, probing and evaluation read labels here, so that the same column means the same in each of them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.display import count_of
from layerwise.arguments import argument, is_offered
from layerwise.array_types import I64
from layerwise.choices import TASKS, one_of
from layerwise.columns import column_values, in_order, is_paired, is_present
from layerwise.errors import RequestError
from layerwise.labels.spelling import spell
from layerwise.labels.tags import convert, cut, scheme_of
from layerwise.read.printed_lists import BrokenListError, parse_list
from layerwise.states import Layered
from layerwise.wording import Message

Mask = NDArray[np.bool_]
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The rows of a dataset that have a label.

    Attributes:
        rows: the numbers of the rows, int64 (n,), ascending; for pairs of texts (n, 2).
        docs: the text of each row, int64 (n,); the first text of a pair.
        values: strings (n,) as objects; float64 (n,) for `regress`; tuples of strings where `multi`; tags in IOB2.
        dropped: the number of rows (pairs) without a label.
        multi: whether a row may have several labels.
        scheme: the scheme of the tags in the dataset.
        notes: messages for the user, such as which spellings are one class.
    """

    rows: I64
    docs: I64
    values: NDArray[Any]
    dropped: int
    multi: bool = False
    scheme: str | None = None
    notes: tuple[Message, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def pairs(self) -> bool:
        """Whether a label belongs to two rows."""
        return self.rows.ndim == 2

    def take(self, places: NDArray[Any]) -> "Labelled":
        """Return the rows at `places`."""
        return replace(self, rows=self.rows[places], docs=self.docs[places], values=self.values[places])


def read_labels(
    dataset: Layered, task: str, column: str, label_separator: str | None = None, *, scoring: bool = False
) -> Labelled:
    """Return the labels of the rows of a dataset from `column`.

    A column of the index has a value per row; a column of the texts applies to every row of its text; at token
    level a token has the label of its word. A missing label is `None`, NaN or a blank string. Labels are
    the names of their classes, see `spelling`. A text with an untagged word is left out as a whole.

    Args:
        dataset: rows on disk or in memory.
        task: `classify`, `regress` or `tag`.
        column: the column's name.
        label_separator: the text between the labels of a string with several labels.
        scoring: the labels score a head, whose task and column are fixed; the tags of all words are then returned as
            they are in the column, "" for an untagged word, and not converted to IOB2. The scheme can be recognised only
            from all texts together, see `complete_tags`.

    Raises:
        RequestError: an unknown task or column, `regress` on values that aren't numbers, `tag` on rows that
            aren't words, an invalid tag, or a separator that doesn't fit the task.
    """
    check_task(task)
    _check_separator(task, label_separator)
    if task == "tag" and dataset.level != "word":
        raise RequestError(
            f"{argument('task', 'tag')} needs rows that are words, and these are of level {dataset.level!r}; "
            f"extract with {argument('level', 'word')}, or derive words from tokens with `pool`"
        )
    docs, values = _rows_of(dataset, column)
    rows: NDArray[np.int64] = np.arange(len(docs))
    if is_paired(dataset):
        rows = rows.reshape(-1, 2)
        docs, values = docs[::2], values[::2]
    labelled = Labelled(rows, docs, _objects(values), 0)
    if task == "regress":
        return _numbers(dataset, labelled, column, scoring=scoring)
    if task == "tag":
        return _tags(labelled, column, scoring=scoring)
    return _classes(labelled, column, label_separator)


def _numbers(dataset: Layered, labelled: Labelled, column: str, *, scoring: bool) -> Labelled:
    has_label = np.array([is_present(value) for value in labelled.values], bool)
    rest = labelled.take(np.flatnonzero(has_label))
    numbers = np.array(list(map(_number, rest.values)), np.float64)
    wrong = np.flatnonzero(~(np.abs(numbers) <= _LARGEST))
    if len(wrong):
        value = rest.values[wrong[0]]
        place = _place_of(dataset, int(rest.docs[wrong[0]]))
        problem = _why_no_number(value, float(numbers[wrong[0]]), scoring=scoring)
        raise RequestError(
            f"column {column!r}{place} holds {value!r:.60}, {problem} (such values: {len(wrong):,} of {len(rest):,})"
        )
    return replace(rest, values=numbers, dropped=int((~has_label).sum()))


def _tags(labelled: Labelled, column: str, *, scoring: bool) -> Labelled:
    label_lists("tag", column, labelled.values.tolist())
    spelling = spell(labelled.values)
    tags = _objects([spelling.name(value) for value in labelled.values])
    labelled = replace(labelled, values=tags, notes=tuple(spelling.notes))
    if scoring:
        return labelled
    keep, tags, scheme = complete_tags(labelled.docs, tags)
    kept = labelled.take(np.flatnonzero(keep))
    return replace(kept, values=tags, dropped=int((~keep).sum()), scheme=scheme)


def _classes(labelled: Labelled, column: str, label_separator: str | None) -> Labelled:
    lists, notes = label_lists("classify", column, labelled.values.tolist(), label_separator)
    multi = lists is not None
    cells = labelled.values if lists is None else _objects(lists)
    spelling = spell(label for cell in cells for label in _items(cell))
    names = [tuple(dict.fromkeys(map(spelling.name, _items(cell)))) for cell in cells]
    has_label = np.array([is_present(cell) for cell in cells], bool)
    values = _objects(names if multi else [name[0] if name else "" for name in names])
    rest = replace(labelled, values=values).take(np.flatnonzero(has_label))
    return replace(rest, dropped=int((~has_label).sum()), multi=multi, notes=(*notes, *spelling.notes))


def _items(cell: Any) -> list[Any]:
    """Return the labels of a row that aren't missing."""
    return [label for label in (cell if isinstance(cell, list) else [cell]) if is_present(label)]


def complete_tags(docs: I64, tags: NDArray[Any]) -> tuple[Mask, NDArray[Any], str]:
    """Return the rows of texts in which every word has a tag, bool (n,), their tags in IOB2, and the original scheme.

    Other texts are left out as a whole: a tag after a missing one would follow the wrong word.

    Args:
        docs: the text of each word, (n,), sorted by text.
        tags: the tag of each word, (n,); "" where it is missing.

    Raises:
        RequestError: an invalid tag.
    """
    keep = ~np.isin(docs, docs[tags == ""])
    sentences = cut(tags[keep], docs[keep])
    scheme = scheme_of(sentences)
    return keep, _objects([tag for sentence in convert(sentences, scheme) for tag in sentence]), scheme


def read_column(dataset: Layered, docs: I64, column: str) -> NDArray[Any]:
    """Return the value of each of `docs` in a column, as objects (n,).

    Raises:
        RequestError: the column doesn't exist.
    """
    value_of_doc: dict[int, Any] = {}
    for part in dataset.parts():
        table = part.texts if column in part.texts.column_names else part.index
        if column not in table.column_names:
            continue
        value_of_doc.update(zip(table["doc"].to_pylist(), table[column].to_pylist(), strict=True))
    if not value_of_doc:
        raise _no_column(dataset, column)
    return _objects([value_of_doc.get(int(doc)) for doc in docs])


def _rows_of(dataset: Layered, column: str) -> tuple[I64, list[Any]]:
    docs: list[I64] = []
    values: list[Any] = []
    column_exists = False
    for part in dataset.parts():
        part_values, in_part = column_values(part, column)
        docs.append(part.index["doc"].to_numpy())
        values += part_values
        column_exists |= in_part
    if not column_exists:
        raise _no_column(dataset, column)
    return np.concatenate([np.zeros(0, np.int64), *docs]), values


def label_lists(
    task: str, column: str, values: Sequence[Any], label_separator: str | None = None
) -> tuple[list[Any] | None, list[Message]]:
    """Return the labels of each row as lists, `None` where a row has one label; and notes for the user.

    Lists, printed lists (`['a', 'b']`), and strings that a separator divides are several labels.

    Raises:
        RequestError: lists where each row needs one tag, or a printed list that is broken.
    """
    if any(isinstance(value, list) for value in values):
        if task == "tag":
            raise RequestError(
                f"column {column!r} holds lists and {argument('task', 'tag')} needs one tag per word; "
                "name another column"
            )
        unused = label_separator is not None
        return list(values), [
            Message("note.separator.lists", column=repr(column), option=argument("label_separator"))
        ] * unused
    if label_separator is not None:
        return [str(value).split(label_separator) if is_present(value) else None for value in values], []
    return printed_lists(column, values) if task == "classify" else (None, [])


def separator_note(labelled: Labelled, column: str, label_separator: str | None) -> Message | None:
    """Return a note if a separator divides no cell of the column; `None` otherwise."""
    if label_separator is None or not len(labelled) or max(map(len, labelled.values)) > 1:
        return None
    option = argument("label_separator", label_separator)
    return Message("note.separator.unused", column=repr(column), option=option)


def printed_lists(column: str, values: Sequence[Any]) -> tuple[list[Any] | None, list[Message]]:
    """Return the lists that strings print, `None` unless all that aren't missing do; and a note if only some do.

    Raises:
        RequestError: a printed list that is broken.
    """
    first = next((value for value in values if is_present(value)), None)
    if _parsed(column, first) is None:
        return None, []
    lists = [_parsed(column, value) for value in values]
    others = sum(is_present(value) for value, items in zip(values, lists, strict=True) if items is None)
    if not others:
        return lists, []
    return None, [Message("note.printed.lists", column=repr(column), example=f"{first!r:.60}", n=others)]


def _parsed(column: str, cell: Any) -> list[Any] | None:
    """Return the items of a printed list; `None` for anything else."""
    try:
        return parse_list(cell) if isinstance(cell, str) and is_present(cell) else None
    except BrokenListError as error:
        raise RequestError(
            f"column {column!r} holds {cell!r:.60}, a printed list that can't be read ({error}); correct the cell"
        ) from None


def _number(value: Any) -> float:
    """Return a value as a number, NaN for one that isn't."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _why_no_number(value: Any, number: float, *, scoring: bool) -> str:
    """Return why a value can't be learned as a number, and what to do."""
    if np.isfinite(number):
        return (
            f"which is beyond float32 ({_LARGEST:.2g}), in which heads compute; give the numbers in a larger unit, or leave it "
            "empty"
        )
    with_point = _with_point(value)
    if with_point is not None:
        corrected = f", or in a file for {argument('labels_from')}" if is_offered("labels_from") else ""
        return (
            f"a number with a comma, and numbers need a point; write {with_point}, in the source{corrected}"
        )
    if scoring:
        return "which isn't a finite number; the head was trained on numbers: correct it, or leave it empty"
    return (
        f"which isn't a finite number; {argument('task', 'regress')} needs numbers: correct it, or use "
        f"{argument('task', 'classify')}"
    )


def _with_point(value: Any) -> str | None:
    """Return how a number with a decimal comma is written with a point; both readings where the comma may divide thousands.

    >>> _with_point("3,5"), _with_point("1.234,5"), _with_point("1,234"), _with_point("1,234.5"), _with_point("a,5")
    ('3.5', '1234.5', '1.234 or 1234, whichever is meant', '1234.5', None)
    """
    text = str(value).strip()
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+\.\d+", text):
        return text.replace(",", "")
    if not re.fullmatch(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+", text):
        return None
    whole, _, decimals = text.replace(".", "").partition(",")
    is_clear = len(decimals) != 3 or "." in text
    return (
        f"{whole}.{decimals}" if is_clear else f"{whole}.{decimals} or {whole}{decimals}, whichever is meant"
    )


def _place_of(dataset: Layered, doc: int) -> str:
    """Return which text a label belongs to, by the line of its source where that is known."""
    for part in dataset.parts():
        texts = part.texts
        if not {"doc", "source", "line"} <= set(texts.column_names):
            continue
        rows = np.flatnonzero(texts["doc"].to_numpy() == doc)
        if len(rows):
            source, line = (texts[name][int(rows[0])].as_py() for name in ("source", "line"))
            if line is None:
                break
            return f" of the text in {source}, line {line},"
    return f" of text {doc},"


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    out = np.empty(len(values), object)
    for position, value in enumerate(values):
        out[position] = value
    return out


def _no_column(dataset: Layered, column: str) -> RequestError:
    names: dict[str, None] = {}
    for part in dataset.parts():
        names |= dict.fromkeys([*part.index.column_names, *part.texts.column_names])
    return RequestError(f"there is no column {column!r} in the dataset; there are {', '.join(names)}")


def class_names(values: NDArray[Any], multi: bool = False) -> tuple[str, ...]:
    """Return the classes among labels (n,), in order; with `multi` each value holds several labels."""
    return tuple(in_order({label for labels in values for label in labels} if multi else set(values)))


def encode(values: NDArray[Any], classes: Sequence[str], multi: bool = False) -> NDArray[Any]:
    """Return labels as class numbers, -1 if not in `classes`, int64 (n,); `multi`: 0 or 1, float32 (n, K)."""
    number: Mapping[str, int] = {name: position for position, name in enumerate(classes)}
    if not multi:
        return np.array([number.get(value, -1) for value in values], np.int64)
    out = np.zeros((len(values), len(classes)), np.float32)
    for row, labels in zip(out, values, strict=True):
        row[[number[label] for label in labels if label in number]] = 1
    return out


def check_task(task: str) -> str:
    """Return `task` if it is one of `TASKS`.

    Raises:
        RequestError: an unknown task; the message lists the known ones.
    """
    return one_of("task", task, TASKS)


def _check_separator(task: str, label_separator: str | None) -> None:
    if label_separator == "":
        raise RequestError(
            f"{argument('label_separator', '')} is empty, so it separates nothing; "
            "give the text between two labels, such as ';'"
        )
    if label_separator is not None and task != "classify":
        raise RequestError(
            f"{argument('label_separator', label_separator)} only applies to {argument('task', 'classify')}, "
            f"not to {argument('task', task)}; leave it out"
        )


def check_labelled(rows: int, columns: Sequence[str], *, part: str = "", scoring: bool = False) -> None:
    """Raise RequestError if `rows`, the number of rows with a label in one of these columns, is 0.

    `part` is the part of the split that the rows are of, such as `training`; with `scoring` the columns are those of a
    head, so no other can be named.
    """
    if not rows:
        names = ", ".join(map(repr, columns))
        other = "" if scoring else f", or use another column for {argument('label')}"
        raise RequestError(
            f"no {part + ' ' if part else ''}row has a label in column {names}; give rows with labels{other}"
        )


def check_numbers(values: NDArray[np.float64], column: str) -> None:
    """Raise RequestError if the numbers to learn, (n,), are all equal."""
    if values.std() == 0:
        raise RequestError(
            f"column {column!r}: all {len(values):,} numbers are {values[0]:g}, so there is nothing to learn; "
            f"use another column for {argument('label')}"
        )


def check_classes(classes: int, rows: int, column: str, *, least_rows: int = 3) -> None:
    """Raise RequestError if there are as many classes as rows, where there are at least `least_rows` rows."""
    if rows >= least_rows and classes >= rows:
        raise RequestError(
            f"column {column!r} has {count_of(classes, 'class', 'classes')} for {count_of(rows, 'row')}, so there is "
            f"nothing to learn; "
            f"for numbers use {argument('task', 'regress')}"
        )
