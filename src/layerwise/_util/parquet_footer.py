"""Read the footer of a Parquet file without Arrow, which aborts the process for some damaged footers.

The footer is a struct in Thrift's compact protocol; the fields are defined in parquet.thrift of the format. Whatever
Arrow would read in another way than this module is refused or, as in Arrow, skipped.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_BYTES = 1 << 26  # of a footer
_DEPTH = 16
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
# Numbers and kinds of fields: the row groups of the file, the column chunks of a row group, the metadata of a column
# chunk, and the fields of that metadata that are used: encodings, path, number of values, sizes.
_GROUPS, _COLUMNS, _METADATA = {4: _LIST}, {1: _LIST}, {3: _STRUCT}
_METADATA_FIELDS = {2: _LIST, 3: _LIST, 5: _I64, 6: _I64, 7: _I64}
_INTEGERS, _STRINGS, _STRUCTS = (_I16, _I32, _I64), (_BINARY,), (_STRUCT,)
# The possible kinds of the items of all lists of parquet.thrift, by the number of the field in the file, a row group, a
# column chunk, and its metadata; a mapping is for a struct that contains lists. Arrow doesn't look at the kind in the file.
_FILE_LISTS = dict.fromkeys((2, 4, 5, 7), _STRUCTS)
_GROUP_LISTS = dict.fromkeys((1, 4), _STRUCTS)
_COLUMN_LISTS = {8: {2: {1: _STRINGS}}}
_METADATA_LISTS = {
    2: _INTEGERS,
    3: _STRINGS,
    8: _STRUCTS,
    13: _STRUCTS,
    16: {2: _INTEGERS, 3: _INTEGERS},
    17: {2: _INTEGERS},
}
_Lists = Mapping[int, Any]
_NO_LISTS: _Lists = {}
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
        for groups in footer.fields(_STRUCT, _GROUPS, _FILE_LISTS):
            for group in footer.items(groups):
                for columns in footer.fields(group, _COLUMNS, _GROUP_LISTS):
                    for number, column in enumerate(footer.items(columns)):
                        entries = [
                            footer.struct(kind, _METADATA_FIELDS, _METADATA_LISTS)
                            for kind in footer.fields(column, _METADATA, _COLUMN_LISTS)
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

    def fields(
        self, kind: int, kinds: Mapping[int, int], lists: _Lists = _NO_LISTS, depth: int = 0
    ) -> Iterator[int]:
        """Yield the kind of each requested field of a struct; the caller must read its value before the next one.

        Args:
            kind: the kind of the struct.
            kinds: the requested fields and their kinds; a field of another kind is skipped, as Thrift does.
            lists: the fields that are lists or contain lists.
            depth: the number of structs and lists around it that are skipped.
        """
        for _, kind_of_field in self._requested(kind, kinds, lists, depth):
            yield kind_of_field

    def items(self, kind: int) -> Iterator[int]:
        """Yield the kind of each item of a list; the caller must read the item before the next one."""
        count, inner = self._length(kind)
        for _ in range(count):
            yield inner

    def struct(self, kind: int, kinds: Mapping[int, int], lists: _Lists) -> dict[int, Any]:
        """Return the requested fields of a struct (numbers, strings, or lists of these) by field number."""
        requested = self._requested(kind, kinds, lists, 0)
        return {number: self._value(kind_of_field) for number, kind_of_field in requested}

    def _requested(
        self, kind: int, kinds: Mapping[int, int], lists: _Lists, depth: int
    ) -> Iterator[tuple[int, int]]:
        """Yield the number and the kind of each requested field of a struct; skip the others."""
        numbers = set()
        for number, kind_of_field in self._heads(kind, depth):
            inner = lists.get(number)
            if kind_of_field == _LIST and isinstance(inner, tuple):
                self._check_items(inner)
            if kinds.get(number) == kind_of_field:
                if number in numbers:
                    raise ValueError(f"its footer repeats the field {number}")
                numbers.add(number)
                yield number, kind_of_field
            elif kind_of_field not in (_TRUE, _FALSE):
                self._skip(kind_of_field, depth, inner if isinstance(inner, Mapping) else _NO_LISTS)

    def _check_items(self, kinds: tuple[int, ...]) -> None:
        """Raise ValueError for a list, unless it is empty, whose items are of none of some kinds."""
        head = self._data[self._at]
        if head >> 4 and head & 15 not in kinds:
            raise ValueError(f"its footer has a list with items of the kind {head & 15}")

    def _heads(self, kind: int, depth: int) -> Iterator[tuple[int, int]]:
        """Yield the number and the kind of each field of a struct; the kind of a boolean field is its value."""
        if kind != _STRUCT:
            raise TypeError
        if depth >= _DEPTH:
            raise ValueError("its footer is nested too deeply")
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            if not -(1 << 15) <= number < 1 << 15:  # Thrift keeps 16 bits of it
                raise ValueError(f"its footer has a field {number}")
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

    def _skip(self, kind: int, depth: int, lists: _Lists = _NO_LISTS) -> None:
        """Skip a value; `lists` are the fields of a struct that are lists or contain lists."""
        if kind in (_TRUE, _FALSE, _BYTE):
            self._bytes(1)
        elif kind in (_I16, _I32, _I64):
            self._varint()
        elif kind == _DOUBLE:
            self._bytes(8)
        elif kind == _BINARY:
            self._bytes(self._varint())
        elif kind == _STRUCT:
            for _ in self.fields(kind, {}, lists, depth + 1):
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
