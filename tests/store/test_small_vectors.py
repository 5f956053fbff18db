"""Small vectors on disk: faiss and usearch themselves read them, and brute force counts what a search finds."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from layerwise._util.silence import silenced
from layerwise.errors import OutputError, RequestError
from layerwise.recall import NearestRows, Recall
from layerwise.states import Layered
from layerwise.store import search_rows, small_vectors, usearch_index
from layerwise.store.export_result import TRANSFORM
from layerwise.store.reader import open_dataset
from layerwise.store.small_vectors import export_small
from layerwise.store.transform_file import load_transform, write_transform
from layerwise.store.writer import DatasetWriter
from planted import states_of
from stored import describe, facts, make, settings_of, tables_of

ROWS, WIDTH = 240, 20
ALL = ("binary", "int8", "pca:6", "faiss", "usearch")
with silenced():  # types of SWIG
    import faiss
    from usearch.index import Index


@pytest.fixture(scope="module")
def states() -> Layered:
    """Rows in groups around a mean that is far from 0, with a column that splits them."""
    rng = np.random.default_rng(5)
    layers = [
        (3 + rng.normal(size=(ROWS, WIDTH)) + rng.normal(size=(40, WIDTH))[np.arange(ROWS) % 40])
        for _ in "ab"
    ]
    return states_of(layers, {"part": ["train" if n % 3 else "test" for n in range(ROWS)]})


def centred_units(rows: NDArray[Any], mean: NDArray[Any]) -> NDArray[np.float64]:
    difference = rows.astype(np.float64) - mean
    units: NDArray[np.float64] = difference / np.linalg.norm(difference, axis=1, keepdims=True)
    return units


def exact_neighbours(states: Layered, layer: str, mean: NDArray[Any]) -> NDArray[np.int64]:
    """The ten nearest other rows of each row, by brute force in float64."""
    unit = centred_units(states.layer(layer), mean)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1, kind="stable")[:, :10]


def share_found(exact: NDArray[Any], got: NDArray[Any]) -> float:
    return float(
        np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), got.tolist(), strict=True)])
    )


def others(got: NDArray[Any]) -> NDArray[Any]:
    """The first ten that a search gave for each row, without the row itself."""
    return np.array([[n for n in row if n != own_row][:10] for own_row, row in enumerate(got.tolist())])


def recall(out: Any) -> Recall:
    assert out.small is not None
    assert out.small.recall is not None
    measured: Recall = out.small.recall
    return measured


def test_faiss_searches_the_bits_with_transformed_queries(states: Layered, tmp_path: Path) -> None:
    out = export_small(states, "binary", tmp_path / "x", mix="1")
    bits = np.load(out.path / "vectors.npy")
    transform = load_transform(out.path / TRANSFORM)
    np.testing.assert_array_equal(transform(states.layer("1")), bits)
    index = faiss.IndexBinaryFlat(8 * bits.shape[1])
    index.add(bits)
    distances, _ = index.search(bits, ROWS)
    assert distances.max() <= WIDTH
    signs = np.unpackbits(bits, axis=1).astype(int)
    distance = (signs[:, None] != signs[None]).sum(axis=2)
    np.fill_diagonal(distance, WIDTH + 9)
    got = np.argsort(distance, axis=1, kind="stable")[:, :10]
    # faiss gives the same distances; of equally near rows it takes others than the first
    np.testing.assert_array_equal(distances[:, 1:11], np.take_along_axis(distance, got, axis=1))
    exact = exact_neighbours(states, "1", states.layer("1").mean(axis=0, dtype=np.float64))
    assert recall(out).score == pytest.approx(share_found(exact, got), abs=1e-9)
    assert (recall(out).queries, recall(out).rows, recall(out).k) == (ROWS, ROWS, 10)


def test_centred_bits_find_more_than_raw_ones(states: Layered, tmp_path: Path) -> None:
    out = export_small(states, "binary", tmp_path / "x", mix="1")
    values = states.layer("1")
    signs = np.where(values > 0, 1, -1)
    similar = signs @ signs.T
    np.fill_diagonal(similar, -WIDTH - 1)
    raw = np.argsort(-similar, axis=1, kind="stable")[:, :10]
    exact = exact_neighbours(states, "1", values.mean(axis=0, dtype=np.float64))
    assert recall(out).score > share_found(exact, raw) + 0.1


def test_int8_has_codes_and_scales(states: Layered, tmp_path: Path) -> None:
    out = export_small(states, "int8", tmp_path / "x", mix="mean(all)")
    codes, scales = np.load(out.path / "vectors.npy"), np.load(out.path / "scales.npy")
    transform = load_transform(out.path / TRANSFORM)
    values = states.mix("mean(all)")
    np.testing.assert_array_equal(transform(values), codes)
    np.testing.assert_allclose(codes * scales[:, None] + transform.mean, values, atol=scales.max() / 2 + 1e-5)
    unit = centred_units(codes, np.zeros(WIDTH))
    similar = unit @ unit.T
    np.fill_diagonal(similar, -2)
    got = np.argsort(-similar, axis=1, kind="stable")[:, :10]
    full = centred_units(values, values.mean(axis=0, dtype=np.float64))
    exact = full @ full.T
    np.fill_diagonal(exact, -2)
    expected = share_found(np.argsort(-exact, axis=1)[:, :10], got)
    assert recall(out).score == pytest.approx(expected, abs=5e-4), "a pair of nearly equal cosines may swap"
    assert recall(out).score > 0.98
    assert out.small is not None
    assert out.small.bytes_per_row == pytest.approx(WIDTH + 4, abs=2), (
        "the headers of the files are shared by the rows"
    )


def test_components_of_all_dimensions_find_everything(states: Layered, tmp_path: Path) -> None:
    out = export_small(states, f"pca:{WIDTH}", tmp_path / "x", mix="1")
    assert recall(out).score > 0.999
    few = export_small(states, "pca:6", tmp_path / "y", mix="1")
    assert np.load(few.path / "vectors.npy").shape == (ROWS, 6)
    assert few.small is not None
    assert out.small is not None
    assert 0.3 < (few.small.variance or 0) < (out.small.variance or 0) == pytest.approx(1)
    assert recall(few).score < recall(out).score


def test_faiss_opens_its_index(states: Layered, tmp_path: Path) -> None:
    out = export_small(states, "faiss", tmp_path / "x", mix="1")
    index = faiss.read_index(str(out.path / "vectors.faiss"))
    assert (index.ntotal, index.d, index.metric_type) == (ROWS, WIDTH, faiss.METRIC_INNER_PRODUCT)
    queries = load_transform(out.path / TRANSFORM)(states.layer("1"))
    got = others(index.search(queries, 11)[1])
    exact = exact_neighbours(states, "1", states.layer("1").mean(axis=0, dtype=np.float64))
    assert recall(out).score == pytest.approx(share_found(exact, got), abs=1e-9)
    assert recall(out).score > 0.99


@pytest.mark.parametrize("to", ALL)
def test_the_same_rows_give_the_same_bytes(states: Layered, tmp_path: Path, to: str) -> None:
    outs = [export_small(states, to, tmp_path / name, mix="1").path for name in "ab"]
    first, second = (
        {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".json"} for out in outs
    )
    assert first == second


def test_usearch_opens_its_index(states: Layered, tmp_path: Path) -> None:
    out = export_small(states, "usearch", tmp_path / "x", mix="1")
    index = Index.restore(str(out.path / "vectors.usearch"))
    assert index is not None
    assert (len(index), index.ndim) == (ROWS, WIDTH)
    queries = load_transform(out.path / TRANSFORM)(states.layer("1"))
    got = others(np.array(index.search(queries, 11).keys, np.int64))
    exact = exact_neighbours(states, "1", states.layer("1").mean(axis=0, dtype=np.float64))
    assert recall(out).score == pytest.approx(share_found(exact, got), abs=1e-9)
    assert recall(out).score > 0.98, "stored as float16"


@pytest.mark.parametrize("to", ALL)
def test_the_folder_holds_what_was_measured_and_the_tables(states: Layered, tmp_path: Path, to: str) -> None:
    out = export_small(states, to, tmp_path / "new" / "x", mix="mean(0,1)")
    vectors = {
        "faiss": ["vectors.faiss"],
        "usearch": ["vectors.usearch"],
        "int8": ["scales.npy", "vectors.npy"],
    }
    expected = ["export.json", "index.parquet", "texts.parquet", TRANSFORM, *vectors.get(to, ["vectors.npy"])]
    assert sorted(path.name for path in out.path.iterdir()) == sorted(expected)
    content = json.loads((out.path / "export.json").read_text())
    got = out.to_json()
    del got["out"]
    assert {name: content[name] for name in got} == got
    assert content["mix"] == "mean(emb,1)"
    assert content["dataset"]["sha256"]
    assert pq.read_table(out.path / "index.parquet").equals(states.index)


def counting(add: Any, counts: list[int]) -> Any:
    def counted(nearest: NearestRows, first: int, block: Any) -> None:
        counts.append(len(block))
        add(nearest, first, block)

    return counted


@pytest.mark.parametrize("to", ["binary", "int8", "pca:6"])
def test_a_dataset_is_read_part_by_part_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    rng = np.random.default_rng(9)
    values = 2 + rng.normal(size=(60, 8)).astype(np.float32)
    with DatasetWriter(tmp_path / "d", settings_of("float32", ("1",))) as writer:
        for start in range(0, 60, 20):
            shard = writer.begin(("1",), 20, 8, "float32")
            shard.put("1", np.arange(20), values[start : start + 20])
            shard.commit(*tables_of(start, 20), facts())
        writer.finish(describe("float32", 3, layers=("1",), width=8))
    dataset = open_dataset(tmp_path / "d")
    monkeypatch.setattr(search_rows, "_BLOCK_BYTES", 4 * 8 * 7)  # blocks of 7 rows
    monkeypatch.setattr(search_rows, "QUERIES", 25)
    compared: list[int] = []
    monkeypatch.setattr(NearestRows, "add", counting(NearestRows.add, compared))
    parts = export_small(dataset, to, tmp_path / "parts", mix="1")
    assert max(compared) == 7, "no more rows are in memory"
    assert sum(compared) == 2 * 60, "each is compared with the queries once, whole and small"
    monkeypatch.setattr(search_rows, "_BLOCK_BYTES", 1 << 24)
    whole = export_small(states_of([values, values], {}), to, tmp_path / "whole", mix="1")
    assert recall(parts) == recall(whole)
    assert recall(parts).queries == 25
    ours, theirs = (np.load(out.path / "vectors.npy") for out in (parts, whole))
    if to == "pca:6":
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    elif to == "int8":
        assert np.abs(ours.astype(int) - theirs).max() <= 1
    else:
        np.testing.assert_array_equal(ours, theirs)
    transform = load_transform(parts.path / TRANSFORM)
    assert transform.fitted.hashes == {"weights": "ab" * 32, "tokenizer": "cd" * 32, "config": "ef" * 32}
    assert transform.fitted.model == "tiny"


def test_a_split_fits_on_training_rows_and_asks_with_the_others(states: Layered, tmp_path: Path) -> None:
    out = export_small(states, "pca:6", tmp_path / "x", mix="1", split="part")
    train = states.layer("1", rows=states.where(part="train"))
    transform = load_transform(out.path / TRANSFORM)
    np.testing.assert_allclose(transform.mean, train.mean(axis=0, dtype=np.float64), rtol=1e-6)
    assert (transform.fitted.rows, transform.fitted.split) == (160, "part")
    assert (recall(out).queries, recall(out).rows) == (80, ROWS)
    with pytest.raises(
        RequestError, match=r"^split='colour': there is no such column; there are doc, text, part$"
    ):
        export_small(states, "binary", tmp_path / "y", mix="1", split="colour")
    with pytest.raises(RequestError, match=r"^split='text': no row has the value train"):
        export_small(states, "binary", tmp_path / "y", mix="1", split="text")


def test_one_row_has_no_neighbour(tmp_path: Path) -> None:
    for to in ("binary", "int8", "pca:1", "faiss", "usearch"):
        out = export_small(states_of([np.ones((1, 4))], {}), to, tmp_path / to[:3], mix="emb")
        assert out.small is not None
        assert out.small.recall is None
        assert "not measured" in repr(out)


def test_few_rows_are_all_found(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(4, 4))
    for to in ALL[:2]:
        out = export_small(states_of([rows], {}), to, tmp_path / to, layers="emb")
        assert (recall(out).k, recall(out).score) == (3, 1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"to": "pca"},
            "to 'pca' has no number of dimensions; give a whole number of 1 or more, such as pca:128",
        ),
        ({"to": "pca:0"}, "to 'pca:0' has no number of dimensions"),
        ({"to": "pca:-3"}, "to 'pca:-3' has no number of dimensions"),
        ({"to": "pca:D"}, "to 'pca:D' has no number of dimensions"),
        ({"to": "pca:1.5"}, "to 'pca:1.5' has no number of dimensions"),
        (
            {"to": "pca:6"},
            "asks for 6 dimensions, the vectors have 5, and the transform has 11 rows to fit on; give pca:D with D up to 5",
        ),
        (
            {"to": "binary:2"},
            "to 'binary:2' doesn't exist; choose one of parquet, npy, binary, int8, pca:D, faiss, usearch",
        ),
        (
            {"mix": None},
            "to='binary' writes one layer or mix, and layers='all' are 3; give mix='2' or another mix",
        ),
        ({"mix": "learned(all)"}, "fitted with a head"),
        ({"mix": "9"}, "layer 9 doesn't exist"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    dataset = make(tmp_path / "d")
    with pytest.raises(RequestError, match=says):
        export_small(dataset, **{"to": "binary", "out": tmp_path / "x", "mix": "1", **options})
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("to", ALL)
@pytest.mark.parametrize("sizes", [(), (0, 0)])
def test_no_rows_are_refused(tmp_path: Path, to: str, sizes: tuple[int, ...]) -> None:
    dataset = make(tmp_path / "d", sizes)
    with pytest.raises(RequestError, match="the dataset has no rows"):
        export_small(dataset, to, tmp_path / "x", mix="1")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("to", ALL)
def test_what_is_there_is_not_written_over(tmp_path: Path, to: str) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(OutputError, match="already exists; give a new name, or remove it first"):
        export_small(make(tmp_path / "d"), to, tmp_path / "x", mix="1")
    assert (tmp_path / "x").read_text() == "mine"


@pytest.mark.parametrize(("name", "module"), [("faiss", "faiss"), ("usearch", "usearch.index")])
def test_an_extra_that_is_missing_gives_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        RequestError,
        match=rf"^to='{name}' needs {name}, which isn't installed; pip install 'layerwise\[{name}\]'$",
    ):
        export_small(make(tmp_path / "d"), name, tmp_path / "x", mix="1")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("name", ["faiss", "usearch"])
def test_an_index_larger_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(small_vectors, "available", lambda: 100)
    with pytest.raises(
        RequestError,
        match=f"^to='{name}': an index of 11 rows of 5 numbers needs about .* are available; use",
    ):
        export_small(make(tmp_path / "d"), name, tmp_path / "x", mix="1")


def test_a_full_disk_is_noticed_where_usearch_does_not(tmp_path: Path) -> None:
    index = usearch_index.UsearchIndex(4)
    index.add(np.eye(4, dtype=np.float32))
    with pytest.raises(OSError, match="No space left on device"):  # which `disk.new` makes one line of
        index.save(Path("/dev/full"))
    with pytest.raises(OutputError, match="can't write .*: No such file or directory"):
        index.save(tmp_path / "missing" / "x")


# --- the file of a transform ------------------------------------------------------------------------------------


@pytest.fixture
def transform_file(states: Layered, tmp_path: Path) -> Path:
    return export_small(states, "pca:6", tmp_path / "x", mix="1", split="part").path / TRANSFORM


def test_a_transform_is_read_as_it_was_written(transform_file: Path, tmp_path: Path) -> None:
    transform = load_transform(transform_file)
    write_transform(transform, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == transform_file.read_bytes()
    assert transform.describe() == {
        "kind": "pca",
        "mix": "1",
        "level": "text",
        "pool": "mean",
        "width": WIDTH,
        "numbers": 6,
        "dtype": "float32",
    }


def changed(file: Path, old: bytes, new: bytes) -> None:
    data = file.read_bytes()
    assert old in data
    assert len(old) == len(new)
    file.write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            b"layerwise-transform",
            b"layerwise-something",
            "doesn't describe a transform; give the transform.safetensors",
        ),
        (
            b'\\"version\\": 1',
            b'\\"version\\": 2',
            "has format version 2, this layerwise reads 1; update layerwise",
        ),
        (b'\\"kind\\": \\"pca\\"', b'\\"kind\\": \\"pcb\\"', "is damaged: kind is 'pcb'"),
        (b'\\"rows\\": 160', b'\\"rows\\": -16', "is damaged: rows is -16"),
        (b'"mean":', b'"main":', "is damaged: it holds"),
        (b"[6,20]", b"[4,30]", "is damaged: its numbers don't fit together, or aren't finite"),
        (b'"F32"', b'"I32"', "is damaged: its numbers don't fit together, or aren't finite"),
    ],
)
def test_a_damaged_transform_is_refused(transform_file: Path, old: bytes, new: bytes, says: str) -> None:
    changed(transform_file, old, new)
    with pytest.raises(RequestError, match=f"^{re.escape(str(transform_file))} {says}"):
        load_transform(transform_file)


def test_what_is_no_file_of_a_transform_is_refused(transform_file: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"is a folder; give the file in it, .*{TRANSFORM}$"):
        load_transform(transform_file.parent)
    with pytest.raises(RequestError, match="can't read .*nothing: No such file or directory; give the"):
        load_transform(tmp_path / "nothing")
    for data in (b"", b"no tensors", transform_file.read_bytes()[:-3]):
        (tmp_path / "other").write_bytes(data)
        with pytest.raises(RequestError, match="other is no transform: .*; give the transform.safetensors"):
            load_transform(tmp_path / "other")
    data = transform_file.read_bytes()
    (tmp_path / "other").write_bytes(data[:-4] + np.float32(np.inf).tobytes())
    with pytest.raises(RequestError, match="its numbers don't fit together, or aren't finite"):
        load_transform(tmp_path / "other")
