"""merge: datasets that were made in the same way become one, row for row."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from killing import killed_anywhere
from layerwise.api.merge import merge
from layerwise.errors import DatasetError, OutputError, RequestError
from layerwise.store import check_files, disk
from layerwise.store.manifest import manifest_of
from layerwise.store.records import Int8Error, records_bytes
from stored import contents, describe, settings_of
from stored import make as make_stored

ROWS: dict[str, list[dict[str, Any]]] = {
    "a": [{"text": f"first {n} " + "word " * (n % 4), "label": "xy"[n % 2]} for n in range(7)],
    "b": [{"text": f"second {n}", "label": "z", "year": 2000 + n} for n in range(3)],
    "c": [{"text": "third", "year": 2000.5}],
}


@pytest.fixture
def make(encoder_of: Callable[[str], Any], tmp_path: Path) -> Callable[..., Path]:
    """A function from a name of ROWS to the folder of its dataset."""

    def call(name: str, out: str | None = None, **more: Any) -> Path:
        source = tmp_path / f"{name}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in ROWS[name]), encoding="utf-8")
        given = {"model": encoder_of("bert"), "shard_texts": 3} | more
        return lw.extract(source, tmp_path / (out or name), **given).path

    return call


Make = Callable[..., Path]


def times(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def check_joined(whole: lw.LayerDataset, parts: list[lw.LayerDataset]) -> None:
    """Check that every row, text and value of `parts` stands in `whole`, one after the other."""
    assert check_files(whole.path) == []
    assert not (whole.path / "work").exists(), "tidied up"
    for layer in whole.layers:
        expected = np.concatenate([part.layer(layer, raw=True) for part in parts])
        assert np.array_equal(whole.layer(layer, raw=True), expected), f"other bytes in layer {layer}"
    for kind in ("texts", "index"):
        docs = 0
        expected_rows = []
        for part in parts:
            expected_rows += [row | {"doc": row["doc"] + docs} for row in getattr(part, kind).to_pylist()]
            docs += part.text_count
        names = getattr(whole, kind).column_names
        got = getattr(whole, kind).to_pylist()
        assert got == [{name: row.get(name) for name in names} for row in expected_rows], kind


@pytest.mark.parametrize("level", ["text", "word", "token"])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_rows_texts_and_columns_follow_each_other(level: str, dtype: str, make: Make, tmp_path: Path) -> None:
    paths = [make(name, level=level, dtype=dtype) for name in ROWS]
    before = [contents(path) for path in paths]
    whole = merge(paths, tmp_path / "all")
    check_joined(whole, [lw.open_dataset(path) for path in paths])
    assert [contents(path) for path in paths] == before, "what is merged stays as it is"
    assert whole.manifest.to_json()["columns"] == {"text": ["label", "year"], "word": []}
    assert whole.texts["year"].to_pylist() == [None] * 7 + [2000.0, 2001.0, 2002.0, 2000.5]


def test_the_manifest_says_what_was_merged(make: Make, tmp_path: Path) -> None:
    one, two = lw.open_dataset(make("a")), lw.open_dataset(make("b", shard_texts=2))
    manifest = merge([one, two], tmp_path / "all").manifest.to_json()
    assert manifest["merged"] == [
        {"manifest": one.sha256, "texts": 7},
        {"manifest": two.sha256, "texts": 3},
    ]
    assert [(Path(s["files"][0]).name, s["shards"]) for s in manifest["sources"]] == [
        ("a.jsonl", 3),
        ("b.jsonl", 2),
    ]
    for name in ("texts", "rows", "tokens", "windows"):
        parts = [dataset.manifest.to_json()["totals"][name] for dataset in (one, two)]
        assert manifest["totals"][name] == sum(parts), name
    for layer, error in manifest["error"].items():
        assert error["max_abs"] == max(d.manifest.to_json()["error"][layer]["max_abs"] for d in (one, two))


def test_a_merged_dataset_passes_verify(
    make: Make, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from layerwise.api.verify import verify

    merge([make("a"), make("b")], tmp_path / "all")
    found = verify(tmp_path / "all", model=model_folder("bert"), device="cpu")
    assert found.ok, found.problems
    assert found.texts == 10


def test_the_same_command_again_does_nothing(make: Make, tmp_path: Path) -> None:
    paths = [make("a"), make("b")]
    merge(paths, tmp_path / "all")
    before = times(tmp_path / "all")
    merge(paths, tmp_path / "all")
    assert times(tmp_path / "all") == before


def test_merged_datasets_merge_and_so_do_those_that_grew(make: Make, tmp_path: Path) -> None:
    a, b, c = make("a"), make("b"), make("c")
    inner = merge([a, b], tmp_path / "inner")
    whole = merge([inner, c], tmp_path / "all")
    check_joined(whole, [lw.open_dataset(path) for path in (a, b, c)])
    assert [Path(s["files"][0]).name for s in whole.manifest.to_json()["sources"]] == [
        "a.jsonl",
        "b.jsonl",
        "c.jsonl",
    ]
    twice = merge([a, a], tmp_path / "twice")
    check_joined(twice, [lw.open_dataset(a)] * 2)


def test_a_merged_dataset_grows_as_any_other(make: Make, tmp_path: Path) -> None:
    a, b = make("a"), make("b", shard_texts=2)
    merged = merge([a, b], tmp_path / "all").manifest.to_json()
    make("c", "all", append=True)
    whole = lw.open_dataset(tmp_path / "all")
    check_joined(whole, [lw.open_dataset(path) for path in (a, b, make("c"))])
    assert whole.manifest.to_json()["merged"] == merged["merged"], "what it was made of stays known"
    assert whole.manifest.to_json()["settings"] == merged["settings"]
    reading = merged["settings"]["reading"]
    added = {"files": [str(tmp_path / "c.jsonl")], "shards": 1, "reading": reading}
    assert whole.manifest.to_json()["sources"] == [*merged["sources"], added]
    before = times(whole.path)
    for name in ROWS:
        make(name, "all", append=name != "a")
    merge([a, b], tmp_path / "all")
    assert times(whole.path) == before, "all of it is known"
    for other in ({"pool": "max"}, {"shard_texts": 2}):
        with pytest.raises(DatasetError, match="made with other settings: "):
            make("c", "all", append=True, **other)
    outer = merge([whole, a], tmp_path / "outer")
    check_joined(outer, [whole, lw.open_dataset(a)])


def test_the_last_source_of_a_merged_dataset_may_grow(make: Make, tmp_path: Path) -> None:
    merge([make("a"), make("b", limit=2)], tmp_path / "all")
    make("b", "all", append=True)
    whole = lw.open_dataset(tmp_path / "all")
    assert [len(s["files"]) for s in whole.manifest.to_json()["sources"]] == [1, 1]
    assert whole.texts["text"].to_pylist() == [row["text"] for row in ROWS["a"] + ROWS["b"]]
    assert check_files(whole.path) == []


def test_a_merged_dataset_takes_sources_that_are_read_in_other_ways(
    make: Make, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    merge([make("a"), make("b")], tmp_path / "all")
    (tmp_path / "d.csv").write_text("body,label\nfourth,w\nfifth,v\n")
    given: dict[str, Any] = {"model": encoder_of("bert"), "shard_texts": 3, "append": True}
    whole = lw.extract(tmp_path / "d.csv", tmp_path / "all", text="body", **given)
    assert whole.texts["label"].to_pylist()[-2:] == ["w", "v"]
    assert whole.manifest.to_json()["sources"][-1]["reading"]["text"] == "body"
    with pytest.raises(DatasetError, match=r"other settings: reading\..* in it and .* here; give the same"):
        lw.extract(tmp_path / "d.csv", tmp_path / "all", text="body,label", **given)


def test_nothing_is_added_to_an_unfinished_merge(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.store import DatasetWriter

    a, b = make("a"), make("b")
    with monkeypatch.context() as patch:
        patch.setattr(DatasetWriter, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            merge([a, b], tmp_path / "all")
    with pytest.raises(DatasetError, match="all was started by `layerwise merge`; run that command again"):
        make("c", "all", append=True)
    with pytest.raises(
        DatasetError, match="all was started by `layerwise merge`; run that command again to finish it"
    ):
        lw.finish(tmp_path / "all")
    check_joined(merge([a, b], tmp_path / "all"), [lw.open_dataset(a), lw.open_dataset(b)])


def test_the_tolerance_of_a_merged_dataset_is_that_of_the_part_furthest_off(tmp_path: Path) -> None:
    first, *records = make_stored(tmp_path / "d", (1, 1, 1, 1)).shards
    errors = [{"1": Int8Error(max_rel=error, cosine=1.0)} for error in (0.1, 0.3, 0.2)]
    records = [replace(record, int8_error=error) for record, error in zip(records, errors, strict=True)]
    _, entry = records_bytes([first, *records])
    manifest = manifest_of(describe("float32", 4), settings_of("float32"), [first, *records], entry)
    assert manifest.tolerance.measured == {"1": Int8Error(max_rel=0.3, cosine=1.0)}


def test_pooled_datasets_merge(make: Make, tmp_path: Path) -> None:
    from layerwise.api.pool import pool

    pooled = []
    for name in ("a", "b"):
        make(name, level="token")
        pooled.append(pool(tmp_path / name, tmp_path / f"{name}-pooled", level="text", pool="mean"))
    check_joined(merge(pooled, tmp_path / "all"), pooled)
    other = pool(tmp_path / "a", tmp_path / "max", level="text", pool="max")
    with pytest.raises(DatasetError, match="different settings: pool is "):
        merge([pooled[0], other], tmp_path / "mixed")
    with pytest.raises(DatasetError, match="different settings"):
        merge([pooled[0], make("a", "plain")], tmp_path / "mixed")


OTHER: list[dict[str, Any]] = [
    {"layers": "1:"},
    {"level": "word"},
    {"pool": "max"},
    {"dtype": "float32"},
    {"special_tokens": False},
    {"max_length": 40},
    {"no_text": True},
]


@pytest.mark.parametrize("other", OTHER, ids=lambda other: next(iter(other)))
def test_different_settings_are_refused_by_name(other: dict[str, Any], make: Make, tmp_path: Path) -> None:
    paths = [make("a"), make("b", **other)]
    (name,) = other
    with pytest.raises(DatasetError, match=f"a and .*b were made with different settings: {name}.* is "):
        merge(paths, tmp_path / "all")
    assert not (tmp_path / "all").exists(), "nothing is left behind"


def test_different_models_are_refused(make: Make, encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="different settings: model"):
        merge([make("a"), make("b", model=encoder_of("electra"))], tmp_path / "all")


def test_pairs_and_single_texts_are_refused(
    make: Make, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    (tmp_path / "pairs.csv").write_text("s,t\none,two\n")
    pairs = lw.extract(
        tmp_path / "pairs.csv", tmp_path / "pairs", model=encoder_of("bert"), text="s,t", shard_texts=3
    )
    with pytest.raises(
        DatasetError, match="different settings: pairs is false in the first and true in the second"
    ):
        merge([make("a"), pairs], tmp_path / "all")
    whole = merge([pairs, pairs], tmp_path / "all")
    assert whole.texts["part"].to_pylist() == ["s", "t"] * 2


def test_columns_that_do_not_fit_are_refused(
    make: Make, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    (tmp_path / "odd.jsonl").write_text('{"text": "odd", "label": 7}\n')
    odd = lw.extract(tmp_path / "odd.jsonl", tmp_path / "odd", model=encoder_of("bert"))
    with pytest.raises(DatasetError, match="don't fit together: .*label"):
        merge([make("a"), odd], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(("level", "kind"), [("text", "texts"), ("token", "texts"), ("word", "index")])
def test_columns_of_later_shards_are_compared(
    level: str, kind: str, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    def words(name: str, tags: list[list[Any] | None]) -> Path:
        lines = [{"w": ["a", "b"]} | ({} if tag is None else {"tag": tag}) for tag in tags]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        given = {"model": encoder_of("bert"), "shard_texts": 1, "words": "w", "level": level}
        return lw.extract(tmp_path / f"{name}.jsonl", tmp_path / name, **given).path

    one, late = words("one", [["x", "y"]]), words("late", [None, [1, 2]])
    says = (
        rf"late/shards/00001.{kind}.parquet doesn't fit the datasets before it: .*all don't fit together: .* tag has "
        r"incompatible types: .*string.* vs .*int64.*; extract that dataset again, with values of one type"
    )
    with pytest.raises(DatasetError, match=says):
        merge([one, late], tmp_path / "all")
    assert not (tmp_path / "all").exists()
    half = words("half", [None, None, [0.5, 1]])
    whole = merge([late, half], tmp_path / "all")
    check_joined(whole, [lw.open_dataset(late), lw.open_dataset(half)])


def test_merge_needs_two_datasets(make: Make, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="at least two datasets; got 1"):
        merge([make("a")], tmp_path / "all")
    with pytest.raises(DatasetError, match="nowhere doesn't exist"):
        merge([tmp_path / "a", tmp_path / "nowhere"], tmp_path / "all")


def test_other_datasets_and_foreign_folders_stay(make: Make, tmp_path: Path) -> None:
    a, b = make("a"), make("b")
    before = times(a)
    for out in (a, b):
        with pytest.raises(
            DatasetError, match="holds a dataset that this command didn't make; give another output folder"
        ):
            merge([a, b], out)
    assert times(a) == before
    merge([a, b], tmp_path / "all")
    with pytest.raises(
        DatasetError, match="holds a dataset that this command didn't make; give another output folder"
    ):
        merge([b, a], tmp_path / "all")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").touch()
    with pytest.raises(OutputError, match="diary.txt and is no dataset"):
        merge([a, b], tmp_path / "mine")


@pytest.mark.parametrize("name", ["00001.safetensors", "00001.index.parquet", "00001.texts.parquet"])
@pytest.mark.parametrize("fault", ["change", "cut", "remove"])
def test_damaged_input_is_refused_and_mended_input_goes_on(
    name: str, fault: str, make: Make, tmp_path: Path
) -> None:
    a, b = make("a"), make("b")
    path = a / "shards" / name
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        data[:middle] + (b"" if fault == "cut" else bytes([data[middle] ^ 1]) + data[middle + 1 :])
    )
    if fault == "remove":
        path.unlink()
    with pytest.raises(DatasetError, match=name):
        merge([a, b], tmp_path / "all")
    with pytest.raises(DatasetError):
        lw.open_dataset(tmp_path / "all")
    path.write_bytes(data)
    check_joined(merge([a, b], tmp_path / "all"), [lw.open_dataset(a), lw.open_dataset(b)])


def test_a_full_disk_stops_a_merge_and_nothing_is_lost(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = make("a"), make("b")

    def full(event: str, path: Path) -> None:
        if path.name == "00002.safetensors":
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "reached", full)
        with pytest.raises(OutputError, match="No space left on device; what was committed is kept; free"):
            merge([a, b], tmp_path / "all")
    kept = {path: time for path, time in times(tmp_path / "all" / "shards").items() if path.name[0] != "."}
    assert len(kept) == 6, "two shards were committed"
    whole = merge([a, b], tmp_path / "all")
    check_joined(whole, [lw.open_dataset(a), lw.open_dataset(b)])
    assert times(tmp_path / "all" / "shards").items() >= kept.items(), "not copied twice"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_killed_anywhere_a_merge_goes_on_to_the_same_bytes(
    encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """A merge is killed by SIGKILL at each point of its work, twice over, and gone on with."""
    source = tmp_path / "texts.txt"
    source.write_text("".join(f"text number {n} {'word ' * (n % 7)}\n" for n in range(10)))
    lw.extract(source, tmp_path / "whole", model=encoder_of("bert"), shard_texts=4)
    # Without torch a fork is quick.
    assert killed_anywhere([sys.executable], model_folder("bert"), tmp_path, "merge") >= 30
