"""The figure of retrieval in several directions: a row for each, a column for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise.array_types import F64
from layerwise.errors import RequestError
from layerwise.figures.canvas import (
    FONT,
    PALE,
    RAMP,
    SMALL,
    check_width,
    drawable,
    page,
    readable_on,
    width_of,
)
from layerwise.figures.display_names import number
from layerwise.figures.heatmap import LEGIBLE, short_number
from layerwise.figures.language import language, say, speaking
from layerwise.figures.result_access import ResultJson, content, listed, of_directions
from layerwise.figures.series import lines
from layerwise.wording import measure_name, text_in

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

_CELL = 0.36  # inches; in a wide figure cells are wider, and not higher
_BESIDE, _ABOVE = 0.3, 0.8  # inches, beside and above the cells and the names
_NAME_MOST = 24


@speaking
def directions(
    analysis: Any, measure: str = "retrieval_cosine", *, width: float | None = None, lang: str = "en"
) -> Figure:
    """Return a measure of retrieval by direction and layer, as a `matplotlib.figure.Figure`.

    Colours run from 0 to 1 in every figure, so that two of them can be compared; undefined cells are hatched.

    Args:
        analysis: what `lw.analyze` returns, the folder or the `analysis.json` that it wrote, or the content of that file.
        measure: the name of a measure with directions.
        width: in inches; by default each number has room in its cell.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: the analysis has no such measure; a width that can't be drawn; matplotlib isn't installed.
    """
    check_width(width)
    analysis = content(analysis, "measures", "analyze")
    measures = of_directions(analysis)
    if measure not in measures:
        raise RequestError(f"no measure with directions is called {measure!r}; {listed(measures)}")
    by_direction, layers = measures[measure]["values"], analysis["layers"]
    values = np.array([[_nan(cell) for cell in row] for row in by_direction.values()], np.float64)
    names = max(width_of(drawable(name, _NAME_MOST), SMALL) for name in by_direction) / 72
    cell = _CELL if width is None else (width - names - _BESIDE) / len(layers)
    wide, high = cell * len(layers), min(cell, _CELL) * len(values)
    with page(width or wide + names + _BESIDE, high + _ABOVE) as figure:
        axes = figure.add_subplot()
        _cells(axes, values, min(SMALL, cell * 72 / width_of("0000", 1)))
        _frame(axes, list(by_direction), layers)
        axes.set_title(lines(_title(measure, measures[measure]), round(wide * 16)), fontsize=FONT, loc="left")
    return figure


def _cells(axes: Axes, values: F64, size: float) -> None:
    """Draw a cell for each number, and the number in it, `size` points high, where it can be read."""
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=RAMP, vmin=0, vmax=1, edgecolors="white", linewidth=0.4
    )
    colours = mesh.to_rgba(values)
    for row, column in np.argwhere(np.isfinite(values)).tolist() if size >= LEGIBLE else ():
        axes.text(
            column + 0.5,
            row + 0.5,
            short_number(float(values[row, column])),
            ha="center",
            va="center",
            fontsize=size,
            color=readable_on(colours[row, column]),
        )


def _frame(axes: Axes, names: Sequence[str], layers: Sequence[str]) -> None:
    axes.set(xlim=(0, len(layers)), ylim=(len(names), 0))
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
