"""Parse the footer of a Parquet file ourselves: Arrow aborts the process on some damaged footers.

The footer is a struct in Thrift's compact protocol, see the format's parquet.thrift.
"""

from typing import Any, NamedTuple

_BYTES = 1 << 26  # of a footer
_DEPTH = 16
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_ENCODINGS = {2: "PLAIN_DICTIONARY", 7: "DELTA_BYTE_ARRAY", 8: "RLE_DICTIONARY"}


class Chunk(NamedTuple):
    """A column in a row group.

    Attributes:
        column: its number among the leaves of the schema.
        path: its name; for a nested column the names from the outermost, separated by dots.
        encodings: those that determine how large its strings become.
        values: the number of values.
        size, compressed: its bytes after decompression, and in the file.
    """

    column: int
    path: str
    encodings: frozenset[str]
    values: int
    size: int
    compressed: int


def chunks(file: Any) -> list[Chunk]:
    """Return the column chunks of all row groups of an open Parquet file.

    Raises:
        ValueError: a footer that is damaged or too large.
    """
    size = file.seek(0, 2)
    size = file.tell() if size is None else size
    file.seek(max(0, size - 8))
    length = int.from_bytes(file.read(8)[:4], "little")
    if length > min(size - 8, _BYTES):
        raise ValueError(f"it has a footer of {length:,} bytes")
    file.seek(size - 8 - length)
    try:
        whole = _Compact(file.read(length)).struct(0)
        groups = whole.get(4, [])
        return [_chunk(number, chunk[3]) for group in groups for number, chunk in enumerate(group[1])]
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("its footer is damaged") from error


def _chunk(number: int, entry: dict[int, Any]) -> Chunk:
    path = b".".join(entry[3]).decode("utf-8", "replace")
    counts = [int(entry[field]) for field in (5, 6, 7)]
    if min(counts) < 0:
        raise ValueError(f"its column {path[:60]!r} has {min(counts):,} values or bytes")
    encodings = frozenset(_ENCODINGS[kind] for kind in entry[2] if kind in _ENCODINGS)
    return Chunk(number, path, encodings, *counts)


class _Compact:
    """Parser of the compact protocol; a struct becomes a mapping from field numbers to values."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ValueError("its footer holds a number of more than 64 bits")

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _bytes(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise IndexError
        self._at += count
        return self._data[self._at - count : self._at]

    def struct(self, depth: int) -> dict[int, Any]:
        """Return a struct; `depth` is the number of values around it."""
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in (_I16, _I32, _I64):
            return self._signed()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BINARY:
            return self._bytes(self._varint())
        if depth >= _DEPTH:
            raise ValueError("its footer is nested too deeply")
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        raise ValueError(f"its footer holds a value of the kind {kind}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count = self._varint() if head >> 4 == 15 else head >> 4
        if count > len(self._data) - self._at:  # each item takes at least one byte
            raise IndexError
        return [self._value(head & 15, depth) for _ in range(count)]
