"""The records of a finished dataset's shards: one table of them, so that ten thousand shards open at once."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from layerwise import schema
from layerwise.errors import DatasetError
from layerwise.guarded import parse_json
from layerwise.states import I64
from layerwise.store.layout import KINDS, Folder
from layerwise.store.tables import read_table, table_bytes

Record = dict[str, Any]
_COUNTED = ("texts", "rows")


def records_bytes(records: Sequence[Record]) -> tuple[bytes, Record]:
    """Return the file of some records, in order, and the entry that the manifest has for it."""
    columns: dict[str, Any] = {
        name: pa.array([record[name] for record in records], pa.int64()) for name in _COUNTED
    }
    columns["record"] = pa.array([json.dumps(record, sort_keys=True) for record in records], pa.string())
    data = table_bytes(pa.table(columns))
    digest = hashlib.sha256(data).hexdigest()
    # By its hash: another version of a dataset has another file, so that the old one is whole to the end.
    name = f"shards-{digest[:12]}.parquet"
    return data, {"name": name, "count": len(records), "bytes": len(data), "sha256": digest}


class Records:
    """What is known of each shard of a finished dataset, in order; records are read when they are asked for.

    Attributes:
        path: the file.
        count: how many shards there are.
    """

    def __init__(self, folder: Folder, entry: Record) -> None:
        """Read how many rows and texts there are; `entry` is the manifest's."""
        self.path: Path = folder.root / entry["name"]
        self.count = int(entry["count"])
        self._counted = self._counts()

    def __len__(self) -> int:
        return self.count

    def _counts(self) -> dict[str, I64]:
        if not self.count:
            return {name: np.zeros(0, np.int64) for name in _COUNTED}
        table = read_table(self.path, self.count, _COUNTED)
        if any(table[name].type != pa.int64() or table[name].null_count for name in _COUNTED):
            raise self._damaged()
        counted: dict[str, I64] = {name: table[name].to_numpy() for name in _COUNTED}
        # Each by itself, as sums of numbers beyond it might run over.
        if any(((values < 0) | (values > schema.MOST // self.count)).any() for values in counted.values()):
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

    def __getitem__(self, number: int) -> Record:
        """Return one record.

        Raises:
            DatasetError: one that makes no sense.
        """
        written = self._table["record"][number].as_py()
        try:
            record: Record = parse_json(written) if isinstance(written, str) else {}
        except ValueError as error:
            raise self._damaged(f" (shard {number}: {error})") from error
        if (wrong := wrong_entry(record, number)) is not None:
            got = f"{wrong} is {schema.entry(record, wrong)!r:.60}"
            raise self._damaged(f" (the record of shard {number}: {got})")
        if any(record[name] != self._counted[name][number] for name in _COUNTED):
            raise self._damaged(f" (the record of shard {number} has other counts)")
        return record

    def __iter__(self) -> Iterator[Record]:
        return (self[number] for number in range(self.count))

    def _damaged(self, what: str = "") -> DatasetError:
        return DatasetError(f"{self.path} is damaged{what}; restore it from a copy")


def wrong_entry(record: Any, number: int) -> str | None:
    """Return the path of the first entry of a shard's record that makes no sense; `None` when all do."""
    wrong = schema.first_wrong(record, _RECORD)
    if wrong is None and record["number"] != number:
        return "number"
    for kind, ending in KINDS.items():
        # Names are checked, not followed: a record can't point outside its folder.
        if wrong is None and record["files"][kind]["name"] != f"{number:05d}.{ending}":
            wrong = f"files.{kind}.name"
    return wrong


_LOST = schema.map_of(schema.object_of({"max_abs": schema.positive, "max_rel": schema.positive}))
_MEASURED = schema.map_of(schema.object_of({"max_rel": schema.positive, "cosine": schema.number}))
_FILE: schema.Schema = {"name": schema.text, "bytes": schema.whole(), "sha256": schema.sha256}
_RECORD: schema.Schema = {
    "number": schema.whole(),
    "rows": schema.whole(),
    "texts": schema.whole(),
    "files": dict.fromkeys(KINDS, _FILE),
    "counts": schema.map_of(schema.whole()),
    "error": _LOST,
    "seconds": schema.optional(lambda value: schema.positive(value) and value <= schema.MOST),
    "input": schema.optional(schema.text),
    "columns": schema.optional(
        schema.object_of(dict.fromkeys(("text", "word"), schema.list_of(schema.text)))
    ),
    "int8_error": schema.optional(_MEASURED),
}
