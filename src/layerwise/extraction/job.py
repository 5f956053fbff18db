"""One run of `extract` over its source: compare the committed shards with it, and make the missing ones."""

from __future__ import annotations

import codecs
import itertools
import logging
import shlex
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from layerwise import choices
from layerwise._util.display import count_of
from layerwise._util.paths import place
from layerwise._util.progress import Tracker
from layerwise.arguments import argument
from layerwise.errors import DatasetError, RequestError
from layerwise.example import DOCUMENT, Example, digest
from layerwise.extraction.context import StoredDocuments, documents_of
from layerwise.extraction.description import column_notices, describe, describe_grown
from layerwise.extraction.shard_maker import ShardRecipe, Task
from layerwise.extraction.sources import StoredSource, how_to_add, settings_at, stored_source, with_source
from layerwise.extraction.stored_model import adapter_name
from layerwise.extraction.unknown import sample_of, tell_unknown_of_sample
from layerwise.options import EncodeOptions, ExtractOptions, LoadOptions, ReadOptions, part
from layerwise.parallel.executor import Executor, Report
from layerwise.read import open_corpus
from layerwise.read.corpus import Corpus
from layerwise.read.redaction import Redactor, redact_records
from layerwise.read.shards import CHARACTERS, TEXTS, shards
from layerwise.schema import Carried, Coverage, carried_columns, left_out_columns, texts_table
from layerwise.store import DatasetWriter, disk
from layerwise.store.layout import Folder
from layerwise.store.manifest import (
    Description,
    Manifest,
    Reading,
    RedactEntry,
    Settings,
    ShardRule,
    read_manifest,
)
from layerwise.store.staging import ShareEnd
from layerwise.store.tables import join_schemas, joint_schema, read_table
from layerwise.word_split import check_split
from layerwise.wording import Message

_LOG = logging.getLogger("layerwise")


@dataclass(frozen=True)
class SourceSettings:
    """The settings that don't depend on the encoder: how the source is read and cut into shards, and which columns are kept."""

    reading: Reading
    no_text: bool
    keep: tuple[str, ...]
    shard: ShardRule
    redact: RedactEntry | None = None


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


class Job:
    """One run over the source: compares the shards that are committed, and makes those that are missing."""

    def __init__(
        self,
        recipe: ShardRecipe,
        settings: SourceSettings,
        sources: Sequence[str],
        corpus: Corpus,
        carried: Carried,
        records: Iterator[Sequence[Example]],
        left_out: Sequence[str],
    ) -> None:
        self.recipe, self._settings, self._left_out = recipe, settings, left_out
        self._sources, self._corpus, self._carried, self._records = sources, corpus, carried, records
        self.shards = self.texts = 0
        self.told_unknown = False
        self._passed = 0.0  # the share of the source that needs no work
        self._stored = StoredSource()
        self._schemas: dict[str, pa.Schema] = {}
        # The names of the columns, in order: of the earlier shards, and of the added ones.
        self._stored_columns: dict[str, None] = {}
        self._added_columns: dict[str, None] = {}

    def run(self, executor: Executor, track: Tracker, *, append: bool) -> None:
        """Make all shards that are missing, and the manifest."""
        with self._writer(executor, append=append) as writer:
            if append and writer.manifest is None and not writer.committed:
                warnings.warn(_new_dataset_notice(self.recipe.out), UserWarning, stacklevel=3)
            self._go_through(executor, track, writer)
            if not writer.finished and len(writer.committed) > writer.base:
                writer.finish(self._description(executor, writer.manifest))

    def run_share(self, executor: Executor, track: Tracker, share: tuple[int, int]) -> dict[str, Any]:
        """Make the missing shards of one of several workers, and record the counts of the whole source."""
        with self._writer(executor, share=share) as writer:
            self._go_through(executor, track, writer, share)
            texts = [record.texts for number, record in writer.committed.items() if _is_of(share, number)]
            if not writer.finished:
                description = self._description(executor, writer.manifest)
                writer.end_share(
                    ShareEnd(share=share, shards=self.shards, texts=self.texts, description=description)
                )
        return {"shards": len(texts), "texts": sum(texts), "of_shards": self.shards, "of_texts": self.texts}

    def _writer(
        self, executor: Executor, share: tuple[int, int] | None = None, *, append: bool = False
    ) -> DatasetWriter:
        settings = Settings(**vars(executor.description.settings) | vars(self._settings))
        with disk.writing(self.recipe.out):
            settings = settings_at(self.recipe.out, settings, self._sources, append=append)
        return DatasetWriter(self.recipe.out, settings, share, adding=self._sources if append else None)

    def _description(self, executor: Executor, earlier: Manifest | None) -> Description:
        """Return the description after the source was read; `earlier`: the manifest of the dataset that is added to."""
        sources = with_source(earlier, self._stored, self._sources, self.shards, self._settings.reading)
        description = describe(executor.description, self._corpus, sources)
        if earlier is None:
            return description
        carried = {*earlier.columns.text, *earlier.columns.word}
        lacks = [name for name in self._stored_columns if name in carried and name not in self._added_columns]
        new = [name for name in self._added_columns if name not in self._stored_columns]
        return describe_grown(description, earlier, column_notices(lacks, new, self._sources))

    def _go_through(
        self, executor: Executor, track: Tracker, writer: DatasetWriter, share: tuple[int, int] = (0, 1)
    ) -> None:
        self._stored = stored_source(
            writer.manifest, writer.records, self._sources, append=not writer.finished
        )
        if not writer.finished:
            _tell_left_out(self._left_out)
            self.told_unknown = tell_unknown_of_sample(executor.description, self.recipe.sample)
        try:
            for record in executor.map(self._tasks(writer, share, track), self._reporter(track)):
                writer.add(record)
        except BaseException:
            executor.close()  # before the writer tidies up
            raise
        end = self._stored.shard + self.shards
        numbers = [number for number in range(self._stored.shard, end) if _is_of(share, number)]
        missing = sum(number not in writer.committed for number in numbers)
        if missing:
            raise DatasetError(
                f"{missing} of {count_of(len(numbers), 'shard')} are missing; start the same command again to make them"
            )
        stored_end = self._stored.shard + len(self._stored.texts)
        extra = [n for n in writer.committed if n >= end and (n < stored_end or n >= writer.base)]
        if extra and min(extra) >= writer.base > 0:
            raise self._other_source("the source ends before", min(extra))
        if extra:
            texts = sum(writer.committed[n].texts for n in extra)
            raise DatasetError(
                f"the source has {count_of(self.texts, 'text')} now and the dataset has {self.texts + texts:,}; "
                f"use another {argument('out')}"
            )

    def _reporter(self, track: Tracker) -> Report:
        """Return a callback that sums the makers' reports, under the name of the file that is being read."""
        done = 0.0

        def report(*, texts: int = 0, tokens: int = 0, share: float | None = None) -> None:
            nonlocal done
            done += share or 0.0
            file, number, of = self._corpus.position
            passed = None if share is None else self._passed + done
            track.named(f"file {file}", number, of, done=passed, texts=texts, tokens=tokens)

        return report

    def _tasks(self, writer: DatasetWriter, share: tuple[int, int], track: Tracker) -> Iterator[Task]:
        """Yield the shards that aren't committed; check that the others have the texts of this source."""
        before = 0.0
        first_doc = self._stored.doc
        column = self._settings.reading.document or DOCUMENT
        documents = StoredDocuments(Folder(self.recipe.out), writer.base, column)
        stream = shards(
            self._records, self._settings.shard.texts, self._settings.shard.characters, self._stored.texts
        )
        for number, examples in enumerate(stream, self._stored.shard):
            behind = self._corpus.fraction
            if _is_of(share, number) and not self._is_committed(writer, number, examples):
                if number >= writer.base > 0:
                    self._check_fits(examples, writer.base)
                    if self.recipe.context is not None:
                        documents.check_new(examples)
                yield Task(
                    number,
                    first_doc,
                    examples,
                    self._carried,
                    before,
                    behind,
                    measured=number == 0,
                    redacted=self._settings.redact is not None,
                )
            elif behind is not None:
                self._passed += behind - before
                track.skip(behind - before)
            first_doc += len(examples)
            self.shards, self.texts = self.shards + 1, self.texts + len(examples)
            before = behind or 0.0

    def _is_committed(self, writer: DatasetWriter, shard: int, examples: list[Example]) -> bool:
        """Return whether a shard is committed with these texts; a short last one of unfinished work is dropped."""
        stored_end = self._stored.shard + len(self._stored.texts)
        if shard >= stored_end and (writer.finished or not self._stored.last):
            raise self._grown(examples[0], writer)
        if shard not in writer.committed:
            return False
        record = writer.committed[shard]
        texts = record.texts
        if texts > len(examples) or digest(examples[:texts]) != record.input:
            where = first_difference(self._stored_texts(shard), examples)
            if shard >= writer.base > 0:
                raise self._other_source(f"{where} differs from", shard)
            raise self._changed(where, shard, examples[0].source, finished=writer.finished)
        if texts == len(examples):
            return True
        if shard < stored_end:
            raise self._continued(examples[texts])
        if shard < max(writer.committed):
            raise self._grown(examples[texts], writer)
        writer.drop_last()
        return False

    def _check_fits(self, examples: Sequence[Example], base: int) -> None:
        """Check, before new texts are added, that their tables can be joined to those of the first `base` shards."""
        folder, nothing = Folder(self.recipe.out), [Coverage(0, 0, 0, 0)] * len(examples)
        fields = list(texts_table(examples, nothing, 0, "token", self._carried).schema)
        new = {"texts": fields}
        if self.recipe.request["level"] == "word":
            words = carried_columns(examples)["word"]
            new["texts"] = [field for field in fields if field.name not in words]
            new["index"] = [field.with_type(field.type.value_type) for field in fields if field.name in words]
        for kind, schema in new.items():
            if kind not in self._schemas:
                paths = (folder.shard(number, kind) for number in range(base))
                self._schemas[kind] = joint_schema(paths, folder.root)
                self._stored_columns |= dict.fromkeys(self._schemas[kind].names)
            self._added_columns |= dict.fromkeys(field.name for field in schema)
            self._schemas[kind] = join_schemas(
                [self._schemas[kind], pa.schema(schema)],
                folder.root,
                advice=f"convert its values to the earlier type, or use another {argument('out')}",
                added=str(examples[0].where),
            )

    def _stored_texts(self, shard: int) -> pa.Table:
        return read_table(Folder(self.recipe.out).shard(shard, "texts"))

    def _changed(self, where: str, shard: int, source: str | None, *, finished: bool) -> DatasetError:
        """Return the error that a shard of the dataset isn't of the texts of the source, or is of another source."""
        stored = self._stored_texts(shard)["source"][0].as_py()
        if shard > 0 or stored == source:
            return DatasetError(
                f"{where} has changed since shard {shard} was written; restore the source, or use "
                f"another {argument('out')}"
            )
        stored, source = (name or "a list or a table in memory" for name in (stored, source))
        if finished:
            return DatasetError(
                f"{self.recipe.out} holds the texts of {stored}, and {source} isn't among them; {how_to_add()}"
            )
        return DatasetError(
            f"{self.recipe.out} holds unfinished work on {stored}, not on {source}; give that source to finish it, or another "
            f"{argument('out')}"
        )

    def _other_source(self, what: str, shard: int) -> DatasetError:
        """Return the error that a shard of an unfinished addition isn't of the source that is to be added now."""
        source = self._stored_texts(shard)["source"][0].as_py()
        return DatasetError(
            f"{what} shard {shard}, which an unfinished {argument('append')} of {source} made; give that source, "
            f"unchanged, to continue it, or remove {Folder(self.recipe.out).work} to cancel it"
        )

    def _grown(self, example: Example, writer: DatasetWriter) -> DatasetError:
        """Return the error that the source has a text, `example`, which can't be added in its place."""
        if not self._stored.last:
            return DatasetError(
                f"{example.where} is new, and can't be inserted: texts of another source follow this source in the dataset; "
                f"put the new texts into a separate file and give that file with {argument('append', True)}"
            )
        if writer.finished:
            return DatasetError(
                f"the source has grown since the dataset was finished: {example.where} is new; "
                f"give {argument('append', True)} to add the new texts, or another {argument('out')} to extract all texts"
            )
        return DatasetError(
            f"{example.where} is new, and texts after it are in the dataset already; "
            f"restore the source, or use another {argument('out')}"
        )

    def _continued(self, example: Example) -> DatasetError:
        """Return the error that a text belongs to a document whose other texts are in the finished dataset."""
        return DatasetError(
            f"{example.where} is new, and continues a document whose texts are in the dataset already; as context it would "
            f"change their rows: extract all texts with another {argument('out')}"
        )


def _is_of(share: tuple[int, int], number: int) -> bool:
    return number % share[1] == share[0]


def _new_dataset_notice(out: Path) -> str:
    return (
        f"there is no dataset at {out}, so {argument('append', True)} makes a new one; if {argument('out')} is mistyped, "
        "remove the new dataset and give the right path"
    )


def first_difference(stored: pa.Table, examples: Sequence[Example]) -> str:
    """Return where the first text is that differs from the stored one."""
    for row, example in zip(stored.to_pylist(), examples, strict=False):
        values: dict[str, Any] = {
            "id": example.id,
            "source": example.source,
            "line": example.line,
            "text": example.text,
        }
        values |= example.columns
        values |= {name: list(column) for name, column in example.word_columns.items()}
        if any(name in row and row[name] != value for name, value in values.items()):
            return example.where
    if len(examples) < stored.num_rows:
        return f"the end of the source (after {examples[-1].where})"
    return f"a record from {examples[0].where} to {examples[min(len(examples), stored.num_rows) - 1].where}"


def _tell_left_out(names: Sequence[str]) -> None:
    """Log which columns aren't stored, as labels are often among them."""
    if names:
        _LOG.warning(
            "%s leaves out the columns that may hold text: %s; %s stores those that are named",
            *(argument("no_text", True), ", ".join(names), argument("keep")),
        )


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
