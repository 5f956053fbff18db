"""Predictions as lines of text: JSON lines, CSV, and CoNLL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from layerwise.errors import RequestError
from layerwise.heads.head import HeadData, TaskHead
from layerwise.heads.predict import Prediction
from layerwise.word_split import split_words

FORMATS = ("jsonl", "csv", "conll")
NO_LABEL = "_"  # the label of spans whose tags have none, and of words that got no row
_BREAKS = dict.fromkeys(map(ord, "\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), " ")  # what ends a cell or a line


def check_format(head: HeadData, to: str) -> str:
    """Return `to` when a head's answers can be written so.

    Raises:
        RequestError: no such format, or one that the answers don't fit.
    """
    if to not in FORMATS:
        raise RequestError(f"--to {to!r} doesn't exist; choose one of {', '.join(FORMATS)}")
    level = head.rows["level"]
    if to == "conll" and (level != "word" or any(t.multi or t.task == "regress" for t in head.tasks)):
        raise RequestError(
            "--to conll needs a head that gives every word one label or tag; take --to jsonl or csv"
        )
    broken = [c for t in head.tasks for c in t.classes if not c.strip() or c != c.translate(_BREAKS)]
    if to == "conll" and broken:
        raise RequestError(
            f"--to conll can't hold the label {broken[0]!r:.60}, which is blank or has a tab or a line end in it; take "
            "--to jsonl or csv"
        )
    if to == "csv" and level != "text" and len(head.tasks) > 1:
        raise RequestError("--to csv takes one task where a text has many rows; take --to jsonl")
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
    return (json.dumps(found.to_json()) for found in predictions)


def _csv(head: HeadData, predictions: Iterable[Prediction]) -> Iterator[str]:
    """A header, then a row per text, or per word or span below text level; the text itself isn't written."""
    flat = head.rows["level"] == "text"
    titles = ["doc"]
    for number, found in enumerate(predictions):
        if not number:  # whether there are ids shows at the first text
            titles += ["id"] if found.example.id is not None else []
            yield _row([*titles, *_columns(head)])
        start = [found.doc, *([found.example.id] if len(titles) > 1 else [])]
        if flat:
            yield _row([*start, *(cell for task, one in _each(head, found) for cell in _cells(task, one))])
            continue
        for row in next(iter(found.answer.values())):
            own = {key: value for key, value in row.items() if key != "text"}
            last = [_joined(head.tasks[0], own.popitem()[1])] if "labels" in own else []
            yield _row([*start, *own.values(), *last])


def _row(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)  # what ends a line is quoted in a cell
    return out.getvalue().removesuffix("\r\n")


def _columns(head: HeadData) -> list[str]:
    if head.rows["level"] != "text":
        task = head.tasks[0]
        return ["start", "end", "value" if task.task == "regress" else "labels" if task.multi else "label"]
    out = []
    for task in head.tasks:
        start = f"{task.name}." if len(head.tasks) > 1 else ""
        plain = task.task == "classify" and not task.multi
        names = ["value"] if task.task == "regress" else ["labels"] if task.multi else ["label"]
        out += [start + name for name in (*names, *(f"p:{c}" for c in task.classes if plain))]
    return out


def _each(head: HeadData, found: Prediction) -> Iterator[tuple[TaskHead, dict[str, Any]]]:
    """Yield each task with its answer."""
    for task in head.tasks:
        yield task, found.answer[task.name] if len(head.tasks) > 1 else found.answer


def _cells(task: TaskHead, answer: dict[str, Any]) -> list[Any]:
    if "labels" in answer:
        return [_joined(task, answer["labels"])]
    return [answer["label"], *answer["probabilities"].values()] if "label" in answer else [answer["value"]]


def _joined(task: TaskHead, labels: Iterable[str]) -> str:
    return (task.separator or ";").join(labels)


def _conll(head: HeadData, predictions: Iterable[Prediction]) -> Iterator[str]:
    """A line per word, the label of each task after it, and an empty line after each text."""
    for found in predictions:
        places = _places(found)
        columns = [_tags(task, one, places) for task, one in _each(head, found)]
        for (start, end), *tags in zip(places, *columns, strict=True):
            word = found.example.text[start:end].translate(_BREAKS)
            yield "\t".join([word, *tags])
        yield ""


def _places(found: Prediction) -> list[tuple[int, int]]:
    """Return where the words of a text begin and end, those that got no row as well."""
    if found.example.words is None:
        return split_words(found.example.text)
    out, start = [], 0
    for word in found.example.words:
        out.append((start, start + len(word)))
        start += len(word) + 1
    return out


def _tags(task: TaskHead, answer: dict[str, Any], places: list[tuple[int, int]]) -> list[str]:
    if task.task != "tag":
        known = {(row["start"], row["end"]): row["label"] for row in answer["words"]}
        return [known.get(place, NO_LABEL) for place in places]
    tags = ["O"] * len(places)
    number_at = {start: number for number, (start, _) in enumerate(places)}
    for span in answer["spans"]:
        label = "" if span["label"] == NO_LABEL else f"-{span['label']}"
        number = number_at[span["start"]]
        tags[number] = f"B{label}"
        for inside in range(number + 1, len(places)):
            if places[inside][1] > span["end"]:
                break
            tags[inside] = f"I{label}"
    return tags
