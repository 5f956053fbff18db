"""predict: a head applied to new text, from strings to labels, numbers or spans."""

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
from layerwise.heads.evaluate import evaluate
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

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.read.corpus import Corpus


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a head says of one text (of one pair): its number, the text, and the answer as JSON holds it."""

    doc: int
    example: Example
    answer: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return `doc`, the user's `id` when there is one, and the answer."""
        own = {} if self.example.id is None else {"id": self.example.id}
        return {"doc": self.doc, **own, **self.answer}


class Head:
    """A trained head: text in, labels, numbers or spans out. Made by `lw.train` and `lw.load_head`.

    Attributes:
        data: the weights, the mixes, and how rows are made.
        about: what is recorded besides: versions, and when it was made.

    Several threads may use it at the same time.
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
        self._once = new_lock()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process, or into a copy, without the lock."""
        return {name: value for name, value in self.__dict__.items() if name != "_once"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _once=new_lock())

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
        """The classes of each task; none where it gives numbers. Tags are IOB2."""
        return {task.name: task.classes for task in self.data.tasks}

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the mixes take; text is encoded up to the deepest."""
        return self.data.layers

    @property
    def training(self) -> dict[str, Any]:
        """What it was trained on, and its scores on held-out and test rows."""
        return dict(self.data.training)

    @property
    def encoder(self) -> Encoder:
        """The model, loaded when it is first needed.

        Raises:
            HeadError: the model of that name is another one now.
            ModelError: it can't be found or loaded.
        """
        with self._once:  # two threads would load it twice
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
        """Return what the head says of each text, as the JSON lines of `layerwise predict` do.

        Args:
            texts: strings, or lists of words, in a list or a column; for a head of pairs, pairs of strings.
            batch_tokens: tokens of a batch.
            progress: called with how far it has come; see `lw.Progress`.
            threads: how many to compute with; see `lw.extract`.

        Returns:
            for each text `doc`, its number, and `label` with `probabilities`, `labels`, `value`, `spans` or
            `words`; of several tasks, one of these under each task's name.

        Raises:
            RequestError: texts that the head can't take.
        """
        records = examples_of(texts, self.data.pairs)
        choose(threads)
        with tracking(progress) as track:
            parts = _parts(shards(records, TEXTS, CHARACTERS), track, sum(map(len, records)))
            return [found.to_json() for found in _stream(self, parts, batch_tokens, threads)]

    def predict_rows(self, states: Layered) -> list[dict[str, Any]]:
        """Return what the head says of rows that are encoded already, in memory or on disk, text by text.

        They must be rows as those that it was trained on; see `HeadData.rows`.
        """
        found = answers(self.data, states.checked())
        return [{"doc": doc, **answer} for doc, answer in enumerate(found)]

    def evaluate(
        self,
        source: Any,
        *,
        progress: Callback | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Return how the head does on labelled data, by task; see `heads.evaluate`."""
        return evaluate(self, source, progress=progress, threads=threads, **options)

    def save(self, out: str | Path) -> None:
        """Write the head to the folder `out`.

        Raises:
            OutputError: something stands there, or it can't be written to.
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
        model: where its model is now, when its name has changed; its hashes must be the same.
        revision, device, allow_pickle, trust_remote_code: see `load_encoder`. The model is loaded when it is
            first needed, but for one that is named here, which is compared at once.

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
    """Return what is recorded of a head's making: the versions, and the time."""
    own = {name: version(name) for name in ("scikit-learn", "scipy")}
    return {"versions": {**versions(), **own}, "made": datetime.now(UTC).isoformat(timespec="seconds")}


def predict_source(
    head: Head,
    corpus: Corpus,
    *,
    batch_tokens: int | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Iterator[Prediction]:
    """Yield what a head says of the texts of a corpus, in their order, in bounded memory."""
    choose(threads)

    def predictions() -> Iterator[Prediction]:
        with tracking(progress) as track:
            parts = tracked(chunks(head.data, corpus), track, corpus)
            yield from _stream(head, parts, batch_tokens, threads)

    return predictions()


def _parts(
    parts: Iterator[list[Example]], track: Tracker, count: int
) -> Iterator[tuple[list[Example], Tracker]]:
    """Yield chunks of so many texts with the part of the call that each is."""
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
        with computing(threads):  # and not while whoever asks for the next has its turn
            states = encode_rows(head.data, head.encoder, examples, batch_tokens, track)
            found = list(answers(head.data, states))
        for example, answer in zip(examples[::step], found, strict=True):
            yield Prediction(doc, example, answer)
            doc += 1
