"""The maps of the page in a real browser: what is drawn, of which layer, in which order, and what a reader can do."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser import Opened, browser
from layerwise.figures.page import page
from probe_results import probe_result

LAYERS = ["emb", "1", "2", "3"]
NEAR = 5
# The rarest comes first, so that it lies under the others when points are drawn in their order.
SIZES = {"rare": 6, "few": 20, "some": 80, "most": 294}
N = sum(SIZES.values())
LABELS = np.repeat(list(SIZES), list(SIZES.values()))
FINE = np.array([f"f{(i * i + i // 7) % 31:02}" for i in range(N)])
SCORES = np.round(np.sin(np.arange(N)) * 50, 1)


# --- what pages are made of -------------------------------------------------------------------------------


def category(name: str, values: np.ndarray[Any, Any]) -> dict[str, Any]:
    names = sorted(set(values))
    codes = np.array([names.index(value) for value in values], np.uint16)
    return {"name": name, "kind": "category", "values": names, "codes": codes}


def nearest(layer: int) -> np.ndarray[Any, Any]:
    """Neighbours of each point: two of the five are others with each layer."""
    return (np.arange(N)[:, None] + 47 * (1 + 2 * layer + np.arange(NEAR))) % N


def content(**changes: Any) -> dict[str, Any]:
    """Points on a grid that is turned from layer to layer; the first 100 lie on one spot."""
    side = np.stack(np.meshgrid(np.linspace(-0.9, 0.9, 20), np.linspace(-0.9, 0.9, 20)), axis=-1).reshape(
        -1, 2
    )
    side[:100] = side[105]
    turns = np.radians([0, 20, 40, 60]) * 0.3
    coords = np.stack([0.8 * side @ [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in turns])
    points = {
        "count": N,
        "of": N,
        "seed": 0,
        "method": "pca",
        "row": np.arange(N, dtype=np.uint32),
        "doc": np.arange(N, dtype=np.uint32),
        "coords": np.round(coords * 32767).astype(np.int16),
        "explained": np.full((4, 2), 0.25),
        "columns": [
            category("label", LABELS),
            category("fine", FINE),
            {"name": "score", "kind": "number", "values": np.where(np.arange(N) == 7, np.nan, SCORES)},
        ],
        "texts": [f"text number {i}" for i in range(N)],
        "clipped": [],
        "context": None,
        "span": None,
        "neighbours": {
            "k": NEAR,
            "points": np.stack([nearest(layer) for layer in range(4)]).astype(np.uint32),
            "cosines": np.full((4, N, NEAR), 100, np.int8),
        },
    }
    about = {
        "layers": LAYERS,
        "blocks": 3,
        "width": 8,
        "level": "text",
        "pool": "mean",
        "rows": N,
        "texts": N,
    }
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    alike = {"linear_cka": {"values": (1 - apart / 10).tolist(), "unit": "CKA", "source": "s", "alike": 1}}
    probe = probe_result(3)
    probe["advice"] = {"best": "2", "cheapest": "1", "differs": True, "text": "Take layer 2."}
    return {
        "title": "d",
        "about": about | {"tokens": 9, "truncated": 0, "bytes": 9, "dtype": "float16", "precision": "fp32"},
        "points": points,
        "probe": probe,
        "analysis": {"layers": LAYERS, "rows": 5, "of": 9, "seed": 4, "measures": alike, "notes": []},
        "tokens": [],
        "tokens_note": None,
        "versions": {},
        "notes": [],
    } | changes


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium


Show = Callable[..., Opened]


@pytest.fixture
def show(started: Any, tmp_path: Path) -> Iterator[Show]:
    tabs: list[Opened] = []

    def open_page(
        data: dict[str, Any] | None = None, lang: str = "en", first: int | None = 0, **options: Any
    ) -> Opened:
        """Open a page, with its map at the layer `first`, or, for `None`, at the one at which it opens."""
        file = tmp_path / f"page{len(tabs)}.html"
        file.write_bytes(page(data or content(), lang).encode())
        tabs.append(Opened(started, file, **({"reduced_motion": "reduce"} | options)))
        if first is not None:
            tabs[-1].tab.evaluate("(layer) => layerwise.slider.set(layer)", first)
        return tabs[-1]

    yield open_page
    for tab in tabs:
        tab.close()


# --- two layers side by side ------------------------------------------------------------------------------


def kinds(point: int, pair: tuple[int, int]) -> list[dict[int, str]]:
    """Kind of each neighbour of a point on both sides, by sets."""
    left, right = ({int(near) for near in nearest(layer)[point]} for layer in pair)
    return [
        {near: "kept" if near in right else "lost" for near in left},
        {near: "kept" if near in left else "gained" for near in right},
    ]


def rings(opened: Opened, of: str) -> dict[int, str]:
    """What was ringed last on a map, neighbours only."""
    opened.drawn()
    drawn = opened.tab.evaluate(f"{of}.ringed")
    return {ring["point"]: ring["kind"] for ring in drawn if ring["kind"] not in ("chosen", "hovered")}


@pytest.mark.parametrize(("lang", "wide"), [("en", 1440), ("zh", 360), ("en", 1920)])
def test_each_side_rings_the_neighbours_of_its_layer(show: Show, lang: str, wide: int) -> None:
    opened = show(lang=lang, wide=wide, high=900)
    point, pair = 205, (1, 2)
    opened.tab.evaluate("layerwise.scene.choose(205)")
    opened.tab.locator("#similarity .cell").nth(1 * 4 + 2).click()
    opened.tab.wait_for_selector("#pair-near .beside")
    expected = kinds(point, pair)
    assert {kind for side in expected for kind in side.values()} == {"kept", "lost", "gained"}
    for side in (0, 1):
        assert rings(opened, f"layerwise.sides[{side}]") == expected[side], f"side {side}"
        entries = opened.tab.locator(f"#pair-near .beside > :nth-child({side + 1}) li")
        listed = entries.evaluate_all("(all) => all.map((li) => [li.innerText, li.dataset.kind])")
        assert {int(re.findall(r"\d+$", text)[0]): kind for text, kind in listed} == expected[side]
    legend = opened.tab.locator("#pair-near .rings > span")
    told = {key.get_attribute("data-kind"): key.inner_text() for key in legend.all()}
    assert list(told) == ["kept", "lost", "gained"]
    for words, amount in zip(told.values(), [3, 2, 2], strict=True):
        assert str(amount) in re.findall(r"\d+", words), words
    outlines = legend.locator(".ring").evaluate_all("(all) => all.map((one) => one.getAttribute('points'))")
    assert len(set(outlines)) == 3, "kinds differ in shape"
    labels = opened.tab.locator("#pair-near li svg").evaluate_all(
        "(all) => all.map((one) => [one.closest('li').dataset.kind, one.getAttribute('aria-label')])"
    )
    assert len({tuple(pair) for pair in labels}) == 3, "each kind has words for screen readers"


def test_kinds_of_neighbours_have_outlines_of_their_own_on_the_map(show: Show) -> None:
    opened = show(color_scheme="light")
    opened.tab.evaluate("layerwise.scene.choose(205)")
    opened.tab.locator("#similarity .cell").nth(1 * 4 + 2).click()
    opened.tab.wait_for_selector("#pair-near .beside")
    opened.drawn()
    # Black at the corners that only the outline of a square, or of a triangle, has.
    script = """(side) => { const map = layerwise.sides[side];
      const pen = map.canvas.getContext("2d"); const reach = 1.1 * (map.radius / map.ratio + 3);
      const { data, width } = pen.getImageData(0, 0, map.canvas.width, map.canvas.height);
      const dark = (x, y) => [-1, 0, 1].some((down) => [-1, 0, 1].some((right) => {
        const at = 4 * (Math.round(y * map.ratio + down) * width + Math.round(x * map.ratio + right));
        return data[at] + data[at + 1] + data[at + 2] < 200; }));
      return map.ringed.filter((ring) => RINGED.includes(ring.kind)).map(({ kind, x, y }) =>
        [kind, dark(x - reach, y - reach), dark(x, y - 1.3 * reach)]); }"""
    script = script.replace("RINGED", "['kept', 'lost', 'gained']")
    marks = [tuple(mark) for side in (0, 1) for mark in opened.tab.evaluate(script, side)]
    assert set(marks) == {("kept", False, False), ("lost", True, False), ("gained", False, True)}


@pytest.mark.parametrize(
    ("advice", "pair"),
    [
        ({"best": "2", "cheapest": "1"}, ("2", "3")),
        ({"best": "mean(emb,1)", "cheapest": "emb"}, ("1", "3")),
        ({"best": "learned(emb,1,2,3)", "cheapest": "2"}, ("2", "3")),
        ({"best": "3", "cheapest": "3"}, ("emb", "3")),  # the single layer with the next highest score
        (None, ("1", "3")),  # no probe: a middle layer
    ],
)
def test_the_advised_layer_stands_beside_the_last(
    show: Show, advice: dict[str, Any] | None, pair: tuple[str, str]
) -> None:
    probe = probe_result(3)
    scores = {"emb": 0.7, "1": 0.6, "2": 0.5, "3": 0.4}
    if pair == ("emb", "3"):
        for candidate in probe["candidates"]:
            candidate["score"] = scores.get(candidate["mix"], 0.1)
    probe["advice"] = {"differs": True, "text": "Take it."} | (advice or {})
    opened = show(content(probe=None if advice is None else probe))
    opened.tab.locator("#compare-open").click()
    assert [opened.text(f"#caption-{side}") for side in (0, 1)] == [f"layer {name}" for name in pair]
    # At every layer the chosen point's neighbours are compared with those of another.
    opened.tab.evaluate("layerwise.scene.choose(205)")
    for layer in range(4):
        opened.tab.evaluate("(layer) => layerwise.slider.set(layer)", layer)
        opened.wait(
            "(name) => [...document.querySelectorAll('#chosen h4')].some((one) => one.textContent === name)",
            f"layer {LAYERS[layer]}",
        )
        left, right = opened.tab.locator("#chosen h4").all_inner_texts()
        assert left != right, "a layer beside itself"
        options = opened.tab.locator("#near-other option").all_inner_texts()
        assert f"layer {LAYERS[layer]}" not in options


def test_no_layer_stands_beside_itself(show: Show) -> None:
    opened = show()

    def captions() -> list[str]:
        return [opened.text(f"#caption-{side}") for side in (0, 1)]

    opened.tab.locator("#similarity .cell").nth(1 * 4 + 1).click()
    assert captions() == ["layer 1", "layer 3"]
    opened.tab.select_option("#side-0", label="layer 3")
    assert captions() == ["layer 3", "layer 1"], "the sides change places"
    assert opened.tab.locator("#side-1").input_value() == "1"
    opened.tab.locator("#similarity .cell").nth(3 * 4 + 3).click()
    assert captions() == ["layer 2", "layer 3"]


# --- colours, shapes and the order of drawing -------------------------------------------------------------


def counted(opened: Opened) -> list[tuple[str, int]]:
    keys = opened.tab.locator("#legend button.key").all_inner_texts()
    return [(" ".join(key.split()[:-1]), int(key.split()[-1])) for key in keys]


def marks(opened: Opened) -> list[tuple[tuple[int, ...], str]]:
    """Colour and outline of each class in the legend."""
    shapes = opened.tab.locator("#legend .key polygon").evaluate_all(
        "(all) => all.map((one) => [one.getAttribute('fill'), one.getAttribute('points')])"
    )
    return [(tuple(map(int, re.findall(r"\d+", fill))), outline) for fill, outline in shapes]


def linear(colour: tuple[int, ...]) -> np.ndarray[Any, Any]:
    part = np.array(colour[:3]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """As WCAG 2.2 defines it."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


# What people without one kind of cones see, in linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
VISION = {
    "normal": np.eye(3).tolist(),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def difference(a: tuple[int, ...], b: tuple[int, ...], vision: str) -> float:
    """CIE 1976 difference of two colours as somebody sees them."""

    def lab(colour: tuple[int, ...]) -> np.ndarray[Any, Any]:
        seen = np.clip(np.array(VISION[vision]) @ linear(colour), 0, 1)
        to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        x, y, z = (np.array(to_xyz) @ seen) / [0.9505, 1, 1.089]
        f = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    return float(np.linalg.norm(lab(a) - lab(b)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_class_has_a_mark_that_all_can_tell_apart(show: Show, scheme: str) -> None:
    opened = show(color_scheme=scheme)
    ground = tuple(opened.tab.evaluate("[0, 8, 16].map((shift) => (layerwise.scene.paper >> shift) & 255)"))
    for column in ("label", "fine"):
        opened.tab.select_option("#colour", label=column)
        shown = marks(opened)
        assert len(set(shown)) == len(shown), "two classes have the same mark"
        for colour, _ in shown:
            assert contrast(colour, ground) >= 3, f"{colour} on {ground}"
        for (a, outline), (b, other) in itertools.combinations(shown, 2):
            for vision in VISION:
                assert outline != other or difference(a, b, vision) >= 15, f"{a} and {b}, {vision}"
        saturation = [max(colour) - min(colour) for colour, _ in shown[:-1]]
        loud = [value for value in saturation[1:] if value > saturation[0]]
        assert len(loud) >= len(saturation[1:]) * 0.6, "the most frequent class is loud"
    opened.tab.select_option("#colour", label="score")
    ramp = opened.tab.evaluate("layerwise.scene.marks.map(({ colour }) => colour)")
    assert len(ramp) == 65
    assert min(contrast(tuple(colour), ground) for colour in ramp) >= 3
    assert opened.text("#legend .key").split() == ["no", "value", "1"], "crosses are in the legend"


def test_classes_are_drawn_in_turns_with_rare_ones_on_top(show: Show) -> None:
    opened = show(color_scheme="light")
    drawn = LABELS[opened.tab.evaluate("[...layerwise.scene.passes].flatMap((pass) => [...pass])")]
    assert len(drawn) == N
    for name, size in SIZES.items():
        first = int(np.flatnonzero(drawn == name)[0])
        for other in SIZES:
            over = int((drawn[first:] == other).sum())
            assert other == name or over <= size, f"{over} of {other} lie over {name}, which has {size}"
    # 100 points lie on one spot: the rarest class is seen there, in the colour of its legend.
    opened.drawn()
    seen = opened.tab.evaluate(
        "() => { const { map } = layerwise; const at = [map.where[0], map.where[1]].map(Math.floor);"
        " return [...map.canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3); }"
    )
    names = [name for name, _ in counted(opened)]
    assert tuple(seen) == marks(opened)[names.index("rare")][0]


def test_the_reader_chooses_which_of_many_classes_have_a_mark(show: Show) -> None:
    opened = show()
    opened.tab.select_option("#colour", label="fine")
    names, sizes = np.unique(FINE, return_counts=True)
    before = dict(counted(opened))
    others = [name for name in names if name not in before]
    assert len(names) > 16
    assert f"{len(others)} others" in before
    assert sum(before.values()) == N
    wanted = str(others[-1])
    options = opened.tab.locator("#others option").evaluate_all("(all) => all.map((one) => one.label)")
    assert {option.split(" ")[0] for option in options[1:]} == set(others)
    opened.tab.select_option("#others", label=next(one for one in options if one.startswith(wanted)))
    after = dict(counted(opened))
    assert after[wanted] == dict(zip(names, sizes, strict=True))[wanted]
    assert sum(after.values()) == N
    assert len(after) == len(before)
    assert next(iter(after)) == next(iter(before))
    code = sorted(set(FINE)).index(wanted)
    drawn = opened.tab.evaluate(
        "(code) => { const { scene } = layerwise; const at = scene.grouped.groups.findIndex((g) => g.code === code);"
        " return [...scene.of].flatMap((group, i) => (group === at && scene.ink[i] ? [i] : [])); }",
        code,
    )
    assert drawn == np.flatnonzero(wanted == FINE).tolist()
    opened.tab.click("#hide-all")
    assert opened.tab.evaluate("layerwise.scene.passes.every((pass) => !pass.length)")
    opened.tab.locator("#legend button.key", has_text=wanted).click()
    shown = opened.tab.evaluate("[...layerwise.scene.passes[1]].sort((a, b) => a - b)")
    assert shown == np.flatnonzero(wanted == FINE).tolist(), "one class stands alone"


# --- what is chosen follows what is shown -----------------------------------------------------------------


def rectangle(opened: Opened) -> list[int]:
    """Draw a rectangle around the upper half of the map, and return the points in it."""
    box = opened.tab.locator("#map canvas").bounding_box()
    assert box
    keys, mouse = opened.tab.keyboard, opened.tab.mouse
    opened.tab.locator("#map canvas").scroll_into_view_if_needed()
    box = opened.tab.locator("#map canvas").bounding_box()
    assert box
    keys.down("Shift")
    mouse.move(box["x"] + 5, box["y"] + 5)
    mouse.down()
    mouse.move(box["x"] + box["width"] - 5, box["y"] + 0.45 * box["height"], steps=3)
    mouse.up()
    keys.up("Shift")
    opened.tab.wait_for_selector("#boxed .list")
    inside: list[int] = opened.tab.evaluate(
        "() => { const { map } = layerwise; const top = 0.45 * map.canvas.height;"
        " return [...Array(map.scene.n).keys()].filter((i) => map.where[2 * i + 1] <= top); }"
    )
    return inside


def held_counts(opened: Opened) -> dict[str, str]:
    names, words = (opened.tab.locator(f"#boxed .values {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return {name.strip(): text for name, text in zip(names, words, strict=True)}


def test_a_rectangle_is_counted_anew_when_the_column_changes(show: Show) -> None:
    opened = show(wide=1440, high=900)
    inside = rectangle(opened)
    assert 0 < len(inside) < N

    def expected(names: np.ndarray[Any, Any]) -> dict[str, int]:
        values, sizes = np.unique(names[inside], return_counts=True)
        return dict(zip(values.tolist(), sizes.tolist(), strict=True))

    def numbers() -> dict[str, int]:
        return {name: int(words.split()[0]) for name, words in held_counts(opened).items()}

    assert numbers() == expected(LABELS)
    opened.tab.select_option("#colour", label="fine")
    opened.wait("[...document.querySelectorAll('#boxed dt')].some((one) => /f\\d\\d/.test(one.textContent))")
    listed = numbers()
    fine = expected(FINE)
    own = {name: n for name, n in listed.items() if name in fine}
    assert own == {name: fine[name] for name in own}
    assert sum(listed.values()) == len(inside)
    opened.tab.select_option("#colour", label="score")
    opened.wait("document.querySelectorAll('#boxed dt').length < 5")
    known = SCORES[[i for i in inside if i != 7]]
    shown = [float(words.replace("−", "-").split()[0]) for words in list(held_counts(opened).values())[:3]]
    assert shown == pytest.approx([known.min(), np.median(known), known.max()], abs=0.06)
    # Classes that the legend hides aren't counted, and it says how many there are.
    opened.tab.select_option("#colour", label="label")
    opened.tab.locator("#legend button.key", has_text="most").click()
    opened.wait(
        "![...document.querySelectorAll('#boxed dt')].some((one) => one.textContent.includes('most'))"
    )
    counts = expected(LABELS)
    hidden = counts.pop("most")
    assert numbers() == counts
    assert f"{hidden} more are hidden" in opened.text("#boxed")
    # A rectangle belongs to the layer at which it was drawn.
    opened.tab.evaluate("layerwise.slider.set(2)")
    assert f"{len(inside) - hidden} in the rectangle drawn at layer emb" in opened.text("#boxed")
    opened.tab.keyboard.press("Escape")
    opened.tab.select_option("#colour", label="fine")
    opened.drawn()
    assert not opened.tab.locator("#boxed").is_visible(), "what was cleared doesn't come back"


def test_lists_have_the_marks_of_the_column_and_of_the_theme(show: Show) -> None:
    opened = show(color_scheme="light")
    opened.tab.fill("#search", "number 20")
    opened.tab.wait_for_selector("#hits button")
    opened.tab.evaluate("layerwise.scene.choose(205)")
    opened.tab.wait_for_selector("#chosen .beside")
    opened.tab.locator("#compare-open").click()
    opened.tab.wait_for_selector("#pair-near .beside")
    rectangle(opened)
    script = """() => { const { scene } = layerwise; const wrong = [];
      const fill = (point) => `rgb(${scene.marks[scene.of[point]].colour})`;
      for (const one of document.querySelectorAll("#hits .entry, #chosen .entry, #pair-near .entry, #boxed .entry")) {
        const point = Number(one.textContent.match(/number (\\d+)/)[1]);
        const marked = one.querySelector("polygon:not(.ring)").getAttribute("fill");
        if (marked !== fill(point)) wrong.push([one.closest("[id]").id, point, marked]);
      }
      return wrong; }"""
    entries = opened.tab.locator("#hits .entry, #chosen .entry, #pair-near .entry, #boxed .entry")
    assert entries.count() > 40
    before = entries.first.locator("polygon").get_attribute("fill")
    for column in ("fine", None, "score"):
        if column is None:
            opened.tab.click("#theme")
        else:
            opened.tab.select_option("#colour", label=column)
        opened.drawn()
        assert opened.tab.evaluate(script) == []
    assert entries.first.locator("polygon").get_attribute("fill") != before


def test_rings_follow_the_layer_of_the_slider(show: Show) -> None:
    opened = show()
    opened.tab.evaluate("layerwise.scene.choose(205)")
    for layer in (0, 2, 3):
        opened.tab.evaluate("(layer) => layerwise.slider.set(layer)", layer)
        opened.wait("document.querySelectorAll('#chosen li').length === 10")
        other = 2 if layer == 3 else 3
        pair = (min(layer, other), max(layer, other))
        assert rings(opened, "layerwise.map") == kinds(205, pair)[pair.index(layer)], f"layer {layer}"


def test_what_is_hovered_goes_when_points_move_away(show: Show) -> None:
    opened = show()
    opened.tab.mouse.move(*opened.place(205))
    opened.tab.wait_for_selector("#tip:not([hidden])")
    opened.tab.keyboard.press("ArrowRight")
    opened.drawn()
    assert not opened.tab.locator("#tip").is_visible()
    assert opened.tab.evaluate("layerwise.map.ringed") == []
    opened.tab.locator("#compare-open").click()
    box = opened.tab.locator("#compare canvas").first
    box.scroll_into_view_if_needed()
    x, y = opened.tab.evaluate(
        "() => { const map = layerwise.sides[0]; const box = map.canvas.getBoundingClientRect();"
        " return [0, 1].map((axis) => map.where[410 + axis] / map.ratio + [box.x, box.y][axis]); }"
    )
    opened.tab.mouse.move(x, y)
    opened.wait("layerwise.sides[1].ringed.length === 1")
    opened.tab.mouse.move(2, 2)
    opened.wait("layerwise.sides.every((map) => map.ringed.length === 0)")


def test_a_late_answer_of_the_server_does_not_replace_a_newer_one(show: Show) -> None:
    opened = show()
    opened.tab.locator("#compare-open").click()
    opened.tab.evaluate(
        "() => { const { source } = layerwise.scene; window.late = {};"
        " for (const name of ['neighbours', 'text', 'shared']) { const ask = source[name].bind(source);"
        " source[name] = (...query) => window.late[name] ? new Promise((done) => "
        " window.late[name].push(() => done(ask(...query)))) : ask(...query); } }"
    )
    slow = "() => { for (const name of ['neighbours', 'text', 'shared']) window.late[name] = []; }"
    quick = "() => { const all = Object.values(window.late).flat(); window.late = {}; window.answers = all; }"
    opened.tab.evaluate(slow)
    opened.tab.evaluate("layerwise.scene.choose(210)")
    opened.tab.select_option("#side-0", label="layer emb")
    opened.tab.evaluate(quick)
    opened.tab.evaluate("layerwise.scene.choose(205)")
    opened.tab.select_option("#side-0", label="layer 1")
    opened.tab.wait_for_selector("#pair-near .beside")
    pair = opened.text("#pair")
    opened.tab.evaluate("answers.forEach((answer) => answer())")
    opened.drawn()
    assert "text number 205" in opened.text("#pair-near .chosen-here")
    assert opened.text("#pair") == pair
    for side, expected in enumerate(kinds(205, (1, 3))):
        assert rings(opened, f"layerwise.sides[{side}]") == expected


# --- the page around the map ------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_wheel_scrolls_the_page_and_zooms_with_ctrl(show: Show, lang: str) -> None:
    opened = show(lang=lang, wide=1440, high=900)
    opened.tab.locator("#compare-open").click()
    keys, mouse = opened.tab.keyboard, opened.tab.mouse
    for canvas, name in (("#map canvas", "layerwise.map"), ("#compare canvas", "layerwise.sides[0]")):
        opened.tab.locator(canvas).first.scroll_into_view_if_needed()
        opened.tab.locator(canvas).first.hover()
        for way in (-1, 1):
            before = opened.tab.evaluate("scrollY")
            mouse.wheel(0, 120 * way)
            opened.wait(f"(before) => Math.sign(scrollY - before) === {way}", before)
            assert opened.tab.evaluate(f"{name}.view.zoom") == 1, "the wheel alone scrolls"
        opened.tab.locator(canvas).first.hover()
        for key, way in (("Control", -1), ("Meta", 1)):
            before, zoom = opened.tab.evaluate(f"[scrollY, {name}.view.zoom]")
            keys.down(key)
            mouse.wheel(0, 120 * way)
            opened.wait(f"(zoom) => Math.sign(zoom - {name}.view.zoom) === {way}", zoom)
            keys.up(key)
            assert opened.tab.evaluate("scrollY") == before, "zooming doesn't scroll"
    assert re.search("ctrl", opened.text("#map .hint"), re.IGNORECASE)
    assert "⌘" in opened.text("#map .hint")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_layers_can_be_changed_without_scrolling(show: Show, lang: str) -> None:
    data = content()
    data["probe"]["advice"]["text"] = "A sentence that is long enough to take two lines of the advice. " * 3
    opened = show(data, lang=lang, wide=1440, high=900)
    bottom = "(id) => document.querySelector(id).getBoundingClientRect().bottom"
    for name in ("#layer", "#play", "#layer-name"):
        assert opened.tab.evaluate(bottom, name) <= 900, f"{name} is below the fold"
    assert opened.tab.evaluate("scrollY") == 0
    top = opened.tab.evaluate("document.querySelector('#map canvas').getBoundingClientRect().top")
    assert top <= 700, "of the map itself too little is in view"


@pytest.mark.parametrize(("wide", "high"), [(360, 740), (1440, 900), (1920, 1080)])
def test_the_slider_stays_in_view_beside_the_map(show: Show, wide: int, high: int) -> None:
    opened = show(wide=wide, high=high)
    opened.tab.evaluate("document.querySelector('.slider').scrollIntoView({ behavior: 'instant' })")
    box = "(id) => { const { top, bottom } = document.querySelector(id).getBoundingClientRect(); return [top, bottom]; }"
    assert opened.tab.evaluate(box, "#map canvas")[1] <= high, "slider and map fit in the window"
    opened.tab.mouse.move(wide / 2, high / 2)
    opened.tab.evaluate("scrollBy({ top: 200, behavior: 'instant' })")
    top, bottom = opened.tab.evaluate(box, "#layer")
    assert 0 <= top < bottom <= high, "the slider scrolls away while the map is in view"
    opened.tab.locator("#layer").press("ArrowRight")
    opened.wait("layerwise.scene.at === 1")
    assert opened.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


# --- where the map begins ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("advice", "layer"),
    [
        ({"best": "2", "cheapest": "1"}, "2"),
        ({"best": "mean(emb,1)", "cheapest": "emb"}, "1"),
        ({"best": "learned(emb,1,2,3)", "cheapest": "2"}, "3"),
        ({"best": "1", "cheapest": "1", "recommended": False}, "3"),
        (None, "3"),
    ],
)
@pytest.mark.parametrize(("lang", "word"), [("en", "layer"), ("zh", "层")])
def test_the_map_opens_at_the_advised_layer_or_else_at_the_last(
    show: Show, advice: dict[str, Any] | None, layer: str, lang: str, word: str
) -> None:
    probe = probe_result(3)
    probe["advice"] = {"differs": True, "text": "Take it."} | (advice or {})
    opened = show(content(probe=None if advice is None else probe), lang, first=None)
    assert opened.text("#layer-name") == f"{word} {layer}"
    assert opened.tab.locator("#layer").input_value() == str(LAYERS.index(layer))
    opened.wait("(layer) => layerwise.map.coords[layer] !== undefined", LAYERS.index(layer))


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(("wide", "high"), [(320, 740), (360, 740), (1440, 900), (1920, 1080)])
def test_nothing_lies_on_the_map(show: Show, wide: int, high: int, lang: str) -> None:
    opened = show(lang=lang, wide=wide, high=high)
    opened.tab.locator("#map canvas").scroll_into_view_if_needed()
    covered = opened.tab.evaluate(
        """() => {
            const map = document.querySelector('#map canvas').getBoundingClientRect();
            const over = (box) => Math.min(box.right, map.right) - Math.max(box.left, map.left) > 1
                && Math.min(box.bottom, map.bottom) - Math.max(box.top, map.top) > 1;
            return [...document.querySelectorAll('#map .tools, #map .tools button, #legend, #search')]
                .filter((node) => over(node.getBoundingClientRect())).map((node) => node.outerHTML.slice(0, 80));
        }"""
    )
    assert covered == []
    assert opened.tab.locator("#map .tools button").count() == 4
