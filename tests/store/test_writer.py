import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from layerwise.errors import DatasetError, LayerwiseError, OutputError
from layerwise.store import disk
from layerwise.store.manifest import Settings
from layerwise.store.reader import open_dataset
from layerwise.store.staging import difference
from layerwise.store.tensors import TensorWriter
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
    write_shard,
)


def begun(out: Path, sizes: tuple[int, ...] = (7, 0)) -> Path:
    """An unfinished dataset with these shards committed."""
    with DatasetWriter(out, SETTINGS) as writer:
        for rows in sizes:
            write_shard(writer, rows)
    return out


def error_of(out: Path, settings: Settings = SETTINGS) -> str:
    with pytest.raises(LayerwiseError) as caught:
        DatasetWriter(out, settings)
    return str(caught.value)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_finished_dataset_is_left_as_it_is(tmp_path: Path) -> None:
    make(tmp_path / "d")
    before = contents(tmp_path / "d")
    with DatasetWriter(tmp_path / "d", SETTINGS) as writer:
        assert writer.finished
        assert [record.rows for record in writer.committed.values()] == [7, 0, 4]
        with pytest.raises(ValueError, match="a finished dataset takes no shard"):
            writer.begin(LAYERS, 1, WIDTH, "float16")
        with pytest.raises(ValueError, match="unfinished work"):
            writer.drop_last()
        with pytest.raises(ValueError, match="is finished"):
            writer.finish(describe())
    assert contents(tmp_path / "d") == before
    assert not (tmp_path / "d" / "work").exists()


def test_unfinished_work_is_gone_on_with_to_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "a")
    begun(tmp_path / "b")
    with pytest.raises(
        DatasetError, match=r"is unfinished: .* start the same `layerwise extract` command again"
    ):
        open_dataset(tmp_path / "b")
    with DatasetWriter(tmp_path / "b", SETTINGS) as writer:
        assert not writer.finished
        assert [(record.number, record.input) for record in writer.committed.values()] == [
            (0, "digest 0"),
            (1, "digest 1"),
        ]
    make(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_last_shard_can_be_dropped_and_made_anew(tmp_path: Path) -> None:
    make(tmp_path / "a", (7, 4))
    begun(tmp_path / "b", (7, 3))
    with DatasetWriter(tmp_path / "b", SETTINGS) as writer:
        assert writer.drop_last().rows == 3
        assert len(writer.committed) == 1
        assert not list((tmp_path / "b" / "shards").glob("00001*"))
    make(tmp_path / "b", (7, 4))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("point", range(5))
def test_a_drop_that_is_cut_off_leaves_whole_shards_only(
    tmp_path: Path, monkeypatch: Any, point: int
) -> None:
    out, passed = begun(tmp_path / "d", (7, 3)), []

    def cut(event: str, path: Path) -> None:
        passed.append(path)
        if len(passed) > point:
            raise KeyboardInterrupt

    with DatasetWriter(out, SETTINGS) as writer:
        monkeypatch.setattr(disk, "reached", cut)
        with pytest.raises(KeyboardInterrupt):
            writer.drop_last()
        monkeypatch.undo()
    with DatasetWriter(out, SETTINGS) as writer:
        assert len(writer.committed) == (2 if point == 0 else 1)
        assert len(list((out / "shards").iterdir())) == 3 * len(writer.committed)


def test_what_a_crash_left_is_swept_up_and_nothing_else(tmp_path: Path) -> None:
    out = begun(tmp_path / "d")
    before = contents(out)
    for name in (
        ".manifest.json.part",
        "work/.00002.json.part",
        "work/.00002.json.0123cdef.part",
        "shards/.00002.safetensors.part",
        "shards/.00002.index.parquet.0123cdef.part",
        "shards/00002.safetensors",
        "shards/00031.index.parquet",
    ):
        (out / name).write_text("left")
    for name in (
        "notes.txt",
        ".mine.part",
        "shards/README",
        "work/README.json",
        "shards/00002.safetensors.old",
    ):
        (out / name).write_text("mine")
        before[name] = b"mine"
    DatasetWriter(out, SETTINGS).close()
    assert contents(out) == before


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OutputError, MemoryError])
def test_an_interrupted_shard_leaves_nothing_behind(tmp_path: Path, fault: type[BaseException]) -> None:
    make(tmp_path / "a")
    with suppress(fault), DatasetWriter(tmp_path / "b", SETTINGS) as writer:
        write_shard(writer, 7)
        shard = writer.begin(LAYERS, 4, WIDTH, "float16")
        shard.put("1", np.arange(4), vectors(1, 4)["1"])
        raise fault("stop")
    assert sorted(p.name for p in (tmp_path / "b" / "shards").iterdir()) == [
        "00000.index.parquet",
        "00000.safetensors",
        "00000.texts.parquet",
    ]
    make(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_an_interrupt_after_the_commit_record_leaves_the_shard(tmp_path: Path, monkeypatch: Any) -> None:
    make(tmp_path / "a")

    def interrupt(event: str, path: Path) -> None:
        if (event, path.name) == ("sync", "work") and (path / "00001.json").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(disk, "reached", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "b")
    monkeypatch.undo()
    with DatasetWriter(tmp_path / "b", SETTINGS) as writer:
        assert len(writer.committed) == 2
    make(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_shard_must_be_whole_and_alone(tmp_path: Path) -> None:
    index, texts = tables_of(0, 4)
    with DatasetWriter(tmp_path / "d", SETTINGS) as writer:
        shard = writer.begin(LAYERS, 4, WIDTH, "float16")
        with pytest.raises(ValueError, match="one at a time"):
            writer.begin(LAYERS, 4, WIDTH, "float16")
        with pytest.raises(ValueError, match="a shard is still open"):
            writer.finish(describe())
        with pytest.raises(ValueError, match="4 of 4 rows of layer emb were never put"):
            shard.commit(index, texts, facts())
        with pytest.raises(ValueError, match="an index of 3 rows for 4 vectors"):
            shard.commit(index.slice(1), texts, facts())
        with pytest.raises(ValueError, match="shard 1 is committed already, or another writer's"):
            DatasetWriter(tmp_path / "e", SETTINGS, (0, 2)).begin(LAYERS, 4, WIDTH, "float16", number=1)
        shard.abandon()
        assert writer.committed == {}
        assert list((tmp_path / "d" / "shards").iterdir()) == []


def test_a_manifest_that_makes_no_sense_is_not_written(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", SETTINGS) as writer:
        with pytest.raises(DatasetError, match="level is 'page'"):
            writer.finish(replace(describe(), level="page"))
        with pytest.raises(DatasetError, match="its sources have 1 shards in all, and there are 0"):
            writer.finish(describe(shards=1))
        assert not writer.finished


def test_settings_may_hold_any_name_of_a_file(tmp_path: Path) -> None:
    odd = replace(SETTINGS, keep=(os.fsdecode(b"caf\xe9.txt"), "ünï\u2028 \U0001f642"))
    DatasetWriter(tmp_path / "d", odd).close()
    with DatasetWriter(tmp_path / "d", odd) as writer:
        writer.finish(describe())
    assert open_dataset(tmp_path / "d").manifest.settings == odd


def test_a_file_is_no_place_for_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    assert "is a file; a dataset is a folder" in error_of(tmp_path / "d")
    assert "Not a directory" in error_of(tmp_path / "d" / "inner")


@pytest.mark.parametrize("name", ["notes.txt", "work/thesis.tex", "shards/00000.safetensors", ".hidden"])
def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    assert f"holds {name} and is no dataset; give a new or an empty folder" in error_of(tmp_path / "d")
    assert contents(tmp_path / "d") == {name: b"mine"}


def test_a_foreign_manifest_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    assert "isn't of a layerwise dataset: its format is None" in error_of(tmp_path)
    assert list(contents(tmp_path)) == ["manifest.json"]


def test_an_empty_folder_is_a_place(tmp_path: Path) -> None:
    assert make(tmp_path).rows == 11


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused_naming_the_first(tmp_path: Path, finished: bool) -> None:
    out = make(tmp_path / "d").path if finished else begun(tmp_path / "d")
    before = contents(out)
    assert 'dtype is "float16" in it and "int8" here' in error_of(out, settings_of("int8"))
    other = replace(SETTINGS, model=replace(SETTINGS.model, weights="12" * 32))
    says = f'model.weights is "{"ab" * 32}" in it and "{"12" * 32}" here; give the same settings, or another'
    assert says in error_of(out, other)
    newer = replace(SETTINGS, others={"windows": 3})
    assert "windows is not set in it and 3 here" in error_of(out, newer)
    assert contents(out) == before


def test_the_first_difference_is_found_by_name() -> None:
    assert difference({"a": [1, 2]}, {"a": [1, 2]}) is None
    assert difference({"b": 1, "a": {"y": 1, "x": 2}}, {"b": 2, "a": {"y": 2, "x": 3}}) == ("a.x", "2", "3")
    assert difference({"a": {"x": 1}}, {"a": None}) == ("a", '{ "x": 1 }', "null")
    long = difference({"a": "x" * 100}, {"a": 1})
    assert long is not None
    assert len(long[1]) == 80


@pytest.mark.parametrize("finished", [True, False])
def test_a_newer_format_is_refused(tmp_path: Path, finished: bool) -> None:
    out = make(tmp_path / "d").path if finished else begun(tmp_path / "d")
    edit(out / ("manifest.json" if finished else "work/settings.json"), version=3)
    assert "has format version 3, this layerwise reads 2; update layerwise" in error_of(out)


@pytest.mark.parametrize("finished", [True, False])
def test_an_older_format_is_refused_and_says_what_to_do(tmp_path: Path, finished: bool) -> None:
    out = make(tmp_path / "d").path if finished else begun(tmp_path / "d")
    edit(out / ("manifest.json" if finished else "work/settings.json"), version=1)
    says = (
        f"of an older layerwise, and this one reads 2; remove {out}, or give another out, and extract again"
    )
    assert f"has format version 1, {says}" in error_of(out)


KIND = pytest.mark.parametrize("kind", ["safetensors", "index.parquet", "texts.parquet"])


@KIND
def test_a_file_of_a_finished_dataset_that_is_gone_or_cut_is_named(tmp_path: Path, kind: str) -> None:
    out = make(tmp_path / "d").path
    path = out / "shards" / f"00000.{kind}"
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{path} has" in error_of(out)
    path.unlink()
    says = (
        "is missing (No such file or directory); restore it from a copy, or make it again with `layerwise re"
    )
    assert f"{path} {says}" in error_of(out)


@KIND
@pytest.mark.parametrize("fault", ["cut", "gone"])
def test_a_committed_shard_of_unfinished_work_that_is_not_whole_is_made_again(
    tmp_path: Path, kind: str, fault: str
) -> None:
    out = begun(tmp_path / "d", (7,))
    path = out / "shards" / f"00000.{kind}"
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    with DatasetWriter(out, SETTINGS) as writer:
        assert 0 not in writer.committed
        assert list((out / "shards").iterdir()) == [], "what is left of it is swept up"
    make(tmp_path / "d")
    assert contents(make(tmp_path / "e").path) == contents(out)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_shard_whose_record_is_damaged_is_made_again(tmp_path: Path, text: str) -> None:
    out = begun(tmp_path / "d")
    (out / "work" / "00000.json").write_text(text)
    with DatasetWriter(out, SETTINGS) as writer:
        assert 0 not in writer.committed
        assert not (out / "work" / "00000.json").exists()


@pytest.mark.parametrize(
    ("name", "number", "says"),
    [
        (
            "sync",
            errno.ENOSPC,
            "No space left on device; what was committed is kept; free some space and start",
        ),
        ("rename", errno.EROFS, "Read-only file system; what was committed is kept; choose a place"),
        (
            "write_aside",
            errno.EDQUOT,
            "Disk quota exceeded; what was committed is kept; free some space in your",
        ),
        ("sync_folder", errno.EIO, "Input/output error; what was committed is kept; correct this and start"),
    ],
)
def test_a_disk_that_fails_keeps_what_was_committed(
    tmp_path: Path, monkeypatch: Any, name: str, number: int, says: str
) -> None:
    make(tmp_path / "a")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with DatasetWriter(tmp_path / "b", SETTINGS) as writer:
        write_shard(writer, 7)
        monkeypatch.setattr(disk, name, fail)
        with pytest.raises(OutputError) as caught:
            write_shard(writer, 0)
        monkeypatch.undo()
    assert says in str(caught.value)
    assert str(tmp_path / "b") in str(caught.value)
    assert not list((tmp_path / "b" / "shards").glob("*00001*"))
    with DatasetWriter(tmp_path / "b", SETTINGS) as writer:
        assert len(writer.committed) == 1
    make(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_disk_that_fills_up_while_rows_are_put_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    with DatasetWriter(tmp_path / "d", SETTINGS) as writer:
        shard = writer.begin(LAYERS, 4, WIDTH, "float16")

        def fail(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(TensorWriter, "_write", fail)
        with pytest.raises(OutputError, match="No space left on device"):
            shard.put("1", np.arange(4), vectors(0, 4)["1"])


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(
        OutputError, match="Permission denied; make it writable and start the same command again"
    ):
        DatasetWriter(tmp_path / "d", SETTINGS)


def test_a_finished_dataset_needs_no_writable_folder(tmp_path: Path, monkeypatch: Any) -> None:
    make(tmp_path / "d")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("write_aside", "rename", "remove", "sync_folder"):
        monkeypatch.setattr(disk, name, fail)
    with DatasetWriter(tmp_path / "d", SETTINGS) as writer:
        assert writer.finished


HOLD = """
import sys
from pathlib import Path
from layerwise.store.writer import DatasetWriter
from stored import SETTINGS
with DatasetWriter(Path(sys.argv[1]), SETTINGS):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "d")]
    path = [str(Path(__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        assert "is in use: another process is writing it; wait until it ends" in error_of(tmp_path / "d")
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    DatasetWriter(tmp_path / "d", SETTINGS).close()


def test_a_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d", SETTINGS):
        assert "is in use" in error_of(tmp_path / "d")
    DatasetWriter(tmp_path / "d", SETTINGS).close()


def test_the_lock_is_let_go_when_opening_fails(tmp_path: Path) -> None:
    begun(tmp_path / "d")
    error_of(tmp_path / "d", settings_of("int8"))
    DatasetWriter(tmp_path / "d", SETTINGS).close()


def test_tables_of_any_type_are_written(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "doc": [0, 1, 2, 3],
        "tags": [["a"], []] * 2,
        "when": pa.array([0, 1, 0, 1], pa.timestamp("us", "UTC")),
        "kind": pa.array(["x", "y"] * 2).dictionary_encode(),
        "number": pa.array([1, 2] * 2, pa.int8()),
        "odd": [{"a": 1}, None] * 2,
        "none": pa.nulls(4),
    }
    texts = pa.table(columns)
    with DatasetWriter(tmp_path / "d", settings_of("float32", ("1",))) as writer:
        for start in (0, 2):
            shard = writer.begin(("1",), 0, 1, "float32")
            shard.commit(texts.slice(4), texts.slice(start, 2), facts())
        writer.finish(describe("float32", 2, layers=("1",), width=1))
    got = open_dataset(tmp_path / "d").texts
    assert got.to_pylist() == texts.to_pylist()
    assert got.schema.equals(texts.schema)


def test_a_run_that_commits_nothing_leaves_nothing(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "d", SETTINGS)
    writer.begin(("1",), 2, 3, "float32")
    writer.close()
    assert not (tmp_path / "d").exists()


def test_a_folder_that_was_there_stays_and_takes_other_settings(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with DatasetWriter(tmp_path / "d", SETTINGS):
        pass
    with DatasetWriter(tmp_path / "d", settings_of("int8")) as writer:
        assert not writer.finished
