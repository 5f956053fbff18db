"""Which of a dataset's shards come from which source: the first extraction's, and what was added later."""

import glob
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from layerwise._util.paths import is_url
from layerwise.errors import DatasetError, RequestError
from layerwise.read import Corpus, open_corpus
from layerwise.read.record import listed
from layerwise.store.described import open_described
from layerwise.store.layout import Folder
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
        DatasetError: a file to be appended is known, by another name or behind another one.
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
            if append:
                files = [file for one in entries[number : number + count] for file in one["files"]]
                _refuse_known(entries, sources[len(files) :])
            return Begun(first, sum(texts[:first]), own, number, count, number + count == len(entries))
        first += entry["shards"]
    if not append:
        own = tuple(texts[: entries[0]["shards"]] if entries else texts)
        return Begun(0, 0, own, 0, 1, len(entries) <= 1)
    _refuse_known(entries, sources)
    return Begun(len(texts), sum(texts), (), len(entries))


def _known(entries: Sequence[dict[str, Any]], sources: Sequence[str]) -> int:
    """Return how many of the entries, from the first on, have together the files that `sources` begin with."""
    files: list[str] = []
    for count, entry in enumerate(entries):
        files = [*files, *entry["files"]]
        if STDIN in files or list(sources[: len(files)]) != files:
            return count
    return len(entries)


def _refuse_known(entries: Sequence[dict[str, Any]], sources: Sequence[str]) -> None:
    """Check that nothing of these is in the dataset: its texts would be added once more."""
    known = {path: file for entry in entries for file in entry["files"] for path in _paths(file)}
    beneath = {folder: file for path, file in known.items() for folder in path.parents}
    for source in sources:
        for path in _paths(source):
            above = (known[one] for one in (path, *path.parents) if one in known)
            name = next(above, beneath.get(path))
            if name is not None:
                raise DatasetError(
                    f"{source} has what stands in the dataset as {name}; name it alone and like that to add what is "
                    "new in it, or name only what is new"
                )


def _paths(source: str) -> list[PurePath]:
    """Return the files and folders that a source means, in one spelling; of a URL only its own."""
    if source == STDIN:
        return []
    if is_url(source):
        return [PurePath(source)]
    names = glob.glob(source, recursive=True) if glob.has_magic(source) else [source]
    return [Path(name).resolve() for name in names]


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
    """Return the list of sources with one of so many shards in its place; what is read in another way says how."""
    entries = entries_of(manifest)
    entry: dict[str, Any] = {"files": list(sources), "shards": shards}
    if manifest is not None and (is_merged(manifest) or reading != manifest["settings"]["reading"]):
        entry["reading"] = dict(reading)
    entries[at.entry : at.entry + at.entries] = [entry]
    return entries


def reading_of(manifest: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the files of a source are read, as `open_corpus` takes it."""
    return dict(entry.get("reading", manifest["settings"]["reading"]))


def reopened(manifest: Mapping[str, Any], entry: Mapping[str, Any], files: Sequence[str | Path]) -> Corpus:
    """Return the texts of a source of a dataset, read as they were read then."""
    quote = not manifest["settings"]["no_text"]
    return open_corpus(files, **reading_of(manifest, entry), skip_bad=bool(manifest["skipped"]), quote=quote)


def located(
    entries: Sequence[Mapping[str, Any]],
    wanted: Sequence[int],
    source: str | Path | Sequence[str | Path] | None,
) -> list[list[str | Path]]:
    """Return where the files of the wanted entries are, given where all are now, or these; `None`: as they were.

    Raises:
        RequestError: neither all of them nor these are given.
    """
    if source is None:
        return [list(entries[number]["files"]) for number in wanted]
    given = [source] if isinstance(source, str | Path) else list(source)
    for those in (wanted, range(len(entries))):
        if len(given) == sum(len(entries[number]["files"]) for number in those):
            rest = iter(given)
            now = {number: list(itertools.islice(rest, len(entries[number]["files"]))) for number in those}
            return [now[number] for number in wanted]
    names = [one for number in wanted for one in entries[number]["files"]]
    raise RequestError(
        f"--source names {len(given)} files or globs, and what is needed came from {len(names)}: {listed(names)}; "
        "name where those are now, one for each, in this order, with a glob in quotes"
    )


def is_merged(manifest: dict[str, Any] | None) -> bool:
    """Tell whether a dataset was made by `layerwise merge`."""
    return "merged" in (manifest or {}).get("settings", {})


def settings_at(
    out: Path, settings: dict[str, Any], sources: Sequence[str], *, append: bool
) -> dict[str, Any]:
    """Return the settings of an extraction as the dataset that it goes to has them.

    They are the same, but that each source may be read in a way of its own; only pairs and single texts don't
    mix. A merged dataset says in its settings what it was made of.
    """
    manifest = open_described(out).manifest if Folder(out).manifest.exists() else None
    if manifest is None:
        return settings
    there, here = manifest["settings"], settings["reading"]
    own = ["merged"] if is_merged(manifest) else []
    entries = entries_of(manifest)
    known = next((entry for n, entry in enumerate(entries) if _known(entries[n:], sources)), None)
    if known is not None:
        fits = reading_of(manifest, known) == here
    else:
        fits = append and isinstance(there["reading"]["text"], list) == isinstance(here["text"], list)
    return settings | {name: there[name] for name in (*own, *(["reading"] if fits else []))}
