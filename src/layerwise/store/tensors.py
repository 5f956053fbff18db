"""The tensors file of a shard: plain safetensors, written row by row in any order, read by slices."""

import errno
import hashlib
import mmap
import os
from io import BytesIO, FileIO
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from layerwise._util.guarded import JSON_BYTES, check_regular, open_regular
from layerwise._util.paths import faults, is_remote, read_range, reason
from layerwise.array_types import F32
from layerwise.errors import DatasetError
from layerwise.store import disk
from layerwise.store.dtypes import Codes, encode, losses
from layerwise.store.header import Span, header, plan, read_header, scale_name
from layerwise.widths import Widths, shown_width, width_of

_HEAD = 1 << 14  # bytes that hold most headers
_BLOCK = 1 << 17  # values that stay in a core's cache while they are encoded and measured


class TensorWriter:
    """Writes the tensors file of one shard; every row of every layer once, in any order."""

    def __init__(self, path: Path, layers: tuple[str, ...], rows: int, widths: Widths, dtype: str) -> None:
        """Create `path` and reserve its whole space on the disk, so that a full disk is noticed now."""
        self.path, self.layers, self.rows, self.dtype = path, layers, rows, dtype
        self.widths = {layer: width_of(widths, layer) for layer in layers}
        self._spans = plan(layers, rows, widths, dtype)
        self._written = {layer: np.zeros(rows, bool) for layer in layers}
        self._losses = dict.fromkeys(layers, (0.0, 0.0))
        head = header(self._spans)
        self._data_start = len(head)
        size = len(head) + max((span.end for span in self._spans.values()), default=0)
        with disk.writing(path):
            self._file = disk.create_unbuffered(path)
            try:
                _reserve(self._file, size)
                self._write(0, head)
            except BaseException:
                self._file.close()
                path.unlink(missing_ok=True)  # it would keep the space that it has reserved
                raise

    @property
    def losses(self) -> dict[str, tuple[float, float]]:
        """What storing lost so far, per layer: as `dtypes.losses`."""
        return dict(self._losses)

    def put(self, layer: str, rows: NDArray[np.int64], values: F32) -> None:
        """Write some rows of one layer: `values` (k, width) belong to the row numbers `rows` (k,).

        Raises:
            OutputError: a value that the stored type can't hold, or a disk that can't be written to.
            ValueError: a row that doesn't exist, or was put before (a fault of the caller).
        """
        rows, values = self._checked(layer, rows, values)
        step = max(1, _BLOCK // self.widths[layer])
        for start in range(0, len(rows), step):
            self._put_block(layer, rows[start : start + step], values[start : start + step])
        self._written[layer][rows] = True

    def _checked(self, layer: str, rows: NDArray[np.int64], values: F32) -> tuple[NDArray[np.int64], F32]:
        rows, values = np.asarray(rows, np.int64), np.asarray(values, np.float32)
        if layer not in self._written or values.shape != (len(rows), self.widths[layer]):
            layers = f"{', '.join(self.layers)}, each (rows, {shown_width(self.widths)})"
            raise ValueError(f"can't put layer {layer!r} with shape {values.shape}; the shard has {layers}")
        if (np.diff(rows) < 0).any():
            order = np.argsort(rows, kind="stable")
            rows, values = rows[order], values[order]
        if len(rows) and not 0 <= rows[0] <= rows[-1] < self.rows:
            raise ValueError(f"rows {rows[0]} … {rows[-1]} aren't all among the shard's 0 … {self.rows - 1}")
        twice = rows[self._written[layer][rows] | (np.diff(rows, prepend=-1) == 0)]
        if len(twice):
            raise ValueError(f"row {twice[0]} of layer {layer} was put twice")
        return rows, values

    def _put_block(self, layer: str, rows: NDArray[np.int64], values: F32) -> None:
        codes, scales = encode(values, self.dtype, layer)
        before, now = self._losses[layer], losses(values, codes, scales, self.dtype)
        self._losses[layer] = (max(before[0], now[0]), max(before[1], now[1]))
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        with disk.writing(self.path):
            self._write_runs(layer, rows, codes, ends)
            if scales is not None:
                self._write_runs(scale_name(layer), rows, scales, ends)

    def _write_runs(self, name: str, rows: NDArray[np.int64], codes: Codes, ends: list[int]) -> None:
        start_of_tensor = self._data_start + self._spans[name].start
        data = np.ascontiguousarray(codes).reshape(len(rows), -1).view(np.uint8)
        begin = 0
        for end in ends:
            self._write(start_of_tensor + int(rows[begin]) * data.shape[1], data[begin:end].data)
            begin = end

    def _write(self, place: int, data: bytes | memoryview) -> None:
        self._file.seek(place)
        left = memoryview(data).cast("B")
        while left:  # a raw write may take less than all, on a disk that is nearly full
            left = left[self._file.write(left) :]

    def close(self) -> tuple[int, str]:
        """Sync the file; return its bytes and its SHA-256.

        Raises:
            OutputError: a disk that can't be written to.
            ValueError: a row that was never put (a fault of the caller).
        """
        for layer, written in self._written.items():
            if not written.all():
                missing = int(len(written) - written.sum())
                raise ValueError(f"{missing} of {self.rows} rows of layer {layer} were never put")
        with disk.writing(self.path), self._file:
            disk.sync(self._file.fileno(), self.path)
            self._file.seek(0)
            digest = hashlib.file_digest(self._file, "sha256").hexdigest()
            return os.fstat(self._file.fileno()).st_size, digest

    def discard(self) -> None:
        """Close the file and leave it as it is."""
        self._file.close()


def _reserve(file: FileIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        else:
            return
    zeros = memoryview(bytes(1 << 20))
    file.seek(0)
    while size > 0:
        size -= file.write(zeros[: min(size, len(zeros))])


class TensorFile:
    """The tensors file of a shard, opened for reading; its header is checked, its data isn't read."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            DatasetError: a file that is missing, no regular one, truncated, or whose header doesn't fit it.
        """
        self.path = path
        try:
            self.bytes = check_regular(path)
            with self._head() as file:
                self.spans, self.data_start = read_header(file, self.bytes)
        except faults() as error:
            raise DatasetError(f"can't read {path}: {reason(error)}; restore it from a copy") from error
        except ValueError as error:
            raise DatasetError(f"{path} is damaged: {error}; restore it from a copy") from error

    def check(self, layers: tuple[str, ...], rows: int, widths: Widths, dtype: str) -> Self:
        """Check that the file holds what the manifest says.

        Raises:
            DatasetError: naming the first tensor that is missing, unexpected, or of another type or shape.
        """
        expected = plan(layers, rows, widths, dtype)
        for name in [*expected, *self.spans]:
            got, want = self.spans.get(name), expected.get(name)
            if got is None or want is None or (got.dtype, got.shape) != (want.dtype, want.shape):
                shown = [f"{s.dtype} {list(s.shape)}" if s else "nothing" for s in (got, want)]
                what = f"tensor {name!r} is {shown[0]} where the manifest says {shown[1]}"
                raise DatasetError(f"{self.path} is damaged: {what}; restore it from a copy")
        return self

    def view(self, name: str, kind: str) -> Codes:
        """Return one tensor in the numpy type `kind`, read-only, memory-mapped: nothing is read yet.

        From an object store its bytes are fetched, and no others.
        """
        span = self.spans[name]
        if is_remote(self.path):
            return np.frombuffer(self._fetched(span), np.uint8).view(kind).reshape(span.shape)
        try:
            with open_regular(self.path) as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DatasetError(f"can't read {self.path}: {reason(error)}; restore it from a copy") from error
        if len(mapped) != self.bytes:
            raise DatasetError(f"{self.path} changed while it was read; restore it from a copy")
        data = np.frombuffer(mapped, np.uint8, span.end - span.start, self.data_start + span.start)
        return data.view(kind).reshape(span.shape)

    def _head(self) -> BinaryIO:
        """Open the file, or what of one in an object store holds the header."""
        if not is_remote(self.path):
            return open_regular(self.path)
        head = read_range(self.path, 0, min(self.bytes, _HEAD))
        length = 8 + int.from_bytes(head[:8], "little")
        if len(head) < length <= min(self.bytes, 8 + JSON_BYTES):
            head = read_range(self.path, 0, length)
        return BytesIO(head)

    def _fetched(self, span: Span) -> bytes:
        if span.start == span.end:
            return b""
        try:
            return read_range(self.path, self.data_start + span.start, self.data_start + span.end)
        except faults() as error:
            raise DatasetError(
                f"can't read {self.path}: {reason(error)}; check that it still exists"
            ) from error
