"""The panel of the probe in a real browser: its axis, its digits, and what it says of a learned mix."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from browser import Opened, browser, windows
from layerwise._util.display import score_digits
from layerwise.figures.curve import layer_curve
from layerwise.figures.markdown import probe_markdown
from layerwise.figures.page import page
from layerwise.figures.probe_axis import score_range
from probe_results import bare_result, probe_result

LAYERS = ["emb", "1", "2", "3"]
WIDTHS = (360, 1440, 1920)
Show = Callable[..., Opened]


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium


@pytest.fixture
def show(started: Any, tmp_path: Path) -> Iterator[Show]:
    """Open a page with a probe alone."""
    tabs: list[Opened] = []

    def open_page(probe: dict[str, Any], lang: str = "en", **options: Any) -> Opened:
        about = {
            "layers": LAYERS,
            "blocks": 3,
            "width": 8,
            "level": "text",
            "pool": "mean",
            "rows": 5,
            "texts": 5,
        }
        data = {"title": "d", "about": about, "probe": probe, "points": None, "analysis": None}
        file = tmp_path / f"page{len(tabs)}.html"
        file.write_bytes(page(data | {"tokens": None, "notes": []}, lang).encode())
        tabs.append(Opened(started, file, **options))
        return tabs[-1]

    yield open_page
    for tab in tabs:
        tab.close()


def probe(
    scores: list[float], half: float, baselines: dict[str, float], metric: str = "accuracy"
) -> dict[str, Any]:
    """A probe of layers with these scores ± `half`."""
    result = probe_result(max(1, len(scores) - 1))
    names = ["emb", *map(str, range(1, len(scores)))]
    entry = {"p_vs_best": 1.0, "cost": 0.5, "kind": "layer"}
    result["candidates"] = [
        {**entry, "mix": name, "score": score, "low": score - half, "high": score + half}
        for name, score in zip(names, scores, strict=True)
    ]
    result["advice"]["best"] = "1"
    learned = result["learned"]
    return result | {
        "metric": metric,
        "chosen": {"score": scores[0], "low": scores[0] - half, "high": scores[0] + half},
        "baselines": {name: {"score": score, "low": None, "high": None} for name, score in baselines.items()},
        "learned": learned_of(dict.fromkeys(names, 0.25), dict.fromkeys(names, 0.0)) if learned else None,
    }


def learned_of(
    weights: dict[str, float], losses: dict[str, float], half: float = 0.01, **other: Any
) -> dict[str, Any]:
    """A learned mix with the losses ± `half`, and 20 refits whose weights are those of the fit."""
    order = sorted(losses, key=lambda name: -losses[name])
    return {
        "layers": list(weights),
        "order": order,
        "needed": [name for name in order if losses[name] > half],
        "leading": list(weights),
        "left_out": {
            name: {
                "value": 0.8 - loss,
                "low": 0.7,
                "high": 0.9,
                "difference": {"value": loss, "low": loss - half, "high": loss + half},
            }
            for name, loss in losses.items()
        },
        "weights": {name: {"value": value, "low": 0.0, "high": 0.999} for name, value in weights.items()},
        "refits": {name: [value] * 20 for name, value in weights.items()},
        "logit_variance": {
            name: {"value": value, "low": 0.0, "high": 1.0} for name, value in weights.items()
        },
        "metric": "accuracy",
        "score": 0.8,
        "alike": ["1", "2"],
        "likeness": 0.9312,
        "draws": 20,
        **other,
    }


def heights(opened: Opened) -> tuple[list[float], float]:
    """Where the scores of candidates are drawn, and the height of the chart."""
    opened.tab.wait_for_selector("#probe-curve svg")
    places: list[float] = opened.tab.evaluate(
        "[...document.querySelectorAll('#probe-curve .mark:not(.rule) circle.dot')].map((dot) => +dot.getAttribute('cy'))"
    )
    high: float = opened.tab.evaluate("+document.querySelector('#probe-curve svg').getAttribute('height')")
    return places, high


def axis_foot(opened: Opened) -> float:
    foot: float = opened.tab.evaluate("+document.querySelector('#probe-curve line.axis').getAttribute('y1')")
    return foot


def table_of(opened: Opened, details: str, number: int = 0) -> Any:
    """Open a table, and return its body; it is filled by an event after the click."""
    box = opened.tab.locator(details).nth(number)
    box.locator("summary").first.click()
    box.locator("tbody").first.wait_for()
    return box.locator("tbody").first


def names_of_rules(opened: Opened) -> list[str]:
    return [
        mark.get_attribute("aria-label") or "" for mark in opened.tab.locator("#probe-curve .rule.mark").all()
    ]


@pytest.mark.parametrize(("wide", "lang"), windows(WIDTHS))
def test_a_baseline_far_below_does_not_take_the_axis(show: Show, wide: int, lang: str) -> None:
    opened = show(probe([0.75, 0.8, 0.85], 0.03, {"majority": 0.2, "bag_of_words": 0.72}), lang, wide=wide)
    places, _ = heights(opened)
    foot = axis_foot(opened)
    assert max(places) - min(places) > 0.35 * (foot - 14), "the candidates have most of the axis"
    off = opened.tab.locator("#probe-curve .rule.off")
    assert off.count() == 1
    assert "0.20" in (off.get_attribute("aria-label") or "")
    shown = opened.text("#probe-curve")
    assert re.search(r"0\.20 ↓", shown), "its number is at the edge"
    assert "0.72" in shown
    ticks = opened.tab.locator("#probe-curve text.tick[text-anchor=end]:not([transform])").all_text_contents()
    assert min(float(tick) for tick in ticks) > 0.6
    assert opened.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = opened.tab.evaluate(
        "[...document.querySelectorAll('#probe text')].map((text) => text.getBoundingClientRect())"
        ".filter((box) => box.right > innerWidth + 1 || box.left < 0).length"
    )
    assert boxes == 0, "no text leaves the page"


def test_candidates_near_the_majority_are_drawn_with_it(show: Show) -> None:
    opened = show(probe([0.5, 0.53, 0.49], 0.03, {"majority": 0.48}))
    assert opened.tab.locator("#probe-curve .rule.off").count() == 0
    rule = opened.tab.locator("#probe-curve .rule.mark line").first
    assert float(rule.get_attribute("y1") or 0) < axis_foot(opened)
    assert rule.get_attribute("stroke-dasharray") == "none", "chance is a solid line"
    assert names_of_rules(opened) == ["majority (chance): 0.48"]


def test_a_candidate_below_a_baseline_is_seen_below_it(show: Show) -> None:
    opened = show(probe([0.3, 0.32, 0.31], 0.02, {"majority": 0.6, "bag_of_words": 0.9}))
    places, _ = heights(opened)
    lines = opened.tab.locator("#probe-curve .rule.mark line:not(.touch)").all()
    at = [float(rule.get_attribute("y1") or 0) for rule in lines]
    assert len(at) == 2, "both baselines are on the axis"
    assert min(at) < max(at) < min(places)
    assert opened.tab.locator("#probe-curve .rule.off").count() == 0


@pytest.mark.parametrize(
    ("metric", "baselines", "names"),
    [
        ("r2", {}, ["chance: 0.00"]),
        ("r2", {"majority": -0.004}, ["mean (chance): 0.00"]),
        ("pearson", {"majority": 0.0}, ["mean (chance): 0.00"]),
        ("span_f1", {"emb": 0.1}, ["emb: 0.10", "chance: 0.00"]),
        ("accuracy", {"emb": 0.1}, ["emb: 0.10"]),
    ],
)
def test_the_floor_of_a_metric_is_drawn(
    show: Show, metric: str, baselines: dict[str, float], names: list[str]
) -> None:
    task = "regress" if metric in ("r2", "pearson") else "classify"
    opened = show(probe([0.05, 0.1, 0.12], 0.08, baselines, metric) | {"task": task})
    assert names_of_rules(opened) == names


@pytest.mark.parametrize(
    ("half", "digits"), [(0.2, 2), (0.05, 2), (0.0101, 2), (0.0099, 3), (0.0011, 3), (0.0004, 4)]
)
def test_digits_end_where_the_intervals_do(show: Show, half: float, digits: int) -> None:
    result = probe([0.712345, 0.723456], half, {"majority": 0.7})
    ends = [(candidate["low"], candidate["high"]) for candidate in result["candidates"]]
    assert score_digits(ends) == digits
    opened = show(result)
    cells = table_of(opened, "#probe > details").locator("tr").first.locator("td").all_inner_texts()
    assert cells[1] == f"{0.712345:.{digits}f}"
    assert cells[2].startswith(f"({0.712345 - half:.{digits}f} ")
    assert f"accuracy {0.712345:.{digits}f} " in (
        opened.tab.locator("#probe-curve .mark:not(.rule)").first.get_attribute("aria-label") or ""
    )


@pytest.mark.parametrize("rows", [100, 5000, 10**7])
def test_digits_without_intervals_come_from_the_rows(show: Show, rows: int) -> None:
    result = bare_result() | {"rows": rows}
    opened = show(result)
    cells = table_of(opened, "#probe > details").locator("td").all_inner_texts()
    assert cells[1] == f"−{0.25:.{score_digits([], rows)}f}"


@pytest.mark.parametrize(
    ("scores", "half", "baselines"),
    [
        ([0.75, 0.8, 0.85], 0.03, [0.2, 0.72]),
        ([0.5, 0.53], 0.03, [0.48, 0.3]),
        ([0.3, 0.32], 0.02, [0.9, 0.1]),
        ([0.4], 0.0, [0.1, 0.7]),
        ([-0.2, 0.1], 0.3, [0.0, -1.5]),
    ],
)
def test_the_page_and_the_figure_have_the_same_axis(
    show: Show, scores: list[float], half: float, baselines: list[float]
) -> None:
    low, _ = score_range([score + by for score in scores for by in (0, half, -half)], baselines)
    opened = show(probe(scores, half, {f"b{n}": score for n, score in enumerate(baselines)}))
    opened.tab.wait_for_selector("#probe-curve svg")
    off = opened.tab.locator("#probe-curve .rule.off").all()
    names = [(mark.get_attribute("aria-label") or "").split(":")[0] for mark in off]
    assert names == [f"b{n}" for n, score in enumerate(baselines) if score < low]


# --- the learned mix --------------------------------------------------------------------------------------


def test_the_ablation_comes_first_and_weights_are_no_bars(show: Show) -> None:
    weights = {"emb": 0.001, "1": 0.001, "2": 0.991, "3": 0.007}
    flipping = {name: [value, 0.99 if name == "1" else 0.003] * 10 for name, value in weights.items()}
    result = probe([0.75, 0.8, 0.85, 0.8], 0.03, {"majority": 0.2})
    losses = {"emb": 0.0, "1": 0.062, "2": 0.03, "3": -0.01}
    result["learned"] = learned_of(weights, losses, 0.1, refits=flipping)
    opened = show(result)
    opened.tab.wait_for_selector("#weights svg")
    order = opened.tab.evaluate(
        "[...document.querySelectorAll('#learned .verdict, #learned .chart')].map((part) => part.id)"
    )
    assert order == ["ablation-verdict", "ablation", "weights-verdict", "weights"]
    assert opened.tab.locator("#learned .bar").count() == 0
    marks = opened.tab.locator("#weights .mark")
    assert marks.count() == 4
    for number in range(4):
        assert marks.nth(number).locator(".refit").count() == 20, "a dot per refit"
    tops = opened.tab.evaluate(
        "[...document.querySelectorAll('#weights .mark:nth-of-type(2) .refit')].map((dot) => dot.getAttribute('cy'))"
    )
    assert len(set(tops)) == 2, "both places where the refits put the weight"
    assert opened.text("#ablation-verdict").startswith("No single layer is needed")
    assert opened.text("#weights-verdict").startswith("The weights mean nothing here: over 20 refits")
    rows = table_of(opened, "#learned details").locator("tr")
    assert [row.locator("td").first.inner_text() for row in rows.all()] == ["1", "2", "emb", "3"]
    cells = rows.first.locator("td").all_inner_texts()
    assert cells[1:4] == ["0.06", "(−0.04 to 0.16)", "0.74"]
    assert cells[5:7] == ["0.00", "(0.00 to 1.00)"]
    rows = table_of(opened, "#learned details", 1).locator("tr").all()
    assert len(rows) == 21, "every refit is in a table"
    assert [row.locator("td").nth(2).inner_text() for row in rows] == ["0.00", *["0.00", "0.99"] * 10]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_number_is_broken_on_paper(show: Show, lang: str) -> None:
    layers = ["emb", *map(str, range(1, 13))]
    scores = [0.7 + 0.01 * i for i in range(len(layers))]
    opened = show(probe(scores, 0.03, {"majority": 0.2}), lang, wide=700)
    opened.tab.emulate_media(media="print")
    opened.wait("document.querySelectorAll('#probe details[open] td').length > 60")
    broken = opened.tab.evaluate(
        """[...document.querySelectorAll('#probe details:not(.unprinted) :is(td, th)')]
        .filter((cell) => /^[−0-9.]+$/.test(cell.textContent))
        .filter((cell) => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return range.getClientRects().length > 1;
        }).map((cell) => cell.textContent)"""
    )
    assert broken == []
    opened.tab.emulate_media(media="screen")


def test_the_best_isnt_compared_with_itself(show: Show) -> None:
    opened = show(probe([0.7, 0.8], 0.03, {}))
    best = table_of(opened, "#probe details").locator("tr").nth(1).locator("td").all_inner_texts()
    assert best[0] == "1 · best"
    assert best[3] == "–"


@pytest.mark.parametrize(
    ("leading", "words"),
    [
        (
            ["2"],
            "The weights single out layer 2: its weight is the greatest in at least 95% of the fit and its 20",
        ),
        (
            ["1", "2"],
            "The weights single out no layer: over 20 refits on resampled texts those of layers 1, 2",
        ),
        (LAYERS, "The weights mean nothing here"),
        (None, ""),
    ],
)
def test_what_the_weights_show_is_said(show: Show, leading: list[str] | None, words: str) -> None:
    result = probe([0.75, 0.8, 0.85, 0.8], 0.03, {"majority": 0.2})
    losses = {"emb": 0.0, "1": 0.062, "2": 0.03, "3": -0.01}
    result["learned"] = learned_of(dict.fromkeys(LAYERS, 0.25), losses, leading=leading)
    opened = show(result)
    assert opened.text("#weights-verdict").startswith(words)
    assert opened.text("#ablation-verdict") == (
        "Without layer 1 the accuracy falls by 0.06 (0.05 to 0.07). Without layer 2 the accuracy falls by 0.03 "
        "(0.02 to 0.04). For no other layer is the loss distinguished from 0."
    )


def test_losses_of_nothing_are_not_drawn_as_peaks(show: Show) -> None:
    result = probe([0.75, 0.8], 0.03, {"majority": 0.2})
    result["learned"] = learned_of({"emb": 0.5, "1": 0.5}, {"emb": 0.0, "1": 0.0004}, 0.0)
    opened = show(result)
    opened.tab.wait_for_selector("#ablation svg")
    at = opened.tab.evaluate(
        "[...document.querySelectorAll('#ablation .mark .dot')].map((dot) => +dot.getAttribute('cy'))"
    )
    assert abs(at[0] - at[1]) < 3


def test_each_chart_is_one_tab_stop_and_arrows_go_on(show: Show) -> None:
    result = probe([0.75, 0.8, 0.85, 0.8], 0.03, {"majority": 0.2, "bag_of_words": 0.72})
    opened = show(result)
    for chart in ("#probe-curve", "#ablation", "#weights"):
        opened.tab.wait_for_selector(f"{chart} svg")
        assert opened.tab.locator(f"{chart} [tabindex='0']").count() == 1
        opened.tab.locator(f"{chart} [tabindex='0']").focus()
        count = opened.tab.locator(f"{chart} .mark").count()
        for _ in range(count - 1):
            opened.tab.keyboard.press("ArrowRight")
        last = opened.tab.evaluate("document.activeElement.getAttribute('aria-label')")
        assert last == opened.tab.locator(f"{chart} .mark[tabindex='0']").get_attribute("aria-label")
        assert opened.tab.locator(f"{chart} .mark[tabindex='0']").count() == 1
        if chart == "#probe-curve":
            assert "majority" in last or "bag of words" in last, "baselines are reached too"


def test_a_result_without_refits_or_ablation_is_drawn(show: Show) -> None:
    opened = show(probe_result(3), wide=320)
    opened.tab.wait_for_selector("#weights svg")
    assert opened.tab.locator("#ablation").count() == 0
    assert opened.tab.locator("#weights .whisker").count() == 4
    assert opened.text("#weights-verdict") == ""
    assert opened.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_paper_every_table_is_there_and_in_forced_colours_the_marks_are(show: Show) -> None:
    result = probe([0.75, 0.8, 0.85, 0.8], 0.03, {"majority": 0.2})
    opened = show(result)
    opened.tab.emulate_media(media="print")
    opened.wait("document.querySelectorAll('#probe details[open] table').length === 3")
    opened.tab.emulate_media(media="screen", forced_colors="active")
    fill = "getComputedStyle(document.querySelector('#weights .refit')).fill"
    assert opened.tab.evaluate(fill) not in (
        "none",
        opened.tab.evaluate("getComputedStyle(document.body).backgroundColor"),
    )


@pytest.mark.parametrize(("lang", "word"), [("en", "highest score"), ("zh", "得分最高")])
def test_the_legend_explains_the_ring(show: Show, lang: str, word: str) -> None:
    opened = show(probe([0.72, 0.74], 0.05, {}), lang)
    (key,) = [key for key in opened.tab.locator("#probe .keys > span").all() if key.inner_text() == word]
    assert key.locator("circle.best").count() == 1
    assert opened.tab.locator("#probe-curve circle.best").count() == 1


# --- names, columns and ticks -----------------------------------------------------------------------------


@pytest.mark.parametrize(("lang", "words"), [("en", "choosing the highest"), ("zh", "选用最高者")])
def test_choosing_the_highest_has_one_name(show: Show, lang: str, words: str) -> None:
    opened = show(probe([0.7, 0.75, 0.8], 0.03, {"majority": 0.2}), lang, wide=1440)
    names = opened.tab.locator("#probe-curve text").all_text_contents()
    mark = opened.tab.locator("#probe-curve .mark:has(path.dot)").last.get_attribute("aria-label") or ""
    rows = table_of(opened, "#probe details").locator("tr td:first-child").all_inner_texts()
    assert words in names
    assert words in opened.text("#probe .keys")
    assert mark.startswith(words)
    assert words in rows
    assert "chosen" not in opened.text("#probe").replace("C chosen", "")
    content = probe_result(3)
    markdown = probe_markdown(content, lang)
    assert "`chosen`" not in markdown
    assert {"en": "Choosing the candidate with the highest score scores", "zh": "选用得分最高的候选，得分为"}[
        lang
    ] in markdown


COSTS = {
    "en": ["macro-F1", "share of a forward pass", "parameters", "tokens/s"],
    "zh": ["宏平均 F1", "前向计算占比", "参数量", "词元/秒"],
}


@pytest.mark.parametrize(("wide", "lang"), windows(WIDTHS))
def test_the_table_has_what_a_candidate_costs(show: Show, wide: int, lang: str) -> None:
    result = probe([0.7, 0.75, 0.8], 0.03, {"majority": 0.2})
    for number, candidate in enumerate(result["candidates"]):
        speed = None if number == 0 else 12345.6
        candidate |= {
            "parameters": 1540,
            "tokens_per_s": speed,
            "scores": {"macro_f1": 0.641, "accuracy": 0.7},
        }
    opened = show(result, lang, wide=wide)
    rows = table_of(opened, "#probe details").locator("tr")
    head = opened.tab.locator("#probe details thead").first.locator("th").all_inner_texts()
    assert head[4:] == COSTS[lang], "accuracy is the metric, and stands once"
    assert rows.nth(0).locator("td").all_inner_texts()[4:] == ["0.64", "50%", "1,540", "–"]
    assert rows.nth(1).locator("td").all_inner_texts()[4:] == ["0.64", "50%", "1,540", "12,346"]
    assert rows.last.locator("td").all_inner_texts()[4:] == ["–"] * 4, "a baseline"
    assert opened.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_columns_that_no_candidate_has_are_left_out(show: Show) -> None:
    opened = show(probe([0.7, 0.75], 0.03, {"majority": 0.2}))
    table_of(opened, "#probe details")
    head = opened.tab.locator("#probe details thead").first.locator("th").all_inner_texts()
    assert head == ["Layer or mix", "accuracy", "95% interval", "p vs best", "share of a forward pass"]


@pytest.mark.parametrize(("lang", "word"), [("en", "ruled out by a coarse pass"), ("zh", "经粗筛排除")])
def test_candidates_of_the_coarse_pass_are_faint_and_say_so(show: Show, lang: str, word: str) -> None:
    result = probe([0.7, 0.75, 0.8], 0.03, {"majority": 0.2})
    result["candidates"][0] |= {"dropped": True, "low": None, "high": None, "p_vs_best": None}
    opened = show(result, lang)
    dropped = opened.tab.locator("#probe-curve .mark.dropped")
    assert dropped.count() == 1
    assert word in (dropped.get_attribute("aria-label") or "")
    assert (
        opened.tab.locator("#probe-curve .mark.dropped circle.dot").evaluate(
            "(dot) => getComputedStyle(dot).opacity"
        )
        == "0.4"
    )
    assert {"en": "Faint points", "zh": "浅色点"}[lang] in opened.text("#probe .lead")
    assert word in table_of(opened, "#probe details").locator("tr").first.inner_text()


def test_ticks_have_no_more_digits_than_their_steps() -> None:
    """Steps of 1, 2 or 5 need the digits of their size; 0.025 would have three where the numbers have two."""
    figure = layer_curve(probe([0.68, 0.75, 0.84], 0.03, {"majority": 0.2}))
    texts = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert {len(text.partition(".")[2]) for text in texts} == {2}


@pytest.mark.parametrize(("low", "high"), [(0.66, 0.86), (0.7, 0.8), (0.03, 0.12), (0.0, 0.1)])
def test_ticks_of_the_page_have_two_digits_at_most(show: Show, low: float, high: float) -> None:
    opened = show(probe([low, high], 0.002, {}))
    ticks = opened.tab.locator("#probe-curve text.tick[text-anchor=end]:not([transform])").all_text_contents()
    assert len(ticks) > 1
    assert max(len(tick.partition(".")[2]) for tick in ticks) <= 2


@pytest.mark.parametrize(("wide", "lang"), windows(WIDTHS))
def test_the_name_of_each_baseline_has_a_piece_of_its_line(show: Show, wide: int, lang: str) -> None:
    baselines = {"majority": 0.71, "emb": 0.71, "bag_of_words": 0.72}
    opened = show(probe([0.7, 0.75, 0.8], 0.03, baselines), lang, wide=wide)
    dashes = "(all) => all.map((line) => line.getAttribute('stroke-dasharray'))"
    lines = opened.tab.locator("#probe-curve .rule.mark line:not(.touch)").evaluate_all(dashes)
    pieces = opened.tab.locator("#probe-curve :is(.leader, .rule:not(.mark) line)").evaluate_all(dashes)
    assert len(set(lines)) == 3, "each has dashes of its own"
    assert sorted(pieces) == sorted(lines)
    names = opened.tab.locator("#probe-curve text.baseline")
    assert names.count() == 3


def test_baselines_of_the_figure_differ_in_line_interval_and_leader() -> None:
    result = probe([0.7, 0.75, 0.8], 0.03, {})
    result["baselines"] = {
        name: {"score": 0.71, "low": 0.68, "high": 0.74} for name in ("majority", "emb", "bag_of_words")
    }
    file = io.StringIO()
    layer_curve(result).savefig(file, format="svg")
    dashes = [
        [float(part) for part in found.split(",")]
        for found in re.findall(r"stroke-dasharray: ([\d., ]+)", file.getvalue())
    ]
    # Dashes grow with the width of the line.
    kinds = Counter(tuple(round(10 * part / parts[0]) for part in parts) for parts in dashes)
    assert list(kinds.values()) == [3, 3], "two baselines have dashes of their own, the chance level is solid"


@pytest.mark.parametrize(
    ("lang", "word"), [("en", "chooses its own regularisation"), ("zh", "各自选择正则化")]
)
def test_two_scores_of_the_learned_mix_are_explained(show: Show, lang: str, word: str) -> None:
    result = probe([0.75, 0.8, 0.85, 0.8], 0.03, {"majority": 0.2})
    names = ["emb", "1", "2", "3"]
    result["learned"] = learned_of(dict.fromkeys(names, 0.25), dict.fromkeys(names, 0.0))
    result["learned"] |= {"mix": "learned(emb,1,2,3)", "score": 0.798, "caution": "", "summary": []}
    mix = {"mix": "learned(emb,1,2,3)", "kind": "mix", "p_vs_best": 1.0, "cost": 1.0}
    result["candidates"].append(mix | {"score": 0.814, "low": 0.78, "high": 0.84})
    opened = show(result, lang)
    text, markdown = opened.text("#learned"), probe_markdown(result, lang)
    for words in (text, markdown):
        assert word in words
        assert "0.81" in words
        assert "0.80" in words
    result["learned"]["score"] = 0.8141
    assert word not in show(result, lang).text("#learned"), "both are written alike"
    assert word not in probe_markdown(result, lang)


@pytest.mark.parametrize("wide", [360, 1440])
def test_names_of_mixes_do_not_overlap_beside_sites(show: Show, wide: int) -> None:
    result = probe([0.7] * 7, 0.05, {"majority": 0.5})
    first = result["candidates"][0]
    sites = [f"{site}.{block}" for block in range(1, 7) for site in ("value", "attention", "mlp")]
    mixes = [f"concat({number},6)" for number in range(1, 6)]
    result["candidates"] += [{**first, "mix": name} for name in sites]
    result["candidates"] += [{**first, "mix": name, "kind": "mix"} for name in mixes]
    opened = show(result, wide=wide, high=900)
    named = opened.tab.locator("#probe-curve text.tick[transform]")
    assert named.count() == len(mixes) + 1
    moved = [str(named.nth(number).get_attribute("transform")) for number in range(named.count())]
    places = [float(re.search(r"translate\(([\d.]+)", each)[1]) for each in moved]  # type: ignore[index]
    # Names aslant by 38 degrees, of letters about 11 pixels high.
    assert min(b - a for a, b in pairwise(places)) > 14
    along = opened.tab.locator("#probe-curve text.tick[text-anchor=middle]").all_text_contents()
    assert set(along) <= {"emb", *"123456"}
