"""Write predictions as lines of text: JSON lines, CSV, and CoNLL."""

from __future__ import annotations

import csv
import io
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.heads.head import HeadData, TaskHead
from layerwise.heads.predict import Prediction
from layerwise.word_split import split_words

FORMATS = ("jsonl", "csv", "conll")
NO_LABEL = "_"  # the label of spans whose tags have no label, and of words without a row
_BREAKS = dict.fromkeys(
    map(ord, "\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), " "
)  # characters that end a cell or a line
Heads = Mapping[str, HeadData]
"""Heads by their names, as in a `HeadGroup`."""


def check_format(heads: Heads, to: str) -> str:
    """Return `to` if the answers of heads can be written in this format.

    Raises:
        RequestError: an unknown format, or one that can't hold the answers.
    """
    if to not in FORMATS:
        raise RequestError(f"{argument('to', to)} doesn't exist; choose one of {', '.join(FORMATS)}")
    tasks = [task for head in heads.values() for task in head.task_heads]
    if to == "conll":
        _check_conll(heads, tasks)
    if to == "csv" and len(tasks) > 1 and any(head.rows["level"] != "text" for head in heads.values()):
        what = "head" if len(heads) > 1 else "task"
        raise RequestError(
            f"{argument('to', to)} can hold only one {what} where a text has many rows; use jsonl"
        )
    return to


def _check_conll(heads: Heads, tasks: Sequence[TaskHead]) -> None:
    levels = {head.rows["level"] for head in heads.values()}
    if levels != {"word"} or any(task.multi or task.task == "regress" for task in tasks):
        what = "a head that gives" if len(heads) == 1 else "heads that all give"
        others = "jsonl or csv" if len(tasks) == 1 or levels == {"text"} else "jsonl"
        raise RequestError(
            f"{argument('to', 'conll')} needs {what} every word one label or tag; use {others}"
        )
    broken = [c for task in tasks for c in task.classes if not c.strip() or c != c.translate(_BREAKS)]
    if broken:
        raise RequestError(
            f"{argument('to', 'conll')} can't hold the label {broken[0]!r:.60}, which is blank or has a tab or a line end in "
            "it; use jsonl or csv"
        )


def lines(
    heads: Heads, to: str, predictions: Iterable[Prediction], *, has_ids: bool = False
) -> Iterator[str]:
    """Yield predictions in a format, line by line, without line ends.

    Args:
        heads: the heads that made them.
        to: one of `FORMATS`.
        predictions: the predictions, in order.
        has_ids: whether texts have ids; without it the first text decides for CSV.
    """
    if to == "csv":
        return _csv(heads, predictions, has_ids=has_ids)
    return _conll(heads, predictions) if to == "conll" else _jsonl(predictions)


def _jsonl(predictions: Iterable[Prediction]) -> Iterator[str]:
    return (json.dumps(prediction.to_json()) for prediction in predictions)


def _task_answers(heads: Heads, prediction: Prediction) -> Iterator[tuple[TaskHead, dict[str, Any]]]:
    """Yield each task of each head with its answer."""
    for name, head in heads.items():
        answer = prediction.answer[name] if len(heads) > 1 else prediction.answer
        for task in head.task_heads:
            yield task, answer[task.name] if len(head.task_heads) > 1 else answer


def _csv(heads: Heads, predictions: Iterable[Prediction], *, has_ids: bool) -> Iterator[str]:
    """Yield a header, then a row per text, or per word or span below text level; the text isn't written."""
    is_per_text = all(head.rows["level"] == "text" for head in heads.values())
    columns: list[str] | None = None
    for prediction in predictions:
        kept = {**prediction.kept.of_text, **prediction.kept.of_words}
        if columns is None:
            has_ids = (has_ids or prediction.id is not None) and "id" not in kept
            columns = ["doc", *(["id"] if has_ids else []), *kept]
            yield _row([*columns, *_text_columns(heads)] if is_per_text else [*columns, *_row_columns(heads)])
        values = {"doc": prediction.doc, "id": prediction.id, **kept}
        if is_per_text:
            answers = _task_answers(heads, prediction)
            cells = [cell for task, answer in answers for cell in _cells(task, answer)]
            first_cells = [_cell(values.get(name)) for name in columns]
            yield _row([*first_cells, "true" if prediction.is_empty else "", *cells])
        else:
            yield from _rows_of_text(heads, prediction, columns, values)


def _rows_of_text(
    heads: Heads, prediction: Prediction, columns: Sequence[str], values: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a row per word or span; a kept column with a value per word has the values of its words."""
    task, answer = next(_task_answers(heads, prediction))
    offsets = _word_offsets(heads, prediction) if prediction.kept.of_words else []
    for row in next(iter(answer.values())):
        inside = [n for n, word in enumerate(offsets) if _overlaps(row, *word)]
        of_row = {
            name: [values_of_words[n] for n in inside]
            for name, values_of_words in prediction.kept.of_words.items()
        }
        here = {
            **values,
            **{name: items[0] if len(items) == 1 else items for name, items in of_row.items()},
        }
        first_cells = [_cell(here.get(name)) for name in columns]
        yield _row([*first_cells, row["start"], row["end"], *_cells(task, row)])


def _overlaps(row: Mapping[str, Any], start: int, end: int) -> bool:
    """Return whether a row shares characters with a word; never where its tokenizer gives no offsets."""
    return row["start"] is not None and start < row["end"] and bool(row["start"] < end)


def _row(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)  # line breaks in a cell are quoted
    return out.getvalue().removesuffix("\r\n")


def _cell(value: Any) -> str:
    """Return a kept value as a cell: strings as they are, nothing for null, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text_columns(heads: Heads) -> list[str]:
    """Return the columns of answers for texts; of several heads or tasks with their names before them."""
    out = ["empty"]
    for name, head in heads.items():
        for task in head.task_heads:
            names = [*([name] if len(heads) > 1 else []), *([task.name] if len(head.task_heads) > 1 else [])]
            out += [".".join((*names, column)) for column in _columns(task)]
    return out


def _row_columns(heads: Heads) -> list[str]:
    """Return the columns of answers for words or spans."""
    (head,) = heads.values()
    (task,) = head.task_heads
    plain = task.task != "regress" and not task.multi
    return ["start", "end", *(["label", "probability"] if plain else _columns(task))]


def _columns(task: TaskHead) -> list[str]:
    if task.task == "regress":
        return ["value"]
    return ["labels" if task.multi else "label", *(f"p:{name}" for name in task.classes)]


def _cells(task: TaskHead, answer: Mapping[str, Any]) -> list[Any]:
    """Return the cells of the answer for a text, a word or a span, without its offsets."""
    if "value" in answer:
        return [answer["value"]]
    label = _joined(task, answer["labels"]) if "labels" in answer else answer["label"]
    if "probability" in answer:
        return [label, answer["probability"]]
    return [label, *answer["probabilities"].values()]


def _joined(task: TaskHead, labels: Iterable[str]) -> str:
    return (task.label_separator or ";").join(labels)


def _conll(heads: Heads, predictions: Iterable[Prediction]) -> Iterator[str]:
    """Yield a line per word with its kept columns and the label of each task, and an empty line after each text.

    Kept columns with one value for the text are comments before it.
    """
    for prediction in predictions:
        for name, value in prediction.kept.of_text.items():
            yield f"# {name} = {_cell(value)}".translate(_BREAKS)
        offsets = _word_offsets(heads, prediction)
        kept = [_word_cells(values) for values in prediction.kept.of_words.values()]
        tags = [_tags(task, answer, offsets) for task, answer in _task_answers(heads, prediction)]
        for (start, end), *cells in zip(offsets, *kept, *tags, strict=True):
            word = prediction.example.text[start:end].translate(_BREAKS)
            yield "\t".join([word, *cells])
        yield ""


def _word_cells(values: Iterable[Any]) -> list[str]:
    return [_cell(value).translate(_BREAKS) or NO_LABEL for value in values]


def _word_offsets(heads: Heads, prediction: Prediction) -> list[tuple[int, int]]:
    """Return the start and end of each word of a text, including words without a row."""
    if prediction.example.words is None:
        return split_words(prediction.example.text, next(iter(heads.values())).rows["word_split"])
    offsets, start = [], 0
    for word in prediction.example.words:
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    return offsets


def _tags(task: TaskHead, answer: dict[str, Any], offsets: list[tuple[int, int]]) -> list[str]:
    if task.task != "tag":
        label_at = {(row["start"], row["end"]): row["label"] for row in answer["words"]}
        return [label_at.get(word_offsets, NO_LABEL) for word_offsets in offsets]
    tags = ["O"] * len(offsets)
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    for span in answer["spans"]:
        label = "" if span["label"] == NO_LABEL else f"-{span['label']}"
        # A span that stands for a redacted one may begin and end within a word.
        inside = range(bisect_right(ends, span["start"]), bisect_left(starts, span["end"]))
        for number in inside:
            tags[number] = f"{'B' if number == inside[0] else 'I'}{label}"
    return tags
