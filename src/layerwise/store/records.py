"""The records of a finished dataset's shards: one table of them, so that ten thousand shards open at once."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from layerwise.errors import DatasetError
from layerwise.place import faults
from layerwise.states import I64
from layerwise.store.layout import KINDS, Folder
from layerwise.store.tables import open_parquet, read_table, table_bytes

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
        try:
            with open_parquet(self.path) as file:
                table = file.read(columns=list(_COUNTED), use_threads=False)
            found = {name: np.asarray(table[name].to_numpy(), np.int64) for name in _COUNTED}
        except (pa.ArrowException, ValueError, KeyError, TypeError, *faults()) as error:
            why = str(error).partition("\n")[0]
            raise DatasetError(f"can't read {self.path}: {why}; restore it from a copy") from error
        if any(len(values) != self.count or (values < 0).any() for values in found.values()):
            raise self._damaged()
        return found

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
        return read_table(self.path, self.count)

    def __getitem__(self, number: int) -> Record:
        """Return one record.

        Raises:
            DatasetError: one that makes no sense.
        """
        try:
            record: Record = json.loads(self._table["record"][number].as_py())
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._damaged() from error
        if not _is_record(record, number):
            raise self._damaged()
        return record

    def __iter__(self) -> Iterator[Record]:
        return (self[number] for number in range(self.count))

    def _damaged(self) -> DatasetError:
        return DatasetError(f"{self.path} is damaged; restore it from a copy")


def _is_record(record: Any, number: int) -> bool:
    try:
        right = [record["number"] == number, _is_count(record["rows"]), _is_count(record["texts"])]
        for kind, ending in KINDS.items():
            entry = record["files"][kind]
            # Names are checked, not followed: a record can't point outside its folder.
            right.append(entry["name"] == f"{number:05d}.{ending}")
            right.append(_is_count(entry["bytes"]) and len(entry["sha256"]) == 64)
    except (TypeError, KeyError):
        return False
    return all(right)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
