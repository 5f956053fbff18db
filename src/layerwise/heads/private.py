"""Train a head with central differential privacy: the head says little about any one unit of the rows.

Everything that a head holds besides its weights is fixed before the private rows are seen, or comes from public rows:
the mix, the statistics that standardise it, the clip, the number of steps. Nothing is held out, nothing is scored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.columns import column_values, is_paired, is_present
from layerwise.errors import RequestError
from layerwise.heads.advised_mix import MixAdvice
from layerwise.heads.head import Fitted, TaskHead
from layerwise.heads.inputs import describe_model, describe_rows
from layerwise.heads.mixing import input_width, planes, read_planes
from layerwise.heads.private_loop import PrivateOptions, fit_private
from layerwise.labels.attached import AttachedLabels
from layerwise.labels.folds import split_roles
from layerwise.labels.labelled import Labelled, class_names, encode, read_column, read_labels
from layerwise.labels.plan import TaskSpec
from layerwise.labels.unknown import match_classes
from layerwise.mixes import LayerStats, layer_stats
from layerwise.options import TrainOptions
from layerwise.states import Layered
from layerwise.store import LayerDataset, open_dataset
from layerwise.store.result_provenance import fingerprint
from layerwise.wording import Message

_FIXED = "the head is linear, and its steps are fixed before any row is seen"
_REFUSED = {
    "seed": "the noise must come from the system's random source, since whoever knows the seed can take it off",
    "class_weight": "it counts the private rows",
    "label_separator": "a row has one class",
    **dict.fromkeys(
        ("head_type", "hidden", "shared_hidden", "epochs", "patience", "layer_dropout", "draws"), _FIXED
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class PrivateHead:
    """A head trained with privacy, the record of its training as JSON values, and notes that don't depend on the rows."""

    task: TaskHead
    record: dict[str, Any]
    notes: list[Message]


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


def train_private(
    dataset: LayerDataset,
    attached: AttachedLabels,
    specs: Sequence[TaskSpec],
    advice: MixAdvice | None,
    options: TrainOptions,
    track: Tracker = SILENT,
) -> PrivateHead:
    """Train a private classifier.

    Args:
        dataset: the rows.
        attached: the same rows with their labels.
        specs: the task; there must be one.
        advice: the probe that advised the mix; it must have been made on the public rows.
        options: `private`, `delta`, `public`, `groups` and `split` are used.
        track: reports the steps.

    Raises:
        RequestError: several tasks or another one than `classify`, a mix that is fitted or advised on the private rows, or
            public rows of another kind.
    """
    spec = _only_task(specs)
    public = None if options.public is None else _open_public(options.public, dataset)
    _check_mix(spec, public, advice)
    budget = PrivateOptions(float(options.private or 0), float(options.delta or 0))
    labelled = read_labels(attached.dataset, spec.task, spec.label)
    _check_single(labelled, spec)
    for note in (*attached.notes, *labelled.notes):
        logging.getLogger("layerwise").warning("%s", note)
    classes, classes_from = _classes(spec, public, labelled)
    units = find_units(attached.dataset, options.groups, options.split)
    labelled, y, unit_of_row = _rows_of_units(labelled, classes, units)
    features = _Features.of(dataset, spec, public)
    weight, bias = fit_private(
        features.rows(dataset, labelled.rows).astype(np.float64),
        y,
        unit_of_row,
        units.count,
        len(classes),
        budget,
        track,
    )
    head = features.head(spec, classes, weight, bias)
    record = _record(budget, units, "fixed numbers" if public is None else "public rows", classes_from)
    return PrivateHead(head, record, _notes(budget, units, classes_from))


def _only_task(specs: Sequence[TaskSpec]) -> TaskSpec:
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


def _open_public(public: Any, dataset: LayerDataset) -> LayerDataset:
    opened = open_dataset(public.path if isinstance(public, LayerDataset) else public).checked()
    name = argument("public", str(opened.path))
    if fingerprint(opened) == fingerprint(dataset):
        raise RequestError(f"{name} is the private dataset itself; give other rows, which anyone may see")
    for what, of in (("model", describe_model), ("rows", describe_rows)):
        differing = [
            key for key, value in of(dataset).items() if of(opened).get(key) != value and key != "id"
        ]
        if differing:
            raise RequestError(
                f"{name} was made with another {differing[0]} of the {what} than the private dataset; extract the public "
                "texts with the same options"
            )
    if is_paired(opened) != is_paired(dataset):
        raise RequestError(f"{name} holds pairs where the other holds single texts; extract the same kind")
    return opened


def _check_mix(spec: TaskSpec, public: LayerDataset | None, advice: MixAdvice | None) -> None:
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


def _check_single(labelled: Labelled, spec: TaskSpec) -> None:
    if labelled.multi:
        raise RequestError(
            f"column {spec.label!r} has several labels per row, and {argument('private')} trains one class per row; give a "
            "column with one"
        )


def _classes(spec: TaskSpec, public: LayerDataset | None, labelled: Labelled) -> tuple[tuple[str, ...], str]:
    """Return the classes and where their names come from: the public rows if these have the column, else the private ones."""
    values, origin = labelled.values, "private rows"
    if public is not None and any(column_values(part, spec.label)[1] for part in public.parts()):
        values, origin = read_labels(public, spec.task, spec.label).values, "public rows"
    classes = class_names(values)
    if len(classes) < 2:
        raise RequestError(
            f"column {spec.label!r} has {len(classes)} classes in the {origin}; classify needs two or more"
        )
    return classes, origin


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is protected: `of_row`, int64 (n,), the unit of each row (pair), -1 for a row that isn't used; their number.

    `kind` is `text`, or `group` for the values of `column`.
    """

    of_row: I64
    count: int
    kind: str
    column: str | None


def find_units(dataset: Layered, groups: str | None, split: str | None) -> Units:
    """Return the units of a dataset: its texts (pairs), or the texts with the same value of the column `groups`.

    Of a split only the training rows are used. A text without a value is a unit of its own.

    Raises:
        RequestError: no such column, or a text with several values.
    """
    docs = np.concatenate([part.index["doc"].to_numpy() for part in dataset.parts()])
    docs = docs[::2] if is_paired(dataset) else docs
    used = np.ones(len(docs), bool) if split is None else split_roles(dataset, docs, split) == "train"
    texts = docs if groups is None else _with_column(dataset, docs, groups)
    units = np.full(len(docs), -1, np.int64)
    names, units[used] = np.unique(texts[used], return_inverse=True)
    return Units(units, len(names), "text" if groups is None else "group", groups)


def _with_column(dataset: Layered, docs: I64, column: str) -> I64:
    """Return a number per row that is equal for equal values of a column, int64 (n,)."""
    if any(
        column in part.index.column_names and column not in part.texts.column_names
        for part in dataset.parts()
    ):
        raise RequestError(
            f"{argument('groups', column)} has a value per word, and the words of a text can't be told apart in its vectors; "
            "name a column of texts"
        )
    numbers: dict[Any, int] = {}
    values = read_column(dataset, docs, column)
    keys = (
        (True, str(v)) if is_present(v) else (False, d) for v, d in zip(values, docs.tolist(), strict=True)
    )
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _rows_of_units(labelled: Labelled, classes: Sequence[str], units: Units) -> tuple[Labelled, I64, I64]:
    """Return the rows with a known class, ordered by unit, their class numbers and their units, int64 (n,) each.

    Other rows count as a unit without a gradient.
    """
    y = encode(match_classes(labelled.values, classes)[0], classes)
    first = labelled.rows[:, 0] // 2 if labelled.pairs else labelled.rows
    unit = units.of_row[first]
    places = np.flatnonzero((y >= 0) & (unit >= 0))
    places = places[np.argsort(unit[places], kind="stable")]
    return labelled.take(places), y[places].astype(np.int64), unit[places]


@dataclass(frozen=True, slots=True, eq=False)
class _Features:
    """How rows become inputs: the mix, and statistics that don't depend on the private rows."""

    spec: TaskSpec
    paired: bool
    norms: dict[str, LayerStats] | None
    stats: LayerStats

    @classmethod
    def of(cls, dataset: LayerDataset, spec: TaskSpec, public: LayerDataset | None) -> _Features:
        """Return the features with the statistics of the public rows; without any, rows stay as they are."""
        paired = is_paired(dataset)
        if public is None:
            width = input_width(spec.mix, dataset.width, paired)
            return cls(spec, paired, None, LayerStats(np.zeros(width), np.ones(width)))
        rows = np.arange(public.rows)
        read = read_planes(
            public,
            rows.reshape(-1, 2) if paired else rows,
            [spec.mix],
            [np.ones(public.rows // (1 + paired), bool)],
        )[0]
        return cls(spec, paired, read.norms, layer_stats(read.arrays))

    def rows(self, dataset: LayerDataset, rows: I64) -> Any:
        """Return the standardised inputs of rows, float32 (n, inputs)."""
        flat = rows.reshape(-1)
        (values,) = planes(
            self.spec.mix, lambda name: dataset.layer(name, rows=flat), self.norms, self.paired
        )
        return self.stats(values)

    def head(self, spec: TaskSpec, classes: tuple[str, ...], weight: Any, bias: Any) -> TaskHead:
        """Return the head with fitted weights."""
        numbers = weight.astype(np.float32), bias.astype(np.float32)
        fitted = Fitted(np.ones(1, np.float32), 1.0, None, *numbers, 0, float("nan"))
        return TaskHead(
            name=spec.name,
            task=spec.task,
            label=spec.label,
            mix=spec.mix,
            classes=classes,
            multi=False,
            label_separator=None,
            norms=self.norms,
            stats=(self.stats,),
            fitted=fitted,
        )


def _record(budget: PrivateOptions, units: Units, standardised_by: str, classes_from: str) -> dict[str, Any]:
    return {
        "epsilon": budget.epsilon,
        "delta": budget.delta,
        "relation": "replace one",
        "unit": units.kind,
        "groups": units.column,
        "units": units.count,
        "clip": budget.clip,
        "steps": budget.steps,
        "noise": budget.multiplier * budget.sensitivity,
        "mechanism": "Gaussian, analytic (Balle and Wang 2018), composed exactly (Dong, Roth and Su 2022)",
        "standardised_by": standardised_by,
        "classes_from": classes_from,
    }


def _notes(budget: PrivateOptions, units: Units, classes_from: str) -> list[Message]:
    """Return notes that hold for any private rows of this number."""
    notes = [Message("note.private.unscored", command="layerwise evaluate")]
    if budget.delta >= 1 / units.count:
        unit = Message(f"note.private.unit.{units.kind}")
        values = {"option": argument("delta", budget.delta), "n": units.count, "units": unit}
        notes.append(Message("note.private.delta", **values))
    if classes_from == "private rows":
        notes.append(Message("note.private.classes", option=argument("public")))
    return notes
