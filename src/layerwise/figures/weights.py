"""The figure of a learned mix: the loss of score without each layer, the weights, each layer's share of logit variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layerwise.errors import RequestError
from layerwise.figures.canvas import BLUE, FONT, GREEN, GREY, SMALL, VERMILLION, check_width, page
from layerwise.figures.display_names import named, number
from layerwise.figures.language import language, say, speaking
from layerwise.figures.result_access import ResultJson, content, places
from layerwise.figures.series import draw, frame, layer_values, lines
from layerwise.layers import short_mix

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

_LEAST_LOSS = 0.02
_LABEL_MOST = 28  # characters
_WIDER_FROM = 30  # layers
_NARROWEST = 1.8  # inches, of a panel
_TITLE, _HIGH = 0.5, 1.8  # inches, of the title and of a row of panels


@speaking
def weights(result: Any, *, width: float | None = None, lang: str = "en") -> Figure:
    """Return the weights of a probe's learned mix, panels side by side, as a `matplotlib.figure.Figure`.

    The loss of score when the head is fitted without the layer; softmax weights of the fit, over those of every
    refit, with a dashed line at equal weights; the share of each layer in the variance of the logits. Bars are 95%
    intervals. The title says which layers are needed, and what the weights single out. A panel without any number
    is left out.

    Args:
        result: what `lw.probe` returns, the folder or the `probe.json` that it wrote, or the content of that file.
        width: in inches; by default all panels are side by side, and in a narrow figure one above the other.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: the probe has no learned mix; a width that can't be drawn; matplotlib isn't installed.
    """
    check_width(width)
    result = content(result, "candidates", "probe")
    learned = result.get("learned") or {}
    layer_weights = learned.get("weights")
    if not layer_weights:
        raise RequestError(
            "this probe has no learned mix, so there are no weights to draw; probe with a mix such as learned:all"
        )
    layers = list(layer_weights)
    sides = {name: side for name, side in _sides(learned).items() if _any(side) or side is layer_weights}
    wide = 3.0 if len(layers) > _WIDER_FROM else 2.15
    columns = len(sides) if width is None else max(1, min(len(sides), int(width / _NARROWEST)))
    rows = -(-len(sides) // columns)
    wide = wide if width is None else width / columns
    with page(width or max(3.3, wide * columns), _TITLE + rows * _HIGH) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        panels = grid[: len(sides)]
        for spare in grid[len(sides) :]:
            spare.remove()
        for axes, (name, side) in zip(panels, sides.items(), strict=True):
            series = layer_values(layers, [side.get(layer) for layer in layers])
            refits = (learned.get("refits") or {}) if side is layer_weights else {}
            if refits:
                _refits(axes, layers, refits)
                series = [spot._replace(low=None, high=None) for spot in series]
            colour = (
                BLUE if side is layer_weights else VERMILLION if name == say("figure.variance") else GREEN
            )
            draw(axes, series, colour, band=False)
            frame(axes, layers, series, 72 * (wide - 0.55))
            axes.set_xlabel(say("figure.layer.axis"), fontsize=SMALL)
            axes.set_ylabel(lines(name, 32), fontsize=SMALL)
            if _any(side):
                _anchor(axes, 1 / len(layers) if side is layer_weights else 0.0, name == _loss(learned))
        title = lines(_title(result, learned), round(figure.get_figwidth() * 16), 4)
        figure.suptitle(title, fontsize=FONT, x=0.01, ha="left")
    return figure


def _sides(learned: ResultJson) -> dict[str, Mapping[str, Any]]:
    without = learned.get("left_out") or {}
    return {
        _loss(learned): {k: v.get("difference") for k, v in without.items() if isinstance(v, Mapping)},
        say("figure.weight"): learned["weights"],
        say("figure.variance"): learned.get("logit_variance") or {},
    }


def _loss(learned: ResultJson) -> str:
    metric = str(learned.get("metric") or "score")
    return say("figure.loss", metric=named("metric", metric, language()))


def _any(side: Mapping[str, Any]) -> bool:
    values = (item.get("value") if isinstance(item, Mapping) else item for item in side.values())
    return any(number(value) is not None for value in values)


def _refits(axes: Axes, layers: Sequence[str], refits: Mapping[str, Sequence[float]]) -> None:
    """Draw the weights of every refit as small dots side by side, so that equal ones are all seen."""
    for x, layer in zip(places(layers), layers, strict=True):
        values = [value for value in map(number, refits.get(layer) or ()) if value is not None]
        step = 0.6 / max(1, len(values) - 1)
        at = [x - 0.3 + step * i if len(values) > 1 else x for i in range(len(values))]
        axes.scatter(at, values, s=5, color=GREY, alpha=0.45, linewidths=0, zorder=2)


def _anchor(axes: Axes, at: float, loss: bool) -> None:
    """Draw the reference line; the axis of shares begins at 0, that of losses spans at least `_LEAST_LOSS` around it."""
    if at:
        axes.axhline(at, color=GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    low, high = axes.get_ylim()
    if loss:
        axes.axhline(0, color=GREY, linewidth=0.9, zorder=1)
        axes.set_ylim(min(low, -_LEAST_LOSS), max(high, _LEAST_LOSS))
    else:
        axes.set_ylim(-0.03 * high, high)  # the margin keeps a point at 0 from being cut


def _title(result: ResultJson, learned: ResultJson) -> str:
    label = str(result.get("label", ""))
    label = label if len(label) <= _LABEL_MOST else f"{label[: _LABEL_MOST - 1]}…"
    mix = short_mix(str(learned.get("mix") or say("figure.learned.mix")))
    verdict = say("comma").join(filter(None, (_needed(learned), _singled_out(learned))))
    parts = (
        say("figure.learned.title", label=label, mix=mix),
        verdict[:1].upper() + verdict[1:],
        say("figure.learned.reading.refits" if learned.get("refits") else "figure.learned.reading"),
    )
    return say("figure.stop").join(filter(None, parts))


def _needed(learned: ResultJson) -> str:
    """Return which layers the ablation shows to be needed, in a few words."""
    needed = learned.get("needed")
    if needed is None or not learned.get("left_out"):
        return ""
    return say("figure.needed", names=needed) if needed else say("figure.needed.none")


def _singled_out(learned: ResultJson) -> str:
    """Return what the weights single out, in a few words."""
    leading = learned.get("leading")
    if not leading:
        return ""
    if len(leading) == 1:
        return say("figure.single", name=leading[0])
    if len(leading) == len(learned["weights"]):
        return say("figure.nothing")
    return say("figure.several", names=leading)
