"""The figure of the similarity of layers: a cell for every pair."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from layerwise._util.display import half_up, rounded
from layerwise.array_types import F64
from layerwise.errors import RequestError
from layerwise.figures.canvas import (
    FONT,
    PALE,
    RAMP,
    SMALL,
    check_width,
    drawable,
    lay_out,
    page,
    readable_on,
    width_of,
)
from layerwise.figures.display_names import number
from layerwise.figures.language import language, say, speaking
from layerwise.figures.measure_scale import (
    caution_text,
    floor_text,
    is_distance,
    places,
    ramp_ends,
    usable_cells,
)
from layerwise.figures.result_access import ResultJson, content, listed, of_pairs
from layerwise.figures.series import lines
from layerwise.wording import measure_name, text_in

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

_SIDE_MOST, _CELL_MOST, _CELL_LEAST = 5.4, 0.36, 0.15  # inches
_BESIDE = 1.42  # inches beside the cells: the names of layers and the ramp of colours
LEGIBLE = 4.6  # the smallest size of words in a cell, in points
_NAME_MOST = 8
_LINE = 0.14  # inches that a further line of the title takes
_SAME = 1e-9
_GREYED = (0.86, 0.86, 0.86)


@speaking
def heatmap(
    analysis: Any, measure: str = "linear_cka", *, width: float | None = None, lang: str = "en"
) -> Figure:
    """Return the matrix of a measure between layers, as a `matplotlib.figure.Figure`.

    Brighter is more similar, also for a distance: colours run from unrelated layers (the floor of the measure) to
    identical ones. Cells show their number where there is room. Numbers that can't be told from those of unrelated layers
    are grey, and the title says why; undefined cells are hatched. Where the order of a pair matters, the row is the first
    layer.

    Args:
        analysis: what `lw.analyze` returns, the folder or the `analysis.json` that it wrote, or the content of that file.
        measure: the name of a measure of pairs of layers.
        width: in inches; by default the numbers of up to 15 layers have room in their cells.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: the analysis has no such matrix; a width that can't be drawn; matplotlib isn't installed.
    """
    check_width(width)
    analysis = content(analysis, "measures", "analyze")
    matrices = of_pairs(analysis)
    if measure not in matrices:
        raise RequestError(f"no measure between layers is called {measure!r}; {listed(matrices)}")
    matrix, layers = matrices[measure], analysis["layers"]
    values = np.array([[_nan(cell) for cell in row] for row in matrix["values"]], np.float64)
    side = max(1.3, len(layers) * max(_CELL_LEAST, min(_CELL_MOST, _SIDE_MOST / len(layers))))
    side = side if width is None else width - _BESIDE
    with page(side + _BESIDE, side + 0.75) as figure:
        axes = figure.add_subplot()
        usable = np.array(usable_cells(matrix), bool)
        mesh = _cells(axes, values, usable, matrix)
        _frame(axes, layers, ordered=not np.allclose(values, values.T, atol=_SAME, equal_nan=True))
        letters = round(side * 18)
        if (np.isfinite(values) & usable).any():
            _bar(
                figure, mesh, axes.inset_axes((1 + 0.12 / side, 0, 0.13 / side, 1)), measure, matrix, letters
            )
        title = _title(analysis, measure, matrix, letters)
        figure.set_figheight(side + 0.75 + _LINE * title.count("\n"))
        axes.set_title(title, fontsize=FONT, loc="left")
        # The size of a cell is only known after the layout.
        lay_out(figure)
        cell = float(axes.bbox.width) / len(layers) * 72 / figure.dpi
        _names(axes, layers, cell)
        _numbers(axes, values, _cell_colours(mesh, values, usable), cell, places(matrix))
    return figure


def _cells(axes: Axes, values: F64, usable: NDArray[np.bool_], matrix: ResultJson) -> Any:
    """Draw usable numbers as colours and others in grey; return the mesh of colours."""
    unlike, alike = ramp_ends(matrix)
    mesh = axes.pcolormesh(
        np.ma.masked_where(~np.isfinite(values) | ~usable, values),
        cmap=RAMP if unlike < alike else f"{RAMP}_r",
        vmin=min(unlike, alike),
        vmax=max(unlike, alike),
        edgecolors="white",
        linewidth=0.4,
    )
    greyed = np.isfinite(values) & ~usable
    if greyed.any():
        colours = np.zeros((*values.shape, 4))
        colours[greyed] = (*_GREYED, 1)
        axes.pcolormesh(colours, edgecolors="none", linewidth=0)
    return mesh


def _cell_colours(mesh: Any, values: F64, usable: NDArray[np.bool_]) -> F64:
    """Return the colour behind each number, (L, L, 4)."""
    colours: F64 = mesh.to_rgba(values)
    colours[~usable] = (*_GREYED, 1)
    return colours


def _bar(figure: Figure, mesh: Any, place: Axes, measure: str, matrix: ResultJson, letters: int) -> None:
    """Draw the ramp of colours, identical layers on top, with white lines at the ends of what unrelated ones give."""
    bar = figure.colorbar(mesh, cax=place)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, length=2)
    bar.set_label(lines(_unit(measure, matrix), letters, 2), fontsize=SMALL)
    floor = np.array([[_nan(cell) for cell in row] for row in matrix.get("floor") or []], np.float64)
    if np.isfinite(floor).any():
        for end in {float(np.nanmin(floor)), float(np.nanmax(floor))}:
            bar.ax.axhline(end, color="white", linewidth=1.2)
    if is_distance(matrix):
        bar.ax.invert_yaxis()


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


def _numbers(axes: Axes, values: F64, colours: F64, cell: float, decimals: int) -> None:
    """Write each number into its cell, or none if the cells are too small."""
    texts = {
        at: short_number(float(values[at]), decimals)
        for at in np.ndindex(values.shape)
        if np.isfinite(values[at])
    }
    longest = max(map(len, texts.values()), default=1)
    size = min(SMALL, 0.86 * cell / width_of("0" * longest, 1))
    if size < LEGIBLE:
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


def short_number(value: float, decimals: int = 2) -> str:
    """Return a number in about four characters: `.93`, `1.00`, `−.05`, `12.3`; with fewer decimals where fewer are precise."""
    if abs(value) >= 10:
        return rounded(value)
    return re.sub(r"^(−?)0\.", r"\1.", half_up(value, min(decimals, 2)))


def _unit(measure: str, matrix: ResultJson) -> str:
    name, unit = text_in(measure_name(measure), language()), str(matrix.get("unit", ""))
    return name if not unit or unit in name else f"{name} ({unit})"


def _title(analysis: ResultJson, measure: str, matrix: ResultJson, letters: int) -> str:
    """Return the measure, the number of rows, and why the measure can't be used, or what unrelated layers give."""
    rows = number(analysis.get("rows"))
    name = text_in(measure_name(measure), language())
    name = say("figure.title.rows", name=name, n=int(rows)) if rows is not None else name
    caution, floor = caution_text(matrix), floor_text(matrix)
    below = caution or (say("figure.white", words=floor) if floor else "")
    return "\n".join(filter(None, (lines(name, letters, 2), lines(below, letters, 6))))


def _nan(cell: Any) -> float:
    value = number(cell)
    return float("nan") if value is None else value
