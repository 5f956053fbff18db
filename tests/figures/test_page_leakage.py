"""The page puts what each layer gives away beside the scores of the task, and names the layer to take."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import Opened, browser
from layerwise.figures.page import page

LAYERS = ["emb", "1", "2", "3"]
WORDS = [0.58, 0.41, 0.25, 0.30]


def head(**more: Any) -> dict[str, Any]:
    measure = {
        "values": WORDS,
        "low": [v - 0.05 for v in WORDS],
        "high": [v + 0.05 for v in WORDS],
        "unit": "share",
        "source": "s",
        "floor": [0.03] * 4,
    }
    analysis = {"layers": LAYERS, "rows": 400, "of": 400, "seed": 0, "measures": {"leakage_words": measure}}
    return {"title": "t", "about": {"layers": LAYERS}, "analysis": analysis, "notes": [], **more}


def probe() -> dict[str, Any]:
    """Layers 2 and 3 reach the best score, of layer 3; emb and 1 don't."""
    scores = {"emb": 0.70, "1": 0.72, "2": 0.81, "3": 0.82}
    candidates = [
        {"mix": mix, "score": score, "low": score - 0.02, "high": score + 0.02, "kind": "layer"}
        for mix, score in scores.items()
    ]
    return {"task": "classify", "label": "label", "metric": "accuracy", "rows": 400, "candidates": candidates}


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as running:
        yield running


def opened(started: Any, path: Path, content: dict[str, Any], lang: str = "en") -> Opened:
    path.write_text(page(content, lang), encoding="utf-8")
    return Opened(started, path)


def test_the_layer_that_keeps_the_task_and_gives_away_least_is_named(started: Any, tmp_path: Path) -> None:
    tab = opened(started, tmp_path / "page.html", head(probe=probe()))
    said = tab.text(".leakage")
    assert "reaches the best score: 2; 3." in said
    assert "layer 2 (score 0.810) gives away least: content words recovered, 0.250" in said
    assert tab.tab.locator(".leakage polyline.curve").count() == 2
    assert not tab.complaints
    tab.close()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_without_a_probe_only_the_curves_are_there(started: Any, tmp_path: Path, lang: str) -> None:
    tab = opened(started, tmp_path / "page.html", head(), lang)
    assert tab.tab.locator(".leakage polyline.curve").count() == 1
    assert "best score" not in tab.text(".leakage")
    assert not tab.complaints
    tab.close()


@pytest.mark.parametrize(
    ("lang", "name"), [("en", "values of 'author' guessed"), ("zh", "猜中的 'author' 值")]
)
def test_attributes_are_named_and_the_label_of_the_task_is_no_secret(
    started: Any, tmp_path: Path, lang: str, name: str
) -> None:
    content = head(probe=probe())
    measures = content["analysis"]["measures"]
    measures |= {f"leakage_attribute:{column}": measures["leakage_words"] for column in ("author", "label")}
    tab = opened(started, tmp_path / "page.html", content, lang)
    advice = [text for text in tab.tab.locator(".leakage p").all_inner_texts() if "0.810" in text]
    assert len(advice) == 2  # content words and author
    assert name in tab.text(".leakage")
    assert not any("'label'" in text for text in advice)
    assert not tab.complaints
    tab.close()


def test_scores_below_zero_stay_in_the_chart(started: Any, tmp_path: Path) -> None:
    content = head(probe={**probe(), "metric": "r2"})
    content["probe"]["candidates"][0] |= {"score": -0.6, "low": -0.8, "high": -0.4}
    tab = opened(started, tmp_path / "page.html", content)
    points = tab.tab.locator(".leakage polyline.curve").first.get_attribute("points")
    heights = [float(point.split(",")[1]) for point in points.split()]
    high = tab.tab.evaluate("document.querySelector('.leakage svg').getBoundingClientRect().height")
    assert max(heights) < high
    assert not tab.complaints
    tab.close()


def test_an_analysis_without_leakage_has_no_such_part(started: Any, tmp_path: Path) -> None:
    content = head()
    content["analysis"]["measures"] = {"norm": {"values": [1, 2, 3, 4], "unit": "length", "source": "s"}}
    tab = opened(started, tmp_path / "page.html", content)
    assert tab.tab.locator(".leakage").count() == 0
    tab.close()
