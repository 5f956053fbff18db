"""extract --append: what is new becomes new shards, and the old dataset stays whole until it has."""

import gc
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import layerwise as lw
from killing import killed_anywhere
from layerwise.encode.encoder import Encoder
from layerwise.errors import DatasetError
from layerwise.store import ShardWriter, check_files
from layerwise.store.tensors import TensorWriter
from warm import Python

A = [f"the first file, text {n} " + "word " * (n % 5) for n in range(6)]
B = [f"another file, text {n}" for n in range(5)]
C = [f"a third file, text {n}" for n in range(12)]
OPTIONS: dict[str, Any] = {"shard_texts": 4, "device": "cpu"}


@pytest.fixture
def encoder(encoder_of: Callable[[str], Any]) -> Any:
    return encoder_of("bert")


@pytest.fixture
def extract(encoder: Any) -> Callable[..., lw.LayerDataset]:
    """`lw.extract` by a tiny encoder, in shards of 4 texts."""

    def call(source: Any, out: Path, **more: Any) -> lw.LayerDataset:
        return lw.extract(source, out, **{"model": encoder, "shard_texts": 4} | more)

    return call


Extract = Callable[..., lw.LayerDataset]


def lines(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return path


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return lines(tmp_path / "a.txt", A)


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return lines(tmp_path / "b.txt", B)


@pytest.fixture
def out(a: Path, extract: Extract, tmp_path: Path) -> Path:
    """A finished dataset of `a.txt`: shards of 4 and 2 texts."""
    return extract(a, tmp_path / "out").path


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def times(folder: Path) -> dict[Path, int]:
    """When each file but the lock was written."""
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def texts(dataset: lw.LayerDataset) -> list[str]:
    assert check_files(dataset.path) == []
    assert not (dataset.path / "work").exists(), "tidied up"
    assert dataset.texts["doc"].to_pylist() == list(range(dataset.text_count)), "numbered without gaps"
    found: list[str] = dataset.texts["text"].to_pylist()
    return found


def sizes(dataset: lw.LayerDataset) -> list[int]:
    return [shard.texts for shard in dataset.shards]


def test_a_grown_source_adds_only_what_is_new(a: Path, out: Path, extract: Extract) -> None:
    before = times(out / "shards")
    lines(a, A + B)
    dataset = extract(a, out, append=True)
    assert texts(dataset) == A + B
    assert sizes(dataset) == [4, 2, 4, 1], "the old shards stay, and the rule begins anew behind them"
    assert {path: time for path, time in times(out / "shards").items() if path in before} == before
    assert dataset.manifest.to_json()["sources"] == [{"files": [str(a)], "shards": 4}]
    assert len(list(out.glob("shards-*.parquet"))) == 1, "the old table of records is gone"


def test_appended_rows_are_those_of_one_extraction(
    a: Path, out: Path, extract: Extract, tmp_path: Path
) -> None:
    lines(a, A + B)
    dataset, whole = extract(a, out, append=True), extract(a, tmp_path / "whole")
    assert dataset.index.to_pylist() == whole.index.to_pylist()
    assert dataset.texts.to_pylist() == whole.texts.to_pylist()
    limit = whole.manifest.tolerance.value * abs(whole.layer(-1)).max()
    assert abs(dataset.layer(-1) - whole.layer(-1)).max() <= 2 * limit


def test_the_same_command_again_does_nothing(a: Path, out: Path, extract: Extract) -> None:
    lines(a, A + B)
    extract(a, out, append=True)
    before = times(out)
    extract(a, out, append=True)
    extract(a, out)
    assert times(out) == before


def test_another_file_is_added_once(a: Path, b: Path, out: Path, extract: Extract) -> None:
    for _ in range(2):
        dataset = extract(b, out, append=True)
        assert texts(dataset) == A + B
    assert dataset.texts["source"].to_pylist() == [str(a)] * len(A) + [str(b)] * len(B)
    assert dataset.manifest.to_json()["sources"] == [
        {"files": [str(a)], "shards": 2},
        {"files": [str(b)], "shards": 2},
    ]
    before = times(out)
    assert texts(extract(a, out)) == A + B, "the first source is known still"
    assert texts(extract(b, out)) == A + B, "and so is the second"
    assert times(out) == before


def test_more_files_behind_the_known_ones(a: Path, b: Path, out: Path, extract: Extract) -> None:
    dataset = extract([a, b], out, append=True)
    assert texts(dataset) == A + B
    assert dataset.manifest.to_json()["sources"] == [{"files": [str(a), str(b)], "shards": 4}]


def test_sources_that_were_added_one_by_one_are_known_together(
    a: Path, b: Path, out: Path, extract: Extract, tmp_path: Path
) -> None:
    extract(b, out, append=True)
    before = times(out)
    assert texts(extract([a, b], out)) == A + B
    assert texts(extract([a, b], out, append=True)) == A + B
    assert times(out) == before
    c = lines(tmp_path / "c.txt", ["one more"])
    dataset = extract([a, b, c], out, append=True)
    assert texts(dataset) == [*A, *B, "one more"]
    assert dataset.manifest.to_json()["sources"] == [{"files": [str(a), str(b), str(c)], "shards": 5}]
    with pytest.raises(DatasetError, match="c.txt, line 1 has changed since shard 2 was written"):
        extract([a, c, b], out)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for open files in /proc")
@pytest.mark.parametrize(
    ("of", "step"),
    [(Encoder, "plan"), (Encoder, "run"), (ShardWriter, "commit")],
    ids=["plan", "run", "commit"],
)
def test_a_fault_leaves_no_source_open(
    of: type, step: str, b: Path, out: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines(b, B * 2000)

    def fail(*_: Any, **__: Any) -> None:
        raise DatasetError("a fault")

    monkeypatch.setattr(of, step, fail)
    gc.collect()
    gc.disable()
    try:
        with suppress(DatasetError):
            extract(b, out, append=True)
            pytest.fail("nothing was wrong")
        held = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
    finally:
        gc.enable()
    assert str(b) not in held, "it is open until the collector of garbage comes"


def test_the_same_file_by_another_name_is_not_added_again(
    a: Path, out: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = times(out)
    monkeypatch.chdir(a.parent)
    for name in ("a.txt", "./a.txt", f"{a.parent}/../{a.parent.name}/a.txt"):
        with pytest.raises(
            DatasetError, match=f"{name} has texts that are in the dataset as {a}; give only {a}"
        ):
            extract(name, out, append=True)
    assert times(out) == before


def test_what_is_known_is_not_added_behind_something_new(
    a: Path, b: Path, out: Path, extract: Extract, tmp_path: Path
) -> None:
    before = times(out)
    says = f"has texts that are in the dataset as {a}; give only {a} to add its new texts, or only files that"
    for sources in ([b, a], [b, tmp_path / "*.txt"], [str(tmp_path / "[ab].txt")]):
        with pytest.raises(DatasetError, match=says):
            extract(sources, out, append=True)
    assert times(out) == before
    extract(b, out, append=True)
    c = lines(tmp_path / "c.txt", C)
    with pytest.raises(DatasetError, match=f"{a} has texts that are in the dataset as {a}"):
        extract([b, a, c], out, append=True)
    assert texts(extract([a, b, c], out, append=True)) == A + B + C


def test_a_file_of_a_folder_is_not_added_again(extract: Extract, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    lines(tmp_path / "docs" / "one.txt", A)
    extract(tmp_path / "docs", tmp_path / "by-folder", format="docs")
    with pytest.raises(DatasetError, match=r"docs/one.txt has texts that are in the dataset as .*docs; give"):
        extract(tmp_path / "docs" / "one.txt", tmp_path / "by-folder", format="docs", append=True)
    extract(tmp_path / "docs" / "one.txt", tmp_path / "by-file", format="docs")
    with pytest.raises(DatasetError, match=r"docs has texts that are in the dataset as .*docs/one.txt; give"):
        extract(tmp_path / "docs", tmp_path / "by-file", format="docs", append=True)


def test_the_last_of_several_sources_may_grow(b: Path, out: Path, extract: Extract) -> None:
    extract(b, out, append=True)
    lines(b, [*B, "one more"])
    assert texts(extract(b, out, append=True)) == [*A, *B, "one more"]


@pytest.mark.parametrize("append", [True, False])
def test_a_source_that_grew_before_another_is_refused(
    a: Path, b: Path, out: Path, extract: Extract, append: bool
) -> None:
    extract(b, out, append=True)
    before = times(out)
    lines(a, [*A, "too late"])
    says = r"a.txt, line 7 is new, and can't be inserted: texts of another source follow .* a separate file .*append=True"
    with pytest.raises(DatasetError, match=says):
        extract(a, out, append=append)
    assert times(out) == before


@pytest.mark.parametrize("append", [True, False])
def test_a_source_that_shrank_before_another_is_refused(
    a: Path, b: Path, out: Path, extract: Extract, append: bool
) -> None:
    extract(b, out, append=True)
    lines(a, A[:4])
    with pytest.raises(DatasetError, match="the source has 4 texts now and the dataset has 6"):
        extract(a, out, append=append)


def test_a_renamed_source_is_refused_without_append(
    a: Path, b: Path, out: Path, extract: Extract, tmp_path: Path
) -> None:
    with pytest.raises(
        DatasetError, match="holds the texts of .*a.txt, and .*c.txt isn't among them; to add it"
    ):
        extract(a.rename(tmp_path / "c.txt"), out)


def test_an_old_record_that_changed_is_refused_by_name(a: Path, out: Path, extract: Extract) -> None:
    before = times(out)
    lines(a, [*A[:2], "changed", *A[3:], *B])
    with pytest.raises(DatasetError, match=r"a.txt, line 3 has changed since shard 0 was written"):
        extract(a, out, append=True)
    lines(a, A[:5])
    with pytest.raises(DatasetError, match=r"the end of the source \(after .*a.txt, line 5\) has changed"):
        extract(a, out, append=True)
    assert times(out) == before


@pytest.mark.parametrize(
    "other",
    [{"layers": "1:"}, {"dtype": "float32"}, {"shard_texts": 3}, {"no_text": True}, {"level": "word"}],
    ids=lambda other: next(iter(other)),
)
def test_other_settings_are_refused(other: dict[str, Any], b: Path, out: Path, extract: Extract) -> None:
    before = times(out)
    with pytest.raises(DatasetError, match="made with other settings: "):
        extract(b, out, append=True, **other)
    assert times(out) == before


def test_a_source_of_another_format(
    a: Path, out: Path, model_folder: Callable[[str], Path], extract: Extract, tmp_path: Path
) -> None:
    from layerwise.api.repair import repair

    other = tmp_path / "other.csv"
    other.write_text("body,label\nin a table,x\n", encoding="utf-8")
    for _ in range(2):
        dataset = extract(other, out, text="body", append=True)
        assert texts(dataset) == [*A, "in a table"]
        assert [entry.get("reading", {}).get("text") for entry in dataset.manifest.to_json()["sources"]] == [
            None,
            "body",
        ]
    assert texts(extract(a, out)) == [*A, "in a table"], "the first command again"
    assert texts(extract(other, out, text="body")) == [*A, "in a table"], "the second one without --append"
    other.write_text("body,label\nin a table,x\nand more,y\n", encoding="utf-8")
    assert texts(extract(other, out, text="body", append=True)) == [*A, "in a table", "and more"]
    before = times(out)
    for append in (True, False):
        with pytest.raises(DatasetError, match=r"made with other settings: reading\.format"):
            extract(other, out, text="label", append=append)
    with pytest.raises(DatasetError, match=r"made with other settings: reading\."):
        extract(other, out, text="body,label", append=True)
    with pytest.raises(
        DatasetError, match=r"texts of '.*a.txt', .*, and '.*new.jsonl' isn't among them \(reading"
    ):
        extract(records(tmp_path / "new.jsonl", [{"text": "new"}]), out)
    assert times(out) == before
    (out / "shards" / "00002.texts.parquet").unlink()
    assert repair(out, model=model_folder("bert"), device="cpu").changed == ()
    assert texts(lw.open_dataset(out)) == [*A, "in a table", "and more"]


def test_another_model_is_refused(b: Path, out: Path, encoder_of: Callable[[str], Any]) -> None:
    with pytest.raises(DatasetError, match="made with other settings: model"):
        lw.extract(b, out, model=encoder_of("electra"), shard_texts=4, append=True)


def test_append_to_nothing_makes_a_dataset(a: Path, extract: Extract, tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"^there is no dataset at \S+new, so append=True makes a new one; if out is"
    ):
        assert texts(extract(a, tmp_path / "new", append=True)) == A
    assert shards(tmp_path / "new") == shards(extract(a, tmp_path / "plain").path)


def test_append_to_unfinished_work_goes_on_with_it(
    a: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interrupt(monkeypatch, 1, lambda: extract(a, tmp_path / "new"))
    assert texts(extract(a, tmp_path / "new", append=True)) == A


class Stopped(BaseException):
    """Stands for whatever ends a process."""


def interrupt(monkeypatch: pytest.MonkeyPatch, shard_count: int, work: Callable[[], object]) -> None:
    """Do some work that ends in the middle of the shard after so many."""
    begun = 0
    reserve = TensorWriter.__init__

    def counted(self: TensorWriter, *args: Any) -> None:
        nonlocal begun
        begun += 1
        reserve(self, *args)

    def put(self: TensorWriter, *args: Any) -> None:
        if begun > shard_count:
            raise Stopped
        original(self, *args)

    original = TensorWriter.put
    with monkeypatch.context() as patch:
        patch.setattr(TensorWriter, "__init__", counted)
        patch.setattr(TensorWriter, "put", put)
        with pytest.raises(Stopped):
            work()


def test_the_old_dataset_is_whole_while_it_grows(
    a: Path, out: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sha256 = lw.open_dataset(out).sha256
    lines(a, A + B)
    interrupt(monkeypatch, 1, lambda: extract(a, out, append=True))
    assert (out / "work" / "00002.json").exists(), "one new shard is committed"
    dataset = lw.open_dataset(out)
    assert dataset.sha256 == sha256
    assert dataset.texts["text"].to_pylist() == A
    assert len(dataset.layer(-1)) == len(A)
    assert check_files(out) == []
    assert lw.finish(out).sha256 == sha256, "what is being added isn't for finish"
    with pytest.raises(DatasetError, match="line 7 is new; give append=True"):
        extract(a, out)
    kept = (out / "shards" / "00002.safetensors").stat().st_mtime_ns
    assert texts(extract(a, out, append=True)) == A + B
    assert (out / "shards" / "00002.safetensors").stat().st_mtime_ns == kept, "not made twice"


def test_an_interrupted_append_is_not_mixed_with_another(
    a: Path, b: Path, out: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines(a, A + B)
    interrupt(monkeypatch, 1, lambda: extract(a, out, append=True))
    with pytest.raises(
        DatasetError, match=f"{out} holds an unfinished append of {a}; give that source, unch"
    ):
        extract(b, out, append=True)
    assert texts(extract(a, out, append=True)) == A + B


def test_an_interrupted_append_can_be_given_up(
    a: Path, b: Path, out: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    c = lines(tmp_path / "c.txt", C)
    before = times(out)
    interrupt(monkeypatch, 2, lambda: extract(c, out, append=True))
    says = f"give that source, unchanged, to continue it, or remove {out / 'work'} to cancel it"
    for source in (a, b):
        with pytest.raises(DatasetError, match=f"holds an unfinished append of {c}; {says}"):
            extract(source, out, append=True)
    with pytest.raises(DatasetError, match=r"line 1 differs from shard 2, which an unfinished app"):
        extract(lines(c, ["something else", *C[1:]]), out, append=True)
    with pytest.raises(DatasetError, match="the source ends before shard 3, which an unfinished append"):
        extract(lines(c, C[:4]), out, append=True)
    shutil.rmtree(out / "work")
    assert lw.open_dataset(out).texts["text"].to_pylist() == A, "the dataset is as it was"
    assert times(out).items() >= before.items()
    assert texts(extract(b, out, append=True)) == A + B, "nothing of the other is left"


def test_a_gap_of_an_interrupted_append_is_not_filled_from_another_source(
    b: Path, out: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    c = lines(tmp_path / "c.txt", C)
    interrupt(monkeypatch, 2, lambda: extract(c, out, append=True))
    for path in [*(out / "shards").glob("00002.*"), out / "work" / "00002.json"]:
        path.unlink()  # as several workers may leave it when the disk is full
    held = times(out / "shards")
    with pytest.raises(DatasetError, match=f"holds an unfinished append of {c}; give"):
        extract(b, out, append=True)
    assert times(out / "shards") == held, "nothing was made"
    assert texts(extract([c, b], out, append=True)) == A + C + B, "more may follow"


def test_a_last_new_shard_that_grew_is_made_again(
    a: Path, b: Path, out: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.store import DatasetWriter

    def stopped(*_: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(DatasetWriter, "finish", stopped)
        with pytest.raises(Stopped):
            extract(b, out, append=True)
    lines(b, [*B, "one more"])
    dataset = extract(b, out, append=True)
    assert texts(dataset) == [*A, *B, "one more"]
    assert sizes(dataset) == [4, 2, 4, 2]


def test_a_dataset_with_a_lost_file_is_repaired_first(
    a: Path, b: Path, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from layerwise.api.repair import repair

    out, model = tmp_path / "out", model_folder("bert")
    lw.extract(a, out, model=model, **OPTIONS)
    (out / "shards" / "00001.index.parquet").unlink()
    with pytest.raises(DatasetError, match="00001.index.parquet is missing .* again with `layerwise repair`"):
        lw.extract(b, out, model=model, append=True, **OPTIONS)
    repair(out)
    assert texts(lw.extract(b, out, model=model, append=True, **OPTIONS)) == A + B


def test_one_writer_at_a_time(b: Path, out: Path, extract: Extract, tmp_path: Path) -> None:
    (records,) = out.glob("shards-*.parquet")
    with filelock.FileLock(out / ".lock"):
        with pytest.raises(DatasetError, match="in use: another process is writing it"):
            extract(b, out, append=True)
        records.rename(tmp_path / "records")  # as the other writer does while it finishes
        with pytest.raises(DatasetError, match="in use: another process is writing it"):
            extract(b, out, append=True)
        (tmp_path / "records").rename(records)
    assert texts(extract(b, out, append=True)) == A + B


@pytest.mark.usefixtures("quick_workers")
def test_two_processes_append_what_one_does(
    a: Path, b: Path, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    found = []
    for workers in (1, 2):
        out = tmp_path / f"by-{workers}"
        lw.extract(a, out, model=model_folder("bert"), **OPTIONS)
        dataset = lw.extract([a, b], out, model=model_folder("bert"), append=True, workers=workers, **OPTIONS)
        assert texts(dataset) == A + B
        found.append(shards(out))
    assert found[0] == found[1]


def feed(monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    data = "".join(text + "\n" for text in texts).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def test_standard_input_is_always_new(out: Path, extract: Extract, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        feed(monkeypatch, B)
        assert texts(extract("-", out, append=True)) == A + B * number


def test_what_came_through_stdin_is_compared(
    b: Path, extract: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(monkeypatch, A)
    extract("-", tmp_path / "out")
    extract(b, tmp_path / "out", append=True)
    before = times(tmp_path / "out")
    feed(monkeypatch, A)
    assert texts(extract("-", tmp_path / "out")) == A + B
    assert times(tmp_path / "out") == before


def records(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("level", ["text", "word", "token"])
def test_a_column_that_first_appears_in_what_is_new(level: str, extract: Extract, tmp_path: Path) -> None:
    one = records(tmp_path / "one.jsonl", [{"text": "a b", "label": "x", "rank": 1}])
    two = records(tmp_path / "two.jsonl", [{"text": "c", "label": "y", "rank": 0.5, "year": 2024}])
    extract(one, tmp_path / "out", level=level)
    dataset = extract(two, tmp_path / "out", level=level, append=True)
    assert dataset.manifest.to_json()["columns"] == {"text": ["label", "rank", "year"], "word": []}
    got = dataset.texts.select(["label", "rank", "year"]).to_pylist()
    assert got == [{"label": "x", "rank": 1.0, "year": None}, {"label": "y", "rank": 0.5, "year": 2024}]
    assert dataset.manifest.to_json()["notices"] == [
        f"{two} was added with the column 'year'; it is null in the texts before"
    ]


def test_other_columns_are_told_of(extract: Extract, tmp_path: Path) -> None:
    one = records(tmp_path / "one.jsonl", [{"text": "a", "label": "x", "stars": 3}])
    two = records(tmp_path / "two.jsonl", [{"text": "b", "Label": "y", "stars": 4}])
    extract(one, tmp_path / "out")
    for _ in range(2):
        assert extract(two, tmp_path / "out", append=True).manifest.to_json()["notices"] == [
            f"{two} was added without the column 'label'; it is null there",
            f"{two} was added with the column 'Label'; it is null in the texts before",
        ]
    records(two, [{"text": "b", "Label": "y", "stars": 4}, {"text": "c", "Label": "z", "stars": 1}])
    assert len(extract(two, tmp_path / "out", append=True).manifest.to_json()["notices"]) == 2, "each once"
    extract(one, tmp_path / "bare", no_text=True)
    assert extract(two, tmp_path / "bare", no_text=True, append=True).manifest.to_json()["notices"] == [], (
        "not stored"
    )


def test_a_column_of_another_type_is_refused_before_it_is_added(extract: Extract, tmp_path: Path) -> None:
    one = records(tmp_path / "one.jsonl", [{"text": "a", "rank": 1}])
    two = records(tmp_path / "two.jsonl", [{"text": "b", "rank": "first"}])
    extract(one, tmp_path / "out")
    with pytest.raises(DatasetError, match="rank"):
        extract(two, tmp_path / "out", append=True)
    assert lw.open_dataset(tmp_path / "out").texts["rank"].to_pylist() == [1]


def test_a_word_column_of_another_type_is_refused(extract: Extract, tmp_path: Path) -> None:
    one = records(tmp_path / "one.jsonl", [{"w": ["a", "b"], "tag": ["x", "y"], "rank": [1, 2]}])
    two = records(tmp_path / "two.jsonl", [{"w": ["c"], "tag": ["z"], "rank": [0.5]}])
    three = records(tmp_path / "three.jsonl", [{"w": ["d"], "tag": [7], "rank": [3]}])
    for level in ("word", "token"):
        extract(one, tmp_path / level, words="w", level=level)
        with pytest.raises(
            DatasetError, match="tag.* from .*three.jsonl, line 1 on; convert its values to the earlier type"
        ):
            extract(three, tmp_path / level, words="w", level=level, append=True)
        texts(extract(two, tmp_path / level, words="w", level=level, append=True))
    assert lw.open_dataset(tmp_path / "word").index["rank"].to_pylist() == [1.0, 2.0, 0.5]


@pytest.mark.parametrize("level", ["text", "word"])
def test_columns_of_later_shards_are_compared(level: str, extract: Extract, tmp_path: Path) -> None:
    one = records(tmp_path / "one.jsonl", [{"text": "a"}, {"text": "b", "rank": 1}])
    two = records(tmp_path / "two.jsonl", [{"text": "c"}, {"text": "d", "rank": "first"}])
    out = extract(one, tmp_path / "out", level=level, shard_texts=1).path
    for _ in range(2):
        with pytest.raises(
            DatasetError, match="rank .*int64 vs string, from .*two.jsonl, line 2 on; convert its"
        ):
            extract(two, out, level=level, shard_texts=1, append=True)
    assert lw.open_dataset(out).texts["rank"].to_pylist() == [None, 1]


def test_parquet_and_words(extract: Extract, tmp_path: Path) -> None:
    for name, year in (("one", 2023), ("two", 2024)):
        table = pa.table({"text": [f"in {name}"], "year": pa.array([year], pa.int16())})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        (tmp_path / f"{name}.conll").write_text(f"in\tO\n{name}\tB\n")
        for kind in ("parquet", "conll"):
            extract(tmp_path / f"{name}.{kind}", tmp_path / kind, level="word", append=name == "two")
    dataset = lw.open_dataset(tmp_path / "parquet")
    assert dataset.texts["year"].type == pa.int16()
    assert dataset.texts["year"].to_pylist() == [2023, 2024]
    assert lw.open_dataset(tmp_path / "conll").index.select(["doc", "text", "tag"]).to_pylist() == [
        {"doc": doc, "text": text, "tag": tag}
        for doc, name in enumerate(("one", "two"))
        for text, tag in (("in", "O"), (name, "B"))
    ]


def test_pairs_stay_pairs(extract: Extract, tmp_path: Path) -> None:
    rows = [{"a": f"one {n}", "b": f"two {n}", "score": n} for n in range(5)]
    source = records(tmp_path / "pairs.jsonl", rows[:3])
    extract(source, tmp_path / "out", text="a,b", shard_texts=3)
    records(source, rows)
    dataset = extract(source, tmp_path / "out", text=["a", "b"], shard_texts=3, append=True)
    assert texts(dataset) == [row[name] for row in rows for name in ("a", "b")]
    assert sizes(dataset) == [4, 2, 4]
    assert dataset.texts["part"].to_pylist() == ["a", "b"] * 5


def test_bad_records_of_all_parts_are_listed(extract: Extract, tmp_path: Path) -> None:
    bad = '{"text": "good"}\n{"text": null}\n'
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.jsonl").write_text(bad)
        extract(tmp_path / f"{name}.jsonl", tmp_path / "out", skip_bad=True, append=name != "one")
    (tmp_path / "three.jsonl").write_text(bad * 2)
    dataset = extract(tmp_path / "three.jsonl", tmp_path / "out", skip_bad=True, append=True)
    found = [(Path(one["source"]).stem, one["line"]) for one in dataset.manifest.to_json()["skipped"]]
    assert found == [("one", 2), ("two", 2), ("three", 2), ("three", 4)]


def test_limits_and_growth(a: Path, extract: Extract, tmp_path: Path) -> None:
    extract(a, tmp_path / "out", limit=2)
    assert texts(extract(a, tmp_path / "out", limit=5, append=True)) == A[:5]
    assert texts(extract(a, tmp_path / "out", append=True)) == A
    with pytest.raises(DatasetError, match="the source has 2 texts now and the dataset has 6"):
        extract(a, tmp_path / "out", limit=2, append=True)


def test_nothing_new_and_nothing_at_all(out: Path, extract: Extract, tmp_path: Path) -> None:
    before = times(out)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(lw.LayerwiseError, match="there is no text in .*empty.txt"):
        extract(lines(tmp_path / "empty.txt", []), out, append=True)
    assert times(out) == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_killed_anywhere_the_old_dataset_is_whole(
    python: Python, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """An append is killed by SIGKILL at many points, twice over, and gone on with each time."""
    assert killed_anywhere(python(), model_folder("bert"), tmp_path, "append") >= 30
