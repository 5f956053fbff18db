"""What could mislead on a page is right at every width and in both languages: real results, one test per width."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from browser import LANGS, Opened, browser, windows

HEIGHTS = {360: 740, 1440: 900, 1920: 1080}
pytestmark = pytest.mark.parametrize(("wide", "lang"), windows([*HEIGHTS]))
CLASSES = {"usual": 48, "seldom": 18, "rare": 6}
WORDS = {
    "usual": "the breakfast of the hotel",
    "seldom": "这家酒店的房间很大",
    "rare": "a parcel that never came",
}


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as program:
        yield program


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of 72 rows of 384 dimensions, too few for PWCCA, with characters that the model doesn't know."""
    place = tmp_path_factory.mktemp("widths")
    rows = [
        json.dumps({"text": f"{WORDS[name]} ({number})", "kind": name, "half": "ab"[number % 2]})
        for name, count in CLASSES.items()
        for number in range(count)
    ]
    (place / "texts.jsonl").write_text("\n".join(rows), "utf-8")
    dataset = lw.extract(place / "texts.jsonl", place / "texts.lw", model="minilm")
    mixes = ["mean(1:)", "learned(all)"]
    probe = lw.probe(dataset, task="classify", label="kind", mix=mixes, quick=True)
    measures = ["linear_cka", "procrustes", "pwcca", "norm", "anisotropy"]
    analysis = lw.analyze(dataset, label="kind", measure=measures)
    options: dict[str, Any] = {"probe": probe, "analysis": analysis, "texts": [50]}
    return {lang: lw.report(dataset, place / f"{lang}.html", lang=lang, **options) for lang in LANGS}


@pytest.fixture
def opened(wide: int, lang: str, pages: dict[str, Path], started: Any) -> Iterator[Opened]:
    tab = Opened(started, pages[lang], wide=wide, high=HEIGHTS[wide], reduced_motion="reduce")
    yield tab
    tab.close()


def lang_of(opened: Opened) -> str:
    lang: str = opened.tab.evaluate("document.documentElement.lang")
    return lang[:2]


def texts(opened: Opened, selector: str) -> list[str]:
    contents: list[str] = opened.tab.locator(selector).all_text_contents()
    return [content.strip() for content in contents]


def test_each_side_has_its_own_neighbours(opened: Opened) -> None:
    opened.tab.evaluate("layerwise.scene.choose(3)")
    opened.tab.locator("#compare-open").click()
    opened.tab.wait_for_selector("#pair-near .beside")
    captions = [opened.text(f"#caption-{side}") for side in (0, 1)]
    assert captions[0] != captions[1]
    assert [
        key.get_attribute("data-kind") for key in opened.tab.locator("#pair-near .rings > span").all()
    ] == [
        "kept",
        "lost",
        "gained",
    ]
    opened.drawn()
    kinds = opened.tab.evaluate(
        "layerwise.sides.map((side) => [...new Set(side.ringed.map(({ kind }) => kind))])"
    )
    assert "gained" not in kinds[0]
    assert "lost" not in kinds[1]


def test_unknown_tokens_are_counted_and_hatched(opened: Opened) -> None:
    assert re.search(r"\d+%", opened.text(".facts"))
    assert opened.tab.locator(".caution").count() >= 1
    assert opened.tab.locator("#strip .unknown").count() > 2
    assert "repeating-linear-gradient" in opened.tab.locator("#strip .unknown").first.evaluate(
        "(node) => getComputedStyle(node).backgroundImage"
    )


def test_alike_is_bright_and_what_cannot_be_used_is_grey(opened: Opened) -> None:
    def first_cell(measure: str) -> str | None:
        opened.tab.select_option("#measure", value=measure)
        opened.drawn()
        fill: str | None = opened.tab.locator("#similarity .cell rect").first.get_attribute("fill")
        return fill

    assert first_cell("linear_cka") == first_cell("procrustes") is not None, "a layer beside itself"
    assert first_cell("pwcca") is None
    assert opened.tab.locator("#similarity .cell:not(.greyed)").count() == 0
    assert "384" in opened.text("#matrix .caution")


def test_paths_keep_distances(opened: Opened) -> None:
    opened.tab.wait_for_selector("#paths svg")
    assert {"en": "distance", "zh": "距离"}[lang_of(opened)] in opened.text("#paths")
    hint = opened.tab.locator("#tokens .note").all_inner_texts()
    assert any(len(re.findall(r"[\d.]+%", text)) == 2 for text in hint), "how much the plane shows"


def test_layers_are_ranked_by_ablation_and_refits_are_shown(opened: Opened) -> None:
    opened.tab.wait_for_selector("#weights svg")
    order = opened.tab.evaluate(
        "[...document.querySelectorAll('#learned .verdict, #learned .chart')].map((part) => part.id)"
    )
    assert order == ["ablation-verdict", "ablation", "weights-verdict", "weights"]
    assert opened.tab.locator("#weights .refit").count() == 7 * 20
    assert opened.text("#weights-verdict")


def test_rare_classes_lie_on_top_in_a_mark_of_their_own(opened: Opened) -> None:
    keys = opened.tab.locator("#legend .key svg > *")
    marks = keys.evaluate_all("(all) => all.map((one) => one.outerHTML)")
    assert len(set(marks)) == len(CLASSES)
    last = opened.tab.evaluate("layerwise.scene.of[layerwise.scene.order.at(-1)]")
    names = opened.tab.evaluate("layerwise.scene.grouped.groups.map(({ name }) => name)")
    assert names[last] == "rare"


def test_a_rectangle_follows_the_column(opened: Opened) -> None:
    opened.tab.evaluate("layerwise.map.act.box([0, 1, 2, 60, 71])")
    opened.tab.wait_for_selector("#boxed dt")
    assert {"usual", "seldom", "rare"} <= set(texts(opened, "#boxed dt"))
    opened.tab.select_option("#colour", label="half")
    opened.wait(
        "![...document.querySelectorAll('#boxed dt')].some((one) => one.textContent.includes('usual'))"
    )
    assert {"a", "b"} <= set(texts(opened, "#boxed dt"))


def test_header_and_advice_name_the_same_mix(opened: Opened) -> None:
    best = opened.tab.evaluate("layerwise.scene.head.probe.advice.best")
    word = {"en": "the best", "zh": "最佳"}[lang_of(opened)]
    assert word in opened.text(".facts")
    short = opened.tab.evaluate("layerwise.scene.head.probe.short_mixes")[best]
    assert short in opened.text(".facts")
    assert short in opened.text(".advice > p")
    assert "mean(1,2" not in opened.text("header"), "the shortest form"


def test_scales_and_digits_say_no_more_than_is_known(opened: Opened) -> None:
    for chart in opened.tab.locator("#probe .chart svg, #geometry .chart svg").all():
        ticks = chart.locator("text.tick[text-anchor=end]:not([transform])").all_text_contents()
        assert len([tick for tick in ticks if re.search(r"\d", tick)]) > 1, ticks
    opened.tab.evaluate("layerwise.scene.choose(3)")
    opened.tab.wait_for_selector("#chosen .cosine")
    assert all(re.fullmatch(r"−?\d\.\d\d", cosine) for cosine in texts(opened, "#chosen .cosine"))
    decimals = {len(found) for found in re.findall(r"\d\.(\d+)(?![\d%])", opened.text(".advice > p"))}
    opened.tab.locator("#probe details summary").first.click()
    cells = texts(opened, "#probe details tbody td:nth-child(2)")
    assert {len(cell.partition(".")[2]) for cell in cells} == decimals, "the advice and the table"


def test_the_page_scrolls_and_the_slider_stays(opened: Opened) -> None:
    canvas = opened.tab.locator("#map canvas")
    canvas.scroll_into_view_if_needed()
    canvas.dispatch_event("wheel", {"deltaY": 200})
    assert opened.tab.evaluate("layerwise.map.view.zoom") == 1
    opened.tab.evaluate("document.querySelector('.slider').scrollIntoView({ behavior: 'instant' })")
    high = opened.tab.viewport_size["height"]
    assert canvas.evaluate("(map) => map.getBoundingClientRect().bottom") <= high
    assert opened.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_words_are_those_of_the_field(opened: Opened) -> None:
    body = opened.text("body").lower()
    for riddle in ("hangs on", "the way of", "piece"):
        assert riddle not in body
