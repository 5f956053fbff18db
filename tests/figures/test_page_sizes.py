"""The page of real results at several widths, in both languages: nothing overflows, overlaps or is hard to read.

These tests know no panel by name: what they ask for holds for every text, chart and table on the page.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from browser import LANGS, Opened, browser, windows
from contrast import contrast
from layerwise.figures.page import page
from selection import few_of

WIDTHS = [320, 360, 1440, 1920]
LEAST = 4.5  # WCAG 2.2, contrast (minimum)

# Functions that all scripts below begin with.
SHARED = """
const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(".unseen, .skip, #tip");
const name = (one) => `${one.tagName.toLowerCase()}${one.id ? "#" + one.id : ""}.${one.getAttribute("class") ?? ""}`;
const where = (one) => { const id = one.closest("[id]")?.id; return `${id} > ${name(one)}`; };
const textNodes = (root = document.body) => {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() && !parent.closest("script, style, noscript, option") && shown(parent))
      nodes.push(walker.currentNode);
  }
  return nodes;
};
const boxesOf = (node) => {
  const range = document.createRange();
  range.selectNodeContents(node);
  return [...range.getClientRects()].filter((box) => box.width > 0.5 && box.height > 0.5);
};
"""

# Each text with its colour and what is behind it, [[where, text, [r, g, b], [r, g, b]]], from 0 to 1, blended.
COLOURS = """(selector) => { SHARED
const root = document.querySelector(selector).closest("body, section");
const colour = (value) => {
  const parts = (value.match(/[\\d.]+(e-?\\d+)?/g) ?? []).map(Number);
  if (/^rgb/.test(value)) return [...parts.slice(0, 3).map((part) => part / 255), parts[3] ?? 1];
  if (/^color\\(srgb/.test(value)) return [...parts.slice(0, 3), parts[3] ?? 1];
  return [0, 0, 0, 0];
};
const blend = (over, under) => under.map((part, i) => over[i] * over[3] + part * (1 - over[3]));
const faded = (one, top) => {
  let opacity = 1;
  for (let node = one; node && node !== top; node = node.parentElement) opacity *= Number(getComputedStyle(node).opacity);
  return opacity;
};
const ground = (one) => {
  const behind = [];
  for (let node = one; node; node = node.parentElement) {
    const value = colour(getComputedStyle(node).backgroundColor);
    behind.push(value);
    if (value[3] === 1) break;
  }
  return behind.reverse().reduce((under, over) => blend(over, under), [1, 1, 1]);
};
const shapes = new Map();
const shapesOf = (chart) => {
  if (!shapes.has(chart))
    shapes.set(chart, [...chart.querySelectorAll("rect, circle, path, polygon, ellipse")].filter(shown).map((shape) => {
      const style = getComputedStyle(shape);
      const fill = colour(style.fill);
      fill[3] *= Number(style.fillOpacity) * faded(shape, chart);
      return [shape, fill, shape.getBoundingClientRect()];
    }));
  return shapes.get(chart);
};
const behindChart = (text, box, chart) => {
  const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
  return shapesOf(chart)
    .filter(([shape, fill, at]) => fill[3] && shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING
      && at.left <= x && x <= at.right && at.top <= y && y <= at.bottom)
    .reduce((under, [, fill]) => blend(fill, under), ground(chart));
};
const texts = [];
for (const node of textNodes(root)) {
  const one = node.parentElement;
  const [box] = boxesOf(node);
  if (!box || one.closest(":disabled, [aria-disabled=true]")) continue;
  const chart = one.ownerSVGElement;
  const style = getComputedStyle(one);
  const back = chart ? behindChart(one, box, chart) : ground(one);
  const ink = colour(chart ? style.fill : style.color);
  ink[3] *= faded(one, null);
  texts.push([where(one), node.data.trim().slice(0, 40), blend(ink, back), back]);
}
for (const box of root.querySelectorAll("select, input:not([type=range])")) {
  if (!shown(box) || box.disabled) continue;
  const back = ground(box);
  texts.push([where(box), "value", blend(colour(getComputedStyle(box).color), back), back]);
  if (box.placeholder)
    texts.push([where(box), "placeholder", blend(colour(getComputedStyle(box, "::placeholder").color), back), back]);
}
const paper = ground(document.querySelector("canvas") ?? document.body);
for (const [text, ink] of window.written ?? []) texts.push(["canvas", text, blend(colour(ink), paper), paper]);
return texts;
}"""

# Lines of text as [where, text, corners without the space around letters, number of the text]; of what scrolls, the
# part in view.
BOXES = """() => { SHARED
const frames = new Map();
const frameOf = (one) => {
  if (!one) return [-Infinity, -Infinity, Infinity, Infinity];
  if (!frames.has(one)) {
    const outer = frameOf(one.parentElement);
    const style = getComputedStyle(one);
    const box = one.getBoundingClientRect();
    const clips = [style.overflowX, style.overflowY].map((way) => way !== "visible" && one !== document.documentElement
      && one !== document.body && one.tagName !== "svg");
    frames.set(one, [
      clips[0] ? Math.max(outer[0], box.left) : outer[0],
      clips[1] ? Math.max(outer[1], box.top) : outer[1],
      clips[0] ? Math.min(outer[2], box.right) : outer[2],
      clips[1] ? Math.min(outer[3], box.bottom) : outer[3],
    ]);
  }
  return frames.get(one);
};
const texts = [];
for (const [number, node] of textNodes().entries()) {
  const one = node.parentElement;
  const size = parseFloat(getComputedStyle(one).fontSize);
  if (one.ownerSVGElement) {
    const text = one.closest("text");
    if (!text || node !== text.firstChild) continue;
    const box = text.getBBox();
    const matrix = text.getScreenCTM();
    const trim = Math.max(0, (box.height - 0.75 * size) / 2);
    const corners = [[box.x, box.y + trim], [box.x + box.width, box.y + trim],
      [box.x + box.width, box.y + box.height - trim], [box.x, box.y + box.height - trim]];
    texts.push([where(text), text.textContent.slice(0, 40), corners.map(([x, y]) => {
      const at = new DOMPoint(x, y).matrixTransform(matrix);
      return [at.x, at.y];
    }), number]);
    continue;
  }
  const [left, top, right, bottom] = frameOf(one);
  for (const box of boxesOf(node)) {
    const trim = Math.max(0, (box.height - 0.75 * size) / 2);
    const [x0, x1] = [Math.max(left, box.left), Math.min(right, box.right)];
    const [y0, y1] = [Math.max(top, box.top + trim), Math.min(bottom, box.bottom - trim)];
    if (x1 > x0 && y1 > y0)
      texts.push([where(one), node.data.trim().slice(0, 40), [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], number]);
  }
}
return texts;
}"""

# What is cut off: wider than a box that hides what doesn't fit, or outside of its chart.
CUT = """() => { SHARED
const cut = [];
for (const one of document.querySelectorAll("body *")) {
  if (!shown(one)) continue;
  const style = getComputedStyle(one);
  const shortened = style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none";
  if (["hidden", "clip"].includes(style.overflowX) && one.scrollWidth > one.clientWidth + 1 && !shortened
    && one.tagName !== "svg" && !one.closest("svg")) cut.push([where(one), one.textContent.slice(0, 60)]);
  const chart = one.tagName === "text" ? one.ownerSVGElement : null;
  if (!chart) continue;
  const [box, room] = [one.getBoundingClientRect(), chart.getBoundingClientRect()];
  if (box.left < room.left - 1.5 || box.right > room.right + 1.5 || box.top < room.top - 3 || box.bottom > room.bottom + 3)
    cut.push([where(one), one.textContent]);
}
return cut;
}"""

OVERFLOW = """() => { SHARED
if (document.documentElement.scrollWidth <= innerWidth) return [];
return [...document.querySelectorAll("body *")].filter((one) => shown(one) && !one.closest(".scroll")
  && one.getBoundingClientRect().right > innerWidth + 1).map(where);
}"""

# Of each chart [where, number of its marks, its stops of Tab, what its marks say, the text of its tables].
CHARTS = """() => { SHARED
const sizeOf = (one) => one.querySelectorAll("details.as-table").length;
return [...document.querySelectorAll(".chart")].filter(shown).map((chart) => {
  const marks = [...chart.querySelectorAll("[tabindex]")];
  let around = chart;
  while (!sizeOf(around) && around.tagName !== "SECTION") around = around.parentElement;
  const tables = [...around.querySelectorAll("details.as-table table")];
  return [where(chart), marks.length, marks.filter((mark) => mark.tabIndex === 0).length,
    marks.map((mark) => mark.getAttribute("aria-label")), tables.map((table) => table.innerText).join(" ")];
});
}"""

# Keeps what is written on a canvas, with its colour.
WRITTEN = """
window.written = [];
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  const [red, green, blue] = this.fillStyle.slice(1).match(/../g).map((pair) => parseInt(pair, 16));
  window.written.push([text, `rgb(${red} ${green} ${blue})`]);
  return fillText.call(this, text, ...rest);
};
"""


def script(text: str) -> str:
    return text.replace("SHARED", SHARED, 1)


# --- the page ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a dataset with all panels, in both languages; some labels and texts are long."""
    place = tmp_path_factory.mktemp("sizes")
    subjects = [
        "the hotel by the river",
        "a film about two friends",
        "这家酒店的早餐",
        "the delivery of a large parcel",
    ]
    verdicts = {
        "good": "was much better than we had expected, and we would come again",
        "bad": "让人失望，我们不会再来",
        "neither good nor bad, or no opinion at all": "was as usual",
    }
    lines = ["text,verdict"]
    for number in range(72):
        label = list(verdicts)[number % 3]
        lines.append(f'"{subjects[number % 4]} {verdicts[label]} ({number})","{label}"')
    source = place / "reviews.csv"
    source.write_text("\n".join(lines), encoding="utf-8")
    dataset = lw.extract(source, place / "reviews.lw", model="minilm")
    mixes = ["mean(1:)", "learned(all)"]
    probe = lw.probe(dataset, task="classify", label="verdict", mix=mixes, quick=True)
    analysis = lw.analyze(dataset, label="verdict")
    options: dict[str, Any] = {"probe": probe, "analysis": analysis, "attention": True, "texts": [2, 1]}
    return {lang: lw.report(dataset, place / f"{lang}.html", lang=lang, **options) for lang in LANGS}


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as program:
        yield program


Open = Callable[..., Opened]


@pytest.fixture
def open_page(started: Any, pages: dict[str, Path]) -> Iterator[Open]:
    """Open the page; in the end nothing may have been asked for, and nothing complained of."""
    tabs: list[Opened] = []

    def opened(lang: str, wide: int = 1440, high: int = 900, **options: Any) -> Opened:
        tab = Opened(started, pages[lang], wide=wide, high=high, before=WRITTEN, **options)
        tabs.append(tab)
        unfold(tab)
        return tab

    yield opened
    for tab in tabs:
        tab.close()


def unfold(opened: Opened) -> None:
    """Open every table, choose a point, and show what buttons show."""
    opened.tab.evaluate("for (const box of document.querySelectorAll('details')) box.open = true")
    opened.tab.evaluate("layerwise.scene.choose(3)")
    if opened.tab.locator("#compare-open").count():
        opened.tab.locator("#compare-open").click()
    opened.tab.evaluate("window.scrollTo(0, 0)")
    opened.wait(
        "[...document.querySelectorAll('details.as-table[open]')].every((box) => box.querySelector('table'))"
    )
    opened.drawn()


def choices(opened: Opened) -> dict[str, list[str]]:
    """The values of every selection in sight that has few: by id."""
    values: dict[str, list[str]] = opened.tab.evaluate(
        "Object.fromEntries([...document.querySelectorAll('main select[id]')].filter((one) => one.checkVisibility()"
        " && one.options.length < 10).map((one) => [one.id, [...one.options].map((option) => option.value)]))"
    )
    return values


# --- tests ------------------------------------------------------------------------------------------------


def hard_to_read(opened: Opened, selector: str = "body") -> list[str]:
    """Return texts with too little contrast: of the page, or of the section of an element."""
    texts = opened.tab.evaluate(script(COLOURS), selector)
    assert len(texts) > (200 if selector == "body" else 5), "hardly any text was looked at"
    return sorted(
        {
            f"{contrast(ink, ground):.2f} {place}: {text}"
            for place, text, ink, ground in texts
            if contrast(ink, ground) < LEAST
        }
    )


@pytest.mark.parametrize("scheme", few_of(["light", "dark"], "dark"))
def test_every_text_can_be_read_on_its_ground(open_page: Open, scheme: str) -> None:
    """On cells of every matrix and strip, in legends, tables and buttons: at least 4.5."""
    opened = open_page("en", color_scheme=scheme)
    pale = hard_to_read(opened)
    assert not pale, "\n".join(pale)
    for box, values in choices(opened).items():
        for value in values if opened.tab.locator(f"#{box}").is_visible() else ():
            opened.tab.select_option(f"#{box}", value)
            opened.drawn()
            pale = hard_to_read(opened, f"#{box}")
            assert not pale, f"{box} = {value}\n" + "\n".join(pale)


def test_numbers_can_be_read_on_every_colour_of_the_ramp(started: Any, tmp_path: Path) -> None:
    """Real matrices have few colours: one of 14 layers with evenly spaced numbers has nearly two hundred."""
    layers = [str(layer) for layer in range(14)]
    values = (np.arange(196).reshape(14, 14) / 195).tolist()
    measure = {"values": values, "unit": "CKA", "source": "s", "alike": 1}
    analysis = {"layers": layers, "rows": 50, "of": 50, "seed": 0, "measures": {"linear_cka": measure}}
    file = tmp_path / "ramp.html"
    file.write_bytes(page({"title": "ramp", "about": {"layers": layers}, "analysis": analysis}).encode())
    opened = Opened(started, file, wide=1440, high=900)
    texts = [text for text in opened.tab.evaluate(script(COLOURS), "body") if "in-cell" in text[0]]
    assert len({tuple(ground) for _, _, _, ground in texts}) > 150
    for place, number, ink, ground in texts:
        assert contrast(ink, ground) >= LEAST, f"{place}: {number} has {contrast(ink, ground):.2f}"
    opened.close()


@pytest.mark.parametrize(("wide", "lang"), windows(WIDTHS))
def test_nothing_overflows_or_is_cut(open_page: Open, wide: int, lang: str) -> None:
    opened = open_page(lang, wide=wide, high=800)
    outside, cut = (opened.tab.evaluate(script(what)) for what in (OVERFLOW, CUT))
    assert not outside, f"outside of the window: {outside}"
    assert not cut, f"cut off: {cut}"


def overlapping(texts: list[tuple[str, str, list[list[float]], int]]) -> list[str]:
    """Return the pairs of texts of which one lies on the other, by more than a pixel each way.

    Not two lines of one text: the browser reports the lines that it leaves out of a shortened text where the last is.
    """
    if not texts:
        return []
    corners = np.array([corners for _, _, corners, _ in texts])
    of = np.array([number for *_, number in texts])
    low, high = corners.min(axis=1) + 1, corners.max(axis=1) - 1
    pairs = []
    for i in range(len(texts)):
        meet = ((low[i] < high) & (low < high[i])).all(axis=1) & (of != of[i])
        pairs += [(i, j) for j in np.flatnonzero(meet) if j > i]
    return [f"{texts[i][:2]} lies on {texts[j][:2]}" for i, j in pairs if _meet(corners[i], corners[j])]


def _meet(one: Any, other: Any) -> bool:
    """Return whether two convex quadrilaterals share more than an edge of a pixel (separating axes)."""
    for shape in (one, other):
        for start, end in zip(shape, np.roll(shape, -1, axis=0), strict=True):
            normal = np.array([end[1] - start[1], start[0] - end[0]])
            length = np.hypot(*normal)
            if length == 0:
                return False
            a, b = one @ normal / length, other @ normal / length
            if a.max() <= b.min() + 1 or b.max() <= a.min() + 1:
                return False
    return True


def test_how_overlaps_are_told() -> None:
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    slanted = np.array([[0, 0], [30, 30], [28, 32], [-2, 2]], float)
    for other, offset, expected in (
        (square, (5, 5), True),
        (square, (9.5, 0), False),
        (square, (0, 20), False),
        (slanted, (0, 0), True),
        (slanted, (12, 0), False),
    ):
        texts = [("a", "a", square.tolist(), 1), ("b", "b", (other + offset).tolist(), 2)]
        assert bool(overlapping(texts)) is expected, (other, offset)


@pytest.mark.parametrize(("wide", "lang"), windows(WIDTHS))
def test_no_text_lies_on_another(open_page: Open, wide: int, lang: str) -> None:
    opened = open_page(lang, wide=wide, high=800)
    texts = opened.tab.evaluate(script(BOXES))
    assert len(texts) > 200, "hardly any text was looked at"
    pairs = overlapping(texts)
    assert not pairs, "\n".join(pairs)


def numbers(text: str) -> set[str]:
    """Return the numbers with decimals and the percentages in a text: others may be names of layers."""
    return set(re.findall(r"[−-]?\d+\.\d+|\d+%", text))


@pytest.mark.parametrize("lang", LANGS)
def test_charts_are_one_stop_and_have_tables(open_page: Open, lang: str) -> None:
    """A table of all attention would be wider than any page: it holds the largest, so its numbers are on the chart."""
    opened = open_page(lang)
    charts = opened.tab.evaluate(script(CHARTS))
    assert len(charts) > 5
    for place, marks, stops, said, tables in charts:
        if marks:
            assert stops == 1, f"{place} has {stops} stops of Tab"
        shown = numbers(" ".join(label or "" for label in said))
        if marks > 400:
            assert numbers(tables) & shown, f"{place} has no table with its numbers"
            continue
        assert shown <= numbers(tables), (
            f"numbers of {place} are in no table: {sorted(shown - numbers(tables))[:5]}"
        )


@pytest.mark.parametrize("lang", LANGS)
def test_print_shows_the_tables(open_page: Open, lang: str) -> None:
    opened = open_page(lang)
    opened.tab.evaluate("for (const box of document.querySelectorAll('details')) box.open = false")
    opened.tab.emulate_media(media="print")
    opened.wait("document.documentElement.dataset.theme === 'light'")
    opened.drawn()
    closed = (
        "[...document.querySelectorAll('details.as-table:not(.unprinted)')].filter((box) =>"
        " box.closest('section').checkVisibility() && !box.querySelector('table')?.checkVisibility()).length"
    )
    assert opened.tab.evaluate("document.querySelectorAll('details.as-table:not(.unprinted)').length") > 5
    assert opened.tab.evaluate(closed) == 0
    pale, pairs = hard_to_read(opened), overlapping(opened.tab.evaluate(script(BOXES)))
    assert not pale, "\n".join(pale)
    assert not pairs, "\n".join(pairs)


@pytest.mark.parametrize("lang", LANGS)
def test_nothing_moves_for_those_who_want_it_so(open_page: Open, lang: str) -> None:
    opened = open_page(lang, reduced_motion="reduce")
    opened.tab.keyboard.press("ArrowRight")
    assert opened.tab.evaluate("Number.isInteger(layerwise.scene.at)"), "the layer changes at once"
    assert opened.tab.evaluate("document.getAnimations().length") == 0
    assert opened.tab.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
