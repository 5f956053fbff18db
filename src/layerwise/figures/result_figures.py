"""The figures that go with the files of a result, written to a folder as SVG and PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from layerwise.errors import RequestError
from layerwise.figures import plots
from layerwise.figures.language import can_draw
from layerwise.figures.result_access import of_pairs, per_layer
from layerwise.wording import Message, reason


def save_probe_figures(result: Mapping[str, Any], folder: Path, lang: str = "en") -> tuple[Message, ...]:
    """Write the layer curve (`probe`), and what a learned mix weighs (`weights`) where there is one.

    Args:
        result: the content of probe.json.
        folder: an existing folder.
        lang: the language of their words.

    Returns:
        notes on what can't be drawn: numbers are complete without figures, for example without matplotlib.
    """
    try:
        plots.save(plots.layer_curve(result, lang=lang), folder / "probe")
        if result["learned"] is not None:
            plots.save(plots.weights(result, lang=lang), folder / "weights")
    except RequestError as error:
        return (Message("note.left.out", why=reason(error)),)
    return () if can_draw(lang) else (Message("note.figures.english"),)


def save_analysis_figures(
    result: Mapping[str, Any],
    folder: Path,
    coords: ArrayLike,
    explained: Any,
    labels: Sequence[str | None] | None,
) -> tuple[Message, ...]:
    """Write a figure of each matrix, of the measures per layer (`geometry`), and of the rows (`projection`).

    Args:
        result: the content of analysis.json.
        folder: an existing folder.
        coords, explained: the rows on a plane and the explained variance, as for `plots.projection`.
        labels: the label of each row, or `None`.

    Returns:
        notes on what can't be drawn, as `save_probe_figures` does.
    """
    try:
        for name in of_pairs(result):
            plots.save(plots.heatmap(result, name), folder / name)
        if per_layer(result):
            plots.save(plots.geometry(result), folder / "geometry")
        figure = plots.projection(coords, result["layers"], labels, explained=explained, name=result["label"])
        plots.save(figure, folder / "projection")
    except RequestError as error:
        return (Message("note.left.out", why=reason(error)),)
    return ()
