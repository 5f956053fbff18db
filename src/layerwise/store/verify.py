"""Comparing a dataset's files with its manifest: finds any byte that is changed, missing, cut off or unexpected."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from layerwise._util.guarded import check_regular, digest_regular, read_bytes
from layerwise._util.paths import faults, place, reason
from layerwise._util.progress import SILENT, Tracker
from layerwise.errors import DatasetError
from layerwise.mixes import block_slices
from layerwise.row_selection import odd_row
from layerwise.store import manifest_file, staging
from layerwise.store.dtypes import decode
from layerwise.store.json_object import as_json
from layerwise.store.layout import KINDS, Folder, ForeignFormatError
from layerwise.store.manifest import Manifest, read_manifest
from layerwise.store.reader import StoredShard
from layerwise.store.records import FileEntry, Records, RecordsFile, ShardRecord, errors_of, totals_of
from layerwise.store.tables import join_schemas


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of a dataset: the path of the file within it, and what is wrong."""

    file: str
    what: str


def check_files(path: str | Path, track: Tracker = SILENT) -> list[Problem]:
    """Compare every file of a finished dataset with its manifest; an empty list means that no file has a fault.

    Args:
        path: the folder of the dataset.
        track: reports the shards that are checked.

    Raises:
        DatasetError: there is no finished dataset to check, or one of another format version. A manifest that is
            damaged is a problem, not an error.
    """
    folder = Folder(place(path))
    try:
        manifest = read_manifest(folder)
    except DatasetError as error:
        changed = [] if folder.settings.exists() else list(_check_manifest(folder))
        damaged = folder.manifest.exists() and not isinstance(error, ForeignFormatError)
        if not (changed or damaged):
            raise
        return [*changed, Problem(folder.manifest.name, str(error))] if folder.manifest.exists() else changed
    problems = list(_check_manifest(folder))
    entry = manifest.shards
    difference = _compare(folder.root / entry.name, entry)
    if difference:
        return [*problems, Problem(entry.name, f"{difference}; the records of the shards can't be used")]
    try:
        records = Records(folder, entry)
        schemas: dict[str, pa.Schema] = {}
        numbers = range(len(records))
        for number, _ in track.each(numbers, (f"checking shard {number}" for number in numbers)):
            problems += _check_shard(StoredShard(folder, manifest, records, number), schemas)
        problems += _check_sums(folder, manifest, list(records))
    except DatasetError as error:
        problems.append(Problem(entry.name, str(error)))
    return problems + list(_unexpected(folder, entry))


def _check_manifest(folder: Folder) -> Iterator[Problem]:
    if not folder.manifest.exists():
        if folder.checksum.exists():
            yield Problem(folder.manifest.name, f"is missing, and {folder.checksum.name} exists")
        return
    try:
        line = manifest_file.checksum_line(folder, read_bytes(folder.manifest))
        stored = read_bytes(folder.checksum, len(line) + 1) if folder.checksum.exists() else None
    except (ValueError, *faults()) as error:  # type: ignore[misc]  # a size beyond the limit
        yield Problem(folder.manifest.name, f"can't be compared with {folder.checksum.name}: {reason(error)}")
        return
    if stored is None:
        yield Problem(folder.checksum.name, "is missing, so the manifest can't be checked")
    elif stored != line and not manifest_file.is_cut_off(folder):
        yield Problem(folder.manifest.name, f"doesn't have the SHA-256 in {folder.checksum.name}")


def _check_shard(shard: StoredShard, schemas: dict[str, pa.Schema]) -> Iterator[Problem]:
    whole, files = True, shard.record.files
    for kind in KINDS:
        path = shard.folder.shard(shard.number, kind)
        what = _compare(path, files.of(kind))
        if what:
            whole = False
            yield Problem(_name(shard.folder, path), what)
    if whole:  # of a changed file there is nothing more to report
        yield from _check_vectors(shard)
        yield from _check_tables(shard, schemas)


def _compare(path: Path, entry: FileEntry) -> str | None:
    """Return how a file differs from its entry; `None` when it doesn't."""
    try:
        size = check_regular(path)
        if size != entry.bytes:
            return f"has {size:,} bytes where the manifest says {entry.bytes:,}"
        digest = digest_regular(path)
    except FileNotFoundError:
        return "is missing"
    except faults() as error:
        return f"can't be read: {reason(error)}"
    return None if digest == entry.sha256 else "has changed: its SHA-256 isn't that of the manifest"


def _check_vectors(shard: StoredShard) -> Iterator[Problem]:
    name = _name(shard.folder, shard.folder.shard(shard.number, "tensors"))
    try:
        for layer in shard.manifest.layers:
            odd = _odd_row(shard, layer)
            if odd is not None:
                yield Problem(
                    name, f"layer {layer} holds {odd[1]} in row {odd[0]} of the shard, which isn't finite"
                )
    except DatasetError as error:
        yield Problem(name, str(error))


def _odd_row(shard: StoredShard, layer: str) -> tuple[int, float] | None:
    """Return the first row of a layer that isn't finite, and its first such value; reads the layer in blocks of a few MiB."""
    codes, scales = shard.codes(layer), shard.scales(layer)
    for rows in block_slices(*codes.shape):
        values = decode(codes[rows], None if scales is None else scales[rows], shard.manifest.dtype)
        odd = odd_row(values)
        if odd is not None:
            return rows.start + odd, float(values[odd][~np.isfinite(values[odd])][0])
    return None


def _check_sums(folder: Folder, manifest: Manifest, records: Sequence[ShardRecord]) -> Iterator[Problem]:
    """Check that the totals and errors in the manifest follow from the records of its shards."""
    totals, errors = totals_of(records).to_json(), as_json(errors_of(records, manifest.layers))
    for name, expected, stored in (
        ("totals", totals, manifest.totals.to_json()),
        ("error", errors, as_json(manifest.error)),
    ):
        wrong = next((key for key in expected if stored.get(key) != expected[key]), None)
        if wrong is not None:
            got, sums = f"{stored.get(wrong)!r:.60}", f"{expected[wrong]!r:.60}"
            what = f"{name}.{wrong} is {got} where the records of the shards come to {sums}"
            yield Problem(folder.manifest.name, what)


def _check_tables(shard: StoredShard, schemas: dict[str, pa.Schema]) -> Iterator[Problem]:
    """Check that tables can be read, and joined to those of the shards before, whose joint `schemas` are extended."""
    for kind in ("index", "texts"):
        try:
            schema = shard.table(kind).schema
            schemas[kind] = join_schemas([schemas.get(kind, pa.schema([])), schema], shard.folder.root)
        except DatasetError as error:
            yield Problem(_name(shard.folder, shard.folder.shard(shard.number, kind)), str(error))


def _unexpected(folder: Folder, entry: RecordsFile) -> Iterator[Problem]:
    names = {folder.shard(number, kind).name for number in range(entry.count) for kind in KINDS}
    inside = sorted(folder.shards.iterdir()) if folder.shards.is_dir() else []
    strange = [path for path in inside if path.name not in names]
    if folder.settings.exists():  # shards are being added, or made again
        strange = [path for path in strange if staging.shard_number(path.name) is None]
    else:
        strange += [path for path in sorted(folder.root.glob("shards-*.parquet")) if path.name != entry.name]
    for path in strange:
        yield Problem(_name(folder, path), "isn't in the manifest")


def _name(folder: Folder, path: Path) -> str:
    return path.relative_to(folder.root).as_posix()
