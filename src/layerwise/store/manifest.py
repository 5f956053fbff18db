"""The manifest: what a dataset holds and where it comes from. `docs/reference/format.md` describes it in prose."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from layerwise._util import json_checks
from layerwise._util.folder_kinds import other_kind
from layerwise._util.guarded import BLOCKS, WIDTH
from layerwise._util.paths import faults, reason
from layerwise.choices import DTYPES, LEVELS, LONG, PAIR_ENCODINGS, POOLS, PRECISIONS, WORD_SPLITS
from layerwise.errors import DatasetError
from layerwise.layers import is_layer_of, site
from layerwise.store.json_object import JsonObject, as_json
from layerwise.store.layout import FORMAT, VERSION, Folder, check_version, damaged, from_json, parsed
from layerwise.store.records import (
    ColumnNames,
    Hash,
    Int8Error,
    Positive,
    RecordsFile,
    ShardRecord,
    StorageError,
    Totals,
    column_names,
    errors_of,
    records_name,
    redacted_spans,
    totals_of,
)
from layerwise.tolerance import measured_tolerance
from layerwise.wording import Message, messages_json, said_again

_NAMED = 10  # workers that are named
_OF_WORKER = re.compile(r"(\d+)-of-(\d+)\.(lock|end\.json)")


def _is_context(value: Any) -> bool:
    return json_checks.list_of(json_checks.whole())(value) and len(value) == 2 and sum(value) > 0


def _distinct(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and len(set(map(repr, value))) == len(value)


AtLeastOne = Annotated[int, json_checks.whole(1)]
Width = Annotated[int, json_checks.whole(1, WIDTH)]
Blocks = Annotated[int, json_checks.whole(0, BLOCKS)]
Layers = Annotated[tuple[str, ...], _distinct]
Level = Annotated[str, json_checks.one_of(LEVELS)]
Pool = Annotated[str, json_checks.one_of(POOLS)]
Dtype = Annotated[str, json_checks.one_of(DTYPES)]


@dataclass(frozen=True, kw_only=True)
class ModelHashes(JsonObject):
    """What identifies a model: the SHA-256 of its weights, its tokenizer, and everything else that changes a vector."""

    weights: Hash
    tokenizer: Hash
    config: Hash


@dataclass(frozen=True, kw_only=True)
class UnusedFiles(JsonObject):
    """The parts of a model's folder that nothing reads: tensors of the weights, and files of weights."""

    tensors: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AdapterEntry(JsonObject):
    """An adapter that was merged into the model.

    Attributes:
        folder: where it was, as it was named; None where the model's own folder is or holds it.
        kind: as peft names it.
        base, base_revision: the model that it was trained on, as it names it.
        weights, config: SHA-256 of its files.
    """

    folder: str | None
    kind: str
    base: str | None
    base_revision: str | None
    weights: Hash
    config: Hash


@dataclass(frozen=True, kw_only=True)
class ModelEntry(ModelHashes):
    """The model of a dataset.

    Attributes:
        random: the seed, where its weights are random.
        causal: whether each token attends only to itself and to tokens before it.
        adapter: what was merged into its weights.
    """

    id: str
    revision: str | None
    family: str
    blocks: Blocks
    width: Width
    max_length: AtLeastOne | None
    default_pool: str
    last_layer: str
    not_applied: tuple[str, ...]
    unused: UnusedFiles
    random: int | None = None
    causal: bool | None = None
    adapter: AdapterEntry | None = None


@dataclass(frozen=True, kw_only=True)
class Reading(JsonObject):
    """How a source is read: arguments of `open_corpus`. Unknown ones are refused, as they may change the texts."""

    closed: ClassVar[bool] = True
    format: str
    text: str | tuple[str, ...] | None
    words: str | None
    id: str | None
    columns: str | tuple[str, ...] | None
    encoding: str
    separator: str | None = None
    na: tuple[str, ...] | None = None
    sentence_id: str | None = None
    join: str | None = None
    classes: tuple[str, ...] | None = None
    document: str | None = None
    pair_encoding: Annotated[str, json_checks.one_of(PAIR_ENCODINGS)] | None = None

    @property
    def paired(self) -> bool:
        """Whether the texts are pairs, each encoded alone."""
        return isinstance(self.text, tuple) and self.pair_encoding is None

    @property
    def joint(self) -> bool:
        """Whether each text is a pair that is encoded together."""
        return isinstance(self.text, tuple) and self.pair_encoding == "joint"


@dataclass(frozen=True, kw_only=True)
class ShardRule(JsonObject):
    """A shard closes after `texts` texts or `characters` characters."""

    texts: AtLeastOne
    characters: AtLeastOne


@dataclass(frozen=True, kw_only=True)
class Derived(JsonObject):
    """The finer dataset that rows were pooled from: the SHA-256 of its manifest, its level and its pool."""

    manifest: Hash
    level: Level
    pool: Pool | None


@dataclass(frozen=True, kw_only=True)
class MergedDataset(JsonObject):
    """A dataset that a merged one was made of: the SHA-256 of its manifest, and its number of texts."""

    manifest: Hash
    texts: int


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(JsonObject):
    """The settings that an encoder and its request determine; those of a prompt or a context only where there is one.

    `context` is the largest number of tokens of neighbours before and after each text.
    """

    model: ModelHashes
    layers: Layers
    level: Level
    pool: Pool | None
    special_tokens: bool
    precision: Annotated[str, json_checks.one_of(PRECISIONS)]
    dtype: Dtype
    long: Annotated[str, json_checks.one_of(LONG)]
    max_length: AtLeastOne
    overlap: int | None
    device: str
    engine: Mapping[str, str]
    batch_tokens: AtLeastOne
    prompt: str | None = None
    prompt_tokens: int | None = None
    include_prompt: bool | None = None
    word_split: Annotated[str, json_checks.one_of(WORD_SPLITS)] | None = None
    context: Annotated[tuple[int, ...], _is_context] | None = None


@dataclass(frozen=True, kw_only=True)
class RedactEntry(JsonObject):
    """How texts were redacted before anything else saw them; no file of spans is named, as each is for its own texts.

    Attributes:
        kind: presidio, file, head or model.
        how: the value of `--redact` by which other texts can be redacted likewise.
        sha256: of the files of a head or a model.
    """

    kind: Annotated[str, json_checks.one_of(("presidio", "file", "head", "model"))]
    how: str | None = None
    sha256: Hash | None = None


@dataclass(frozen=True, kw_only=True)
class Settings(EncoderSettings):
    """Everything that can change a stored byte."""

    reading: Reading
    no_text: bool
    keep: tuple[str, ...]
    shard: ShardRule
    redact: RedactEntry | None = None
    derived: Derived | None = None
    merged: tuple[MergedDataset, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Tolerance(JsonObject):
    """How far rows may be from a plain forward: `rule` in words; for int8 also per layer, with the measured error."""

    rule: str
    value: Positive
    layers: Mapping[str, Positive] | None = None
    measured: Mapping[str, Int8Error] | None = None


@dataclass(frozen=True, kw_only=True)
class SkippedRecord(JsonObject):
    """A bad record of a source that was skipped: where it is, and what is wrong with it."""

    source: str
    line: int | None
    why: str


@dataclass(frozen=True, kw_only=True)
class SourceEntry(JsonObject):
    """A source: its files as they were named, how many shards they gave, and how they are read where that differs."""

    files: tuple[str, ...]
    shards: int
    reading: Reading | None = None


@dataclass(frozen=True, kw_only=True)
class Machine(JsonObject):
    """The kind of machine that a dataset was made on."""

    processor: str
    system: str


@dataclass(frozen=True, kw_only=True)
class Description(JsonObject):
    """The part of a manifest that doesn't follow from settings and shards; a verb makes it, the writer adds the rest.

    Attributes:
        width: of the vectors of the model's layers.
        widths: that of each site whose vectors have another width; None where there is none.
        notices: what the user was told, in English.
        messages: under `notices` the messages that they are made of, where there are any.
    """

    layers: Layers
    level: Level
    pool: Pool | None
    blocks: Blocks
    width: Width
    widths: Mapping[str, Width] | None = None
    dtype: Dtype
    model: ModelEntry
    tolerance: Tolerance
    skipped: tuple[SkippedRecord, ...]
    notices: tuple[str, ...]
    messages: Mapping[str, Any] | None = None
    versions: Mapping[str, str]
    machine: Machine
    sources: tuple[SourceEntry, ...]
    derived: Derived | None = None
    merged: tuple[MergedDataset, ...] | None = None

    @property
    def width_of_layers(self) -> dict[str, int]:
        """The width of each layer, by its name."""
        return {**dict.fromkeys(self.layers, self.width), **(self.widths or {})}

    @property
    def notice_messages(self) -> tuple[str, ...]:
        """The notices, as messages where they can be said in other languages."""
        return tuple(said_again(self.notices, (self.messages or {}).get("notices")))

    def with_notices(self, notices: Iterable[str]) -> Self:
        """Return the description with other notices, each once, and their messages."""
        each = list(dict.fromkeys(notices))
        has_messages = any(isinstance(notice, Message) for notice in each)
        return replace(
            self,
            notices=tuple(map(str, each)),
            messages=messages_json(notices=each) if has_messages else None,
        )


@dataclass(frozen=True, kw_only=True)
class Manifest(Description):
    """What a finished dataset is. `format` and `version` say how it is written, `shards` names the file of the records."""

    format: str = FORMAT
    version: int = VERSION
    settings: Settings
    columns: ColumnNames
    shards: RecordsFile
    totals: Totals
    redacted: Mapping[str, int] | None = None
    error: Mapping[str, StorageError]


# Entries that must be equal, because a reader may use either of them.
_REPEATED = {
    **{f"settings.{name}": name for name in ("layers", "level", "pool", "dtype", "derived")},
    **{f"settings.model.{name}": f"model.{name}" for name in ("weights", "tokenizer", "config")},
    **{f"model.{name}": name for name in ("blocks", "width")},
}


def manifest_of(
    description: Description, settings: Settings, records: Sequence[ShardRecord], entry: RecordsFile
) -> Manifest:
    """Return the manifest of a dataset of these shards; `entry` is the file of their records.

    Raises:
        DatasetError: records that can't be summed.
    """
    entries = {name: value for name, value in vars(description).items() if name != "tolerance"}
    return Manifest(
        **entries,
        tolerance=_tolerance(description, records),
        settings=settings,
        columns=column_names(records),
        shards=entry,
        totals=totals_of(records),
        redacted=redacted_spans(records),
        error=errors_of(records, description.layers),
    )


def _tolerance(description: Description, records: Sequence[ShardRecord]) -> Tolerance:
    """Return the tolerance that follows from the error of int8 where a shard has it, else that of the description."""
    errors = [as_json(record.int8_error) for record in records if record.int8_error]
    if not errors:
        return description.tolerance
    # A merged dataset has several: the one of the part with the largest error counts.
    measured = [Tolerance.from_json(measured_tolerance(error, description.dtype)) for error in errors]
    return max(measured, key=lambda tolerance: tolerance.value)


def read_manifest(folder: Folder) -> Manifest:
    """Return the manifest of a finished dataset, with all entries checked; its hash isn't checked (see `verify`).

    Raises:
        DatasetError: no dataset, an unfinished one, another format version, or a damaged manifest.
    """
    try:
        _check_exists(folder)
    except faults() as error:
        raise DatasetError(
            f"can't read {folder.root}: {reason(error)}; correct this and run again"
        ) from error
    return parse_manifest(from_json(folder.manifest), folder.manifest)


def _check_exists(folder: Folder) -> None:
    root = folder.root
    if not root.is_dir():
        what = "is a file" if root.exists() else "doesn't exist"
        raise DatasetError(f"{root} {what}; a dataset is the folder that `layerwise extract --out` writes")
    if not folder.manifest.exists():
        if folder.settings.exists():
            raise DatasetError(f"{root} is unfinished: it has no manifest yet; {_how_to_finish(folder)}")
        other = other_kind(root, "a dataset")
        problem = f"is {other}" if other else f"is no dataset: it has no {folder.manifest.name}"
        raise DatasetError(f"{root} {problem}; give the folder of a dataset")


def _how_to_finish(folder: Folder) -> str:
    """Return what completes unfinished work: the same command again, or the workers that are missing and `finish`."""
    staged = from_json(folder.settings).get("settings")
    for name, command in (("merged", "merge"), ("derived", "pool")):
        if isinstance(staged, dict) and staged.get(name) is not None:
            return f"run the same `layerwise {command}` command again to continue"
    count, ended = _workers(folder)
    if not count:
        return "start the same `layerwise extract` command again to continue"
    missing = [str(index) for index in range(count) if index not in ended]
    finish = f"`layerwise finish {shlex.quote(str(folder.root))}`"
    if not missing:
        return f"all {count} workers have ended, so run {finish}"
    more = " …" if len(missing) > _NAMED else ""
    named = f"{'worker' if len(missing) == 1 else 'workers'} {', '.join(missing[:_NAMED])}{more} of {count}"
    return f"{named} {'has' if len(missing) == 1 else 'have'} not ended; when all have, run {finish}"


def _workers(folder: Folder) -> tuple[int, set[int]]:
    """Return among how many workers unfinished work was divided, 0 where it wasn't, and which of them have ended."""
    names = [match for path in folder.work.glob("*-of-*") if (match := _OF_WORKER.fullmatch(path.name))]
    count = max((int(match[2]) for match in names), default=0)
    return count, {int(match[1]) for match in names if int(match[2]) == count and match[3] == "end.json"}


def parse_manifest(value: dict[str, Any], path: Path) -> Manifest:
    """Return the manifest that a JSON object stands for, which is or will be at `path`.

    Raises:
        DatasetError: another format or version; or naming the first entry that is invalid or contradicts another one.
    """
    check_version(value, path)
    manifest = parsed(Manifest, value, path)
    contradiction = _contradiction(manifest)
    if contradiction is not None:
        raise damaged(path, contradiction)
    return manifest


def _contradiction(manifest: Manifest) -> str | None:
    """Return what is wrong with entries that pass their own checks; `None` when nothing is."""
    if not all(is_layer_of(name, manifest.blocks) for name in manifest.layers):
        return f"layers is {as_json(manifest.layers)!r:.80}"
    if not all(name in manifest.layers and site(name) for name in manifest.widths or ()):
        return f"widths is {as_json(manifest.widths)!r:.80}"
    if (manifest.pool is None) != (manifest.level == "token"):
        return f"pool is {manifest.pool!r}"
    prompting = (manifest.settings.prompt, manifest.settings.prompt_tokens, manifest.settings.include_prompt)
    if 0 < prompting.count(None) < len(prompting):
        return "settings has only some of prompt, prompt_tokens and include_prompt"
    # Its name follows from its hash: it can't point outside its folder.
    if manifest.shards.name != records_name(manifest.shards.sha256):
        return f"shards.name is {manifest.shards.name!r:.60}"
    for name, other in _REPEATED.items():
        first, second = (as_json(attrgetter(entry)(manifest)) for entry in (name, other))
        if first != second:
            return f"{name} is {first!r:.60} and {other} is {second!r:.60}"
    shards = sum(source.shards for source in manifest.sources)
    if shards != manifest.shards.count:
        return f"its sources have {shards:,} shards in all, and there are {manifest.shards.count:,}"
    return None
