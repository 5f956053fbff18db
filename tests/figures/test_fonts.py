"""Text of every script in figures: each character has a glyph, or the user learns which font to install."""

import re
import unicodedata
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib.font_manager as fonts
import numpy as np
import pytest

from layerwise.figures import canvas
from layerwise.figures.canvas import font_note, without_font
from layerwise.figures.plots import heatmap, layer_curve, projection, save
from layerwise.figures.result_figures import save_probe_figures
from layerwise.figures.text_width import columns, drawable, wrapped
from probe_results import bare_result, probe_result

SCRIPTS = {
    "simplified Chinese": "酒店评论的情感标签，好评。",
    "traditional Chinese": "飯店評論的標籤",
    "Japanese": "ホテルの感想を分類する",
    "Korean": "호텔 후기 감성 분류",
    "Arabic": "مراجعات الفنادق",
    "Hebrew": "ביקורות מלונות",
    "Devanagari": "होटल समीक्षा",
    "Bengali": "হোটেল",
    "Tamil": "விடுதி",
    "Thai": "รีวิวโรงแรม",
    "Ethiopic": "ሆቴል",
    "Cyrillic": "отзывы об отелях",
    "emoji": "😀 ❤️",
}
needs_fonts = pytest.mark.skipif(find_spec("weblate_fonts") is None, reason="the extra fonts isn't installed")


@pytest.fixture
def only_dejavu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No font but the one that matplotlib brings."""
    caches = (canvas._fonts, canvas._fonts_for, canvas._package_fonts)
    monkeypatch.setattr(canvas, "_FONT_PACKAGE", "no_such_package")
    entries = [entry for entry in fonts.fontManager.ttflist if entry.name == "DejaVu Sans"]
    monkeypatch.setattr(fonts.fontManager, "ttflist", entries)
    for cached in caches:
        cached.cache_clear()
    yield
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


def glyphs(svg: Path, text: str) -> list[tuple[str, int]]:
    """Return the font and the number of each glyph with which an SVG draws a text."""
    content = svg.read_text("utf-8")
    _, _, after = content.partition(f"<!-- {text}")
    assert after, f"{text!r} isn't drawn"
    drawn = re.findall(r'<use xlink:href="#([^"]+)-([0-9a-f]+)"', after.partition("<!--")[0])
    return [(font, int(glyph, 16)) for font, glyph in drawn]


@needs_fonts
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_character_has_a_glyph(tmp_path: Path, script: str) -> None:
    """In an SVG a glyph has its font and number: number 0 is the box, and so is every glyph of Last Resort."""
    text = SCRIPTS[script]
    figure = layer_curve(bare_result() | {"label": text})
    assert without_font(figure) == ""
    svg, png = save(figure, tmp_path / "figure")
    drawn = glyphs(svg, text)
    assert not [glyph for font, glyph in drawn if glyph == 0 or "LastResort" in font]
    assert len(drawn) >= len([c for c in text if not c.isspace() and unicodedata.category(c)[0] != "M"])
    assert png.stat().st_size < 200_000
    assert svg.stat().st_size < 400_000, "only the glyphs that are used are embedded"


@needs_fonts
def test_ideographs_are_those_of_the_font(tmp_path: Path) -> None:
    """The numbers of glyphs are those that fontTools finds in the file."""
    ttlib = pytest.importorskip("fontTools.ttLib")
    text = SCRIPTS["simplified Chinese"]
    svg, _ = save(layer_curve(bare_result() | {"label": text}), tmp_path / "figure")
    folder = find_spec("weblate_fonts")
    assert folder is not None
    assert folder.submodule_search_locations is not None
    (file,) = Path(folder.submodule_search_locations[0]).rglob("KurintoSansSC-Rg.ttf")
    with ttlib.TTFont(file) as font:
        expected = [("KurintoSansSC-Rg", font.getGlyphID(font.getBestCmap()[ord(c)])) for c in text]
    assert glyphs(svg, text)[: len(text)] == expected


@needs_fonts
def test_layers_classes_and_measures_have_fonts(tmp_path: Path) -> None:
    coords = np.random.default_rng(0).normal(size=(2, 12, 2))
    classes = ["正面", "ネガティブ", "부정"] * 4
    matrix = {"values": [[1.0, 0.5], [0.5, 1.0]], "unit": "单位", "source": "s"}
    figures = [
        projection(coords, ["词嵌入", "第六层"], classes, title="酒店评论", name="标签"),
        heatmap({"layers": ["词嵌入", "第六层"], "rows": 12, "measures": {"测量": matrix}}, "测量"),
    ]
    for number, figure in enumerate(figures):
        svg, _ = save(figure, tmp_path / str(number))
        drawn = [text for text in canvas._texts(figure) if text.get_visible()]
        for line in "\n".join(text.get_text() for text in drawn).split("\n"):
            if not line.isascii():
                assert all(glyph for _, glyph in glyphs(svg, line)), line


def test_without_a_font_the_user_learns_what_to_install(tmp_path: Path, only_dejavu: None) -> None:
    figure = layer_curve(bare_result() | {"label": "好评 тест"})
    assert without_font(figure) == "好评"
    with pytest.warns(
        UserWarning, match=r"no installed font has these .*: 好 评; run: pip install"
    ) as caught:
        svg, _ = save(figure, tmp_path / "figure")
    assert len(caught) == 1, "said once, for both files"
    content = svg.read_text("utf-8")
    assert re.search(r"<text [^>]*sans-serif[^>]*>好评 тест: ", content), "the viewer chooses the font"
    assert "\\u" not in content


def test_one_note_for_all_figures_of_a_result(tmp_path: Path, only_dejavu: None) -> None:
    result: dict[str, Any] = probe_result() | {"label": "标签"}
    result["learned"] = {"mix": "learned(all)", "weights": {"1": 0.5, "2": 0.5}}
    notes = save_probe_figures(result, tmp_path)
    assert notes == (font_note("标签"),)
    assert {file.name for file in tmp_path.iterdir()} == {
        "probe.svg",
        "probe.png",
        "weights.svg",
        "weights.png",
    }
    assert save_probe_figures(probe_result(), tmp_path) == ()


def test_a_note_names_few_of_many_characters() -> None:
    assert ": 1 2 3; run" in font_note("123")
    assert "a b c d e f g h i j k l and 3 more; run" in font_note("abcdefghijklmno")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("好评 a\u0301", "好评 a\u0301"),
        ("a\n\x00\t\x7f", "a\\u000a\\u0000\\u0009\\u007f"),
        ("\u202eabc\u2066\u200f", "\\u202eabc\\u2066\\u200f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("a\u200db\u200c", "a\\u200db\\u200c"),
        ("\u200d", "\\u200d"),
        ("\ud800", "\\ud800"),
        ("\ue000", "\\ue000"),
    ],
)
def test_only_invisible_characters_are_escapes(text: str, shown: str) -> None:
    assert drawable(text) == shown


def test_ideographs_are_wider_than_letters() -> None:
    assert columns("ab1") == 3
    assert columns("好a\u0301") == pytest.approx(2.75)
    assert drawable("a" * 20, 10) == "a" * 9 + "…"
    assert drawable("好" * 20, 10) == "好" * 5 + "…"
    assert drawable("\n" * 10, 10) == "\\u000a" * 3 + "…"


def test_lines_break_between_words_and_ideographs() -> None:
    assert wrapped("one two three", 8, 3) == "one two\nthree"
    assert wrapped("one two three", 8, 1) == "one two…"
    assert wrapped("abcdefghij", 4, 3) == "abcd\nefgh\nij"
    assert wrapped("  ", 4, 3) == ""
    assert wrapped("好" * 6, 5.3, 3) == "好好好\n好好好"
    assert wrapped("好好，好好，好好", 5.3, 3) == "好好，\n好好，\n好好"
    assert wrapped("好" * 9, 5.3, 2) == "好好好\n好好…"


@needs_fonts
def test_ideographs_stay_on_the_page() -> None:
    """A line of ideographs was taken for as narrow as one of letters."""
    coords = np.random.default_rng(0).normal(size=(4, 9, 2))
    name = "按层投影每个面板都有自己的尺度百分比为各轴所解释的方差份额"
    figure = projection(coords, list("1234"), [name, "b", "c"] * 3, title=name * 4, name=name)
    figure.draw_without_rendering()
    for text in canvas._texts(figure):
        box = text.get_window_extent()
        if text.get_text().strip():
            assert -1 <= box.x0 <= box.x1 <= figure.bbox.width + 1, f"{text.get_text()!r} leaves the page"
