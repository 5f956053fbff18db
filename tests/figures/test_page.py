"""The page in a real browser: it shows what it was given, asks for nothing, and runs nothing of the user's."""

import base64
import io
import itertools
import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from browser import Opened, browser
from layerwise.choices import LANGS
from layerwise.errors import RequestError
from layerwise.figures.packing import letters
from layerwise.figures.page import NOT_ON_THE_PAGE, SCRIPTS, as_json, encoded, page
from layerwise.page.tokens import MAPS, TEXTS
from pages import HOSTILE, held
from probe_results import bare_result, probe_result
from waiting import ended, until

STATIC = resources.files("layerwise.figures") / "static"
LAYERS = ["emb", "1", "2", "3"]
CLIPPED = [17]


# --- what pages are made of -------------------------------------------------------------------------------


def points(
    n: int = 60, layers: int = len(LAYERS), texts: list[str] | None = None, k: int = 5
) -> dict[str, Any]:
    """Two classes that drift apart with depth; the neighbours of a point are those next to it in number."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % 2
    spread = rng.uniform(-0.4, 0.4, (n, 2))
    depth = np.linspace(0, 1, layers)
    coords = np.stack([spread + np.outer(label - 0.5, [d, 0]) for d in depth])
    score = rng.normal(size=n).astype(np.float32)
    score[:1] = np.nan
    k = min(k, n - 1)
    near = (np.arange(n)[:, None] + 1 + np.arange(k)) % n
    return {
        "count": n,
        "of": 3 * n,
        "seed": 0,
        "method": "pca",
        "row": 3 * np.arange(n, dtype=np.uint32),
        "doc": np.arange(n, dtype=np.uint32),
        "coords": np.round(coords * 32767).astype(np.int16),
        "explained": np.full((layers, 2), 0.25),
        "columns": [
            {"name": "label", "kind": "category", "values": ["neg", "pos"], "codes": label.astype(np.uint16)},
            {"name": "score", "kind": "number", "values": score},
        ],
        "texts": texts or [f"text number {i} of a small set" for i in range(n)],
        "clipped": CLIPPED,
        "context": None,
        "span": None,
        "neighbours": {
            "k": k,
            "points": np.stack([near] * layers).astype(np.uint32),
            "cosines": np.full((layers, n, k), 100, np.int8),
        },
    }


def analysis(layers: list[str]) -> dict[str, Any]:
    apart = np.abs(np.subtract.outer(np.arange(len(layers)), np.arange(len(layers))))
    alike = 1 - apart / 10
    depth = [float(i) for i in range(len(layers))]
    return {
        "layers": layers,
        "rows": 50,
        "of": 180,
        "seed": 4,
        "measures": {
            "norm": {
                "values": depth,
                "low": depth,
                "high": depth,
                "unit": "length of a vector",
                "source": "norms",
            },
            "intrinsic_dimension": {"values": [None] * len(layers), "unit": "dimensions", "source": "TwoNN"},
            "curvature": {"values": [None, *depth[1:]], "unit": "radians", "source": "Skean et al. 2025"},
            "linear_cka": {
                "values": alike.tolist(),
                "unit": "CKA",
                "source": "Kornblith et al. 2019",
                "alike": 1,
            },
            "pwcca": {
                "values": [[None] * len(layers)] * len(layers),
                "unit": "mean correlation",
                "source": "s",
            },
        },
        "dimensions": {"rogue": {name: [{"dimension": 17, "share": 0.4}] for name in layers}},
        "notes": ["curvature isn't defined at emb"],
    }


def tokens(layers: int = len(LAYERS), names: list[str] | None = None) -> dict[str, Any]:
    names = names or ["[CLS]", "hel", "##lo", "bank", "[SEP]"]
    n = len(names)
    rng = np.random.default_rng(1)
    attention = np.zeros((layers - 1, 2, n, n), np.uint8)
    attention[:, :, :, 0] = 255
    return {
        "doc": 3,
        "text": "hello bank",
        "count": n,
        "tokens": names,
        "special": [i in (0, n - 1) for i in range(n)],
        "norms": rng.uniform(1, 9, (layers, n)).astype(np.float32),
        "moves": rng.uniform(0, 1, (layers - 1, n)).astype(np.float32),
        "cosines": rng.integers(-50, 127, (layers, n, n)).astype(np.int8),
        "coords": rng.integers(-32767, 32767, (layers, n, 2)).astype(np.int16),
        "reach": 1.25,
        "shares": {"steps": 0.972, "distances": 0.41},
        "unknown": [name == "##lo" for name in names],
        "truncated": 0,
        "attention": attention,
        "attention_layers": LAYERS[1:layers],
    }


def whole(**other: Any) -> dict[str, Any]:
    probe = probe_result(3)
    probe["short_mixes"] = {f"{how}(emb,1,2,3)": f"{how}(0:4)" for how in ("mean", "concat", "learned")}
    sentences = ["Best: 2, accuracy 0.912; nothing beats it.", "Cheapest: 1 (a rule of thumb)."]
    probe["advice"] |= {"text": " ".join(sentences), "messages": {"text": sentences}}
    return {
        "title": "reviews.lw",
        "about": {
            "model": {"id": "minilm", "revision": None, "family": "bert"},
            "layers": LAYERS,
            "blocks": 3,
            "width": 384,
            "level": "text",
            "pool": "mean",
            "rows": 180,
            "texts": 180,
            "tokens": 4321,
            "truncated": 3,
            "windows": 181,
            "lost_words": 0,
            "skipped": 0,
            "bytes": 123_456_789,
            "dtype": "float16",
            "precision": "fp32",
            "sha256": "ab" * 32,
            "finished": "2026-01-01",
            "versions": {"layerwise": "0.3"},
        },
        "points": points(),
        "probe": probe,
        "analysis": analysis(LAYERS),
        "tokens": [tokens()],
        "tokens_note": None,
        "versions": {"numpy": "2"},
        "notes": ["a note"],
    } | other


# --- without a browser ------------------------------------------------------------------------------------


def html_words(html: str) -> str:
    given = re.search(r'id="words">([^<]*)<', html)
    assert given
    return given[1]


def test_the_page_has_all_words_of_its_scripts() -> None:
    """Every key that the scripts name is among the words that the page embeds."""
    words = {lang: json.loads(html_words(page({"title": "x"}, lang))) for lang in LANGS}
    assert list(words["en"]) == list(words["zh"])
    assert not [key for key in words["en"] if key.startswith(NOT_ON_THE_PAGE)]
    code = "".join((STATIC / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    used = set(re.findall(r"""\bt\("([a-z.]+)"[,)]""", code + (STATIC / "page.html").read_text("utf-8")))
    assert used <= set(words["en"])


def test_every_script_is_on_the_page() -> None:
    assert {f"{name}.js" for name in SCRIPTS} == {f.name for f in STATIC.iterdir() if f.name.endswith(".js")}


def test_nothing_that_parses_markup() -> None:
    code = "".join((STATIC / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert way not in code


def test_languages_that_there_are() -> None:
    with pytest.raises(RequestError, match="lang 'fr' doesn't exist; choose one of en, zh"):
        page({"title": "x"}, "fr")


def test_arrays_and_numbers_as_json_holds_them() -> None:
    assert encoded({"a": [np.float32(0.5), float("nan"), np.nan, (1, True, None)]}) == {
        "a": [0.5, None, None, [1, True, None]]
    }
    for array, dtype in {
        "int16": np.arange(-3, 3, dtype=np.int16).reshape(3, 2),
        "float32": np.array([1.5, np.nan]),
        "uint16": np.array([1, 65535], np.uint32),
        "uint32": np.array([1, 65536], np.uint32),
        "uint8": np.array([True, False]),
        "float64": np.array([1 << 40]),
    }.items():
        made = encoded(dtype)
        assert made["dtype"] == array
        assert made["shape"] == list(dtype.shape)
        back = np.frombuffer(base64.b64decode(made["data"]), f"<{np.dtype(array).str[1:]}").reshape(
            made["shape"]
        )
        assert np.array_equal(back, dtype, equal_nan=True)
    swapped = np.array([1, 258], ">i2")
    assert base64.b64decode(encoded(swapped)["data"]) == b"\x01\x00\x02\x01"


def test_the_same_data_gives_the_same_page() -> None:
    assert page(whole()) == page(whole())


def numbers(given: dict[str, Any], planes: bytes) -> Any:
    """An array of a page, by the book."""
    dtype, count = np.dtype(given["dtype"]), int(np.prod(given["shape"], dtype=int))
    own = planes[given["at"] : given["at"] + count * dtype.itemsize]
    together = bytes(own[byte * count + i] for i in range(count) for byte in range(dtype.itemsize))
    return np.frombuffer(together, dtype).reshape(given["shape"])


def test_arrays_stand_byte_by_byte_behind_the_json() -> None:
    wanted = points(7)
    given, planes = held(page(whole(points=wanted)))
    for name in ("row", "coords", "explained"):
        assert np.array_equal(numbers(given["points"][name], planes), wanted[name]), name
    near = given["points"]["neighbours"]["points"]
    assert near["dtype"] == "uint16"
    assert np.array_equal(numbers(near, planes), wanted["neighbours"]["points"])
    assert numbers(given["tokens"][0]["attention"], planes).tolist() == tokens()["attention"].tolist()


@pytest.mark.parametrize(
    "texts",
    [
        HOSTILE,
        ["", "", ""],
        ["a" * 9, "é天🙂", ""],
        ["".join(map(chr, range(0x4E00, 0x4E00 + 9000))) + "aa"],
    ],
)
def test_letters_are_numbered_by_how_often_they_come(texts: list[str]) -> None:
    made = letters(texts)
    codes = iter(made["codes"].tolist())
    back = []
    for length in made["lengths"]:
        back.append("")
        for _ in range(length):
            place = next(codes)
            if place == 255:
                place = next(codes) << 16 | next(codes) << 8 | next(codes)
            elif place >= 224:
                place = 224 + ((place - 224) << 8 | next(codes))
            back[-1] += chr(made["letters"][place])
    assert back == texts
    said = "".join(texts)
    counts = [said.count(chr(point)) for point in made["letters"][:300]]
    assert counts == sorted(counts, reverse=True)


def test_nothing_of_the_users_stands_in_the_html() -> None:
    title = '</title><script>alert("x")</script>secret'
    for remote in (False, True):
        html = page(whole(title=title), remote=remote)
        assert "alert(" not in html
        assert "secret" not in html
        html.encode()  # no lone surrogates
    assert held(page(whole(title=title)))[0]["title"] == title


def test_a_remote_page_holds_its_title_and_nothing_else() -> None:
    html = page(whole(), remote=True)
    assert held(html) == ({"title": "reviews.lw", "remote": True}, b"")
    assert "connect-src 'self'" in html
    assert "connect-src 'none'" in page(whole())


def english(rng: np.random.Generator) -> list[str]:
    code = "".join(f.read_text("utf-8") for f in Path(np.__file__).parent.glob("*.py"))
    words = re.findall(r"[A-Za-z]+", code)
    return [" ".join(row)[:400] for row in rng.choice(words, (5000, 80))]


def chinese(rng: np.random.Generator) -> list[str]:
    """Words of one or two of 3,500 characters, by Zipf: gzip makes 1.7 bytes of a character, 1.5 of the news."""
    letters = np.array([chr(0x4E00 + n) for n in rng.choice(20_000, 3500, replace=False)])
    weights = 1 / (np.arange(3500) + 15)
    pairs = rng.choice(letters, (20_000, 2), p=weights / weights.sum())
    words = [first + second * (n > 300) for n, (first, second) in enumerate(pairs)]
    often = 1 / (np.arange(20_000) + 10)
    return ["".join(row)[:400] for row in rng.choice(words, (5000, 300), p=often / often.sum())]


def attended(rng: np.random.Generator, blocks: int, heads: int, texts: int) -> list[np.ndarray[Any, Any]]:
    """Maps as sharp as those of minilm, as many of them as a page takes."""
    side = min(64, math.isqrt(MAPS // texts // blocks // heads))
    looks = np.exp(rng.normal(0, 2, (texts, blocks, heads, side, side)))
    return list(np.round(looks / looks.sum(axis=-1, keepdims=True) * 255).astype(np.uint8))


@pytest.mark.parametrize("language", [english, chinese])
@pytest.mark.parametrize("heads", [12, 64])
def test_five_thousand_texts_fit_in_six_megabytes(
    language: Callable[[np.random.Generator], list[str]], heads: int
) -> None:
    rng = np.random.default_rng(0)
    texts = language(rng)
    made = points(5000, 7, texts, 10)
    made["coords"] = rng.integers(-32767, 32767, (7, 5000, 2)).astype(np.int16)
    made["neighbours"]["points"] = rng.integers(0, 5000, (7, 5000, 10)).astype(np.uint32)
    made["neighbours"]["cosines"] = -np.sort(-rng.integers(40, 127, (7, 5000, 10)).astype(np.int8))
    some = tokens(7, [text[:6] for text in texts[:64]])
    some["moves"], some["norms"] = rng.uniform(size=(6, 64)), rng.uniform(size=(7, 64))
    maps = attended(rng, 6, heads, TEXTS)
    data = whole(points=made, tokens=[some | {"attention": one} for one in maps])
    size = len(page(data).encode())
    print(f"{size / 1e6:.2f} MB for 5,000 texts and 7 layers")
    assert size < 6_000_000
    assert len(texts[0]) == 400


# --- in a browser -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as found:
        yield found


Show = Callable[..., Opened]


@pytest.fixture
def show(started: Any, tmp_path: Path) -> Iterator[Show]:
    """Open a page of some data from disk; what it asked for and complained of is looked at in the end."""
    tabs: list[Opened] = []

    def show(data: dict[str, Any], lang: str = "en", **options: Any) -> Opened:
        file = tmp_path / f"page{len(tabs)}.html"
        file.write_bytes(page(data, lang).encode())
        tabs.append(Opened(started, file, **options))
        tabs[-1].tab.evaluate("layerwise.slider?.set(0)")  # the map opens at the advised layer
        return tabs[-1]

    yield show
    for tab in tabs:
        tab.close()


def test_what_it_says(show: Show) -> None:
    opened = show(whole())
    assert opened.tab.title() == "reviews.lw · layerwise"
    head = opened.text("header")
    for words in (
        "reviews.lw",
        "minilm",
        "4 stored",
        "180 texts",
        "4,321 tokens",
        "3 texts truncated",
        "123 MB stored",
    ):
        assert words in head
    assert "layer 1, the best: 67% of a forward pass" in head
    assert "layer 2, the cheapest that comes close: 33% of a forward pass" in head
    assert (
        opened.text(".advice > p")
        == "Best: 2, accuracy 0.912; nothing beats it. Cheapest: 1 (a rule of thumb)."
    )
    foot = opened.text("footer")
    for words in ("layerwise 0.3", "ab" * 32, "a note", "curvature isn't defined at emb", "seed 0"):
        assert words in foot
    body = opened.text("body")
    assert "60 of 180 rows, drawn by whole texts with seed 0;" in body
    assert "Measured on 50 of 180 rows, seed 4;" in body
    assert "not defined here" in body
    assert not opened.tab.locator(".failure").count()


def test_the_slider_moves_the_points(show: Show) -> None:
    opened = show(whole())
    first = opened.pixels()
    before = opened.place(0)
    opened.tab.locator("#layer").fill("2.5")
    between = opened.pixels()
    assert between != first
    opened.tab.locator("#layer").fill("3")
    opened.wait("layerwise.scene.at === 3")
    assert opened.text("#layer-name") == "layer 3"
    assert opened.tab.locator("#layer").get_attribute("aria-valuetext") == "layer 3"
    assert opened.pixels() not in (first, between)
    assert opened.place(0)[0] < before[0] - 20, "the class drifts to the left"
    assert "layer 3" in opened.text("#state")
    opened.tab.evaluate(
        "() => { window.seen = []; const look = () => { seen.push(layerwise.scene.at); requestAnimationFrame(look); };"
        " look(); }"
    )
    opened.tab.click("#play")
    opened.wait("seen.some((at) => at % 1)")  # on the way
    opened.tab.click("#play")


def test_the_slider_names_the_outputs_of_blocks(show: Show) -> None:
    layers = ["emb", "value.1", "attention.1", "1", "value.2", "2"]
    data = whole(points=points(layers=len(layers)), probe=None, analysis=analysis(layers), tokens=None)
    opened = show({**data, "about": {**data["about"], "layers": layers}})
    assert opened.tab.locator(".ticks .tick").all_text_contents() == ["emb", "1", "2"]
    chart = opened.tab.locator("#geometry figure.small").first
    assert chart.locator("text.tick[text-anchor=middle]").all_text_contents() == ["emb", "1", "2"]
    opened.tab.evaluate("layerwise.slider.set(2)")
    assert "attention.1" in opened.text("#layer-name")


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        (
            "en",
            [
                "up to 9 tokens before and 5 after",
                "2 texts had no room",
                "pairs of a and b, encoded together",
            ],
        ),
        ("zh", ["前面至多 9 个、后面至多 5 个词元", "2 个文本的窗口", "a 与 b 成对，一起编码"]),
    ],
)
def test_the_header_says_what_texts_are_read_with(show: Show, lang: str, words: list[str]) -> None:
    data = whole(points=None, probe=None, analysis=None, tokens=None)
    about = {**data["about"], "context": [9, 5], "cut_contexts": 2, "pair": ["a", "b"]}
    text = show({**data, "about": about}, lang).text("#head")
    assert [word for word in words if word not in text] == []


def test_search_hover_choose(show: Show) -> None:
    opened = show(whole())
    plain = opened.pixels()
    opened.tab.fill("#search", "NUMBER 17")
    opened.tab.wait_for_selector("#hits button")
    assert opened.text("#hit-count") == "1 found"
    assert opened.text("#hits mark") == "number 17"
    assert opened.pixels() != plain, "the others are dimmed"
    opened.tab.press("#search", "Enter")
    opened.tab.wait_for_selector("#chosen .beside")
    chosen = opened.text("#chosen")
    assert "text number 17 of a small set" in chosen
    assert "5 of 5 are among the nearest at both layers" in chosen
    assert ("cut here" in chosen) == (17 in CLIPPED)
    assert opened.tab.locator("#chosen li.kept").count() == 10
    assert opened.text("#chosen .beside li button") == "0.79 text number 18 of a small set"
    opened.tab.locator("#chosen .beside li button").first.click()
    opened.wait("document.querySelector('#chosen .whole')?.textContent.includes('number 18')")
    opened.tab.keyboard.press("Escape")
    assert opened.text("#hit-count") == ""
    assert opened.pixels() == plain
    opened.tab.mouse.move(*opened.place(17))
    opened.tab.wait_for_selector("#tip:not([hidden])")
    assert "text number 17" in opened.text("#tip")
    assert "label: pos" in opened.text("#tip")
    opened.tab.mouse.click(*opened.place(17))
    opened.wait("layerwise.scene.chosen === 17")


def test_colours_and_the_legend(show: Show) -> None:
    opened = show(whole())
    plain = opened.pixels()
    key = opened.tab.locator("#legend button").first
    assert key.inner_text().split() == ["neg", "30"]
    key.click()
    assert key.get_attribute("aria-pressed") == "false"
    hidden = opened.pixels()
    assert hidden != plain
    key.press("Enter")
    assert opened.pixels() == plain
    opened.tab.select_option("#colour", label="score")
    assert opened.tab.locator("#legend .ramp").count() == 1
    assert opened.pixels() not in (plain, hidden)


def test_a_rectangle_zoom_and_move(show: Show) -> None:
    opened = show(whole())
    plain = opened.pixels()
    box = opened.tab.locator("#map canvas").bounding_box()
    assert box
    mouse, keys = opened.tab.mouse, opened.tab.keyboard
    keys.down("Shift")
    mouse.move(box["x"] + 2, box["y"] + 2)
    mouse.down()
    mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2, steps=3)
    mouse.up()
    keys.up("Shift")
    opened.tab.wait_for_selector("#boxed h3")
    boxed = opened.text("#boxed")
    assert "60 in the rectangle" in boxed
    assert "30 (50%)" in boxed
    opened.tab.locator("#boxed .entry").nth(4).click()
    opened.wait("layerwise.scene.chosen === 4")
    keys.press("Escape")
    assert opened.pixels() == plain
    opened.tab.locator("#map canvas").hover()
    keys.down("Control")
    mouse.wheel(0, -300)
    keys.up("Control")
    opened.wait("layerwise.map.view.zoom > 1")
    x, y = opened.place(0)
    mouse.move(x + 30, y + 30)
    mouse.down()
    mouse.move(x + 70, y + 40, steps=2)
    mouse.up()
    assert opened.tab.evaluate("layerwise.map.view.x") != 0
    opened.tab.get_by_role("button", name="Reset").click()
    mouse.move(0, 0)
    assert opened.pixels() == plain


def test_a_cell_compares_two_layers(show: Show) -> None:
    opened = show(whole())
    assert not opened.tab.locator("#compare").is_visible()
    cell = opened.tab.locator("#similarity .cell").nth(1 * 4 + 3)
    assert cell.get_attribute("aria-label") == "layers 1 and 3; linear CKA 0.800"
    cell.click()
    assert [opened.text(f"#caption-{side}") for side in (0, 1)] == ["layer 1", "layer 3"]
    opened.tab.wait_for_selector("#pair table")
    pair = opened.text("#pair")
    assert "linear CKA" in pair
    assert "0.800" in pair
    assert "5.00" in pair, "all five neighbours are shared"
    left = opened.pixels("#compare figure:nth-child(1) canvas")
    assert left != opened.pixels("#compare figure:nth-child(2) canvas")
    opened.tab.evaluate("layerwise.scene.choose(5)")
    assert opened.pixels("#compare figure:nth-child(1) canvas") != left
    opened.tab.keyboard.press("Escape")
    assert not opened.tab.locator("#compare").is_visible()
    # by keyboard: the chart is one stop, arrows go from cell to cell
    opened.tab.locator("#similarity .cell").nth(7).focus()
    opened.tab.keyboard.press("ArrowDown")
    opened.tab.keyboard.press("Enter")
    assert opened.text("#caption-0") == "layer 2"
    opened.tab.select_option("#measure", "pwcca")
    assert "not defined here" in opened.tab.locator("#similarity .cell").first.get_attribute("aria-label")


def test_charts_and_their_tables(show: Show) -> None:
    opened = show(whole())
    marks = opened.tab.locator("#probe-curve .mark")
    said = " ".join(mark.get_attribute("aria-label") for mark in marks.all())
    for words in (
        "layer emb",
        "mean(0:4)",
        "learned(0:4)",
        "choosing the highest",
        "majority (chance): 0.51",
        "· best",
    ):
        assert words in said
    assert "95% interval" not in opened.text("#probe-curve")
    opened.tab.locator("#probe-curve .mark:not(.rule)").first.hover()
    assert "accuracy" in opened.text("#tip")
    opened.tab.locator("#probe details.as-table summary").first.click()
    opened.tab.wait_for_selector("#probe details table")
    rows = opened.tab.locator("#probe details table").first.locator("tr")
    assert rows.count() == 1 + 7 + 1 + 5
    weights = [mark.get_attribute("aria-label") for mark in opened.tab.locator("#weights .mark").all()]
    assert weights[0] == "layer emb: weight in the fit 0.14 (0.10 to 0.20)", "emb comes before 1"
    small = opened.tab.locator("#geometry figure")
    assert small.count() == 3
    assert small.nth(0).locator(".mark").count() == 4
    assert "not defined here" in small.nth(1).inner_text()
    assert small.nth(2).locator(".mark").count() == 3, "null is a gap"


def test_one_text(show: Show) -> None:
    opened = show(whole())
    assert opened.tab.locator("#strip tbody tr").count() == 5
    opened.tab.get_by_role("button", name="bank", exact=True).click()
    assert opened.text("#close-tokens h3") == "Closest to bank"
    assert opened.tab.locator("#close-tokens tbody tr").count() == 4
    path = opened.tab.locator("#paths .path.chosen").get_attribute("points")
    assert len(path.split()) == 4
    first = opened.text("#strip tbody tr")
    opened.tab.select_option("#strip-colour", "norms")
    assert opened.text("#strip tbody tr") != first
    cell = '#attention .cell[aria-label="hel attends to [CLS]; 100%"]'
    opened.tab.wait_for_selector(cell)
    assert opened.tab.locator("#attention .cell").count() == 25
    opened.tab.select_option("#attention-head", "1")
    opened.tab.select_option("#block", "0")
    opened.tab.wait_for_selector(cell)
    assert "Maps of the first" not in opened.text("#tokens")


def test_maps_of_some_tokens_say_so(show: Show) -> None:
    one = tokens()
    opened = show(whole(tokens=[one | {"attention": one["attention"][:, :, :3, :3]}]))
    assert opened.tab.locator("#attention .cell").count() == 9
    assert opened.tab.locator("#strip tbody tr").count() == 5
    assert "Maps of the first 3 of these 5 tokens" in opened.text("#tokens")


def test_numbers_that_differ_by_rounding_are_as_good_as_equal(show: Show) -> None:
    data = whole()
    rounding = [1 - 8e-16, 1 - 11e-16, 1.0, 1 - 2e-16]
    data["analysis"]["measures"] = {
        "against_pwcca": {"values": rounding, "unit": "mean correlation", "source": "s"},
        "norm": {"values": [1.0, 2.0, 3.0, 4.0], "unit": "length of a vector", "source": "s"},
        "svcca": {"values": [rounding] * 4, "unit": "CKA", "source": "s", "alike": 1},
    }
    opened = show(data)
    assert opened.tab.locator("#geometry .chart svg").count() == 2
    assert opened.tab.locator("#geometry .chart polyline").count() == 2
    colours = opened.tab.locator("#matrix .cell rect").evaluate_all(
        "(all) => all.map((one) => one.getAttribute('fill'))"
    )
    shades = np.array([[int(one) for one in re.findall(r"\d+", colour)] for colour in colours])
    assert np.ptp(shades, axis=0).max() <= 1, "rounding is drawn as a difference"


@pytest.mark.parametrize(("wide", "high"), [(1280, 800), (390, 800)])
def test_long_lists_are_read_line_by_line(show: Show, wide: int, high: int) -> None:
    opened = show(whole(), wide=wide, high=high)
    opened.tab.locator("input[type=search]").first.fill("text")
    opened.wait("document.querySelectorAll('.list .entry').length > 15")
    boxes = opened.tab.locator(".list .entry").evaluate_all(
        "(all) => all.map((one) => [one.getBoundingClientRect().top, one.clientHeight, one.scrollHeight])"
    )
    assert all(inner <= outer + 1 for _, outer, inner in boxes), "entries are squeezed"
    assert all(b[0] >= a[0] + a[1] - 1 for a, b in itertools.pairwise(boxes)), "entries overlap"


def test_in_a_frame_of_a_notebook_links_stay_on_the_page(started: Any, tmp_path: Path) -> None:
    frame = (
        f'<iframe srcdoc="{escape(page(whole()))}" sandbox="allow-scripts" width="900" height="700"></iframe>'
    )
    (tmp_path / "notebook.html").write_text(f"<!doctype html><title>n</title>{frame}", encoding="utf-8")
    tab = started.new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.goto((tmp_path / "notebook.html").as_uri())
    inner = tab.frames[1]
    inner.wait_for_selector("html[data-ready]")
    inner.locator("#nav a").nth(2).click()
    until(
        lambda: inner.evaluate(
            "Math.abs(document.querySelector('#matrix').getBoundingClientRect().top) < innerHeight"
        ),
        "the section that the link names to be in view",
    )
    assert inner.url == "about:srcdoc"
    assert inner.locator("#matrix").count() == 1
    tab.close()
    assert not complaints


def test_keys(show: Show) -> None:
    opened = show(whole())
    press = opened.tab.keyboard.press
    press("ArrowRight")
    opened.wait("layerwise.scene.at === 1")
    press("ArrowLeft")
    opened.wait("layerwise.scene.at === 0")
    press("/")
    focused = "document.activeElement.id"
    assert opened.tab.evaluate(focused) == "search"
    press("ArrowRight")
    assert opened.tab.evaluate("layerwise.slider.moving") is not None
    assert opened.tab.evaluate("layerwise.scene.at") == 0, "arrows within the search move the cursor"
    opened.tab.locator("#layer").focus()
    press("End")
    opened.wait("layerwise.scene.at === 3")
    opened.tab.evaluate("document.activeElement.blur()")
    seen = set()
    for _ in range(60):
        press("Tab")
        seen.add(opened.tab.evaluate("document.activeElement.closest('section')?.id"))
        # What has no outline of its own draws one: marks and cells.
        bare = "getComputedStyle(document.activeElement).outlineStyle === 'none'"
        assert not opened.tab.evaluate(
            f"{bare} && !document.activeElement.closest('.mark, .cell') && document.activeElement !== document.body"
        )
    assert {"map", "probe", "matrix", "geometry", "tokens"} <= seen


def test_chinese(show: Show) -> None:
    opened = show(whole(), "zh")
    body = opened.text("body")
    for words in (
        "投影图",
        "选哪一层",
        "层与层的相似度",
        "各层的几何",
        "逐层看一个文本",
        "线性 CKA",
        "层 emb",
    ):
        assert words in body
    for words in ("Colour by", "As a table", "Nearest", "undefined", "not defined"):
        assert words not in body
    assert opened.tab.evaluate("document.documentElement.lang") == "zh-Hans"


def varied(shot: bytes) -> float:
    """How much of a picture differs from its commonest colour."""
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(shot)).convert("L")
    counts = np.bincount(np.asarray(image).ravel(), minlength=256)
    return float(1 - counts.max() / counts.sum())


@pytest.mark.parametrize(("wide", "high"), [(1280, 800), (360, 740)])
def test_not_blank_and_not_overflowing(show: Show, wide: int, high: int) -> None:
    opened = show(whole(), wide=wide, high=high)
    opened.tab.locator("#compare-open").click()
    opened.tab.evaluate("layerwise.scene.choose(3)")
    opened.tab.wait_for_selector("#chosen .beside")
    for box in opened.tab.locator("details summary").all():
        box.click()
    assert opened.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    out = (
        "[...document.querySelectorAll('main *, header *, footer *')].filter((one) => !one.closest('.scroll')"
        " && !one.closest('svg') && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML)"
    )
    assert opened.tab.evaluate(out) == []
    assert varied(opened.tab.screenshot(full_page=True)) > 0.05
    assert varied(opened.tab.locator("#map canvas").screenshot()) > 0.005


def test_dark_light_and_print(show: Show) -> None:
    light = show(whole(), color_scheme="light")
    dark = show(whole(), color_scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert light.tab.evaluate(colour) != dark.tab.evaluate(colour)
    assert light.pixels() != dark.pixels()
    before = light.pixels()
    light.tab.click("#theme")
    assert light.tab.evaluate(colour) == dark.tab.evaluate(colour)
    light.tab.click("#theme")
    assert light.pixels() == before
    dark.tab.emulate_media(media="print")
    dark.wait("document.documentElement.dataset.theme === 'light'")
    assert dark.tab.locator("#probe details table").first.is_visible(), "tables stand open on paper"
    assert not dark.tab.locator("#search").is_visible()
    dark.tab.emulate_media(media="screen")
    dark.wait("!document.documentElement.dataset.theme")


def test_less_motion(show: Show) -> None:
    opened = show(whole(), reduced_motion="reduce")
    opened.tab.keyboard.press("ArrowRight")
    assert opened.tab.evaluate("layerwise.scene.at") == 1, "at once"


def test_text_of_users_is_shown_and_never_run(show: Show) -> None:
    made = points(len(HOSTILE), texts=HOSTILE)
    codes = np.arange(len(HOSTILE), dtype=np.uint16)
    made["columns"] = [
        {"name": text, "kind": "category", "values": HOSTILE, "codes": codes[::step]}
        for text, step in zip(HOSTILE, [1, -1] * 6, strict=True)
    ]
    probe = probe_result(3) | {
        "label": HOSTILE[0],
        "task": HOSTILE[1],
        "metric": HOSTILE[3],
        "notes": HOSTILE,
    }
    probe["advice"] = {"best": HOSTILE[0], "cheapest": HOSTILE[1], "differs": True, "text": " ".join(HOSTILE)}
    probe["baselines"] = {text: {"score": 0.5, "low": None, "high": None} for text in HOSTILE}
    measured = analysis(HOSTILE[:4])
    measured["measures"] |= {
        text: {"values": [1, 2, 3, 4], "unit": text, "source": text, "note": text} for text in HOSTILE
    }
    measured["measures"]["linear_cka"]["source"] = HOSTILE[3]
    data = whole(
        title=HOSTILE[1],
        points=made,
        probe=probe,
        analysis=measured,
        tokens=[tokens(names=HOSTILE)],
        notes=HOSTILE,
    )
    data["about"] |= {
        "model": {"id": HOSTILE[0], "revision": HOSTILE[3], "family": HOSTILE[4]},
        "sha256": HOSTILE[0],
    }
    data["about"] |= {
        "layers": HOSTILE[:4],
        "level": HOSTILE[0],
        "pool": HOSTILE[3],
        "dtype": HOSTILE[3],
        "source": HOSTILE,
        "prompt": "query: <b>",
    }
    data["versions"] = {text: text for text in HOSTILE}
    opened = show(data)
    opened.tab.fill("#search", "<")
    opened.tab.wait_for_selector("#hits button")
    opened.tab.fill("#search", "")
    for point in range(len(HOSTILE)):
        opened.tab.evaluate("(point) => layerwise.scene.choose(point)", point)
        opened.wait(
            "(row) => document.querySelector('#chosen .values')?.textContent.endsWith(row)",
            str(3 * point),
        )
    opened.tab.mouse.move(*opened.place(0))
    opened.tab.locator("#compare-open").click()
    for box in opened.tab.locator("details summary").all():
        box.click()
    body = opened.text("body")
    for text in (*HOSTILE[:5], *HOSTILE[6:7], *HOSTILE[10:]):
        assert text in body
    assert "the prompt “query: <b>” before each text" in body
    assert "\\u001b[31mred" in body
    assert "\\u202egnp.exe" in body
    assert "\ufffd surrogate \ufffd" in body
    assert opened.tab.evaluate("window.hacked") is None
    assert opened.tab.locator("main script, main img, header script, footer img, body > img").count() == 0
    assert opened.tab.locator("body script").count() == 3, "ours"
    assert opened.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


DEGENERATE: dict[str, dict[str, Any]] = {
    "nothing": {"title": "x"},
    "nulls": dict.fromkeys(whole()),
    "one point": {"points": points(1)},
    "one layer": {"points": points(5, 1), "analysis": analysis(["emb"]), "tokens": [tokens(1)]},
    "no text": {
        "points": points() | {"texts": None, "columns": [], "neighbours": None, "explained": None},
        "tokens": [],
        "tokens_note": "the dataset holds no texts",
    },
    "no spread": {
        "points": points() | {"coords": np.zeros((4, 60, 2), np.int16), "explained": np.full((4, 2), np.nan)}
    },
    "bare probe": {"probe": bare_result(), "analysis": {"layers": [], "measures": {}}},
    "no values": {
        "points": points()
        | {
            "columns": [
                {"name": "a", "kind": "category", "values": [], "codes": np.full(60, 65535, np.uint16)},
                {"name": "b", "kind": "number", "values": np.full(60, np.nan, np.float32)},
            ]
        }
    },
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_hardly_anything(show: Show, name: str) -> None:
    given = DEGENERATE[name]
    data = given if name in ("nothing", "nulls") else whole(**given)
    if name == "one layer":
        data["about"] = data["about"] | {"layers": ["emb"]}
    opened = show(data)
    assert opened.tab.locator(".failure").all_inner_texts() == []
    body = opened.text("body")
    for broken in ("NaN", "Infinity", "undefined", "[object"):
        assert broken not in body
    said = {
        "nothing": (
            "no points to show",
            "No probe was given",
            "No analysis was given",
            "No text was encoded",
        ),
        "no text": (
            "The dataset contains no text",
            "No column to colour by",
            "There are no tokens here: the dataset holds",
        ),
        "no values": ("no value",),
    }
    for words in said.get(name, ()):
        assert words in body
    if given.get("points"):
        opened.tab.evaluate("layerwise.scene.choose(0)")
        opened.tab.wait_for_selector("#chosen .values")
        for column in ("0", ""):
            if opened.tab.locator(f'#colour option[value="{column}"]').count():
                opened.tab.select_option("#colour", column)


def test_words_in_their_texts(show: Show) -> None:
    made = points(4, texts=["one", "two", "天", ""])
    made["context"] = {"docs": [0, 1, 2, 3], "texts": ["the one", "two 🙂 two", "🙂 天", "x"]}
    made["span"] = np.array([[4, 7], [6, 9], [2, 3], [0, 0]], np.uint32)
    opened = show(whole(points=made))
    for point, (text, mark) in enumerate([("the one", "one"), ("two 🙂 two", "two"), ("🙂 天", "天")]):
        opened.tab.evaluate("(point) => layerwise.scene.choose(point)", point)
        opened.wait("(text) => document.querySelector('#chosen .whole')?.textContent === text", text)
        assert opened.text("#chosen .whole mark") == mark
    opened.tab.locator("input[type=search]").first.fill("two")
    opened.wait("document.querySelectorAll('#hits .entry').length === 1")
    assert opened.text("#hits .entry") == "two 🙂 two", "a hit stands in its text"


# --- with the data behind it ------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[tuple[str, list[str]]]:
    """The address of a page with its data behind it, and what it asked for."""
    data = whole(points=points(12_000))
    shown = data["points"]
    head = data | {"points": shown | {"coords": None, "texts": None, "neighbours": None, "remote": True}}
    asked: list[str] = []

    def answer(what: str, query: dict[str, str]) -> Any:
        if what == "head":
            return head
        if what == "coords":
            start = int(query["start"])
            return shown["coords"][LAYERS.index(query["layer"]), start : start + int(query["count"])]
        if what == "text":
            return [{"row": int(row), "text": f"row {row} <b>"} for row in query["rows"].split(",")]
        if what == "neighbours":
            row = int(query["row"])
            both = [{"point": None, "row": row + 1, "text": "not on the map", "cosine": 0.9}]
            return [
                *both,
                {"point": row // 3 + 1, "row": row + 3, "text": f"near at {query['layer']}", "cosine": 0.5},
            ]
        return {"points": [2], "rows": [6, 7], "total": 1234}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            body = (
                page(data, remote=True)
                if url.path == "/"
                else as_json(answer(url.path.removeprefix("/api/"), query))
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if url.path == "/" else "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    server.server_close()
    ended(thread)


def test_data_behind_the_page(started: Any, served: tuple[str, list[str]]) -> None:
    address, asked = served
    opened = Opened(started, address)
    opened.wait("layerwise.map.coords[1] && !Number.isNaN(layerwise.map.coords[1].at(-1))")
    assert [path for path in asked if "coords" in path] == [
        f"/api/coords?layer=1&start={s}&count={n}" for s, n in ((0, 5000), (5000, 5000), (10000, 2000))
    ], "those of the layer that the map opens at"
    first = opened.pixels()
    opened.tab.keyboard.press("ArrowRight")
    opened.wait("layerwise.scene.at === 2 && !Number.isNaN(layerwise.map.coords[2]?.at(-1) ?? NaN)")
    assert opened.pixels() != first
    opened.tab.fill("#search", "a b&c")
    opened.tab.wait_for_selector("#hits button")
    assert "/api/search?q=a+b%26c" in asked
    assert opened.text("#hit-count") == "1,234 found; the first 2:"
    assert opened.tab.locator("#hits button").count() == 1, "a row that isn't on the map is words only"
    opened.tab.locator("#hits button").click()
    opened.tab.wait_for_selector("#chosen .beside")
    chosen = opened.text("#chosen")
    assert "row 6 <b>" in chosen
    assert "not on the map" in chosen
    assert "near at 2" in chosen
    assert "near at 3" in chosen
    opened.tab.locator("#similarity .cell").nth(2).click()
    opened.tab.wait_for_selector("#pair table")
    assert opened.complaints == []
    opened.context.close()


# --- speed ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fifty_thousand_points_stay_smooth(show: Show) -> None:
    """What drawing takes, and the time from frame to frame; `make test-slow` runs it, on an idle machine."""
    rng = np.random.default_rng(0)
    made = points(50_000, 7, ["a text"] * 50_000, 1) | {"neighbours": None}
    made["coords"] = np.clip(rng.normal(0, 12_000, (7, 50_000, 2)), -32767, 32767).astype(np.int16)
    data = whole(points=made, tokens=[], analysis=None)
    data["about"] = data["about"] | {"layers": ["emb", *map(str, range(1, 7))]}
    opened = show(data)
    gaps = opened.tab.evaluate(
        "new Promise((done) => { layerwise.frames.length = 0; const gaps = []; let [at, last] = [0, null];"
        " const step = (now) => { if (last !== null) gaps.push(now - last); last = now;"
        " layerwise.slider.set(at); at += 0.05; at < 6 ? requestAnimationFrame(step) : done(gaps); };"
        " requestAnimationFrame(step); })"
    )
    drawing = opened.tab.evaluate("layerwise.frames")
    middle, late = np.median(drawing), np.percentile(gaps, 95)
    print(f"{len(gaps)} frames of 50,000 points: drawing {middle:.1f} ms, 95% come within {late:.1f} ms")
    assert min(len(gaps), len(drawing)) > 60
    assert middle < 33, "drawing takes longer than a frame may"
    assert late < 33, "frames come too seldom while the slider moves"
