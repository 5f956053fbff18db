"""What the page and the figures show of measures, as data: colours, grey cells, axes, floors, digits."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps

from browser import Opened, browser
from layerwise._util.display import rounded
from layerwise.figures.measure_scale import axis_ends, ramp_ends, with_scales
from layerwise.figures.page import page
from layerwise.figures.plots import geometry, heatmap
from layerwise.geometry.caution import Caution
from layerwise.wording import Message, messages_json

LAYERS = ["emb", "1", "2", "3"]
CAUTION = Caution("floor", 300, 384, 1536, 1.0, 1.0, "debiased_cka")


def floor_of(name: str) -> dict[str, Any]:
    """What gives the floor of a measure, as `analysis.json` has it."""
    message = Message(f"note.floor.{name}")
    return {"floor_of": message, "messages": messages_json(floor_of=message)}


def matrix(alike: float, floor: float, step: float, **more: Any) -> dict[str, Any]:
    """Layers that are the less alike the further they are apart, of a measure."""
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    values = alike + (1 if alike == 0 else -1) * step * apart
    return {
        "values": values.tolist(),
        "unit": "CKA",
        "source": "s",
        "alike": alike,
        "floor": np.full((4, 4), floor).tolist(),
        **floor_of("layers"),
    } | more


def per_layer(values: list[float], unit: str = "mean cosine of two rows", **more: Any) -> dict[str, Any]:
    return {"values": values, "unit": unit, "source": "s"} | more


def analysis() -> dict[str, Any]:
    flat = [-0.0050, -0.0042, -0.0040, -0.0047]
    pwcca = matrix(1, 1, 0, usable=[[False] * 4] * 4, caution=CAUTION.to_json())
    return {
        "layers": LAYERS,
        "rows": 300,
        "of": 300,
        "seed": 0,
        "measures": {
            "pwcca": pwcca,
            "linear_cka": matrix(1, 0.1, 0.2),
            "procrustes": matrix(0, 1.4, 0.3),
            "anisotropy_standardised": per_layer(flat, floor=[-1 / 299] * 4, **floor_of("rows")),
            "anisotropy": per_layer([0.9, 0.91, 0.92, 0.91], floor=[0.0] * 4, **floor_of("directions")),
            "class_separation": per_layer(
                [0.0412, 0.0523, 0.0478, 0.0634],
                "share of scatter between classes",
                low=[0.02, 0.03, 0.03, 0.04],
                high=[0.06, 0.07, 0.07, 0.08],
                floor=[0.0167] * 4,
                **floor_of("classes"),
            ),
            "intrinsic_dimension": per_layer(
                [4.0, 5.0, 6.0, 5.5],
                "number of dimensions",
                usable=[False] * 4,
                caution=Caution("rows", 25, 384, 35).to_json(),
            ),
            "norm": per_layer([3.21, 3.25, 3.22, 3.24], "length of a vector"),
        },
        "dimensions": {},
        "notes": [],
    }


def head() -> dict[str, Any]:
    cosines = np.full((4, 3, 2), 100, np.int8)
    points = {
        "count": 3,
        "of": 3,
        "seed": 0,
        "method": "pca",
        "row": np.arange(3, dtype=np.uint32),
        "doc": np.arange(3, dtype=np.uint32),
        "coords": np.arange(24, dtype=np.int16).reshape(4, 3, 2) * 900,
        "explained": None,
        "columns": [],
        "texts": ["one", "two", "three"],
        "clipped": [],
        "context": None,
        "span": None,
        "neighbours": {
            "k": 2,
            "points": np.tile(np.array([[1, 2], [0, 2], [0, 1]], np.uint32), (4, 1, 1)),
            "cosines": cosines,
        },
    }
    return {"title": "t", "about": {"layers": LAYERS}, "points": points, "analysis": analysis(), "notes": []}


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for lang in ("en", "zh"):
        (folder / f"{lang}.html").write_text(page(head(), lang), encoding="utf-8")
    return {lang: folder / f"{lang}.html" for lang in ("en", "zh")}


@pytest.fixture(params=[(360, "en"), (1440, "zh"), (1920, "en")], ids=lambda p: f"{p[0]}-{p[1]}")
def opened(request: pytest.FixtureRequest, pages: dict[str, Path], started: Any) -> Iterator[Opened]:
    wide, lang = request.param
    tab = Opened(started, pages[lang], wide, 900)
    yield tab
    assert tab.tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page overflows"
    tab.close()


def luminance(colours: list[str]) -> list[float]:
    parts = ([float(part) for part in colour[4:-1].split(",")] for colour in colours)
    return [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in parts]


def fills(tab: Opened, name: str) -> list[str]:
    tab.tab.select_option("#measure", name)
    tab.wait("document.querySelectorAll('#similarity .cell').length === 16")
    colours: list[str] = tab.tab.locator("#similarity .cell rect").evaluate_all(
        "cells => cells.map((cell) => cell.getAttribute('fill'))"
    )
    return colours


def test_alike_is_bright_for_similarities_and_distances(opened: Opened) -> None:
    for name in ("linear_cka", "procrustes"):
        first = luminance(fills(opened, name)[:4])
        assert first == sorted(first, reverse=True), f"{name}: {first}"
    ends = opened.tab.locator("#matrix .ramp .ends").first.locator("span").all_inner_texts()
    assert [float(end) for end in ends] == [1.4, 0], "unrelated layers are left, identical ones right"
    assert ends[1] == "0", "no digits that say nothing"
    assert opened.tab.locator("#matrix .ramp .ends").count() == 2, "the ends of the ramp have names"


def test_the_same_share_of_the_way_from_chance_to_identity_has_the_same_colour(
    tmp_path: Path, started: Any
) -> None:
    """Whatever the measure: that of viridis at this share on the page, and of cividis in figures."""
    share = 2 / 9  # of the way, from layer to layer
    data = head()
    data["analysis"]["measures"] = {
        "linear_cka": matrix(1, 0.1, 0.9 * share),
        "procrustes": matrix(0, 1.4, 1.4 * share),
    }
    (tmp_path / "page.html").write_text(page(data), encoding="utf-8")
    tab = Opened(started, tmp_path / "page.html")
    shares = 1 - share * np.arange(4)
    for name in data["analysis"]["measures"]:
        painted = np.array([re.findall(r"\d+", colour) for colour in fills(tab, name)[:4]], float) / 255
        assert painted == pytest.approx(colormaps["viridis"](shares)[:, :3], abs=0.03), (
            f"{name}: of ten stops"
        )
        mesh = heatmap(data["analysis"], name).axes[0].collections[0]
        drawn = mesh.to_rgba(np.asarray(mesh.get_array()).reshape(4, 4))[0, :, :3]
        assert drawn == pytest.approx(colormaps["cividis"](shares)[:, :3], abs=0.01), name
    assert fills(tab, "linear_cka") == fills(tab, "procrustes")
    tab.close()


def test_a_measure_that_cannot_be_used_is_grey_and_says_why(opened: Opened) -> None:
    assert opened.tab.locator("#measure").input_value() == "linear_cka", "the first is one that can be used"
    assert set(fills(opened, "pwcca")) == {None}
    assert opened.tab.locator("#similarity .cell.greyed").count() == 16
    assert opened.tab.locator("#matrix .ramp").count() == 0, "no ramp for numbers that mean nothing"
    words = opened.text("#matrix .caution")
    assert words == CAUTION.text.in_language(opened.tab.evaluate("document.documentElement.lang")[:2])
    for part in ("300", "384", "1,536", "1.00", "CKA"):
        assert part in words
    option = opened.tab.locator("#measure option[value=pwcca]").inner_text()
    assert option != "PWCCA"
    opened.tab.locator("#matrix summary").click()
    cells = opened.tab.locator("#matrix td").all_inner_texts()
    assert sum("1.00" in cell for cell in cells if cell[0] in "(（") == 16, (
        "the table keeps the numbers, in brackets"
    )


def test_floors_are_in_the_legend_the_tooltip_and_the_table(opened: Opened) -> None:
    fills(opened, "procrustes")
    assert "1.40" in opened.text("#matrix .aside")
    mark = opened.tab.locator("#similarity .cell").nth(1)
    assert "1.40" in mark.get_attribute("aria-label")
    opened.tab.locator("#matrix summary").click()
    assert opened.tab.locator("#matrix tbody tr").last.locator("td").all_inner_texts()[1:] == ["1.40"] * 4
    assert opened.tab.locator("#similarity [tabindex='0']").count() == 1


def test_side_by_side_says_what_cannot_be_used(opened: Opened) -> None:
    fills(opened, "linear_cka")
    opened.tab.locator("#similarity .cell").nth(1).click()
    opened.tab.wait_for_selector("#pair table")
    names = opened.tab.locator("#pair tbody tr th, #pair tbody tr td:first-child").all_inner_texts()
    words = {"en": "PWCCA (not usable with these rows)", "zh": "PWCCA（对这些行不可用）"}
    assert words[opened.tab.evaluate("document.documentElement.lang")[:2]] in names
    assert "PWCCA" not in names
    header = opened.tab.locator("#pair thead th").all_inner_texts()
    assert len(header) == 3, f"a column of intervals without any: {header}"


def test_the_lead_speaks_of_bands_only_where_there_are_some(started: Any, tmp_path: Path) -> None:
    content = analysis()
    del content["measures"]["class_separation"]
    for rows, words in (
        (300, "Measured on all 300 rows."),
        (200, "Measured on 200 of 300 rows, seed 0; bands"),
    ):
        content["rows"] = rows
        (tmp_path / "page.html").write_text(page(head() | {"analysis": content}), encoding="utf-8")
        tab = Opened(started, tmp_path / "page.html")
        assert tab.text("#geometry .lead").startswith(words)
        tab.close()


def figure_of(opened: Opened, place: int) -> Any:
    return opened.tab.locator("#geometry figure").nth(place)


def ticks(figure: Any) -> list[float]:
    texts = figure.locator("text.tick[text-anchor=end]").all_text_contents()
    return [float(text.replace("−", "-")) for text in texts]


def test_axes_do_not_zoom_into_noise(opened: Opened) -> None:
    names = list(with_scales(analysis())["measures"])  # type: ignore[index]
    place = [name for name in names if not isinstance(analysis()["measures"][name]["values"][0], list)].index
    flat = figure_of(opened, place("anisotropy_standardised"))
    flat.scroll_into_view_if_needed()
    heights = flat.locator("circle.dot").evaluate_all(
        "dots => dots.map((dot) => Number(dot.getAttribute('cy')))"
    )
    assert max(heights) - min(heights) < 4, "0.001 of a cosine is no peak"
    assert max(ticks(flat)) - min(ticks(flat)) >= 0.02
    norms = figure_of(opened, place("norm"))
    assert max(ticks(norms)) - min(ticks(norms)) >= 0.1, "nor is a hundredth of a length"


def test_floors_are_drawn_and_named(opened: Opened) -> None:
    separation = figure_of(opened, 2)
    assert separation.locator("polyline.floor").count() == 1
    heights = separation.locator("circle.dot").evaluate_all(
        "dots => dots.map((dot) => Number(dot.getAttribute('cy')))"
    )
    points = separation.locator("polyline.floor").get_attribute("points")
    (floor,) = {float(point.split(",")[1]) for point in points.split()}
    assert floor > max(heights), "below the numbers"
    assert "0.017" in separation.inner_text()
    separation.locator("summary").click()
    rows = separation.locator("tbody tr").all_inner_texts()
    assert all(row.endswith("0.017") for row in rows)
    assert separation.locator("tbody td").nth(1).inner_text() == "0.04", "digits end where intervals do"
    far = figure_of(opened, 1)
    assert far.locator("polyline.floor").count() == 0, "it would squeeze the numbers"
    assert "0" in far.locator(".note").first.inner_text()
    greyed = figure_of(opened, 3)
    assert greyed.locator(".chart").count() == 0
    assert "35" in greyed.locator(".caution").inner_text()
    greyed.locator("summary").click()
    assert greyed.locator("tbody td").nth(1).inner_text() in ("(4.00)", "（4.00）")


def test_cosines_in_127_steps_have_two_digits(pages: dict[str, Path], started: Any) -> None:
    tab = Opened(started, pages["en"])
    tab.tab.evaluate("layerwise.scene.choose(0)")
    tab.wait("document.querySelectorAll('#chosen .cosine').length > 0")
    assert set(tab.tab.locator("#chosen .cosine").all_inner_texts()) == {"0.79"}
    tab.close()


def test_python_and_the_page_write_the_same_numbers(tmp_path: Path, started: Any) -> None:
    rng = np.random.default_rng(0)
    values = [
        0.0,
        1.0,
        0.9996,
        0.99949,
        9.996,
        99.96,
        -0.0004,
        1234.6,
        1.5e6,
        # Halves, which are exact in binary numbers.
        *(0.0625, 0.1875, -0.0625, 2.125, 12.25, -12.25, 100.5, 101.5, 999.5, 1234.5, -1235.5, 1.25e6),
        *(10 ** rng.uniform(-5, 5, 60)),
    ]
    data = head()
    layers = [str(n) for n in range(len(values))]
    data["analysis"] |= {"layers": layers, "measures": {"norm": per_layer(values, "length of a vector")}}
    (tmp_path / "numbers.html").write_text(page(data), encoding="utf-8")
    tab = Opened(started, tmp_path / "numbers.html")
    tab.tab.locator("#geometry summary").click()
    written = tab.tab.locator("#geometry td.number").all_inner_texts()
    assert written == [rounded(value) for value in values]
    tab.close()


# --- without a browser ------------------------------------------------------------------------------------


def mesh_of(measure: str) -> Any:
    return heatmap(analysis(), measure).axes[0].collections[0]


def test_colours_of_figures_run_from_unrelated_to_identical_layers() -> None:
    for name, ends, reversed_ramp in (("linear_cka", (0.1, 1), False), ("procrustes", (0, 1.4), True)):
        mesh = mesh_of(name)
        assert (mesh.norm.vmin, mesh.norm.vmax) == pytest.approx(ends), name
        assert mesh.cmap.name.endswith("_r") == reversed_ramp, name
        colours = mesh.to_rgba(np.asarray(mesh.get_array()).reshape(4, 4))[0, :, :3].sum(axis=1)
        assert (np.diff(colours) < 0).all(), f"{name}: less alike is darker"
    figure = heatmap(analysis(), "procrustes")
    (bar,) = figure.axes[0].child_axes
    assert bar.get_ylim()[0] > bar.get_ylim()[1], "identical layers are on top, as for similarities"
    assert "distance" in bar.get_ylabel()
    assert "unrelated layers give 1.40" in figure.axes[0].get_title(loc="left").replace("\n", " ")


def test_the_ramp_of_a_figure_marks_both_ends_of_what_unrelated_layers_give() -> None:
    content = analysis()
    for spread, ends in ((0.3, [0.1, 0.4]), (0.0, [0.1])):
        floor = np.full((4, 4), 0.1)
        floor[2] += spread
        content["measures"]["linear_cka"]["floor"] = floor.tolist()
        (bar,) = heatmap(content, "linear_cka").axes[0].child_axes
        drawn = sorted(
            float(np.asarray(line.get_ydata())[0]) for line in bar.lines if line.get_color() == "white"
        )
        assert drawn == pytest.approx(ends)


def test_a_figure_greys_what_cannot_be_used() -> None:
    figure = heatmap(analysis(), "pwcca")
    axes = figure.axes[0]
    assert np.ma.getmaskarray(np.ma.asarray(axes.collections[0].get_array())).all()
    assert len(axes.collections) == 2, "grey cells over the hatch of undefined ones"
    assert not axes.child_axes, "no ramp"
    assert "use at least 1,536 rows" in axes.get_title(loc="left").replace("\n", " ")
    assert [text.get_text() for text in axes.texts] == ["1.00"] * 16
    assert {text.get_color() for text in axes.texts} == {"black"}


def test_axes_of_figures_have_the_ends_of_the_page() -> None:
    figure = geometry(analysis())
    names = [name for name, m in analysis()["measures"].items() if not isinstance(m["values"][0], list)]
    scaled = with_scales(analysis())
    assert scaled is not None
    for axes, name in zip(figure.axes, names, strict=True):
        if name != "intrinsic_dimension":
            assert axes.get_ylim() == pytest.approx(scaled["measures"][name]["scale"]["ends"]), name
    dashed = {
        n: sum(line.get_linestyle() == "--" for line in a.lines)
        for n, a in zip(names, figure.axes, strict=True)
    }
    assert dashed == {
        "anisotropy_standardised": 1,
        "anisotropy": 0,
        "class_separation": 1,
        "intrinsic_dimension": 0,
        "norm": 0,
    }
    labels = dict(zip(names, [axes.get_xlabel().replace("\n", " ") for axes in figure.axes], strict=True))
    assert "Dashed: random classes give 0.017" in labels["class_separation"]
    assert "Below the axis: evenly spread directions give 0" in labels["anisotropy"]
    (greyed,) = (axes for axes, name in zip(figure.axes, names, strict=True) if name == "intrinsic_dimension")
    assert [text.get_text().replace("\n", " ") for text in greyed.texts] == [
        "Not usable with so few rows (25): use at least 35."
    ]


@pytest.mark.parametrize(
    ("measure", "ends"),
    [
        (per_layer([0.5, 0.501]), (0.4755, 0.5255)),
        (per_layer([0.001, 0.002], "share of texts"), (0, 0.05)),
        (per_layer([10.0, 10.1], "number of dimensions"), (10.05 - 0.505, 10.05 + 0.505)),
        (per_layer([0.0, 0.0], "length of a vector"), (0, 0.05)),
        (per_layer([0.5, 0.5], low=[0.4, 0.4], high=[0.6, 0.6]), (0.2, 0.8)),
        (per_layer([0.5, 0.9], floor=[0.2, 0.2]), (0.2, 0.9)),
        (per_layer([0.5, 0.6], floor=[0.2, 0.2]), (0.5, 0.6)),
        (per_layer([math.nan, math.nan]), (0, 1)),
    ],
    ids=[
        "cosines",
        "shares from 0",
        "dimensions",
        "all zeros",
        "intervals",
        "floor",
        "floor too far",
        "nothing",
    ],
)
def test_where_axes_begin_and_end(measure: dict[str, Any], ends: tuple[float, float]) -> None:
    low, high = axis_ends(measure)
    margin = 0.0 if ends[1] == 1 else 0.07 * (ends[1] - ends[0])
    assert (low, high) == pytest.approx((ends[0] - margin, ends[1] + margin), abs=1e-9)


def test_ramps_of_results_without_floors() -> None:
    """Of an analysis.json that was written before there were floors."""
    old = {"values": [[1, 0.99], [0.99, 1]], "unit": "CKA", "alike": 1}
    assert ramp_ends(old) == pytest.approx((0.95, 1))
    assert ramp_ends({**old, "values": [[0, 0.3], [0.3, 0]], "alike": 0}) == (0.3, 0)
    assert ramp_ends({**old, "values": [[None] * 2] * 2, "alike": None}) == pytest.approx((0.95, 1))
    assert json.loads(json.dumps(with_scales({"layers": [], "measures": {}}))) == {
        "layers": [],
        "measures": {},
    }
    assert with_scales(None) is None
