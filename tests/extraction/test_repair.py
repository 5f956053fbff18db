"""repair: a shard that was changed, cut or lost is made again from its source, byte for byte."""

import collections
import gc
import json
import shutil
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from killing import killed_anywhere
from layerwise.api.merge import merge
from layerwise.api.repair import repair as repair_by
from layerwise.encode import int8
from layerwise.errors import DatasetError, LayerwiseError, ModelError, RequestError, SourceError
from layerwise.extraction.repair import Repair
from layerwise.store import check_files
from warm import Python

ROWS: list[dict[str, Any]] = [
    {"text": f"text number {n} " + "word " * (n % 5), "label": "xy"[n % 2], "number": n} for n in range(10)
]
KINDS = ("safetensors", "index.parquet", "texts.parquet")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source.jsonl", ROWS)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def make(encoder_of: Callable[[str], Any], source: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a dataset in shards of 4 texts, of `source` unless another is given."""

    def call(given: Any = source, out: str = "out", **more: Any) -> Path:
        options = {"model": encoder_of("bert"), "shard_texts": 4} | more
        return lw.extract(given, tmp_path / out, **options).path

    return call


@pytest.fixture
def repair(model_folder: Callable[[str], Path]) -> Callable[..., Repair]:
    """`repair` by the tiny model, which `make` names by its folder too."""

    def call(path: Path, **more: Any) -> Repair:
        return repair_by(path, **{"device": "cpu"} | more)

    return call


Make = Callable[..., Path]
Mend = Callable[..., Repair]


def files(folder: Path) -> dict[str, bytes]:
    """Every file but the lock, by its path in the folder."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def damage(path: Path, fault: str = "change") -> None:
    if fault == "remove":
        path.unlink()
        return
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if fault == "cut" else data)


def shard(out: Path, number: int, kind: str = "safetensors") -> Path:
    return out / "shards" / f"{number:05d}.{kind}"


@pytest.mark.parametrize("fault", ["change", "cut", "remove"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_made_again(kind: str, fault: str, make: Make, repair: Mend) -> None:
    out = make()
    before = files(out)
    damage(shard(out, 1, kind), fault)
    assert check_files(out) != []
    assert repair(out) == Repair((1,), ())
    assert files(out) == before
    assert check_files(out) == []


@pytest.mark.parametrize("level", ["text", "word", "token"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_several_shards_of_any_kind(level: str, dtype: str, make: Make, repair: Mend) -> None:
    out = make(level=level, dtype=dtype, layers="emb,-1", batch_tokens=64)
    before = files(out)
    kept = shard(out, 1).stat().st_mtime_ns
    damage(shard(out, 0), "remove")
    damage(shard(out, 2, "texts.parquet"))
    damage(shard(out, 2, "index.parquet"), "cut")
    assert repair(out).shards == (0, 2)
    assert files(out) == before
    assert shard(out, 1).stat().st_mtime_ns == kept, "a shard that is whole is left alone"


def test_all_shards_lost(make: Make, repair: Mend) -> None:
    out = make()
    before = files(out)
    shutil.rmtree(out / "shards")
    assert repair(out).shards == (0, 1, 2)
    assert files(out) == before


def test_nothing_wrong_and_nothing_is_done(make: Make, repair: Mend, source: Path) -> None:
    out = make()
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    source.unlink()
    assert repair(out, model="nowhere") == Repair((), ())
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_a_source_that_moved(make: Make, repair: Mend, source: Path, tmp_path: Path) -> None:
    out = make()
    before = files(out)
    moved = source.rename(tmp_path / "elsewhere.jsonl")
    damage(shard(out, 1))
    with pytest.raises(SourceError, match="source.jsonl doesn't exist"):
        repair(out)
    for given in (moved, [moved]):
        damage(shard(out, 1))
        repair(out, source=given)
        assert files(out) == before, "the old name is part of what is stored"


def test_a_folder_of_documents_that_moved(make: Make, repair: Mend, tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "deep"
    folder.mkdir(parents=True)
    for n in range(3):
        (folder / f"{n}.md").write_text(f"document {n}\nof two lines\n")
    out = make(tmp_path / "docs", format="docs", shard_texts=2)
    before = files(out)
    (tmp_path / "docs").rename(tmp_path / "moved")
    damage(shard(out, 1))
    repair(out, source=tmp_path / "moved")
    assert files(out) == before


def test_a_glob_that_moved(make: Make, repair: Mend, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for n in range(3):
        write(tmp_path / "parts" / f"{n}.jsonl", ROWS[n : n + 2])
    out = make(str(tmp_path / "parts" / "*.jsonl"), shard_texts=2)
    before = files(out)
    (tmp_path / "parts").rename(tmp_path / "moved")
    damage(shard(out, 1))
    expanded = sorted((tmp_path / "moved").glob("*.jsonl"))
    says = r"names 3 files or globs, .* came from 1: '.*\*.jsonl'; give the present path of each .* a glob in quotes"
    with pytest.raises(RequestError, match=says):
        repair(out, source=expanded)
    repair(out, source=str(tmp_path / "moved" / "*.jsonl"))
    assert files(out) == before


def test_documents_named_by_a_glob_that_moved(make: Make, repair: Mend, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for n in range(3):
        (tmp_path / "parts" / f"{n}.txt").write_text(f"document {n}")
    out = make(str(tmp_path / "parts" / "**/?.txt"), format="docs", shard_texts=2)
    assert lw.open_dataset(out).texts["id"][0].as_py() == str(tmp_path / "parts" / "0.txt")
    before = files(out)
    (tmp_path / "parts").rename(tmp_path / "moved")
    damage(shard(out, 1))
    repair(out, source=str(tmp_path / "moved" / "**/?.txt"))
    assert files(out) == before


def test_a_source_that_changed_is_refused_and_nothing_is_touched(
    make: Make, repair: Mend, source: Path
) -> None:
    out = make()
    damage(shard(out, 1))
    damaged = files(out)
    changed = [*ROWS[:5], {**ROWS[5], "label": "changed"}, *ROWS[6:]]
    for rows in (changed, ROWS[1:], ROWS[:6]):
        write(source, rows)
        with pytest.raises(DatasetError, match="have changed since shard 1 was written; restore the source"):
            repair(out)
    write(source, ROWS[:4])
    with pytest.raises(DatasetError, match="the source ends before shard 1"):
        repair(out)
    assert files(out) == damaged


def test_changes_elsewhere_in_the_source_do_no_harm(make: Make, repair: Mend, source: Path) -> None:
    out = make()
    before = files(out)
    damage(shard(out, 1))
    write(source, [{**ROWS[0], "text": "changed"}, *ROWS[1:8]])
    assert repair(out).shards == (1,)
    assert files(out) == before


def test_what_came_through_stdin_needs_a_source(
    make: Make, repair: Mend, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with source.open(encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)
        out = make("-", format="jsonl")
    before = files(out)
    damage(shard(out, 1))
    with pytest.raises(
        DatasetError, match="came through standard input or from memory; use source to give a file"
    ):
        repair(out)
    assert repair(out, source=source).shards == (1,)
    assert files(out) == before


def test_an_interruption_takes_no_healthy_file(
    make: Make, repair: Mend, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make()
    whole = files(out)
    shard(out, 1, "texts.parquet").unlink()

    def interrupted(event: str, path: Path) -> None:
        if event == "sync" and "00001.index" in path.name:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("layerwise.store.disk.reached", interrupted)
        with pytest.raises(KeyboardInterrupt):
            repair(out)
    for kind in ("safetensors", "index.parquet"):
        assert shard(out, 1, kind).exists(), f"{kind} was whole before the repair"
    repair(out)
    assert files(out) == whole


def test_without_texts(make: Make, repair: Mend) -> None:
    out = make(no_text=True, keep=["label"], level="token")
    before = files(out)
    for kind in KINDS:
        damage(shard(out, 1, kind))
    repair(out)
    assert files(out) == before


def test_with_limit_bad_records_and_ids(make: Make, repair: Mend, source: Path) -> None:
    write(source, [{**ROWS[0], "text": None}, *ROWS[:6], {**ROWS[0], "text": None}, *ROWS[6:]])
    out = make(skip_bad=True, limit=7, id="number")
    before = files(out)
    assert len(lw.open_dataset(out).texts) == 7
    for number in (0, 1):
        damage(shard(out, number, "texts.parquet"))
    repair(out)
    assert files(out) == before


@pytest.mark.parametrize("no_text", [False, True])
def test_pairs(no_text: bool, make: Make, repair: Mend, tmp_path: Path) -> None:
    rows = [{"a": f"one {n}", "b": f"two {n}", "score": n / 2} for n in range(5)]
    out = make(write(tmp_path / "pairs.jsonl", rows), text="a,b", no_text=no_text)
    before = files(out)
    damage(shard(out, 0))
    damage(shard(out, 2, "texts.parquet"))
    repair(out)
    assert files(out) == before


def test_words_and_labels(make: Make, repair: Mend, tmp_path: Path) -> None:
    path = tmp_path / "tags.conll"
    path.write_text("John\tB-PER\n\u200d\tO\nsmiles\tO\n\nParis\tB-LOC\n\nno\tO\n", encoding="utf-8")
    for level in ("word", "token"):
        out = make(path, level, level=level, shard_texts=2, columns=["form", "label"], words="form")
        before = files(out)
        damage(shard(out, 0, "index.parquet"))
        repair(out)
        assert files(out) == before, level


def test_a_dataset_that_grew(make: Make, repair: Mend, source: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", ROWS[:5])
    out = make(limit=6)
    make(limit=9, append=True)
    make(other, append=True)
    before = files(out)
    assert len(lw.open_dataset(out).texts) == 14
    for number in (1, 2, 4):
        damage(shard(out, number))
    assert repair(out).shards == (1, 2, 4)
    assert files(out) == before
    damage(shard(out, 3))
    other = other.rename(tmp_path / "moved.jsonl")
    assert repair(out, source=other).shards == (3,)
    assert files(out) == before
    for number in (0, 3):
        damage(shard(out, number))
    says = "source names 1 files or globs, and the needed texts came from 2: .*source.jsonl.*other.jsonl"
    with pytest.raises(RequestError, match=says):
        repair(out, source=other)
    first = source.rename(tmp_path / "first.jsonl")
    assert repair(out, source=[first, other]).shards == (0, 3)
    assert files(out) == before
    damage(shard(out, 3))
    assert repair(out, source=[first, other]).shards == (3,), "all sources may be named"
    assert files(out) == before


def test_a_merged_dataset(make: Make, repair: Mend, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("text,label\n" + "".join(f"other {n},z\n" for n in range(5)))
    parts = [make(), make(tmp_path / "other.csv", "other", shard_texts=3)]
    out = merge(parts, tmp_path / "all").path
    before = files(out)
    for number in (2, 3, 4):
        for kind in KINDS:
            damage(shard(out, number, kind))
    assert repair(out).shards == (2, 3, 4)
    assert files(out) == before


def test_a_merged_dataset_that_grew(make: Make, repair: Mend, source: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("body,label\n" + "".join(f"other {n},z\n" for n in range(5)))
    parts = [make(), make(write(tmp_path / "more.jsonl", ROWS[:3]), "more")]
    out = merge(parts, tmp_path / "all").path
    make(tmp_path / "other.csv", "all", text="body", append=True)
    before = files(out)
    shutil.rmtree(out / "shards")
    assert repair(out).shards == (0, 1, 2, 3, 4, 5)
    assert files(out) == before
    for number in (2, 5):
        damage(shard(out, number))
    moved = [path.rename(tmp_path / f"moved-{path.name}") for path in (source, tmp_path / "other.csv")]
    assert repair(out, source=moved).shards == (2, 5), "the source of what is whole needn't be there"
    assert files(out) == before


@pytest.mark.slow
def test_one_shard_is_held_in_memory(make: Make, repair: Mend, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwise.extraction import repair as module
    from layerwise.extraction.shard_maker import ShardMaker, Task, Written

    made: list[weakref.ref[Task]] = []
    held: list[int] = []
    make_shard = ShardMaker.make

    def task(*args: Any, **more: Any) -> Task:
        new = Task(*args, **more)
        made.append(weakref.ref(new))
        return new

    def counted(self: ShardMaker, *args: Any) -> Written:
        gc.collect()
        held.append(sum(one() is not None for one in made))
        return make_shard(self, *args)

    monkeypatch.setattr(module, "Task", task)
    monkeypatch.setattr(ShardMaker, "make", counted)
    out = make(shard_texts=2)
    held.clear()
    shutil.rmtree(out / "shards")
    assert repair(out).shards == (0, 1, 2, 3, 4)
    assert held == [1] * 5


def test_progress_is_of_what_is_damaged(make: Make, repair: Mend) -> None:
    out = make()
    for number in (0, 2):
        damage(shard(out, number))
    events: list[lw.Progress] = []
    repair(out, progress=events.append)
    made = [event for event in events if event.stage.startswith("shard ")]
    assert [(e.stage, e.number, e.of) for e in made[:-1] if not e.tokens][:1] == [("shard 0", 1, 2)]
    assert {(event.stage, event.number) for event in made} == {("shard 0", 1), ("shard 2", 2)}
    shares = [event.share or 0.0 for event in events]
    assert shares == sorted(shares)
    assert (events[-1].texts, events[-1].share) == (6, 1.0)


@pytest.mark.parametrize("level", ["word", "token", "text"])
def test_a_merged_dataset_of_words(level: str, make: Make, repair: Mend, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"w": ["a", "b"], "tag": ["x", "y"], "lists": [[1], [2, 3]], "deep": {"a": [{"b": [1]}]}},
        {"w": ["c"], "tag": ["z"], "lists": [[4]], "more": ["some", "more"]},
    ]
    part = make(write(tmp_path / "words.jsonl", rows), "part", words="w", level=level)
    out = merge([part, part], tmp_path / "all").path
    before = files(out)
    for number in (0, 1):
        for kind in KINDS:
            damage(shard(out, number, kind))
    assert repair(out) == Repair((0, 1), ())
    assert files(out) == before


def test_a_merged_dataset_of_carried_parquet(make: Make, repair: Mend, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({
        "text": ["a", "b", "c"],
        "small": pa.array([1, None, 3], pa.int8()),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "nothing": pa.array([None, None, None]),
        "when": pa.array([0, 1, 2], pa.timestamp("ms")),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "in.parquet")
    part = make(tmp_path / "in.parquet", "part")
    out = merge([part, part], tmp_path / "all").path
    before = files(out)
    damage(shard(out, 1, "texts.parquet"))
    assert repair(out) == Repair((1,), ())
    assert files(out) == before


def test_a_pooled_dataset_is_pooled_again(make: Make, repair: Mend, tmp_path: Path) -> None:
    from layerwise.api.pool import pool

    make(level="token")
    out = pool(tmp_path / "out", tmp_path / "pooled", level="text", pool="mean").path
    damage(shard(out, 0))
    with pytest.raises(DatasetError, match="was made by `layerwise pool`; remove it and pool again"):
        repair(out)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sha256", "shards-*.parquet"])
@pytest.mark.parametrize("fault", ["change", "cut", "remove"])
def test_what_cannot_be_made_again_is_said(name: str, fault: str, make: Make, repair: Mend) -> None:
    out = make()
    (path,) = out.glob(name)
    damage(path, fault)
    damaged = files(out)
    with pytest.raises(DatasetError, match=path.name.replace(".", r"\.")) as caught:
        repair(out)
    assert "restore it from a copy" in str(caught.value) or "is no dataset" in str(caught.value)
    assert files(out) == damaged


def test_another_model_is_refused(
    make: Make, repair: Mend, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    out = make()
    damage(shard(out, 1))
    damaged = files(out)
    with pytest.raises(DatasetError, match=r"can't be repaired here: model.* is .* with model"):
        repair(out, model=model_folder("electra"))
    with pytest.raises(ModelError):
        repair(out, model=tmp_path / "nowhere")
    assert files(out) == damaged


def test_a_model_that_moved(
    make: Make, repair: Mend, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = Path(shutil.copytree(model_folder("bert"), tmp_path / "model"))
    out = make(model=model, device="cpu")
    before = files(out)
    model = model.rename(tmp_path / "moved")
    damage(shard(out, 1))
    with pytest.raises(LayerwiseError, match="model"):
        repair(out)
    assert repair(out, model=model).shards == (1,)
    assert files(out) == before


def test_no_dataset_and_unfinished_work(make: Make, repair: Mend, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="doesn't exist"):
        repair(tmp_path / "nowhere")
    out = make()
    (out / "manifest.json").unlink()
    (out / "manifest.json.sha256").unlink()
    (out / "work").mkdir()
    (out / "work" / "settings.json").write_text("{}")
    with pytest.raises(DatasetError, match="is unfinished"):
        repair(out)


def other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make shards as another machine would: with tables that say the same in other bytes."""
    from layerwise.store import tables

    monkeypatch.setitem(tables.OPTIONS, "compression_level", 9)
    monkeypatch.setitem(tables.OPTIONS, "compression", "gzip")


def test_other_bytes_are_told_and_the_manifest_knows_them(
    make: Make, repair: Mend, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make()
    before = lw.open_dataset(out)
    texts, sha256 = before.texts, before.sha256
    damage(shard(out, 1))
    other_bytes(monkeypatch)
    assert repair(out) == Repair((1,), (1,))
    after = lw.open_dataset(out)
    assert after.sha256 != sha256
    assert after.texts == texts
    assert after.manifest.to_json()["sources"] == before.manifest.to_json()["sources"]
    assert check_files(out) == []
    assert repair(out) == Repair((), ())


@pytest.mark.parametrize("changed", [False, True])
def test_shards_that_are_being_added_are_left_alone(
    changed: bool, make: Make, repair: Mend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.store import DatasetWriter

    out = make(limit=6)
    with monkeypatch.context() as patch:
        patch.setattr(DatasetWriter, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make(append=True)
    added = shard(out, 2).stat().st_mtime_ns
    damage(shard(out, 1))
    with monkeypatch.context() as patch:
        if changed:
            other_bytes(patch)
        assert repair(out).changed == ((1,) if changed else ())
    assert check_files(out) == []
    assert len(lw.open_dataset(out).texts) == 6
    make(append=True)
    assert shard(out, 2).stat().st_mtime_ns == added, "not made twice"
    dataset = lw.open_dataset(out)
    assert dataset.texts["text"].to_pylist() == [row["text"] for row in ROWS]
    assert check_files(out) == []


def test_what_was_added_meanwhile_stays(
    make: Make, repair: Mend, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.extraction import repair as module

    out = make(limit=6)
    damage(shard(out, 1))
    check = collections.deque

    def added(*args: Any, **more: Any) -> Any:
        checked = check(*args, **more)
        monkeypatch.setattr(module, "deque", check)
        broken = shard(out, 1).read_bytes()
        make(append=True)  # another process, while this one reads the source for the first time
        shard(out, 1).write_bytes(broken)
        return checked

    monkeypatch.setattr(module, "deque", added)
    with monkeypatch.context() as patch:
        other_bytes(patch)
        assert repair(out) == Repair((1,), (1,))
    assert len(lw.open_dataset(out).texts) == len(ROWS)
    assert check_files(out) == []
    make(append=True)
    assert len(lw.open_dataset(out).texts) == len(ROWS), "its source is known"


@pytest.mark.parametrize("name", ["manifest.json.sha256", "manifest.json"])
def test_a_repair_whose_last_step_fails_goes_on(
    name: str, make: Make, repair: Mend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.store import disk

    out = make()
    damage(shard(out, 1))
    rename = disk.rename

    def fails(source: Path, target: Path) -> None:
        if target.name == name:
            raise OSError(5, "Input/output error")
        rename(source, target)

    with monkeypatch.context() as patch:
        other_bytes(patch)
        patch.setattr(disk, "rename", fails)
        with pytest.raises(LayerwiseError, match="Input/output error"):
            repair(out)
        patch.setattr(disk, "rename", rename)
        repair(out)
    assert check_files(out) == []
    assert repair(out) == Repair((), ())
    assert len(lw.open_dataset(out).texts) == len(ROWS)
    assert not (out / "work").exists()


def test_what_does_not_belong_is_left_to_the_user(make: Make, repair: Mend) -> None:
    out = make()
    strays = ["shards/notes.txt", "shards-0123456789ab.parquet"]
    for name in strays:
        (out / name).write_bytes(b"stray")
    assert repair(out) == Repair((), (), tuple(strays))
    damage(shard(out, 1))
    assert repair(out) == Repair((1,), (), ("shards/notes.txt",))
    assert [problem.file for problem in check_files(out)] == ["shards/notes.txt"]


@pytest.mark.skipif(not int8.available(), reason=f"int8 {int8.refusal()}")
def test_the_measured_error_of_every_part_stays(make: Make, repair: Mend, tmp_path: Path) -> None:
    one = make(precision="int8", model="minilm", device="cpu", limit=5)
    two = make(write(tmp_path / "b.jsonl", ROWS[5:]), "b", precision="int8", model="minilm", device="cpu")
    out = merge([one, two], tmp_path / "all").path
    measured = [shard.int8_error for shard in lw.open_dataset(out).shards if shard.int8_error is not None]
    assert len(measured) == 2
    damage(shard(out, 2))
    with pytest.MonkeyPatch.context() as patch:
        other_bytes(patch)
        assert repair(out) == Repair((2,), (2,))
    after = [shard.int8_error for shard in lw.open_dataset(out).shards if shard.int8_error is not None]
    assert after == measured


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_killed_anywhere_a_repair_goes_on(
    python: Python, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """A repair of two shards is killed by SIGKILL at each point of its work, and gone on with."""
    assert killed_anywhere(python(), model_folder("bert"), tmp_path, "repair") >= 30
