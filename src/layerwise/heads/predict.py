"""Apply a head to new text: strings or sources in, labels with probabilities, numbers, words or spans out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise._util.locks import new_lock
from layerwise._util.progress import Callback, Tracker, tracking
from layerwise._util.threads import choose
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.example import Example
from layerwise.heads.answers import answers
from layerwise.heads.evaluate import evaluate
from layerwise.heads.evaluation import Evaluation
from layerwise.heads.head import HeadData
from layerwise.heads.head_mix import HeadMix, fitted_mix
from layerwise.heads.inputs import (
    CHARACTERS,
    TEXTS,
    UnknownTally,
    arriving_chunks,
    examples_of,
    load_model,
    slim,
    tracked,
)
from layerwise.heads.kept import KeptColumns, KeptValues
from layerwise.heads.storage import head_name, read_head, write_head
from layerwise.heads.text_kind import with_context
from layerwise.heads.together import HeadGroup
from layerwise.read.shards import shards
from layerwise.states import Layered
from layerwise.store.reader import open_rows

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.read.corpus import Corpus


_LOGGER = logging.getLogger("layerwise")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one text (one pair): its number, the text (of a pair the first), and the answer as JSON values.

    `id` is the user's own id, `kept` are the columns of the source to write beside the answer; `is_empty` is true for a
    text of nothing but blanks (a pair with one).
    """

    doc: int
    example: Example
    answer: dict[str, Any]
    id: Any = None
    kept: KeptValues = field(default_factory=KeptValues)
    is_empty: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return `doc`, `id` when there is one, the kept columns, `empty` for an empty text, and the answer."""
        text_id = {} if self.id is None else {"id": self.id}
        empty = {"empty": True} if self.is_empty else {}
        return {"doc": self.doc, **text_id, **self.kept.of_text, **self.kept.of_words, **empty, **self.answer}


class Head(HeadData):
    """A trained head: text in, labels, numbers or spans out. Returned by `lw.train` and `lw.load_head`.

    A head may be used by several threads at once. For its attributes see `HeadData`.
    """

    def __init__(self, data: HeadData, **loading: Any) -> None:
        """Store the data of a head; `loading` are the arguments of `inputs.load_model`."""
        values = (
            data.model,
            data.rows,
            data.pairs,
            data.task_heads,
            data.training,
            data.provenance,
            data.name,
        )
        super().__init__(*values)
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
        heads: Sequence[str | Path | Head] = (),
        batch_tokens: int | None = None,
        context: Sequence[int] | str | int | None = None,
        progress: Callback | None = None,
        threads: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the answer for each text, as in the JSON lines of `layerwise predict`.

        Args:
            texts: strings, or lists of words, in a list or a column; for a head of pairs, pairs of strings.
            heads: further heads of the same model, as folders or loaded ones, to apply in the same forward; it is
                computed by the encoder of this head.
            batch_tokens: the number of tokens per batch.
            context: 0 to encode each text by itself, though the head was trained on texts with the context of their
                documents, which a list of texts doesn't have.
            progress: called with the progress; see `lw.Progress`.
            threads: number of threads to compute with; see `lw.extract`.

        Returns:
            for each text `doc`, its number, and `label` or `labels` with `probabilities`, `value`, `spans` or
            `words`; with several tasks, one of these under each task's name; with several heads, that of each under
            its name; `empty`, which is true, for an empty text.

        Raises:
            RequestError: texts of another kind than the head takes; heads that can't be applied together.
            HeadError: heads of different models.
        """
        group = self.group(heads, context)
        records = examples_of(texts, group.texts)
        choose(threads)
        group.log_notes()
        with tracking(progress) as track:
            parts = _parts(shards(records, TEXTS, CHARACTERS), track, sum(map(len, records)))
            return [prediction.to_json() for prediction in _stream(group, parts, batch_tokens, threads)]

    def group(
        self,
        others: str | Path | Head | Sequence[str | Path | Head] = (),
        context: Sequence[int] | str | int | None = None,
    ) -> HeadGroup:
        """Return this head, with some others of the same model, to apply them together; `context` as in `predict`.

        Errors are those of `load_head` and of `HeadGroup`.
        """
        named = [others] if isinstance(others, str | Path | Head) else others
        if not isinstance(named, list | tuple):
            raise RequestError(
                f"{argument('heads')} is {others!r:.60}, no list; give heads or their folders in one"
            )
        heads = [self, *map(self._with_same_model, named)]
        # The first head of each precision has the model for all of it.
        owners = {head.rows["precision"]: head for head in reversed(heads)}
        return HeadGroup(
            [with_context(head, context) for head in heads],
            [partial(_encoder_of, owners[head.rows["precision"]]) for head in heads],
        )

    def _with_same_model(self, other: str | Path | Head) -> Head:
        return other if isinstance(other, Head) else Head(read_head(other), **self._loading)

    def predict_rows(self, states: Layered | str | Path) -> list[dict[str, Any]]:
        """Return the answer for each text of rows that are already encoded, in memory or on disk.

        Args:
            states: the rows, or the folder of a dataset; of the kind that the head was trained on, see `HeadData.rows`.

        Raises:
            HeadError: rows of another model, level, pool or width.
            RequestError: pairs instead of single texts or the reverse, or layers that are missing.
        """
        rows = open_rows(states)
        for task in self.tasks:
            self.fitted_mix(task).check(rows)
        row_answers = answers(self, rows.checked())
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
        document: str | None = None,
        context: Sequence[int] | str | int | None = None,
        progress: Callback | None = None,
        threads: int | None = None,
    ) -> Evaluation:
        """Return the scores of the head on labelled data, by task.

        Args:
            source: texts as `layerwise predict` takes them, or a dataset whose rows are of the same kind as in
                training.
            format, text, words, id, columns, encoding, skip_bad, limit: see `read.ReaderOptions`; for texts.
            separator, na, sentence_id, join, classes, document: see `read.ReaderOptions`; for texts.
            context: 0 to encode each text by itself, though the head was trained on texts with the context of their documents.
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
            "document": document,
        }
        reading["context"] = context
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
        self.name = self.name or head_name(out)

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
    adapter: str | Path | None = None,
) -> Head:
    """Open a head that `layerwise train` or `Head.save` wrote.

    Args:
        path: its folder.
        model: the current name or folder of its model, if that has changed; the hashes must be equal.
        revision, device, allow_pickle, trust_remote_code, adapter: see `load_encoder`. The model is loaded at first
            use; if `model` or `adapter` is given, it is loaded and compared at once.

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
        adapter=None if adapter is None else str(adapter),
    )
    if model is not None or adapter is not None:
        _ = head.encoder
    return head


def _encoder_of(head: Head) -> Encoder:
    return head.encoder


def predict_source(
    head: Head | HeadGroup,
    corpus: Corpus,
    *,
    keep: Sequence[str] = (),
    batch_tokens: int | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Iterator[Prediction]:
    """Yield the predictions for the texts of a corpus, in their order, in bounded memory, as texts arrive.

    Args:
        head: a head, or several in a group.
        corpus: the source; notes on it are logged at its end.
        keep: columns of the source to yield beside each answer.
        batch_tokens: the number of tokens per batch.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Raises:
        RequestError: a column that doesn't exist.
    """
    choose(threads)
    group = head if isinstance(head, HeadGroup) else head.group()
    kept = KeptColumns(corpus, keep, group.keys)
    group.log_notes()

    def predictions() -> Iterator[Prediction]:
        """Yield the answers, and log what is known only at their end."""
        texts = empty = 0
        with tracking(progress) as track:
            parts = tracked(arriving_chunks(group.first, corpus), track, corpus)
            for prediction in _stream(group, parts, batch_tokens, threads, kept):
                texts, empty = texts + 1, empty + prediction.is_empty
                yield prediction
        kept.log_notes()
        if empty:
            _LOGGER.warning(
                "%s of %s texts are empty; their answers are marked as empty", f"{empty:,}", f"{texts:,}"
            )

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
    group: HeadGroup,
    parts: Iterator[tuple[list[Example], Tracker]],
    batch_tokens: int | None,
    threads: int | None,
    kept: KeptColumns | None = None,
) -> Iterator[Prediction]:
    step = 1 if group.pairs is None else 2
    doc = 0
    unknown = UnknownTally()
    for examples, track in parts:
        records = [examples[begin : begin + step] for begin in range(0, len(examples), step)]
        kept_values = [kept.values(record) if kept else KeptValues() for record in records]
        slimmed = [slim(example, group.texts.columns) for example in examples]
        # The number of threads is limited in there, and not around `yield`, where it would limit the caller's code.
        chunk_answers = group.answers(slimmed, batch_tokens, threads, track, unknown)
        for record, answer, values in zip(records, chunk_answers, kept_values, strict=True):
            is_empty = not all(text.strip() for example in record for text in example.texts)
            yield Prediction(doc, record[0], answer, kept.id(record[0]) if kept else None, values, is_empty)
            doc += 1
    unknown.log_note(group.first)
