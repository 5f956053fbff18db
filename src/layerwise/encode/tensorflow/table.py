"""Read a sorted table of strings, the form of the index of a TensorFlow checkpoint.

A table is a list of blocks and a footer of 48 bytes: the places of two blocks (of metadata, and of places), and a
magic number. A block is followed by its type (0: plain, 1: snappy) and the masked CRC-32C of both. It holds entries:
lengths of the shared and of the other part of the key and of the value, the other part of the key, and the value. The
values in the block of places are the places of the blocks of entries.

Source: LevelDB, doc/table_format.md; TensorFlow, tsl/lib/io/table.cc.

Memory is bounded by the file: the index has at most `_INDEX_BYTES`, blocks may not overlap, snappy may not expand data
more than 22 times (its longest copy takes 3 bytes for 64), keys have at most `KEY_BYTES` and there are at most `TENSORS`.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from layerwise._util.guarded import TENSORS, check_regular, open_regular, read_bytes
from layerwise.encode.tensorflow.crc32c import crc32c, masked
from layerwise.encode.tensorflow.protobuf import read_varint

KEY_BYTES = 1_000
_INDEX_BYTES = 1 << 25
_FOOTER, _TRAILER = 48, 5
_MAGIC = 0xDB4775248B80FB57
_PLAIN, _SNAPPY = 0, 1
_EXPANSION = 22


def is_table(path: Path) -> bool:
    """Return whether a file ends as a table does."""
    with open_regular(path) as file:
        file.seek(max(0, check_regular(path) - 8))
        return int.from_bytes(file.read(), "little") == _MAGIC


def read_table(path: Path) -> dict[bytes, memoryview]:
    """Return the entries of a table by their keys, in order.

    Raises:
        OSError: the file can't be read.
        ValueError: no table, or a damaged one, naming the block.
    """
    data = memoryview(read_bytes(path, _INDEX_BYTES))
    if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise ValueError("it is no index of a TensorFlow checkpoint, or its end is missing")
    position = len(data) - _FOOTER
    numbers = []
    for _ in range(4):
        number, position = _integer(data, position, "the footer")
        numbers.append(number)
    body = data[: len(data) - _FOOTER]
    _block(body, numbers[0], numbers[1], "of metadata")
    places = _block(body, numbers[2], numbers[3], "of places")
    entries: dict[bytes, memoryview] = {}
    end = 0
    for _, handle in _entries(places, "the block of places"):
        begin, position = _integer(handle, 0, "the block of places")
        length, _ = _integer(handle, position, "the block of places")
        if begin < end:
            raise ValueError(f"the block at byte {begin} begins within another one")
        end = begin + length
        _collect(entries, _block(body, begin, length, "of entries"), f"the block at byte {begin}")
    return entries


def _collect(entries: dict[bytes, memoryview], block: memoryview, where: str) -> None:
    last = next(reversed(entries), None)
    for key, value in _entries(block, where):
        if last is not None and key <= last:
            raise ValueError(f"{where} has entries out of order")
        if len(entries) >= TENSORS:
            raise ValueError(f"it has more than {TENSORS:,} entries")
        entries[key] = value
        last = key


def _block(body: memoryview, start: int, size: int, kind: str) -> memoryview:
    """Return the content of a block."""
    end = start + size
    where = f"the block {kind} at byte {start}"
    if end + _TRAILER > len(body):
        raise ValueError(f"{where} lies outside of the file, which is cut off or damaged")
    stored = int.from_bytes(body[end + 1 : end + _TRAILER], "little")
    if masked(crc32c(body[start : end + 1])) != stored:
        raise ValueError(f"{where} is damaged: its checksum doesn't fit")
    compression = body[end]
    if compression == _PLAIN:
        return body[start:end]
    if compression == _SNAPPY:
        return _decompressed(body[start:end], where)
    raise ValueError(f"{where} is compressed in the unknown way {compression}")


def _decompressed(block: memoryview, where: str) -> memoryview:
    length, _ = _integer(block, 0, where)
    if length > _EXPANSION * len(block):
        raise ValueError(f"{where} states {length:,} bytes, and snappy can't make them of {len(block):,}")
    try:
        return memoryview(pa.decompress(bytes(block), length, codec="snappy", asbytes=True))
    except (OSError, ValueError):
        raise ValueError(f"{where} can't be decompressed by snappy") from None


def _entries(block: memoryview, where: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yield keys and values of a block."""
    restarts = int.from_bytes(block[-4:], "little") if len(block) >= 4 else len(block)
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError(f"{where} is damaged: its end is missing")
    position, key = 0, b""
    while position < end:
        shared, position = _integer(block, position, where)
        other, position = _integer(block, position, where)
        length, position = _integer(block, position, where)
        if shared > len(key) or shared + other > KEY_BYTES or other + length > end - position:
            raise ValueError(f"{where} is damaged: an entry ends outside of it, or has too long a name")
        key = key[:shared] + bytes(block[position : position + other])
        position += other
        yield key, block[position : position + length]
        position += length


def _integer(data: memoryview, position: int, where: str) -> tuple[int, int]:
    try:
        return read_varint(data, position)
    except ValueError as error:
        raise ValueError(f"{where} is damaged: {error}") from None
