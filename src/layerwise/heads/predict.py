"""Apply a head to new text: strings or sources in, labels with probabilities, numbers, words or spans out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.locks import new_lock
from layerwise._util.progress import Callback, Tracker, tracking
from layerwise._util.threads import choose
from layerwise.array_types import F32, I64
from layerwise.encode.computing import computing
from layerwise.example import Example
from layerwise.heads.evaluate import evaluate
from layerwise.heads.evaluation import Evaluation
from layerwise.heads.head import HeadData, TaskHead
from layerwise.heads.head_mix import HeadMix, fitted_mix
from layerwise.heads.inputs import (
    CHARACTERS,
    TEXTS,
    UnknownTally,
    chunks,
    encode_rows,
    examples_of,
    load_model,
    tracked,
)
from layerwise.heads.storage import read_head, write_head
from layerwise.labels.scorers import predicted_labels
from layerwise.labels.tags import spans
from layerwise.read.shards import shards
from layerwise.states import Layered

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.read.corpus import Corpus

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of a head for one text (one pair): the text's number, the text, and the answer as JSON values."""

    doc: int
    example: Example
    answer: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return `doc`, the user's `id` when there is one, and the answer."""
        text_id = {} if self.example.id is None else {"id": self.example.id}
        return {"doc": self.doc, **text_id, **self.answer}


class Head(HeadData):
    """A trained head: text in, labels, numbers or spans out. Returned by `lw.train` and `lw.load_head`.

    A head may be used by several threads at once. For its attributes see `HeadData`.
    """

    def __init__(self, data: HeadData, **loading: Any) -> None:
        """Store the data of a head; `loading` are the arguments of `inputs.load_model`."""
        super().__init__(data.model, data.rows, data.pairs, data.task_heads, data.training, data.provenance)
        self._loading = loading
        self._encoder: Encoder | None = None
        self._loading_lock = new_lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the lock, which can't be pickled or copied."""
        return {name: value for name, value in self.__dict__.items() if name != "_loading_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _loading_lock=new_lock())

    @property
    def encoder(self) -> Encoder:
        """The model, loaded at first use.

        Raises:
            HeadError: the model isn't the one that the head was trained on.
            ModelError: the model can't be found or loaded.
        """
        with self._loading_lock:  # otherwise two threads would load it twice
            if self._encoder is None:
                self._encoder = load_model(self, **self._loading)
            return self._encoder

    def predict(
        self,
        texts: Iterable[str] | Iterable[Sequence[str]],
        *,
        batch_tokens: int | None = None,
        progress: Callback | None = None,
        threads: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the answer for each text, as in the JSON lines of `layerwise predict`.

        Args:
            texts: strings, or lists of words, in a list or a column; for a head of pairs, pairs of strings.
            batch_tokens: the number of tokens per batch.
            progress: called with the progress; see `lw.Progress`.
            threads: number of threads to compute with; see `lw.extract`.

        Returns:
            for each text `doc`, its number, and `label` with `probabilities`, `labels`, `value`, `spans` or
            `words`; with several tasks, one of these under each task's name.

        Raises:
            RequestError: texts of another kind than the head takes.
        """
        records = examples_of(texts, self.pairs)
        choose(threads)
        with tracking(progress) as track:
            parts = _parts(shards(records, TEXTS, CHARACTERS), track, sum(map(len, records)))
            return [prediction.to_json() for prediction in _stream(self, parts, batch_tokens, threads)]

    def predict_rows(self, states: Layered) -> list[dict[str, Any]]:
        """Return the answer for each text of rows that are already encoded, in memory or on disk.

        The rows must be of the kind that the head was trained on; see `HeadData.rows`.
        """
        row_answers = answers(self, states.checked())
        return [{"doc": doc, **answer} for doc, answer in enumerate(row_answers)]

    def evaluate(
        self,
        source: Any,
        *,
        format: str = "auto",
        text: str | Sequence[str] | None = None,
        words: str | None = None,
        id: str | None = None,
        columns: Sequence[str] | None = None,
        encoding: str = "utf-8",
        skip_bad: bool = False,
        limit: int | None = None,
        separator: str | None = None,
        na: Sequence[str] = (),
        sentence_id: str | None = None,
        join: str | None = None,
        classes: Sequence[str] | None = None,
        progress: Callback | None = None,
        threads: int | None = None,
    ) -> Evaluation:
        """Return the scores of the head on labelled data, by task.

        Args:
            source: texts as `layerwise predict` takes them, or a dataset whose rows are of the same kind as in
                training.
            format, text, words, id, columns, encoding, skip_bad, limit: see `read.ReaderOptions`; for texts.
            separator, na, sentence_id, join, classes: see `read.ReaderOptions`; for texts.
            progress: called with the progress; see `lw.Progress`.
            threads: number of threads to compute with; see `lw.extract`.

        Raises:
            LayerwiseError: missing or unknown labels, texts that can't be read, or rows of another kind.
        """
        reading: dict[str, Any] = {
            "format": format,
            "text": text,
            "words": words,
            "id": id,
            "columns": columns,
        }
        reading |= {"encoding": encoding, "skip_bad": skip_bad, "limit": limit}
        reading |= {
            "separator": separator,
            "na": na,
            "sentence_id": sentence_id,
            "join": join,
            "classes": classes,
        }
        return evaluate(self, source, lambda: self.encoder, progress=progress, threads=threads, **reading)

    def fitted_mix(self, task: str | None = None, hidden: bool = False) -> HeadMix:
        """Return the mix of one task, which `dataset.mix(head)` and `lw.export` apply to rows.

        Args:
            task: the name of the task, for a head of several.
            hidden: give the output of the hidden layer of an MLP.

        Raises:
            RequestError: no such task, several tasks and no name, or no hidden layer.
        """
        return fitted_mix(self, task, hidden)

    def save(self, out: str | Path) -> None:
        """Write the head to the folder `out`.

        Raises:
            OutputError: `out` exists, or can't be written.
        """
        write_head(self, out)

    def __repr__(self) -> str:
        tasks = ", ".join(f"{task.name}: {task.task} on {task.mix}" for task in self.task_heads)
        return f"<Head {tasks}; {self.model['id']}, level {self.rows['level']}>"


def load_head(
    path: str | Path,
    *,
    model: str | Path | None = None,
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> Head:
    """Open a head that `layerwise train` or `Head.save` wrote.

    Args:
        path: its folder.
        model: the current name or folder of its model, if that has changed; the hashes must be equal.
        revision, device, allow_pickle, trust_remote_code: see `load_encoder`. The model is loaded at first use;
            if `model` is given, it is loaded and compared at once.

    Raises:
        HeadError: no head, a damaged one, one of another format version, or a different model.
    """
    head = Head(
        read_head(path),
        model=None if model is None else str(model),
        revision=revision,
        device=device,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )
    if model is not None:
        _ = head.encoder
    return head


def predict_source(
    head: Head,
    corpus: Corpus,
    *,
    batch_tokens: int | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Iterator[Prediction]:
    """Yield the predictions for the texts of a corpus, in their order, in bounded memory."""
    choose(threads)

    def predictions() -> Iterator[Prediction]:
        with tracking(progress) as track:
            parts = tracked(chunks(head, corpus), track, corpus)
            yield from _stream(head, parts, batch_tokens, threads)

    return predictions()


def _parts(
    parts: Iterator[list[Example]], track: Tracker, count: int
) -> Iterator[tuple[list[Example], Tracker]]:
    """Yield the chunks of `count` texts in all, each with a tracker for its part of the progress."""
    done = 0
    for examples in parts:
        end = done + len(examples)
        part = track.between(done / count, end / count)
        yield examples, part.named(f"texts {done + 1:,} to {end:,} of {count:,}")
        done = end


def _stream(
    head: Head,
    parts: Iterator[tuple[list[Example], Tracker]],
    batch_tokens: int | None,
    threads: int | None,
) -> Iterator[Prediction]:
    step = 1 if head.pairs is None else 2
    doc = 0
    unknown = UnknownTally()
    for examples, track in parts:
        with computing(threads):  # not around `yield`: the limit must not hold in the caller's code
            states = encode_rows(head, head.encoder, examples, batch_tokens, track)
            chunk_answers = list(answers(head, states))
        unknown.add(states)
        for example, answer in zip(examples[::step], chunk_answers, strict=True):
            yield Prediction(doc, example, answer)
            doc += 1
    unknown.tell(head)


def answers(head: HeadData, states: Layered) -> list[Answer]:
    """Return the answer of a head for each text (each pair) in `states`, in order, as JSON values.

    A task gives `{"label", "probabilities"}`, `{"labels"}`, `{"value"}`, `{"spans"}`, or below text level
    `{"words"}` (`{"tokens"}` at token level, without special tokens). With several tasks, each text has one of
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
    row_probabilities = _probabilities(task, scores)
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
