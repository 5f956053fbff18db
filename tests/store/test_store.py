"""Round trips: what is written comes back, in every stored type. Its helpers serve other tests, too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from layerwise.choices import DTYPES
from layerwise.errors import DatasetError, RequestError
from layerwise.store.reader import open_dataset
from layerwise.store.verify import check_files
from layerwise.store.writer import DatasetWriter
from stored import (
    LAYERS,
    SETTINGS,
    WIDTH,
    contents,
    describe,
    facts,
    make,
    settings_of,
    tables_of,
    vectors,
    written,
)

TOLERANCE = {"float32": 0.0, "float16": 2e-3, "bfloat16": 2e-2, "int8": 5e-2}


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_stored_type_comes_back_within_its_error(tmp_path: Path, dtype: str) -> None:
    dataset = make(tmp_path / "d", dtype=dtype)
    assert dataset.dtype == dtype
    for layer in LAYERS:
        want = written((7, 0, 4), layer)
        got = dataset.layer(layer)
        assert got.dtype == np.float32
        assert got.flags.writeable
        np.testing.assert_allclose(got, want, atol=TOLERANCE[dtype])
        error = dataset.manifest.error[layer]
        assert error.max_abs == float(np.abs(got - want).max())
        by_row = np.abs(got - want).max(1) / np.maximum(1, np.abs(want).max(1))
        assert error.max_rel == pytest.approx(float(by_row.max()), rel=1e-6)
    assert check_files(dataset.path) == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_sliced_masked_and_gathered_over_shards(tmp_path: Path, dtype: str) -> None:
    dataset = make(tmp_path / "d", (3, 0, 5, 1, 0), dtype)
    whole, raw = dataset.layer("2"), dataset.layer("2", raw=True)
    mask = np.array([True, False, False, True, True, False, False, True, True])
    for rows in (
        slice(2, 4),
        slice(0, 3),
        slice(3, 8),
        slice(4, 4),
        slice(None, None, -3),
        mask,
        [8, 0, 3, 3, -1],
        [],
    ):
        np.testing.assert_array_equal(dataset.layer("2", rows), whole[rows])
        np.testing.assert_array_equal(dataset.layer("2", rows, raw=True), raw[rows])
    with pytest.raises(RequestError, match="row 9 doesn't exist; there are 9"):
        dataset.layer("2", [9])


def test_raw_is_the_stored_type(tmp_path: Path) -> None:
    kinds = {dtype: make(tmp_path / dtype, (4, 3), dtype).layer("1", raw=True).dtype for dtype in DTYPES}
    assert kinds == {"float32": "float32", "float16": "float16", "bfloat16": "uint16", "int8": "int8"}
    dataset = open_dataset(tmp_path / "int8")
    codes = dataset.layer("1", slice(2, 6), raw=True)
    np.testing.assert_array_equal(
        codes * dataset.scales("1", slice(2, 6))[:, None], dataset.layer("1", slice(2, 6))
    )
    with pytest.raises(RequestError, match="stored as float16; only int8 has scales"):
        open_dataset(tmp_path / "float16").scales("1")


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_safetensors_library_reads_the_same(tmp_path: Path, dtype: str) -> None:
    dataset = make(tmp_path / "d", (6,), dtype)
    path = tmp_path / "d" / "shards" / "00000.safetensors"
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() is None
        names = set(file.keys())
        assert file.get_slice("1").get_shape() == [6, WIDTH]
    assert names == {*LAYERS, *(f"{layer}.scale" for layer in LAYERS if dtype == "int8")}
    if dtype == "bfloat16":
        return  # has no numpy type; the bits are compared with torch's below
    theirs = load_file(path)
    for layer in LAYERS:
        np.testing.assert_array_equal(theirs[layer], dataset.layer(layer, raw=True))
    if dtype == "int8":
        np.testing.assert_array_equal(theirs["1.scale"], dataset.scales("1"))


def test_bfloat16_is_torchs(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_torch

    dataset = make(tmp_path / "d", (6,), "bfloat16")
    theirs = load_torch(tmp_path / "d" / "shards" / "00000.safetensors")["2"]
    assert torch.equal(theirs, torch.from_numpy(vectors(0, 6)["2"]).bfloat16())
    np.testing.assert_array_equal(theirs.float().numpy(), dataset.layer("2"))


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
@settings(
    max_examples=25,
    deadline=None,
)
def test_any_rows_in_any_shards_come_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dtype: str
) -> None:
    sizes = data.draw(st.lists(st.integers(0, 6), max_size=4))
    dataset = make(tmp_path_factory.mktemp("any") / "d", sizes, dtype)
    rows = data.draw(st.lists(st.integers(-sum(sizes), sum(sizes) - 1), max_size=8)) if sum(sizes) else []
    whole = dataset.stack()
    assert whole.shape == (3, sum(sizes), WIDTH)
    for layer, values in zip(LAYERS, whole, strict=True):
        want = written([*sizes, 0], layer)
        np.testing.assert_allclose(values, want, atol=TOLERANCE[dtype])
        np.testing.assert_array_equal(dataset.layer(layer, rows), values[rows])
    assert check_files(dataset.path) == []


def test_a_dataset_has_the_face_of_states(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d")
    assert dataset.layers == LAYERS
    assert (dataset.level, dataset.pool, dataset.width, dataset.blocks, len(dataset)) == (
        "text",
        "mean",
        WIDTH,
        2,
        11,
    )
    assert dataset.index["doc"].to_pylist() == list(range(11)) == dataset.texts["doc"].to_pylist()
    assert dataset.where(label="pos").tolist() == [0, 3, 6, 9]
    assert dataset.where(line=[8, 9]).tolist() == [7, 8]
    np.testing.assert_allclose(dataset.mix("mean(1,2)"), (dataset.layer(1) + dataset.layer(2)) / 2)
    assert repr(dataset).endswith(f"level text, pool mean, stored as float16 in {tmp_path / 'd'}>")


def test_the_manifest_describes_the_dataset(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d")
    manifest = dataset.manifest
    assert (manifest.format, manifest.version, manifest.model.id) == ("layerwise", 2, "tiny")
    assert manifest.settings == SETTINGS
    totals = manifest.totals
    size = sum(path.stat().st_size for path in (dataset.path / "shards").iterdir())
    assert (totals.texts, totals.rows, totals.tokens, totals.windows, totals.bytes) == (11, 11, 33, 0, size)
    assert manifest.shards.count == 3
    records = list(dataset.shards)
    assert [record.rows for record in records] == [7, 0, 4]
    assert records[2].input == "digest 2"
    assert records[2].files.texts.name == "00002.texts.parquet"
    text = (tmp_path / "d" / "manifest.json").read_text()
    assert text == json.dumps(manifest.to_json(), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    manifest.to_json()["shards"].clear()
    assert dataset.manifest.to_json()["shards"]["count"] == 3, "what is handed out must be a copy"


def test_parts_are_the_shards_and_make_up_the_whole(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d")
    parts = list(dataset.parts())
    assert [part.rows for part in parts] == [7, 0, 4]
    np.testing.assert_array_equal(np.concatenate([part.layer(-1) for part in parts]), dataset.layer(-1))
    assert pa.concat_tables([part.index for part in parts]).equals(dataset.index)
    assert parts[2].where(doc=8).tolist() == [1]


def test_the_same_rows_give_the_same_bytes_in_whatever_order(tmp_path: Path) -> None:
    make(tmp_path / "a")
    with DatasetWriter(tmp_path / "b", SETTINGS) as writer:
        for number, rows in enumerate((7, 0, 4)):
            shard = writer.begin(LAYERS, rows, WIDTH, "float16")
            for layer in reversed(LAYERS):
                for row in range(rows):
                    shard.put(layer, np.array([row]), vectors(number, rows)[layer][row : row + 1])
            tables = [
                pa.concat_tables([t.slice(0, 2), t.slice(2)]) for t in tables_of((0, 7, 7)[number], rows)
            ]
            tables = [t.replace_schema_metadata({"pandas": "{}"}) for t in tables]
            shard.commit(tables[0], tables[1], facts(3 * rows, f"digest {number}"))
        writer.finish(describe(shards=3))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_columns_that_are_empty_in_one_shard_are_joined(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", settings_of("float32", ("1",))) as writer:
        for number, extra in enumerate([pa.nulls(1), pa.array(["x"]), None]):
            shard = writer.begin(("1",), 1, 1, "float32")
            shard.put("1", np.array([0]), np.zeros((1, 1), np.float32))
            index = pa.table({"doc": [number]})
            texts = index if extra is None else index.append_column("extra", extra)
            shard.commit(index, texts, facts())
        writer.finish(describe("float32", 3, layers=("1",), width=1))
    assert open_dataset(tmp_path / "d").texts["extra"].to_pylist() == [None, "x", None]


def test_columns_of_different_kinds_are_told(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", settings_of("float32", ("1",))) as writer:
        for number, extra in enumerate(["1", 1]):
            shard = writer.begin(("1",), 1, 1, "float32")
            shard.put("1", np.array([0]), np.zeros((1, 1), np.float32))
            index = pa.table({"doc": [number]})
            shard.commit(index, index.append_column("extra", pa.array([extra])), facts())
        writer.finish(describe("float32", 2, layers=("1",), width=1))
    with pytest.raises(DatasetError, match=r"tables of .* don't fit together: .*extra"):
        _ = open_dataset(tmp_path / "d").texts


def test_tables_are_read_without_a_file_of_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a thread of Arrow's lets go of while the interpreter ends aborts the process, now and then."""
    from layerwise.store.tables import read_table, table_bytes

    (tmp_path / "a=b.parquet").write_bytes(table_bytes(pa.table({"n": [1, 2]})))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("opened by Python")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        patch.setattr("builtins.open", refuse)
        assert read_table(tmp_path / "a=b.parquet", 2)["n"].to_pylist() == [1, 2]
