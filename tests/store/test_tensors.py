import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.choices import DTYPES
from layerwise.errors import DatasetError, OutputError
from layerwise.store.header import Span, header, plan
from layerwise.store.tensors import TensorFile, TensorWriter

GOOD = {"1": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}


def raw_file(path: Path, entries: Any, data: int = 12, length: int | None = None) -> Path:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + bytes(data))
    return path


def test_the_bytes_of_a_header_are_pinned() -> None:
    got = header(plan(("emb", "1"), 2, 3, "float16"))
    first = b'"emb":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]}'
    second = b'"1":{"dtype":"F16","shape":[2,3],"data_offsets":[12,24]}'
    assert got == (120).to_bytes(8, "little") + b"{" + first + b"," + second + b"}    "
    assert len(got) % 64 == 0


def test_int8_has_its_scales_first_so_that_they_are_aligned() -> None:
    spans = plan(("emb", "1"), 3, 5, "int8")
    assert list(spans) == ["emb.scale", "1.scale", "emb", "1"]
    assert spans["1.scale"] == Span("F32", (3,), 12, 24)
    assert spans["1"] == Span("I8", (3, 5), 39, 54)


@given(rows=st.integers(0, 9), order=st.randoms(), dtype=st.sampled_from(DTYPES))
@settings(deadline=None)
def test_rows_are_put_in_any_order_and_in_parts(
    tmp_path_factory: Any, rows: int, order: Any, dtype: str
) -> None:
    path = tmp_path_factory.mktemp("t") / "x"
    values = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    left = list(range(rows))
    order.shuffle(left)
    writer = TensorWriter(path, ("emb",), rows, 4, dtype)
    while left:
        some = np.array([left.pop() for _ in range(order.randint(1, len(left)))])
        writer.put("emb", some, values[some])
    size, digest = writer.close()
    data = path.read_bytes()
    assert (size, digest) == (len(data), hashlib.sha256(data).hexdigest())
    with safetensors.safe_open(path, "np") as file:
        assert file.get_slice("emb").get_shape() == [rows, 4]
    if dtype == "float32":
        np.testing.assert_array_equal(TensorFile(path).view("emb", "<f4"), values)


def test_every_row_is_put_exactly_once(tmp_path: Path) -> None:
    writer = TensorWriter(tmp_path / "x", ("emb", "1"), 3, 2, "float32")
    two = np.zeros((2, 2), np.float32)
    writer.put("emb", np.array([2, 0]), two)
    for rows in ([0, 1], [1, 1]):
        with pytest.raises(ValueError, match=r"row [01] of layer emb was put twice"):
            writer.put("emb", np.array(rows), two)
    for rows in ([1, 3], [-1, 1]):
        with pytest.raises(ValueError, match=r"aren't all among the shard's 0 … 2"):
            writer.put("emb", np.array(rows), two)
    for layer, values in (("2", two), ("emb", two[:1]), ("emb", two[:, :1])):
        with pytest.raises(ValueError, match=r"can't put layer .* the shard has emb, 1, each \(rows, 2\)"):
            writer.put(layer, np.array([1, 2]), values)
    with pytest.raises(ValueError, match="1 of 3 rows of layer emb were never put"):
        writer.close()
    writer.discard()


def test_a_value_that_does_not_fit_names_its_layer_and_writes_nothing_of_its_block(tmp_path: Path) -> None:
    writer = TensorWriter(tmp_path / "x", ("emb", "1"), 1, 2, "float16")
    with pytest.raises(OutputError, match="layer 1 holds 70000, too large for dtype='float16'"):
        writer.put("1", np.array([0]), np.array([[70000, 0]], np.float32))
    writer.discard()


@pytest.mark.parametrize(
    ("entries", "data", "says"),
    [
        (b"", 0, "holds no"),
        (b"{", 12, "its header is no JSON"),
        (b"[" * 100_000, 12, "its header is no JSON"),
        (b"\xff\xfe", 12, "its header is no JSON"),
        (b"[]", 12, "its header is no JSON object"),
        ({"1": 5}, 12, "the entry of tensor '1' is '5'"),
        ({"1": {**GOOD["1"], "dtype": "F17"}}, 12, "the entry of tensor '1'"),
        ({"1": {**GOOD["1"], "dtype": ["F16"]}}, 12, "the entry of tensor '1'"),
        ({"1": {**GOOD["1"], "shape": [2, -3]}}, 12, "the entry of tensor '1'"),
        ({"1": {**GOOD["1"], "shape": [2.0, 3]}}, 12, "the entry of tensor '1'"),
        ({"1": {**GOOD["1"], "shape": "23"}}, 12, "the entry of tensor '1'"),
        ({"1": {**GOOD["1"], "data_offsets": [0]}}, 12, "the entry of tensor '1'"),
        ({"1": {**GOOD["1"], "data_offsets": [True, 12]}}, 12, "the entry of tensor '1'"),
        ({"1": {**GOOD["1"], "data_offsets": [12, 0]}}, 12, "takes -12 bytes where its shape needs 12"),
        ({"1": {**GOOD["1"], "shape": [10**12, 10**12]}}, 12, "takes 12 bytes where its shape needs 2,000,"),
        ({"1": {**GOOD["1"], "data_offsets": [4, 16]}}, 16, "begins at byte 4 of the data, not at 0"),
        ({"1": GOOD["1"], "2": GOOD["1"]}, 12, "begins at byte 0 of the data, not at 12"),
        (GOOD, 11, "its tensors take 12 bytes, and there are 11"),
        (GOOD, 13, "its tensors take 12 bytes, and there are 13"),
    ],
)
def test_hostile_headers_are_refused_by_file(tmp_path: Path, entries: Any, data: int, says: str) -> None:
    path = raw_file(tmp_path / "bad.safetensors", entries, data)
    if says == "holds no":
        says = "its header is no JSON"
    with pytest.raises(DatasetError) as caught:
        TensorFile(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("length", [15, 10**9, 2**63, 2**64 - 1])
def test_a_header_longer_than_its_file_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(DatasetError, match=r"a header of .* bytes in a file of 22"):
        TensorFile(raw_file(tmp_path / "x", b"{}", 12, length))


@pytest.mark.parametrize("data", [b"", b"\x00\x00"])
def test_a_file_too_short_for_a_header_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DatasetError, match="is damaged"):
        TensorFile(tmp_path / "x")


def test_a_file_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path) -> None:
    file = TensorFile(raw_file(tmp_path / "x", GOOD))
    assert file.check(("1",), 2, 3, "float16") is file
    with pytest.raises(
        DatasetError, match=r"tensor '1' is F16 \[2, 3\] where the manifest says BF16 \[2, 3\]"
    ):
        file.check(("1",), 2, 3, "bfloat16")
    with pytest.raises(DatasetError, match=r"tensor '2' is nothing where the manifest says F16"):
        file.check(("1", "2"), 2, 3, "float16")
    with pytest.raises(DatasetError, match=r"tensor '1' is F16 \[2, 3\] where the manifest says nothing"):
        file.check((), 2, 3, "float16")


def test_metadata_of_other_writers_is_passed_over(tmp_path: Path) -> None:
    file = TensorFile(raw_file(tmp_path / "x", {**GOOD, "__metadata__": {"format": "pt"}}))
    assert list(file.spans) == ["1"]


def fails(number: int) -> Any:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_disk_without_room_is_noticed_before_anything_is_put(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "posix_fallocate", fails(errno.ENOSPC))
    with pytest.raises(
        OutputError, match="No space left on device; what was committed is kept; free some space"
    ):
        TensorWriter(tmp_path / "x", ("emb",), 3, 2, "float32")
    assert not (tmp_path / "x").exists(), "the half-made file would keep its space"


@pytest.mark.parametrize("there", [True, False])
def test_space_is_taken_with_zeros_where_it_cannot_be_reserved(
    tmp_path: Path, monkeypatch: Any, there: bool
) -> None:
    if there:
        monkeypatch.setattr(os, "posix_fallocate", fails(errno.EOPNOTSUPP))
    else:
        monkeypatch.delattr(os, "posix_fallocate")
    writer = TensorWriter(tmp_path / "x", ("emb",), 300_000, 2, "float32")
    assert (tmp_path / "x").stat().st_size == 128 + 300_000 * 8
    writer.discard()
