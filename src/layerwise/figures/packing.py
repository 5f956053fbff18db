"""The compact data format of the page: four bytes with the length of the JSON; the JSON; the bytes of all arrays.

In the JSON an array is `{dtype, shape, at}`: from byte `at` on follow the first bytes of all its numbers, then the
second bytes, and so on (little-endian). Deflate compresses well when similar bytes are side by side.

Texts are `{letters, lengths, codes}`, three arrays: code points, the most frequent first; the number of letters of
each text; and for each letter its place in the first array. A place below 224 is one byte; one below 8,160 is two bytes,
`224 + high, low` of place - 224; any other is four: 255, and the place in three bytes. Deflated like this, Chinese is
a fifth shorter than as UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_ONE_BYTE = 224  # places below this are one byte
_POINTS = 0x110000  # number of Unicode code points
_TWO_BYTES = _ONE_BYTE + (255 - _ONE_BYTE) * 256


class ArrayPacker:
    """Collect arrays; `packed` appends them to the JSON that refers to them."""

    def __init__(self) -> None:
        self._planes: list[bytes] = []
        self._size = 0

    def array(self, array: Array) -> dict[str, Any]:
        """Add an array and return its entry for the JSON."""
        narrowed = narrow(array)
        planes = narrowed.reshape(-1, 1).view(np.uint8).T.tobytes()
        entry = {"dtype": narrowed.dtype.name, "shape": list(narrowed.shape), "at": self._size}
        self._planes.append(planes)
        self._size += len(planes)
        return entry

    def packed(self, data: Any) -> bytes:
        """Return the JSON of data, followed by all arrays that were added."""
        header = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
        return b"".join([len(header).to_bytes(4, "little"), header, *self._planes])


def narrow(array: Array) -> Array:
    """Return an array in the narrowest suitable type that JavaScript has; little-endian, contiguous."""
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype.kind == "b":
        array = array.astype(np.uint8)
    elif array.dtype.kind == "u" and array.size and array.max() < 1 << 16 and array.itemsize > 2:
        array = array.astype(np.uint16)
    elif array.itemsize == 8:
        array = array.astype(np.float64)  # JavaScript's numbers are float64
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def letters(texts: Sequence[str]) -> dict[str, Array]:
    """Return texts as three arrays; the module's docstring defines them."""
    counts = np.zeros(_POINTS, np.int64)
    for block in _blocks(texts):
        counts += np.bincount(block, minlength=_POINTS)
    used = np.flatnonzero(counts)
    points = used[np.argsort(-counts[used], kind="stable")].astype(np.uint32)
    places = np.zeros(_POINTS, np.uint32)
    places[points] = np.arange(len(points))
    return {
        "letters": points,
        "lengths": np.array([len(text) for text in texts], np.uint32),
        "codes": np.concatenate([_codes(places[block]) for block in _blocks(texts)]),
    }


def _blocks(texts: Sequence[str]) -> Iterator[Array]:
    """Yield the code points of 1,000 texts at a time; unpaired surrogates are code points too."""
    for begin in range(0, len(texts), 1000):
        joined = "".join(texts[begin : begin + 1000])
        yield np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4")


def _codes(places: Array) -> Array:
    sizes = np.where(places < _ONE_BYTE, 1, np.where(places < _TWO_BYTES, 2, 4))
    starts = np.cumsum(sizes) - sizes
    codes = np.empty(int(sizes.sum()), np.uint8)
    one_byte, two_bytes, four_bytes = (sizes == size for size in (1, 2, 4))
    codes[starts[one_byte]] = places[one_byte]
    rest = places[two_bytes] - _ONE_BYTE
    codes[starts[two_bytes]], codes[starts[two_bytes] + 1] = _ONE_BYTE + (rest >> 8), rest & 255
    codes[starts[four_bytes]] = 255
    for byte in (1, 2, 3):
        codes[starts[four_bytes] + byte] = places[four_bytes] >> (8 * (3 - byte)) & 255
    return codes
