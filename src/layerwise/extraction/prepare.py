"""Prepare a run of `extract`: check its options, open its source, and read the texts of the first shard."""

from __future__ import annotations

import codecs
import itertools
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from layerwise import choices
from layerwise._util.paths import place
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.example import Example
from layerwise.extraction.context import documents_of
from layerwise.extraction.job import Job, SourceSettings
from layerwise.extraction.shard_maker import ShardRecipe
from layerwise.extraction.stored_model import adapter_name
from layerwise.extraction.unknown import sample_of
from layerwise.options import EncodeOptions, ExtractOptions, LoadOptions, ReadOptions, part
from layerwise.read import open_corpus
from layerwise.read.corpus import Corpus
from layerwise.read.redaction import Redactor, redact_records
from layerwise.read.shards import CHARACTERS, TEXTS, shards
from layerwise.schema import Carried, carried_columns, left_out_columns
from layerwise.store import disk
from layerwise.store.layout import Folder
from layerwise.store.manifest import (
    Manifest,
    Reading,
    RedactEntry,
    ShardRule,
    read_manifest,
)
from layerwise.word_split import check_split
from layerwise.wording import Message


def prepare(
    source: Any,
    out: str | Path,
    options: ExtractOptions,
    *,
    redactor: Redactor | None = None,
    together: bool = False,
    append: bool = False,
) -> Job:
    """Check everything that doesn't need the model, read the texts of the first shard, and return the job.

    With a redactor only redacted texts are passed on.
    """
    choices.one_of("level", options.level, ("token", "word", "text"))
    choices.fit_pool(options.level, options.pool)
    choices.one_of("dtype", options.dtype, choices.DTYPES)
    check_split(options.word_split)
    quote = not options.no_text and redactor is None  # what a bad record is like is stored
    if redactor is not None and _pair_encoding(options) == "joint":
        raise RequestError(
            f"{argument('redact')} can't be used with {argument('pair_encoding', 'joint')}; encode the texts of a pair apart, or "
            "redact them before"
        )
    extended = place(out) if append else None
    documents = documents_of(options, extended, None if extended is None else _earlier(extended))
    corpus = open_corpus(
        source,
        quote=quote,
        **{**part(options, ReadOptions), "document": documents.column},
        pair_encoding=_pair_encoding(options),
        need=documents.need,
    )
    texts = options.shard_texts if options.shard_texts is not None else TEXTS
    rule = ShardRule(texts=texts, characters=CHARACTERS[options.level])
    if options.no_text and options.level in ("token", "word"):
        corpus.notices.append(_leak_notice(out, is_redacted=redactor is not None))
    records = corpus.records() if redactor is None else redact_records(corpus, corpus.records(), redactor)
    read: list[Sequence[Example]] = []
    first = next(shards(_noting(records, read), rule.texts, rule.characters))
    _check_keep(options.keep, options.no_text, first)
    settings = SourceSettings(
        _reading(options, corpus),
        options.no_text,
        tuple(sorted(options.keep)),
        rule,
        _redact_entry(redactor),
    )
    recipe = ShardRecipe(
        place(out),
        options.model,
        {**_loading(options, extended), "precision": options.precision},
        _request(options, corpus.word_split, extended),
        options.dtype,
        documents.context,
        together,
        tuple(sample_of(first)),
    )
    carried = Carried(corpus.types, options.no_text, (*options.keep, *corpus.kept))
    left_out = corpus.shown_names(left_out_columns(first, carried))
    return Job(recipe, settings, corpus.names, corpus, carried, itertools.chain(read, records), left_out)


def _reading(options: ExtractOptions, corpus: Corpus) -> Reading:
    """Return how a source is read, of which at least one text was read already."""
    return Reading(
        format=corpus.format,
        text=_frozen(corpus.text),
        words=options.words,
        id=options.id,
        columns=_frozen(options.columns),
        encoding=codecs.lookup(options.encoding).name,
        **corpus.further_options,
    )


def _loading(options: ExtractOptions, extended: Path | None) -> dict[str, Any]:
    """Return how the model is loaded; for texts that are added with the adapter of the dataset `extended`."""
    loading = part(options, LoadOptions)
    adapter = None if options.adapter is None else str(options.adapter)
    is_loaded = not isinstance(options.model, str | Path)
    if is_loaded and adapter is not None:
        raise RequestError(
            f"{argument('adapter', adapter)} has no effect on a model that is loaded; give it to lw.load_encoder"
        )
    if extended is None or is_loaded or adapter is not None:
        return {**loading, "adapter": adapter}
    manifest = _earlier(extended)
    return {
        **loading,
        "adapter": None if manifest is None else adapter_name(manifest, options.model, adapter),
    }


def _earlier(extended: Path) -> Manifest | None:
    """Return the manifest of a dataset that is added to; None where there is none yet."""
    with disk.writing(extended):
        exists = Folder(extended).manifest.exists()
    return read_manifest(Folder(extended)) if exists else None


def _request(options: ExtractOptions, word_split: str | None, extended: Path | None) -> dict[str, Any]:
    """Return what `Encoder.request` takes; what isn't given for added texts is that of the dataset `extended`.

    `word_split` is what a word of this source is where neither the option nor that dataset says it.
    """
    request = part(options, EncodeOptions)
    earlier = None if extended is None else _earlier(extended)
    stored = None if earlier is None else earlier.settings
    request["word_split"] = options.word_split or (stored and stored.word_split) or word_split
    if stored is not None and options.prompt is None and options.prompt_name is None:
        request["prompt"] = stored.prompt or ""
    return request


def _pair_encoding(options: ExtractOptions) -> str | None:
    encoding = choices.one_of("pair_encoding", options.pair_encoding, choices.PAIR_ENCODINGS)
    return None if encoding == "separate" else encoding


def _redact_entry(redactor: Redactor | None) -> RedactEntry | None:
    return None if redactor is None else RedactEntry.from_json(redactor.facts.to_json())


def _leak_notice(out: str | Path, *, is_redacted: bool) -> Message:
    """Return the notice that vectors give texts away, with the command that measures it.

    The texts of a redacted dataset can't be read anew, so one that stores them is needed.
    """
    if is_redacted:
        return Message("note.no.text.leaks.redacted")
    command = f"layerwise analyze {shlex.quote(str(out))} --measure leakage --source SOURCE"
    return Message("note.no.text.leaks", command=command)


def redaction_of(options: ExtractOptions, out: str | Path, *, append: bool) -> Any:
    """Return by what the texts of a source are redacted: what the options say, or else as in the dataset that they are added to.

    Raises:
        RequestError: the dataset was redacted by a file of spans, which has none of the new texts.
    """
    earlier = _earlier(place(out)) if append and options.redact is None else None
    entry = None if earlier is None else earlier.settings.redact
    if entry is not None and entry.how is None:
        raise RequestError(
            f"the texts of {out} were redacted by a file of spans, so those of the new texts are needed too; give their file in "
            f"{argument('redact')}"
        )
    return options.redact if entry is None else entry.how


def _frozen(names: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    return names if names is None or isinstance(names, str) else tuple(names)


def _noting(
    records: Iterator[Sequence[Example]], read: list[Sequence[Example]]
) -> Iterator[Sequence[Example]]:
    for record in records:
        read.append(record)
        yield record


def _check_keep(keep: Sequence[str], no_text: bool, examples: Sequence[Example]) -> None:
    if keep and not no_text:
        raise RequestError(
            f"{argument('keep', list(keep))} goes with {argument('no_text', True)}; leave it out, because all columns are kept"
        )
    columns = carried_columns(examples)
    names = columns["text"] + columns["word"]
    for name in keep:
        if name not in names:
            # The columns aren't named: with --no-text no message shows anything of the source.
            remedy = f"carried columns: {len(names)}, give the name of one of them"
            if not names:
                remedy = f"no column is carried at all, leave {argument('keep')} out"
            raise RequestError(f"{argument('keep', name)}: no such column is carried; {remedy}")
