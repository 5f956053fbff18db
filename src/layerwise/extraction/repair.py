"""Shards that were changed or lost, made again from their source."""

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
from layerwise.errors import DatasetError
from layerwise.example import Example, digest
from layerwise.extraction.finish import described
from layerwise.extraction.provenance import STDIN, entries_of, located, reopened
from layerwise.extraction.shard_maker import Recipe, ShardMaker, Task, summed
from layerwise.parallel.executor import Steps
from layerwise.read.example_builder import PART
from layerwise.read.shards import shards
from layerwise.results import Result, Table
from layerwise.schema import Carried
from layerwise.store import DatasetWriter, LayerDataset, check_files
from layerwise.store.described import open_described
from layerwise.store.manifest import OWN
from layerwise.store.work import difference

_REQUEST = ("layers", "level", "pool", "special_tokens", "long", "max_length", "batch_tokens")


@dataclass(frozen=True, slots=True, repr=False)
class Repair(Result):
    """The shards of a dataset that were made again; returned by `lw.repair`.

    `to_pandas()` has a row per shard that was made again: `shard`, `changed`.

    Attributes:
        shards: the numbers of those that were made again.
        changed: of these, the ones whose bytes are others now: made on another machine, or by other versions.
        foreign: files in its folders that aren't part of it; they are left alone.
    """

    shards: tuple[int, ...]
    changed: tuple[int, ...]
    foreign: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        return {"shards": list(self.shards), "changed": list(self.changed), "foreign": list(self.foreign)}

    def _lines(self) -> Sequence[str]:
        numbers = ", ".join(map(str, self.shards))
        return [
            f"Repair: shards made again: {numbers}"
            if self.shards
            else "Repair: every shard is as it was written",
            f"with other bytes than before: {', '.join(map(str, self.changed))}" if self.changed else "",
            f"no part of the dataset: {', '.join(self.foreign)}" if self.foreign else "",
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
    """Make the shards of a dataset again whose files aren't what was written; see `api.repair`.

    Args:
        loading: `device`, `allow_pickle` and `trust_remote_code` of `load_encoder`.
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
    """Repair a dataset; `None` when what its manifest said before we held its lock isn't what it says now."""
    # Hashing all files, reading the source, and making again what is damaged: which part is longest nobody knows.
    checking, reading, making = track.split(1, 1, 2)
    wrong, foreign = _damaged(path, checking)
    dataset = open_described(path)
    if not wrong:
        return Repair((), (), foreign)
    if dataset.manifest["settings"].get("derived"):
        raise DatasetError(f"{dataset.path} was made by `layerwise pool`; remove it and pool again")
    reading.named("comparing the source")
    deque(_tasks(dataset, source, wrong), maxlen=0)  # it is what it was, before anything is touched
    changed = []
    making.named("loading the model")
    with DatasetWriter(dataset.path, dataset.manifest["settings"], mend=True) as writer:
        if writer.made != dataset.manifest:
            return None
        maker = _maker(dataset, model, loading)
        weights = [float(writer.committed[number]["texts"]) for number in wrong]
        steps = making.each(wrong, (f"shard {number}" for number in wrong), weights)
        for task, (_, step) in zip(_tasks(dataset, source, wrong), steps, strict=True):
            record = Steps(maker).take(replace(task, before=0.0, behind=1.0), summed(step))
            if record["files"] != writer.committed[task.number]["files"]:
                changed.append(task.number)
            writer.add(record)
        if changed:
            manifest = {name: value for name, value in dataset.manifest.items() if name not in OWN}
            writer.finish(described(manifest, writer.committed.values()))
    left = tuple(name for name in foreign if (dataset.path / name).exists())
    return Repair(tuple(wrong), tuple(changed), left)


def _damaged(path: Path, track: Tracker) -> tuple[list[int], tuple[str, ...]]:
    """Return the numbers of the shards that have a file that isn't what was written, and the files of no shard."""
    entry = open_described(path).manifest["shards"]
    numbers, foreign = set(), []
    for problem in check_files(path, track):
        folder, _, name = problem.file.partition("/")
        number = name.partition(".")[0]
        if folder == "shards" and number.isdigit() and int(number) < entry["count"]:
            numbers.add(int(number))
        elif folder == "shards" or (folder.startswith("shards-") and folder != entry["name"]):
            foreign.append(problem.file)
        else:
            raise DatasetError(
                f"{path}/{problem.file} {problem.what}; it can't be made again, restore it from a copy"
            )
    return sorted(numbers), tuple(foreign)


def _tasks(
    dataset: LayerDataset, source: str | Path | Sequence[str | Path] | None, wrong: Sequence[int]
) -> Iterator[Task]:
    """Yield the damaged shards with their texts, read again and found to be those of then."""
    records = list(dataset.shards)
    first = doc = 0
    concerned = []
    entries = entries_of(dataset.manifest)
    for number, entry in enumerate(entries):
        own = records[first : first + entry["shards"]]
        if any(record["number"] in wrong for record in own):
            concerned.append((number, own, doc))
        first += len(own)
        doc += sum(record["texts"] for record in own)
    places = located(entries, [number for number, _, _ in concerned], source)
    for (number, own, doc), given in zip(concerned, places, strict=True):
        yield from _of_entry(dataset, entries[number], given, own, doc, set(wrong))


def _of_entry(
    dataset: LayerDataset,
    entry: Mapping[str, Any],
    given: Sequence[str | Path],
    own: Sequence[Mapping[str, Any]],
    doc: int,
    wrong: set[int],
) -> Iterator[Task]:
    settings, manifest = dataset.manifest["settings"], dataset.manifest
    if STDIN in given:
        raise DatasetError(
            f"the texts of {dataset.path} came through standard input or from memory; give a file with the same texts as --source"
        )
    corpus = reopened(manifest, entry, given)
    names = list(zip(map(str, given), entry["files"], strict=True))
    begun = [record["texts"] for record in own]
    stream = shards(corpus.records(), settings["shard"]["texts"], settings["shard"]["characters"], begun)
    left = [record["number"] for record in own if record["number"] in wrong]
    for record, examples in zip(own, stream, strict=False):
        if record["number"] in wrong:
            # The name of the file is part of what was read; it may stand elsewhere now.
            then = [_renamed(one, names, is_id=corpus.format == "docs") for one in examples]
            if digest(then) != record.get("input"):
                raise DatasetError(
                    f"what stands from {examples[0].where} to {examples[-1].where} isn't what it was when shard "
                    f"{record['number']} was written; put the source back, or name the right one with --source"
                )
            kept = (*settings["keep"], PART) if corpus.paired else tuple(settings["keep"])
            carried = Carried(corpus.types, settings["no_text"], kept)
            yield Task(record["number"], doc, then, carried, measured=bool(record.get("int8_error")))
            left.remove(record["number"])
            if not left:
                return
        doc += record["texts"]
    raise DatasetError(f"the source ends before shard {left[0]}; put it back as it was, or give --source")


def _renamed(example: Example, names: Sequence[tuple[str, str]], *, is_id: bool) -> Example:
    """Return an example under the name that its file had then; `is_id`: the name may be the id as well."""
    for now, then in names:
        here, there = _stem(now), _stem(then)
        if example.source == now or (here != now and there != then and str(example.source).startswith(here)):
            source = then if example.source == now else there + str(example.source)[len(here) :]
            id = source if is_id and example.id == example.source else example.id
            return replace(example, source=source, id=id)
    return example


def _stem(pattern: str) -> str:
    """Return the folder that all files of a glob, or of a folder in a store, stand in; of any other name the name.

    >>> _stem("data/part-*/[ab].txt")
    'data/'
    """
    if not glob.has_magic(pattern):
        return f"{pattern.rstrip('/')}/" if is_url(pattern) else pattern
    first = min(pattern.index(sign) for sign in "*?[" if sign in pattern)
    return pattern[: pattern.rfind("/", 0, first) + 1]


def _maker(dataset: LayerDataset, model: str | Path | None, loading: Mapping[str, Any]) -> ShardMaker:
    """Return what makes shards as those of the dataset were made.

    Raises:
        DatasetError: it can't be done in the same way here.
    """
    manifest, settings = dataset.manifest, dataset.manifest["settings"]
    request = {name: settings[name] for name in _REQUEST}
    request["overlap"] = choices.recorded_overlap(settings)
    name = manifest["model"]["id"] if model is None else model
    revision = manifest["model"]["revision"] if model is None else None
    device = loading["device"] or settings["device"]
    own = {**loading, "device": device, "revision": revision, "precision": settings["precision"]}
    maker = Recipe(dataset.path, name, own, request, settings["dtype"]).start(0, 1)
    here = maker.describe().settings
    found = difference({name: settings[name] for name in here}, dict(here))
    if found is not None:
        what, there, now = found
        raise DatasetError(
            f"{dataset.path} can't be repaired here: {what} is {there} there and {now} here; "
            "name the right model with --model, or extract it anew"
        )
    return maker
