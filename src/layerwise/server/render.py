"""Write vectors in the formats of answers: JSON, base64, npy, safetensors, and Arrow streams, in parts of bounded size."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.transforms import Codes

_NUMBERS = 1 << 18  # numbers of a part, 1 MiB
_SAFETENSORS = {"float32": "F32", "int8": "I8", "uint8": "U8"}
_PLAIN = csv.WriteOptions(include_header=False)


def check_finite(values: Codes) -> Codes:
    """Return `values` (rows, …) after checking that JSON can hold them.

    Raises:
        RequestError: with the first row that has a number that isn't finite.
    """
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise RequestError(f"row {int(np.argmin(finite))} has numbers that aren't finite; leave its text out")
    return values


def json_rows(values: Codes) -> list[bytes]:
    """Return each row of (rows, width) as a JSON list; float32 with the fewest digits that give the same number."""
    rows, width = check_finite(values).shape
    sink = io.BytesIO()
    csv.write_csv(pa.table({"": values.reshape(-1)}), sink, _PLAIN)
    numbers = sink.getvalue().split(b"\n")
    return [b"[" + b",".join(numbers[row * width : (row + 1) * width]) + b"]" for row in range(rows)]


def json_matrix(values: Codes) -> bytes:
    """Return (rows, width) as a JSON list of lists."""
    return b"[" + b",".join(json_rows(values)) + b"]"


def base64_rows(values: Codes) -> list[bytes]:
    """Return each row as base64 of little-endian float32, in quotes."""
    little = np.ascontiguousarray(check_finite(values), dtype="<f4")
    return [b'"' + base64.b64encode(row.tobytes()) + b'"' for row in little]


def arrow_parts(
    index: pa.Table, vectors: Mapping[str, Codes], metadata: Mapping[str, str]
) -> Iterator[bytes]:
    """Yield an Arrow stream: the columns of the index, and a column of fixed-size lists for each name of `vectors`.

    A record batch has rows of about 1 MiB per column; `metadata` stands in the schema.
    """
    widths = {name: values.shape[1] for name, values in vectors.items()}
    kinds = {name: pa.from_numpy_dtype(values.dtype) for name, values in vectors.items()}
    columns = [pa.field(name, pa.list_(kinds[name], width)) for name, width in widths.items()]
    schema = pa.schema([*index.schema, *columns], metadata=dict(metadata))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for rows in _blocks(index.num_rows, max(widths.values())):
            arrays = [index[name].slice(rows.start, rows.stop - rows.start) for name in index.column_names]
            arrays += [_lists(values[rows]) for values in vectors.values()]
            writer.write_table(pa.table(arrays, schema=schema).combine_chunks())
            yield _drained(sink)
    yield _drained(sink)


def npy_parts(layers: Mapping[str, F32]) -> Iterator[bytes]:
    """Yield a npy file of (layers, rows, width), float32; of one layer too."""
    first = next(iter(layers.values()))
    header = io.BytesIO()
    shape = (len(layers), *first.shape)
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    yield header.getvalue()
    for values in layers.values():
        yield from _bytes(values)


def npy_matrix(values: Codes) -> Iterator[bytes]:
    """Yield a npy file of (rows, width), of the type of the vectors."""
    header = io.BytesIO()
    kind = values.dtype.newbyteorder("<").str
    np.lib.format.write_array_header_1_0(
        header, {"descr": kind, "fortran_order": False, "shape": values.shape}
    )
    yield header.getvalue()
    yield from _bytes(values)


def safetensors_parts(tensors: Mapping[str, Codes], metadata: Mapping[str, str]) -> Iterator[bytes]:
    """Yield a safetensors file: its header, and each tensor."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    begin = 0
    for name, values in tensors.items():
        end = begin + values.nbytes
        kind = _SAFETENSORS[values.dtype.name]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for values in tensors.values():
        yield from _bytes(values)


def _bytes(values: Codes) -> Iterator[bytes]:
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    for rows in _blocks(len(little), little.shape[1]):
        yield little[rows].tobytes()


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _NUMBERS // max(1, width))
    return (slice(begin, min(begin + step, rows)) for begin in range(0, rows, step))


def _lists(values: Codes) -> pa.Array[Any]:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _drained(sink: io.BytesIO) -> bytes:
    """Return what was written, and empty the buffer."""
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return written
