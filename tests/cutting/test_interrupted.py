"""Each output of `cut` and of `export` that is interrupted on its way: whole at its path, or not there at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise.cutting import table as tables
from layerwise.store import disk
from selection import few_of

OUTPUTS: dict[str, Callable[[Any, Path], Any]] = {
    "folder": lambda model, out: lw.cut(model, out, at=2, device="cpu"),
    "drop": lambda model, out: lw.cut(model, out, drop="2", device="cpu"),
    "static": lambda model, out: lw.cut(model, out, at=1, static=True, device="cpu"),
    "table": lambda model, out: lw.cut(model, out, table=True, device="cpu"),
    "onnx": lambda model, out: lw.cut(model, out, at=1, to="onnx", precision="int8", device="cpu"),
    "int8": lambda model, out: lw.export(dataset_of(model), out, to="int8", mix="2"),
    "faiss": lambda model, out: lw.export(dataset_of(model), out, to="faiss", mix="2"),
    "usearch": lambda model, out: lw.export(dataset_of(model), out, to="usearch", mix="2"),
}
MOST = 8  # interrupts of an output, spread over its way


def dataset_of(model: Path) -> Any:
    path = model.parent / "set.lw"
    return (
        path
        if path.exists()
        else lw.extract([f"text {n}" for n in range(20)], path, model=model, device="cpu")
    )


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture(autouse=True)
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TEXTS", 3)
    monkeypatch.setattr(tables, "ROUNDS", 1)
    monkeypatch.setattr(tables, "paragraphs", lambda: [("", f"text {number}") for number in range(9)])


@pytest.mark.parametrize(
    "kind", few_of(OUTPUTS, *(name for name in OUTPUTS if name not in ("onnx", "table")))
)
def test_what_is_interrupted_leaves_nothing(
    kind: str, model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, write = model_folder("bert"), OUTPUTS[kind]
    dataset_of(model)
    events: list[tuple[str, Path]] = []
    monkeypatch.setattr(disk, "reached", lambda event, path: events.append((event, path)))
    write(model, tmp_path / "whole")
    names = [path.removeprefix("whole") for path in listing(tmp_path)]
    last = events.index(("rename", tmp_path / "whole"))  # from there on the output is at its place
    for stop in sorted({last, *range(0, last, max(1, last // MOST))}):
        count = 0

        def reached(event: str, path: Path, stop: int = stop) -> None:
            nonlocal count
            count += 1
            if count == stop + 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(disk, "reached", reached)
        out = tmp_path / "new" / "out"
        with pytest.raises(KeyboardInterrupt):
            write(model, out)
        assert not out.parent.exists(), f"left at event {stop} of {last}"
    monkeypatch.setattr(disk, "reached", lambda event, path: None)
    write(model, tmp_path / "again")
    assert [path.removeprefix("again") for path in listing(tmp_path) if path.startswith("again")] == names
