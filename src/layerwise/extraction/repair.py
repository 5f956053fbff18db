"""Repairing a dataset: shards that were changed or lost are made again from their source."""

from __future__ import annotations

import glob
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerwise import choices
from layerwise._util.paths import is_url, place
from layerwise._util.progress import Tracker
from layerwise.arguments import argument
from layerwise.errors import DatasetError
from layerwise.example import DOCUMENT, Example, digest
from layerwise.extraction.shard_maker import ShardMaker, ShardRecipe, Task, summed
from layerwise.extraction.sources import STDIN, located, reopened
from layerwise.extraction.stored_model import adapter_name, model_name
from layerwise.parallel.executor import Steps
from layerwise.read.shards import shards
from layerwise.read.txt import folder_column
from layerwise.results import Result, Table
from layerwise.schema import Carried
from layerwise.store import DatasetWriter, LayerDataset, check_files, open_dataset
from layerwise.store.manifest import Description, EncoderSettings, SourceEntry
from layerwise.store.records import ShardRecord
from layerwise.store.staging import difference

_REQUEST = ("layers", "level", "pool", "special_tokens", "long", "max_length", "batch_tokens", "word_split")


@dataclass(frozen=True, slots=True, repr=False)
class Repair(Result):
    """The shards of a dataset that were made again; returned by `lw.repair`.

    `to_pandas()` has a row per shard that was made again: `shard`, `changed`.

    Attributes:
        shards: the numbers of the shards that were made again.
        changed: those of them whose bytes differ from before, because the machine or a version is another one.
        foreign: files in the dataset's folders that aren't part of it; they are left alone.
    """

    shards: tuple[int, ...]
    changed: tuple[int, ...]
    foreign: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return {"shards": list(self.shards), "changed": list(self.changed), "foreign": list(self.foreign)}

    def _lines(self) -> Sequence[str]:
        numbers = ", ".join(map(str, self.shards))
        return [
            f"Repair: shards made again: {numbers}"
            if self.shards
            else "Repair: every shard is as it was written",
            f"with other bytes than before: {', '.join(map(str, self.changed))}" if self.changed else "",
            f"not part of the dataset: {', '.join(self.foreign)}" if self.foreign else "",
        ]

    def _table(self) -> Table:
        return {"shard": self.shards, "changed": [number in self.changed for number in self.shards]}


def repair_dataset(
    path: str | Path,
    source: str | Path | Sequence[str | Path] | None,
    model: str | Path | None,
    loading: Mapping[str, Any],
    track: Tracker,
) -> Repair:
    """Make every shard of a dataset again of which a file is damaged or missing; see `api.repair`.

    Args:
        loading: `device`, `allow_pickle`, `trust_remote_code` and `adapter` of `load_encoder`.
    """
    repaired = None
    while repaired is None:
        repaired = _repaired(place(path), source, model, loading, track)
    return repaired


def _repaired(
    path: Path,
    source: str | Path | Sequence[str | Path] | None,
    model: str | Path | None,
    loading: Mapping[str, Any],
    track: Tracker,
) -> Repair | None:
    """Repair a dataset; return `None` when its manifest changed before its lock was acquired."""
    # Hashing all files, reading the source, making shards again: which of these takes longest isn't known in advance.
    checking, reading, making = track.split(1, 1, 2)
    numbers, foreign = _damaged(path, checking)
    dataset = open_dataset(path)
    if not numbers:
        return Repair((), (), foreign)
    if dataset.manifest.derived is not None:
        raise DatasetError(f"{dataset.path} was made by `layerwise pool`; remove it and pool again")
    reading.named("comparing the source")
    deque(_tasks(dataset, source, numbers), maxlen=0)  # checks the source before anything is changed
    changed = []
    making.named("loading the model")
    with DatasetWriter(dataset.path, dataset.manifest.settings, repairs=True) as writer:
        if writer.manifest != dataset.manifest:
            return None
        maker = _maker(dataset, model, loading)
        weights = [float(writer.committed[number].texts) for number in numbers]
        steps = making.each(numbers, (f"shard {number}" for number in numbers), weights)
        for task, (_, step) in zip(_tasks(dataset, source, numbers), steps, strict=True):
            record = Steps(maker).take(replace(task, before=0.0, behind=1.0), summed(step))
            if record.files != writer.committed[task.number].files:
                changed.append(task.number)
            writer.add(record)
        if changed:
            writer.finish(dataset.manifest.part(Description))
    remaining = tuple(name for name in foreign if (dataset.path / name).exists())
    return Repair(tuple(numbers), tuple(changed), remaining)


def _damaged(path: Path, track: Tracker) -> tuple[list[int], tuple[str, ...]]:
    """Return the numbers of the shards with a damaged file, and the files that belong to no shard."""
    entry = open_dataset(path).manifest.shards
    numbers, foreign = set(), []
    for problem in check_files(path, track):
        folder, _, name = problem.file.partition("/")
        number = name.partition(".")[0]
        if folder == "shards" and number.isdigit() and int(number) < entry.count:
            numbers.add(int(number))
        elif folder == "shards" or (folder.startswith("shards-") and folder != entry.name):
            foreign.append(problem.file)
        else:
            raise DatasetError(
                f"{path}/{problem.file} {problem.what}; it can't be made again, restore it from a copy"
            )
    return sorted(numbers), tuple(foreign)


def _tasks(
    dataset: LayerDataset, source: str | Path | Sequence[str | Path] | None, numbers: Sequence[int]
) -> Iterator[Task]:
    """Read the texts of the damaged shards again, check that they haven't changed, and yield a task per shard."""
    records = list(dataset.shards)
    first = doc = 0
    concerned = []
    entries = dataset.manifest.sources
    for entry_number, entry in enumerate(entries):
        of_entry = records[first : first + entry.shards]
        if any(record.number in numbers for record in of_entry):
            concerned.append((entry_number, of_entry, doc))
        first += len(of_entry)
        doc += sum(record.texts for record in of_entry)
    locations = located(entries, [entry_number for entry_number, _, _ in concerned], source)
    for (entry_number, of_entry, first_doc), files in zip(concerned, locations, strict=True):
        yield from _of_entry(dataset, entries[entry_number], files, of_entry, first_doc, set(numbers))


def _of_entry(
    dataset: LayerDataset,
    entry: SourceEntry,
    files: Sequence[str | Path],
    records: Sequence[ShardRecord],
    doc: int,
    numbers: set[int],
) -> Iterator[Task]:
    """Yield the damaged shards of one source.

    Args:
        dataset, entry: the dataset, and the source.
        files: where the files of the source are now.
        records, doc: all shards of the source, and the number of its first text.
        numbers: the damaged shards.
    """
    manifest, settings = dataset.manifest, dataset.manifest.settings
    if settings.redact is not None:
        raise DatasetError(
            f"shards of {dataset.path} are damaged, and can't be made again: its texts were redacted as they were read, and "
            "the source isn't read without that; restore the shards from a copy, or extract the source anew"
        )
    if STDIN in files:
        raise DatasetError(
            f"the texts of {dataset.path} came through standard input or from memory; use "
            f"{argument('source')} to give a file with the same texts"
        )
    corpus = reopened(manifest, entry, files)
    names = list(zip(map(str, files), entry.files, strict=True))
    texts = [record.texts for record in records]
    stream = shards(corpus.records(), settings.shard.texts, settings.shard.characters, texts)
    left = [record.number for record in records if record.number in numbers]
    for record, examples in zip(records, stream, strict=False):
        if record.number in numbers:
            # The hash includes the name of the file, which may be in another place now.
            renamed = [_renamed(example, names, corpus.format) for example in examples]
            if digest(renamed) != record.input:
                raise DatasetError(
                    f"the texts from {examples[0].where} to {examples[-1].where} have changed since shard "
                    f"{record.number} was written; restore the source, or give the right one with {argument('source')}"
                )
            carried = Carried(corpus.types, settings.no_text, (*settings.keep, *corpus.kept))
            yield Task(record.number, doc, renamed, carried, measured=bool(record.int8_error))
            left.remove(record.number)
            if not left:
                return
        doc += record.texts
    raise DatasetError(
        f"the source ends before shard {left[0]}; restore it, or give the right one with {argument('source')}"
    )


def _renamed(example: Example, names: Sequence[tuple[str, str]], format: str) -> Example:
    """Return an example with the earlier name of its file, also in the values that are made of this name."""
    for now, then in names:
        now_stem, then_stem = _stem(now), _stem(then)
        is_within = now_stem != now and then_stem != then and str(example.source).startswith(now_stem)
        if example.source == now or is_within:
            source = then if example.source == now else then_stem + str(example.source)[len(now_stem) :]
            return _of_source(example, source, format)
    return example


def _of_source(example: Example, source: str, format: str) -> Example:
    before, columns = str(example.source), dict(example.columns)
    if format == "conll" and str(columns.get(DOCUMENT)).startswith(f"{before}:"):
        columns[DOCUMENT] = source + str(columns[DOCUMENT])[len(before) :]
    if format != "docs":
        return replace(example, source=source, columns=columns)
    id = source if example.id == before else str(example.id)
    is_whole_path = id == source or before.endswith(f"/{id}")
    return replace(
        example, source=source, id=id, columns=folder_column(source if is_whole_path else f"{source}/{id}")
    )


def _stem(pattern: str) -> str:
    """Return the folder of all files of a glob, or of a URL; return any other name as it is.

    >>> _stem("data/part-*/[ab].txt")
    'data/'
    """
    if not glob.has_magic(pattern):
        return f"{pattern.rstrip('/')}/" if is_url(pattern) else pattern
    first = min(pattern.index(sign) for sign in "*?[" if sign in pattern)
    return pattern[: pattern.rfind("/", 0, first) + 1]


def _maker(dataset: LayerDataset, model: str | Path | None, loading: Mapping[str, Any]) -> ShardMaker:
    """Return a maker of shards with the settings of the dataset.

    Raises:
        DatasetError: the model, or this machine, gives other settings.
    """
    settings = dataset.manifest.settings
    request = {name: getattr(settings, name) for name in _REQUEST}
    request["overlap"] = choices.recorded_overlap(settings.long, settings.overlap)
    request["prompt"] = settings.prompt or ""
    name, revision = model_name(dataset.manifest, model)
    device = loading["device"] or settings.device
    adapter = adapter_name(dataset.manifest, model, loading["adapter"])
    options = {
        **loading,
        "adapter": adapter,
        "device": device,
        "revision": revision,
        "precision": settings.precision,
    }
    context = None if settings.context is None else (settings.context[0], settings.context[1])
    maker = ShardRecipe(dataset.path, name, options, request, settings.dtype, context).start(0, 1)
    stored, here = settings.part(EncoderSettings), maker.describe().settings
    differing = difference(stored.to_json(), here.to_json())
    if differing is not None:
        what, stored_value, value = differing
        raise DatasetError(
            f"{dataset.path} can't be repaired here: {what} is {stored_value} in the dataset and {value} here; "
            f"give the right model with {argument('model')}, or extract it again"
        )
    return maker
