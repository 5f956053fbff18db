"""What a page holds, in few bytes: a word of four bytes, how long the JSON is; the JSON; then the bytes of all arrays.

In the JSON an array is `{dtype, shape, at}`: from byte `at` on stand the first bytes of all its numbers, then the
second ones, and so on (little-endian). Alike bytes side by side are what deflate makes short.

Texts are `{letters, lengths, codes}`, three arrays: code points, the most frequent first; how many letters each text
has; and for each letter its place in `letters`. Places below 224 are one byte, below 8,160 two, `224 + high, low` of
what is left, and others four: 255, and the place in three. Deflate then makes Chinese a fifth shorter than of UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ONE = 224  # places that are one byte
_POINTS = 0x110000  # code points that there are
_TWO = ONE + (255 - ONE) * 256


class Packing:
    """Takes arrays in, one after the other; `packed` puts them behind the JSON that names them."""

    def __init__(self) -> None:
        self._planes: list[bytes] = []
        self._size = 0

    def array(self, array: Array) -> dict[str, Any]:
        """Return what stands for an array in the JSON."""
        made = narrow(array)
        planes = made.reshape(-1, 1).view(np.uint8).T.tobytes()
        found = {"dtype": made.dtype.name, "shape": list(made.shape), "at": self._size}
        self._planes.append(planes)
        self._size += len(planes)
        return found

    def packed(self, data: Any) -> bytes:
        """Return the JSON of data and all arrays that were taken in."""
        told = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
        return b"".join([len(told).to_bytes(4, "little"), told, *self._planes])


def narrow(array: Array) -> Array:
    """Return an array of a type that JavaScript has, none wider than need be; little-endian, in order."""
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    elif array.dtype.kind == "b":
        array = array.astype(np.uint8)
    elif array.dtype.kind == "u" and array.size and array.max() < 1 << 16 and array.itemsize > 2:
        array = array.astype(np.uint16)
    elif array.itemsize == 8:
        array = array.astype(np.float64)  # JavaScript counts in them
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def letters(texts: Sequence[str]) -> dict[str, Array]:
    """Return texts as three arrays; the module says how."""
    counts = np.zeros(_POINTS, np.int64)
    for block in _blocks(texts):
        counts += np.bincount(block, minlength=_POINTS)
    there = np.flatnonzero(counts)
    points = there[np.argsort(-counts[there], kind="stable")].astype(np.uint32)
    places = np.zeros(_POINTS, np.uint32)
    places[points] = np.arange(len(points))
    return {
        "letters": points,
        "lengths": np.array([len(text) for text in texts], np.uint32),
        "codes": np.concatenate([_codes(places[block]) for block in _blocks(texts)]),
    }


def _blocks(texts: Sequence[str]) -> Iterator[Array]:
    """Yield the code points of some texts at a time; half surrogate pairs are points too."""
    for begin in range(0, len(texts), 1000):
        joined = "".join(texts[begin : begin + 1000])
        yield np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4")


def _codes(places: Array) -> Array:
    sizes = np.where(places < ONE, 1, np.where(places < _TWO, 2, 4))
    starts = np.cumsum(sizes) - sizes
    out = np.empty(int(sizes.sum()), np.uint8)
    one, two, four = (sizes == size for size in (1, 2, 4))
    out[starts[one]] = places[one]
    rest = places[two] - ONE
    out[starts[two]], out[starts[two] + 1] = ONE + (rest >> 8), rest & 255
    out[starts[four]] = 255
    for byte in (1, 2, 3):
        out[starts[four] + byte] = places[four] >> (8 * (3 - byte)) & 255
    return out
