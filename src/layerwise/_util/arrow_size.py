"""The size of an Arrow batch in memory, from its header, before its buffers are decompressed.

A compressed buffer begins with the number of bytes that it becomes; a few bytes in a file can claim gigabytes. The header
is a FlatBuffers table, of which only the places of the buffers are read (https://arrow.apache.org/docs/format/Columnar.html).
"""

import struct
from typing import Any

# A larger batch may become at most `_MOST_TIMES` as large as it is.
_LARGE, _MOST_TIMES = 1 << 28, 1_000
_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2
_HEADER_TYPE, _HEADER = 1, 2  # fields of a message
_DATA = 1  # of a dictionary batch
_BUFFERS, _COMPRESSION = 2, 3  # of a record batch
_DICTIONARIES, _BATCHES = 2, 3  # of a footer
_BLOCK = "<qi4xq"
_MAGIC = b"ARROW1"


class _FlatTable:
    """A table of FlatBuffers."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position
        self._fields = position - struct.unpack_from("<i", data, position)[0]
        self._size = struct.unpack_from("<H", data, self._fields)[0]

    def _at(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._size:
            return None
        offset = struct.unpack_from("<H", self._data, self._fields + entry)[0]
        return self._position + offset if offset else None

    def byte(self, field: int) -> int:
        position = self._at(field)
        return 0 if position is None else self._data[position]

    def table(self, field: int) -> "_FlatTable | None":
        position = self._at(field)
        if position is None:
            return None
        return _FlatTable(self._data, position + struct.unpack_from("<I", self._data, position)[0])

    def structs(self, field: int, form: str) -> list[tuple[int, ...]]:
        """Return the structs of a vector field, each laid out as `form` (see `struct`); empty if it is absent.

        Raises:
            ValueError: the vector is longer than the header.
        """
        position = self._at(field)
        if position is None:
            return []
        position += struct.unpack_from("<I", self._data, position)[0]
        size = struct.calcsize(form) * struct.unpack_from("<I", self._data, position)[0]
        if size > len(self._data):
            raise ValueError("its header is damaged")
        return list(struct.iter_unpack(form, self._data[position + 4 : position + 4 + size]))


def check_message(message: Any) -> None:
    """Check that the buffers of a message of a stream don't become implausibly large.

    Raises:
        ValueError: they do, or the header is damaged.
    """
    _check(message.metadata.to_pybytes(), message.body)


def check_block(file: Any, block: tuple[int, ...]) -> None:
    """Check the message at a place that the footer of a file names; errors as `check_message`.

    Args:
        file: the open file.
        block: the place of the message, the bytes of its header, and those of its body.
    """
    offset, header_size, body_size = block
    if min(block) < 0 or offset + header_size + body_size > file.size() or header_size < 8:
        raise ValueError("its footer is damaged")
    file.seek(offset)
    header = file.read(header_size)
    # A continuation mark may stand before the length of the header.
    _check(header[8 if header.startswith(b"\xff" * 4) else 4 :], file.read_buffer(body_size))


def blocks(file: Any) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return the places of the dictionaries, and of the batches, that the footer of a file names.

    Raises:
        ValueError: the footer is damaged.
    """
    size = file.size()
    file.seek(max(0, size - 10))
    end = file.read(10)
    length = struct.unpack("<i", end[:4])[0] if end.endswith(_MAGIC) and len(end) == 10 else -1
    if not 0 < length <= size - 10:
        raise ValueError("it has no footer; it may be cut off")
    file.seek(size - 10 - length)
    footer = file.read(length)
    try:
        table = _FlatTable(footer, struct.unpack_from("<I", footer, 0)[0])
        return table.structs(_DICTIONARIES, _BLOCK), table.structs(_BATCHES, _BLOCK)
    except struct.error as error:
        raise ValueError("its footer is damaged") from error


def _check(header: bytes, body: Any) -> None:
    if body is None:
        return
    try:
        size = _size(header, body)
    except (struct.error, IndexError) as error:
        raise ValueError("its header is damaged") from error
    if size > max(_LARGE, _MOST_TIMES * body.size):
        raise ValueError(
            f"a batch becomes {size:,} bytes of {body.size:,}; beyond {_LARGE:,} at most {_MOST_TIMES:,} times as many "
            "are read"
        )


def _size(header: bytes, body: Any) -> int:
    root = _FlatTable(header, struct.unpack_from("<I", header, 0)[0])
    table = root.table(_HEADER)
    if root.byte(_HEADER_TYPE) == _DICTIONARY_BATCH and table is not None:
        table = table.table(_DATA)
    if table is None or root.byte(_HEADER_TYPE) not in (_RECORD_BATCH, _DICTIONARY_BATCH):
        return 0
    if table.table(_COMPRESSION) is None:
        return 0
    size = 0
    for offset, length in table.structs(_BUFFERS, "<qq"):
        if length < 8:
            continue
        if not 0 <= offset <= body.size - 8:
            raise ValueError("its header is damaged")
        size += max(length, struct.unpack("<q", body.slice(offset, 8).to_pybytes())[0])
    return size
