"""Score a head on labelled texts or on a labelled dataset."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.paths import place
from layerwise._util.progress import SILENT, Callback, Tracker, tracking
from layerwise._util.threads import choose, limited
from layerwise.arguments import argument
from layerwise.array_types import F32
from layerwise.encode.computing import computing
from layerwise.errors import RequestError
from layerwise.heads.evaluate_task import ScoredRows, evaluate_task
from layerwise.heads.evaluation import Evaluation, TaskEvaluation
from layerwise.heads.head import HeadData, TaskHead
from layerwise.heads.inputs import (
    UnknownTally,
    check_dataset,
    chunks,
    describe_rows,
    encode_rows,
    open_source,
    tracked,
)
from layerwise.heads.redactors import other_redaction_notes, redact_as_trained, redaction_notes
from layerwise.heads.text_kind import TextKind, kind_of, with_context
from layerwise.heads.trained_texts import TextsDigest, trained_note
from layerwise.labels.conflicts import text_hashes
from layerwise.labels.groups import DOCUMENT_COLUMNS, document_values
from layerwise.labels.labelled import Labelled, read_labels
from layerwise.options import ReadOptions
from layerwise.states import Layered
from layerwise.store import LayerDataset, open_dataset

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.example import Example
    from layerwise.read.corpus import Corpus

_BLOCK = 65_536  # rows of a dataset that are scored at a time


def evaluate(
    head: HeadData,
    source: Any,
    encoder: Callable[[], Encoder],
    *,
    batch_tokens: int | None = None,
    context: Sequence[int] | str | int | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
    **options: Any,
) -> Evaluation:
    """Return the scores of a head on labelled data, by task.

    Args:
        head: the head; labels are read from the columns that it was trained on.
        source: texts as `layerwise predict` takes them, or a dataset whose rows are of the same kind as in training.
        encoder: returns the encoder of the head; it is called only for texts.
        batch_tokens: the number of tokens per batch, for texts.
        context: 0 to encode each text by itself; see `inputs.with_context`.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.
        **options: options of `read.open_corpus`, for texts.

    Raises:
        LayerwiseError: missing labels, labels that the head has never seen in every row, texts that can't be read, rows
            of another kind, or options for texts with a dataset.
    """
    choose(threads)
    head = with_context(head, context)
    collected = _LabelledScores(head)
    with tracking(progress) as track:
        scoring_track, judging_track = track.split(99, 1)
        dataset = dataset_of(source)
        if dataset is not None:
            _check_no_reading(dataset, {**options, "batch_tokens": batch_tokens, "context": context})
            with limited(threads):
                collected.add(open_dataset(dataset).checked(), 0, scoring_track)
        else:
            corpus = open_source(kind_of(head), source, **options)
            collected.add_texts(corpus, encoder, batch_tokens, threads, scoring_track)
        judging_track.named("scores")
        return Evaluation(collected.evaluations())


def dataset_of(source: Any) -> Path | None:
    """Return the folder of a dataset; `None` if the source is texts.

    Raises:
        RequestError: a dataset among several sources.
    """
    if isinstance(source, LayerDataset):
        return source.path
    is_list = isinstance(source, list | tuple)
    paths = [path for path in (source if is_list else [source]) if isinstance(path, str | Path)]
    folders = [place(path) for path in paths if path != "-"]
    datasets = [folder for folder in folders if _holds_manifest(folder)]
    if datasets and is_list and len(source) > 1:
        raise RequestError(
            f"{datasets[0]} is a dataset, and there are {len(source)} sources; evaluate the dataset alone"
        )
    return datasets[0] if datasets else None


def _holds_manifest(folder: Path) -> bool:
    try:
        return (folder / "manifest.json").is_file()
    except (OSError, ValueError):  # no name of a file: the reader of texts says what is wrong with it
        return False


def _check_no_reading(dataset: Path, options: Mapping[str, Any]) -> None:
    """Raise RequestError for an option that says how texts are read or encoded: a dataset has its rows already."""
    defaults = {option.name: option.default for option in fields(ReadOptions)}
    for name, value in options.items():
        default = defaults.get(name)
        if value != default and not (default == () and not value):
            raise RequestError(
                f"{argument(name, value)} is for texts, and {dataset} is a dataset, whose rows are read as they are; "
                "leave it out, or give the texts"
            )


class _LabelledScores:
    """Collects the labels of rows and the scores of a head for them."""

    def __init__(self, head: HeadData) -> None:
        self.head = head
        self.scores_of_tasks = [(task, ScoredRows()) for task in head.task_heads]
        self.notes: list[str] = []
        self._texts = TextsDigest()

    def add_texts(
        self,
        corpus: Corpus,
        encoder: Callable[[], Encoder],
        batch_tokens: int | None,
        threads: int | None,
        track: Tracker,
    ) -> None:
        """Encode labelled texts in chunks of bounded size, and add their rows."""
        first_doc, unknown = 0, UnknownTally()
        labels = [task.label for task in self.head.task_heads]
        for examples, part in tracked(chunks(self.head, corpus, [*labels, *DOCUMENT_COLUMNS]), track, corpus):
            if not first_doc:
                _check_columns(
                    _columns_of(examples), [(task.name, task.label) for task in self.head.task_heads]
                )
            with computing(threads):
                texts = redact_as_trained(self.head, examples)
                rows = encode_rows(self.head, encoder(), texts, batch_tokens, part)
                self.add(rows, first_doc)
            unknown.add(rows)
            first_doc += len(examples)
        unknown.log_note(self.head)
        self.notes += redaction_notes(self.head)
        self.notes += corpus.notices
        self.notes += [f"skipped {bad.source}, line {bad.line}: {bad.why}" for bad in corpus.skipped]

    def add(self, rows: Layered, first_doc: int, track: Tracker = SILENT) -> None:
        """Add the labelled rows of a dataset or of a chunk of texts, whose first text has the number `first_doc`."""
        if isinstance(rows, LayerDataset):
            check_dataset(self.head, rows)
            self.notes += other_redaction_notes(self.head, describe_rows(rows), str(rows.path))
        self._texts.add(rows)
        names = (f"task {task.name}" for task, _ in self.scores_of_tasks)
        for (task, task_scores), part in track.each(self.scores_of_tasks, names):
            labels = read_labels(rows, task.task, task.label, task.label_separator, scoring=True)
            _check_multi(task, labels)
            task_scores.gold.append(labels.values)
            task_scores.docs.append(labels.docs + first_doc)
            task_scores.texts.append(text_hashes(rows, labels.docs))
            task_scores.documents.append(_documents(rows, labels))
            task_scores.scores.append(_scores(task, rows, labels, part))
            task_scores.dropped += labels.dropped
            task_scores.notes += labels.notes

    def evaluations(self) -> dict[str, TaskEvaluation]:
        """Return the scores of each task by its name."""
        notes = [*trained_note(self.head.training, self._texts), *self.notes]
        return {task.name: evaluate_task(task, scores, notes) for task, scores in self.scores_of_tasks}


def _documents(rows: Layered, labels: Labelled) -> dict[str, NDArray[Any]]:
    """Return the values of the columns that tell documents for each labelled row, as objects (n,)."""
    texts, text_of_row = np.unique(labels.docs, return_inverse=True)
    return {column: document_values(rows, texts, column)[text_of_row] for column in DOCUMENT_COLUMNS}


def _check_multi(task: TaskHead, labels: Labelled) -> None:
    if len(labels) and labels.multi != task.multi:
        got, expected = ("lists of labels", "one label") if labels.multi else ("one label", "lists of labels")
        raise RequestError(
            f"column {task.label!r} has {got} per row and the head was trained on {expected} per row; "
            "give labels as in the training"
        )


def check_labels(source: str, labels: Sequence[tuple[str, str]], texts: TextKind, **options: Any) -> None:
    """Check, before any long computation, that a source can be read and has the label columns.

    Args:
        source: as `evaluate` takes it; standard input isn't checked, since it can be read only once.
        labels: the name and the label column of each task.
        texts: which texts the head takes.
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
        first = next(iter(open_source(texts, source, **options).records()), ())
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
