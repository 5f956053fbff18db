"""What a cut costs, on the page: the numbers of the table, and files that are none."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from browser import Opened, browser
from layerwise.cutting.table import CutCost, CutTable
from layerwise.errors import RequestError
from layerwise.page.costs import shown_costs
from layerwise.wording import Message, catalogue

TABLE = CutTable(
    {"id": "mine", "revision": None},
    (CutCost("emb", 0, 10, 40, 1000.5), CutCost("1", 1, 20, 80, 500.25, 0.8, 0.7, 0.9, True)),
    3,
    30,
    1,
    "cpu",
    "kind",
    "accuracy",
)


def test_the_page_has_the_numbers_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(json.dumps(TABLE.to_json()))
    content = shown_costs(TABLE)
    assert content is not None
    assert content == shown_costs(tmp_path / "table.json") == shown_costs(TABLE.to_json())
    assert [row["tokens_per_s"] for row in content["rows"]] == [1000.5, 500.25]
    assert content["rows"][1]["high"] == 0.9
    assert shown_costs(None) is None


@pytest.mark.parametrize(
    ("lang", "left", "cells"),
    [
        ("en", "which the table leaves out: 2", ["1", "1", "20", "80 B", "500", "0.800", "(0.700 to 0.900)"]),
        ("zh", "表中未列出：2", ["1", "1", "20", "80 B", "500", "0.800", "（0.700 至 0.900）"]),
    ],
)
def test_a_browser_shows_it(
    lang: str, left: str, cells: list[str], encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    states = encoder_of("bert").encode(["one two", "three", "four five six"])
    costs = replace(TABLE, notes=(Message("note.cut.table.left", layers=["2"]),))
    address = lw.report(states, tmp_path / "page.html", costs=costs, lang=lang)
    with browser() as started:
        page = Opened(started, address, wide=360)
        shown = page.tab.locator("#costs tbody tr").last.locator("th, td").all_inner_texts()
        text = page.text("#costs")
        assert not page.complaints
    assert shown == cells
    assert left in text
    assert catalogue(lang)["costs.coarse"] in text


def test_the_costs_of_another_model_are_refused(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    encoder = encoder_of("bert")
    states = encoder.encode(["one two", "three", "four five six"])
    ours, others = (
        replace(TABLE, source={"id": "x", "weights": weights})
        for weights in (encoder.hashes["weights"], "0" * 64)
    )
    expected = shown_costs(TABLE, states)
    assert expected is not None
    assert shown_costs(ours, states) == {**expected, "model": "x"}
    with pytest.raises(RequestError, match="costs has the costs of 'x', and the rows are of another model"):
        lw.report(states, tmp_path / "page.html", costs=others)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        json.dumps({**TABLE.to_json(), "rows": []}),
        json.dumps({**TABLE.to_json(), "rows": [{}]}),
    ],
)
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(RequestError, match="other.json"):
        shown_costs(tmp_path / "other.json")
    with pytest.raises(RequestError, match=r"costs='.*none.json': No such file"):
        shown_costs(tmp_path / "none.json")
