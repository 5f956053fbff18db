"""Block influence: against a loop over rows, and on planted blocks."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from conftest import CORPUS
from layerwise.cli.main import main
from layerwise.errors import RequestError
from layerwise.geometry.block_influence import block_influence, layers_before


def test_it_is_one_less_the_mean_cosine() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 7)).astype(np.float32)
    cosines = [
        math.fsum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)
        for a, b in zip(x, y, strict=True)
    ]
    assert block_influence(x, y) == pytest.approx(1 - math.fsum(cosines) / 30, abs=1e-6)


def test_lengths_have_no_influence() -> None:
    x = np.random.default_rng(1).normal(size=(9, 4))
    assert block_influence(x, 7 * x) == pytest.approx(0, abs=1e-12)
    assert block_influence(x, -x) == pytest.approx(2, abs=1e-12)
    assert block_influence(1e300 * x, 1e-300 * x) == pytest.approx(0, abs=1e-12)


def test_where_it_is_undefined() -> None:
    x = np.ones((3, 4))
    assert math.isnan(block_influence(x, np.zeros((3, 4))))
    assert math.isnan(block_influence(x, np.full((3, 4), np.inf)))
    assert math.isnan(block_influence(x, np.ones((3, 5))))


def test_only_blocks_with_both_ends_have_one() -> None:
    assert layers_before(("emb", "1", "attention.2", "3", "4")) == {"1": "emb", "4": "3"}
    assert layers_before(("1", "3")) == {}


def test_analyze_measures_every_block(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    states = encoder_of("bert").encode(CORPUS, layers="all,mlp.2", level="token")
    found = lw.analyze(states, measure=["block_influence"])["block_influence"]
    layers = ["emb", "1", "2", "3"]
    inside = states.where(special=False)  # analyze leaves special tokens out
    expected = [
        block_influence(states.layer(before)[inside], states.layer(after)[inside])
        for before, after in itertools.pairwise(layers)
    ]
    assert np.isnan(found.values[[0, states.layers.index("mlp.2")]]).all()
    got = [found.values[states.layers.index(layer)] for layer in layers[1:]]
    assert got == pytest.approx(expected, abs=1e-9)
    assert found.source == "Men et al. 2024"


def test_layers_that_do_not_follow_each_other_are_refused(encoder_of: Callable[[str], Any]) -> None:
    states = encoder_of("bert").encode(CORPUS, layers="1,3")
    with pytest.raises(RequestError, match="block_influence.* needs rows of layers that follow each other"):
        lw.analyze(states, measure=["block_influence"])


def test_the_command_writes_it(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one two\nthree four\nfive six\nseven\n")
    dataset = lw.extract(tmp_path / "texts.txt", tmp_path / "set.lw", model=encoder_of("bert"))
    out = tmp_path / "analysis"
    assert main(["analyze", str(dataset.path), "--measure", "block_influence", "--out", str(out)]) == 0
    assert '"block_influence"' in (out / "analysis.json").read_text()
