"""What notebooks show: tables of states, datasets and results, in which nothing of the user's is run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise._util.display import clipped, html, text, width
from planted import noise, states_of

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\ud800'\""


def test_cells_are_text() -> None:
    made = html(HOSTILE, ("a<b>", "n"), [(HOSTILE, 0.123456), (None, "x" * 500)], HOSTILE)
    assert "<script" not in made
    assert "&lt;script&gt;" in made
    assert "a&lt;b&gt;" in made
    assert "0.1235" in made
    assert "–" in made
    assert "x" * 201 not in made
    for sign in "\x1b\u202e\ud800":
        assert sign not in made
    made.encode()


def test_states_and_datasets(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    states = encoder_of("bert").encode(["<b>one</b>", "two", "3", "4", "5", "6", "7"])
    shown = states._repr_html_()
    assert "7 rows × 4 layers" in shown
    assert "&lt;b&gt;one" in shown
    assert "2 rows more" in shown
    (tmp_path / "texts.txt").write_text("<i>one</i>\ntwo\n")
    dataset = lw.extract(tmp_path / "texts.txt", tmp_path / "d", model=encoder_of("bert"))
    assert "&lt;i&gt;one" in dataset._repr_html_()
    assert "more." not in dataset._repr_html_()


def test_results() -> None:
    states = states_of(noise(40, 4, 2), {"<y>": list("ab") * 20})
    found = lw.probe(states, task="classify", label="<y>", mix=[], quick=True)
    shown = found._repr_html_()
    assert "classify &lt;y&gt;: 40 rows" in shown
    assert f"{found['1'].score:.4g}" in shown
    assert found.advice.text[:20] in shown
    analysis = lw.analyze(states, measure=["norm", "rsa"])
    shown = analysis._repr_html_()
    assert f"{analysis['norm'].values[0]:.2f}" in shown
    assert f"<td>{analysis['rsa'].values[0, 1]:.3f}</td>" in shown


def test_explore_shows_the_page() -> None:
    shown = lw.explore(states_of(noise(12, 4, 2), {"y": list("abc") * 4}))
    assert shown.html.startswith("<!doctype html>")
    frame = shown._repr_html_()
    assert frame.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert 'sandbox="allow-scripts"' in frame
    with pytest.raises(lw.LayerwiseError, match="en, zh"):
        lw.explore(states_of(noise(12, 4, 2), {}), lang="fr")


def test_text_is_at_most_five_lines_of_a_hundred_columns() -> None:
    assert text(["one", "", "two"]) == "one\ntwo"
    lines = text(["x" * 300, "\u6f22" * 60, "\x1b[31m", "d", "e", "f"]).splitlines()
    prose = text(["title", "word " * 50]).splitlines()
    assert prose == ["title", "word " * 19 + "word", "word " * 19 + "word", "word " * 9 + "word"]
    assert len(text(["word " * 200]).splitlines()) == 5
    assert text(["word " * 200]).endswith("…")
    assert lines == ["x" * 99 + "…", "\u6f22" * 49 + "…", "\ufffd[31m", "d", "… and 2 lines more"]


def test_a_long_table_is_cut() -> None:
    shown = html("t", ("n",), ((n,) for n in range(300)))
    assert shown.count("<tr>") == 201
    assert "… 100 rows more." in shown


# The widths that the tables of Unicode give: UAX #11 for wide letters, UTS #51 for emoji.
WIDTHS = {
    "plain": 5,
    "naïve": 5,
    "nai\u0308ve": 5,
    "天气很好": 8,
    "ｆｕｌｌ": 8,
    "ﾊﾝｶｸ": 4,
    "한국": 4,
    "\u1112\u1161\u11ab\u1100\u116e\u11a8": 4,
    "a🙂b": 4,
    "☀": 1,
    "☀\ufe0f": 2,
    "👍\U0001f3fd": 2,
    "\U0001f1e9\U0001f1ea": 2,
    "קָמָץ": 3,
    "สวัสดี": 4,
    "αβγ": 3,
    "": 0,
}


def test_columns_of_a_terminal() -> None:
    assert {line: width(line) for line in WIDTHS} == WIDTHS


@pytest.mark.parametrize("line", WIDTHS)
@pytest.mark.parametrize("most", [1, 2, 3, 4, 7])
def test_a_clipped_text_fits(line: str, most: int) -> None:
    shown = clipped(line, most)
    assert width(shown) <= most
    assert shown == line or shown[-1] == "…"
    assert (shown == line) == (WIDTHS[line] <= most)
    if shown != line:
        kept = shown[:-1]
        assert line.startswith(kept)
        following = line[len(kept) : len(kept) + 1]
        assert width(kept + following) > most - 1, "no more than needed is cut"
