"""The sentence pairs with links on the page: from a file or a result, and what is no such file is refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from browser import Opened, browser, windows
from contrast import contrast
from layerwise.cli.main import main
from layerwise.errors import RequestError
from layerwise.page.word_links import SHOWN, shown_links
from planted import noise, states_of


def lines(count: int, **changes: Any) -> str:
    pair = {
        "doc": 0,
        "a": ["<b>x", "y"],
        "b": ["u"],
        "links": {"match": {"emb": [[0, 0]], "1": []}},
    } | changes
    return "".join(json.dumps(pair) + "\n" for _ in range(count))


def test_the_first_pairs_are_shown(tmp_path: Path) -> None:
    (tmp_path / "links").write_text(lines(SHOWN + 5))
    shown = shown_links(tmp_path / "links")
    assert shown is not None
    assert (shown["methods"], shown["layers"]) == (["match"], ["emb", "1"])
    assert len(shown["pairs"]) == SHOWN
    assert shown["pairs"][0] == {
        "a": ["<b>x", "y"],
        "b": ["u"],
        "links": {"match": {"emb": [[0, 0]], "1": []}},
        "cut": [0, 0],
    }
    assert shown["more"]
    (tmp_path / "few").write_text(lines(SHOWN))
    assert shown_links(tmp_path / "few") == shown | {"more": False}
    assert shown_links(None) is None


def test_the_words_that_are_left_out_of_a_long_side_are_counted(tmp_path: Path) -> None:
    long, links = [str(n) for n in range(203)], {"argmax": {"1": [[199, 0], [200, 0], [202, 1]]}}
    (tmp_path / "links").write_text(lines(1, a=long, b=["u", "v"], links=links))
    shown = shown_links(tmp_path / "links")
    assert shown is not None
    (pair,) = shown["pairs"]
    assert (pair["a"], pair["b"], pair["cut"]) == (long[:200], ["u", "v"], [3, 0])
    assert pair["links"]["argmax"]["1"] == [[199, 0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "0-0 1-1\n",
            "line 1 is no sentence pair with links; give the file that `align` wrote with to='jsonl'",
        ),
        (lines(1) + "[]\n", "line 2 is no sentence pair"),
        (lines(1, links={}), "line 1 has no links of any method and layer"),
        (lines(1, links={"argmax": {"1": [["x", 0]]}}), "line 1 is no sentence pair"),
        (lines(1, links={"argmax": {"1": [[1, 1]]}}), "line 1 is no sentence pair with links"),
        (lines(1, links={"argmax": {"1": [[-1, 0]]}}), "line 1 is no sentence pair with links"),
        ("", "holds no sentence pairs"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "links").write_text(content)
    with pytest.raises(RequestError, match=message):
        shown_links(tmp_path / "links")
    with pytest.raises(RequestError, match="No such file or directory; give the file that `align` wrote"):
        shown_links(tmp_path / "nothing")


def test_a_page_holds_the_links(tmp_path: Path, encoder_of: Callable[[str], Any]) -> None:
    result = lw.align(["a text"], ["the text"], model=encoder_of("bert"), out=tmp_path / "links")
    assert result.pairs == ()
    with pytest.raises(RequestError, match="links holds no sentence pairs"):
        shown_links(result)
    states = states_of(noise(8, 4, 2), {"y": np.arange(8)})
    with_links = lw.report(states, tmp_path / "with.html", links=tmp_path / "links")
    without = lw.report(states, tmp_path / "without.html")
    assert with_links.stat().st_size > without.stat().st_size
    in_memory = shown_links(lw.align(["a text"], ["the text"], model=encoder_of("bert")))
    assert in_memory == shown_links(tmp_path / "links")


def test_the_command_takes_the_file(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text("a text\nthe last\n")
    (tmp_path / "links").write_text("no links\n")
    lw.extract(tmp_path / "t.txt", tmp_path / "t.lw", model=model)
    command = [
        "report",
        str(tmp_path / "t.lw"),
        "--links",
        str(tmp_path / "links"),
        "--out",
        str(tmp_path / "p.html"),
    ]
    assert main(command) == 2
    assert "line 1 is no sentence pair with links" in capsys.readouterr().err
    assert not (tmp_path / "p.html").exists()


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as program:
        yield program


@pytest.mark.parametrize(("wide", "lang"), windows([360, 1440]))
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_links_can_be_read(scheme: str, lang: str, wide: int, started: Any, tmp_path: Path) -> None:
    """Words stand out from the page in both schemes, a line goes from word to word, and only its box scrolls."""
    pair = {
        "a": ["科学家", "一直"],
        "b": ["scientists"] * 40,
        "links": {"argmax": {"emb": [[1, 3]], "1": []}},
    }
    (tmp_path / "links").write_text(
        lines(1, **pair) + lines(SHOWN, a=["x"] * 201, links={"argmax": {"emb": []}})
    )
    states = states_of(noise(8, 4, 2), {"y": np.arange(8)})
    page = lw.report(states, tmp_path / "page.html", links=tmp_path / "links", lang=lang)
    opened = Opened(started, page, wide=wide, color_scheme=scheme)
    tab = opened.tab
    tab.wait_for_selector("html[data-ready]")
    colours = tab.evaluate(
        """() => ["#links .linked-word", "#links"].map((name) => {
            const style = getComputedStyle(document.querySelector(name));
            const colour = name.endsWith("word") ? style.fill : style.backgroundColor;
            return colour.match(/[\\d.]+/g).slice(0, 3).map((part) => Number(part) / 255);
        })"""
    )
    assert contrast(*colours) > 7
    assert tab.locator("#links .linked-word").count() == 42
    assert opened.text("#nav a:last-child") == {"en": "Word alignment", "zh": "词对齐"}[lang]
    assert tab.locator("#links .word-link").count() == 0, "the last layer has no links"
    tab.select_option("#links-layer", "emb")
    link, words = tab.locator("#links .word-link"), tab.locator("#links .linked-word")
    assert float(link.get_attribute("x1")) == pytest.approx(float(words.nth(1).get_attribute("x")), abs=0.1)
    assert float(link.get_attribute("x2")) == pytest.approx(
        float(words.nth(2 + 3).get_attribute("x")), abs=0.1
    )
    told = opened.text("#links")
    assert {"en": "The first 30 sentence pairs", "zh": "前 30 个句对"}[lang] in told
    tab.select_option("#links-pair", "1")
    told = opened.text("#links")
    assert {"en": "200 here at most: 1 of the first side, 0", "zh": "第一侧有 1 个词"}[lang] in told
    assert tab.evaluate("document.documentElement.scrollWidth") == wide
    assert opened.complaints == []
    opened.context.close()
