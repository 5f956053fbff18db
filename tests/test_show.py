"""What a probe's result looks like as text and as a figure."""

import copy
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from layerwise.errors import OutputError, RequestError
from layerwise.mix import HOWS, parse_mix
from layerwise.show.markdown import escape, probe_markdown
from layerwise.show.names import short_mix
from layerwise.show.plots import probe_figure, save_figure
from layerwise.show.spread import spread

BASELINES: dict[str, dict[str, float | None]] = {
    "majority": {"score": 0.509, "low": 0.5, "high": 0.52},
    "bag_of_words": {"score": 0.805, "low": 0.79, "high": 0.81},
    "emb": {"score": 0.804, "low": 0.79, "high": 0.81},
    "random_model": {"score": 0.803, "low": 0.78, "high": 0.82},
    "shuffled_labels": {"score": 0.5, "low": None, "high": None},
}


def probe_result(blocks: int = 6, control: bool = False) -> dict[str, Any]:
    """A result as `probe.json` holds it, deepest layer first, with every field filled."""
    layers = ["emb", *map(str, range(1, blocks + 1))]
    mixes = {name: [name] for name in reversed(layers)}
    mixes |= {f"{how}({','.join(layers)})": layers for how in ("mean", "concat", "learned")}
    candidates = []
    for i, (mix, names) in enumerate(mixes.items()):
        score = 0.8 + 0.05 * np.sin(i)
        candidates.append(
            {
                "mix": mix,
                "kind": "layer" if len(names) == 1 else "mix",
                "layers": names,
                "score": score,
                "low": score - 0.012,
                "high": score + 0.015,
                "p_vs_best": [0.0004, 0.02, 0.5, 1.0][i % 4],
                "control": 0.6 if control else None,
                "selectivity": score - 0.6 if control else None,
                "codelength": {"bits": 2345.6, "compression": 2.9},
                "cost": min(i / blocks, 1.0),
                "bytes_per_row": 768 * len(names),
                "scores": {"accuracy": score, "macro_f1": {"score": 0.777, "low": None, "high": None}},
            }
        )
    return {
        "task": "classify",
        "label": "label",
        "metric": "accuracy",
        "rows": 5000,
        "candidates": candidates,
        "chosen": {"score": 0.835, "low": 0.82, "high": 0.85},
        "baselines": copy.deepcopy(BASELINES),
        "advice": {"best": candidates[2]["mix"], "cheapest": "2", "differs": True, "text": "Take layer 2."},
        "notes": ["3 rows without a label are left out"],
        "learned": {
            "weights": {name: {"value": 1 / 7, "low": 0.1, "high": 0.2} for name in layers},
            "logit_variance": {name: {"value": 0.25, "low": None, "high": None} for name in layers},
            "left_out": dict.fromkeys(layers),
            "caution": "Layers that resemble each other share weight.",
        },
        "seed": 7,
        "versions": {"layerwise": "0.3", "numpy": "2.4"},
        "made": "2026-01-01",
        "design": "5 × 5 nested folds by text",
    }


def bare_result() -> dict[str, Any]:
    """The least that a result holds: one candidate, and null wherever null may stand."""
    empty = ("low", "high", "p_vs_best", "selectivity", "codelength", "cost")
    return {
        "task": "regress",
        "label": "y",
        "metric": "r2",
        "rows": 30,
        "candidates": [{"mix": "mean(1,2)", "score": -0.25, **dict.fromkeys(empty)}],
        "chosen": None,
        "baselines": {},
        "advice": {"best": None, "cheapest": None, "differs": False, "text": "Nothing is told apart."},
    }


def cells(line: str) -> list[str]:
    """The cells of a table's line, parted at pipes that no backslash escapes."""
    return [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]]


def tables(text: str) -> list[list[list[str]]]:
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [[cells(line) for line in block] for block in blocks]


def test_the_advice_comes_first_and_the_tables_hold_the_numbers() -> None:
    result = probe_result()
    text = probe_markdown(result)
    assert text.split("\n\n")[:2] == ["# Which layer for label", "Take layer 2."]
    candidates, baselines, learned = tables(text)
    header = "mix||accuracy|95% interval|p vs best|macro-F1|bits|compression|cost|bytes per row"
    assert candidates[0] == header.split("|")
    # fmt: off
    assert candidates[2] == ["`6`", "", "0.800", "0.788 to 0.815", "< 0.001", "0.777", "2,346", "2.90×", "0%", "768"]
    # fmt: on
    assert candidates[4][:2] == ["`4`", "best"]
    assert candidates[4][4] == "–"
    assert candidates[6][:2] == ["`2`", "cheapest"]
    assert [row[0] for row in candidates[9:]] == ["`mean(0:7)`", "`concat(0:7)`", "`learned(0:7)`"]
    assert baselines[2:4] == [
        ["majority", "0.509", "0.500 to 0.520"],
        ["bag of words", "0.805", "0.790 to 0.810"],
    ]
    assert baselines[-1] == ["shuffled labels", "0.500", "–"]
    assert learned[0] == ["layer", "weight", "share of logit variance"]
    assert learned[2] == ["emb", "0.143 (0.100 to 0.200)", "0.250"]
    for line in (
        "Layers that resemble",
        "0.835 (95% interval 0.820 to 0.850)",
        "5 × 5 nested folds",
        "seed 7",
    ):
        assert line in text


def test_what_is_null_everywhere_is_left_out() -> None:
    text = probe_markdown(bare_result())
    ((header, _, row),) = tables(text)
    assert (header, row) == (["mix", "R²"], ["`mean(1,2)`", "−0.250"])
    for word in ("Baselines", "learned mix", "Notes", "Selectivity", "Cost", "`chosen`", "None", "nan"):
        assert word not in text
    assert "selectivity" in tables(probe_markdown(probe_result(control=True)))[0][0]
    result = bare_result() | {"chosen": {"score": float("nan")}, "baselines": {"majority": 0.1}}
    assert tables(probe_markdown(result))[1][2] == ["majority", "0.100"]


HOSTILE = st.text(max_size=20) | st.sampled_from(
    [
        "a|b",
        "a\\|b",
        "<script>",
        "a\nb\r\n\n# c",
        "- x",
        "1. x",
        "*b* _i_ `c` [l](u)",
        "\u202eabc",
        "\ud800",
        "&lt;",
    ]
)


@given(HOSTILE)
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_a_table_or_becomes_markup(text: str) -> None:
    result = probe_result()
    plain = probe_markdown(result)
    result["label"] = result["task"] = result["candidates"][0]["mix"] = text
    result["notes"] = [text]
    result["baselines"] = {text + "x": 0.5} | result["baselines"]
    found = probe_markdown(result)
    found.encode()
    lengths = [{len(row) for row in rows} for rows in tables(found)]
    assert lengths == [{len(row) for row in rows} for rows in tables(plain)]
    assert not re.search(r"[<>]", found.replace("< 0.001", ""))
    assert found.count("\n\n") == plain.count("\n\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, bag_of_words", "plain words, bag_of_words"),
        ("a|b\nc", r"a\|b c"),
        ("\\|", r"\\\|"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("_x_ *y* `z`", r"\_x\_ \*y\* \`z\`"),
        ("# no title", r"\# no title"),
        ("1. no list", r"1\. no list"),
        ("-4", r"\-4"),
        ("标签", "标签"),
        ("\u202e", r"\\u202e"),
    ],
)
def test_text_is_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(
    st.sampled_from(HOWS), st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True), st.booleans()
)
def test_a_short_mix_is_the_same_mix(how: str, depths: list[int], run: bool) -> None:
    layers = range(min(depths), min(depths) + len(depths)) if run else depths
    layers = [depth for depth in layers if depth <= 12]
    weights = f"; {','.join('1' for _ in layers)}" if how == "weighted" else ""
    mix = parse_mix(f"{how}({','.join(map(str, layers))}{weights}; norm=layer)", 12)
    short = short_mix(str(mix))
    assert parse_mix(short, 12) == mix
    assert (":" in short) == (len(layers) > 2 and list(layers) == list(range(layers[0], layers[-1] + 1)))


@pytest.mark.parametrize("mix", ["8", "emb", "mean(1,2)", "mean(2,1,0)", "weird((", "8; norm=layer", ""])
def test_other_mixes_stay(mix: str) -> None:
    assert short_mix(mix) == mix


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
    figure = probe_figure(probe_result(blocks, control))
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
    figure = probe_figure(result)
    axes = figure.axes[0]
    scores = {c["mix"]: c["score"] for c in result["candidates"]}
    layers = ["emb", *map(str, range(1, 7))]
    assert drawn(figure, "o") == [(i, scores[name]) for i, name in enumerate(layers)]
    mixes = [mix for mix in scores if mix not in layers]
    assert drawn(figure, "s") == [(8 + i, scores[mix]) for i, mix in enumerate(mixes)]
    assert drawn(figure, "D") == [(11, 0.835)]
    ticks = [t.get_text() for t in axes.get_xticklabels()]
    assert ticks == [*layers, "mean(0:7)", "concat(0:7)", "learned(0:7)", "chosen"]
    ends = {tuple(np.asarray(line.get_ydata()).tolist()) for line in axes.lines}
    for item in [*result["candidates"], result["chosen"]]:
        assert (item["low"], item["high"]) in ends
    for item in BASELINES.values():
        assert item["low"] is None or (item["low"], item["high"]) in ends
    low, high = axes.get_ylim()
    assert low < 0.5
    assert high > max(c["high"] for c in result["candidates"])
    assert "accuracy (share of rows" in axes.get_ylabel()
    names = " ".join(t.get_text() for t in axes.texts)
    for baseline in ("majority 0.509", "bag of words 0.805", "shuffled labels 0.500"):
        assert baseline in names


def test_hollow_is_what_a_test_tells_from_the_best() -> None:
    result = probe_result()
    result["candidates"][2]["p_vs_best"] = 0.0  # the best itself is never hollow
    figure = probe_figure(result)
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
    figure = probe_figure(bare_result())
    assert drawn(figure, "s") == [(0, -0.25)]
    nothing = bare_result()
    nothing["candidates"][0]["score"] = None
    probe_figure(nothing)
    probe_figure(json.loads(json.dumps(probe_result())))


def test_any_label_can_be_drawn() -> None:
    result = probe_result() | {"label": "标签 $x^ \U0001f9a5\n\x00"}
    result["baselines"]["标签 $"] = 0.6
    figure = probe_figure(result)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_title().get_text().startswith("\\u6807\\u7b7e $x^ \\U0001f9a5\\u000a\\u0000: classify")


def test_a_figure_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    first = save_figure(probe_figure(probe_result()), tmp_path / "probe.v1")
    assert [path.name for path in first] == ["probe.v1.svg", "probe.v1.png"]
    with mpl.rc_context({"font.size": 20, "savefig.dpi": 30, "svg.fonttype": "none"}):
        second = save_figure(probe_figure(probe_result()), str(tmp_path / "again"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"<dc:date>" not in first[0].read_bytes()
    assert first[1].read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't be written"):
        save_figure(probe_figure(bare_result()), tmp_path / "nowhere" / "probe")


def test_without_matplotlib_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RequestError, match=r"pip install 'layerwise\[plots\]'"):
        probe_figure(probe_result())


def test_no_global_state_is_touched() -> None:
    # Reading rcParams["backend"] would itself import pyplot, so all but that are compared.
    code = (
        "import sys; import layerwise.show.plots as p; assert 'matplotlib' not in sys.modules; import matplotlib;"
        "read = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'};"
        "before = read();"
        "p.probe_figure({'task': 't', 'label': 'l', 'metric': 'm', 'candidates': [], 'advice': {}});"
        "assert read() == before; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@given(st.lists(st.floats(0, 100), max_size=8))
def test_labels_are_spread_in_order_apart_and_inside(wanted: list[float]) -> None:
    wanted.sort()
    places = spread(wanted, 10, 0, 100)
    assert len(places) == len(wanted)
    assert all(b - a >= 10 - 1e-6 for a, b in pairwise(places))
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)


def test_labels_move_only_where_they_must() -> None:
    assert spread([10, 50, 51, 90], 10, 0, 100) == pytest.approx([10, 45.5, 55.5, 90])
    assert spread([99, 100], 10, 0, 100) == pytest.approx([90, 100])
