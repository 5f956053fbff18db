"""Apply a head to new text: strings in, labels, numbers or spans out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise._util.locks import new_lock
from layerwise._util.progress import Callback, Tracker, tracking
from layerwise._util.threads import choose
from layerwise._util.versions import versions
from layerwise.encode.computing import computing
from layerwise.example import Example
from layerwise.heads.decode import answers
from layerwise.heads.evaluate import Evaluation, evaluate
from layerwise.heads.head import HeadData
from layerwise.heads.inputs import (
    CHARACTERS,
    TEXTS,
    chunks,
    encode_rows,
    examples_of,
    load_model,
    tracked,
)
from layerwise.heads.storage import describe_head, read_head, write_head
from layerwise.read.shards import shards
from layerwise.states import Layered
from layerwise.store import LayerDataset

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.read.corpus import Corpus


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


class Head:
    """A trained head: text in, labels, numbers or spans out. Returned by `lw.train` and `lw.load_head`.

    Attributes:
        data: the weights, the mixes, and how rows are encoded.
        about: further records: versions, and the time of the training.

    A head may be used by several threads at once.
    """

    def __init__(
        self,
        data: HeadData,
        about: Mapping[str, Any],
        *,
        model: str | None = None,
        revision: str | None = None,
        **loading: Any,
    ) -> None:
        self.data, self.about = data, dict(about)
        self._model, self._revision, self._loading = model, revision, loading
        self._encoder: Encoder | None = None
        self._loading_lock = new_lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the lock, which can't be pickled or copied."""
        return {name: value for name, value in self.__dict__.items() if name != "_loading_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _loading_lock=new_lock())

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks."""
        return tuple(task.name for task in self.data.tasks)

    @property
    def mixes(self) -> dict[str, str]:
        """The mix string of each task."""
        return {task.name: str(task.mix) for task in self.data.tasks}

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The classes of each task; none for `regress`. Tags are IOB2."""
        return {task.name: task.classes for task in self.data.tasks}

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the mixes take; texts are encoded up to the deepest of them."""
        return self.data.layers

    @property
    def training(self) -> dict[str, Any]:
        """The training data, and the scores on held-out and test rows."""
        return dict(self.data.training)

    @property
    def encoder(self) -> Encoder:
        """The model, loaded at first use.

        Raises:
            HeadError: the model of that name isn't the one of the training.
            ModelError: the model can't be found or loaded.
        """
        with self._loading_lock:  # otherwise two threads would load it twice
            if self._encoder is None:
                self._encoder = load_model(self.data, self._model, self._revision, **self._loading)
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
        records = examples_of(texts, self.data.pairs)
        choose(threads)
        with tracking(progress) as track:
            parts = _parts(shards(records, TEXTS, CHARACTERS), track, sum(map(len, records)))
            return [prediction.to_json() for prediction in _stream(self, parts, batch_tokens, threads)]

    def predict_rows(self, states: Layered) -> list[dict[str, Any]]:
        """Return the answer for each text of rows that are already encoded, in memory or on disk.

        The rows must be of the kind that the head was trained on; see `HeadData.rows`.
        """
        row_answers = answers(self.data, states.checked())
        return [{"doc": doc, **answer} for doc, answer in enumerate(row_answers)]

    def evaluate(
        self,
        source: str | Path | LayerDataset | Sequence[str | Path],
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
            format, text, words, id, columns, encoding, skip_bad, limit, separator, na, sentence_id, join,
                classes: see `read.ReaderOptions`; for texts.
            progress: called with the progress; see `lw.Progress`.
            threads: number of threads to compute with; see `lw.extract`.

        Raises:
            LayerwiseError: missing labels, texts that can't be read, or rows of another kind.
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
        return evaluate(self, source, progress=progress, threads=threads, **reading)

    def save(self, out: str | Path) -> None:
        """Write the head to the folder `out`.

        Raises:
            OutputError: `out` exists, or can't be written.
        """
        write_head(self.data, out, self.about)

    def __repr__(self) -> str:
        tasks = ", ".join(f"{task.name}: {task.task} on {task.mix}" for task in self.data.tasks)
        return f"<Head {tasks}; {self.data.model['id']}, level {self.data.rows['level']}>"


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
        HeadError: no head, a damaged one, one of a newer format, or another model.
    """
    description = describe_head(path)
    head = Head(
        read_head(path),
        {name: description.get(name) for name in ("versions", "made")},
        model=None if model is None else str(model),
        revision=revision,
        device=device,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )
    if model is not None:
        _ = head.encoder
    return head


def new_about() -> dict[str, Any]:
    """Return the records of a training: the versions and the time."""
    solver_versions = {name: version(name) for name in ("scikit-learn", "scipy")}
    return {
        "versions": {**versions(), **solver_versions},
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
            parts = tracked(chunks(head.data, corpus), track, corpus)
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
    step = 1 if head.data.pairs is None else 2
    doc = 0
    for examples, track in parts:
        with computing(threads):  # not around `yield`: the limit must not hold in the caller's code
            states = encode_rows(head.data, head.encoder, examples, batch_tokens, track)
            chunk_answers = list(answers(head.data, states))
        for example, answer in zip(examples[::step], chunk_answers, strict=True):
            yield Prediction(doc, example, answer)
            doc += 1
