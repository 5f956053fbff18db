"""The figure of the similarity of layers: a cell for every pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise.array_types import F64
from layerwise.errors import RequestError
from layerwise.figures.canvas import FONT, PALE, RAMP, SMALL, drawable, lay_out, page, readable_on, width_of
from layerwise.figures.display_names import number
from layerwise.figures.language import language, say, speaking
from layerwise.figures.result_access import ResultJson, content, listed, of_pairs
from layerwise.figures.series import lines
from layerwise.wording import measure_name, text_in

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

_SIDE_MOST, _CELL_MOST, _CELL_LEAST = 5.4, 0.36, 0.15  # inches
_LEGIBLE = 4.6  # the smallest size of words in a cell, in points
_NAME_MOST = 8
_SAME = 1e-9


@speaking
def heatmap(analysis: Any, measure: str = "linear_cka", *, lang: str = "en") -> Figure:
    """Return the matrix of a measure between layers, as a `matplotlib.figure.Figure`.

    Brighter is more similar. Cells show their number where there is room; undefined cells are hatched. Where the
    order of a pair matters, the row is the first layer.

    Args:
        analysis: what `lw.analyze` returns, or the content of `analysis.json`.
        measure: the name of a measure of pairs of layers.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: the analysis has no such matrix; matplotlib isn't installed.
    """
    analysis = content(analysis, "measures", "analyze")
    matrices = of_pairs(analysis)
    if measure not in matrices:
        raise RequestError(f"no measure between layers is called {measure!r}; {listed(matrices)}")
    matrix, layers = matrices[measure], analysis["layers"]
    values = np.array([[_nan(cell) for cell in row] for row in matrix["values"]], np.float64)
    side = max(1.3, len(layers) * max(_CELL_LEAST, min(_CELL_MOST, _SIDE_MOST / len(layers))))
    with page(side + 1.35, side + 0.75) as figure:
        axes = figure.add_subplot()
        bright = number(matrix.get("alike")) == 0
        low, high = _range(values)
        mesh = axes.pcolormesh(
            np.ma.masked_invalid(values),
            cmap=f"{RAMP}_r" if bright else RAMP,
            vmin=low,
            vmax=high,
            edgecolors="white",
            linewidth=0.4,
        )
        bar = figure.colorbar(mesh, cax=axes.inset_axes((1 + 0.12 / side, 0, 0.13 / side, 1)))
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=SMALL, length=2)
        _frame(axes, layers, ordered=not np.allclose(values, values.T, atol=_SAME, equal_nan=True))
        bar.set_label(lines(_unit(measure, matrix), round(side * 18), 2), fontsize=SMALL)
        axes.set_title(lines(_title(analysis, measure), round(side * 18), 2), fontsize=FONT, loc="left")
        # The size of a cell is only known after the layout.
        lay_out(figure)
        cell = float(axes.bbox.width) / len(layers) * 72 / figure.dpi
        _names(axes, layers, cell)
        _numbers(axes, values, mesh.to_rgba(values), cell)
    return figure


def _range(values: F64) -> tuple[float, float]:
    """Return the ends of the colour ramp: the extremes of the numbers, or a range around them if all are equal."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if high - low > _SAME * max(abs(low), abs(high)):
        return low, high
    return (0.0, 1.0) if 0 <= low <= 1 else (low - abs(low) / 10, high + abs(high) / 10)


def _frame(axes: Axes, layers: Sequence[str], *, ordered: bool) -> None:
    axes.set(xlim=(0, len(layers)), ylim=(len(layers), 0), aspect="equal")
    axes.spines[:].set_visible(False)
    axes.patch.set(facecolor=PALE, edgecolor="#aaaaaa", hatch="////", linewidth=0)
    axes.tick_params(length=0, labelsize=SMALL, pad=2)
    axes.set_xlabel(say("figure.second" if ordered else "figure.layer.axis"), fontsize=SMALL)
    axes.set_ylabel(say("figure.first" if ordered else "figure.layer.axis"), fontsize=SMALL)


def _names(axes: Axes, layers: Sequence[str], cell: float) -> None:
    """Label both axes with layer names, as many as fit."""
    names = [drawable(name, _NAME_MOST) for name in layers]
    step = int(-(-(max(width_of(name, SMALL) for name in names) + 2) // cell))
    for axis, every in ((axes.xaxis, max(1, step)), (axes.yaxis, int(-(-1.1 * SMALL // cell)))):
        axis.set_ticks([i + 0.5 for i in range(0, len(names), every)], names[::every])


def _numbers(axes: Axes, values: F64, colours: F64, cell: float) -> None:
    """Write each number into its cell, or none if the cells are too small."""
    texts = {at: _short(float(values[at])) for at in np.ndindex(values.shape) if np.isfinite(values[at])}
    longest = max(map(len, texts.values()), default=1)
    size = min(SMALL, 0.86 * cell / width_of("0" * longest, 1))
    if size < _LEGIBLE:
        return
    for (row, column), text in texts.items():
        axes.text(
            column + 0.5,
            row + 0.5,
            text,
            ha="center",
            va="center",
            fontsize=size,
            color=readable_on(colours[row, column]),
        )


def _short(value: float) -> str:
    """Return a number in about four characters: `.93`, `1.00`, `−.05`, `12.3`."""
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text.replace("0.", ".", 1).replace("-", "−") if abs(float(text)) < 1 else text.replace("-", "−")


def _unit(measure: str, matrix: ResultJson) -> str:
    name, unit = text_in(measure_name(measure), language()), str(matrix.get("unit", ""))
    return name if not unit or unit in name else f"{name} ({unit})"


def _title(analysis: ResultJson, measure: str) -> str:
    rows = number(analysis.get("rows"))
    name = text_in(measure_name(measure), language())
    return say("figure.title.rows", name=name, n=int(rows)) if rows is not None else name


def _nan(cell: Any) -> float:
    value = number(cell)
    return float("nan") if value is None else value
