"""Read the tensors of a TensorFlow checkpoint: `PREFIX.index` and `PREFIX.data-00000-of-00001`, ….

The index is a table (`table`). Its empty key has the header, every other key an entry: type, shape, and the bytes of a
data file with their masked CRC-32C. A partitioned tensor has an entry that lists its slices, each of which has an
entry of its own under an encoded key.

Source: TensorFlow, core/protobuf/tensor_bundle.proto, core/util/tensor_bundle/tensor_bundle.cc,
core/util/saved_tensor_slice_util.cc and core/lib/strings/ordered_code.cc.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from layerwise._util.guarded import check_regular
from layerwise.encode.tensorflow.crc32c import crc32c, masked
from layerwise.encode.tensorflow.protobuf import content, integer, read_fields, read_varint, signed
from layerwise.encode.tensorflow.table import read_table

INDEX = ".index"
_VERSION = 1
_DIMENSIONS, _LENGTH, _SLICES = 8, 1 << 48, 1_000  # of a tensor
_STRING, _BFLOAT16 = 7, 14
# TensorFlow's numbers of types: numpy's names without the order of bytes.
_TYPES = {
    1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 8: "c8", 9: "i8", 10: "b1", _BFLOAT16: "u2",
    17: "u2", 18: "c16", 19: "f2", 22: "u4", 23: "u8",
}  # fmt: skip
_FLOATS = ("f4", "f8", "f2")
Slice = tuple[tuple[int, int], ...]  # of each dimension: start and length, -1 for all
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor is stored.

    Attributes:
        kind: the number of its type.
        shape: its shape.
        shard, offset, size: the number of its data file, and its bytes in there.
        checksum: the masked CRC-32C of these bytes.
        slices: the parts of a partitioned tensor, which has no bytes of its own.
    """

    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    slices: tuple[Slice, ...]

    @property
    def is_number(self) -> bool:
        """Whether the tensor holds floating-point numbers."""
        return self.kind == _BFLOAT16 or _TYPES.get(self.kind) in _FLOATS


class Bundle:
    """The tensors of a checkpoint.

    Attributes:
        entries: where each tensor is stored, by name.
    """

    def __init__(self, index: Path) -> None:
        """Read and check the index, and the sizes of the data files.

        Raises:
            OSError: a file that can't be read.
            ValueError: a damaged index or a missing data file, in one line that names the file.
        """
        self._prefix = index.with_name(index.name.removesuffix(INDEX))
        try:
            table = read_table(index)
            header = table.pop(b"", None)
            if header is None:
                raise ValueError("it has no header")
            self._shards, self._order = _header(header)
            stored = {key: _entry(key, value) for key, value in table.items()}
        except ValueError as error:
            raise ValueError(f"{index.name}: {error}; fetch it again") from None
        self._slices = {key: entry for key, entry in stored.items() if key.startswith(b"\0")}
        self.entries = {_name(key): entry for key, entry in stored.items() if not key.startswith(b"\0")}
        self._check_places(stored)
        self._files: dict[int, Array] = {}

    def tensor(self, name: str) -> Array:
        """Return a tensor of floating-point numbers as float32; its checksum is checked.

        Raises:
            ValueError: damaged data, a slice that is missing, or a tensor of another type.
        """
        entry = self.entries[name]
        if not entry.is_number:
            raise ValueError(f"the tensor {name!r} holds no floating-point numbers (type {entry.kind})")
        if not entry.slices:
            return self._numbers(name, entry)
        parts = list(self._parts(name, entry))
        covered, whole = sum(math.prod(part.shape) for part, _ in parts), math.prod(entry.shape)
        if covered != whole:
            raise ValueError(f"the tensor {name!r} has {covered:,} of its {whole:,} numbers in its slices")
        joined = np.zeros(entry.shape, np.float32)
        for part, place in parts:
            joined[place] = self._numbers(name, part)
        return joined

    def text(self, name: str) -> bytes:
        """Return the bytes of a tensor that holds one string.

        Raises:
            ValueError: damaged data, or another tensor.
        """
        entry = self.entries[name]
        raw = self._bytes(name, entry).tobytes()
        if entry.kind != _STRING or math.prod(entry.shape) != 1:
            raise ValueError(f"the tensor {name!r} holds no string")
        length, position = read_varint(memoryview(raw), 0)
        # The checksum covers the length as an integer of 4 or 8 bytes, then its own checksum and the bytes.
        order: Literal["big", "little"] = "big" if self._order == ">" else "little"
        crc = crc32c(length.to_bytes(4 if length < 1 << 32 else 8, order))
        stored = int.from_bytes(raw[position : position + 4], order)
        if masked(crc) != stored or masked(crc32c(raw[position:], crc)) != entry.checksum:
            raise _damaged(name)
        return raw[position + 4 :]

    def check(self, name: str) -> None:
        """Check the checksum of a tensor that isn't needed.

        Raises:
            ValueError: damaged data.
        """
        entry = self.entries[name]
        if entry.kind == _STRING:
            return
        for part in [part for part, _ in self._parts(name, entry)] if entry.slices else [entry]:
            self._checked(name, part)

    def _parts(self, name: str, entry: TensorEntry) -> Iterator[tuple[TensorEntry, tuple[slice, ...]]]:
        """Yield the slices of a partitioned tensor, and their places in it."""
        boxes = [_box(name, entry.shape, extents) for extents in entry.slices]
        for number, box in enumerate(boxes):
            if any(_overlap(box, other) for other in boxes[:number]):
                raise ValueError(f"the tensor {name!r} has slices that overlap")
        for extents, box in zip(entry.slices, boxes, strict=True):
            part = self._slices.get(slice_key(name, extents))
            if part is None:
                raise ValueError(f"the tensor {name!r} lacks its slice {list(extents)}")
            if part.slices or part.kind != entry.kind or part.shape != tuple(b.stop - b.start for b in box):
                raise ValueError(f"the tensor {name!r} has a slice of another type or shape")
            yield part, box

    def _numbers(self, name: str, entry: TensorEntry) -> Array:
        raw = self._checked(name, entry)
        array = raw.view(self._order + _TYPES[entry.kind]).reshape(entry.shape)
        if entry.kind == _BFLOAT16:
            return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return array.astype(np.float32)

    def _checked(self, name: str, entry: TensorEntry) -> Array:
        raw = self._bytes(name, entry)
        if masked(crc32c(raw)) != entry.checksum:
            raise _damaged(name)
        return raw

    def _bytes(self, name: str, entry: TensorEntry) -> Array:
        if entry.shard not in self._files:
            path = self._path(entry.shard)
            empty = np.zeros(0, np.uint8)
            self._files[entry.shard] = np.memmap(path, np.uint8, "r") if path.stat().st_size else empty
        raw = self._files[entry.shard][entry.offset : entry.offset + entry.size]
        if len(raw) != entry.size:
            raise ValueError(f"{self._path(entry.shard).name} was cut off while it was read")
        return raw

    def _path(self, shard: int) -> Path:
        return self._prefix.with_name(shard_name(self._prefix.name, shard, self._shards))

    def _check_places(self, stored: dict[bytes, TensorEntry]) -> None:
        """Check that all bytes exist, and that no two tensors share some: reading takes no more than the files."""
        places: dict[int, list[tuple[int, int, bytes]]] = {}
        for key, entry in stored.items():
            if not entry.slices:
                places.setdefault(entry.shard, []).append((entry.offset, entry.offset + entry.size, key))
        for shard, spans in places.items():
            path = self._path(shard)
            if shard >= self._shards or not path.is_file():
                raise ValueError(
                    f"{path.name}, which {self._prefix.name}{INDEX} names, is missing; fetch it too"
                )
            spans = sorted(span for span in spans if span[1] > span[0])
            size = check_regular(path)
            last = max((end for _, end, _ in spans), default=0)
            if last > size:
                name = next(key for _, end, key in spans if end == last)
                raise ValueError(
                    f"{path.name} is cut off: it has {size:,} bytes, and {_shown(name)} ends at {last:,}; fetch it again"
                )
            for (_, end, first), (start, _, second) in pairwise(spans):
                if start < end:
                    raise ValueError(
                        f"{self._prefix.name}{INDEX}: the tensors {_shown(first)} and {_shown(second)} overlap; fetch it again"
                    )


def shard_name(prefix: str, shard: int, shards: int) -> str:
    """Return the name of a data file."""
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def slice_key(name: str, extents: Iterable[tuple[int, int]]) -> bytes:
    """Return the key of a slice of a tensor."""
    parts = list(extents)
    escaped = name.encode().replace(b"\0", b"\0\xff") + b"\0\1"
    numbers = b"".join(_ordered(number) for part in parts for number in part)
    return b"\0" + escaped + bytes([1, len(parts)] if parts else [0]) + numbers


def _ordered(number: int) -> bytes:
    """Return an integer below 2**55 in TensorFlow's ordered code: the first bits give the number of bytes."""
    size = next(size for size in range(1, 9) if -(1 << (7 * size - 1)) <= number < 1 << (7 * size - 1))
    header = (0xFF00 >> size & 0xFF) << (8 * (size - 1))
    return ((number & ((1 << 8 * size) - 1)) ^ header).to_bytes(size, "big")


def _header(message: memoryview) -> tuple[int, str]:
    """Return the number of data files and the order of bytes, as numpy writes it."""
    fields = dict(read_fields(message))
    shards, order = integer(fields.get(1, 0)), integer(fields.get(2, 0))
    version = dict(read_fields(content(fields[3]))) if 3 in fields else {}
    least = integer(version.get(2, 0))
    if least > _VERSION:
        raise ValueError(f"it is of version {least} of the format, and {_VERSION} is the latest that is read")
    if not 1 <= shards <= 99_999 or order not in (0, 1):
        raise ValueError(f"its header names {shards} data files in the order of bytes {order}")
    return shards, "<>"[order]


def _entry(key: bytes, message: memoryview) -> TensorEntry:
    numbers = {1: 0, 3: 0, 4: 0, 5: 0, 6: 0}
    shape: tuple[int, ...] = ()
    slices = []
    try:
        for number, value in read_fields(message):
            if number == 2:
                shape = _shape(content(value))
            elif number == 7:
                slices.append(_extents(content(value)))
            elif number in numbers:
                numbers[number] = integer(value)
        entry = TensorEntry(numbers[1], shape, numbers[3], numbers[4], numbers[5], numbers[6], tuple(slices))
        _check_size(entry)
    except ValueError as error:
        raise ValueError(f"the entry of the tensor {_shown(key)} is damaged: {error}") from None
    return entry


def _check_size(entry: TensorEntry) -> None:
    if any(not 0 <= length < _LENGTH for length in entry.shape) or len(entry.shape) > _DIMENSIONS:
        raise ValueError(f"its shape is {list(entry.shape)[:10]}")
    if len(entry.slices) > _SLICES:
        raise ValueError(f"it has {len(entry.slices):,} slices, and at most {_SLICES:,} are read")
    if entry.kind in _TYPES and not entry.slices:
        size = math.prod(entry.shape) * np.dtype(_TYPES[entry.kind]).itemsize
        if size != entry.size:
            raise ValueError(
                f"its shape {list(entry.shape)} takes {size:,} bytes and it states {entry.size:,}"
            )


def _shape(message: memoryview) -> tuple[int, ...]:
    dimensions = [content(value) for number, value in read_fields(message) if number == 2]
    return tuple(signed(dict(read_fields(dimension)).get(1, 0)) for dimension in dimensions)


def _extents(message: memoryview) -> Slice:
    extents = [dict(read_fields(content(value))) for number, value in read_fields(message) if number == 1]
    # A dimension without a length is taken whole.
    return tuple((signed(extent.get(1, 0)), signed(extent[2]) if 2 in extent else -1) for extent in extents)


def _box(name: str, shape: tuple[int, ...], extents: Slice) -> tuple[slice, ...]:
    """Return the place of a slice within its tensor."""
    if len(extents) != len(shape):
        raise ValueError(
            f"the tensor {name!r} has slices of {len(extents)} dimensions and {len(shape)} of its own"
        )
    box = tuple(
        slice(0, whole) if length == -1 else slice(start, start + length)
        for (start, length), whole in zip(extents, shape, strict=True)
    )
    if any(not 0 <= b.start <= b.stop <= whole for b, whole in zip(box, shape, strict=True)):
        raise ValueError(f"the tensor {name!r} has a slice outside of its shape {list(shape)}")
    return box


def _overlap(box: tuple[slice, ...], other: tuple[slice, ...]) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(box, other, strict=True))


def _name(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the name of the tensor {_shown(key)} is no text") from None


def _shown(key: bytes) -> str:
    return repr(key.decode(errors="backslashreplace"))


def _damaged(name: str) -> ValueError:
    return ValueError(f"the tensor {name!r} is damaged: its checksum doesn't fit; fetch its data file again")
