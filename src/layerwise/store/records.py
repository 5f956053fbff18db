"""The records of a finished dataset's shards: one table of them, so that ten thousand shards open at once."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from layerwise._util import json_checks
from layerwise._util.guarded import parse_json
from layerwise.errors import DatasetError
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
            got = f"{wrong} is {json_checks.entry(record, wrong)!r:.60}"
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
    wrong = json_checks.first_wrong(record, _RECORD)
    if wrong is None and record["number"] != number:
        return "number"
    for kind, ending in KINDS.items():
        # Names are checked, not followed: a record can't point outside its folder.
        if wrong is None and record["files"][kind]["name"] != f"{number:05d}.{ending}":
            wrong = f"files.{kind}.name"
    return wrong


def summed(records: Sequence[Record], layers: Sequence[str]) -> Record:
    """Return what the manifest says of all shards together: `totals` and `error`.

    Raises:
        DatasetError: a record without the error of a layer, or counts that are beyond belief together.
    """
    return {"totals": _totals(records), "error": _errors(records, layers)}


def _totals(records: Sequence[Record]) -> dict[str, Any]:
    totals: dict[str, Any] = {"texts": 0, "rows": 0, "bytes": 0, "seconds": 0.0}
    for record in records:
        counts = {name: record[name] for name in _COUNTED}
        counts["bytes"] = sum(file["bytes"] for file in record["files"].values())
        seconds = record.get("seconds") or 0.0
        for name, count in {**record["counts"], **counts, "seconds": seconds}.items():
            totals[name] = totals.get(name, 0) + count
            if totals[name] > json_checks.MOST:
                raise _damaged_record(record, f"{name[:60]} comes to {totals[name]:.3g} in all")
    return {**totals, "seconds": round(totals["seconds"], 3)}


def _errors(records: Sequence[Record], layers: Sequence[str]) -> dict[str, Any]:
    for record in records:
        for layer in layers:
            if layer not in record["error"]:
                raise _damaged_record(record, f"error.{layer} is None")
    kinds = ("max_abs", "max_rel")
    return {
        layer: {
            kind: max((record["error"][layer][kind] for record in records), default=0.0) for kind in kinds
        }
        for layer in layers
    }


def _damaged_record(record: Record, what: str) -> DatasetError:
    return DatasetError(f"the record of shard {record['number']} is damaged: {what}; restore it from a copy")


_LOST = json_checks.map_of(
    json_checks.object_of({"max_abs": json_checks.positive, "max_rel": json_checks.positive})
)
_MEASURED = json_checks.map_of(
    json_checks.object_of({"max_rel": json_checks.amount, "cosine": json_checks.number})
)
_FILE: json_checks.Schema = {
    "name": json_checks.text,
    "bytes": json_checks.whole(),
    "sha256": json_checks.sha256,
}
_RECORD: json_checks.Schema = {
    "number": json_checks.whole(),
    "rows": json_checks.whole(),
    "texts": json_checks.whole(),
    "files": dict.fromkeys(KINDS, _FILE),
    "counts": json_checks.map_of(json_checks.whole()),
    "error": _LOST,
    "seconds": json_checks.optional(json_checks.amount),
    "input": json_checks.optional(json_checks.text),
    "columns": json_checks.optional(
        json_checks.object_of(dict.fromkeys(("text", "word"), json_checks.list_of(json_checks.text)))
    ),
    "int8_error": json_checks.optional(_MEASURED),
}
