"""The sources of a dataset: which of its shards come from which, and how each is read again.

The first extraction has one; `--append` adds more, and a merged dataset has those of all that it was made of.
"""

import glob
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from layerwise._util.paths import is_url
from layerwise.arguments import argument
from layerwise.errors import DatasetError, RequestError
from layerwise.read import Corpus, open_corpus
from layerwise.read.record import listed
from layerwise.store import open_dataset
from layerwise.store.layout import Folder
from layerwise.store.manifest import Manifest, Reading, Settings, SourceEntry
from layerwise.store.records import Records

STDIN = "-"


@dataclass(frozen=True)
class StoredSource:
    """The part of a dataset that comes from a source, before anything of it is added.

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


def stored_source(
    manifest: Manifest | None, records: Records | None, sources: Sequence[str], *, append: bool
) -> StoredSource:
    """Return the part of a finished dataset that comes from a source.

    A source is recognised by the names of its files as they were given; more may follow them. Another one is new where
    it is to be appended, else it is taken to be the first: a file may have been renamed. What came through standard
    input can't be recognised.

    Raises:
        DatasetError: a file to be appended is in the dataset under another name, or behind another one.
    """
    if manifest is None or records is None:
        return StoredSource()
    entries = manifest.sources
    texts = records.texts.tolist()
    first = 0
    for number, entry in enumerate(entries):
        count = _matching(entries[number:], sources)
        if count:
            several = entries[number : number + count]
            end = first + sum(each.shards for each in several)
            counts = tuple(texts[first:end])
            if append:
                _refuse_stored(entries, sources[sum(len(each.files) for each in several) :])
            return StoredSource(
                first, sum(texts[:first]), counts, number, count, number + count == len(entries)
            )
        first += entry.shards
    if not append:
        counts = tuple(texts[: entries[0].shards] if entries else texts)
        return StoredSource(0, 0, counts, 0, 1, len(entries) <= 1)
    _refuse_stored(entries, sources)
    return StoredSource(len(texts), sum(texts), (), len(entries))


def _matching(entries: Sequence[SourceEntry], sources: Sequence[str]) -> int:
    """Return how many of the entries, from the first on, have together the files that `sources` begin with."""
    files: list[str] = []
    for count, entry in enumerate(entries):
        files = [*files, *entry.files]
        if STDIN in files or list(sources[: len(files)]) != files:
            return count
    return len(entries)


def _refuse_stored(entries: Sequence[SourceEntry], sources: Sequence[str]) -> None:
    """Check that nothing of these sources is in the dataset: its texts would be added once more."""
    stored = {path: file for entry in entries for file in entry.files for path in _paths(file)}
    beneath = {folder: file for path, file in stored.items() for folder in path.parents}
    for source in sources:
        for path in _paths(source):
            above = (stored[each] for each in (path, *path.parents) if each in stored)
            name = next(above, beneath.get(path))
            if name is not None:
                raise DatasetError(
                    f"{source} has what stands in the dataset as {name}; name it alone and like that to add what is "
                    "new in it, or name only what is new"
                )


def _paths(source: str) -> list[PurePath]:
    """Return the files and folders that a source means, in one spelling; of a URL only itself."""
    if source == STDIN:
        return []
    if is_url(source):
        return [PurePath(source)]
    names = glob.glob(source, recursive=True) if glob.has_magic(source) else [source]
    return [Path(name).resolve() for name in names]


def with_source(
    manifest: Manifest | None, at: StoredSource, sources: Sequence[str], shards: int, reading: Reading
) -> tuple[SourceEntry, ...]:
    """Return the list of sources with one of so many shards in its place; what is read in another way says how."""
    entries = () if manifest is None else manifest.sources
    differs = manifest is not None and (
        manifest.settings.merged is not None or reading != manifest.settings.reading
    )
    entry = SourceEntry(files=tuple(sources), shards=shards, reading=reading if differs else None)
    return (*entries[: at.entry], entry, *entries[at.entry + at.entries :])


def reading_of(settings: Settings, entry: SourceEntry) -> Reading:
    """Return how the files of a source are read."""
    return settings.reading if entry.reading is None else entry.reading


def reopened(manifest: Manifest, entry: SourceEntry, files: Sequence[str | Path]) -> Corpus:
    """Return the texts of a source of a dataset, read as they were read then."""
    settings = manifest.settings
    reading = reading_of(settings, entry).to_json()
    return open_corpus(files, **reading, skip_bad=bool(manifest.skipped), quote=not settings.no_text)


def located(
    entries: Sequence[SourceEntry],
    numbers: Sequence[int],
    source: str | Path | Sequence[str | Path] | None,
) -> list[list[str | Path]]:
    """Return where the files of some entries are.

    Args:
        entries: all sources of a dataset.
        numbers: of those that are needed.
        source: where the files of all of them, or of those that are needed, are now; `None`: where they were.

    Raises:
        RequestError: the number of `source` fits neither.
    """
    if source is None:
        return [list(entries[number].files) for number in numbers]
    files = [source] if isinstance(source, str | Path) else list(source)
    for selected in (numbers, range(len(entries))):
        if len(files) == sum(len(entries[number].files) for number in selected):
            rest = iter(files)
            current = {
                number: list(itertools.islice(rest, len(entries[number].files))) for number in selected
            }
            return [current[number] for number in numbers]
    names = [name for number in numbers for name in entries[number].files]
    raise RequestError(
        f"{argument('source')} names {len(files)} files or globs, and what is needed came from {len(names)}: "
        f"{listed(names)}; name where those are now, one for each, in this order, with a glob in quotes"
    )


def settings_at(out: Path, settings: Settings, sources: Sequence[str], *, append: bool) -> Settings:
    """Return the settings of an extraction as the dataset that it goes to has them.

    They are the same, but that each source may be read in a way of its own; only pairs and single texts don't
    mix. A merged dataset says in its settings what it was made of.
    """
    if not Folder(out).manifest.exists():
        return settings
    manifest = open_dataset(out).manifest
    stored, entries = manifest.settings, manifest.sources
    entry = next((entry for n, entry in enumerate(entries) if _matching(entries[n:], sources)), None)
    if entry is not None:
        fits = reading_of(stored, entry) == settings.reading
    else:
        fits = append and stored.reading.paired == settings.reading.paired
    reading = stored.reading if fits else settings.reading
    return replace(settings, reading=reading, merged=stored.merged)
