"""Stored types: conversion of float32 to the numbers on disk and back, and the error of that.

float16 and bfloat16 round to nearest, ties to even. int8 is symmetric with a scale per row and layer,
max |v| / 127, so a code is v / scale rounded. Written values are always finite; read values are returned without a check.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.row_codes import int8_rows
from layerwise.arguments import argument
from layerwise.array_types import F32
from layerwise.choices import DTYPES, one_of
from layerwise.errors import OutputError

Codes = NDArray[Any]
DecodeJob = tuple[F32, Codes, F32 | None]
"""Where decoded values go (rows, width), their codes (rows, width), and the scales (rows,) of int8."""

NUMPY = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int8": "|i1"}
SAFETENSORS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8"}
_LARGEST = {"float16": 65504.0, "bfloat16": float(np.array(0x7F7F0000, np.uint32).view(np.float32))}
_BLOCK = 3 << 16  # values that a core's cache holds through the passes over them
_CHUNK = 1 << 21  # values; for fewer a thread isn't worth its cost
_SIGN_AND_REST = np.array(0x8FFFE000, np.uint32).view(np.int32)
_REBIAS = np.float32(2.0**112)
_ENDLESS = 65_536  # beyond the largest number of float16


def itemsize(dtype: str) -> int:
    """Return the bytes of one stored number."""
    return np.dtype(NUMPY[one_of("dtype", dtype, DTYPES)]).itemsize


def encode(values: F32, dtype: str, layer: str) -> tuple[Codes, F32 | None]:
    """Return `values`, float32 (rows, width), as they are stored, and the scales (rows,) of int8.

    bfloat16 comes as its bits in uint16.

    Raises:
        OutputError: a value that isn't finite, or too large for `dtype`; names `layer` and the value.
    """
    _refuse_misfits(values, dtype, layer)
    if dtype == "float16":
        return values.astype("<f2"), None
    if dtype == "bfloat16":
        return _to_bfloat16(values), None
    if dtype == "int8":
        return int8_rows(values)
    return values.astype("<f4", copy=False), None


def _refuse_misfits(values: F32, dtype: str, layer: str) -> None:
    if not values.size:
        return
    low, high = values.min(), values.max()
    largest = _LARGEST.get(dtype, np.inf)
    if -largest <= low and high <= largest and np.isfinite(low) and np.isfinite(high):
        return
    odd = values[~np.isfinite(values)]
    if len(odd):
        what = f"layer {layer} holds {odd[0]}, which {argument('dtype', dtype)} can't hold, and no other stored type can"
        raise OutputError(
            f"{what}: the model itself gave it; try {argument('precision', 'fp32')} or another model"
        )
    worst = float(high if high > -low else low)
    fitting = ["float32", *(["bfloat16"] if abs(worst) <= _LARGEST["bfloat16"] else [])]
    choices = " or ".join(argument("dtype", name) for name in fitting)
    what = f"layer {layer} holds {worst:.6g}, too large for {argument('dtype', dtype)} (up to {largest:.6g})"
    raise OutputError(f"{what}; use {choices}, in another {argument('out')}")


def _to_bfloat16(values: F32) -> Codes:
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits >> 16) & 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    return rounded.astype("<u2")


def decode(codes: Codes, scales: F32 | None, dtype: str) -> F32:
    """Return stored numbers (rows, width) as a new float32 array (rows, width)."""
    out = np.empty(codes.shape, np.float32)
    _decode_into(out, codes, scales, dtype)
    return out


def decode_all(jobs: Iterable[DecodeJob], dtype: str) -> None:
    """Fill every job's output from its codes, with two or more threads where there is much to do."""
    chunks = [chunk for job in jobs for chunk in _cut(job, _CHUNK)]
    workers = min(4, os.cpu_count() or 1, len(chunks))
    if workers < 2:
        for out, codes, scales in chunks:
            _decode_into(out, codes, scales, dtype)
        return
    with ThreadPoolExecutor(workers) as pool:  # numpy releases the interpreter's lock in these passes
        for done in [pool.submit(_decode_into, out, codes, scales, dtype) for out, codes, scales in chunks]:
            done.result()


def _cut(job: DecodeJob, size: int) -> Iterable[DecodeJob]:
    out, codes, scales = job
    step = max(1, size // max(1, out.shape[1]))
    for start in range(0, len(out), step):
        part = slice(start, start + step)
        yield out[part], codes[part], None if scales is None else scales[part]


def _decode_into(out: F32, codes: Codes, scales: F32 | None, dtype: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # damaged files hold any bits
        for block_out, block, block_scales in _cut((out, codes, scales), _BLOCK):
            if dtype == "float16":
                _from_float16(block_out, block)
            elif dtype == "bfloat16":
                bits = block_out.view(np.uint32)
                bits[...] = block
                np.left_shift(bits, 16, out=bits)
            elif block_scales is not None:
                np.multiply(block, block_scales[:, None], out=block_out)
            else:
                block_out[...] = block


def _from_float16(out: F32, codes: Codes) -> None:
    # Faster than numpy's own conversion: move exponent and fraction into place, keep the sign, and correct the
    # exponent's bias by a product, which is exact for every finite value, subnormal ones included.
    bits = out.view(np.int32)
    bits[...] = codes.view("<i2")
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _SIGN_AND_REST, out=bits)
    np.multiply(out, _REBIAS, out=out)
    # Infinity and NaN have become finite numbers beyond the range of float16.
    if out.size and max(out.max(), -out.min()) >= _ENDLESS:
        np.copyto(out, codes, where=np.abs(out) >= _ENDLESS)


def losses(values: F32, codes: Codes, scales: F32 | None, dtype: str) -> tuple[float, float]:
    """Return what storing lost: the largest |a - b|, and the largest over rows of that / max(1, max |b|).

    b is a row of `values` (rows, width), a the same row as it is read back.
    """
    if dtype == "float32" or not values.size:
        return 0.0, 0.0
    differences = decode(codes, scales, dtype)
    differences -= values
    by_row = np.maximum(differences.max(axis=1), -differences.min(axis=1))
    sizes = np.maximum(values.max(axis=1), -values.min(axis=1))
    return float(by_row.max()), float((by_row / np.maximum(1, sizes)).max())
