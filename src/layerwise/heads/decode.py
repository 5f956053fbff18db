"""Turn scores into answers: labels with probabilities, numbers, words, and spans of characters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.heads.head import HeadData, TaskHead
from layerwise.labels.scorers import predicted_labels
from layerwise.labels.tags import spans
from layerwise.states import F32, I64, Layered

Answer = dict[str, Any]


def probabilities(task: TaskHead, scores: F32) -> F32:
    """Return the probabilities of the outputs, float32 (n, K): softmax, or one logistic per label (`multi`)."""
    if task.multi:
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * scores), np.float32)
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)


def answers(head: HeadData, states: Layered) -> list[Answer]:
    """Return the answer of a head for each text (each pair) in `states`, in order, as JSON values.

    A task gives `{"label", "probabilities"}`, `{"labels"}`, `{"value"}`, `{"spans"}`, or below text level
    `{"words"}` (`{"tokens"}` at token level, without special tokens). With several tasks, each text has one of
    these under the name of each task.
    """
    paired = head.pairs is not None
    task_answers = [_answers(task, task.scores(states.layer, paired), states) for task in head.tasks]
    if len(task_answers) == 1:
        return task_answers[0]
    names = [task.name for task in head.tasks]
    return [dict(zip(names, text_answers, strict=True)) for text_answers in zip(*task_answers, strict=True)]


def _answers(task: TaskHead, scores: F32, states: Layered) -> list[Answer]:
    if states.level == "text":
        return _row_answers(task, scores, np.arange(len(scores)))
    docs = states.index["doc"].to_numpy()
    texts = states.texts["doc"].to_numpy()
    starts = np.searchsorted(docs, texts)
    ends = np.searchsorted(docs, texts, side="right")
    parts = [slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
    if task.task == "tag":
        return _spans(_predicted(task, scores, docs), states, parts)
    rows = _answers_or_none(task, scores, states, docs)
    key = "tokens" if states.level == "token" else "words"
    return [{key: [row for row in rows[part] if row is not None]} for part in parts]


def _predicted(task: TaskHead, scores: F32, docs: I64) -> NDArray[Any]:
    return predicted_labels(task.task, task.multi, task.classes, scores, docs)


def _row_answers(task: TaskHead, scores: F32, docs: I64) -> list[Answer]:
    labels_of_rows = _predicted(task, scores, docs)
    if task.task == "regress":
        return [{"value": short(value)} for value in scores[:, 0]]
    if task.multi:
        return [{"labels": list(labels)} for labels in labels_of_rows]
    row_probabilities = probabilities(task, scores)
    return [
        {"label": label, "probabilities": {n: short(p) for n, p in zip(task.classes, row, strict=True)}}
        for label, row in zip(labels_of_rows.tolist(), row_probabilities, strict=True)
    ]


def _answers_or_none(task: TaskHead, scores: F32, states: Layered, docs: I64) -> list[Answer | None]:
    """Return the character offsets and the answer of each row; `None` for special tokens."""
    index = states.index
    special = index["special"].to_pylist() if "special" in index.column_names else [False] * len(docs)
    key = "value" if task.task == "regress" else "labels" if task.multi else "label"
    offsets = zip(index["start"].to_pylist(), index["end"].to_pylist(), special, strict=True)
    return [
        None if is_special else {"start": start, "end": end, key: answer[key]}
        for (start, end, is_special), answer in zip(offsets, _row_answers(task, scores, docs), strict=True)
    ]


def _spans(tags: NDArray[Any], states: Layered, parts: Sequence[slice]) -> list[Answer]:
    starts, ends = (states.index[name].to_pylist() for name in ("start", "end"))
    texts = states.texts["text"].to_pylist() if "text" in states.texts.column_names else [""] * len(parts)
    out = []
    for part, text in zip(parts, texts, strict=True):
        text_spans = []
        for label, first, after in spans(tags[part].tolist()):
            start, end = starts[part.start + first], ends[part.start + after - 1]
            text_spans.append({"start": start, "end": end, "label": label, "text": text[start:end]})
        out.append({"spans": text_spans})
    return out


def short(number: Any) -> float:
    """Return the number with the fewest digits that rounds to the same float32."""
    return float(str(np.float32(number)))
