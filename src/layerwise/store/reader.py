"""Reading a dataset: the manifest at once, everything else when it is needed."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from layerwise._util.guarded import read_bytes
from layerwise._util.paths import place
from layerwise.array_types import F32, I64
from layerwise.errors import DatasetError, LayerwiseError, RequestError
from layerwise.row_selection import Rows, select_rows
from layerwise.states import Layered
from layerwise.store.columns import check_columns
from layerwise.store.dtypes import NUMPY, Codes, DecodeJob, decode, decode_all
from layerwise.store.header import scale_name
from layerwise.store.layout import Folder
from layerwise.store.manifest import Manifest, read_manifest
from layerwise.store.records import Records, ShardRecord
from layerwise.store.run import Run, read_run
from layerwise.store.tables import join_tables, read_table
from layerwise.store.tensors import TensorFile


def open_dataset(path: str | Path) -> "LayerDataset":
    """Open a finished dataset; reads its manifest and nothing else.

    Raises:
        DatasetError: no dataset, an unfinished one, another format version, or a damaged manifest.
    """
    folder = Folder(place(path))
    manifest = read_manifest(folder)
    return LayerDataset(folder, manifest, Records(folder, manifest.shards))


def open_rows(rows: Layered | str | Path) -> Layered:
    """Return the rows of a dataset, of its folder, or in memory; reading stored values that aren't finite raises an error."""
    opened = rows if isinstance(rows, Layered) else open_dataset(rows)
    return opened.checked() if isinstance(opened, LayerDataset) else opened


@dataclass(frozen=True)
class StoredShard:
    """One shard of a dataset; its files are opened when they are needed."""

    folder: Folder
    manifest: Manifest
    records: Records
    number: int

    @property
    def record(self) -> ShardRecord:
        """The shard's record."""
        return self.records[self.number]

    @property
    def rows(self) -> int:
        """How many rows the shard has."""
        return int(self.records.rows[self.number])

    @cached_property
    def tensors(self) -> TensorFile:
        """The tensors file, its header checked against the manifest."""
        manifest = self.manifest
        file = TensorFile(self.folder.shard(self.number, "tensors"))
        return file.check(manifest.layers, self.rows, manifest.width_of_layers, manifest.dtype)

    def table(self, kind: str) -> pa.Table:
        """Return the `index` or the `texts` of the shard."""
        path = self.folder.shard(self.number, kind)
        counts = self.records.rows if kind == "index" else self.records.texts
        table = read_table(path, int(counts[self.number]))
        first = int(self.records.texts[: self.number].sum())
        check_columns(table, path, kind, self.manifest.level, first, int(self.records.texts[self.number]))
        return table

    def codes(self, layer: str) -> Codes:
        """Return one layer as it is stored, (rows, width), memory-mapped."""
        return self.tensors.view(layer, NUMPY[self.manifest.dtype])

    def scales(self, layer: str) -> F32 | None:
        """Return the int8 scales of one layer, (rows,), memory-mapped; `None` for other types."""
        return self.tensors.view(scale_name(layer), "<f4") if self.manifest.dtype == "int8" else None


class LayerDataset(Layered):
    """Rows on disk, with the interface of rows in memory; one layer is read without touching the others."""

    def __init__(self, folder: Folder, manifest: Manifest, records: Records, only: int | None = None) -> None:
        """Called by `open_dataset`, and by `parts` with the number of the `only` shard."""
        self._folder, self._manifest, self._records = folder, manifest, records
        self._numbers = range(len(records)) if only is None else range(only, only + 1)

    @cached_property
    def _shards(self) -> list[StoredShard]:
        return [StoredShard(self._folder, self._manifest, self._records, number) for number in self._numbers]

    @cached_property
    def _starts(self) -> I64:
        starts = self._records.rows[self._numbers.start : self._numbers.stop]
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(starts)])

    @property
    def path(self) -> Path:
        """The folder of the dataset."""
        return self._folder.root

    @property
    def manifest(self) -> Manifest:
        """What the dataset is and where it comes from; `manifest.to_json()` is what JSON holds."""
        return self._manifest

    @property
    def run(self) -> Run:
        """What was measured while the dataset was made: seconds, date and host."""
        return read_run(self._folder, len(self._records))

    @property
    def sha256(self) -> str:
        """The hash of the manifest, which holds those of all files, and so identifies the dataset."""
        return hashlib.sha256(read_bytes(self._folder.manifest)).hexdigest()

    @property
    def layers(self) -> tuple[str, ...]:
        """The stored layers, by name."""
        return self._manifest.layers

    @property
    def blocks(self) -> int:
        """The number of blocks of the model."""
        return self._manifest.blocks

    @property
    def level(self) -> str:
        """What a row stands for."""
        return self._manifest.level

    @property
    def pool(self) -> str | None:
        """How tokens became a row; `None` at token level."""
        return self._manifest.pool

    @property
    def word_split(self) -> str | None:
        """What a word of raw text is: `chars`, or `None` for a run of letters and digits."""
        return self._manifest.settings.word_split

    @property
    def width(self) -> int:
        """How many numbers a vector of the model's layers has."""
        return self._manifest.width

    @property
    def widths(self) -> dict[str, int]:
        """How many numbers the vectors of each layer have, by its name."""
        return self._manifest.width_of_layers

    @property
    def dtype(self) -> str:
        """The stored type: `float32`, `float16`, `bfloat16` or `int8`."""
        return self._manifest.dtype

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self._starts[-1])

    @property
    def text_count(self) -> int:
        """How many texts there are."""
        return int(self._records.texts[self._numbers.start : self._numbers.stop].sum())

    @property
    def shards(self) -> Iterator[ShardRecord]:
        """The records of the shards, in order."""
        return (self._records[number] for number in self._numbers)

    @cached_property
    def index(self) -> pa.Table:
        """A row per vector; all of it in memory, so read a very large dataset by `parts`."""
        return self._table("index")

    @cached_property
    def texts(self) -> pa.Table:
        """A row per text; all of it in memory."""
        return self._table("texts")

    def _table(self, kind: str) -> pa.Table:
        table = join_tables([shard.table(kind) for shard in self._shards], self.path)
        counts = self._records.rows if kind == "index" else self._records.texts
        first = int(counts[: self._numbers.start].sum())
        return self._with_added(table, of_rows=kind == "index", first=first)

    def parts(self) -> Iterator["LayerDataset"]:
        """Yield the dataset shard by shard; what a part has read is freed with it."""
        for number in self._numbers:
            part = LayerDataset(self._folder, self._manifest, self._records, number)
            part._checked, part._added = self._checked, self._added
            yield part

    def scales(self, spec: str | int, rows: Rows = None) -> F32:
        """Return the scales that the int8 codes of a layer are multiplied by: float32 of shape (rows,).

        Raises:
            RequestError: a stored type without scales, or a layer or row that doesn't exist.
        """
        if self.dtype != "int8":
            raise RequestError(f"{self.path} is stored as {self.dtype}; only int8 has scales")
        name = self._resolve(spec)
        several = [shard.scales(name) for shard in self._shards]
        whole = np.concatenate(
            [np.zeros(0, np.float32), *(scales for scales in several if scales is not None)]
        )
        return np.array(whole[select_rows(rows, self.rows)])

    def _refusal(self, layer: str, row: int, value: str) -> LayerwiseError:
        number = row + int(self._records.rows[: self._numbers.start].sum())
        return DatasetError(
            f"{self.path}: layer {layer}, row {number} holds {value}, which isn't finite; run `layerwise verify`, then make its "
            "shard again with `layerwise repair`, or leave the layer out"
        )

    def _read(self, name: str, rows: slice | I64, raw: bool) -> Codes:
        if isinstance(rows, slice):
            return self._read_slice(name, rows.start, rows.stop, raw)
        return self._gather(name, rows, raw)

    def _read_slice(self, name: str, start: int, stop: int, raw: bool) -> Codes:
        slices = list(self._slices(start, stop))
        if raw and len(slices) == 1:
            shard, shard_rows, _ = slices[0]
            return shard.codes(name)[shard_rows]
        kind = NUMPY[self.dtype] if raw else np.float32
        out = np.empty((stop - start, self.widths[name]), kind)
        jobs: list[DecodeJob] = []
        for shard, shard_rows, out_rows in slices:
            scales = None if raw else shard.scales(name)
            scales = None if scales is None else scales[shard_rows]
            jobs.append((out[out_rows], shard.codes(name)[shard_rows], scales))
        if raw:
            for place, codes, _ in jobs:
                place[...] = codes
        else:
            decode_all(jobs, self.dtype)
        return out

    def _slices(self, start: int, stop: int) -> Iterator[tuple[StoredShard, slice, slice]]:
        """Yield each shard that holds some of the rows, which of its rows, and their places in the result."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        for number in range(max(first, 0), len(self._shards)):
            begin, end = int(self._starts[number]), int(self._starts[number + 1])
            low, high = max(start, begin), min(stop, end)
            if begin >= stop:
                return
            if low < high:
                yield self._shards[number], slice(low - begin, high - begin), slice(low - start, high - start)

    def _gather(self, name: str, rows: I64, raw: bool) -> Codes:
        out = np.empty((len(rows), self.widths[name]), NUMPY[self.dtype] if raw else np.float32)
        order = np.argsort(rows, kind="stable")  # a shard is opened once, and read front to back
        ascending = rows[order]
        cuts = np.searchsorted(ascending, self._starts)
        for number, shard in enumerate(self._shards):
            positions = slice(int(cuts[number]), int(cuts[number + 1]))
            if positions.start < positions.stop:
                shard_rows = ascending[positions] - self._starts[number]
                codes, scales = shard.codes(name)[shard_rows], None if raw else shard.scales(name)
                scales = None if scales is None else scales[shard_rows]
                out[order[positions]] = codes if raw else decode(codes, scales, self.dtype)
        return out

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, stored as {self.dtype} in {self.path}>"
