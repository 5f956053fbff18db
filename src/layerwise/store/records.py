"""The records of a dataset's shards: one table for all shards, so that a dataset of ten thousand shards opens quickly."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa

from layerwise._util import json_checks
from layerwise._util.guarded import SHARDS, parse_json
from layerwise.array_types import I64
from layerwise.errors import DatasetError
from layerwise.store.json_object import JsonObject, WrongEntryError
from layerwise.store.layout import KINDS, Folder
from layerwise.store.tables import read_table, table_bytes

Hash = Annotated[str, json_checks.sha256]
Positive = Annotated[float, json_checks.positive]
Amount = Annotated[float, json_checks.amount]
_COUNTED = ("texts", "rows")


@dataclass(frozen=True, kw_only=True)
class FileEntry(JsonObject):
    """A file: its name, its size and its SHA-256."""

    name: str
    bytes: int
    sha256: Hash


@dataclass(frozen=True, kw_only=True)
class RecordsFile(FileEntry):
    """The file of the records, and how many there are."""

    count: Annotated[int, json_checks.whole(0, SHARDS)]


@dataclass(frozen=True, kw_only=True)
class ShardFiles(JsonObject):
    """The three files of a shard; the names of the fields are `layout.KINDS`."""

    tensors: FileEntry
    index: FileEntry
    texts: FileEntry

    def of(self, kind: str) -> FileEntry:
        """Return the file of one of `layout.KINDS`."""
        entry: FileEntry = getattr(self, kind)
        return entry

    @property
    def bytes(self) -> int:
        """The size of all three."""
        return self.tensors.bytes + self.index.bytes + self.texts.bytes


@dataclass(frozen=True, kw_only=True)
class Counts(JsonObject):
    """Numbers of tokens, and of tokens and words that were cut off or dropped; `docs/reference/format.md` explains each."""

    tokens: int
    unknown: int
    windows: int
    windowed_texts: int
    truncated_tokens: int
    truncated_texts: int
    dropped_words: int
    lost_words: int
    special_only_texts: int
    context_tokens: int | None = None
    cut_contexts: int | None = None


@dataclass(frozen=True, kw_only=True)
class Totals(Counts):
    """The sums over all shards; `bytes` is the size of their files."""

    texts: int
    rows: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class ColumnNames(JsonObject):
    """The names of the carried columns: those with a value per text, and those with one per word."""

    text: tuple[str, ...] = ()
    word: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StorageError(JsonObject):
    """What storing a layer lost: the largest |a − b|, and the largest over rows of max |a − b| / max(1, max |b|)."""

    max_abs: Positive
    max_rel: Positive


@dataclass(frozen=True, kw_only=True)
class Int8Error(JsonObject):
    """How far a layer computed in int8 was from fp32 on a few texts: `max_rel` as above, and the least cosine."""

    max_rel: Amount
    cosine: float


@dataclass(frozen=True, kw_only=True)
class ShardFacts(JsonObject):
    """What the maker of a shard knows about it.

    Attributes:
        input: the SHA-256 of the texts that it was made from; `None` in a derived dataset.
        counts, columns: what was counted in it, and its carried columns.
        int8_error: the error of int8, per layer, where it was measured on texts of this shard.
        redacted: how many spans of each kind were replaced in its texts, where texts were redacted.
        seconds: how long it took; only in unfinished work. A finished dataset has it in `run.json`.
    """

    input: str | None
    counts: Counts
    columns: ColumnNames
    int8_error: Mapping[str, Int8Error] | None = None
    redacted: Mapping[str, int] | None = None
    seconds: Amount | None = None


@dataclass(frozen=True, kw_only=True)
class ShardRecord(ShardFacts):
    """What is known of a shard: also its number, its texts and rows, its files, and per layer what storing lost."""

    number: int
    texts: int
    rows: int
    files: ShardFiles
    error: Mapping[str, StorageError]


def shard_record(value: Any, number: int) -> ShardRecord:
    """Return the record that a JSON value stands for, of the shard of this number.

    Raises:
        WrongEntryError: naming the first invalid entry.
    """
    record = ShardRecord.from_json(value)
    if record.number != number:
        raise WrongEntryError(record.number, "number")
    for kind, ending in KINDS.items():
        # Names are checked, not followed: a record can't point outside its folder.
        name = record.files.of(kind).name
        if name != f"{number:05d}.{ending}":
            raise WrongEntryError(name, "files", kind, "name")
    return record


def records_bytes(records: Sequence[ShardRecord]) -> tuple[bytes, RecordsFile]:
    """Return the file of some records, in order, and its entry in the manifest; without the measured seconds."""
    written = [json.dumps(_unmeasured(record), sort_keys=True) for record in records]
    columns: dict[str, Any] = {
        "texts": pa.array([record.texts for record in records], pa.int64()),
        "rows": pa.array([record.rows for record in records], pa.int64()),
        "record": pa.array(written, pa.string()),
    }
    data = table_bytes(pa.table(columns))
    digest = hashlib.sha256(data).hexdigest()
    # Named by its hash: another version of a dataset has another file, so the old one stays complete to the end.
    entry = RecordsFile(name=records_name(digest), count=len(records), bytes=len(data), sha256=digest)
    return data, entry


def _unmeasured(record: ShardRecord) -> dict[str, Any]:
    return {name: value for name, value in record.to_json().items() if name != "seconds"}


def records_name(sha256: str) -> str:
    """Return the name of the file of records that has this hash."""
    return f"shards-{sha256[:12]}.parquet"


class Records:
    """The records of a finished dataset, in order; they are read when they are needed.

    Attributes:
        path: the file.
        count: how many shards there are.
    """

    def __init__(self, folder: Folder, entry: RecordsFile) -> None:
        """Read how many rows and texts there are; `entry` is the manifest's."""
        self.path: Path = folder.root / entry.name
        self.count = entry.count
        self._counted = self._read_counted()

    def __len__(self) -> int:
        return self.count

    def _read_counted(self) -> dict[str, I64]:
        if not self.count:
            return {name: np.zeros(0, np.int64) for name in _COUNTED}
        table = read_table(self.path, self.count, _COUNTED)
        if any(table[name].type != pa.int64() or table[name].null_count for name in _COUNTED):
            raise self._damaged()
        counted: dict[str, I64] = {name: table[name].to_numpy() for name in _COUNTED}
        # Each number has a limit, so that the sum of all can't overflow.
        if any(
            ((values < 0) | (values > json_checks.MOST // self.count)).any() for values in counted.values()
        ):
            raise self._damaged()
        return counted

    @property
    def rows(self) -> I64:
        """How many rows each shard has, int64 (shards,)."""
        return self._counted["rows"]

    @property
    def texts(self) -> I64:
        """How many texts each shard has, int64 (shards,)."""
        return self._counted["texts"]

    @cached_property
    def _table(self) -> pa.Table:
        if not self.path.exists():
            raise DatasetError(f"{self.path.parent} has changed since it was opened; open it again")
        return read_table(self.path, self.count, ("record",))

    def __getitem__(self, number: int) -> ShardRecord:
        """Return one record.

        Raises:
            DatasetError: the record is invalid.
        """
        written = self._table["record"][number].as_py()
        try:
            record = shard_record(parse_json(written) if isinstance(written, str) else None, number)
        except WrongEntryError as error:
            raise self._damaged(f" (the record of shard {number}: {error})") from None
        except ValueError as error:
            raise self._damaged(f" (shard {number}: {error})") from error
        if record.texts != self.texts[number] or record.rows != self.rows[number]:
            raise self._damaged(f" (the record of shard {number} has other counts)")
        return record

    def __iter__(self) -> Iterator[ShardRecord]:
        return (self[number] for number in range(self.count))

    def _damaged(self, what: str = "") -> DatasetError:
        return DatasetError(f"{self.path} is damaged{what}; restore it from a copy")


def totals_of(records: Sequence[ShardRecord]) -> Totals:
    """Return the sums over all shards.

    Raises:
        DatasetError: a sum that is too large.
    """
    counts = [
        item.name
        for item in fields(Counts)
        if item.name != "others"
        and (item.default is not None or any(getattr(r.counts, item.name) is not None for r in records))
    ]
    sums = dict.fromkeys(("texts", "rows", "bytes", *counts), 0)
    for record in records:
        sums["texts"] += record.texts
        sums["rows"] += record.rows
        sums["bytes"] += record.files.bytes
        for name in counts:
            sums[name] += getattr(record.counts, name) or 0
        for name, total in sums.items():
            if total > json_checks.MOST:
                raise _damaged_record(record, f"{name} comes to {total:.3g} in all")
    return Totals.from_json(sums)


def errors_of(records: Sequence[ShardRecord], layers: Sequence[str]) -> dict[str, StorageError]:
    """Return what storing lost in all shards, the largest per layer.

    Raises:
        DatasetError: a record without the error of a layer.
    """
    for record in records:
        for layer in layers:
            if layer not in record.error:
                raise _damaged_record(record, f"error.{layer} is None")
    return {layer: _largest([record.error[layer] for record in records]) for layer in layers}


def _largest(errors: Sequence[StorageError]) -> StorageError:
    return StorageError(
        max_abs=max((error.max_abs for error in errors), default=0.0),
        max_rel=max((error.max_rel for error in errors), default=0.0),
    )


def column_names(records: Sequence[ShardRecord]) -> ColumnNames:
    """Return the carried columns of several shards, in the order in which they appear."""
    return ColumnNames(
        text=tuple(dict.fromkeys(name for record in records for name in record.columns.text)),
        word=tuple(dict.fromkeys(name for record in records for name in record.columns.word)),
    )


def redacted_spans(records: Sequence[ShardRecord]) -> dict[str, int] | None:
    """Return how many spans of each kind were replaced in all shards; `None` where no text was redacted."""
    counts = [record.redacted for record in records if record.redacted is not None]
    kinds = sorted({kind for each in counts for kind in each})
    return {kind: sum(each.get(kind, 0) for each in counts) for kind in kinds} if counts else None


def _damaged_record(record: ShardRecord, what: str) -> DatasetError:
    return DatasetError(f"the record of shard {record.number} is damaged: {what}; restore it from a copy")
