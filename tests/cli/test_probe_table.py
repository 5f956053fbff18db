"""The table of a probe on a terminal: scores and costs in lines of at most 100 columns, in both languages."""

import argparse
import itertools
from functools import partial
from typing import Any

import pytest

from layerwise._util.display import COLUMNS, width
from layerwise.cli.probe import _next_step
from layerwise.cli.probe_table import probe_table
from layerwise.figures.markdown import probe_markdown
from layerwise.figures.probe_axis import baseline_lines
from layerwise.wording import phrase
from probe_results import probe_result

# Headers of the columns of costs.
COSTS = {"en": ("cost", "parameters", "tokens/s"), "zh": ("开销", "参数量", "词元/秒")}
MACRO = {"en": "macro-F1", "zh": "宏平均 F1"}


def content(long: str = "concat(all)", **changes: Any) -> dict[str, Any]:
    """A result with what candidates cost, and a mix with the name `long`."""
    result = probe_result(blocks=12)
    for number, candidate in enumerate(result["candidates"]):
        costs = {"parameters": 1537 + 996_000 * (number > 12), "tokens_per_s": 123456.7 / (number + 1)}
        candidate |= costs | {"scores": {"macro_f1": 0.777}}
    result["candidates"][-1]["mix"] = long
    return result | changes


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    "long", ["learned(all)", "weighted(9,10,11,12; 0.1,0.2,0.3,0.4)", "concat(" + ",".join("13579") * 9 + ")"]
)
def test_no_line_is_wider_than_a_terminal_and_nothing_is_left_out(lang: str, long: str) -> None:
    result = content(long)
    lines = probe_table(result, lang)
    assert max(map(width, lines)) <= COLUMNS
    text = "\n".join(lines)
    for header in (*COSTS[lang], MACRO[lang]):
        assert header in text
    for candidate in result["candidates"]:
        assert f"{candidate['parameters']:,}" in text
        assert f"{candidate['tokens_per_s']:,.0f}" in text
    assert text.count("0.78") >= 16, "macro-F1 of each candidate"


def test_scores_and_costs_are_in_one_line_where_there_is_room() -> None:
    lines = probe_table(content(), "en")
    assert lines[0].split() == [
        *("mix", "accuracy", "95%", "interval", "p", "vs", "best", "macro-F1", "compression"),
        *("cost", "parameters", "tokens/s"),
    ]
    assert len({width(line) for line in lines[1:17]}) == 1, "aligned"
    tables = [list(group) for blank, group in itertools.groupby(lines, key=bool) if blank]
    assert [len(table) for table in tables] == [1 + 16, 1 + 5], "candidates, then the advice and baselines"


def test_the_baseline_of_numbers_is_their_mean() -> None:
    """In the table, in probe.md and in the figure, whatever the metric."""
    result = content(task="regress", metric="pearson")
    result["baselines"] = {"majority": {"score": 0.0, "low": None, "high": None}}
    assert probe_table(result, "en")[-1].split() == ["baseline:", "mean", "0.00"]
    assert "| mean | 0.00 |" in probe_markdown(result)
    (line,) = baseline_lines(result["baselines"], "pearson", "regress")
    assert line.name == "mean (chance)"


def test_the_next_step_is_what_the_advice_says() -> None:
    given = argparse.Namespace(
        dataset="my reviews.lw", task="classify", label="stars", labels_from=None, label_separator=None, groups="author",
        split=None, class_weight=None, out="probe", head_type="linear",
    )  # fmt: skip
    options = "'my reviews.lw' --task classify --label stars --groups author"
    train = f"layerwise train {options} --mix-from probe --out HEAD"
    for recommended, needs_model, expected in (
        (True, True, f"next: {train}"),
        (True, False, f"next, if you need the model's vectors: {train}"),
        (False, False, f"next, with more labelled rows: layerwise probe {options} --out DIR"),
    ):
        result = {"advice": {"recommended": recommended, "needs_model": needs_model}, "mlp": None}
        assert _next_step(given, result, partial(phrase, "en")) == expected


def test_columns_without_values_are_left_out_and_macro_f1_is_there_once() -> None:
    result = content(metric="macro_f1")
    for candidate in result["candidates"]:
        candidate |= {"tokens_per_s": None, "codelength": None}
    header = probe_table(result, "en")[0]
    assert header.count("macro-F1") == 1
    assert "tokens/s" not in header
    assert "compression" not in header


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_probe_md_has_the_same_columns_and_explains_them(lang: str) -> None:
    text = probe_markdown(content(), lang)
    (header, *_) = [line for line in text.splitlines() if line.startswith("|")]
    for name in (*COSTS[lang], MACRO[lang]):
        assert f" {name} |" in header
    assert max(width(line) for line in text.splitlines() if line.startswith("|")) <= 2 * COLUMNS
    assert ("numbers that the classifier trains" if lang == "en" else "所训练的数值的个数") in text
