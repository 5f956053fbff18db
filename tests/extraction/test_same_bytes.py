"""The same command gives the same bytes of every file but `run.json`, whatever the clock says."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.store import check_files
from stored import contents


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """A file of texts, and one to append; with a label each."""
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, count in zip(paths, (9, 4), strict=True):
        lines = [
            json.dumps({"text": f"{path.stem} {n} " + "word " * (n % 5), "label": "xy"[n % 2]})
            for n in range(count)
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by another amount each time it is read: no two shards take the same seconds."""
    now, step = [time.perf_counter()], [0.0]

    def perf_counter() -> float:
        step[0] += 0.37
        now[0] += step[0]
        return now[0]

    for module in ("shard_maker", "pool"):
        monkeypatch.setattr(f"layerwise.extraction.{module}.time.perf_counter", perf_counter)


Verb = Callable[[Path], Any]


def check_same(verb: Verb, tmp_path: Path) -> None:
    """Run a verb twice, into two folders, and compare all files."""
    for name in ("first", "second"):
        verb(tmp_path / name)
        assert check_files(tmp_path / name) == []
    first, second = (contents(tmp_path / name) for name in ("first", "second"))
    assert first.keys() == second.keys()
    assert [name for name, data in first.items() if data != second[name]] == []
    assert "manifest.json" in first
    runs = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("first", "second")]
    assert runs[0].keys() == {"finished", "host", "seconds"} == runs[1].keys()
    assert runs[0]["seconds"] != runs[1]["seconds"], "they took different times, or this shows nothing"
    assert lw.open_dataset(tmp_path / "first").sha256 == lw.open_dataset(tmp_path / "second").sha256


@pytest.mark.parametrize("level", ["token", "text"])
def test_extract(level: str, encoder_of: Callable[[str], Any], sources: list[Path], tmp_path: Path) -> None:
    encoder = encoder_of("bert")
    check_same(lambda out: lw.extract(sources[0], out, model=encoder, level=level, shard_texts=4), tmp_path)


def test_append(encoder_of: Callable[[str], Any], sources: list[Path], tmp_path: Path) -> None:
    def verb(out: Path) -> None:
        for source in sources:
            lw.extract(source, out, model=encoder_of("bert"), shard_texts=4, append=out.exists())

    check_same(verb, tmp_path)
    seconds = lw.open_dataset(tmp_path / "first").run.seconds
    assert len(seconds) == 4
    assert None not in seconds.values(), "what the first shards took is kept"


def test_merge_and_pool(encoder_of: Callable[[str], Any], sources: list[Path], tmp_path: Path) -> None:
    def verb(out: Path) -> None:
        several = [out.with_name(f"{out.name}-{source.stem}") for source in sources]
        for source, path in zip(sources, several, strict=True):
            lw.extract(source, path, model=encoder_of("bert"), level="token", shard_texts=4)
        lw.merge(several, out)
        whole = lw.open_dataset(out).run.total
        parts = [lw.open_dataset(path).run.total for path in several]
        assert whole == pytest.approx(sum(part or 0.0 for part in parts)), "copied shards keep their seconds"

    check_same(verb, tmp_path)
    (tmp_path / "pools").mkdir()
    check_same(lambda out: lw.pool(tmp_path / "first", out, level="text"), tmp_path / "pools")


@pytest.mark.usefixtures("quick_workers")
def test_workers(model_folder: Callable[[str], Path], sources: list[Path], tmp_path: Path) -> None:
    model = model_folder("bert")
    for name, workers in (("one", 1), ("two", 2), ("again", 2)):
        lw.extract(sources[0], tmp_path / name, model=model, device="cpu", shard_texts=2, workers=workers)
    one, two, again = (contents(tmp_path / name) for name in ("one", "two", "again"))
    assert one == two == again


@pytest.mark.parametrize(
    "data", [None, b"", b"[]", b'{"finished": 3}', b'{"finished": "", "host": "", "seconds": []}']
)
def test_a_dataset_without_its_run_file_is_whole(
    data: bytes | None,
    encoder_of: Callable[[str], Any],
    sources: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It opens, and where its numbers would stand is said why they aren't known."""
    out = tmp_path / "out"
    lw.extract(sources[0], out, model=encoder_of("bert"), shard_texts=4)
    before = contents(out)
    path = out / "run.json"
    path.unlink() if data is None else path.write_bytes(data)
    dataset = lw.open_dataset(out)
    assert dataset.layer("1").shape[0] == 9
    assert check_files(out) == []
    assert (dataset.run.total, dataset.run.finished, dataset.run.host) == (None, None, None)
    assert "run.json" in (dataset.run.problem or "")
    assert main(["info", str(out)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("not known: ") == 2, shown
    assert "run.json" in shown
    assert main(["info", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["seconds"], facts["finished"], facts["totals"]["seconds"]) == (None, None, None)
    lw.extract(sources[1], out, model=encoder_of("bert"), shard_texts=4, append=True)
    added = lw.open_dataset(out)
    assert added.run.problem is None
    assert (added.run.seconds[0], added.run.total) == (None, None), "what the first shards took is lost"
    assert before.items() - contents(out).items() == {
        (name, data) for name, data in before.items() if name.startswith(("manifest", "shards-"))
    }
