"""Score a head on labelled texts or on a labelled dataset."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from layerwise._util.display import number
from layerwise._util.paths import place
from layerwise._util.progress import SILENT, Callback, Tracker, tracking
from layerwise._util.threads import choose, limited
from layerwise.array_types import F32
from layerwise.encode.computing import computing
from layerwise.errors import RequestError
from layerwise.heads.head import HeadData, TaskHead
from layerwise.heads.inputs import check_dataset, chunks, encode_rows, open_source, tracked
from layerwise.labels.labelled import Labelled, check_labelled, complete_tags, read_labels
from layerwise.labels.scorers import predicted_labels, score
from layerwise.labels.unknown import labels_to_score, unknown_note
from layerwise.results import NamedResult, Result, Table
from layerwise.states import Layered
from layerwise.store import LayerDataset, open_dataset

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.example import Example
    from layerwise.read.corpus import Corpus

_BLOCK = 65_536  # rows of a dataset that are scored at a time


@dataclass(frozen=True, slots=True, repr=False)
class TaskEvaluation(Result):
    """The scores of a head on one task; `to_pandas()` has a row per class, or per type of span.

    Attributes:
        name: the name of the task.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels.
        dropped: the number of rows without a label.
        rows: the number of rows that were scored.
        scores: by name of the metric, the primary one first.
        classes: `label`, `precision`, `recall`, `f1` and `support` of each class or type of span.
        unknown_labels: the number of each label that the head has never seen.
        notes: messages for the user.
    """

    name: str
    task: str
    label: str
    dropped: int
    rows: int
    scores: Mapping[str, float]
    classes: Sequence[Mapping[str, Any]]
    unknown_labels: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all fields except the name as JSON values."""
        return {
            "task": self.task,
            "label": self.label,
            "dropped": self.dropped,
            "rows": self.rows,
            "scores": dict(self.scores),
            "classes": list(self.classes),
            "unknown_labels": dict(self.unknown_labels),
            "notes": list(self.notes),
        }

    def _line(self) -> str:
        scores = ", ".join(f"{metric} {number(score)}" for metric, score in self.scores.items())
        return f"{self.name}: {self.task} of {self.label}, {self.rows:,} rows, {scores}"

    def _lines(self) -> Sequence[str]:
        return [f"TaskEvaluation: {self._line()}"]

    def _table(self) -> Table:
        names = list(self.classes[0]) if self.classes else []
        return {name: [entry[name] for entry in self.classes] for name in names}


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation(NamedResult[TaskEvaluation]):
    """The scores of a head on labelled data; returned by `Head.evaluate`.

    `evaluation["sentiment"].scores["accuracy"]` is a score of a task. `to_pandas()` has a row per task and metric:
    `name`, `task`, `label`, `rows`, `metric`, `score`.

    Attributes:
        tasks: the scores of each task, by its name.
    """

    _noun: ClassVar[str] = "task"

    tasks: Mapping[str, TaskEvaluation]

    def to_json(self) -> dict[str, Any]:
        """Return the scores of each task as JSON values, by its name."""
        return {name: task.to_json() for name, task in self.tasks.items()}

    def _entries(self) -> Mapping[str, TaskEvaluation]:
        return self.tasks

    def _lines(self) -> Sequence[str]:
        return ["Evaluation by task:", *(task._line() for task in self.tasks.values())]

    def _table(self) -> Table:
        rows = [
            (task.name, task.task, task.label, task.rows, metric, score)
            for task in self.tasks.values()
            for metric, score in task.scores.items()
        ]
        columns = zip(*rows, strict=True) if rows else [()] * 6
        return dict(zip(("name", "task", "label", "rows", "metric", "score"), columns, strict=True))

    def _note(self) -> str:
        return ""


@dataclass
class _TaskScores:
    """The labels of one task collected so far, and the scores of the same rows."""

    gold: list[NDArray[Any]] = field(default_factory=list)
    docs: list[NDArray[np.int64]] = field(default_factory=list)
    scores: list[F32] = field(default_factory=list)
    dropped: int = 0
    notes: list[str] = field(default_factory=list)


def evaluate(
    head: HeadData,
    source: str | Path | LayerDataset | Sequence[str | Path],
    encoder: Callable[[], Encoder],
    *,
    progress: Callback | None = None,
    threads: int | None = None,
    **options: Any,
) -> Evaluation:
    """Return the scores of a head on labelled data, by task.

    Args:
        head: the head; labels are read from the columns that it was trained on.
        source: texts as `layerwise predict` takes them, or a dataset whose rows are of the same kind as in training.
        encoder: returns the encoder of the head; it is called only for texts.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.
        **options: options of `read.open_corpus`, for texts.

    Raises:
        LayerwiseError: missing labels, texts that can't be read, or rows of another kind.
    """
    choose(threads)
    collected = _LabelledScores(head)
    with tracking(progress) as track:
        scoring_track, judging_track = track.split(99, 1)
        dataset = _dataset_of(source)
        if dataset is not None:
            with limited(threads):
                collected.add(open_dataset(dataset).checked(), 0, scoring_track)
        else:
            corpus = open_source(head.pairs, source, **options)
            collected.add_texts(corpus, encoder, threads, scoring_track)
        judging_track.named("scores")
        return Evaluation(
            {task.name: _score_task(task, scores) for task, scores in collected.scores_of_tasks}
        )


def _dataset_of(source: Any) -> str | Path | None:
    """Return the folder of a dataset; `None` if the source is texts."""
    if isinstance(source, LayerDataset):
        return source.path
    is_dataset = isinstance(source, str | Path) and (place(source) / "manifest.json").is_file()
    return source if is_dataset else None


class _LabelledScores:
    """Collects the labels of rows and the scores of a head for them."""

    def __init__(self, head: HeadData) -> None:
        self.head = head
        self.scores_of_tasks = [(task, _TaskScores()) for task in head.task_heads]

    def add_texts(
        self, corpus: Corpus, encoder: Callable[[], Encoder], threads: int | None, track: Tracker
    ) -> None:
        """Encode labelled texts in chunks of bounded size, and add their rows."""
        first_doc = 0
        labels = [task.label for task in self.head.task_heads]
        for examples, part in tracked(chunks(self.head, corpus, labels), track, corpus):
            if not first_doc:
                _check_columns(
                    _columns_of(examples), [(task.name, task.label) for task in self.head.task_heads]
                )
            with computing(threads):
                self.add(encode_rows(self.head, encoder(), examples, track=part), first_doc)
            first_doc += len(examples)

    def add(self, rows: Layered, first_doc: int, track: Tracker = SILENT) -> None:
        """Add the labelled rows of a dataset or of a chunk of texts, whose first text has the number `first_doc`."""
        if isinstance(rows, LayerDataset):
            check_dataset(self.head, rows)
        names = (f"task {task.name}" for task, _ in self.scores_of_tasks)
        for (task, task_scores), part in track.each(self.scores_of_tasks, names):
            labels = read_labels(rows, task.task, task.label, task.label_separator, iob2=False)
            _check_multi(task, labels)
            task_scores.gold.append(labels.values)
            task_scores.docs.append(labels.docs + first_doc)
            task_scores.scores.append(_scores(task, rows, labels, part))
            task_scores.dropped += labels.dropped
            task_scores.notes += labels.notes


def _check_multi(task: TaskHead, labels: Labelled) -> None:
    if len(labels) and labels.multi != task.multi:
        got, expected = ("lists of labels", "one label") if labels.multi else ("one label", "lists of labels")
        raise RequestError(
            f"column {task.label!r} has {got} per row and the head was trained on {expected} per row; "
            "give labels as in the training"
        )


def check_labels(
    source: str, labels: Sequence[tuple[str, str]], pairs: tuple[str, str] | None, **options: Any
) -> None:
    """Check, before any long computation, that a source can be read and has the label columns.

    Args:
        source: as `evaluate` takes it; standard input isn't checked, since it can be read only once.
        labels: the name and the label column of each task.
        pairs: the names of the two texts of a record, or `None`.
        **options: options of `read.open_corpus`.

    Raises:
        LayerwiseError: the source can't be read, or a column is missing.
    """
    if source == "-":
        return
    if (place(source) / "manifest.json").is_file():
        part = next(open_dataset(source).parts(), None)
        columns = {*part.texts.column_names, *part.index.column_names} if part is not None else set()
    else:
        first = next(iter(open_source(pairs, source, **options).records()), ())
        columns = _columns_of(first)
    _check_columns(columns, labels)


def _columns_of(examples: Iterable[Example]) -> set[str]:
    """Return the names of the columns that texts carry."""
    return {name for example in examples for name in (*example.columns, *example.word_columns)}


def _check_columns(columns: Collection[str], labels: Sequence[tuple[str, str]]) -> None:
    for name, column in labels:
        if column not in columns:
            raise RequestError(
                f"the source has no column {column!r}, which holds the labels of task {name!r}; give a source with it"
            )


def _scores(task: TaskHead, rows: Layered, labels: Labelled, track: Tracker) -> F32:
    out = [np.zeros((0, len(task.classes) or 1), np.float32)]
    for start in range(0, len(labels), _BLOCK):
        track.report(start / len(labels), f"rows from {start:,} of {len(labels):,}")
        chosen = labels.rows[start : start + _BLOCK].reshape(-1)

        def read(name: str, chosen: NDArray[np.int64] = chosen) -> F32:
            values: F32 = rows.layer(name, rows=chosen)
            return values

        out.append(task.scores(read, labels.pairs))
    return np.concatenate(out)


def _score_task(task: TaskHead, task_scores: _TaskScores) -> TaskEvaluation:
    gold, docs, scores = (
        np.concatenate(parts) for parts in (task_scores.gold, task_scores.docs, task_scores.scores)
    )
    dropped = task_scores.dropped
    if task.task == "tag":  # the scheme of the tags can be recognised only now that all texts are read
        keep, gold, _ = complete_tags(docs, gold)
        dropped += int((~keep).sum())
        docs, scores = docs[keep], scores[keep]
    check_labelled(len(gold), [task.label])
    notes, unknown = list(dict.fromkeys(task_scores.notes)), {}
    if task.classes:
        gold, unknown = labels_to_score(task.label, gold, task.classes, multi=task.multi)
        notes += [unknown_note(unknown, len(gold))] if unknown else []
    predictions = predicted_labels(task.task, task.multi, task.classes, scores, docs)
    result = score(task.task, task.multi, gold, predictions, docs)
    return TaskEvaluation(
        task.name,
        task.task,
        task.label,
        dropped,
        result.rows,
        result.scores,
        result.classes,
        unknown,
        tuple(notes),
    )
