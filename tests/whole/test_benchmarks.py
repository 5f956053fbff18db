"""Figures of benchmarks are written as JSON, and one that fell by a fifth is reported."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

import layerwise as lw

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the benchmarks, with folders of its own."""
    spec = importlib.util.spec_from_file_location("history", ROOT / "benchmarks" / "history.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "history", module)  # where its dataclass is looked up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(module, "STORED", tmp_path / "stored")
    return module


def _write(history: ModuleType, speed: float, seconds: float, **machine: str) -> None:
    figures = [history.Figure("speed", speed, " x"), history.Figure("time", seconds, " s", most=True)]
    history.write("sample", {**lw.env(), **machine}, figures)


def test_a_run_is_written_as_json(history: ModuleType) -> None:
    _write(history, 2.0, 5.0)
    run = json.loads((history.RUNS / "sample.json").read_text())
    assert run["figures"]["time"] == {"value": 5.0, "unit": " s", "less_is_better": True}
    assert run["versions"]["layerwise"] == lw.__version__
    assert run["machine"]["processor"] == lw.env()["processor"]


@pytest.mark.parametrize(
    ("speed", "seconds", "expected"),
    [
        (2.0, 5.0, []),
        (1.7, 5.8, []),
        (4.0, 1.0, []),
        (1.6, 5.0, ["sample: speed: 1.6 x, stored 2 x"]),
        (2.0, 6.25, ["sample: time: 6.25 s, stored 5 s"]),
        (1.0, 10.0, ["sample: speed: 1 x, stored 2 x", "sample: time: 10 s, stored 5 s"]),
    ],
)
def test_a_figure_that_is_worse_by_a_fifth_is_reported(
    history: ModuleType, speed: float, seconds: float, expected: list[str]
) -> None:
    _write(history, 2.0, 5.0)
    assert history.losses("sample") is None  # nothing is stored yet
    assert history.main() == 0
    _write(history, speed, seconds)
    assert [line.partition(" (")[0] for line in history.losses("sample")] == expected


def test_figures_of_another_machine_are_not_compared(history: ModuleType) -> None:
    _write(history, 2.0, 5.0, processor="Another 9000")
    assert history.main() == 0
    _write(history, 1.0, 10.0)
    assert history.losses("sample") is None
    assert history.main() == 0
    assert len(list(history.STORED.iterdir())) == 2


def test_a_figure_without_a_stored_one_is_passed_over(history: ModuleType) -> None:
    _write(history, 2.0, 5.0)
    assert history.main() == 0
    history.write("sample", lw.env(), [history.Figure("new", 1.0)])
    assert history.losses("sample") == []
    assert history.losses("never run") is None
