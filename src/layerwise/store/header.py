"""The header of a safetensors file: which tensors there are, and at which bytes.

Eight bytes of length, little-endian, a JSON object padded with spaces to a multiple of 64 bytes in all, then
the tensors without gaps: a tensor (rows, width) per layer; for int8 the scales (rows,) come before them.
"""

import json
from dataclasses import dataclass
from typing import Any, BinaryIO

from layerwise._util.guarded import INT64, JSON_BYTES, TENSORS, parse_json
from layerwise.store.dtypes import SAFETENSORS, itemsize
from layerwise.widths import Widths, width_of

_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_DIMENSIONS = 8  # of a tensor; those of a dataset have two at most


@dataclass(frozen=True, slots=True)
class Span:
    """One tensor: its safetensors type, its shape, and the bytes [start, end) of the data that it takes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def scale_name(layer: str) -> str:
    """Return the name of the tensor that holds the int8 scales of a layer."""
    return f"{layer}.scale"


def plan(layers: tuple[str, ...], rows: int, widths: Widths, dtype: str) -> dict[str, Span]:
    """Return the tensors of a shard in the order of the file, bytes counted from the end of the header."""
    spans: dict[str, Span] = {}
    end = 0
    if dtype == "int8":  # first, so that they begin at multiples of four
        for layer in layers:
            spans[scale_name(layer)] = Span("F32", (rows,), end, end + 4 * rows)
            end += 4 * rows
    for layer in layers:
        width = width_of(widths, layer)
        size = rows * width * itemsize(dtype)
        spans[layer] = Span(SAFETENSORS[dtype], (rows, width), end, end + size)
        end += size
    return spans


def header(spans: dict[str, Span]) -> bytes:
    """Return the bytes before the data."""
    entries = {
        name: {"dtype": span.dtype, "shape": list(span.shape), "data_offsets": [span.start, span.end]}
        for name, span in spans.items()
    }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    return len(text).to_bytes(8, "little") + text


def read_header(file: BinaryIO, size: int) -> tuple[dict[str, Span], int]:
    """Return the tensors of a file of `size` bytes, and the byte at which its data begins.

    Raises:
        ValueError: a header that is broken, or doesn't fit the file to the byte.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, JSON_BYTES):
        raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
    try:
        entries = parse_json(file.read(length))
    except ValueError as error:
        raise ValueError(f"its header is no JSON ({error})") from None
    if not isinstance(entries, dict):
        raise ValueError("its header is no JSON object")
    entries.pop("__metadata__", None)
    if len(entries) > TENSORS:
        raise ValueError(f"its header names {len(entries):,} tensors, and at most {TENSORS:,} are read")
    spans = {name: _span(name, entry) for name, entry in entries.items()}
    end = 0
    for name, span in sorted(spans.items(), key=lambda item: (item[1].start, item[1].end)):
        if span.start != end:
            raise ValueError(f"tensor {name!r} begins at byte {span.start:,} of the data, not at {end:,}")
        end = span.end
    if end != size - 8 - length:
        raise ValueError(f"its tensors take {end:,} bytes, and there are {size - 8 - length:,}")
    return spans, 8 + length


def _span(name: str, entry: Any) -> Span:
    try:
        kind, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        # Few dimensions, each of 64 bits, before they are multiplied.
        counts_right = len(shape) <= _DIMENSIONS
        counts_right &= all(type(n) is int and 0 <= n < INT64 for n in (*shape[:_DIMENSIONS], start, end))
        size = _SIZES[kind]
    except (TypeError, KeyError, ValueError):
        counts_right = False
    if not counts_right:
        raise ValueError(f"the entry of tensor {name!r} is {str(entry)[:80]!r}")
    for count in shape:
        size *= count
    if end - start != size:
        raise ValueError(f"tensor {name!r} takes {end - start:,} bytes where its shape needs {size:,}")
    return Span(kind, shape, start, end)
