"""The figure of retrieval in several directions: a row for each, a column for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise.array_types import F64
from layerwise.errors import RequestError
from layerwise.figures.canvas import FONT, PALE, RAMP, SMALL, drawable, page, readable_on
from layerwise.figures.display_names import number
from layerwise.figures.heatmap import short_number
from layerwise.figures.language import language, say, speaking
from layerwise.figures.result_access import ResultJson, content, listed, of_directions
from layerwise.figures.series import lines
from layerwise.wording import measure_name, text_in

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

_CELL = 0.36  # inches
_NAME_MOST = 24


@speaking
def directions(analysis: Any, measure: str = "retrieval_cosine", *, lang: str = "en") -> Figure:
    """Return a measure of retrieval by direction and layer, as a `matplotlib.figure.Figure`.

    Colours run from 0 to 1 in every figure, so that two of them can be compared; undefined cells are hatched.

    Args:
        analysis: what `lw.analyze` returns, or the content of `analysis.json`.
        measure: the name of a measure with directions.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: the analysis has no such measure; matplotlib isn't installed.
    """
    analysis = content(analysis, "measures", "analyze")
    measures = of_directions(analysis)
    if measure not in measures:
        raise RequestError(f"no measure with directions is called {measure!r}; {listed(measures)}")
    by_direction, layers = measures[measure]["values"], analysis["layers"]
    values = np.array([[_nan(cell) for cell in row] for row in by_direction.values()], np.float64)
    wide, high = _CELL * len(layers), _CELL * len(values)
    with page(wide + 2.2, high + 1.0) as figure:
        axes = figure.add_subplot()
        _cells(axes, values)
        _frame(axes, list(by_direction), layers)
        axes.set_title(lines(_title(measure, measures[measure]), round(wide * 16)), fontsize=FONT, loc="left")
    return figure


def _cells(axes: Axes, values: F64) -> None:
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=RAMP, vmin=0, vmax=1, edgecolors="white", linewidth=0.4
    )
    colours = mesh.to_rgba(values)
    for row, column in np.argwhere(np.isfinite(values)).tolist():
        axes.text(
            column + 0.5,
            row + 0.5,
            short_number(float(values[row, column])),
            ha="center",
            va="center",
            fontsize=SMALL,
            color=readable_on(colours[row, column]),
        )


def _frame(axes: Axes, names: Sequence[str], layers: Sequence[str]) -> None:
    axes.set(xlim=(0, len(layers)), ylim=(len(names), 0), aspect="equal")
    axes.spines[:].set_visible(False)
    axes.patch.set(facecolor=PALE, edgecolor="#aaaaaa", hatch="////", linewidth=0)
    axes.tick_params(length=0, labelsize=SMALL, pad=2)
    axes.set_xticks([place + 0.5 for place in range(len(layers))], [drawable(name, 8) for name in layers])
    shown = [drawable(name.replace(">", " → "), _NAME_MOST) for name in names]
    axes.set_yticks([place + 0.5 for place in range(len(names))], shown)
    axes.set_xlabel(say("figure.layer.axis"), fontsize=SMALL)


def _title(measure: str, content: ResultJson) -> str:
    name, unit = text_in(measure_name(measure), language()), str(content.get("unit", ""))
    return f"{name} ({unit})" if unit else name


def _nan(cell: Any) -> float:
    value = number(cell)
    return float("nan") if value is None else value
