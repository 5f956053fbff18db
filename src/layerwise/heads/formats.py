"""Write predictions as lines of text: JSON lines, CSV, and CoNLL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
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


def check_format(head: HeadData, to: str) -> str:
    """Return `to` if a head's answers can be written in this format.

    Raises:
        RequestError: an unknown format, or one that can't hold the answers.
    """
    if to not in FORMATS:
        raise RequestError(f"{argument('to', to)} doesn't exist; choose one of {', '.join(FORMATS)}")
    level = head.rows["level"]
    if to == "conll" and (level != "word" or any(t.multi or t.task == "regress" for t in head.task_heads)):
        raise RequestError(
            f"{argument('to', to)} needs a head that gives every word one label or tag; use jsonl or csv"
        )
    broken = [c for t in head.task_heads for c in t.classes if not c.strip() or c != c.translate(_BREAKS)]
    if to == "conll" and broken:
        raise RequestError(
            f"{argument('to', to)} can't hold the label {broken[0]!r:.60}, which is blank or has a tab or a line end in "
            "it; use jsonl or csv"
        )
    if to == "csv" and level != "text" and len(head.task_heads) > 1:
        raise RequestError(
            f"{argument('to', to)} can hold only one task where a text has many rows; use jsonl"
        )
    return to


def lines(head: HeadData, to: str, predictions: Iterable[Prediction]) -> Iterator[str]:
    """Yield predictions in a format, line by line, without line ends."""
    writers: dict[str, Callable[[HeadData, Iterable[Prediction]], Iterator[str]]] = {
        "jsonl": _jsonl,
        "csv": _csv,
        "conll": _conll,
    }
    return writers[to](head, predictions)


def _jsonl(head: HeadData, predictions: Iterable[Prediction]) -> Iterator[str]:
    return (json.dumps(prediction.to_json()) for prediction in predictions)


def _csv(head: HeadData, predictions: Iterable[Prediction]) -> Iterator[str]:
    """Yield a header, then a row per text, or per word or span below text level; the text isn't written."""
    one_row_per_text = head.rows["level"] == "text"
    header = ["doc"]
    for number, prediction in enumerate(predictions):
        if not number:  # the first text shows whether texts have ids
            header += ["id"] if prediction.example.id is not None else []
            yield _row([*header, *_columns(head)])
        first_cells = [prediction.doc, *([prediction.example.id] if len(header) > 1 else [])]
        if one_row_per_text:
            yield _row(
                [
                    *first_cells,
                    *(
                        cell
                        for task, answer in _answers_by_task(head, prediction)
                        for cell in _cells(task, answer)
                    ),
                ]
            )
            continue
        for row in next(iter(prediction.answer.values())):
            cells = {key: value for key, value in row.items() if key != "text"}
            label_cells = [_joined(head.task_heads[0], cells.popitem()[1])] if "labels" in cells else []
            yield _row([*first_cells, *cells.values(), *label_cells])


def _row(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)  # line breaks in a cell are quoted
    return out.getvalue().removesuffix("\r\n")


def _columns(head: HeadData) -> list[str]:
    if head.rows["level"] != "text":
        task = head.task_heads[0]
        return ["start", "end", "value" if task.task == "regress" else "labels" if task.multi else "label"]
    out = []
    for task in head.task_heads:
        start = f"{task.name}." if len(head.task_heads) > 1 else ""
        plain = task.task == "classify" and not task.multi
        names = ["value"] if task.task == "regress" else ["labels"] if task.multi else ["label"]
        out += [start + name for name in (*names, *(f"p:{c}" for c in task.classes if plain))]
    return out


def _answers_by_task(head: HeadData, prediction: Prediction) -> Iterator[tuple[TaskHead, dict[str, Any]]]:
    """Yield each task with its answer."""
    for task in head.task_heads:
        yield task, prediction.answer[task.name] if len(head.task_heads) > 1 else prediction.answer


def _cells(task: TaskHead, answer: dict[str, Any]) -> list[Any]:
    if "labels" in answer:
        return [_joined(task, answer["labels"])]
    return [answer["label"], *answer["probabilities"].values()] if "label" in answer else [answer["value"]]


def _joined(task: TaskHead, labels: Iterable[str]) -> str:
    return (task.label_separator or ";").join(labels)


def _conll(head: HeadData, predictions: Iterable[Prediction]) -> Iterator[str]:
    """Yield a line per word with the label of each task, and an empty line after each text."""
    for prediction in predictions:
        offsets = _word_offsets(prediction)
        columns = [_tags(task, answer, offsets) for task, answer in _answers_by_task(head, prediction)]
        for (start, end), *tags in zip(offsets, *columns, strict=True):
            word = prediction.example.text[start:end].translate(_BREAKS)
            yield "\t".join([word, *tags])
        yield ""


def _word_offsets(prediction: Prediction) -> list[tuple[int, int]]:
    """Return the start and end of each word of a text, including words without a row."""
    if prediction.example.words is None:
        return split_words(prediction.example.text)
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
    number_at = {start: number for number, (start, _) in enumerate(offsets)}
    for span in answer["spans"]:
        label = "" if span["label"] == NO_LABEL else f"-{span['label']}"
        number = number_at[span["start"]]
        tags[number] = f"B{label}"
        for inside in range(number + 1, len(offsets)):
            if offsets[inside][1] > span["end"]:
                break
            tags[inside] = f"I{label}"
    return tags
