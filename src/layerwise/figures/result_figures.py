"""The figures that go with the files of a result, written to a folder as SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from layerwise.errors import RequestError
from layerwise.figures import plots
from layerwise.figures.canvas import font_note, without_font, write
from layerwise.figures.language import can_draw
from layerwise.figures.result_access import of_directions, of_pairs, per_layer
from layerwise.wording import Message, reason

if TYPE_CHECKING:
    from layerwise.figures.canvas import Figure


def save_probe_figures(result: Mapping[str, Any], folder: Path, lang: str = "en") -> tuple[Message, ...]:
    """Write the layer curve (`probe`), and what a learned mix weighs (`weights`) where there is one.

    Args:
        result: the content of probe.json.
        folder: an existing folder.
        lang: the language of their words.

    Returns:
        notes on what can't be drawn: numbers are complete without figures, for example without matplotlib.
    """
    return _written(_probe_figures(result, lang), folder, lang)


def save_analysis_figures(
    result: Mapping[str, Any],
    folder: Path,
    coords: ArrayLike,
    explained: Any,
    labels: Sequence[str | None] | None,
    lang: str = "en",
) -> tuple[Message, ...]:
    """Write a figure of each matrix, of the measures per layer (`geometry`), and of the rows (`projection`).

    Args:
        result: the content of analysis.json.
        folder: an existing folder.
        coords, explained: the rows on a plane and the explained variance, as for `plots.projection`.
        labels: the label of each row, or `None`.
        lang: the language of their words.

    Returns:
        notes on what can't be drawn, as `save_probe_figures` does.
    """
    return _written(_analysis_figures(result, coords, explained, labels, lang), folder, lang)


def _probe_figures(result: Mapping[str, Any], lang: str) -> Iterator[tuple[str, Figure]]:
    yield "probe", plots.layer_curve(result, lang=lang)
    if result["learned"] is not None:
        yield "weights", plots.weights(result, lang=lang)


def _analysis_figures(
    result: Mapping[str, Any],
    coords: ArrayLike,
    explained: Any,
    labels: Sequence[str | None] | None,
    lang: str,
) -> Iterator[tuple[str, Figure]]:
    for name in of_pairs(result):
        yield name, plots.heatmap(result, name, lang=lang)
    for name in of_directions(result):
        yield name, plots.directions(result, name, lang=lang)
    if per_layer(result):
        yield "geometry", plots.geometry(result, lang=lang)
    yield (
        "projection",
        plots.projection(
            coords, result["layers"], labels, explained=explained, name=result["label"], lang=lang
        ),
    )


def _written(figures: Iterator[tuple[str, Figure]], folder: Path, lang: str) -> tuple[Message, ...]:
    """Write figures by name, and return what can't be drawn: one note on all characters without a font, or on the language."""
    missing: set[str] = set()
    try:
        for name, figure in figures:
            write(figure, folder / name)
            missing.update(without_font(figure))
    except RequestError as error:
        return (Message("note.left.out", why=reason(error)),)
    if missing:
        return (font_note("".join(sorted(missing))),)
    return () if can_draw(lang) else (Message("note.figures.english"),)
