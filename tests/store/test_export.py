import errno
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layerwise.errors import LayerwiseError, OutputError, RequestError
from layerwise.states import Layered, LayerStates
from layerwise.store import disk
from layerwise.store.export import export
from layerwise.store.reader import open_dataset
from layerwise.store.writer import DatasetWriter
from stored import LAYERS, WIDTH, describe, facts, make, settings_of


def column(table: pa.Table, name: str) -> np.ndarray[Any, Any]:
    whole: Any = table[name].combine_chunks()
    values: np.ndarray[Any, Any] = whole.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(whole), -1)


@pytest.mark.parametrize("group", [1 << 27, 1])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_parquet_holds_every_layer_and_what_is_known_of_rows_and_texts(
    tmp_path: Path, monkeypatch: Any, dtype: str, group: int
) -> None:
    monkeypatch.setattr(sys.modules["layerwise.store.export"], "_GROUP_BYTES", group)
    dataset = make(tmp_path / "d", dtype=dtype)
    out = export(dataset, "parquet", tmp_path / "new" / "x.parquet")
    table = pq.read_table(out)
    assert table.column_names == ["doc", "text", "label", "id", "line", "layer_emb", "layer_1", "layer_2"]
    assert table.schema.field("layer_1").type == pa.list_(pa.float32(), WIDTH)
    for layer in LAYERS:
        np.testing.assert_array_equal(column(table, f"layer_{layer}"), dataset.layer(layer))
    assert table["line"].to_pylist() == list(range(1, 12))
    assert table["label"].equals(dataset.index["label"])
    assert pq.ParquetFile(out).num_row_groups == (2 if group > 1 else 11)
    assert [path.name for path in out.parent.iterdir()] == ["x.parquet"]


def test_npy_is_a_folder_of_arrays_and_tables(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d")
    out = export(dataset, "npy", tmp_path / "x", layers="emb,-1")
    assert sorted(path.name for path in out.iterdir()) == [
        "2.npy",
        "emb.npy",
        "index.parquet",
        "texts.parquet",
    ]
    for layer in ("emb", "2"):
        array = np.load(out / f"{layer}.npy", mmap_mode="r")
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, dataset.layer(layer))
    assert pq.read_table(out / "index.parquet").equals(dataset.index)
    assert pq.read_table(out / "texts.parquet").equals(dataset.texts)


@pytest.mark.parametrize("to", ["parquet", "npy"])
@pytest.mark.parametrize("mix", ["mean(all)", "concat:1,2", "weighted(1,2; 1,-1)", -1])
def test_a_mix_is_exported_as_one_matrix(tmp_path: Path, to: str, mix: str | int) -> None:
    dataset = make(tmp_path / "d")
    out = export(dataset, to, tmp_path / "x", mix=mix)
    got = column(pq.read_table(out), "mix") if to == "parquet" else np.load(out / "mix.npy")
    np.testing.assert_allclose(got, dataset.mix(mix), rtol=1e-6, atol=1e-7)


def test_a_standardised_mix_uses_the_statistics_of_all_rows(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d")
    with pytest.warns(UserWarning, match="statistics of these rows"):
        out = export(dataset, "npy", tmp_path / "x", mix="mean(1,2; norm=layer)")
    with pytest.warns(UserWarning, match="statistics of these rows"):
        want = dataset.mix("mean(1,2; norm=layer)")
    np.testing.assert_allclose(np.load(out / "mix.npy"), want, rtol=1e-5, atol=1e-6)


def words() -> LayerStates:
    index = pa.table({"doc": [3, 3, 5], "text": ["a", "b", "c"], "layer_1": [1, 2, 3]})
    texts = pa.table({"doc": [3, 4, 5], "text": ["a b", "", "c"]})
    vectors = {"1": np.arange(6, dtype=np.float32).reshape(3, 2)}
    return LayerStates(vectors, index=index, texts=texts, blocks=1, level="word", pool="mean")


def test_below_text_level_only_the_index_goes_along_and_names_of_ours_give_way(tmp_path: Path) -> None:
    table = pq.read_table(export(words(), "parquet", tmp_path / "x"))
    assert table.column_names == ["doc", "text", "source.layer_1", "layer_1"]
    assert table["source.layer_1"].to_pylist() == [1, 2, 3]
    assert table["layer_1"].to_pylist() == [[0, 1], [2, 3], [4, 5]]


def test_columns_that_are_empty_in_one_shard_are_exported(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", settings_of("float32", ("1",))) as writer:
        for number, extra in enumerate([pa.nulls(1), pa.array([["x"]]), None]):
            shard = writer.begin(("1",), 1, 1, "float32")
            shard.put("1", np.array([0]), np.full((1, 1), number, np.float32))
            index = pa.table({"doc": [number]})
            shard.commit(index, index if extra is None else index.append_column("extra", extra), facts())
        writer.finish(describe("float32", 3, layers=("1",), width=1))
    dataset = open_dataset(tmp_path / "d")
    table = pq.read_table(export(dataset, "parquet", tmp_path / "x"))
    assert table["extra"].to_pylist() == [None, ["x"], None]
    out = export(dataset, "npy", tmp_path / "y")
    assert pq.read_table(out / "texts.parquet")["extra"].to_pylist() == [None, ["x"], None]


@pytest.mark.parametrize("to", ["parquet", "npy"])
def test_no_rows_are_exported_too(tmp_path: Path, to: str) -> None:
    for sizes in ((), (0, 0)):
        out = export(make(tmp_path / f"d{len(sizes)}", sizes), to, tmp_path / f"x{len(sizes)}")
        got = pq.read_table(out)["layer_1"] if to == "parquet" else np.load(out / "1.npy")
        assert len(got) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"to": "hdf5"}, "to 'hdf5' doesn't exist; choose one of parquet, npy"),
        ({"layers": "7"}, "layer 7 doesn't exist"),
        ({"mix": "learned(all)"}, "fitted with a head"),
        ({"mix": "mean(9)"}, "layer 9 doesn't exist"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    dataset = make(tmp_path / "d")
    with pytest.raises(RequestError, match=says):
        export(dataset, **{"to": "npy", "out": tmp_path / "x", **options})
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("to", ["parquet", "npy"])
def test_what_is_there_is_not_written_over(tmp_path: Path, to: str) -> None:
    dataset = make(tmp_path / "d")
    for name in ("file", "folder"):
        (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError, match="already exists; give a new name, or remove it first"):
            export(dataset, to, tmp_path / name)


@pytest.mark.parametrize("to", ["parquet", "npy"])
def test_a_full_disk_leaves_nothing_and_an_earlier_try_is_no_hindrance(
    tmp_path: Path, monkeypatch: Any, to: str
) -> None:
    dataset: Layered = make(tmp_path / "d")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "sync", fail)
    with pytest.raises(
        LayerwiseError, match="No space left on device; free some space and start the same command again"
    ):
        export(dataset, to, tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    monkeypatch.undo()
    (tmp_path / ".x.part").mkdir()
    (tmp_path / ".x.part" / "left").write_text("over")
    assert export(dataset, to, tmp_path / "x").exists()
