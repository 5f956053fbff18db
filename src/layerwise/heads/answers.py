"""The answers of a head for rows that are encoded: labels with probabilities, numbers, words or spans, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32, I64
from layerwise.example import PART
from layerwise.heads.head import HeadData, TaskHead
from layerwise.labels.marginals import TagSpan, span_probabilities
from layerwise.labels.scorers import predicted_labels
from layerwise.labels.tags import lengths, spans
from layerwise.schema import PAIR_START
from layerwise.states import Layered

Answer = dict[str, Any]
ANSWER_KEYS = ("label", "labels", "probabilities", "value", "spans", "words", "tokens")
"""The keys of an answer for one task."""


def answers(head: HeadData, states: Layered) -> list[Answer]:
    """Return the answer of a head for each text (each pair) in `states`, in order, as JSON values.

    A task gives `{"label", "probabilities"}`, `{"labels", "probabilities"}`, `{"value"}`, `{"spans"}`, or below text
    level `{"words"}` (`{"tokens"}` at token level, without special tokens). With several tasks, each text has one of
    these under the name of each task.
    """
    paired = head.pairs is not None
    task_answers = [_answers(task, task.scores(states.layer, paired), states) for task in head.task_heads]
    if len(task_answers) == 1:
        return task_answers[0]
    names = [task.name for task in head.task_heads]
    return [dict(zip(names, text_answers, strict=True)) for text_answers in zip(*task_answers, strict=True)]


def _probabilities(task: TaskHead, scores: F32) -> F32:
    """Return the probabilities of the outputs, float32 (n, K): softmax, or one logistic per label (`multi`)."""
    if task.multi:
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * scores), np.float32)
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)


def _answers(task: TaskHead, scores: F32, states: Layered) -> list[Answer]:
    if states.level == "text":
        return _row_answers(task, scores, np.arange(len(scores)))
    docs = states.index["doc"].to_numpy()
    texts = states.texts["doc"].to_numpy()
    starts = np.searchsorted(docs, texts)
    ends = np.searchsorted(docs, texts, side="right")
    parts = [slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]
    if task.task == "tag":
        return _spans(task, scores, states, parts)
    rows = _answers_or_none(task, scores, states, docs)
    key = "tokens" if states.level == "token" else "words"
    return [{key: [row for row in rows[part] if row is not None]} for part in parts]


def _predicted(task: TaskHead, scores: F32, docs: I64) -> NDArray[Any]:
    return predicted_labels(task.task, task.multi, task.classes, scores, docs)


def _row_answers(task: TaskHead, scores: F32, docs: I64) -> list[Answer]:
    if task.task == "regress":
        return [{"value": short(value)} for value in scores[:, 0]]
    row_probabilities = [
        {name: short(p) for name, p in zip(task.classes, row, strict=True)}
        for row in _probabilities(task, scores)
    ]
    labels_of_rows = _predicted(task, scores, docs)
    key, values = ("labels", map(list, labels_of_rows)) if task.multi else ("label", labels_of_rows.tolist())
    return [
        {key: value, "probabilities": probabilities}
        for value, probabilities in zip(values, row_probabilities, strict=True)
    ]


def _answers_or_none(task: TaskHead, scores: F32, states: Layered, docs: I64) -> list[Answer | None]:
    """Return the place and the answer of each row; `None` for special tokens."""
    index = states.index
    special = index["special"].to_pylist() if "special" in index.column_names else [False] * len(docs)
    offsets = zip(index["start"].to_pylist(), index["end"].to_pylist(), special, strict=True)
    texts = index["text"].to_pylist() if "text" in index.column_names else [""] * len(docs)
    answers_of_rows: list[Answer | None] = [
        None if is_special else {**_place(start, end, text), **_of_word(answer)}
        for (start, end, is_special), text, answer in zip(
            offsets, texts, _row_answers(task, scores, docs), strict=True
        )
    ]
    if PAIR_START not in states.texts.column_names:
        return answers_of_rows
    # Of two texts that are encoded together, offsets count in the one that the row is of.
    return [
        None if answer is None else {PART: part, **answer}
        for part, answer in zip(index[PART].to_pylist(), answers_of_rows, strict=True)
    ]


def _place(start: int | None, end: int | None, text: str) -> dict[str, Any]:
    """Return where a row is in its text; the token itself where its tokenizer gives no offsets."""
    return {"start": start, "end": end, **({"text": text} if start is None else {})}


def _of_word(answer: Answer) -> Answer:
    """Return the answer for a word: of one label only its own probability."""
    if "label" not in answer:
        return answer
    return {"label": answer["label"], "probability": answer["probabilities"][answer["label"]]}


def _spans(task: TaskHead, scores: F32, states: Layered, parts: Sequence[slice]) -> list[Answer]:
    """Return the spans of each text, each with its exact probability; see `labels.marginals`."""
    docs = states.index["doc"].to_numpy()
    tags = _predicted(task, scores, docs)
    number_of = {tag: number for number, tag in enumerate(task.classes)}
    spans_of_texts = [
        [
            (label, TagSpan(number_of[tags[part.start + first]], part.start + first, part.start + after))
            for label, first, after in spans(tags[part].tolist())
        ]
        for part in parts
    ]
    all_spans = [span for text_spans in spans_of_texts for _, span in text_spans]
    probabilities = iter(span_probabilities(scores, lengths(docs), task.classes, all_spans).tolist())
    starts, ends = (states.index[name].to_pylist() for name in ("start", "end"))
    texts = states.texts["text"].to_pylist() if "text" in states.texts.column_names else [""] * len(parts)
    return [
        {
            "spans": [
                _span(label, starts[span.first], ends[span.after - 1], text, next(probabilities))
                for label, span in text_spans
            ]
        }
        for text_spans, text in zip(spans_of_texts, texts, strict=True)
    ]


def _span(label: str, start: int, end: int, text: str, probability: float) -> Answer:
    text_of_span = text[start:end]
    return {
        "start": start,
        "end": end,
        "label": label,
        "text": text_of_span,
        "probability": short(probability),
    }


def short(number: Any) -> float:
    """Return the number with the fewest digits that rounds to the same float32."""
    return float(str(np.float32(number)))
