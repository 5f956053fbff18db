"""The page of real output: what extract, probe and analyze wrote, in a real browser, from disk and with data behind."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from browser import Opened, browser
from conftest import CORPUS
from layerwise.api.explore import served
from layerwise.options import PageOptions
from layerwise.server.loopback import Loopback
from pages import HOSTILE
from planted import noise, states_of
from waiting import ended

# As `shown` of words.js writes what can't be seen; the tables hold no half surrogate pairs.
VISIBLE = [
    text.replace("\x1b", "\\u001b").replace("\x00", "\\u0000").replace("\x07", "\\u0007")
    for text in HOSTILE
    if not set(text) & set("\u2028\u202e\ud83d")
]
BROKEN = ("NaN", "Infinity", "undefined", "[object")
OUTSIDE = """() => [...document.querySelectorAll('main *, header *, footer *')].filter((one) =>
    !one.closest('.scroll') && !one.closest('svg') && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.outerHTML.slice(0, 200))"""
READY = "document.querySelector('#chosen .beside')"


@dataclass(frozen=True)
class Chain:
    """A dataset with the results of it."""

    dataset: lw.LayerDataset
    results: dict[str, Any]


def chain(place: Path, encoder: Any, texts: list[str], label: str, classes: list[str]) -> Chain:
    """Extract, probe and analyze some texts, with classes in a column."""
    lines = [{"text": text, label: classes[n % len(classes)]} for n, text in enumerate(texts)]
    (place / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = lw.extract(place / "texts.jsonl", place / "texts.lw", model=encoder)
    lw.probe(dataset, task="classify", label=label, mix=["mean(1:)"], quick=True, out=place / "probe")
    lw.analyze(dataset, label=label, out=place / "analysis")
    return Chain(dataset, {"probe": place / "probe", "analysis": place / "analysis"})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> Chain:
    texts = [f"{text} {n}" for n, text in enumerate([*CORPUS, "long " * 100] * 2)]
    return chain(tmp_path_factory.mktemp("plain"), encoder_of("bert"), texts, "label", ["a", "b"])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> Chain:
    texts = [f"{text} {n}" for n, text in enumerate(HOSTILE * 3)]
    return chain(tmp_path_factory.mktemp("hostile"), encoder_of("bert"), texts, HOSTILE[3], HOSTILE[:2])


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as found:
        yield found


def opened_wide(page: Opened) -> str:
    """What all of a page says, with a point chosen and all behind a click open; nothing stands outside of it."""
    page.tab.evaluate("layerwise.scene.choose(2)")
    page.wait(f"{READY} !== null")
    page.tab.locator("#compare-open").click()
    page.tab.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
    page.drawn()
    assert page.tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "the page is wider than its window"
    )
    assert page.tab.evaluate(OUTSIDE) == [], "parts stand outside of the window"
    assert page.tab.locator(".failure").all_inner_texts() == []
    return page.text("body")


# --- what was found is what is shown ----------------------------------------------------------------------

SAID = {
    "en": [
        "4 stored",
        "B stored",
        "unknown to the model",
        "windows",
        "Nearest",
        "Attention",
        "linear CKA",
        "seed 3",
    ],
    "zh": ["存有 4 层", "占用存储", "不认识", "个窗口", "近邻", "注意力", "线性 CKA", "种子"],
}


@pytest.mark.parametrize("lang", SAID)
def test_all_that_was_found_is_on_the_page(plain: Chain, tmp_path: Path, started: Any, lang: str) -> None:
    file = lw.report(
        plain.dataset, tmp_path / "page.html", **plain.results, lang=lang, seed=3, attention=True
    )
    totals = plain.dataset.manifest.to_json()["totals"]
    for wide in (1280, 360):
        page = Opened(started, file, wide=wide)
        body = opened_wide(page)
        head = page.text("header")
        for words in (Path(plain.dataset.manifest.model.id).name, f"{totals['tokens']:,}", "float16"):
            assert words in head, f"the header lacks {words!r}"
        for words in (*SAID[lang], plain.dataset.sha256):
            assert words in body, f"the page lacks {words!r}"
        for words in BROKEN:
            assert words not in body, f"the page says {words!r}"
        counts = {
            "#chosen .beside li": 20,
            "#strip thead th": 5,
            "#attention .cell": len(page.tab.locator("#strip tbody tr").all()) ** 2,
            "#similarity .cell": 16,
        }
        for selector, wanted in counts.items():
            assert page.tab.locator(selector).count() == wanted, selector
        for selector in ("#probe-curve .mark", "#geometry .mark", "#pair tr"):
            assert page.tab.locator(selector).count() > 4, f"{selector} shows next to nothing"
        page.close()


# --- what users wrote is never run ------------------------------------------------------------------------


def shown_and_not_run(page: Opened) -> None:
    """Look at everything; texts and labels are read as they were written."""
    page.tab.fill("#search", "<script>")
    page.tab.wait_for_selector("#hits mark")
    page.tab.mouse.move(*page.place(1))
    page.tab.wait_for_selector("#tip:not([hidden])")
    body = opened_wide(page)
    legend = page.tab.evaluate("document.querySelector('#legend').textContent")
    assert all(label in legend for label in HOSTILE[:2]), "the legend names other classes"
    assert HOSTILE[3] in page.text("#probe .lead"), "the probe names another column"
    for point in range(len(HOSTILE)):
        page.tab.evaluate("(point) => layerwise.scene.choose(point)", point)
        page.wait("(end) => document.querySelector('#chosen .whole')?.textContent.endsWith(end)", f" {point}")
        body += page.tab.evaluate("document.querySelector('#chosen').textContent")
    for text in VISIBLE:
        assert text in body, f"{text!r} isn't shown as it was written"
    assert page.tab.evaluate("window.hacked") is None, "text of a user was run"
    assert page.tab.locator("main script, main img, main svg[onload], header script, #tip img").count() == 0
    assert page.tab.locator("body script").count() == 3, "a script that isn't ours"


def test_hostile_text_from_disk(hostile: Chain, tmp_path: Path, started: Any) -> None:
    file = lw.report(hostile.dataset, tmp_path / "page.html", **hostile.results, attention=True)
    assert "hacked" not in file.read_text()
    page = Opened(started, file, wide=360)
    shown_and_not_run(page)
    page.close()


def test_hostile_text_with_the_data_behind(hostile: Chain, started: Any) -> None:
    html, answer = served(hostile.dataset, PageOptions(**hostile.results, attention=True))
    with Loopback(html, answer) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        page = Opened(started, server.url)
        page.wait("layerwise.map.coords[0] && !Number.isNaN(layerwise.map.coords[0].at(-1))")
        shown_and_not_run(page)
        asked = [url for url in page.asked if not url.startswith(("data:", server.url))]
        assert not asked, f"the page asked others: {asked}"
        assert not page.complaints
        page.context.close()
        server.close()
        ended(thread)


# --- hardly anything to show ------------------------------------------------------------------------------

BAD: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "one row": (noise(1, 4, 2), {"label": ["a"]}),
    "one layer": (noise(24, 4, 1), {"label": list("ab") * 12}),
    "constant rows": ([np.full((24, 4), 3.0), np.zeros((24, 4))], {"label": list("ab") * 12}),
    "a layer of NaN": ([noise(24, 4, 1)[0], np.full((24, 4), np.nan)], {"label": list("ab") * 12}),
    "no label": (noise(24, 4, 2), {"label": [None] * 24}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_set_still_has_a_page(name: str, tmp_path: Path, started: Any) -> None:
    layers, columns = BAD[name]
    states = states_of(layers, columns)
    file = lw.report(states, tmp_path / "page.html", analysis=lw.analyze(states, label="label"))
    page = Opened(started, file)
    page.tab.evaluate("layerwise.scene.choose(0)")
    page.tab.wait_for_selector("#chosen .values")
    page.tab.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
    body = page.text("body").replace("values that are infinite or NaN", "")
    assert page.tab.locator(".failure").all_inner_texts() == []
    for words in BROKEN:
        assert words not in body, f"the page says {words!r}"
    page.close()
