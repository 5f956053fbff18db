"""What `bench` runs against, and what it leaves out."""

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from layerwise.api.bench import bench
from layerwise.extraction.speed import SHAPES
from layerwise.options import BenchOptions


@pytest.mark.slow
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


@pytest.mark.parametrize(("shape", "family"), SHAPES.items())
def test_shapes_are_of_12_blocks_and_width_768(
    shape: str, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the weights, which take seconds to draw."""
    from transformers import AutoConfig, AutoModel

    from layerwise.encode.checkpoint import find_checkpoint
    from layerwise.encode.hf import saving

    class Described:
        def __init__(self, config: Any) -> None:
            self.save_pretrained = config.save_pretrained

    monkeypatch.setattr(AutoModel, "from_config", Described)
    saving.save_random(tmp_path, find_checkpoint("minilm"), family)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.model_type, config.num_hidden_layers, config.hidden_size) == (family, 12, 768)
    assert config.vocab_size == 30522
    options = {field.name: field for field in fields(BenchOptions)}
    assert shape in options["shape"].metadata["choices"]
