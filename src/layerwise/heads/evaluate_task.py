"""Score one task of a head on labelled rows: scores with intervals, classes, confusion, labels that it has never seen."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32, I64
from layerwise.errors import RequestError
from layerwise.heads.evaluation import Confusion, TaskEvaluation
from layerwise.heads.head import TaskHead
from layerwise.labels.conflicts import note_of_texts
from layerwise.labels.groups import DOCUMENT_COLUMNS, MIN_DOCUMENTS, find_documents
from layerwise.labels.intervals import ENOUGH_UNITS, score_intervals
from layerwise.labels.labelled import check_labelled, complete_tags
from layerwise.labels.metrics import confusion
from layerwise.labels.scorers import predicted_labels, score
from layerwise.labels.spelling import shortened
from layerwise.labels.unknown import match_classes
from layerwise.results import Estimate


@dataclass
class ScoredRows:
    """The labels of one task collected so far, and the scores of the same rows.

    `texts` is equal for rows of identical texts (`conflicts.text_hashes`).
    `documents` holds the values of the columns that tell documents (`DOCUMENT_COLUMNS`), as objects (n,).
    """

    gold: list[NDArray[Any]] = field(default_factory=list)
    docs: list[NDArray[np.int64]] = field(default_factory=list)
    texts: list[NDArray[np.int64]] = field(default_factory=list)
    documents: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    scores: list[F32] = field(default_factory=list)
    dropped: int = 0
    notes: list[str] = field(default_factory=list)


def evaluate_task(task: TaskHead, task_rows: ScoredRows, notes: Sequence[str]) -> TaskEvaluation:
    """Return the scores of a task.

    Args:
        task: the head of the task.
        task_rows: its labelled rows.
        notes: what the reader of the scores should know about the source, a sentence each.

    Raises:
        RequestError: no row has a label, or none has a label that the head has seen.
    """
    gold, docs, texts, scores = (
        np.concatenate(parts) for parts in (task_rows.gold, task_rows.docs, task_rows.texts, task_rows.scores)
    )
    documents = {
        column: np.concatenate([part[column] for part in task_rows.documents]) for column in DOCUMENT_COLUMNS
    }
    dropped = task_rows.dropped
    if task.task == "tag":  # the scheme of the tags can be recognised only now that all texts are read
        keep, gold, _ = complete_tags(docs, gold)
        dropped += int((~keep).sum())
        docs, texts, scores = docs[keep], texts[keep], scores[keep]
        documents = {column: values[keep] for column, values in documents.items()}
    check_labelled(len(gold), [task.label], scoring=True)
    if task.classes:
        gold, _ = match_classes(gold, task.classes, multi=task.multi)
    conflicts = note_of_texts(texts, docs, gold)
    unknown = unknown_labels(task, gold)
    predictions = predicted_labels(task.task, task.multi, task.classes, scores, docs)
    result = score(task.task, task.multi, gold, predictions, docs)
    units, unit = _units(docs, documents)
    ends = score_intervals(task.task, task.multi, gold, predictions, docs, units)
    return TaskEvaluation(
        name=task.name,
        task=task.task,
        label=task.label,
        rows=result.rows,
        dropped=dropped,
        scores={
            name: Estimate(value, *ends.get(name, (None, None))) for name, value in result.scores.items()
        },
        unknown_labels=unknown,
        per_label=_per_label(task, result.classes),
        confusion=_confusion(task, gold, predictions),
        notes=(
            *notes,
            *dict.fromkeys(task_rows.notes),
            *([conflicts] if conflicts else []),
            *_notes(task, gold, unknown, len(np.unique(units)), unit),
        ),
    )


def _per_label(task: TaskHead, classes: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the scores of each label, in the order of the head's classes; others follow, sorted."""
    names = ("precision", "recall", "f1", "support")
    places = {label: place for place, label in enumerate(task.classes)}
    ordered = sorted(classes, key=lambda entry: places.get(entry["label"], len(places)))
    return {entry["label"]: {name: entry[name] for name in names} for entry in ordered}


def _confusion(task: TaskHead, gold: NDArray[Any], predictions: NDArray[Any]) -> Confusion | None:
    if task.task == "regress" or task.multi:
        return None
    labels, counts = confusion(gold.tolist(), predictions.tolist(), task.classes)
    return Confusion(labels, counts.tolist())


def _units(docs: I64, documents: Mapping[str, NDArray[Any]]) -> tuple[I64, str]:
    """Return the unit of each row that intervals take for independent, int64 (n,), and what a unit is."""
    first_rows = np.unique(docs, return_index=True)[1]
    by_document = find_documents(docs, lambda _, column: documents[column][first_rows])
    if by_document is None or by_document.count(np.ones(len(docs), bool)) < MIN_DOCUMENTS:
        return docs, "text"
    return by_document.numbers, "file" if by_document.column == "source" else "document"


def unknown_labels(task: TaskHead, gold: NDArray[Any]) -> dict[str, int]:
    """Return the number of rows of each label that the head has never seen, for tags of spans; the most frequent first.

    Args:
        task: the head of a task.
        gold: the labels (n,); tags in IOB2.

    Raises:
        RequestError: the head has seen none of the labels.
    """
    if task.task == "regress":
        return {}
    classes = set(task.classes)
    labels = [set(row) if task.multi else {row} for row in gold]
    if task.task == "tag":
        classes = {_type_of(tag) for tag in classes} - {""}
        labels = [{_type_of(tag)} for tag in gold if tag.startswith("B")]
    counts = Counter(label for row in labels for label in row)
    unknown = {label: count for label, count in counts.most_common() if label not in classes}
    if unknown and len(unknown) == len(counts):
        raise RequestError(
            f"the head of task {task.name!r} has seen none of the labels in column {task.label!r}: "
            f"{_listed(unknown)}; it knows {_listed(sorted(classes))}; give a source with these labels"
        )
    return unknown


def _type_of(tag: str) -> str:
    """Return the label of a tag, such as LOC of B-LOC; `_` of a bare B, nothing of O."""
    letter, _, label = tag.partition("-")
    return "" if letter == "O" else label or "_"


def _listed(labels: Collection[str]) -> str:
    return shortened([f"{label!r:.40}" for label in labels])


def _notes(
    task: TaskHead, gold: NDArray[Any], unknown: Mapping[str, int], units: int, unit: str
) -> Iterator[str]:
    """Yield what the reader of the scores should know, a sentence each."""
    if unknown:
        what = "span" if task.task == "tag" else "label" if task.multi else "row"
        count = sum(unknown.values())
        yield (
            f"task {task.name!r}: the head has never seen {_listed(unknown)} ({count:,} {what}{'s' * (count > 1)}), which count "
            "as errors; correct these labels, or train the head on them"
        )
    if units < ENOUGH_UNITS:
        plural = "s" * (units > 1)
        yield f"task {task.name!r}: {units} {unit}{plural} can't tell how good a head is; give at least {ENOUGH_UNITS}"
    if task.task == "tag" and not any(tag.startswith("B") for tag in gold):
        yield f"task {task.name!r}: no word is in a span, so the scores of spans are undefined and shown as 0"
    if task.task == "regress" and len(set(gold.tolist())) == 1:
        yield f"task {task.name!r}: all numbers are equal, so R² and the correlations are undefined and shown as 0"
