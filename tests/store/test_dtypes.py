from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layerwise.array_types import F32
from layerwise.choices import DTYPES
from layerwise.errors import OutputError
from layerwise.store.dtypes import decode, decode_all, encode, losses

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6).filter(lambda shape: shape[1] > 0)


def floats(largest: float) -> st.SearchStrategy[F32]:
    bound = float(np.float32(largest))
    return hnp.arrays(np.float32, SHAPES, elements=st.floats(-bound, bound, width=32))


@given(floats(65504))
@settings(deadline=None)
def test_float16_is_numpys(values: F32) -> None:
    codes, scales = encode(values, "float16", "1")
    assert scales is None
    np.testing.assert_array_equal(codes, values.astype(np.float16))
    np.testing.assert_array_equal(decode(codes, None, "float16"), codes.astype(np.float32))


def test_every_finite_float16_is_decoded_exactly() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    codes = every[np.isfinite(every)].reshape(-1, 64)
    got, want = decode(codes, None, "float16"), codes.astype(np.float32)
    np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))


@given(floats(3e38))
@settings(deadline=None)
def test_bfloat16_is_torchs(values: F32) -> None:
    torch = pytest.importorskip("torch")
    codes, _ = encode(values, "bfloat16", "1")
    theirs = torch.from_numpy(values).bfloat16()
    np.testing.assert_array_equal(codes, theirs.view(torch.int16).numpy().view(np.uint16))
    np.testing.assert_array_equal(decode(codes, None, "bfloat16"), theirs.float().numpy())


def test_bfloat16_rounds_ties_to_even() -> None:
    bits = np.array([[0x3F808000, 0x3F818000, 0x3F808001, 0xBF808000]], np.uint32)
    codes, _ = encode(bits.view(np.float32), "bfloat16", "1")
    assert [hex(code) for code in codes[0]] == ["0x3f80", "0x3f82", "0x3f81", "0xbf80"]


@given(floats(1e30))
@settings(deadline=None)
def test_int8_is_within_half_a_step_of_its_scale(values: F32) -> None:
    codes, scales = encode(values, "int8", "1")
    assert scales is not None
    assert codes.dtype == np.int8
    largest = np.abs(values).max(axis=1) if values.size else np.zeros(len(values))
    np.testing.assert_array_equal(scales, (largest / np.float32(127)).astype(np.float32))
    assert codes.size == 0 or codes.min() >= -127
    # a subnormal scale has few digits of its own
    off = np.abs(decode(codes, scales, "int8").astype(np.float64) - values)
    assert (off <= 0.5 * scales[:, None].astype(np.float64) * (1 + 1e-4) + 128 * 1.5e-45).all()


def test_a_zero_row_in_int8_has_scale_0() -> None:
    codes, scales = encode(np.array([[0, 0], [1, -2]], np.float32), "int8", "1")
    assert scales is not None
    assert scales.tolist() == [0, np.float32(2) / np.float32(127)]
    assert codes.tolist() == [[0, 0], [64, -127]]


@given(floats(1e4), st.sampled_from(DTYPES))
@settings(deadline=None)
def test_encoding_what_was_decoded_changes_nothing(values: F32, dtype: str) -> None:
    codes, scales = encode(values, dtype, "1")
    again, _ = encode(decode(codes, scales, dtype), dtype, "1")
    if dtype != "int8":
        np.testing.assert_array_equal(again, codes)
    else:
        assert np.abs(again.astype(int) - codes).max(initial=0) <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(dtype: str, odd: float) -> None:
    values = np.array([[1, 2], [odd, 4]], np.float32)
    with pytest.raises(
        OutputError, match=rf"layer 7 holds {odd}, which dtype='{dtype}' can't hold, and no other"
    ):
        encode(values, dtype, "7")


@pytest.mark.parametrize(
    ("dtype", "value", "says"),
    [
        (
            "float16",
            65505.0,
            r"holds 65505, too large .* \(up to 65504\); use dtype='float32' or dtype='bfloat16'",
        ),
        ("float16", -1e6, r"holds -1e\+06, too large for dtype='float16'"),
        ("float16", 3.4e38, r"use dtype='float32', in another"),
        ("bfloat16", -3.4e38, r"layer 7 holds -3.4e\+38, too large for dtype='bfloat16'"),
    ],
)
def test_what_is_too_large_is_refused_with_a_type_that_holds_it(dtype: str, value: float, says: str) -> None:
    with pytest.raises(OutputError, match=says):
        encode(np.array([[1, value]], np.float32), dtype, "7")


@pytest.mark.parametrize(
    ("dtype", "value"), [("float16", 65504.0), ("bfloat16", 3.3895314e38), ("int8", 3.4e38)]
)
def test_the_largest_values_are_held(dtype: str, value: float) -> None:
    values = np.array([[value, -value]], np.float32)
    codes, scales = encode(values, dtype, "7")
    np.testing.assert_allclose(decode(codes, scales, dtype), values, rtol=1e-6)


@given(floats(1e4), st.sampled_from(DTYPES))
@settings(deadline=None)
def test_losses_are_the_largest_differences(values: F32, dtype: str) -> None:
    codes, scales = encode(values, dtype, "1")
    most, share = losses(values, codes, scales, dtype)
    off = np.abs(decode(codes, scales, dtype) - values)
    assert most == off.max(initial=0)
    rows = (
        [row.max() / max(1.0, size) for row, size in zip(off, np.abs(values).max(axis=1), strict=True)]
        if off.size
        else []
    )
    assert share == pytest.approx(max(rows, default=0), rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_layers_are_decoded_by_threads_to_the_same(dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=(5000, 900)).astype(np.float32)
    codes, scales = encode(values, dtype, "1")
    out = np.empty_like(values)
    jobs: list[Any] = []
    for rows in (slice(0, 3000), slice(3000, 5000)):
        jobs.append((out[rows], codes[rows], None if scales is None else scales[rows]))
    decode_all(jobs, dtype)
    np.testing.assert_array_equal(out, decode(codes, scales, dtype))
