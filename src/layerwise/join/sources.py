"""Which of a dataset's shards come from which source: the first extraction's, and what was added later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise.errors import DatasetError
from layerwise.store.layout import Folder
from layerwise.store.manifest import read_manifest
from layerwise.store.records import Records

STDIN = "-"


@dataclass(frozen=True)
class Begun:
    """What a dataset holds of a source already.

    Attributes:
        shard, doc: the numbers of its first shard and of the first text in it.
        texts: how many texts each of its finished shards has.
        entry: its place among the manifest's sources, or how many there are.
        entries: how many of them it makes up; a list of sources may have been added one by one.
        last: nothing follows it, so that more of it can be added.
    """

    shard: int = 0
    doc: int = 0
    texts: tuple[int, ...] = ()
    entry: int = 0
    entries: int = 1
    last: bool = True


def begun(
    manifest: dict[str, Any] | None, records: Records | None, sources: Sequence[str], *, append: bool
) -> Begun:
    """Return what a finished dataset holds of a source.

    A source is known by the names of its files as they were given; more may follow them. One that isn't known
    is new where it is to be appended, else it is taken to be the first: a file may have been renamed. What
    came through standard input can't be known again.

    Raises:
        DatasetError: a file to be appended that is known by another name.
    """
    if manifest is None or records is None:
        return Begun()
    entries = entries_of(manifest)
    texts = records.texts.tolist()
    first = 0
    for number, entry in enumerate(entries):
        count = _known(entries[number:], sources)
        if count:
            behind = first + sum(one["shards"] for one in entries[number : number + count])
            own = tuple(texts[first:behind])
            return Begun(first, sum(texts[:first]), own, number, count, number + count == len(entries))
        first += entry["shards"]
    if not append:
        own = tuple(texts[: entries[0]["shards"]] if entries else texts)
        return Begun(0, 0, own, 0, 1, len(entries) <= 1)
    _refuse_other_names(entries, sources)
    return Begun(len(texts), sum(texts), (), len(entries))


def _known(entries: Sequence[dict[str, Any]], sources: Sequence[str]) -> int:
    """Return how many of the entries, from the first on, have together the files that `sources` begin with."""
    files: list[str] = []
    for count, entry in enumerate(entries):
        files = [*files, *entry["files"]]
        if STDIN in files or list(sources[: len(files)]) != files:
            return count
    return len(entries)


def _refuse_other_names(entries: Sequence[dict[str, Any]], sources: Sequence[str]) -> None:
    names = {Path(file).resolve(): file for entry in entries for file in entry["files"] if file != STDIN}
    for source in sources:
        name = names.get(Path(source).resolve())
        if source != STDIN and name not in (None, source):
            raise DatasetError(
                f"{source} stands in the dataset as {name}; name it like that to add what is new in it, or put "
                "what is new in a file of its own"
            )


def entries_of(manifest: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the sources that a manifest lists, in the order of their shards."""
    return list((manifest or {}).get("sources", []))


def with_source(
    manifest: dict[str, Any] | None,
    at: Begun,
    sources: Sequence[str],
    shards: int,
    reading: Mapping[str, Any],
) -> list[Any]:
    """Return the list of sources with one of so many shards in its place; a merged dataset's say how they are read."""
    entries = entries_of(manifest)
    entry: dict[str, Any] = {"files": list(sources), "shards": shards}
    if is_merged(manifest):
        entry["reading"] = dict(reading)
    entries[at.entry : at.entry + at.entries] = [entry]
    return entries


def is_merged(manifest: dict[str, Any] | None) -> bool:
    """Tell whether a dataset was made by `layerwise merge`."""
    return "merged" in (manifest or {}).get("settings", {})


def settings_at(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an extraction as the dataset that it goes to has them.

    They are the same but in a merged dataset, whose sources may each be read in another way; only pairs and
    single texts don't mix.
    """
    manifest = read_manifest(Folder(out)) if Folder(out).manifest.exists() else None
    if manifest is None or not is_merged(manifest):
        return settings
    there = manifest["settings"]
    alike = isinstance(there["reading"]["text"], list) == isinstance(settings["reading"]["text"], list)
    own = ("merged", "reading") if alike else ("merged",)
    return settings | {name: there[name] for name in own}
