"""The figure of a projection: rows of each layer as points, a panel per layer, coloured by labels of the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from layerwise.array_types import F64
from layerwise.errors import RequestError
from layerwise.figures.canvas import BLUE, FONT, GREY, SMALL, check_width, drawable, page, width_of
from layerwise.figures.display_names import number
from layerwise.figures.groups import NONE, Group, colours, turns
from layerwise.figures.language import language, say, speaking
from layerwise.figures.series import lines
from layerwise.wording import joined

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

_RASTER_FROM = 5000  # points on the page
_LABEL_MOST, _NAME_MOST = 24, 16
_TITLE_MOST = 200
_RARE_SIZE = (
    1.7  # area of a point of a class with less than a tenth of the most frequent one's points, relative
)
_WIDE = 7.0  # inches at most
_PANEL = 2.1  # inches
_NARROWEST = 1.0  # inches, of a panel in a figure of a given width


@speaking
def projection(
    coords: ArrayLike,
    layers: Sequence[str],
    labels: Sequence[Any] | NDArray[Any] | None = None,
    *,
    title: str | None = None,
    explained: Sequence[Sequence[float]] | NDArray[Any] | None = None,
    name: str | None = None,
    width: float | None = None,
    lang: str = "en",
) -> Figure:
    """Return the rows of each layer as points, a panel per layer, as a `matplotlib.figure.Figure`.

    Every panel has its own scale, the same on both axes. More than 5,000 points are drawn as an image inside the
    vector file, so that files stay small.

    Args:
        coords: float or int (layers, points, 2); a point that isn't finite is left out.
        layers: their names.
        labels: one per point. Numbers become a colour ramp; anything else is a category: the 15 most frequent have
            a colour and a shape, loud for rare ones, which are drawn last; the rest are `other`. For classes that
            are named by numbers, pass strings. `None` and NaN are missing.
        title: text above the panels.
        explained: per layer the share of variance of each of the two axes.
        name: name of the labels, for the legend or the colour bar.
        width: in inches; by default at most about 7. A narrow figure has fewer panels side by side.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: shapes that don't match; a width that can't be drawn; matplotlib isn't installed.
    """
    check_width(width)
    points = _points(coords, layers)
    count = points.shape[1]
    values, kinds = colours(labels, count)
    if explained is not None and len(explained) != len(layers):
        raise RequestError(
            f"explained has {len(explained)} entries for {len(layers)} layers; give one per layer"
        )
    bar = 0 if values is None else 0.55
    columns = _columns(len(layers))
    if width is not None:
        columns = max(1, min(columns, int((width - bar) / _NARROWEST)))
    rows = math.ceil(len(layers) / columns)
    wide = min(_PANEL, _WIDE / columns) if width is None else (width - bar) / columns
    raster = points.size / 2 > _RASTER_FROM
    extra = 0.85 if kinds else 0.4
    across = max(2.6, wide * columns) + bar if width is None else width
    with page(across, rows * (wide + 0.18) + extra, 200 if raster else 150) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        style = {"s": _size(count, wide), "linewidths": 0, "rasterized": raster}
        for place, layer in enumerate(layers):
            share = None if explained is None else explained[place]
            _panel(panels[place], points[place], layer, share, wide)
            mappable = _draw(panels[place], points[place], values, kinds, style)
            if place + columns >= len(layers):
                panels[place].set_xlabel(say("figure.axis.1"), fontsize=SMALL, labelpad=2)
            if place % columns == 0:
                panels[place].set_ylabel(say("figure.axis.2"), fontsize=SMALL, labelpad=2)
        for spare in panels[len(layers) :]:
            spare.remove()
        heading = _title(title, len(layers), explained is not None, across)
        figure.suptitle(heading, fontsize=FONT, x=0.01, ha="left")
        if kinds:
            _legend(figure, kinds, name)
        elif values is not None:
            _bar(figure, mappable, panels[: len(layers)].tolist(), _bar_label(name, values))
    return figure


def _points(coords: ArrayLike, layers: Sequence[str]) -> F64:
    points = np.asarray(coords, np.float64)
    if points.ndim != 3 or points.shape[2] != 2 or points.shape[0] != len(layers) or not len(layers):
        raise RequestError(
            f"coords have the shape {points.shape} for {len(layers)} layers; "
            "give the shape (layers, points, 2), and a name per layer"
        )
    return np.where(np.isfinite(points).all(axis=2, keepdims=True), points, np.nan)


def _draw(axes: Axes, points: F64, values: F64 | None, groups: list[Group], style: dict[str, Any]) -> Any:
    """Draw the points of a panel; return the object that a colour bar needs."""
    if values is not None:
        empty = np.isnan(values)
        _dots(axes, points[empty], style, c=NONE, marker="x", linewidths=0.6)
        # The bright end of the ramp can't be seen on white without an edge.
        edge = {"edgecolors": GREY, "linewidths": 0.3}
        return _dots(
            axes, points[~empty], style, c=values[~empty], cmap="viridis", **edge, **_ends(values[~empty])
        )
    if not groups:
        return _dots(axes, points, style, c=BLUE)
    most = max((group.inside.sum() for group in groups), default=0)
    for group, members in turns(groups):
        stroke = 0.6 if group.shape == "x" else 0
        size = style["s"] * (_RARE_SIZE if 10 * group.inside.sum() < most else 1)
        _dots(axes, points[members], style, c=group.colour, marker=group.shape, linewidths=stroke, s=size)
    return None


def _dots(axes: Axes, points: F64, style: dict[str, Any], **options: Any) -> Any:
    return axes.scatter(points[:, 0], points[:, 1], **(style | options))


def _ends(values: F64) -> dict[str, float]:
    """Return the ends of the colour ramp, which differ even if all numbers are equal."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    apart = 0.0 if low < high else max(0.5, abs(low) / 10)
    return {"vmin": low - apart, "vmax": high + apart}


def _panel(axes: Axes, points: F64, layer: str, share: Sequence[float] | None, wide: float) -> None:
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="box")
    axes.spines[:].set(visible=True, color="#cccccc", linewidth=0.6)
    title = drawable(str(layer), _NAME_MOST)
    shares = [] if share is None else [number(part) for part in share]
    if shares and None not in shares:
        title += ": " + " + ".join(f"{part:.0%}".rstrip("%") for part in shares if part is not None) + "%"
    axes.set_title(title, fontsize=SMALL, pad=2.5, loc="left")
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        axes.text(
            0.5, 0.5, say("figure.undefined"), transform=axes.transAxes, ha="center", va="center", color=GREY
        )
        return
    middle = (finite.min(axis=0) + finite.max(axis=0)) / 2
    half = float((finite.max(axis=0) - finite.min(axis=0)).max()) / 2 * 1.06 or 1.0
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))


def _legend(figure: Figure, groups: list[Group], name: str | None) -> None:
    names = [f"{drawable(group.name, _LABEL_MOST)} ({group.inside.sum():,})" for group in groups]
    for label, group in zip(names, groups, strict=True):
        figure.axes[0].plot([], [], group.shape, color=group.colour, markersize=4.5, label=label)
    widest = max(width_of(label, SMALL) for label in names) + 22
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        title=None if name is None else drawable(name, 60),
        title_fontsize=SMALL,
        fontsize=SMALL,
        loc="outside lower center",
        ncols=max(1, min(len(groups), int(figure.get_figwidth() * 72 // widest))),
        frameon=False,
        columnspacing=1.2,
        handletextpad=0.2,
    )


def _bar(figure: Figure, mappable: Any, panels: list[Axes], label: str) -> None:
    bar = figure.colorbar(mappable, ax=panels, fraction=0.04, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    assert bar.solids is not None  # present for a continuous ramp
    bar.solids.set(alpha=1)
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.set_label(lines(label, round((figure.get_figheight() - 0.5) * 15), 2), fontsize=SMALL)


def _columns(count: int) -> int:
    """Return the number of columns of panels: about equal to the rows, with few empty places."""
    square = math.ceil(math.sqrt(count))
    return min((square, square + 1), key=lambda columns: -count % columns)


def _title(title: str | None, count: int, explained: bool, wide: float) -> str:
    sentences = [say("figure.own.scale")] if count > 1 else []
    sentences += [say("figure.explained")] if explained else []
    parts = [*([] if title is None else [title[:_TITLE_MOST]]), joined(sentences, language())]
    return "\n".join(lines(part, round(wide * 15)) for part in parts if part)


def _bar_label(name: str | None, values: F64) -> str:
    name = name or say("figure.label")
    return say("figure.no.value", name=name) if np.isnan(values).any() else name


def _size(count: int, wide: float) -> float:
    """Return the area of a point, in square points: smaller the more there are, and the smaller the panel."""
    return float(np.clip(2400 * wide / max(count, 1), 1.6, 16) * min(1.0, wide / 1.4))
