"""Score a head on labelled texts or on a labelled dataset."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.paths import place
from layerwise._util.progress import SILENT, Callback, Tracker, tracking
from layerwise._util.threads import choose, limited
from layerwise.encode.computing import computing
from layerwise.errors import RequestError
from layerwise.heads.decode import predicted
from layerwise.heads.head import HeadWithModel, TaskHead
from layerwise.heads.inputs import check_dataset, chunks, encode_rows, open_source, tracked
from layerwise.labels.scoring import score
from layerwise.labels.sentences import in_iob2, whole_texts
from layerwise.labels.values import Labelled, read_labels
from layerwise.states import F32, Layered
from layerwise.store import LayerDataset, open_dataset

if TYPE_CHECKING:
    from layerwise.example import Example
    from layerwise.read.corpus import Corpus

_BLOCK = 65_536  # rows of a dataset that are scored at a time


@dataclass
class _TaskScores:
    """The labels of one task collected so far, and the scores of the same rows."""

    gold: list[NDArray[Any]] = field(default_factory=list)
    docs: list[NDArray[np.int64]] = field(default_factory=list)
    scores: list[F32] = field(default_factory=list)
    dropped: int = 0


def evaluate(
    head: HeadWithModel,
    source: str | Path | LayerDataset | Sequence[str | Path],
    *,
    progress: Callback | None = None,
    threads: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return the scores of a head on labelled data: for each task `rows`, `dropped`, `scores` and `classes`.

    Args:
        head: the head; labels are read from the columns that it was trained on.
        source: texts as `layerwise predict` takes them, or a dataset whose rows are of the same kind as in training.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.
        **options: options of `read.open_corpus`, for texts.

    Raises:
        LayerwiseError: missing labels, texts that can't be read, or rows of another kind.
    """
    choose(threads)
    scores_of_tasks = [_TaskScores() for _ in head.data.tasks]
    with tracking(progress) as track:
        scoring_track, judging_track = track.split(99, 1)
        if isinstance(source, LayerDataset):
            _add_dataset(head, source.path, scores_of_tasks, threads, scoring_track)
        elif isinstance(source, str | Path) and (place(source) / "manifest.json").is_file():
            _add_dataset(head, source, scores_of_tasks, threads, scoring_track)
        else:
            _add_texts(
                head, open_source(head.data.pairs, source, **options), scores_of_tasks, threads, scoring_track
            )
        judging_track.named("scores")
        return {
            task.name: _score_task(task, task_scores)
            for task, task_scores in zip(head.data.tasks, scores_of_tasks, strict=True)
        }


def _add_dataset(
    head: HeadWithModel,
    path: str | Path,
    scores_of_tasks: Sequence[_TaskScores],
    threads: int | None,
    track: Tracker,
) -> None:
    with limited(threads):
        _add(head, open_dataset(path).checked(), 0, scores_of_tasks, track)


def _add_texts(
    head: HeadWithModel,
    corpus: Corpus,
    scores_of_tasks: Sequence[_TaskScores],
    threads: int | None,
    track: Tracker,
) -> None:
    first = 0
    parts = _labelled(head, chunks(head.data, corpus, [task.label for task in head.data.tasks]))
    for examples, part in tracked(parts, track, corpus):
        with computing(threads):
            _add(head, encode_rows(head.data, head.encoder, examples, track=part), first, scores_of_tasks)
        first += len(examples)


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
        columns = {name for example in first for name in (*example.columns, *example.word_columns)}
    _check_columns(columns, labels)


def _check_columns(columns: Collection[str], labels: Sequence[tuple[str, str]]) -> None:
    for name, column in labels:
        if column not in columns:
            raise RequestError(
                f"there is no column {column!r} with the labels of task {name!r} in the source; give one that has it"
            )


def _labelled(head: HeadWithModel, parts: Iterator[list[Example]]) -> Iterator[list[Example]]:
    """Yield the parts unchanged, after checking that the first part has the label columns."""
    labels = [(task.name, task.label) for task in head.data.tasks]
    for number, examples in enumerate(parts):
        if number == 0:
            _check_columns({name for e in examples for name in (*e.columns, *e.word_columns)}, labels)
        yield examples


def _add(
    head: HeadWithModel,
    rows: Layered,
    first_doc: int,
    scores_of_tasks: Sequence[_TaskScores],
    track: Tracker = SILENT,
) -> None:
    if isinstance(rows, LayerDataset):
        check_dataset(head.data, rows)
    tasks = list(zip(head.data.tasks, scores_of_tasks, strict=True))
    for (task, task_scores), part in track.each(tasks, (f"task {task.name}" for task, _ in tasks)):
        labels = read_labels(rows, task.task, task.label, task.separator)
        if len(labels) and labels.multi != task.multi:
            got, expected = (
                ("lists of labels", "one label") if labels.multi else ("one label", "lists of labels")
            )
            raise RequestError(
                f"column {task.label!r} has {got} per row and the head was trained on {expected} per row; "
                "give labels as in the training"
            )
        task_scores.gold.append(labels.values)
        task_scores.docs.append(labels.docs + first_doc)
        task_scores.scores.append(_scores(task, rows, labels, part))
        task_scores.dropped += labels.dropped


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


def _score_task(task: TaskHead, task_scores: _TaskScores) -> dict[str, Any]:
    gold, docs, scores = (
        np.concatenate(parts) for parts in (task_scores.gold, task_scores.docs, task_scores.scores)
    )
    dropped = task_scores.dropped
    if task.task == "tag" and len(gold):
        keep = whole_texts(docs, gold)
        dropped += int((~keep).sum())
        gold, docs, scores = gold[keep], docs[keep], scores[keep]
        gold, _ = in_iob2(docs, gold)
    if not len(gold):
        raise RequestError(f"no row has a label in column {task.label!r}; give rows with labels")
    result = score(task.task, task.multi, gold, predicted(task, scores, docs), docs)
    return {"task": task.task, "label": task.label, "dropped": dropped, **result.to_json()}
