"""Read messages of Protocol Buffers by field numbers.

Source: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10
_FIXED = {_FIXED64: 8, _FIXED32: 4}
Value = int | memoryview


def read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return the integer at a position, and the position after it.

    Raises:
        ValueError: the data end within it, or it has more than 64 bits.
    """
    value = 0
    for count, byte in enumerate(data[position : position + _VARINT_BYTES], 1):
        value |= (byte & 0x7F) << (7 * (count - 1))
        if byte < 0x80 and value < 1 << 64:
            return value, position + count
    raise ValueError("an integer is damaged")


def read_fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field: an integer, or the bytes of a string or an inner message.

    Raises:
        ValueError: the data are no message.
    """
    position = 0
    while position < len(message):
        key, position = read_varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = read_varint(message, position)
            yield number, value
            continue
        if kind == _BYTES:
            length, position = read_varint(message, position)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if not number or length > len(message) - position:
            raise ValueError("a field is cut off")
        content = message[position : position + length]
        position += length
        yield number, content if kind == _BYTES else int.from_bytes(content, "little")


def integer(value: Value) -> int:
    """Return the integer of a field.

    Raises:
        ValueError: a field of bytes.
    """
    if not isinstance(value, int):
        raise ValueError("a field that holds an integer holds bytes")
    return value


def signed(value: Value) -> int:
    """Return the signed integer (int64) of a field; errors as `integer`."""
    number = integer(value)
    return number - (1 << 64) if number >> 63 else number


def content(value: Value) -> memoryview:
    """Return the bytes of a field.

    Raises:
        ValueError: a field of an integer.
    """
    if isinstance(value, int):
        raise ValueError("a field that holds bytes holds an integer")
    return value
