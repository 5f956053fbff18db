import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layerwise._util.progress import Progress, tracking
from layerwise.errors import DatasetError
from layerwise.store.reader import open_dataset
from layerwise.store.verify import Problem, check_files
from layerwise.store.writer import DatasetWriter
from stored import SETTINGS, contents, describe, make, write_shard


def rewrite(out: Path, **changes: Any) -> None:
    """Change the manifest, and its hash with it."""
    path = out / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (out / "manifest.json.sha256").write_text(f"{digest}  manifest.json\n")


def rewrite_records(out: Path, change: Any) -> None:
    """Change the records of the shards, and all hashes with them."""
    (path,) = out.glob("shards-*.parquet")
    table = pq.read_table(path)
    records = [json.loads(record) for record in table["record"].to_pylist()]
    change(records)
    columns = {name: [record[name] if record else 0 for record in records] for name in ("texts", "rows")} | {
        "record": [json.dumps(record) for record in records]
    }
    pq.write_table(pa.table(columns), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    named = path.rename(out / f"shards-{digest[:12]}.parquet")
    entry = {"name": named.name, "count": len(records), "bytes": named.stat().st_size, "sha256": digest}
    rewrite(out, shards=entry)


def test_an_untouched_dataset_has_no_problem(tmp_path: Path) -> None:
    out = make(tmp_path / "d").path
    events: list[Progress] = []
    with tracking(events.append) as track:
        assert check_files(out, track) == []
    shards = len(list((out / "shards").glob("*.safetensors")))
    assert [(event.stage, event.number, event.of) for event in events[:-1]] == [
        (f"checking shard {n}", n + 1, shards) for n in range(shards)
    ]


def test_any_flipped_byte_of_any_file_is_found_and_named(tmp_path: Path) -> None:
    out = make(tmp_path / "d", (5, 2)).path
    missed = []
    for name, data in contents(out).items():
        step = max(1, len(data) // 40)
        for place in {*range(0, len(data), step), *range(len(data))[:9], *range(len(data))[-9:]}:
            changed = bytearray(data)
            changed[place] ^= 1 << place % 8
            (out / name).write_bytes(changed)
            found = {problem.file for problem in check_files(out)}
            # a wrong byte in the hash shows at the manifest, and the other way round
            if not found & {name, name.removesuffix(".sha256")}:
                missed.append((name, place, found))
        (out / name).write_bytes(data)
    assert missed == []
    assert check_files(out) == []


@pytest.mark.parametrize("name", ["00000.safetensors", "00001.index.parquet", "00002.texts.parquet"])
def test_missing_and_cut_files_are_named(tmp_path: Path, name: str) -> None:
    out = make(tmp_path / "d").path
    path = out / "shards" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    short, full = f"{len(whole) - 3:,}", f"{len(whole):,}"
    assert check_files(out) == [
        Problem(f"shards/{name}", f"has {short} bytes where the manifest says {full}")
    ]
    path.unlink()
    assert check_files(out) == [Problem(f"shards/{name}", "is missing")]


def test_files_that_are_not_in_the_manifest_are_named(tmp_path: Path) -> None:
    out = make(tmp_path / "d").path
    shutil.copy(out / "shards" / "00000.safetensors", out / "shards" / "00003.safetensors")
    assert check_files(out) == [Problem("shards/00003.safetensors", "isn't in the manifest")]


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sha256"])
def test_a_missing_manifest_or_hash_is_named(tmp_path: Path, name: str) -> None:
    out = make(tmp_path / "d").path
    (out / name).unlink()
    (problem,) = check_files(out)
    assert problem.file == name
    assert "is missing" in problem.what


def test_files_that_are_whole_but_not_what_the_manifest_says_are_named(tmp_path: Path) -> None:
    out = make(tmp_path / "d", (3,)).path
    model = json.loads((out / "manifest.json").read_text())["model"]
    rewrite(out, width=4, model=model | {"width": 4})
    assert [(p.file, "where the manifest says F16 [3, 4]" in p.what) for p in check_files(out)] == [
        ("shards/00000.safetensors", True)
    ]
    rewrite(out, width=5, model=model)
    rewrite_records(out, lambda records: records[0].update(rows=2, texts=1))
    assert [problem.file for problem in check_files(out)] == [
        *(f"shards/{p.name}" for p in in_order(out)),
        "manifest.json",
    ]
    assert "has 3 rows where the manifest says 2" in check_files(out)[1].what


def in_order(out: Path) -> list[Path]:
    return [out / "shards" / f"00000.{kind}" for kind in ("safetensors", "index.parquet", "texts.parquet")]


def test_what_is_no_finished_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="doesn't exist; a dataset is the folder"):
        check_files(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"is no dataset: it has no manifest.json"):
        check_files(tmp_path)
    (tmp_path / "f").write_text("")
    with pytest.raises(DatasetError, match="is a file; a dataset is the folder"):
        open_dataset(tmp_path / "f")
    with DatasetWriter(tmp_path / "d", SETTINGS) as writer:
        write_shard(writer, 3)
    with pytest.raises(DatasetError, match="is unfinished"):
        check_files(tmp_path / "d")


def test_a_newer_format_is_an_error_and_not_a_fault(tmp_path: Path) -> None:
    out = make(tmp_path / "d").path
    rewrite(out, version=3)
    for look in (check_files, open_dataset):
        with pytest.raises(DatasetError, match="format version 3, this layerwise reads 2; update layerwise"):
            look(out)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "zarr"}, "isn't of a layerwise dataset: its format is 'zarr'"),
        ({"version": "1"}, "is damaged: its version is '1'"),
        ({"version": 0}, "is damaged: its version is 0"),
        ({"blocks": -1}, "blocks is -1"),
        ({"blocks": 10**12, "layers": ["emb", "x"]}, "blocks is 1000000000000"),
        ({"width": 0}, "width is 0"),
        ({"width": True}, "width is True"),
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"dtype": []}, r"dtype is \[\]"),
        ({"level": None}, "level is None"),
        ({"pool": 3}, "pool is 3"),
        ({"layers": []}, r"layers is \[\]"),
        ({"layers": ["1", "1"]}, "layers is"),
        ({"layers": ["3"]}, "layers is"),
        ({"layers": [["1"]]}, "layers.0 is"),
        ({"shards": {}}, "shards.name is None"),
        ({"shards": [{}]}, r"shards is \[\{\}\]"),
        ({"shards": {"name": "../x", "sha256": "ab" * 32, "count": 1, "bytes": 1}}, "shards.name is"),
        (
            {"shards": {"name": "shards-abababababab.parquet", "sha256": "ab" * 32, "count": -1}},
            "shards.bytes is",
        ),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    out = make(tmp_path / "d").path
    rewrite(out, **changes)
    with pytest.raises(DatasetError, match=says):
        open_dataset(out)


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records[1]["files"]["tensors"].update(name="../../secret"),
        lambda records: records[1].update(number=7),
        lambda records: records[1]["files"].pop("index"),
        lambda records: records.__setitem__(1, []),
    ],
)
def test_a_record_cannot_point_outside_its_folder(tmp_path: Path, change: Any) -> None:
    out = make(tmp_path / "d").path
    rewrite_records(out, change)
    assert [
        (p.file[:7], "is damaged (" in p.what, p.what.endswith("; restore it from a copy"))
        for p in check_files(out)
    ] == [("shards-", True, True)]
    with pytest.raises(DatasetError, match=r"shards-.*parquet is damaged"):
        list(open_dataset(out).shards)


@pytest.mark.parametrize("data", [None, b"", b"PAR1 nothing PAR1"])
def test_records_that_cannot_be_read_are_told(tmp_path: Path, data: bytes | None) -> None:
    out = make(tmp_path / "d").path
    (path,) = out.glob("shards-*.parquet")
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"can't read .*shards-.*parquet: .*; restore it from a copy"):
        _ = open_dataset(out).rows
    assert [problem.file for problem in check_files(out)] == [path.name]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"null"])
def test_a_manifest_that_is_no_json_is_refused(tmp_path: Path, data: bytes) -> None:
    out = make(tmp_path / "d").path
    (out / "manifest.json").write_bytes(data)
    with pytest.raises(DatasetError, match=r"manifest.json is damaged, it holds no JSON"):
        open_dataset(out)
    assert [problem.file for problem in check_files(out)] == ["manifest.json", "manifest.json"]


def test_a_damaged_shard_is_told_when_it_is_touched_and_not_before(tmp_path: Path) -> None:
    out = make(tmp_path / "d").path
    first = out / "shards" / "00000.safetensors"
    first.write_bytes(first.read_bytes()[:-1])
    (out / "shards" / "00002.texts.parquet").write_bytes(b"PAR1 nothing PAR1")
    (out / "shards" / "00002.index.parquet").unlink()
    dataset = open_dataset(out)
    assert dataset.layer("1", slice(8, 10)).shape == (2, 5)
    with pytest.raises(
        DatasetError, match=r"00000.safetensors is damaged: its tensors take .* and there are"
    ):
        dataset.layer("1")
    with pytest.raises(DatasetError, match=r"can't read .*00002.texts.parquet"):
        _ = dataset.texts
    with pytest.raises(DatasetError, match=r"can't read .*00002.index.parquet: .*No such file"):
        _ = dataset.index


def test_a_dataset_without_shards_is_one(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", SETTINGS) as writer:
        writer.finish(describe())
    dataset = open_dataset(tmp_path / "d")
    assert (dataset.rows, dataset.index.num_rows, dataset.stack().shape) == (0, 0, (3, 0, 5))
    assert check_files(dataset.path) == []
