"""What `bench` runs against, and what it leaves out."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from layerwise.api.bench import bench


@pytest.mark.usefixtures("quick_ceilings")
def test_other_libraries_that_are_broken_here_are_left_out_and_named(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("flair", "sentence_transformers"):
        monkeypatch.delitem(sys.modules, package, raising=False)
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('made for transformers 4')\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = bench(model=model_folder("bert"), texts=2, rounds=1, bf16=False, int8=False, device="cpu")
    assert set(found.left_out) == {"flair", "sentence_transformers"}
    for why in found.left_out.values():
        assert why == "installed, but it doesn't run with these versions: made for transformers 4"
    assert found.ways["layerwise fp32"].tokens_per_s > 0
    loop = found.ways["loop: one text at a time"]
    for way, speed in found.ways.items():
        blocks = 3 if way == "layerwise fp32, layer 1 only" else 1  # the tiny model has three
        needed = speed.tokens_per_s * found.flop_per_token / blocks
        assert speed.of_ceiling == pytest.approx(needed / 1e9 / found.ceilings["fp32"]), way
        assert speed.against_loop == pytest.approx(speed.tokens_per_s / loop.tokens_per_s), way
