"""Read the labels of the rows of a dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.arguments import argument
from layerwise.columns import column_values, is_paired, there
from layerwise.errors import RequestError
from layerwise.states import I64, Layered

TASKS = ("classify", "regress", "tag")


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The rows of a dataset that have a label.

    Attributes:
        rows: their numbers, int64 (n,), ascending; for pairs of texts (n, 2).
        docs: the text of each row, int64 (n,); the first text of a pair.
        values: strings (n,) as objects; float64 (n,) for `regress`; tuples of strings where `multi`.
        dropped: the number of rows (pairs) without a label.
        multi: whether a row may have several labels.
    """

    rows: I64
    docs: I64
    values: NDArray[Any]
    dropped: int
    multi: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @property
    def pairs(self) -> bool:
        """Whether a label belongs to two rows."""
        return self.rows.ndim == 2

    def take(self, places: NDArray[Any], dropped: int = 0) -> "Labelled":
        """Return the rows at `places`; `dropped` is added to the count."""
        return Labelled(
            self.rows[places], self.docs[places], self.values[places], self.dropped + dropped, self.multi
        )


def read_labels(dataset: Layered, task: str, column: str, label_separator: str | None = None) -> Labelled:
    """Return the labels of the rows of a dataset from `column`.

    A column of the index has a value per row; a column of the texts applies to every row of its text; at token
    level a token has the label of its word. A missing label is `None` or an empty string.

    Args:
        dataset: rows on disk or in memory.
        task: `classify`, `regress` or `tag`.
        column: the column's name.
        label_separator: the text between the labels of a string with several labels.

    Raises:
        RequestError: an unknown task or column, `regress` on values that aren't numbers, or `tag` on rows that
            aren't words.
    """
    if task not in TASKS:
        raise RequestError(f"task {task!r} doesn't exist; choose one of {', '.join(TASKS)}")
    if task == "tag" and dataset.level != "word":
        raise RequestError(
            f"task 'tag' needs rows that are words, and these are of level {dataset.level!r}; "
            "extract with --level word, or derive words with `layerwise pool --level word`"
        )
    docs, values = _rows_of(dataset, column)
    rows: NDArray[np.int64] = np.arange(len(docs))
    if is_paired(dataset):
        rows = rows.reshape(-1, 2)
        docs, values = docs[::2], values[::2]
    convert, multi = _converter(task, column, values, label_separator)
    if task == "tag":
        return Labelled(rows, docs, _objects([_text(v) for v in values]), 0)
    has_label = np.array([there(value) for value in values], bool)
    converted = [convert(value) for value, is_labelled in zip(values, has_label, strict=True) if is_labelled]
    out = np.array(converted, np.float64) if task == "regress" else _objects(converted)
    return Labelled(rows[has_label], docs[has_label], out, int(len(has_label) - has_label.sum()), multi)


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


def _converter(
    task: str, column: str, values: Sequence[Any], label_separator: str | None
) -> tuple[Callable[[Any], Any], bool]:
    lists = any(isinstance(value, list) for value in values)
    if task == "regress":
        if label_separator is not None:
            raise RequestError(
                f"{argument('label_separator', label_separator)} doesn't go with {argument('task', 'regress')}, "
                "which reads a number; leave it out"
            )
        return lambda value: _number(column, value), False
    if label_separator is not None and not lists and task == "classify":
        return lambda value: tuple(
            dict.fromkeys(p.strip() for p in value.split(label_separator) if p.strip())
        ), True
    if lists:
        if task == "tag":
            raise RequestError(f"column {column!r} holds lists; task 'tag' needs one tag per word")
        return lambda value: tuple(dict.fromkeys(_text(v) for v in value if there(v))), True
    return _text, False


def _number(column: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise RequestError(
            f"column {column!r} holds {value!r:.60}, which is no finite number; "
            "task 'regress' reads numbers: mend it, or use --task classify"
        )
    return number


def _text(value: Any) -> str:
    return "" if value is None else str(value)


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
