"""Datasets that somebody has made to do harm, or damaged: refused in one line, before they cost anything."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hostile import poke, sign, write_manifest
from layerwise._util.guarded import BLOCKS
from layerwise.api.merge import merge
from layerwise.errors import DatasetError, RequestError
from layerwise.row_selection import odd_row
from layerwise.store.dtypes import decode
from layerwise.store.header import header, plan
from layerwise.store.layout import Folder
from layerwise.store.reader import open_dataset
from layerwise.store.tables import OPTIONS, read_table
from layerwise.store.tensors import TensorFile
from layerwise.store.verify import check_files
from layerwise.store.writer import DatasetWriter
from planted import states_of
from stored import LAYERS, SETTINGS, WIDTH, describe, facts, make, tables_of, vectors


def refused(look: Callable[[], Any]) -> str:
    with pytest.raises(DatasetError) as caught:
        look()
    message = str(caught.value)
    assert len(message) < 1000
    return message


# --- counts that are large, and files that aren't files ----------------------------------------------------


@pytest.mark.parametrize("blocks", [BLOCKS + 1, 10**8, 2**63 - 1])
def test_a_manifest_of_too_many_blocks(tmp_path: Path, blocks: int) -> None:
    out = make(tmp_path / "d", (3,)).path
    sign(out, lambda manifest: manifest.update(blocks=blocks))
    assert f"blocks is {blocks}" in refused(lambda: open_dataset(out))
    assert [problem.file for problem in check_files(out)] == ["manifest.json"]


def test_a_manifest_of_very_many_layers_is_resolved_at_once(tmp_path: Path) -> None:
    out = make(tmp_path / "d", (3,)).path

    def change(manifest: dict[str, Any]) -> None:
        manifest["blocks"] = manifest["model"]["blocks"] = BLOCKS

    sign(out, change)
    assert open_dataset(out).layer("2").shape == (3, WIDTH)
    with pytest.raises(RequestError, match="layer 1000 isn't stored"):
        open_dataset(out).layer("1000")


@pytest.mark.parametrize(
    "changes", [{"width": 10**7}, {"shards": {"count": 10**7}}, {"shards": {"count": 2}}, {"width": 10**6}]
)
def test_a_manifest_of_counts_that_its_files_do_not_have(tmp_path: Path, changes: dict[str, Any]) -> None:
    out = make(tmp_path / "d", (3,)).path

    def change(manifest: dict[str, Any]) -> None:
        for name, value in changes.items():
            manifest[name] = {**manifest[name], **value} if isinstance(value, dict) else value

    sign(out, change)
    refused(lambda: open_dataset(out).layer("1"))
    assert check_files(out)


@pytest.mark.parametrize("rows", [10**12, 2**52, 2**63 - 1])
def test_records_of_rows_that_are_not_there(tmp_path: Path, rows: int) -> None:
    out = make(tmp_path / "d", (3, 4)).path
    sign(out, records=lambda records: records[0].update(rows=rows))
    for look in (lambda: open_dataset(out).layer("1", rows=[0]), lambda: open_dataset(out).index):
        refused(look)
    assert check_files(out)


@pytest.mark.parametrize(
    "entries", [{"counts": {"windows": 1e308}}, {"counts": {"windows": -1}}, {"seconds": 1e308}]
)
def test_records_of_counts_whose_sum_is_no_number(tmp_path: Path, entries: dict[str, Any]) -> None:
    out = make(tmp_path / "d", (3, 4)).path

    def change(records: list[dict[str, Any]]) -> None:
        for record in records:
            record.update(entries)

    sign(out, records=change)
    refused(lambda: merge([out, out], tmp_path / "merged"))
    assert check_files(out)


def test_a_header_of_a_million_dimensions(tmp_path: Path) -> None:
    entry = {"dtype": "F16", "shape": [3] * 1_000_000, "data_offsets": [0, 12]}
    text = json.dumps({"1": entry}).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + bytes(12))
    assert "the entry of tensor '1' is" in refused(lambda: TensorFile(tmp_path / "x"))


def test_a_header_of_very_many_tensors(tmp_path: Path) -> None:
    data = header(plan(tuple(map(str, range(10_001))), 0, 1, "float16"))
    (tmp_path / "x").write_bytes(data)
    assert "10,001 tensors, and at most 10,000" in refused(lambda: TensorFile(tmp_path / "x"))


@pytest.mark.parametrize("size", [1 << 27, 1 << 40])
def test_a_manifest_of_hundreds_of_megabytes_is_refused_by_its_size(tmp_path: Path, size: int) -> None:
    out = make(tmp_path / "d", (3,)).path
    with Folder(out).manifest.open("r+b") as file:
        file.truncate(size)  # sparse
    assert f"it has {size:,} bytes, and at most" in refused(lambda: open_dataset(out))
    assert {problem.file for problem in check_files(out)} == {"manifest.json"}


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sha256", "00000.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_device_in_the_place_of_a_file(tmp_path: Path, name: str, kind: str) -> None:
    out = make(tmp_path / "d", (3,)).path
    path = next(out.rglob(name))
    path.unlink()
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    problems = [
        problem for problem in check_files(out) if f"it is a {kind}, not a regular file" in problem.what
    ]
    assert problems
    if name != "manifest.json.sha256":
        assert f"it is a {kind}, not a regular file" in refused(lambda: open_dataset(out).layer("1"))


@pytest.mark.parametrize("name", ["shards-*.parquet", "00000.index.parquet", "00000.texts.parquet"])
def test_a_pipe_in_the_place_of_a_table(tmp_path: Path, name: str) -> None:
    out = make(tmp_path / "d", (3,)).path
    path = next(out.rglob(name))
    path.unlink()
    os.mkfifo(path)

    def look() -> None:
        dataset = open_dataset(out)
        assert dataset.index.num_rows + dataset.texts.num_rows

    assert "it is a pipe, not a regular file" in refused(look)
    assert any("it is a pipe" in problem.what for problem in check_files(out))


# --- a few bytes of Parquet that become gigabytes ------------------------------------------------------------

# As many bytes as fit beside Python and its libraries; what is refused needs none of them.
BOMBS = """
import resource, sys
import layerwise as lw
from layerwise.errors import LayerwiseError
from layerwise.read import open_corpus
import numpy, pyarrow.parquet
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (700 << 20),) * 2)
def look(what, path):
    if what == "corpus":
        return sum(len(example.text) for example in open_corpus(path))
    dataset = lw.open_dataset(path)
    return dataset.index.num_rows + dataset.texts.num_rows
for argument in sys.argv[1:]:
    what, path = argument.split("=")
    try:
        print(look(what, path))
    except LayerwiseError as error:
        print(error)
"""


def in_little_memory(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def swell(table: pa.Table, path: Path, name: str = "text", length: int = 1 << 20, **options: Any) -> Path:
    """Write a table with one long string in every row of a column: it stands in the file once."""
    rows = table.num_rows
    long = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["x" * length])
    columns = {**{column: table[column] for column in table.column_names}, name: long}
    given = {**OPTIONS, "store_schema": False, "dictionary_pagesize_limit": 1 << 28, **options}
    pq.write_table(pa.table(columns), path, **given)
    assert path.stat().st_size < 100_000
    return path


def test_a_few_kilobytes_that_become_gigabytes(tmp_path: Path) -> None:
    rows = 3_000
    out = make(tmp_path / "d", (rows,)).path
    index, _ = tables_of(0, rows)
    swell(index, Folder(out).shard(0, "index"))
    sign(out)
    swell(index, tmp_path / "c.parquet")
    (said, characters) = in_little_memory(f"dataset={out}", f"corpus={tmp_path / 'c.parquet'}")
    assert "bytes when it is read, and at most 1,073,741,824 are; restore it from a copy" in said
    assert characters == str(rows << 20)  # read row by row, it is a right source
    (problem,) = check_files(out)
    assert (problem.file, "bytes when it is read" in problem.what) == ("shards/00000.index.parquet", True)


@pytest.mark.slow
def test_a_single_value_that_is_decompressed_to_gigabytes(tmp_path: Path) -> None:
    out = make(tmp_path / "d", (1,)).path
    index, _ = tables_of(0, 1)
    swell(index, Folder(out).shard(0, "index"), length=1 << 29)
    sign(out)
    swell(index, tmp_path / "c.parquet", length=1 << 29)
    for said in in_little_memory(f"dataset={out}", f"corpus={tmp_path / 'c.parquet'}"):
        assert "to 536,870,966 bytes when decompressed" in said
        assert "above 268,435,456 bytes it may grow at most 1,000-fold" in said


def test_a_list_of_strings_that_becomes_gigabytes(tmp_path: Path) -> None:
    words = pa.DictionaryArray.from_arrays(np.zeros(3_000, np.int32), ["x" * (1 << 20)])
    lists = pa.ListArray.from_arrays(np.array([0, 3_000], np.int32), words)
    given = {**OPTIONS, "store_schema": False, "dictionary_pagesize_limit": 1 << 28}
    pq.write_table(pa.table({"text": ["a"], "many": lists}), tmp_path / "c.parquet", **given)
    (said,) = in_little_memory(f"corpus={tmp_path / 'c.parquet'}")
    assert "c.parquet, row 1: it becomes 3,1" in said
    assert "bytes, and at most 268,435,456 of a row are read" in said


def test_a_large_table_that_is_right_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = 200
    text = pa.array(["y" * 500_000 if row % 2 else None for row in range(rows)], pa.string())
    words = pa.array(
        [["a", "bc", None] * 100_000, None, []] + [["d" * 900]] * (rows - 3), pa.list_(pa.string())
    )
    table = pa.table({"doc": np.arange(rows), "text": text, "words": words})
    pq.write_table(table, tmp_path / "t.parquet", **{**OPTIONS, "dictionary_pagesize_limit": 1 << 28})
    found = read_table(tmp_path / "t.parquet", rows)
    assert found.to_pylist() == table.to_pylist()
    assert [field.type for field in found.schema] == [
        field.type for field in pq.read_table(tmp_path / "t.parquet").schema
    ]


# --- vectors that aren't finite --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_stored_is_what_is_read_and_nothing_is_computed_with_it(
    tmp_path: Path, dtype: str, value: float
) -> None:
    out = make(tmp_path / "d", (4, 5), dtype).path
    poke(out, "1", 3, value, shard=1)
    dataset = open_dataset(out)
    np.testing.assert_array_equal(dataset.layer("1")[7, 0], np.float32(value))
    np.testing.assert_array_equal(dataset.layer("1", rows=[7, 0])[0, 0], np.float32(value))
    np.testing.assert_array_equal(dataset.stack("1")[0, 7, 0], np.float32(value))
    part = list(dataset.checked().parts())[1]
    what = f"{out}: layer 1, row 7 holds {value}"
    for look in (
        lambda: dataset.checked().layer("1"),
        lambda: dataset.checked().layer("1", rows=slice(5, 9)),
        lambda: dataset.checked().layer("1", rows=[8, 7, 0]),
        lambda: dataset.checked().stack(),
        lambda: part.layer("1"),
        lambda: dataset.mix("mean(all)"),
        lambda: dataset.mix("1"),
        lambda: dataset.mix_stats("max(1:)"),
    ):
        assert refused(look).startswith(what)
    assert dataset.checked().layer("2").shape == (9, WIDTH)
    assert dataset.checked().layer("1", rows=slice(0, 7)).shape == (7, WIDTH)
    assert dataset.checked().layer("1", raw=True).shape == (9, WIDTH)
    (problem,) = check_files(out)
    assert problem.file == "shards/00001.safetensors"
    assert problem.what == f"layer 1 holds {value} in row 3 of the shard, which isn't finite"


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_other_types_that_hold_what_is_not_finite(tmp_path: Path, dtype: str) -> None:
    out = make(tmp_path / "d", (4,), dtype).path
    path = Folder(out).shard(0, "tensors")
    file = TensorFile(path)
    span = file.spans["2" if dtype == "bfloat16" else "2.scale"]
    bits = np.array([0x7F80], "<u2").tobytes() if dtype == "bfloat16" else np.array([np.inf], "<f4").tobytes()
    with path.open("r+b") as raw:
        raw.seek(file.data_start + span.start)
        raw.write(bits)
    sign(out)
    assert not np.isfinite(open_dataset(out).layer("2")[0]).all()
    assert np.isfinite(open_dataset(out).layer("2")[1:]).all()
    assert refused(lambda: open_dataset(out).checked().layer("2")).startswith(f"{out}: layer 2, row 0 holds")
    assert [problem.file for problem in check_files(out)] == ["shards/00000.safetensors"]


def test_rows_in_memory_are_refused_as_well() -> None:
    values = np.ones((3, 2), np.float32)
    holed = values.copy()
    holed[2, 1] = np.nan
    states = states_of([values, holed], {})
    assert np.isnan(states.layer("1")[2, 1])
    for look in (lambda: states.checked().layer("1"), lambda: states.mix("mean(all)")):
        with pytest.raises(RequestError, match="layer 1, row 2 holds nan; give rows of finite numbers"):
            look()


def test_every_bit_pattern_of_float16_is_read_as_numpy_reads_it() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16).view("<f2").reshape(256, 256)
    np.testing.assert_array_equal(decode(codes, None, "float16"), codes.astype(np.float32))


def test_rows_of_numbers_whose_sum_is_beyond_float32_are_finite() -> None:
    assert odd_row(np.full((3, 4), 3e38, np.float32)) is None
    assert odd_row(np.zeros((0, 4), np.float32)) is None
    assert odd_row(np.zeros((3, 0), np.float32)) is None
    odd = np.full((300_000, 8), 3e38, np.float32)
    odd[299_998, 7] = -np.inf
    assert odd_row(odd) == 299_998


# --- tables that aren't those of a dataset -----------------------------------------------------------------------


def with_label(start: int, rows: int, label: Any) -> tuple[pa.Table, pa.Table]:
    index, texts = tables_of(start, rows)
    place = index.column_names.index("label")
    return index.set_column(place, "label", label), texts.set_column(place + 2, "label", label)


def test_shards_whose_tables_cannot_be_joined(tmp_path: Path) -> None:
    labels: list[Any] = [pa.array(["a", "b"]), pa.nulls(2), pa.array([1.5, 2.5])]
    with DatasetWriter(tmp_path / "d", SETTINGS) as writer:
        for number, label in enumerate(labels):
            shard = writer.begin(LAYERS, 2, WIDTH, "float16")
            for layer, values in vectors(number, 2).items():
                shard.put(layer, np.arange(2), values)
            shard.commit(*with_label(2 * number, 2, label), facts())
        writer.finish(describe(shards=3))
    problems = check_files(tmp_path / "d")
    assert [problem.file for problem in problems] == [
        "shards/00002.index.parquet",
        "shards/00002.texts.parquet",
    ]
    assert all("don't fit together" in problem.what for problem in problems)
    refused(lambda: open_dataset(tmp_path / "d").texts)


def other(kind: str, change: Callable[[pa.Table], pa.Table], out: Path) -> None:
    path = Folder(out).shard(1, kind)
    pq.write_table(change(read_table(path)), path, **OPTIONS)
    sign(out)


@pytest.mark.parametrize("kind", ["index", "texts"])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda table: table.drop_columns(["doc"]), "it has no column 'doc'"),
        (lambda table: table.set_column(0, "doc", pa.array([4.0, 5.0, 6.0])), "column 'doc' is double"),
        (lambda table: table.set_column(0, "doc", pa.array(["4", "5", "6"])), "column 'doc' is string"),
        (
            lambda table: table.set_column(0, "doc", pa.array([4, None, 6])),
            "column 'doc' is int64 with 1 nulls",
        ),
        (lambda table: table.set_column(0, "doc", pa.array([0, 1, 2])), "texts"),
        (lambda table: table.set_column(0, "doc", pa.array([6, 5, 4])), "texts"),
        (lambda table: table.set_column(1, "text", pa.array([1, 2, 3])), "column 'text' is int64"),
        (lambda table: table.append_column("special", pa.array([1, 2, 3])), "column 'special' is int64"),
        (lambda table: table.slice(0, 2), "it has 2 rows where the manifest says 3"),
    ],
)
def test_a_table_that_is_not_one_of_a_dataset(
    tmp_path: Path, kind: str, change: Callable[[pa.Table], pa.Table], what: str
) -> None:
    out = make(tmp_path / "d", (4, 3)).path
    if kind == "texts" and what == "column 'text' is int64":
        what = "column 'text' is"

        def change(table: pa.Table) -> pa.Table:
            place = table.column_names.index("text")
            return table.set_column(place, "text", pa.array([1, 2, 3]))

    other(kind, change, out)
    assert what in refused(lambda: getattr(open_dataset(out), kind))
    assert [problem.file for problem in check_files(out)] == [f"shards/00001.{kind}.parquet"]


def test_a_manifest_that_is_signed_and_makes_no_sense_is_a_problem(tmp_path: Path) -> None:
    out = make(tmp_path / "d", (3,)).path
    manifest = json.loads(Folder(out).manifest.read_bytes())
    write_manifest(out, json.dumps({**manifest, "level": "page"}).encode())
    assert [problem.file for problem in check_files(out)] == ["manifest.json"]
    write_manifest(out, json.dumps({**manifest, "limit": float("inf")}).encode())
    (problem,) = check_files(out)
    assert "Infinity isn't a JSON number" in problem.what
