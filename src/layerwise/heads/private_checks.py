"""Checks of private training: options out of range, and whatever would look at the private rows."""

from __future__ import annotations

from collections.abc import Sequence

from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.heads.advised_mix import MixAdvice
from layerwise.labels.labelled import Labelled
from layerwise.labels.plan import TaskSpec
from layerwise.options import TrainOptions
from layerwise.store import LayerDataset

_FIXED = "the head is linear, and its steps are fixed before any row is seen"
_REFUSED = {
    "seed": "the noise must come from the system's random source, since whoever knows the seed can take it off",
    "class_weight": "it counts the private rows",
    "label_separator": "a row has one class",
    **dict.fromkeys(
        ("head_type", "hidden", "shared_hidden", "epochs", "patience", "layer_dropout", "draws"), _FIXED
    ),
}


def check_private(options: TrainOptions) -> None:
    """Check the options of private training, and that none of them is given without it.

    Raises:
        RequestError: ε or δ out of range or missing, or an option that would look at the private rows.
    """
    if options.private is None:
        for name in ("delta", "public"):
            if getattr(options, name) is not None:
                raise RequestError(
                    f"{argument(name, getattr(options, name))} only applies to {argument('private')}; "
                    f"give that with it, such as {argument('private', 1)}"
                )
        return
    _check_budget(options.private, options.delta)
    defaults = TrainOptions()
    for name, why in _REFUSED.items():
        value = getattr(options, name)
        if value != getattr(defaults, name):
            raise RequestError(
                f"{argument(name, value)} can't be used with {argument('private')}: {why}; leave it out"
            )


def _check_budget(epsilon: float, delta: float | None) -> None:
    if not 0 < epsilon < float("inf"):
        raise RequestError(
            f"{argument('private', epsilon)} is no ε; give a number above 0, such as 1 (the smaller, the more private)"
        )
    if delta is None:
        raise RequestError(
            f"{argument('private')} needs {argument('delta')}, the probability that the bound of ε fails; give one far below "
            "1 / texts, such as 1e-6"
        )
    if not 0 < delta < 1:
        raise RequestError(
            f"{argument('delta', delta)} is no probability that the bound may fail with; give a number above 0 and far "
            "below 1 / texts, such as 1e-6"
        )


def only_task(specs: Sequence[TaskSpec]) -> TaskSpec:
    """Return the task; raise RequestError for several, or for another one than `classify`."""
    if len(specs) > 1:
        raise RequestError(
            f"{argument('private')} trains one task, and there are {len(specs)}: the budget would be spent "
            "several times; train a head per task, each with its part of ε and δ"
        )
    if specs[0].task != "classify":
        raise RequestError(
            f"{argument('task', specs[0].task)} can't be trained with {argument('private')}: the range of numbers, or the "
            f"scheme of tags, would be taken from the private rows; use {argument('task', 'classify')}"
        )
    return specs[0]


def check_mix(spec: TaskSpec, public: LayerDataset | None, advice: MixAdvice | None) -> None:
    """Raise RequestError for a mix that is fitted, standardised or advised by the private rows."""
    private = argument("private")
    if spec.mix.how == "learned":
        raise RequestError(
            f"{argument('mix', str(spec.mix))} can't be used with {private}: its weights would be fitted to the private rows; "
            "name a layer or a fixed mix, such as mean(1:)"
        )
    if spec.mix.norm is not None and public is None:
        raise RequestError(
            f"{argument('mix', str(spec.mix))} standardises its layers, and with {private} no statistics may be taken from the "
            f"private rows; give {argument('public')}, or leave norm=layer out"
        )
    if advice is not None and (public is None or not advice.is_of(public)):
        raise RequestError(
            f"{argument('mix_from')}: {advice.origin} wasn't made on the rows of {argument('public')}, and with {private} what a "
            "probe learns of the private rows would have to be charged to ε; probe the public dataset, or name a mix"
        )


def check_single(labelled: Labelled, spec: TaskSpec) -> None:
    """Raise RequestError for rows with several labels."""
    if labelled.multi:
        raise RequestError(
            f"column {spec.label!r} has several labels per row, and {argument('private')} trains one class per row; give a "
            "column with one"
        )
