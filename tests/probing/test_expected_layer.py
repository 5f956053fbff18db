"""The layer at which a label is resolved: planted layers, the formula by hand, and its interval by resampling."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.array_types import F64
from layerwise.figures.markdown import probe_markdown
from layerwise.probing.expected_layer import fieller
from layerwise.probing.influence import Influence
from layerwise.states import LayerStates
from planted import noise, states_of

QUICK: dict[str, Any] = {"mix": [], "quick": True, "no_codelength": True, "expected_layer": True}


def planted(first: int, layers: int = 5, rows: int = 300) -> LayerStates:
    """Layers of noise; the label, of which 6% are wrong, is in all of them from `first` on, with the same noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    vectors = noise(rows, 5, layers)
    if first < layers:
        vectors[first][:, 0] += 3.5 * (1 + 3 * first) * y
        for number in range(first + 1, layers):
            vectors[number] = (number + 1) * vectors[first] + 0.1 * vectors[number]
    return states_of(vectors, {"y": np.where(rng.random(rows) < 0.06, 1 - y, y).astype(str)})


def by_hand(cumulative: list[dict[str, Any]]) -> float:
    """The formula of Tenney et al. from the scores of the cumulative mixes."""
    depths = [0 if entry["layer"] == "emb" else int(entry["layer"]) for entry in cumulative]
    gains = [b["score"] - a["score"] for a, b in itertools.pairwise(cumulative)]
    weighted = [d * gain for d, gain in zip(depths[1:], gains, strict=True)]
    return float(sum(weighted) / sum(gains))


@pytest.mark.parametrize("first", [1, 3])
def test_the_layer_where_a_label_begins_is_the_expected_layer(first: int, tmp_path: Path) -> None:
    result = lw.probe(planted(first), task="classify", label="y", out=tmp_path / "probe", **QUICK)
    expected = result.expected_layer
    assert expected is not None
    assert expected.value == pytest.approx(first, abs=0.15), "later layers add no more than chance does"
    assert expected.low is not None
    assert expected.high is not None
    assert expected.low < first < expected.high
    assert expected.high - expected.low < 1
    content = json.loads((tmp_path / "probe" / "probe.json").read_text())["expected_layer"]
    assert content["value"] == pytest.approx(by_hand(content["cumulative"]))
    assert [entry["mix"] for entry in content["cumulative"]] == [
        *("emb", "learned(emb,1)", "learned(emb,1,2)", "learned(emb,1,2,3)", "learned(emb,1,2,3,4)")
    ]
    assert content["cumulative"][0]["gain"] is None
    assert content["cumulative"][0]["score"] == pytest.approx(result["emb"].score), "a candidate too"
    assert f"the label is resolved at layer {expected.value:.1f} (95%: " in result.advice.text
    markdown = (tmp_path / "probe" / "probe.md").read_text()
    assert "## Learned mixes of the first layers" in markdown
    assert "Tenney et al. 2019" in markdown
    assert "截至层" in probe_markdown(result.to_json(), "zh")


def test_a_cumulative_mix_that_is_a_candidate_has_its_score() -> None:
    states = planted(2, layers=3, rows=200)
    result = lw.probe(states, task="classify", label="y", **QUICK | {"mix": ["learned(all)"], "quick": False})
    assert result.expected_layer is not None
    last = result.expected_layer.cumulative[-1]
    assert last.score == pytest.approx(np.mean(result["learned(all)"].folds[:5])), "on the first repeat"
    alone = lw.probe(states, task="classify", label="y", **QUICK)
    assert alone.expected_layer is not None
    # Fitted alone, from the same folds: one row of 200 may change sides.
    assert alone.expected_layer.cumulative[-1].score == pytest.approx(last.score, abs=1 / 200)


def test_where_nothing_is_gained_no_layer_is_named() -> None:
    result = lw.probe(planted(9, layers=4), task="classify", label="y", **QUICK)
    expected = result.expected_layer
    assert expected is not None
    assert expected.value is expected.low is expected.high is None
    assert expected.gain.low is not None
    assert expected.gain.low < 0
    assert "so no layer at which the label is resolved can be named" in result.advice.text
    assert "无法指出该标签在哪一层得到解决" in " ".join(m.in_language("zh") for m in result.advice.messages)


def test_layers_that_are_not_stored_are_passed_over_and_one_is_too_few() -> None:
    full = planted(3)
    names = ("1", "3", "4")
    states = LayerStates(
        {name: full.layer(name) for name in names},
        index=full.index,
        texts=full.texts,
        blocks=full.blocks,
        level="text",
        pool="mean",
    )
    result = lw.probe(states, task="classify", label="y", **QUICK)
    assert result.expected_layer is not None
    assert [entry.layer for entry in result.expected_layer.cumulative] == list(names)
    assert result.expected_layer.value == pytest.approx(3, abs=0.15)
    single = states_of([full.layer("4")], {"y": full.index["y"].to_pylist()})
    with pytest.raises(lw.RequestError, match="expected_layer.*has only emb; extract all layers"):
        lw.probe(single, task="classify", label="y", **QUICK)


def drawn(rng: np.random.Generator, chances: F64, rows: int) -> F64:
    """Rows (C, n) answered rightly with the given chances, a sample of independent rows."""
    level = rng.random(rows)
    level_of_mix = np.where(rng.random((len(chances), rows)) < 0.3, rng.random((len(chances), rows)), level)
    return (level_of_mix < chances[:, None]).astype(np.float64)


def interval_of(right: F64) -> tuple[float | None, float | None, float | None]:
    scores = right.mean(axis=1)
    values = (right - scores[:, None]) / right.shape[1]
    retrained = np.zeros((len(right), 0, right.shape[1]), np.float32)
    influence = Influence(scores, values, retrained, np.arange(right.shape[1]))
    degrees = float(influence.degrees(values[-1] - values[0]))
    depths = np.arange(len(right), dtype=np.float64)
    value, low, high, _ = fieller(depths, scores, influence.sampling_covariance(), degrees)
    return value, low, high


def quotient(scores: F64) -> F64:
    gains = np.diff(scores, axis=-1)
    result: F64 = (gains * np.arange(1, scores.shape[-1])).sum(-1) / gains.sum(-1)
    return result


CHANCES = np.array([0.6, 0.62, 0.75, 0.84, 0.85])


def test_the_interval_is_that_of_a_bootstrap_of_rows() -> None:
    rng = np.random.default_rng(3)
    right = drawn(rng, CHANCES, 1500)
    value, low, high = interval_of(right)
    assert low is not None
    assert high is not None
    rows = rng.integers(0, 1500, (4000, 1500))
    samples = np.stack([right[:, draw].mean(axis=1) for draw in rows])
    ends = np.percentile(quotient(samples), [2.5, 97.5])
    assert value == pytest.approx(quotient(right.mean(axis=1)))
    # Percentiles of 4,000 draws have a standard error of 2% of the width; the quotient is slightly skewed.
    width = ends[1] - ends[0]
    assert low == pytest.approx(ends[0], abs=0.08 * width)
    assert high == pytest.approx(ends[1], abs=0.08 * width)


def test_the_interval_covers_the_true_layer_in_95_percent_of_samples() -> None:
    rng = np.random.default_rng(4)
    true_layer = float(quotient(CHANCES))
    covered = intervals = 0
    for _ in range(600):
        value, low, high = interval_of(drawn(rng, CHANCES, 400))
        if value is not None and low is not None and high is not None:
            intervals += 1
            covered += low <= true_layer <= high
    assert intervals > 590, "the gain is clear in nearly all samples"
    # The standard error of a share of 600 is .009.
    assert 0.93 <= covered / intervals <= 0.97, f"{covered} of {intervals}"


@pytest.mark.slow
def test_keys_are_in_the_docs(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("number 1 2\ntext 3 4\n")
    result = lw.probe(
        planted(1, layers=2, rows=80),
        task="classify",
        label="y",
        **QUICK | {"head_type": "mlp", "vectors": tmp_path / "v.txt"},
    )
    docs = (Path(__file__).parents[2] / "docs" / "explanation" / "probe.md").read_text(encoding="utf-8")
    listed = docs[docs.index("## `probe.json`") :]
    content = result.to_json()
    for name, following in (
        ("mlp", "vectors"),
        ("vectors", "expected_layer"),
        ("expected_layer", "labels_from"),
    ):
        part = listed[listed.index(f"`{name}` (`--") : listed.index(f"`{following}` (")]
        assert set(content[name]) <= set(re.findall(r"`(\w+)`", part)), name
    part = listed[listed.index("`cumulative`") : listed.index("`labels_from`")]
    assert set(content["expected_layer"]["cumulative"][0]) <= set(re.findall(r"`(\w+)`", part))
    assert set(content) <= set(re.findall(r"`(\w+)`", listed)), "and every key of the whole"
