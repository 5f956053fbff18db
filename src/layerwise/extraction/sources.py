"""The sources of a dataset: which of its shards come from which, and how each is read again.

The first extraction has one; `--append` adds more, and a merged dataset has the sources of all its parts.
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
from layerwise.read.documents import DocumentNeed
from layerwise.read.record import listed
from layerwise.store.layout import Folder
from layerwise.store.manifest import Manifest, Reading, Settings, SourceEntry, read_manifest
from layerwise.store.records import Records
from layerwise.store.staging import difference

STDIN = "-"


@dataclass(frozen=True)
class StoredSource:
    """The part of a dataset that comes from a source, before anything of it is added.

    Attributes:
        shard, doc: the numbers of its first shard and of the first text in it.
        texts: how many texts each of its finished shards has.
        entry: its place among the manifest's sources, or how many there are.
        entries: how many of the manifest's sources it consists of; a list of files may have been added one by one.
        last: whether no other source follows it, so that more of its texts can be added.
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

    A source is recognised by the names of its files as they were given; further files may follow them. A source that
    isn't recognised is a new one if `append`; otherwise it is treated as the first one, whose file may have been
    renamed. Standard input is never recognised.

    Raises:
        DatasetError: a file to be appended is in the dataset under another name, or after another file.
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
    """Return how many entries, counted from the first, have together the files with which `sources` begins."""
    files: list[str] = []
    for count, entry in enumerate(entries):
        files = [*files, *entry.files]
        if STDIN in files or list(sources[: len(files)]) != files:
            return count
    return len(entries)


def _refuse_stored(entries: Sequence[SourceEntry], sources: Sequence[str]) -> None:
    """Check that no file of these sources is in the dataset, because its texts would be added twice."""
    stored = {path: file for entry in entries for file in entry.files for path in _paths(file)}
    beneath = {folder: file for path, file in stored.items() for folder in path.parents}
    for source in sources:
        for path in _paths(source):
            above = (stored[each] for each in (path, *path.parents) if each in stored)
            name = next(above, beneath.get(path))
            if name is not None:
                raise DatasetError(
                    f"{source} has texts that are in the dataset as {name}; give only {name} to add its new texts, "
                    "or only files that aren't in the dataset"
                )


def _paths(source: str) -> list[PurePath]:
    """Return the files and folders that a source names, as absolute paths; for a URL the URL itself."""
    if source == STDIN:
        return []
    if is_url(source):
        return [PurePath(source)]
    names = glob.glob(source, recursive=True) if glob.has_magic(source) else [source]
    return [Path(name).resolve() for name in names]


def with_source(
    manifest: Manifest | None, at: StoredSource, sources: Sequence[str], shards: int, reading: Reading
) -> tuple[SourceEntry, ...]:
    """Return the manifest's sources with one of `shards` shards in the place `at`; `reading` is kept where it differs."""
    entries = () if manifest is None else manifest.sources
    differs = manifest is not None and (
        manifest.settings.merged is not None or reading != manifest.settings.reading
    )
    entry = SourceEntry(files=tuple(sources), shards=shards, reading=reading if differs else None)
    return (*entries[: at.entry], entry, *entries[at.entry + at.entries :])


def reading_of(settings: Settings, entry: SourceEntry) -> Reading:
    """Return how the files of a source are read."""
    return settings.reading if entry.reading is None else entry.reading


def reopened(
    manifest: Manifest, entry: SourceEntry, files: Sequence[str | Path], need: DocumentNeed | None = None
) -> Corpus:
    """Return the texts of a source of a dataset, read in the same way as before; see `open_corpus` for `need`.

    Raises:
        RequestError: they were redacted, and here they would be read as they are.
    """
    settings = manifest.settings
    if settings.redact is not None:
        raise RequestError(
            "the texts of the dataset were redacted when they were read, and are not read again without that; use its stored "
            f"texts (without {argument('source')}), or extract the source anew"
        )
    reading = reading_of(settings, entry).to_json()
    return open_corpus(
        files, **reading, skip_bad=bool(manifest.skipped), quote=not settings.no_text, need=need
    )


def located(
    entries: Sequence[SourceEntry],
    numbers: Sequence[int],
    source: str | Path | Sequence[str | Path] | None,
) -> list[list[str | Path]]:
    """Return where the files of some entries are.

    Args:
        entries: all sources of a dataset.
        numbers: the numbers of the sources that are needed.
        source: where the files of all sources, or of the needed ones, are now; `None` if they haven't moved.

    Raises:
        RequestError: `source` has another number of files.
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
        f"{argument('source')} names {len(files)} files or globs, and the needed texts came from {len(names)}: "
        f"{listed(names)}; give the present path of each of these, in this order, with a glob in quotes"
    )


def settings_at(out: Path, settings: Settings, sources: Sequence[str], *, append: bool) -> Settings:
    """Return the settings of an extraction, with `reading` and `merged` of the finished dataset that it adds to.

    `reading` may differ, because each source may be read in another way; only pairs and single texts can't be mixed.
    `merged` lists the parts of a merged dataset.
    """
    folder = Folder(out)
    if not folder.manifest.exists():
        return settings
    # Only the manifest: without the lock, another process may replace the file of the records at the same time.
    manifest = read_manifest(folder)
    stored, entries = manifest.settings, manifest.sources
    entry = next((entry for n, entry in enumerate(entries) if _matching(entries[n:], sources)), None)
    if entry is not None:
        fits = reading_of(stored, entry) == settings.reading
    else:
        fits = append and _kind(stored.reading) == _kind(settings.reading)
    reading = stored.reading if fits else settings.reading
    settings = replace(settings, reading=reading, merged=stored.merged)
    if entry is None and not append:
        _check_is_named(out, manifest, settings, sources)
    return settings


def _check_is_named(out: Path, manifest: Manifest, settings: Settings, sources: Sequence[str]) -> None:
    """Check that other settings aren't those of another source, which isn't in the dataset.

    Raises:
        DatasetError: naming both sources before the first setting that differs.
    """
    stored = manifest.settings
    differing = difference(stored.to_json(), settings.to_json())
    files = [name for entry in manifest.sources for name in entry.files]
    if differing is None or STDIN in (*files, *sources):
        return
    as_stored = difference(stored.to_json(), replace(settings, reading=stored.reading).to_json()) is None
    name, stored_value, value = differing
    raise DatasetError(
        f"{out} holds the texts of {listed(files)}, and {listed(sources)} isn't among them ({name} is {stored_value} in it and "
        f"{value} here); {how_to_add(same_settings=not as_stored)}"
    )


def how_to_add(*, same_settings: bool = False) -> str:
    """Return what to do with a source that isn't in the dataset."""
    option = argument("append", True)
    add = f"give the same settings and {option}" if same_settings else f"give {option}"
    return f"to add it to the dataset, {add}, or extract it to another {argument('out')}"


def _kind(reading: Reading) -> tuple[bool, object]:
    """Return whether texts are pairs, and the columns of pairs that are encoded together, which parts of texts are named by."""
    return reading.paired, reading.text if reading.joint else None
