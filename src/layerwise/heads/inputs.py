"""Describe how the rows of a dataset were made, and turn texts and sources into rows of the same kind for a head."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from layerwise import choices, encode, pooling
from layerwise._util.progress import SILENT, Tracker, counted
from layerwise.alignment import Groups
from layerwise.arguments import argument
from layerwise.columns import is_paired
from layerwise.errors import HeadError, ModelError, RequestError, SourceError
from layerwise.example import PART, Example, clean, joint_example
from layerwise.heads.head import HeadData
from layerwise.heads.text_kind import TextKind, kind_of, kind_of_rows
from layerwise.read.corpus import Corpus, open_corpus
from layerwise.read.files import find_files
from layerwise.read.shards import shards
from layerwise.states import LayerStates
from layerwise.store import LayerDataset
from layerwise.texts import listed, refuse
from layerwise.unknown import unknown_note
from layerwise.wording import Message

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.request import Request
    from layerwise.store.manifest import Settings

# Texts and characters that are encoded at once: enough for full batches, few enough for a small memory.
TEXTS, CHARACTERS = 1024, 262_144


_MODEL = ("id", "revision", "family", "blocks", "width", "weights", "tokenizer", "config")


def describe_rows(dataset: LayerDataset) -> dict[str, Any]:
    """Return `level`, `pool` and other settings by name: how the rows of a dataset were made.

    `words_pool` is the pool of the words if texts were pooled from word rows (`layerwise pool`), else `None`.
    """
    settings, derived = dataset.manifest.settings, dataset.manifest.derived
    names = ("special_tokens", "long", "max_length", "overlap", "precision", "prompt", "word_split")
    rows = {name: getattr(settings, name) for name in names}
    rows |= {name: value for name, value in _further_rows(settings).items() if value is not None}
    words = derived.pool if derived is not None and derived.level == "word" else None
    if dataset.level == "text" and words is None:
        rows["word_split"] = None  # no row depends on it
    redact = {} if settings.redact is None else {"redact": settings.redact.to_json()}
    return {"level": dataset.level, "pool": dataset.pool, **rows, "words_pool": words, **redact}


def _further_rows(settings: Settings) -> dict[str, Any]:
    """Return what most datasets don't have: `context`, the column `document`, and the columns of `joint` pairs, or `None`."""
    reading, context = settings.reading, settings.context
    return {
        "context": None if context is None else list(context),
        "document": None if context is None else reading.document,
        "joint": [*reading.text] if reading.joint and reading.text is not None else None,
    }


def describe_reading(dataset: LayerDataset) -> dict[str, Any]:
    """Return the options that chose the columns of texts when a dataset was extracted; pairs name theirs elsewhere."""
    reading = dataset.manifest.settings.reading
    if isinstance(reading.text, tuple):
        return {}
    options = {"text": reading.text, "words": reading.words, "join": reading.join}
    return {name: value for name, value in options.items() if value is not None}


def describe_model(dataset: LayerDataset, layers: Iterable[str]) -> dict[str, Any]:
    """Return the model of a dataset: its id, revision, family, blocks, width and hashes, and its adapter if it has one.

    `widths` are those of the sites among `layers` whose vectors have another width than the model's layers.
    """
    model = dataset.manifest.model
    adapter = {"adapter": model.adapter.to_json()} if model.adapter is not None else {}
    widths = {name: dataset.widths[name] for name in layers if dataset.widths[name] != model.width}
    return {
        **{name: getattr(model, name) for name in _MODEL},
        **({"widths": widths} if widths else {}),
        **adapter,
    }


def describe_pairs(dataset: LayerDataset) -> tuple[str, str] | None:
    """Return the names of the two texts of each record, or `None` where rows are single texts."""
    if not is_paired(dataset):
        return None
    first, second = next(dataset.parts()).index["part"][:2].to_pylist()
    return str(first), str(second)


def load_model(
    head: HeadData,
    model: str | None = None,
    revision: str | None = None,
    adapter: str | None = None,
    **options: Any,
) -> Encoder:
    """Load the encoder of a head, after checking that it is the model of the training.

    Args:
        head: the head.
        model: the current name or folder of the model; the name at training when left out.
        revision: the revision of `model` on the hub.
        adapter: the current folder of its adapter; that at training when left out.
        **options: `device`, `allow_pickle`, `trust_remote_code` of `load_encoder`.

    Raises:
        HeadError: not the model of the head.
        ModelError: a model that can't be found or loaded.
    """
    name = model if model is not None else str(head.model["id"])
    revision = revision if model is not None else head.model["revision"]
    stored = head.model.get("adapter") or {}
    folder = encode.adapter_files.stored_adapter(stored.get("folder"), model, adapter)
    permissions = {key: bool(options.get(key)) for key in ("allow_pickle", "trust_remote_code")}
    try:
        checkpoint = encode.checkpoint.find_checkpoint(name, revision, adapter=folder, **permissions)
    except ModelError as error:
        hint = f"; if the head's model is elsewhere now, give its name or folder in {argument('model')}"
        raise ModelError(f"{error}{hint if model is None else ''}") from None
    head.check_model(checkpoint.hashes(), name)
    precision = str(head.rows["precision"])
    return encode.load.load_without_prompts(
        name, revision=revision, precision=precision, adapter=folder, **options
    )


def encode_rows(
    head: HeadData,
    encoder: Encoder,
    examples: Sequence[Example],
    batch_tokens: int | None = None,
    track: Tracker = SILENT,
) -> LayerStates:
    """Return the rows of texts, encoded as in the training of the head, up to the deepest layer of its mixes."""
    return encode_together([head], encoder, examples, batch_tokens, track)[0]


def encode_together(
    heads: Sequence[HeadData],
    encoder: Encoder,
    examples: Sequence[Example],
    batch_tokens: int | None = None,
    track: Tracker = SILENT,
) -> list[LayerStates]:
    """Return the rows of texts for each of some heads, from one forward up to the deepest layer of all their mixes.

    The heads may differ in their layers, level, pool and special tokens, and in nothing else of `HeadData.rows`.
    """
    requests = [request_of_head(head, encoder, batch_tokens) for head in heads]
    states = encoder.states_of_requests(examples, requests, on_batch=counted(track, len(examples)))
    return list(map(rows_of_head, heads, states))


def rows_of_head(head: HeadData, states: LayerStates) -> LayerStates:
    """Return the rows that a head takes, of texts that were encoded with its `request_of_head`."""
    return _texts_of_words(states, str(head.rows["pool"])) if head.rows["words_pool"] else states


def request_of_head(head: HeadData, encoder: Encoder, batch_tokens: int | None) -> Request:
    """Return how texts are encoded for a head: as in its training."""
    rows = head.rows
    by_words = rows["words_pool"] is not None
    request = encoder.request(
        head.layers,
        "word" if by_words else rows["level"],
        rows["words_pool"] if by_words else rows["pool"],
        special_tokens=True if by_words else rows["special_tokens"],
        long=rows["long"],
        max_length=rows["max_length"],
        overlap=choices.recorded_overlap(rows["long"], rows["overlap"]),
        prompt=rows["prompt"] or "",
        word_split=rows["word_split"],
        batch_tokens=batch_tokens,
    )
    return encoder.with_context(request, rows.get("context"))


def _texts_of_words(states: LayerStates, pool: str) -> LayerStates:
    """Return rows of texts that are pooled from the rows of their words."""
    docs = states.texts["doc"].to_numpy()
    counts = np.searchsorted(docs, states.index["doc"].to_numpy())
    counts = np.bincount(counts, minlength=len(docs))
    if not counts.all():
        raise RequestError(
            f"text {docs[int(np.argmin(counts))]} has no word, so no row, and the head was trained on pools of "
            "words; leave it out"
        )
    groups = pooling.choose(Groups(np.arange(states.rows), counts), pool)
    return LayerStates(
        {name: pooling.reduce_array(states.layer(name), groups, pool) for name in states.layers},
        index=pa.table({name: states.texts[name] for name in states.texts.column_names if name != "words"}),
        texts=states.texts,
        blocks=states.blocks,
        level="text",
        pool=pool,
        model=states.model,
    )


class UnknownTally:
    """Counts the tokens of encoded texts, and those of them that the model doesn't know."""

    def __init__(self) -> None:
        self._tokens = self._unknown = 0

    def add(self, states: LayerStates) -> None:
        """Count the tokens of some texts."""
        self._tokens += int(states.texts["tokens"].to_numpy().sum())
        self._unknown += int(states.texts["unknown"].to_numpy().sum())

    def log_note(self, head: HeadData) -> None:
        """Log a note if more than one token in ten is unknown to the model of a head."""
        remedy = "use a head of a model that was made for their language or script"
        note = unknown_note(self._unknown, self._tokens, str(head.model["id"]), remedy)
        if note is not None:
            logging.getLogger("layerwise").warning("%s", note)


def examples_of(texts: Iterable[Any], kind: TextKind) -> list[tuple[Example, ...]]:
    """Return records of texts given in Python: strings, lists of words, or pairs of strings.

    Raises:
        RequestError: anything else, with the number of the text; texts for a head that needs their documents.
    """
    if kind.need is not None:
        raise RequestError(
            f"{kind.need.why}, and a list of texts has no documents; predict a source with lw.predict, or {kind.need.otherwise}"
        )
    return [_record(number, text, kind) for number, text in enumerate(listed(texts))]


def _record(number: int, text: Any, kind: TextKind) -> tuple[Example, ...]:
    pairs = kind.pairs or kind.joint
    is_list_of_strings = isinstance(text, list | tuple) and all(isinstance(part, str) for part in text)
    if pairs is not None:
        if not is_list_of_strings or len(text) != 2:
            raise RequestError(f"text {number} is {text!r:.60}; the head takes pairs of strings")
        if kind.joint is not None:
            return (joint_example([clean(part) for part in text], kind.joint),)
        return tuple(
            Example(clean(part), columns={PART: name}) for part, name in zip(text, pairs, strict=True)
        )
    if isinstance(text, str):
        return (Example(clean(text)),)
    if not is_list_of_strings:
        refuse(number, text)
    words = tuple(map(clean, text))
    return (Example(" ".join(words), words),)


def describe_texts(dataset: LayerDataset) -> TextKind:
    """Return which texts a head that is trained on a dataset takes."""
    return kind_of_rows(describe_rows(dataset), describe_pairs(dataset))


def open_source(texts: TextKind, source: Any, **options: Any) -> Corpus:
    """Open the texts of a source for a head; of pairs, the columns of its training texts are read.

    The options are those of `read.open_corpus`.
    """
    columns = texts.pairs or texts.joint
    if columns is not None and not options.get("text") and not options.get("words"):
        format, _ = find_files(source, options.get("format") or "auto")
        if format not in ("txt", "docs", "conll"):  # these formats have no columns of texts
            options = {**options, "text": columns}
    if texts.joint is not None:
        options = {**options, "pair_encoding": "joint"}
    options = {**options, "document": options.get("document") or texts.document}
    if columns is None and not options.get("text") and not options.get("words"):
        corpus = _opened_as_in_training(texts, source, options)
        if corpus is not None:
            return corpus
    return open_corpus(source, **options, need=texts.need)


def _opened_as_in_training(texts: TextKind, source: Any, options: Mapping[str, Any]) -> Corpus | None:
    """Open a source with the columns of texts that the training had; `None` where it is known to lack them, or isn't known."""
    if not texts.reading:
        return None
    try:
        corpus = open_corpus(source, **{**options, **texts.reading}, need=texts.need)
    except (RequestError, SourceError):  # a source of another form, which is then read as any other
        return None
    if corpus.columns is None:
        return None
    shown_options = " ".join(argument(name, value) for name, value in texts.reading.items())
    corpus.notices.append(Message("note.read.as.trained", options=shown_options, option=argument("text")))
    return corpus


def tracked(
    parts: Iterator[list[Example]], track: Tracker, corpus: Corpus
) -> Iterator[tuple[list[Example], Tracker]]:
    """Yield chunks of a corpus, each with a tracker for its part of the progress, named after the file."""
    before = 0.0
    for examples in parts:
        file, number, files = corpus.position
        after = corpus.fraction
        part = track.unknown() if after is None else track.between(before, after)
        yield examples, part.named(f"file {file}", number, files)
        before = after or 0.0


def chunks(head: HeadData, corpus: Corpus, keep: Sequence[str] = ()) -> Iterator[list[Example]]:
    """Yield the texts of a corpus in chunks of bounded size; pairs aren't split, and only the columns `keep` stay.

    Raises:
        RequestError: pairs for a head of single texts, or single texts for a head of pairs.
    """
    for chunk in shards(corpus.records(), TEXTS, CHARACTERS):
        check_paired(head, corpus.paired)
        yield [slim(example, {*keep, *kind_of(head).columns}) for example in chunk]


def arriving_chunks(head: HeadData, corpus: Corpus) -> Iterator[list[Example]]:
    """Yield the texts as `chunks` does, with all columns; a chunk also ends where the next record hasn't arrived yet."""
    for chunk in shards(corpus.records(), TEXTS, CHARACTERS, waits=lambda: corpus.waits):
        check_paired(head, corpus.paired)
        yield chunk


def check_paired(head: HeadData, paired: bool) -> None:
    """Check that a head of pairs gets pairs, and any other head single texts.

    Raises:
        RequestError: if not; the message says which columns hold the two texts.
    """
    if head.pairs is not None and not paired:
        names = ",".join(head.pairs)
        raise RequestError(
            f"the head was trained on pairs of texts ({names}) and these are single texts; "
            f"name the two columns, such as {argument('text', names)}"
        )
    if head.pairs is None and paired:
        raise RequestError(
            f"the head was trained on single texts and these are pairs; name one column in {argument('text')}"
        )


def slim(example: Example, keep: Collection[str]) -> Example:
    """Return a text with only the columns `keep`."""
    columns = {name: value for name, value in example.columns.items() if name in keep}
    of_words = {name: value for name, value in example.word_columns.items() if name in keep}
    return replace(example, columns=columns, word_columns=of_words)


def check_dataset(head: HeadData, dataset: LayerDataset) -> None:
    """Check that the rows of a dataset are of the kind that a head was trained on.

    Raises:
        HeadError: a different model, level, pool, prompt, context, encoding of pairs or handling of special tokens.
        RequestError: pairs instead of single texts or the reverse, or layers that aren't stored.
    """
    head.check_model(dataset.manifest.model.to_json(), str(dataset.path))
    rows = describe_rows(dataset)
    for name in (
        *("level", "pool", "special_tokens", "prompt", "words_pool", "word_split"),
        "context",
        "joint",
    ):
        if rows.get(name) != head.rows.get(name):
            raise HeadError(
                f"the head was trained on rows of {name} {head.rows.get(name)!r} and {dataset.path} has "
                f"{rows.get(name)!r}; give a dataset made with the same options"
            )
    check_paired(head, is_paired(dataset))
    missing = [name for name in head.layers if name not in dataset.layers]
    if missing:
        raise RequestError(
            f"{dataset.path} lacks the layers {', '.join(missing)} of the head's mix; there are "
            f"{', '.join(dataset.layers)}"
        )
