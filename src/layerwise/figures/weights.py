"""The figure of a learned mix: its weights, each layer's share of logit variance, the score that each layer adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from layerwise.errors import RequestError
from layerwise.figures.canvas import BLUE, FONT, GREEN, GREY, SMALL, VERMILLION, page
from layerwise.figures.display_names import named, number, unit_of
from layerwise.figures.language import language, say, speaking
from layerwise.figures.result_access import ResultJson, content
from layerwise.figures.series import draw, frame, layer_values, lines
from layerwise.layers import short_mix

if TYPE_CHECKING:
    from layerwise.figures.canvas import Axes, Figure

_LABEL_MOST = 28  # characters
_WIDER_FROM = 30  # layers


@speaking
def weights(result: Any, *, lang: str = "en") -> Figure:
    """Return the weights of a probe's learned mix, panels side by side, as a `matplotlib.figure.Figure`.

    Softmax weights, with a dashed line at equal weights; the share of each layer in the variance of the
    logits; the loss of score when the head is fitted without the layer. Bars are 95% intervals. A panel
    without any number is left out.

    Args:
        result: what `lw.probe` returns, or the content of `probe.json`.
        lang: the language of its words, `en` or `zh`.

    Raises:
        RequestError: the probe has no learned mix; matplotlib isn't installed.
    """
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
    with page(max(3.3, wide * len(sides)), 2.3) as figure:
        panels = figure.subplots(1, len(sides), squeeze=False)[0]
        for axes, (name, side), colour in zip(panels, sides.items(), (BLUE, VERMILLION, GREEN), strict=False):
            series = layer_values(layers, [side.get(layer) for layer in layers])
            draw(axes, series, colour, band=False)
            frame(axes, layers, series, 72 * (wide - 0.55))
            axes.set_xlabel(say("figure.layer.axis"), fontsize=SMALL)
            axes.set_ylabel(lines(name, 32), fontsize=SMALL)
            if _any(side):
                _anchor(
                    axes, 1 / len(layers) if side is layer_weights else 0.0, shares=name != _added(learned)
                )
        title = lines(_title(result, learned), round(figure.get_figwidth() * 16))
        figure.suptitle(title, fontsize=FONT, x=0.01, ha="left")
    return figure


def _sides(learned: ResultJson) -> dict[str, Mapping[str, Any]]:
    without = learned.get("left_out") or {}
    return {
        say("figure.weight"): learned["weights"],
        say("figure.variance"): learned.get("logit_variance") or {},
        _added(learned): {k: v.get("difference") for k, v in without.items() if isinstance(v, Mapping)},
    }


def _added(learned: ResultJson) -> str:
    metric = str(learned.get("metric") or "score")
    unit = unit_of(metric, language())
    return say("figure.adds", metric=named("metric", metric, language()), unit=unit)


def _any(side: Mapping[str, Any]) -> bool:
    values = (item.get("value") if isinstance(item, Mapping) else item for item in side.values())
    return any(number(value) is not None for value in values)


def _anchor(axes: Axes, at: float, *, shares: bool) -> None:
    """Draw the reference line, and let the axis of shares begin at 0."""
    if at:
        axes.axhline(at, color=GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    elif not shares:
        axes.axhline(0, color=GREY, linewidth=0.9, zorder=1)
    if shares:
        top = axes.get_ylim()[1]
        axes.set_ylim(-0.03 * top, top)  # the margin keeps a point at 0 from being cut


def _title(result: ResultJson, learned: ResultJson) -> str:
    label = str(result.get("label", ""))
    label = label if len(label) <= _LABEL_MOST else f"{label[: _LABEL_MOST - 1]}…"
    mix = short_mix(str(learned.get("mix") or say("figure.learned.mix")))
    return say("figure.learned.title", label=label, mix=mix)
