"""The figure of an analysis: a small panel for every measure that is a number per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from layerwise.errors import RequestError
from layerwise.figures.canvas import BLUE, FONT, SMALL, page
from layerwise.figures.display_names import number
from layerwise.figures.language import language, say, speaking
from layerwise.figures.result_access import ResultJson, content, listed, per_layer
from layerwise.figures.series import draw, frame, layer_values, lines
from layerwise.wording import measure_name, text_in

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

_WIDE, _HIGH = 2.15, 1.62  # of a panel, in inches
_COLUMNS = 3
_WIDER_FROM = 30  # layers


@speaking
def geometry(analysis: Any, measures: str | Sequence[str] | None = None, *, lang: str = "en") -> Figure:
    """Return small panels, one per measure that is a number per layer, as a `matplotlib.figure.Figure`.

    Layers are in order of depth; bands are 95% intervals; the line has a gap where a measure isn't defined.

    Args:
        analysis: what `lw.analyze` returns, or the content of `analysis.json`.
        measures: names of the measures to draw, in this order; all when left out.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: a measure that the analysis lacks, or none at all; matplotlib isn't installed.
    """
    analysis = content(analysis, "measures", "analyze")
    chosen = _chosen(per_layer(analysis), measures)
    layers = analysis["layers"]
    columns = min(_COLUMNS, len(chosen))
    wide = _WIDE * (1.4 if len(layers) > _WIDER_FROM else 1)
    rows = math.ceil(len(chosen) / columns)
    with page(columns * wide, rows * _HIGH + 0.35) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for place, (name, measure) in enumerate(chosen.items()):
            _panel(panels[place], layers, name, measure, 72 * (wide - 0.6))
            if place + columns >= len(chosen):
                panels[place].set_xlabel(say("figure.layer.axis"), fontsize=SMALL)
        for spare in panels[len(chosen) :]:
            spare.remove()
        title = lines(_title(analysis, chosen), round(columns * wide * 16))
        figure.suptitle(title, fontsize=FONT, x=0.01, ha="left")
    return figure


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
    ends = [measure.get(end) or [None] * len(layers) for end in ("low", "high")]
    items = [
        dict(zip(("value", "low", "high"), three, strict=True))
        for three in zip(measure["values"], *ends, strict=True)
    ]
    series = layer_values(layers, items)
    draw(axes, series, BLUE, band=True)
    frame(axes, layers, series, wide)
    axes.set_title(
        lines(text_in(measure_name(name), language()), round(wide / 4.4), 2), fontsize=FONT, loc="left", pad=4
    )
    axes.set_ylabel(lines(str(measure.get("unit", "")), 20), fontsize=SMALL)
