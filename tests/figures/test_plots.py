"""What results look like as figures: everything in its place, nothing over anything else, nothing cut off."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import layerwise as lw
from contrast import contrast
from layerwise.errors import OutputError, RequestError
from layerwise.figures import groups
from layerwise.figures.canvas import lay_out, readable_on, write
from layerwise.figures.plots import directions, geometry, heatmap, layer_curve, projection, save, weights
from layerwise.figures.probe_axis import score_range
from layerwise.wording import measure_name
from probe_results import BASELINES, bare_result, probe_result
from selection import few_of

UNITS = {"norm": "length of a vector", "curvature": "radians", "anisotropy": "mean cosine of two rows"}
UNITS |= {"intra_text_similarity_adjusted": "mean cosine with the text's mean, minus anisotropy"}
DEPTHS = [1, 2, 7, 25, pytest.param(49, marks=pytest.mark.slow)]


def boxes(figure: Figure) -> list[Any]:
    """The extents of all words on the axes, in pixels, once laid out."""
    figure.draw_without_rendering()
    axes = figure.axes[0]
    texts = list(axes.texts)
    # A turned label's box holds its neighbours' corners; upright words are what can be compared.
    texts += [t for t in axes.get_xticklabels() if t.get_rotation() == 0]
    # Text's own: an annotation's holds its arrow too.
    return [Text.get_window_extent(t) for t in texts if t.get_text()]


@pytest.mark.parametrize("blocks", [6, 24, 48])
@pytest.mark.parametrize("control", [False, True])
def test_no_words_overlap_or_leave_the_page(blocks: int, control: bool) -> None:
    figure = layer_curve(probe_result(blocks, control))
    legend = figure.axes[0].get_legend()
    assert legend is not None
    found = boxes(figure)
    for i, box in enumerate(found):
        assert not any(box.overlaps(other) for other in found[i + 1 :])
    for box in (*found, legend.get_window_extent()):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height


def drawn(figure: Figure, marker: str) -> list[tuple[float, float]]:
    """The points drawn one at a time with a marker, from left to right."""
    lines = [line for line in figure.axes[0].lines if line.get_marker() == marker]
    data = [
        (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), line.get_markersize()) for line in lines
    ]
    return sorted((float(x[0]), float(y[0])) for x, y, size in data if len(x) == 1 and size == 5)


def test_the_figure_shows_every_score_in_its_place() -> None:
    result = probe_result()
    figure = layer_curve(result)
    axes = figure.axes[0]
    scores = {c["mix"]: c["score"] for c in result["candidates"]}
    layers = ["emb", *map(str, range(1, 7))]
    assert drawn(figure, "o") == [(i, scores[name]) for i, name in enumerate(layers)]
    mixes = [mix for mix in scores if mix not in layers]
    assert drawn(figure, "s") == [(8 + i, scores[mix]) for i, mix in enumerate(mixes)]
    assert drawn(figure, "D") == [(11, 0.835)]
    ticks = [t.get_text() for t in axes.get_xticklabels()]
    assert ticks == [*layers, "mean(0:7)", "concat(0:7)", "learned(0:7)", "choosing the highest"]
    ends = {tuple(np.asarray(line.get_ydata()).tolist()) for line in axes.lines}
    for item in [*result["candidates"], result["chosen"]]:
        assert (item["low"], item["high"]) in ends
    for name, item in BASELINES.items():
        far_below = name in ("majority", "shuffled_labels")
        assert far_below or item["low"] is None or (item["low"], item["high"]) in ends
    low, high = axes.get_ylim()
    assert 0.7 < low < min(c["low"] for c in result["candidates"]), "the axis is that of the candidates"
    assert [float(np.asarray(line.get_ydata())[0]) for line in axes.lines if line.get_marker() == "v"] == [
        low,
        low,
    ]
    assert high > max(c["high"] for c in result["candidates"])
    assert "accuracy (share of rows" in axes.get_ylabel()
    names = " ".join(t.get_text() for t in axes.texts)
    for baseline in ("majority (chance) 0.51 ↓", "bag of words 0.81", "shuffled labels 0.50 ↓"):
        assert baseline in names


def test_hollow_is_what_a_test_tells_from_the_best() -> None:
    result = probe_result()
    result["candidates"][2]["p_vs_best"] = 0.0  # the best itself is never hollow
    figure = layer_curve(result)
    lines = [
        line for line in figure.axes[0].lines if line.get_marker() in "os" and line.get_markersize() < 10
    ]
    hollow = {
        float(np.asarray(line.get_ydata())[0])
        for line in lines
        if line.get_markerfacecolor() == "white" and len(np.asarray(line.get_xdata()))
    }
    told = {c["score"] for i, c in enumerate(result["candidates"]) if c["p_vs_best"] < 0.05 and i != 2}
    assert hollow == told


def test_nulls_and_bare_results_are_drawn() -> None:
    figure = layer_curve(bare_result())
    assert drawn(figure, "s") == [(0, -0.25)]
    nothing = bare_result()
    nothing["candidates"][0]["score"] = None
    layer_curve(nothing)
    layer_curve(json.loads(json.dumps(probe_result())))


def test_any_label_can_be_drawn() -> None:
    result = probe_result() | {"label": "标签 $x^ \U0001f9a5\n\x00"}
    result["baselines"]["标签 $"] = 0.6
    figure = layer_curve(result)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_title().get_text().startswith("标签 $x^ \U0001f9a5\\u000a\\u0000: classification")


def test_a_figure_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    first = save(layer_curve(probe_result()), tmp_path / "probe.v1")
    assert [path.name for path in first] == ["probe.v1.svg", "probe.v1.png"]
    with mpl.rc_context({"font.size": 20, "savefig.dpi": 30, "svg.fonttype": "none"}):
        second = save(layer_curve(probe_result()), str(tmp_path / "again"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"<dc:date>" not in first[0].read_bytes()
    assert first[1].read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't be written"):
        save(layer_curve(bare_result()), tmp_path / "nowhere" / "probe")


def test_settings_of_matplotlib_that_cannot_be_read(
    tmp_path: Path,
) -> None:
    """It reads those in the current folder, whosever it is; a probe of hours ended in a traceback."""
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe")
    code = (
        "from layerwise.figures.canvas import page\nfrom layerwise.errors import RequestError\n"
        "try:\n    page(1, 1).__enter__()\nexcept RequestError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(lw.__file__).parents[1])},
    )
    assert done.stdout.startswith("matplotlib can't be started: 'utf-8' codec can't decode"), done.stderr
    assert done.stdout.endswith(
        "check that its settings file is readable text (matplotlibrc, in the current folder or in your own)\n"
    )


def test_without_matplotlib_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    calls: list[Callable[[], object]] = [
        lambda: layer_curve(probe_result()),
        lambda: weights(weighed(3)),
        lambda: heatmap(analysis(3)),
    ]
    calls += [lambda: geometry(analysis(3)), lambda: projection(scattered(1, 2), ["1"], ["a", "b"])]
    for call in calls:
        with pytest.raises(RequestError, match=r"pip install 'layerwise\[plots\]'"):
            call()


def test_no_global_state_is_touched() -> None:
    # Reading rcParams["backend"] would itself import pyplot, so all but that are compared.
    code = (
        "import sys; import layerwise.figures.plots as p; assert 'matplotlib' not in sys.modules; import matplotlib;"
        "read = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'};"
        "before = read();"
        "p.layer_curve({'task': 't', 'label': 'l', 'metric': 'm', 'candidates': [], 'advice': {}});"
        "assert read() == before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def layer_names(count: int) -> list[str]:
    return ["emb", *map(str, range(1, count))]


def analysis(count: int, *, null: bool = False) -> dict[str, Any]:
    """An analysis as `analysis.json` holds it: layer 2 isn't defined, if there is one, or nothing is."""
    empty = set(range(count)) if null else {2}
    steps = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) / count
    matrices = {
        "linear_cka": 1 - steps,
        "procrustes": steps * 1.7,
        "pwcca": 1 - steps - np.triu(steps, 1) / 9,
    }

    def cleared(values: Any) -> list[Any]:
        return [None if i in empty else v for i, v in enumerate(values)]

    measures: dict[str, dict[str, Any]] = {}
    for place, (name, unit) in enumerate(UNITS.items()):
        values = 10.0**place * (2 + np.sin(np.arange(count)))
        measures[name] = {"values": cleared(values.tolist()), "unit": unit, "source": "s"}
        if place:
            ends = {end: cleared((values * by).tolist()) for end, by in (("low", 0.9), ("high", 1.1))}
            measures[name] |= ends
    for name, matrix in matrices.items():
        rows = [[None] * count if i in empty else cleared(row) for i, row in enumerate(matrix.tolist())]
        unit, alike = ("d²", 0) if name == "procrustes" else ("CKA", 1)
        measures[name] = {"values": rows, "unit": unit, "source": "s", "alike": alike}
    return {"layers": layer_names(count), "rows": 2000, "of": 25000, "measures": measures}


def weighed(count: int) -> dict[str, Any]:
    result = probe_result(max(1, count - 1))
    layers = layer_names(count)
    value = {"value": 1 / count, "low": 0.5 / count, "high": 2 / count}
    result["learned"] = {
        "mix": f"learned({','.join(layers)})",
        "weights": {name: dict(value) for name in layers},
        "logit_variance": {name: dict(value) for name in layers},
        "left_out": {name: {"value": 0.7, "difference": {**value, "low": -0.1}} for name in layers},
        "metric": "accuracy",
    }
    return result


def scattered(count: int, points: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, points, 2))


def all_words(figure: Figure) -> list[Text]:
    """Every word on the page that is seen."""
    unseen = set()  # ticks beyond the ends of their axis
    for axis in figure.findobj(Axis):
        assert isinstance(axis, Axis)
        low, high = sorted(axis.get_view_interval())
        beyond = [t for t in axis.get_major_ticks() if not low - 1e-9 <= t.get_loc() <= high + 1e-9]
        unseen |= {label for tick in beyond for label in (tick.label1, tick.label2)}
    found = [t for t in figure.findobj(Text) if t.get_text().strip()]
    return [t for t in found if t.get_visible() and t not in unseen]


def check_words(figure: Figure) -> None:
    """No words overlap, and none leave the page."""
    figure.draw_without_rendering()
    shown = [(t.get_text(), t.get_window_extent()) for t in all_words(figure)]
    for place, (text, box) in enumerate(shown):
        assert -1 <= box.x0 <= box.x1 <= figure.bbox.width + 1, f"{text!r} leaves the page"
        assert -1 <= box.y0 <= box.y1 <= figure.bbox.height + 1, f"{text!r} leaves the page"
        for other, its in shown[place + 1 :]:
            assert not box.padded(-0.5).overlaps(its.padded(-0.5)), f"{text!r} lies on {other!r}"


def words_of(figure: Figure) -> str:
    return "\n".join(t.get_text() for t in all_words(figure))


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("count", few_of(DEPTHS[:-1], 1, 2, 7))
def test_no_words_of_an_analysis_overlap(count: int, null: bool) -> None:
    result = analysis(count, null=null)
    for figure in (*(heatmap(result, name) for name in ("linear_cka", "pwcca")), geometry(result)):
        check_words(figure)
    check_words(geometry(result, "curvature"))


@pytest.mark.parametrize("count", few_of(DEPTHS[:-1], 1, 2, 7))
def test_no_words_of_a_learned_mix_or_of_projections_overlap(count: int) -> None:
    check_words(weights(weighed(count)))
    layers, share = layer_names(count), [[0.31, 0.126]] * count
    labels = [f"a class with a long name {i % 11}" for i in range(60)]
    check_words(
        projection(scattered(count, 60), layers, labels, title="reviews.lw", explained=share, name="label")
    )
    check_words(projection(scattered(count, 60), layers, np.arange(60.0), name="stars"))


def test_what_a_user_reads_is_what_results_hold() -> None:
    class Result:
        def to_json(self) -> dict[str, Any]:
            return weighed(7) | analysis(7)

    result = Result()
    assert words_of(heatmap(result)) == words_of(heatmap(analysis(7)))
    assert words_of(geometry(result)) == words_of(geometry(analysis(7)))
    assert words_of(weights(result)) == words_of(weights(weighed(7)))
    assert words_of(layer_curve(result)) == words_of(layer_curve(weighed(7) | {"rows": 2000}))


def cells_of(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.axes[0].texts]


def test_cells_hold_their_numbers_where_they_fit() -> None:
    result = analysis(3)
    assert cells_of(heatmap(result)) == ["1.00", ".67", ".67", "1.00"]
    assert cells_of(heatmap(result, "procrustes")) == [".00", ".57", ".57", ".00"]
    assert len(cells_of(heatmap(analysis(25)))) == 24 * 24
    assert cells_of(heatmap(analysis(49))) == []
    result["measures"]["linear_cka"]["values"] = [[-0.001, -0.25, -1], [12.34, 123.4, 1e-9], [0.999, 1, None]]
    assert cells_of(heatmap(result)) == [".00", "−.25", "−1.00", "12.3", "123", ".00", "1.00", "1.00"]


def test_a_matrix_says_what_its_sides_and_colours_are() -> None:
    axes = heatmap(analysis(7)).axes[0]
    (bar,) = axes.child_axes
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == (
        *["layer, by depth"] * 2,
        "linear CKA",
    )
    assert [t.get_text() for t in axes.get_xticklabels()] == layer_names(7)
    assert [t.get_text() for t in axes.get_yticklabels()] == layer_names(7)
    axes = heatmap(analysis(7), "pwcca").axes[0]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("first of the pair", "second of the pair")
    figure = heatmap(analysis(7), "procrustes")
    axes = figure.axes[0]
    assert figure.axes[0].child_axes[0].get_ylabel() == "Procrustes distance (d²)"
    assert axes.get_ylim() == (7, 0), "the first layer is on top"
    mesh = axes.collections[0]
    values: Any = np.ma.masked_invalid(np.asarray(mesh.get_array(), float)).reshape(7, 7)
    assert values[0, 6] == pytest.approx(1.7 * 6 / 7)
    assert values.mask[2].all()


def test_brighter_is_more_alike() -> None:
    for name in ("linear_cka", "procrustes"):
        mesh = heatmap(analysis(7), name).axes[0].collections[0]
        colours = mesh.to_rgba(np.asarray(mesh.get_array()).reshape(7, 7))
        assert colours[0, 0, :3].sum() > colours[0, 6, :3].sum()


@pytest.mark.parametrize("measure", ["linear_cka", "procrustes", "pwcca"])
def test_every_number_of_a_matrix_can_be_read_on_its_cell(measure: str) -> None:
    """At least 4.5, as WCAG asks for text of this size; with a threshold on lightness it was 3.3 at worst."""
    axes = heatmap(analysis(25), measure).axes[0]
    colours = np.asarray(axes.collections[0].get_facecolor()).reshape(25, 25, 4)
    for text in axes.texts:
        column, row = (int(at) for at in text.get_position())
        ratio = contrast(to_rgb(text.get_color()), colours[row, column, :3].tolist())
        assert ratio >= 4.5, f"{text.get_text()} at row {row}, column {column} has a contrast of {ratio:.2f}"


def test_black_or_white_can_be_read_on_every_colour() -> None:
    parts = np.linspace(0, 1, 18)
    for colour in np.stack(np.meshgrid(parts, parts, parts), axis=-1).reshape(-1, 3).tolist():
        assert contrast(to_rgb(readable_on(colour)), colour) >= 4.5, colour


def test_words_outside_cells_can_be_read_on_white() -> None:
    for figure in (*figures_of_all_kinds(), layer_curve(probe_result())):
        cells = (
            set(figure.axes[0].texts) if figure.axes[0].get_images() or figure.axes[0].child_axes else set()
        )
        for text in set(all_words(figure)) - cells:
            ratio = contrast(to_rgb(text.get_color()), (1, 1, 1))
            assert ratio >= 4.5, f"{text.get_text()!r} has a contrast of {ratio:.2f}"


def test_geometry_draws_lines_with_gaps_and_bands() -> None:
    figure = geometry(analysis(7), ["curvature", "norm"])
    first, second = figure.axes
    assert [first.get_ylabel(), second.get_ylabel()] == ["radians", "length of a vector"]
    assert [np.asarray(line.get_xdata()).tolist() for line in first.lines] == [[0, 1], [3, 4, 5, 6]]
    assert (len(first.collections), len(second.collections)) == (2, 0)
    assert "bands are 95% intervals" in words_of(figure)
    assert "bands" not in words_of(geometry(analysis(7), "norm"))
    (alone,) = geometry(analysis(1), "curvature").axes
    assert len(alone.collections) == 1, "the interval of one layer is a bar"
    (nothing,) = geometry(analysis(7, null=True), "norm").axes
    assert [t.get_text() for t in nothing.texts] == ["not defined"]


def test_layers_stand_at_their_depths() -> None:
    result = analysis(4) | {"layers": ["emb", "4", "11", "12"]}
    line = geometry(result, "norm").axes[0].lines
    assert [x for one in line for x in np.asarray(one.get_xdata())] == [0, 4, 12]
    result["layers"] = ["emb", "x", "y\u202e", "a very long name"]
    axes = geometry(result, "norm").axes[0]
    assert [x for one in axes.lines for x in np.asarray(one.get_xdata())] == [0, 1, 3]
    assert "y\\u202e" in [t.get_text() for t in axes.get_xticklabels()] + cells_of(heatmap(result)) + [
        t.get_text() for t in heatmap(result).axes[0].get_yticklabels()
    ]


def test_baselines_near_the_candidates_or_above_them_are_on_the_axis() -> None:
    result = probe_result()
    for score, names in ((0.7, ["majority (chance) 0.70"]), (0.99, ["majority (chance) 0.99"])):
        result["baselines"] = {"majority": score}
        axes = layer_curve(result).axes[0]
        low, high = axes.get_ylim()
        assert low < score < high
        assert [t.get_text() for t in axes.texts if "chance" in t.get_text()] == names
        (rule,) = [line for line in axes.lines if np.asarray(line.get_ydata()).tolist() == [score, score]]
        assert rule.get_linestyle() == "-", "chance is a solid line"
    floors = {"r2": ["chance 0.00"], "span_f1": ["chance 0.00"], "accuracy": []}
    for metric, names in floors.items():
        axes = layer_curve(bare_result() | {"metric": metric}).axes[0]
        assert [t.get_text() for t in axes.texts if "chance" in t.get_text()] == names


@pytest.mark.parametrize(
    ("numbers", "baselines", "ends"),
    [
        ([0.8, 0.9], [0.2], (0.8, 0.9)),
        ([0.8, 0.9], [0.72], (0.72, 0.9)),
        ([0.8, 0.9], [0.2, 0.72, 0.95], (0.72, 0.95)),
        ([0.3, 0.4], [0.9], (0.3, 0.9)),
        ([0.3, 0.4], [0.9, 0.1], (0.1, 0.9)),
        ([0.5], [0.1], (0.1, 0.5)),
        ([], [0.1, 0.2], (0.1, 0.2)),
        ([], [], (0.0, 1.0)),
    ],
)
def test_the_axis_spans_candidates_and_near_baselines(
    numbers: list[float], baselines: list[float], ends: tuple[float, float]
) -> None:
    assert score_range(numbers, baselines) == pytest.approx(ends)


def test_scores_on_the_control_task_far_below_are_at_the_foot() -> None:
    axes = layer_curve(probe_result(control=True)).axes[0]
    low = axes.get_ylim()[0]
    (controls,) = [line for line in axes.lines if line.get_label() == "control task, below the axis"]
    assert set(np.asarray(controls.get_ydata()).tolist()) == {low}
    near = probe_result(control=True)
    for candidate in near["candidates"]:
        candidate["control"] = 0.7
    axes = layer_curve(near).axes[0]
    assert axes.get_ylim()[0] < 0.7


def test_losses_stand_before_weights_and_shares() -> None:
    figure = weights(weighed(7))
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert [label.split()[0] for label in labels] == ["loss", "weight", "share"]
    for axes in figure.axes:
        points = [line for line in axes.lines if line.get_marker() == "o"]
        assert [np.asarray(line.get_ydata()).tolist() for line in points] == [[1 / 7] * 7]
    assert figure.axes[1].get_ylim()[0] > -0.05
    bare = weighed(7)
    bare["learned"]["left_out"] = dict.fromkeys(layer_names(7))
    bare["learned"] |= {"logit_variance": None, "metric": "span_f1"}
    assert len(weights(bare).axes) == 1
    bare["learned"]["weights"] = dict.fromkeys(layer_names(7))
    check_words(weights(bare))


@pytest.mark.parametrize(
    ("needed", "leading", "verdict"),
    [
        ([], layer_names(7), "No single layer is needed; the weights mean nothing."),
        (["3", "1"], ["3"], "Needed: 3, 1; the weights single out 3."),
        (["3"], ["3", "4"], "Needed: 3; the weights don't tell 3, 4 apart."),
        ([], None, "No single layer is needed."),
    ],
)
def test_every_refit_is_drawn_and_the_title_says_what_is_shown(
    needed: list[str], leading: list[str] | None, verdict: str
) -> None:
    result = weighed(7)
    drawn_refits = {name: [0.1 * n, 0.9 - 0.1 * n] for n, name in enumerate(layer_names(7))}
    result["learned"] |= {"needed": needed, "leading": leading, "refits": drawn_refits}
    figure = weights(result)
    assert verdict in " ".join(words_of(figure).split())
    axes = figure.axes[1]
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections])
    assert sorted(dots[:, 1]) == pytest.approx(
        sorted(value for values in drawn_refits.values() for value in values)
    )
    assert np.abs(dots[:, 0] - np.repeat(np.arange(7), 2)).max() < 0.5
    check_words(figure)
    loss = weighed(2)
    loss["learned"]["left_out"] = {
        n: {"difference": {"value": 0.0, "low": 0, "high": 1e-4}} for n in ("emb", "1")
    }
    low, high = weights(loss).axes[0].get_ylim()
    assert high - low > 0.03, "losses of nothing aren't drawn as peaks"


def paths(figure: Figure) -> list[Any]:
    return [one for axes in figure.axes for one in axes.collections]


def shapes_drawn(figure: Figure) -> list[tuple[tuple[float, ...], bytes, int]]:
    """Colour, outline and number of points of what is drawn, in the order of drawing."""
    return [
        (tuple(part.get_facecolor()[0]), part.get_paths()[0].vertices.tobytes(), len(part.get_offsets()))
        for part in paths(figure)
    ]


def test_the_most_frequent_labels_have_colours_and_shapes() -> None:
    labels: list[Any] = [f"c{i:02}" for i in range(19) for _ in range(40 - i)] + [None, float("nan")]
    figure = projection(scattered(1, len(labels)), ["6"], labels)
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == [*(f"c{i:02} ({40 - i})" for i in range(15)), "4 other (94)", "no label (2)"]
    counts: dict[Any, int] = {}
    for colour, outline, points in shapes_drawn(figure):
        counts[colour, outline] = counts.get((colour, outline), 0) + points
    assert sorted(counts.values()) == sorted([*range(26, 41), 94, 2]), "two classes have the same mark"
    assert projection(scattered(1, 2), ["6"], [True, False]).legends, "truth is a category"


def test_rare_labels_are_drawn_over_frequent_ones() -> None:
    """At most 2n points of another class are drawn after the first of a class with n points."""
    sizes = {"O": 2000, "B": 150, "I": 140, "rare": 7}
    labels = [name for name, n in sizes.items() for _ in range(n)]
    drawn = [
        (colour, n) for colour, _, n in shapes_drawn(projection(scattered(1, len(labels)), ["6"], labels))
    ]
    colours = {colour: sum(n for other, n in drawn if other == colour) for colour, _ in drawn}
    assert sorted(colours.values()) == sorted(sizes.values())
    for colour, size in colours.items():
        first = next(at for at, (other, _) in enumerate(drawn) if other == colour)
        for other in colours.keys() - {colour}:
            over = sum(n for name, n in drawn[first:] if name == other)
            assert over <= 2 * size, f"{over} points lie over a class of {size}"
    calm = max(colours, key=lambda colour: colours[colour])
    assert min(colours, key=lambda colour: colours[colour]) == drawn[-1][0], "the rarest class is drawn last"
    saturation = {colour: max(colour[:3]) - min(colour[:3]) for colour in colours}
    assert saturation[calm] == min(saturation.values()), "the most frequent class is the calmest"


def test_points_of_figures_and_of_the_page_have_the_same_colours() -> None:
    script = (resources.files("layerwise.figures") / "static" / "marks.js").read_text("utf-8")
    assert re.findall(r'CALM = \{ light: "(#\w+)"', script) == [groups.CALM]
    light = re.findall(r"light: \[(.*?)\]", script)[0]
    assert re.findall(r"#\w{6}", light) == list(groups.LOUD)


def test_numbers_become_a_ramp() -> None:
    figure = projection(scattered(2, 5), ["1", "2"], [1, 2.5, None, 4, float("inf")], name="stars")
    assert figure.axes[-1].get_ylabel() == "stars; crosses have none"
    assert [len(one.get_offsets()) for one in paths(figure)[:4]] == [2, 3, 2, 3]
    assert [one.get_clim() for one in paths(figure)[1:4:2]] == [(1, 4), (1, 4)]
    for labels in ([3, 3], [float("nan")] * 2, []):
        check_words(projection(scattered(2, len(labels)), ["1", "2"], labels))


def test_many_points_are_an_image_in_the_vectors(tmp_path: Path) -> None:
    few, many = (projection(scattered(2, n), ["1", "2"], ["a", "b"] * (n // 2)) for n in (2500, 2502))
    assert not any(one.get_rasterized() for one in paths(few))
    assert all(one.get_rasterized() for one in paths(many))
    assert sum(len(one.get_offsets()) for one in paths(many)) == 2 * 2502
    file, _ = save(many, tmp_path / "many")
    assert file.stat().st_size < 400_000
    assert b"<image" in file.read_bytes()
    again, _ = save(many, tmp_path / "again")
    assert file.read_bytes() == again.read_bytes()


def test_points_that_are_nowhere_are_left_out() -> None:
    coords = scattered(2, 4)
    coords[0, 1, 0], coords[1] = np.inf, np.nan
    figure = projection(coords, ["1", "2"])
    shown: Any = np.ma.filled(np.ma.asarray(paths(figure)[0].get_offsets(), float), np.nan)
    assert np.isfinite(shown).all(axis=1).sum() == 3
    assert [t.get_text() for t in figure.axes[1].texts] == ["not defined"]
    whole = projection(np.array([[[-32767, 0], [32767, 5]]], np.int16), ["1"])
    assert whole.axes[0].get_xlim()[1] > 32767
    same = projection(np.zeros((1, 3, 2)), ["1"])
    assert same.axes[0].get_xlim() == (-1, 1)


def test_shares_of_variance_stand_above_the_panels() -> None:
    figure = projection(scattered(2, 3), ["emb", "1"], explained=[[0.314, 0.1], [float("nan"), 0.1]])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["emb: 31 + 10%", "1"]


HOSTILE = "标签 <script> $x^ \U0001f9a5\n\x00"


def test_any_text_can_be_drawn(tmp_path: Path) -> None:
    result = analysis(3) | {"layers": ["emb", HOSTILE, "2"]}
    result["measures"] = {HOSTILE + name: one | {"unit": HOSTILE} for name, one in result["measures"].items()}
    mixed = weighed(3) | {"label": HOSTILE * 9}
    mixed["learned"]["mix"] = HOSTILE
    figures = [
        heatmap(result, f"{HOSTILE}linear_cka"),
        geometry(result),
        weights(mixed),
        projection(
            scattered(3, 9), [HOSTILE, "1", "2"], [HOSTILE, "", "b"] * 3, title=HOSTILE * 9, name=HOSTILE
        ),
        projection(scattered(3, 2), ["emb", "1", "2"], [1, 2], name=HOSTILE * 9),
    ]
    for figure in figures:
        assert "标签" in words_of(figure)
        assert "$x^" in words_of(figure)
        assert "\\u000a\\u0000" in words_of(figure)
        write(figure, tmp_path / "hostile")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: heatmap(analysis(3), "rsa"), "'rsa'; there are linear_cka, procrustes, pwcca$"),
        (lambda: heatmap(analysis(3), "norm"), "'norm'; there are linear_cka"),
        (lambda: heatmap(analysis(3) | {"measures": {}}), "there are none$"),
        (lambda: geometry(analysis(3), "linear_cka"), "'linear_cka'; there are norm, curvature"),
        (lambda: geometry(analysis(3), []), "nothing to draw"),
        (lambda: geometry(analysis(3) | {"measures": {}}), "there are none$"),
        (lambda: heatmap(probe_result()), "no 'measures'; give what lw.analyze returns"),
        (lambda: layer_curve(analysis(3)), "no 'candidates'; give what lw.probe returns"),
        (lambda: weights(3), "no 'candidates'"),
        (lambda: weights(bare_result()), "no learned mix"),
        (lambda: weights(bare_result() | {"learned": None}), "no learned mix"),
        (lambda: projection(scattered(2, 3), ["1"]), r"shape \(2, 3, 2\) for 1 layers"),
        (lambda: projection(np.zeros((0, 3, 2)), []), "for 0 layers"),
        (lambda: projection(np.zeros((2, 3)), ["1", "2"]), r"give the shape \(layers, points, 2\)"),
        (lambda: projection(scattered(1, 3), ["1"], ["a"]), "got 1 label for 3 points"),
        (lambda: projection(scattered(1, 3), ["1"], explained=[]), "0 entries for 1 layers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        call()


def narrow_figures() -> dict[str, Figure]:
    """Each kind of figure at the width of a column."""
    return {
        "curve": layer_curve(probe_result(12, control=True), width=3.3),
        "weights": weights(weighed(13), width=3.3),
        "heatmap": heatmap(analysis(13), width=3.3),
        "geometry": geometry(analysis(13), width=3.3),
        "projection": projection(scattered(7, 9), layer_names(7), list("abcabcabc"), width=3.3),
    }


def test_figures_of_a_column_have_room_for_their_words() -> None:
    for name, figure in narrow_figures().items():
        assert figure.get_figwidth() == 3.3, name
        check_words(figure)
        assert min(float(text.get_fontsize()) for text in all_words(figure)) >= 4.6, name


def test_a_narrow_curve_names_baselines_in_its_legend() -> None:
    legend = layer_curve(probe_result(), width=3.3).axes[0].get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert any(name.startswith("bag of words 0.8") for name in names)
    wide = layer_curve(probe_result(), width=9).axes[0].get_legend()
    assert wide is not None
    assert not any("bag of words" in text.get_text() for text in wide.get_texts())


@pytest.mark.parametrize("width", [1, 40, True, "wide"])
def test_a_width_that_cannot_be_drawn_is_refused(width: Any) -> None:
    with pytest.raises(RequestError, match=r"^width=.* can't be drawn; give 2.5 to 30 inches"):
        layer_curve(probe_result(), width=width)


def test_a_result_may_be_a_path(tmp_path: Path) -> None:
    (tmp_path / "probe.json").write_text(json.dumps(probe_result()))
    expected = words_of(layer_curve(probe_result()))
    for path in (tmp_path, str(tmp_path), tmp_path / "probe.json"):
        assert words_of(layer_curve(path)) == expected
    (tmp_path / "analysis.json").write_text(json.dumps(analysis(3)))
    assert words_of(heatmap(str(tmp_path))) == words_of(heatmap(analysis(3)))
    with pytest.raises(RequestError, match="probe.json has no|no 'measures'"):
        heatmap(tmp_path / "probe.json")
    with pytest.raises(
        RequestError, match=r"nowhere can't be read \(.*\); give the folder that `layerwise probe` wrote"
    ):
        weights(tmp_path / "nowhere")
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "head.json").touch()
    with pytest.raises(
        RequestError, match=r"can't be read \(it is a head\); give the folder that `layerwise analyze`"
    ):
        geometry(tmp_path / "head")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("linear_cka", "linear CKA"),
        ("retrieval_centred:de>en", "retrieval, centred, de → en"),
        ("anisotropy_standardised", "anisotropy, standardised"),
        ("against_rsa", "RSA (against the other dataset)"),
        ("norm", "norm"),
    ],
)
def test_measures_have_names_for_people(name: str, written: str) -> None:
    assert measure_name(name) == written


def figures_of_all_kinds() -> Sequence[Figure]:
    return (
        heatmap(analysis(5)),
        geometry(analysis(5)),
        weights(weighed(5)),
        projection(scattered(2, 9), ["1", "2"], list("abcabcabc")),
        projection(scattered(2, 9), ["1", "2"], np.arange(9)),
    )


def test_all_figures_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    first = [save(figure, tmp_path / f"a{i}") for i, figure in enumerate(figures_of_all_kinds())]
    with mpl.rc_context({"font.size": 20, "axes.grid": True, "image.cmap": "jet"}):
        second = [save(figure, tmp_path / f"b{i}") for i, figure in enumerate(figures_of_all_kinds())]
    for one, other in zip(first, second, strict=True):
        assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_colours_are_those_of_okabe_and_ito(tmp_path: Path) -> None:
    """All that is neither grey, nor of a ramp, nor a class; as published, in Okabe and Ito (2008)."""
    okabe_ito = {"000000", "e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7"}
    used: set[str] = set()
    for n, figure in enumerate((layer_curve(probe_result(6)), geometry(analysis(5)), weights(weighed(5)))):
        svg = save(figure, tmp_path / str(n))[0].read_text()
        used |= set(re.findall(r"(?:fill|stroke): #([0-9a-f]{6})", svg))
    chromatic = {one for one in used if not one[:2] == one[2:4] == one[4:]} | {"000000"}
    assert chromatic <= okabe_ito, f"{chromatic - okabe_ito} can't be told apart by all"
    assert len(chromatic) > 1


def test_plots_are_found_when_first_used() -> None:
    code = (
        "import sys, layerwise as lw; assert 'layerwise.figures' not in sys.modules; lw.plots.heatmap;"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    for name in lw.plots.__all__:
        assert getattr(lw.plots, name).__doc__


def test_the_examples_in_the_document_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, result in (("probe", weighed(7)), ("analysis", analysis(7))):
        file = tmp_path / f"reviews.{name}" / f"{name}.json"
        file.parent.mkdir()
        file.write_text(json.dumps(result), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "reference" / "figures.md").read_text(encoding="utf-8")
    exec("\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)), {})
    assert (tmp_path / "curve.svg").exists()
    for name in lw.plots.__all__:
        assert f"`{name}(" in text


def test_cells_of_directions_grow_with_the_width_and_not_in_height() -> None:
    values = {f"{a}>{b}": [0.5] * 13 for a in "abc" for b in "abc" if a != b}
    measure = {"values": values, "unit": "accuracy", "source": ""}
    analysis = {"layers": ["emb", *map(str, range(1, 13))], "measures": {"retrieval_cosine": measure}}
    sizes = []
    for width in (3.46, 7.09, 12.0):
        figure = directions(analysis, width=width)
        lay_out(figure)
        cells = figure.axes[0].get_window_extent()
        assert figure.get_figwidth() == width
        sizes.append((cells.width / 13 / figure.dpi, cells.height / 6 / figure.dpi))
    (narrow, low), (wide, high), (widest, highest) = sizes
    assert narrow < wide < widest
    assert low < high < 0.45, "a row of cells is about 9 mm high"
    assert highest == pytest.approx(high, abs=0.01)
