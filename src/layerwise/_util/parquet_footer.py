"""Read the footer of a Parquet file without Arrow, which aborts the process for some damaged footers.

The footer is a struct in Thrift's compact protocol; the fields are defined in parquet.thrift of the format.
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

_BYTES = 1 << 26  # of a footer
_DEPTH = 16
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
# Numbers of fields: the row groups of the file, the column chunks of a row group, the metadata of a column chunk, and
# the fields of that metadata that are used: encodings, path, number of values, sizes.
_GROUPS, _COLUMNS, _METADATA, _METADATA_FIELDS = (4,), (1,), (3,), (2, 3, 5, 6, 7)
_ENCODINGS = {2: "PLAIN_DICTIONARY", 7: "DELTA_BYTE_ARRAY", 8: "RLE_DICTIONARY"}


class Chunk(NamedTuple):
    """A column chunk: the values of one column in one row group.

    Attributes:
        column: the number of the column among the leaves of the schema.
        path: the name of the column; for a nested column all names from the outermost, separated by dots.
        encodings: the encodings that decide how long its strings become.
        values: the number of values.
        size, compressed: the number of bytes after decompression, and in the file.
    """

    column: int
    path: str
    encodings: frozenset[str]
    values: int
    size: int
    compressed: int


def chunks(file: Any) -> Iterator[Chunk]:
    """Yield the column chunks of all row groups of an open Parquet file; the rest of the footer is skipped.

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
    footer = _Compact(file.read(length))
    try:
        for groups in footer.fields(_STRUCT, _GROUPS):
            for group in footer.items(groups):
                for columns in footer.fields(group, _COLUMNS):
                    for number, column in enumerate(footer.items(columns)):
                        entries = [
                            footer.struct(kind, _METADATA_FIELDS) for kind in footer.fields(column, _METADATA)
                        ]
                        yield _chunk(number, entries[-1])
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
    """Reads values of the compact protocol in sequence; of a struct it keeps only the requested fields."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def fields(self, kind: int, numbers: Collection[int], depth: int = 0) -> Iterator[int]:
        """Yield the kind of each requested field of a struct; the caller must read its value before the next one."""
        for number, kind_of_field in self._heads(kind, depth):
            if number in numbers:
                yield kind_of_field
            elif kind_of_field not in (_TRUE, _FALSE):
                self._skip(kind_of_field, depth)

    def items(self, kind: int) -> Iterator[int]:
        """Yield the kind of each item of a list; the caller must read the item before the next one."""
        count, inner = self._length(kind)
        for _ in range(count):
            yield inner

    def struct(self, kind: int, numbers: Collection[int]) -> dict[int, Any]:
        """Return the requested fields of a struct (numbers, strings, or lists of these) by field number."""
        fields: dict[int, Any] = {}
        for number, kind_of_field in self._heads(kind, 0):
            if number in numbers:
                fields[number] = self._value(kind_of_field)
            elif kind_of_field not in (_TRUE, _FALSE):
                self._skip(kind_of_field, 0)
        return fields

    def _heads(self, kind: int, depth: int) -> Iterator[tuple[int, int]]:
        """Yield the number and the kind of each field of a struct; the kind of a boolean field is its value."""
        if kind != _STRUCT:
            raise TypeError
        if depth >= _DEPTH:
            raise ValueError("its footer is nested too deeply")
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            yield number, head & 15

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

    def _length(self, kind: int) -> tuple[int, int]:
        """Return the number of items of a list, and their kind."""
        if kind not in (_LIST, _SET):
            raise TypeError
        head = self._byte()
        count = self._varint() if head >> 4 == 15 else head >> 4
        if count > len(self._data) - self._at:  # each item takes at least one byte
            raise IndexError
        return count, head & 15

    def _value(self, kind: int) -> Any:
        if kind in (_LIST, _SET):
            return [self._plain(inner) for inner in self.items(kind)]
        return self._plain(kind)

    def _plain(self, kind: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self._signed()
        if kind == _BINARY:
            return self._bytes(self._varint())
        raise TypeError

    def _skip(self, kind: int, depth: int) -> None:
        """Skip a value."""
        if kind in (_TRUE, _FALSE, _BYTE):
            self._bytes(1)
        elif kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _DOUBLE:
            self._bytes(8)
        elif kind == _BINARY:
            self._bytes(self._varint())
        elif kind == _STRUCT:
            for _ in self.fields(kind, (), depth + 1):
                pass
        elif kind in (_LIST, _SET):
            count, inner = self._length(kind)
            if inner in (_TRUE, _FALSE, _BYTE):
                self._bytes(count)
                return
            if depth >= _DEPTH:
                raise ValueError("its footer is nested too deeply")
            for _ in range(count):
                self._skip(inner, depth + 1)
        else:
            raise ValueError(f"its footer holds a value of the kind {kind}")
