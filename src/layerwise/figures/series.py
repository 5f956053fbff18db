"""Draw numbers per layer: points with intervals, gaps where a number is undefined, layer names on the axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from layerwise.figures.canvas import GREY, PALE, SITE_COLOURS, SMALL, STEPS, drawable, width_of
from layerwise.figures.display_names import number
from layerwise.figures.language import say
from layerwise.figures.result_access import outputs, places
from layerwise.figures.text_width import wrapped
from layerwise.layers import SITES, site

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes

_MANY = 30  # layers, from which on points are smaller
_NAME_MOST = 8  # characters


class LayerValue(NamedTuple):
    """A layer's number: position of the layer, value, ends of the interval; `None` where undefined; and its site."""

    x: float
    value: float | None
    low: float | None
    high: float | None
    site: str = ""


def layer_values(layers: Sequence[str], items: Iterable[Any]) -> list[LayerValue]:
    """Return the numbers of layers in order of depth; items are mappings with `value`, `low`, `high`, or numbers."""
    series = []
    for x, name, item in zip(places(layers), layers, items, strict=True):
        all_three = item if isinstance(item, Mapping) else {"value": item}
        value, low, high = (number(all_three.get(key)) for key in ("value", "low", "high"))
        series.append(LayerValue(x, value, low, high, site(name) or ""))
    return sorted(series)


def draw(axes: Axes, series: Sequence[LayerValue], colour: str, *, band: bool) -> None:
    """Draw a series: points joined by a line within a band, or points alone with bars.

    Where a number is undefined the line has a gap; a band of one layer is a bar. Each site has its own line and colour.
    """
    for name in ("", *SITES):
        of_site = [spot for spot in series if spot.site == name]
        if of_site:
            _draw_site(axes, of_site, SITE_COLOURS.get(name, colour), band=band)


def _draw_site(axes: Axes, series: Sequence[LayerValue], colour: str, *, band: bool) -> None:
    size = 3.6 if len(series) <= _MANY else 2.4
    ends = [(spot.x, spot.low, spot.high) for spot in series]
    for run in runs(ends):
        x, low, high = zip(*run, strict=True)
        if band and len(run) > 1:
            axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0, zorder=2)
        else:
            axes.vlines(x, low, high, color=colour, alpha=0.55, linewidth=1.4, zorder=2)
    for run in runs([(spot.x, spot.value) for spot in series]):
        x, value = zip(*run, strict=True)
        axes.plot(
            x,
            value,
            "o",
            color=colour,
            markersize=size,
            linestyle="-" if band else "",
            linewidth=1.1,
            zorder=3,
        )


def frame(axes: Axes, layers: Sequence[str], series: Sequence[LayerValue], wide: float) -> None:
    """Label the x axis, about `wide` points wide, with layer names; write "not defined" if no number is defined."""
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL, pad=2)
    axes.locator_params(axis="y", nbins=5, steps=STEPS)
    at = dict(zip(layers, places(layers), strict=True))
    named = sorted((at[name], drawable(name, _NAME_MOST)) for name in outputs(layers))
    first, last = named[0][0], named[-1][0]
    axes.set_xlim(first - 0.6, last + 0.6)
    named = apart(named, wide / (last - first + 1.2))
    axes.set_xticks([x for x, _ in named], [name for _, name in named])
    if all(spot.value is None for spot in series):
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, say("figure.undefined"), transform=axes.transAxes, ha="center", va="center", color=GREY
        )


def lines(text: str, width: int, most: int = 3) -> str:
    """Return text in at most `most` lines of about `width` letters; the last ends in `…` if text is cut."""
    return wrapped(drawable(text), width, most)


def runs(items: Sequence[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """Return the runs of consecutive items that contain no `None`."""
    grouped = groupby(items, key=lambda item: None not in item)
    return [list(run) for whole, run in grouped if whole]


def apart(named: Sequence[tuple[float, str]], unit: float) -> list[tuple[float, str]]:
    """Return the ticks at every depth, or every second, and so on, so that no names overlap.

    `unit` is the distance between two successive depths, in points.
    """

    def fits(first: tuple[float, str], second: tuple[float, str]) -> bool:
        return (second[0] - first[0]) * unit >= width_of(first[1] + second[1], SMALL) / 2 + 2.5

    for step in range(1, int(named[-1][0] - named[0][0]) + 1):
        ticks = [first for first in named if (first[0] - named[0][0]) % step == 0]
        if all(map(fits, ticks, ticks[1:])):
            return ticks
    return [named[0]]
