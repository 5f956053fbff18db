"""The figure of an analysis: a small panel for every measure that is a number per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from layerwise.errors import RequestError
from layerwise.figures.canvas import BLUE, FONT, GREY, SITE_COLOURS, SMALL, check_width, page
from layerwise.figures.display_names import number
from layerwise.figures.language import language, say, speaking
from layerwise.figures.measure_scale import axis_ends, caution_text, floor_text, usable_cells
from layerwise.figures.result_access import ResultJson, content, few_directions, listed, per_layer
from layerwise.figures.series import draw, frame, layer_values, lines, runs
from layerwise.layers import site
from layerwise.wording import measure_name, text_in

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

_WIDE, _HIGH = 2.15, 1.62  # of a panel, in inches
_COLUMNS = 3
_NARROWEST = 1.6  # inches, of a panel in a figure of a given width
_WIDER_FROM = 30  # layers


@speaking
def geometry(
    analysis: Any,
    measures: str | Sequence[str] | None = None,
    *,
    width: float | None = None,
    lang: str = "en",
) -> Figure:
    """Return small panels, one per measure that is a number per layer, as a `matplotlib.figure.Figure`.

    Layers are in order of depth; bands are 95% intervals; the line has a gap where a measure isn't defined or can't be
    used. A dashed line is what rows, classes or layers without any relation give, where there is such a number. An axis
    never shows less than a span that means something, such as 0.05 of a cosine.

    Args:
        analysis: what `lw.analyze` returns, the folder or the `analysis.json` that it wrote, or the content of that file.
        measures: names of the measures to draw, in this order; when left out all, but of retrieval in more than two
            directions, which `plots.directions` draws.
        width: in inches; by default up to three panels are side by side, and in a narrow figure fewer.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: a measure that the analysis lacks, or none at all; a width that can't be drawn; matplotlib isn't installed.
    """
    check_width(width)
    analysis = content(analysis, "measures", "analyze")
    chosen = _chosen(few_directions(analysis) if measures is None else per_layer(analysis), measures)
    layers = analysis["layers"]
    columns = min(_COLUMNS, len(chosen))
    wide = _WIDE * (1.4 if len(layers) > _WIDER_FROM else 1)
    beside = 0.6 if width is None else 0.85  # inches, of a panel: the numbers and the name of its axis
    if width is not None:
        columns = max(1, min(columns, int(width / _NARROWEST)))
        wide = width / columns
    rows = math.ceil(len(chosen) / columns)
    with page(columns * wide, rows * _HIGH + 0.35) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for place, (name, measure) in enumerate(chosen.items()):
            _panel(panels[place], layers, name, measure, 72 * (wide - beside))
            below = [say("figure.layer.axis")] if place + columns >= len(chosen) else []
            below += [
                lines(floor, round(72 * (wide - beside) / 4.2), 2)
                for floor in [_floor_words(measure)]
                if floor
            ]
            panels[place].set_xlabel("\n".join(below), fontsize=SMALL)
        for spare in panels[len(chosen) :]:
            spare.remove()
        title = lines(_title(analysis, chosen), round(columns * wide * 16))
        figure.suptitle(title, fontsize=FONT, x=0.01, ha="left")
        if any(map(site, layers)):
            _site_legend(figure, panels[0], layers)
    return figure


def _site_legend(figure: Figure, axes: Axes, layers: Sequence[str]) -> None:
    """Draw what the colours of sites mean, under the panels."""
    colours = {site(name): SITE_COLOURS.get(site(name) or "", BLUE) for name in layers}
    for name, colour in colours.items():
        label = say("figure.one.layer" if name is None else f"probe.site.{name}")
        axes.plot([], [], "o-", color=colour, markersize=3.6, linewidth=1.1, label=label)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=SMALL, frameon=False)


def _chosen(available: dict[str, ResultJson], measures: str | Sequence[str] | None) -> dict[str, ResultJson]:
    names = [measures] if isinstance(measures, str) else list(available if measures is None else measures)
    for name in names:
        if name not in available:
            raise RequestError(f"no measure with a number per layer is called {name!r}; {listed(available)}")
    if not names:
        raise RequestError(
            f"there is nothing to draw; give measures with a number per layer; {listed(available)}"
        )
    return {name: available[name] for name in names}


def _title(analysis: ResultJson, chosen: dict[str, ResultJson]) -> str:
    rows = number(analysis.get("rows"))
    parts = [say("figure.rows", n=int(rows))] if rows is not None else []
    parts += [say("figure.bands")] if any(measure.get("low") for measure in chosen.values()) else []
    return say("comma").join(parts)


def _panel(axes: Axes, layers: Sequence[str], name: str, measure: ResultJson, wide: float) -> None:
    usable = usable_cells(measure)
    ends = [measure.get(end) or [None] * len(layers) for end in ("low", "high")]
    items = [
        dict(zip(("value", "low", "high"), three if fit else (None,) * 3, strict=True))
        for three, fit in zip(zip(measure["values"], *ends, strict=True), usable, strict=True)
    ]
    series = layer_values(layers, items)
    draw(axes, series, BLUE, band=True)
    low, high = axis_ends(measure)
    axes.set_ylim(low, high)
    floor = [
        (value.x, value.value) for value in layer_values(layers, measure.get("floor") or [None] * len(layers))
    ]
    for run in runs([(x, at) for x, at in floor if at is None or low <= at <= high]):
        axes.plot(
            *zip(*_widened(run), strict=True), color=GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1
        )
    frame(axes, layers, series, wide)
    caution = caution_text(measure)
    if caution and not any(value.value is not None for value in series):
        for text in axes.texts:
            text.set(text=lines(caution, round(wide / 4), 7), fontsize=SMALL)
    axes.set_title(
        lines(text_in(measure_name(name), language()), round(wide / 4.4), 2), fontsize=FONT, loc="left", pad=4
    )
    axes.set_ylabel(lines(str(measure.get("unit", "")), 20), fontsize=SMALL)


def _floor_words(measure: ResultJson) -> str:
    """Return what the dashed line is, or where the floor lies that the axis doesn't show."""
    text, (low, high) = floor_text(measure), axis_ends(measure)
    if not text:
        return ""
    floors = [at for at in map(number, measure["floor"]) if at is not None]
    if any(low <= at <= high for at in floors):
        return say("floor.dashed", words=text)
    return say("floor.below" if max(floors) < low else "floor.above", words=text)


def _widened(run: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points with the first and the last moved outwards, so that the floor of one layer is a line too."""
    (first, low), (last, high) = run[0], run[-1]
    return [(first - 0.4, low), *run, (last + 0.4, high)]
