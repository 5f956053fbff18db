"""CRC-32C of large arrays with numpy, and the masked form in which TensorFlow stores it.

A CRC is a remainder of polynomials over GF(2), and therefore linear. The 32-bit words of the data are divided among
`_LANES` remainders: the words of a row advance all of them at once, by two table lookups each. At the end the remainders
are combined in pairs.

Source: RFC 3720, appendix B.4 (polynomial and test vectors); LevelDB, util/crc32c.h (masking).
"""

from functools import cache

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
_POLYNOMIAL = 0x82F63B78  # with the lowest bit first
_LANE_BITS = 14
_LANES = 1 << _LANE_BITS
_ROW = 4 * _LANES  # bytes
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes | memoryview | npt.NDArray[np.uint8], start: int = 0) -> int:
    """Return the CRC-32C of `data`, continuing from `start`, the CRC of the bytes before."""
    raw = np.frombuffer(data, np.uint8)
    length = len(raw) % _ROW
    padded = np.zeros(_ROW + 4, np.uint8)
    # Leading zeros don't change a remainder that is zero; the start of the data carries the initial remainder.
    padded[_ROW - length : _ROW] = raw[:length]
    initial = np.array([start ^ _ONES], "<u4").view(np.uint8)
    if length < 4:
        return _short(raw, start) if len(raw) < _ROW else _long(raw, padded[:_ROW], initial)
    padded[_ROW - length : _ROW - length + 4] ^= initial
    state = _rows(np.zeros(_LANES, np.uint32), padded[:_ROW])
    return _combined(_rows(state, raw[length:]))


def _long(raw: npt.NDArray[np.uint8], padded: npt.NDArray[np.uint8], initial: npt.NDArray[np.uint8]) -> int:
    """Return the CRC of data of at least a row whose first, partial row is shorter than a word."""
    length = len(raw) % _ROW
    second = raw[length : length + _ROW].copy()
    split = min(length, 4)
    padded[_ROW - length : _ROW - length + split] ^= initial[:split]
    second[: 4 - split] ^= initial[split:]
    state = _rows(np.zeros(_LANES, np.uint32), padded)
    state = _rows(state, second)
    return _combined(_rows(state, raw[length + _ROW :]))


def masked(crc: int) -> int:
    """Return the form in which TensorFlow stores a CRC."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & _ONES


def _short(raw: npt.NDArray[np.uint8], start: int) -> int:
    """Return the CRC of a few bytes, bit by bit."""
    state = start ^ _ONES
    for byte in raw.tolist():
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (_POLYNOMIAL if state & 1 else 0)
    return state ^ _ONES


def _rows(state: Words, data: npt.NDArray[np.uint8]) -> Words:
    """Return the remainders of the lanes after whole rows of data; changes `state`."""
    low, high = _tables(_LANE_BITS)
    halves = state.view("<u2")  # of each word, the low half first
    first, second = np.empty_like(state), np.empty_like(state)
    for begin in range(0, len(data), _ROW):
        np.take(low, halves[0::2], out=first, mode="wrap")
        np.take(high, halves[1::2], out=second, mode="wrap")
        np.bitwise_xor(first, second, out=state)
        np.bitwise_xor(state, data[begin : begin + _ROW].view("<u4"), out=state)
    return state


def _combined(state: Words) -> int:
    """Return the CRC for the remainders of all lanes."""
    for power in reversed(range(_LANE_BITS)):
        state = _advanced(state[: 1 << power], power) ^ state[1 << power :]
    return int(_advanced(state, 0)[0]) ^ _ONES


def _advanced(words: Words, power: int) -> Words:
    """Return remainders after 2**power words of zeros."""
    low, high = _tables(power)
    combined: Words = low[words & 0xFFFF] ^ high[words >> 16]
    return combined


@cache
def _tables(power: int) -> tuple[Words, Words]:
    """Return the remainders, after 2**power words of zeros, of all low and of all high halves of a word."""
    halves = np.arange(1 << 16, dtype=np.uint32)
    matrix = _matrix(power)
    return _product(matrix, halves), _product(matrix, halves << np.uint32(16))


@cache
def _matrix(power: int) -> Words:
    """Return the remainders, after 2**power words of zeros, of the 32 words of a single bit."""
    if power:
        half = _matrix(power - 1)
        return _product(half, half)
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(32):
        bits = (bits >> np.uint32(1)) ^ (bits & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return bits


def _product(matrix: Words, words: Words) -> Words:
    """Return words, each a vector over GF(2), times a matrix of the images of the 32 bits."""
    result = np.zeros_like(words)
    for bit, image in enumerate(matrix):
        result ^= ((words >> bit) & 1) * image
    return result
