"""The figure of a probe: scores of layers by depth, scores of mixes beside them, baselines as lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerwise._util.display import score_digits
from layerwise.figures.canvas import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    PALE,
    PURPLE,
    SITE_COLOURS,
    SMALL,
    STEPS,
    VERMILLION,
    check_width,
    drawable,
    lay_out,
    page,
    width_of,
)
from layerwise.figures.display_names import named, number, unit_of
from layerwise.figures.label_spread import spread
from layerwise.figures.language import language, say, speaking
from layerwise.figures.probe_axis import BaselineLine, baseline_lines, present, score_range, with_margin
from layerwise.figures.result_access import BEFORE, ResultJson, content
from layerwise.figures.series import apart, lines
from layerwise.layers import SITES, depth, is_layer, short_mix, site
from layerwise.wording import fixed

if TYPE_CHECKING:
    from layerwise.figures.canvas import Annotation, Axes, Figure

_DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_LEAST_WIDE, _HIGH = 7.5, 5.2  # inches, with the names of baselines beside the axes
_NARROW_HIGH = 2.2  # inches of the axes of a narrow figure
_LABEL_MOST, _NARROW_LABEL_MOST = 28, 22  # characters
_TICKS_MOST = 40
_LABEL_GAP = 30  # points between a line and its label
_LEGEND_ROW = 6  # entries, from which on the legend has two rows
_MARGIN = 0.55  # inches, beside the axes of a narrow figure
_BAR_STEP = 0.3  # between two intervals of baselines; layers are 1 apart


@dataclass(frozen=True)
class _Point:
    """A candidate in the figure: position, score, ends of its interval, whether it is worse with p < .05, or was ruled out."""

    x: float
    score: float
    low: float | None
    high: float | None
    worse: bool
    dropped: bool
    control: float | None
    name: str


@speaking
def layer_curve(result: Any, *, width: float | None = None, lang: str = "en") -> Figure:
    """Return the scores of a probe along the layers, as a `matplotlib.figure.Figure`.

    Layers are in order of depth, with a line per site, then mixes, then `chosen`; bars are 95% intervals.

    Args:
        result: what `lw.probe` returns, the folder or the `probe.json` that it wrote, or the content of that file.
        width: in inches; by default there is room for every name. A narrow figure, such as one of a column (3.3), has the
            names of baselines in the legend, and mixes are named upwards.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: `result` isn't the result of a probe; a width that can't be drawn; matplotlib isn't installed.
    """
    check_width(width)
    result = content(result, "candidates", "probe")
    layers, mixes, chosen = _points(result)
    everything = [*layers, *mixes, *chosen]
    span = everything[-1].x - everything[0].x + 1 if everything else 1
    usual = min(16.0, max(_LEAST_WIDE, 0.28 * span + 3.2))
    narrow = width is not None and width < _LEAST_WIDE
    with page(width or usual, _HIGH) as figure:
        axes = figure.add_subplot()
        baselines = baseline_lines(result.get("baselines") or {}, result["metric"], result.get("task"))
        low, high = _limits(everything, baselines)
        axes.set_ylim(low, high)
        _draw(axes, _of_site(layers, None), BLUE, "o", say("figure.one.layer"), line=True)
        for name in SITES:
            label = say(f"probe.site.{name}")
            _draw(axes, _of_site(layers, name), SITE_COLOURS[name], "o", label, line=True)
        _draw(axes, mixes, VERMILLION, "s", say("figure.mix"))
        _draw(axes, chosen, GREEN, "D", say("probe.chosen"))
        if result["metric"] == "accuracy":  # control tasks are always scored by accuracy
            _controls(axes, [*layers, *mixes])
        _best(axes, everything, result["advice"].get("best"))
        right = everything[-1].x if everything else 0.0
        digits = score_digits(((p.low, p.high) for p in everything), number(result.get("rows")))
        labels = _baselines(axes, baselines, right + _BAR_STEP, digits, in_legend=narrow)
        _frame(axes, layers, [*mixes, *chosen], narrow=narrow)
        rows = _legend(axes, result, figure.get_figwidth())
        if narrow:
            named = max((len(_label(point.name, narrow=True)) for point in mixes), default=0)
            figure.set_figheight(_NARROW_HIGH + rows * 1.5 * FONT / 72 + named * 0.6 * SMALL / 72)
        _spread_labels(figure, axes, labels)
    return figure


def _points(result: ResultJson) -> tuple[list[_Point], list[_Point], list[_Point]]:
    """Return the points of layers, of mixes, and of `chosen` (none or one)."""
    best = result["advice"].get("best")
    scored = [c for c in result["candidates"] if number(c.get("score")) is not None]
    depths = [_depth(candidate) for candidate in scored]
    layers = [
        _point(c, depth, c["mix"], best) for c, depth in zip(scored, depths, strict=True) if depth is not None
    ]
    layers.sort(key=lambda point: point.x)
    at = math.ceil(layers[-1].x) + 2 if layers else 0
    rest = [c for c, depth in zip(scored, depths, strict=True) if depth is None]
    mixes = [_point(c, at + i, c["mix"], best) for i, c in enumerate(rest)]
    chosen = result.get("chosen") or {}
    last = (
        []
        if number(chosen.get("score")) is None
        else [_point(chosen, at + len(mixes), say("probe.chosen"), best)]
    )
    return layers, mixes, last


def _depth(candidate: Mapping[str, Any]) -> float | None:
    """Return the place of a layer or a site on the axis of depth; None for a mix."""
    mix = candidate["mix"]
    if not (mix.isascii() and is_layer(mix)):
        return None
    return depth(mix) - BEFORE.get(site(mix) or "", 0)


def _of_site(points: Sequence[_Point], name: str | None) -> list[_Point]:
    return [point for point in points if site(point.name) == name]


def _point(item: Mapping[str, Any], x: float, name: str, best: str | None) -> _Point:
    p = number(item.get("p_vs_best"))
    score, low, high = (number(item.get(key)) for key in ("score", "low", "high"))
    assert score is not None
    return _Point(
        x=x,
        score=score,
        low=low,
        high=high,
        worse=p is not None and p < 0.05 and name != best,
        dropped=bool(item.get("dropped")),
        control=number(item.get("control")),
        name=name,
    )


def _draw(
    axes: Axes, points: Sequence[_Point], colour: str, shape: str, label: str, line: bool = False
) -> None:
    """Draw points with their intervals: hollow where a test finds them worse than the best, else filled; faint if ruled out."""
    if not points:
        return
    if line:
        axes.plot([p.x for p in points], [p.score for p in points], color=colour, linewidth=1.2, zorder=3)
    for point in points:
        if point.low is not None and point.high is not None:
            ends = (point.low, point.high)
            axes.plot((point.x, point.x), ends, color=colour, linewidth=1.4, alpha=0.55, zorder=3)
    axes.plot([], [], shape, color=colour, markersize=5, linestyle="-" if line else "", label=label)
    for point in points:
        face = "white" if point.worse else colour
        style: dict[str, Any] = {
            "markerfacecolor": face,
            "markersize": 5,
            "alpha": 0.35 if point.dropped else 1,
        }
        axes.plot(point.x, point.score, shape, color=colour, zorder=4, **style)


def _controls(axes: Axes, points: Sequence[_Point]) -> None:
    """Draw the scores on the control task; those below the axis as triangles at its foot."""
    floor = axes.get_ylim()[0]
    controls = [(p.x, p.control) for p in points if p.control is not None]
    style: dict[str, Any] = {"color": PURPLE, "markersize": 4, "zorder": 2, "linestyle": ""}
    if inside := [(x, control) for x, control in controls if control >= floor]:
        axes.plot(*zip(*inside, strict=True), marker="x", label=say("figure.control"), **style)
    if below := [(x, floor) for x, control in controls if control < floor]:
        at = zip(*below, strict=True)
        axes.plot(*at, marker="v", label=say("figure.control.below"), clip_on=False, **style)


def _best(axes: Axes, points: Sequence[_Point], best: str | None) -> None:
    """Draw a ring around the best point, and a legend entry for hollow points if there are any."""
    ring: dict[str, Any] = {"markerfacecolor": "none", "markersize": 12, "markeredgewidth": 1.2}
    for point in points:
        if point.name == best:
            axes.plot(
                point.x, point.score, "o", color="black", label=say("probe.best.ring"), zorder=5, **ring
            )
    if any(point.worse for point in points):
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=5, label=say("figure.worse"))
    if any(point.dropped for point in points):
        axes.plot([], [], "o", color=GREY, alpha=0.35, markersize=5, label=say("figure.dropped"))


def _limits(points: Sequence[_Point], baselines: Sequence[BaselineLine]) -> tuple[float, float]:
    """Return the ends of the axis; the intervals of baselines on it are whole."""
    scores = present(*((p.score, p.low, p.high) for p in points))
    low, high = score_range(scores, [line.score for line in baselines])
    controls = present(p.control for p in points)
    if controls and high - min(controls) <= 2 * (high - low):
        low = min(low, *controls)
    ends = present(*((line.low, line.high) for line in baselines if line.score >= low))
    return with_margin(min([low, *ends]), max([high, *ends]))


def _baselines(
    axes: Axes, baselines: Sequence[BaselineLine], right: float, digits: int, *, in_legend: bool
) -> list[Annotation]:
    """Draw each baseline as a line with its interval, right of `right`, and its name; return the name labels.

    The interval, and the line that leads to the name, have the dashes of the baseline; the chance level is solid. A
    baseline below the axis is a triangle at its foot. `_spread_labels` later moves labels apart; in a legend there are none.
    """
    labels = []
    floor = float(axes.get_ylim()[0])
    for i, line in enumerate(baselines):
        right += _BAR_STEP
        below = line.score < floor
        at = floor if below else line.score
        dashes = "-" if line.floor else _DASHES[i % len(_DASHES)]
        if below:
            axes.plot(right, floor, "v", color=GREY, markersize=5, clip_on=False)
        else:
            axes.axhline(at, color=GREY, linewidth=1, linestyle=dashes, zorder=1)
            axes.plot(right, at, "o", color=GREY, markersize=3.5)
            if line.low is not None and line.high is not None:
                ends = (line.low, line.high)
                axes.plot((right, right), ends, color=GREY, linewidth=1.2, linestyle=dashes)
        if in_legend:
            style: dict[str, Any] = {"linestyle": dashes, "linewidth": 1}
            if below:
                style = {"marker": "v", "linestyle": ""}
            axes.plot([], [], color=GREY, markersize=5, label=_baseline_label(line, digits, below), **style)
            continue
        label = axes.annotate(
            _baseline_label(line, digits, below),
            xy=(1, at),
            xycoords=("axes fraction", "data"),
            xytext=(_LABEL_GAP, 0),
            textcoords="offset points",
            va="center",
            color=GREY,
            arrowprops={
                "arrowstyle": "-",
                "color": GREY,
                "linewidth": 1,
                "linestyle": dashes,
                "shrinkA": 1,
                "shrinkB": 0,
            },
            annotation_clip=False,
        )
        labels.append(label)
    return labels


def _baseline_label(line: BaselineLine, digits: int, below: bool) -> str:
    return f"{drawable(line.name)} {fixed(line.score, digits)}{' ↓' if below else ''}"


def _frame(axes: Axes, layers: Sequence[_Point], mixes: Sequence[_Point], *, narrow: bool) -> None:
    """Name layers and mixes on the x axis, and draw the grid."""
    named_layers = _of_site(layers, None) or layers
    step = max(1, math.ceil(len(named_layers) / _TICKS_MOST))
    ticked = [*(_apart(axes, named_layers) if narrow else named_layers[::step]), *mixes]
    names = [_label(point.name, narrow=narrow) for point in ticked]
    axes.set_xticks([point.x for point in ticked], names, fontsize=SMALL if narrow else FONT)
    for tick, point in zip(axes.get_xticklabels(), ticked, strict=True):
        if point in mixes and narrow:
            tick.set(rotation=90)
        elif point in mixes:
            tick.set(rotation=-40, ha="left", va="top", rotation_mode="anchor")
    if layers and mixes:
        axes.axvline(layers[-1].x + 1, color="#cccccc", linewidth=0.8, zorder=0)
    if layers:
        axes.annotate(
            say("figure.layer.axis"),
            xy=((layers[0].x + layers[-1].x) / 2, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -22),
            textcoords="offset points",
            ha="center",
            va="top",
        )
    axes.locator_params(axis="y", steps=STEPS)
    axes.margins(x=0.02)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


def _apart(axes: Axes, layers: Sequence[_Point]) -> list[_Point]:
    """Return the layers at every depth, or every second, and so on, so that their names don't overlap in a narrow figure."""
    if not layers:
        return []
    low, high = axes.get_xlim()
    unit = (axes.figure.bbox.width / axes.figure.dpi - _MARGIN - 0.2) * 72 / (high - low)
    ticks = {at for at, _ in apart([(point.x, point.name) for point in layers], unit)}
    return [point for point in layers if point.x in ticks]


def _legend(axes: Axes, result: Mapping[str, Any], width: float) -> int:
    """Draw title and legend above the axes of a figure of a width in inches, and name the metric; return their rows."""
    metric = result["metric"]
    axes.set_ylabel(drawable(named("metric", metric, language()) + unit_of(metric, language())))
    rows = number(result.get("rows"))
    label = drawable(str(result["label"]), _LABEL_MOST)
    task = named("figure.task", str(result["task"]), language())
    title = say("figure.probe.title", label=label, task=task)
    if rows is not None:
        title = say("figure.probe.title.rows", label=label, task=task, n=int(rows))
    title = lines(title, round((width - _MARGIN) * 72 / width_of("x", FONT + 1)))
    handles, names = axes.get_legend_handles_labels()
    columns = _legend_columns(names, width)
    axes.legend(
        handles,
        names,
        title=title,
        title_fontsize=FONT + 1,
        alignment="left",
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        borderpad=0,
        columnspacing=1.2,
        handletextpad=0.4,
        handlelength=1.6,
    )
    return title.count("\n") + 1 + math.ceil(len(names) / max(1, columns))


def _legend_columns(names: Sequence[str], width: float) -> int:
    """Return how many columns of a legend fit: one row of up to five entries, else two, and more where these don't fit."""
    usual = len(names) if len(names) < _LEGEND_ROW else math.ceil(len(names) / 2)
    widest = max((width_of(name, FONT) for name in names), default=0) + 3.4 * FONT
    return max(1, usual if width >= _LEAST_WIDE else min(usual, int((width - _MARGIN) * 72 / widest)))


def _spread_labels(figure: Figure, axes: Axes, labels: Sequence[Annotation]) -> None:
    """Move the names of baselines apart where their scores are close; a thin line connects each to its score."""
    labels = sorted(labels, key=lambda label: float(label.xy[1]))
    # The position of a score on the page is only known after the layout.
    lay_out(figure)
    to_points = 72 / figure.dpi
    low, high = (float(edge) * to_points for edge in axes.bbox.intervaly)
    ideal = [float(axes.transData.transform((0, label.xy[1]))[1]) * to_points for label in labels]
    placed = spread(ideal, 1.35 * FONT, low, high)
    for label, at, height in zip(labels, placed, ideal, strict=True):
        label.set_position((_LABEL_GAP, at - height))


def _label(mix: str, *, narrow: bool) -> str:
    return drawable(short_mix(mix), _NARROW_LABEL_MOST if narrow else _LABEL_MOST)
