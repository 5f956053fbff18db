"""What an evaluation of a head returns: scores with intervals, by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from layerwise._util.display import count_of, interval, number
from layerwise.errors import RequestError
from layerwise.results import Estimate, NamedResult, Result, Table


@dataclass(frozen=True, slots=True, repr=False)
class Confusion(Result):
    """How many rows of each label were predicted as each label; `to_pandas()` has `label`, `predicted` and `rows`.

    Attributes:
        labels: the labels that occur: the classes of the head in their order, then unknown labels.
        counts: a list per label, of the numbers of its rows that were predicted as each label.
    """

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]

    def to_json(self) -> dict[str, Any]:
        """Return `labels` and `counts`."""
        return {"labels": list(self.labels), "counts": [list(row) for row in self.counts]}

    def _lines(self) -> Sequence[str]:
        right = sum(row[position] for position, row in enumerate(self.counts))
        total = sum(map(sum, self.counts))
        return [
            f"Confusion: {count_of(len(self.labels), 'label')}, {right:,} of {count_of(total, 'row')} are right"
        ]

    def _table(self) -> Table:
        cells = [
            (label, predicted, rows)
            for label, row in zip(self.labels, self.counts, strict=True)
            for predicted, rows in zip(self.labels, row, strict=True)
            if rows
        ]
        names = ("label", "predicted", "rows")
        return {name: [cell[column] for cell in cells] for column, name in enumerate(names)}


@dataclass(frozen=True, slots=True, repr=False)
class TaskEvaluation(Result):
    """The scores of a head on one task; `to_pandas()` has a row per class, or per type of span.

    Attributes:
        name: the name of the task.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels.
        rows: the number of rows that were scored.
        dropped: the number of rows without a label, which were not scored.
        scores: a score with its 95% interval by the name of the metric, the primary one first.
        unknown_labels: the number of rows (for `tag` spans) of each label that the head has never seen, the most
            frequent first. These rows are scored, as wrong.
        per_label: `precision`, `recall`, `f1` and `support` of each class or type of span; empty for `regress`.
        confusion: labels against predictions: classes, or the tags of words; `None` for numbers and several labels.
        notes: what the reader of the scores should know, a sentence each.
    """

    name: str
    task: str
    label: str
    rows: int
    dropped: int
    scores: Mapping[str, Estimate]
    unknown_labels: Mapping[str, int]
    per_label: Mapping[str, Mapping[str, float]]
    confusion: Confusion | None
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all fields except the name as JSON values."""
        return {
            "rows": self.rows,
            "scores": {metric: score.to_json() for metric, score in self.scores.items()},
            "unknown_labels": dict(self.unknown_labels),
            "per_label": {label: dict(values) for label, values in self.per_label.items()},
            "confusion": None if self.confusion is None else self.confusion.to_json(),
            "task": self.task,
            "label": self.label,
            "dropped": self.dropped,
            "notes": list(self.notes),
        }

    def _scores_line(self, most: int | None = None) -> str:
        shown = list(self.scores.items())[:most]
        return ", ".join(
            f"{metric} {number(score.score)}{interval(score.low, score.high)}" for metric, score in shown
        )

    def _lines(self) -> Sequence[str]:
        title = f"{self.name}: {self.task} of {self.label}, {count_of(self.rows, 'row')}"
        return [f"TaskEvaluation: {title}", self._scores_line(), *self.notes[:1]]

    def _table(self) -> Table:
        names = ("precision", "recall", "f1", "support")
        columns = {name: [values[name] for values in self.per_label.values()] for name in names}
        return {"label": list(self.per_label), **columns} if self.per_label else {}


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation(NamedResult[TaskEvaluation]):
    """The scores of a head on labelled data; returned by `lw.evaluate` and `Head.evaluate`.

    `evaluation["sentiment"].scores["accuracy"]` is a score of a task, with `score`, `low` and `high`. For a head of one
    task, its fields are those of the evaluation too: `evaluation.scores["accuracy"].low`. `to_pandas()` has a row per
    task and metric: `name`, `task`, `label`, `rows`, `metric`, `score`, `low`, `high`.

    Attributes:
        tasks: the scores of each task, by its name.
    """

    _noun: ClassVar[str] = "task"

    tasks: Mapping[str, TaskEvaluation]

    @property
    def single(self) -> TaskEvaluation:
        """The scores of the only task.

        Raises:
            RequestError: there are several; the message lists their names.
        """
        if len(self.tasks) > 1:
            names = ", ".join(self.tasks)
            raise RequestError(
                f"the head has several tasks: {names}; name one, such as evaluation[{next(iter(self.tasks))!r}]"
            )
        return next(iter(self.tasks.values()))

    @property
    def rows(self) -> int:
        """The number of rows that were scored, for a head of one task."""
        return self.single.rows

    @property
    def scores(self) -> Mapping[str, Estimate]:
        """The scores of the only task, by the name of the metric."""
        return self.single.scores

    @property
    def unknown_labels(self) -> Mapping[str, int]:
        """The labels of the only task that the head has never seen, with the number of their rows."""
        return self.single.unknown_labels

    @property
    def per_label(self) -> Mapping[str, Mapping[str, float]]:
        """Precision, recall, F1 and support of each label of the only task."""
        return self.single.per_label

    @property
    def confusion(self) -> Confusion | None:
        """Labels against predictions of the only task."""
        return self.single.confusion

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON values; of several tasks under the name of each."""
        if len(self.tasks) == 1:
            return self.single.to_json()
        return {name: task.to_json() for name, task in self.tasks.items()}

    def _entries(self) -> Mapping[str, TaskEvaluation]:
        return self.tasks

    def _lines(self) -> Sequence[str]:
        if len(self.tasks) == 1:
            title, *others = self.single._lines()
            return [title.replace("TaskEvaluation", "Evaluation", 1), *others]
        lines = (
            f"{name}: {count_of(task.rows, 'row')}, {task._scores_line(1)}"
            for name, task in self.tasks.items()
        )
        return ["Evaluation by task:", *lines]

    def _table(self) -> Table:
        rows = [
            (task.name, task.task, task.label, task.rows, metric, score.score, score.low, score.high)
            for task in self.tasks.values()
            for metric, score in task.scores.items()
        ]
        names = ("name", "task", "label", "rows", "metric", "score", "low", "high")
        return {name: [row[column] for row in rows] for column, name in enumerate(names)}

    def _note(self) -> str:
        return " ".join(dict.fromkeys(note for task in self.tasks.values() for note in task.notes))
