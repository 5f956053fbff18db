"""Rows of each layer as points in the plane, a panel per layer, coloured by what is known of the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from layerwise.errors import RequestError
from layerwise.figures.canvas import BLUE, FONT, GREY, SMALL, drawable, page, width_of
from layerwise.figures.display_names import number
from layerwise.figures.groups import NONE, Group, colours
from layerwise.figures.series import lines

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

F64 = NDArray[np.float64]
_RASTER_FROM = 5000  # points on the page
_LABEL_MOST, _NAME_MOST = 24, 16
_TITLE_MOST = 200
_TURN, _TURNS_MOST = 1000, 12
_WIDE = 7.0  # inches at most
_PANEL = 2.1


def projection(
    coords: ArrayLike,
    layers: Sequence[str],
    labels: Sequence[Any] | NDArray[Any] | None = None,
    *,
    title: str | None = None,
    explained: Sequence[Sequence[float]] | NDArray[Any] | None = None,
    name: str | None = None,
) -> Figure:
    """Return the rows of each layer as points, a panel per layer, as a `matplotlib.figure.Figure`.

    Every panel has a scale of its own, the same on both axes. Points are drawn as an image within the vectors
    where there are more than 5,000 of them, so that files stay small.

    Args:
        coords: float or int (layers, points, 2); a point that isn't finite is left out.
        layers: their names.
        labels: one per point. Numbers become a ramp; anything else is a category, of which the 8 most frequent
            have a colour and a shape, and the rest are `other`. Classes with numbers for names: give strings.
            `None` and NaN are missing.
        title: stands above the panels.
        explained: per layer the share of variance of each of the two axes.
        name: what the labels are, for the legend or the colour bar.

    Raises:
        RequestError: shapes that don't fit one another; matplotlib isn't installed.
    """
    points = _points(coords, layers)
    count = points.shape[1]
    values, kinds = colours(labels, count)
    if explained is not None and len(explained) != len(layers):
        raise RequestError(
            f"explained has {len(explained)} entries for {len(layers)} layers; give one per layer"
        )
    columns = _columns(len(layers))
    rows = math.ceil(len(layers) / columns)
    wide = min(_PANEL, _WIDE / columns)
    raster = points.size / 2 > _RASTER_FROM
    extra = 0.85 if kinds else 0.4
    across = max(2.6, wide * columns) + (0 if values is None else 0.55)
    with page(across, rows * (wide + 0.18) + extra, 200 if raster else 150) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        style = {"s": _size(count, wide), "linewidths": 0, "alpha": 0.75 if count > 300 else 0.9}
        style["rasterized"] = raster
        for place, layer in enumerate(layers):
            share = None if explained is None else explained[place]
            _panel(panels[place], points[place], layer, share, wide)
            shown = _draw(panels[place], points[place], values, kinds, style)
            if place + columns >= len(layers):
                panels[place].set_xlabel("axis 1", fontsize=SMALL, labelpad=2)
            if place % columns == 0:
                panels[place].set_ylabel("axis 2", fontsize=SMALL, labelpad=2)
        for spare in panels[len(layers) :]:
            spare.remove()
        said = _title(title, len(layers), explained is not None, across)
        figure.suptitle(said, fontsize=FONT, x=0.01, ha="left")
        if kinds:
            _legend(figure, kinds, name)
        elif values is not None:
            _bar(figure, shown, panels[: len(layers)].tolist(), _bar_label(name, values))
    return figure


def _points(coords: ArrayLike, layers: Sequence[str]) -> F64:
    found = np.asarray(coords, np.float64)
    if found.ndim != 3 or found.shape[2] != 2 or found.shape[0] != len(layers) or not len(layers):
        raise RequestError(
            f"coords have the shape {found.shape} for {len(layers)} layers; give (layers, points, 2), a name per layer"
        )
    return np.where(np.isfinite(found).all(axis=2, keepdims=True), found, np.nan)


def _draw(axes: Axes, points: F64, values: F64 | None, groups: list[Group], style: dict[str, Any]) -> Any:
    """Draw the points of a panel, those with the least to say first; return what a colour bar can read."""
    if values is not None:
        empty = np.isnan(values)
        _dots(axes, points[empty], style, c=NONE, marker="x", linewidths=0.6)
        return _dots(axes, points[~empty], style, c=values[~empty], cmap="viridis", **_ends(values[~empty]))
    if not groups:
        return _dots(axes, points, style, c=BLUE)
    # Many points are drawn in turns, so that no group hides the others.
    turns = np.arange(len(points)) % max(1, min(_TURNS_MOST, len(points) // _TURN))
    for turn in range(turns.max(initial=-1) + 1):
        for group in reversed(groups):
            stroke = 0.6 if group.shape == "x" else 0
            these = points[group.inside & (turns == turn)]
            _dots(axes, these, style, c=group.colour, marker=group.shape, linewidths=stroke)
    return None


def _dots(axes: Axes, points: F64, style: dict[str, Any], **own: Any) -> Any:
    return axes.scatter(points[:, 0], points[:, 1], **(style | own))


def _ends(known: F64) -> dict[str, float]:
    """Return the ends of the ramp, apart even where all numbers are the same."""
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    apart = 0.0 if low < high else max(0.5, abs(low) / 10)
    return {"vmin": low - apart, "vmax": high + apart}


def _panel(axes: Axes, points: F64, layer: str, share: Sequence[float] | None, wide: float) -> None:
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="box")
    axes.spines[:].set(visible=True, color="#cccccc", linewidth=0.6)
    said = drawable(str(layer), _NAME_MOST)
    shares = [] if share is None else [number(one) for one in share]
    if shares and None not in shares:
        said += ": " + " + ".join(f"{one:.0%}".rstrip("%") for one in shares if one is not None) + "%"
    axes.set_title(said, fontsize=SMALL, pad=2.5, loc="left")
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        axes.text(0.5, 0.5, "not defined", transform=axes.transAxes, ha="center", va="center", color=GREY)
        return
    middle = (known.min(axis=0) + known.max(axis=0)) / 2
    half = float((known.max(axis=0) - known.min(axis=0)).max()) / 2 * 1.06 or 1.0
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


def _bar(figure: Figure, shown: Any, panels: list[Axes], label: str) -> None:
    bar = figure.colorbar(shown, ax=panels, fraction=0.04, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    assert bar.solids is not None  # a ramp has them
    bar.solids.set(alpha=1)
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.set_label(lines(label, round((figure.get_figheight() - 0.5) * 15), 2), fontsize=SMALL)


def _columns(count: int) -> int:
    """Return how many panels stand side by side: about as many as below each other, with few places left empty."""
    square = math.ceil(math.sqrt(count))
    return min((square, square + 1), key=lambda columns: -count % columns)


def _title(title: str | None, count: int, explained: bool, wide: float) -> str:
    said = ["Each panel has its own scale."] if count > 1 else []
    said += ["Percentages are shares of variance of the axes."] if explained else []
    parts = [*([] if title is None else [title[:_TITLE_MOST]]), " ".join(said)]
    return "\n".join(lines(part, round(wide * 15)) for part in parts if part)


def _bar_label(name: str | None, values: F64) -> str:
    empty = "; crosses have none" if np.isnan(values).any() else ""
    return f"{name or 'label'}{empty}"


def _size(count: int, wide: float) -> float:
    """Return the area of a point, in square points: smaller the more there are, and the smaller the panel."""
    return float(np.clip(2400 * wide / max(count, 1), 1.6, 16) * min(1.0, wide / 1.4))
