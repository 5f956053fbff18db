"""What each candidate costs: the numbers that it trains, and its speed where the time of extraction is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from probes import probe

import layerwise as lw
from layerwise.states import LayerStates
from layerwise.store.result_provenance import extraction_speed
from planted import noise, states_of


def _states(classes: int) -> LayerStates:
    y = np.arange(120) % classes
    return states_of(noise(120, 8, 4), {"y": y.astype(str), "size": np.linspace(0, 1, 120)})


@pytest.mark.parametrize(
    ("task", "label", "classes", "columns"),
    [("classify", "y", 2, 1), ("classify", "y", 3, 3), ("regress", "size", 3, 1)],
)
def test_the_trained_numbers_are_counted(task: str, label: str, classes: int, columns: int) -> None:
    mixes = ["mean(1:)", "concat(2,3)", "learned(all)"]
    result = probe(_states(classes), task, label, mixes=mixes, quick=True)
    by_mix = {candidate.mix: candidate.parameters for candidate in result.candidates}
    single = columns * (8 + 1)
    assert by_mix["2"] == by_mix["mean(1:)"] == single, "weights and biases"
    assert by_mix["concat(2,3)"] == columns * (16 + 1)
    assert by_mix["learned(all)"] == single + 4, "and a weight per layer"
    assert result.to_json()["candidates"][0]["parameters"] == single
    assert result["2"].tokens_per_s is None, "rows in memory have no time"


def test_the_speed_is_that_of_extraction_by_blocks() -> None:
    result = probe(_states(2), "classify", "y", mixes=["mean(1:)"], quick=True).with_speed(1000.0)
    speeds = {candidate.mix: candidate.tokens_per_s for candidate in result.candidates}
    assert speeds == {"emb": None, "1": 3000.0, "2": 1500.0, "3": 1000.0, "mean(1:)": 1000.0}
    assert result.with_speed(None) is result
    assert list(result.to_pandas()["tokens_per_s"][1:]) == [3000.0, 1500.0, 1000.0, 1000.0]


def test_the_speed_of_extraction_is_tokens_over_seconds(tmp_path: Path) -> None:
    texts = [{"text": f"a text of number {number}", "y": "ab"[number % 2]} for number in range(20)]
    words = lw.extract(texts, tmp_path / "words.lw", level="word", layers="1,2")
    seconds, speed = words.run.total, extraction_speed(words)
    assert seconds is not None
    assert speed is not None
    assert speed == pytest.approx(words.manifest.totals.tokens / seconds)
    pooled = lw.pool(words, tmp_path / "texts.lw")
    assert extraction_speed(pooled) is None, "its seconds are those of pooling"
    assert extraction_speed(_states(2)) is None
    result: Any = lw.probe(words, task="classify", label="y", mix=[], quick=True, no_codelength=True)
    assert [c.tokens_per_s for c in result.candidates] == [
        pytest.approx(2 * speed, abs=0.1),
        pytest.approx(speed, abs=0.1),
    ]
    assert result.candidates[0].parameters == 384 + 1
