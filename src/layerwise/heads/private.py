"""Train a head with central differential privacy: the head says little about any one unit of the rows.

Everything that a head holds besides its weights is fixed before the private rows are seen, or comes from public rows:
the mix, the statistics that standardise it, the clip, the number of steps. Nothing is held out, nothing is scored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.columns import column_values, is_paired
from layerwise.errors import RequestError
from layerwise.example import DOCUMENT
from layerwise.heads.advised_mix import MixAdvice
from layerwise.heads.head import Fitted, TaskHead
from layerwise.heads.inputs import describe_model, describe_rows
from layerwise.heads.mixing import input_width, planes, read_planes
from layerwise.heads.private_checks import check_mix, check_single, only_task
from layerwise.heads.private_loop import PrivateOptions, fit_private
from layerwise.heads.private_units import Units, find_units, rows_of_units
from layerwise.labels.attached import AttachedLabels
from layerwise.labels.labelled import Labelled, class_names, read_labels
from layerwise.labels.plan import TaskSpec
from layerwise.mixes import LayerStats, layer_stats
from layerwise.options import TrainOptions
from layerwise.store import LayerDataset, open_dataset
from layerwise.store.result_provenance import fingerprint
from layerwise.wording import Message


@dataclass(frozen=True, slots=True, eq=False)
class PrivateHead:
    """A head trained with privacy, the record of its training as JSON values, and notes that don't depend on the rows."""

    task: TaskHead
    record: dict[str, Any]
    notes: list[Message]


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
    spec = only_task(specs)
    public = None if options.public is None else _open_public(options.public, dataset)
    check_mix(spec, public, advice)
    budget = PrivateOptions(float(options.private or 0), float(options.delta or 0))
    _check_context(dataset, options.groups)
    labelled = read_labels(attached.dataset, spec.task, spec.label)
    check_single(labelled, spec)
    _log([*attached.notes, *labelled.notes, *_shared(dataset, public)])
    classes, classes_from = _classes(spec, public, labelled)
    units = find_units(attached.dataset, options.groups, options.split)
    labelled, y, unit_of_row = rows_of_units(labelled, classes, units)
    features = _Features.of(dataset, spec, public)
    inputs = features.rows(dataset, labelled.rows).astype(np.float64)
    weight, bias = fit_private(inputs, y, unit_of_row, units.count, len(classes), budget, track)
    head = features.head(spec, classes, weight, bias)
    record = _record(budget, units, "fixed numbers" if public is None else "public rows", classes_from)
    return PrivateHead(head, record, _notes(budget, units, classes_from))


def _check_context(dataset: LayerDataset, groups: str | None) -> None:
    """Refuse rows that depend on several texts, unless they are protected by documents."""
    if describe_rows(dataset).get("context") is not None and groups != DOCUMENT:
        raise RequestError(
            f"the rows were encoded with neighbours in their documents, so one text changes the rows of others, and only "
            f"documents can be protected; give {argument('groups', DOCUMENT)}, or extract without {argument('context')}"
        )


def _log(notes: Sequence[Message]) -> None:
    """Log what the user should know of the private rows: it is no part of the head."""
    for note in notes:
        logging.getLogger("layerwise").warning("%s", note)


def _open_public(public: Any, dataset: LayerDataset) -> LayerDataset:
    opened = open_dataset(public.path if isinstance(public, LayerDataset) else public).checked()
    name = argument("public", str(opened.path))
    if fingerprint(opened) == fingerprint(dataset):
        raise RequestError(f"{name} is the private dataset itself; give other rows, which anyone may see")
    for what, of in (("model", partial(describe_model, layers=())), ("rows", describe_rows)):
        private_facts, public_facts = of(dataset), of(opened)
        differing = [
            key for key, value in private_facts.items() if public_facts.get(key) != value and key != "id"
        ]
        if differing:
            raise RequestError(
                f"{name} was made with another {differing[0]} of the {what} than the private dataset; extract the public "
                "texts with the same options"
            )
    if is_paired(opened) != is_paired(dataset):
        raise RequestError(f"{name} holds pairs where the other holds single texts; extract the same kind")
    return opened


def _shared(dataset: LayerDataset, public: LayerDataset | None) -> list[Message]:
    """Return a note if texts are both private and public, or if a dataset stores none, so that it isn't known."""
    if public is None:
        return []
    public_texts, private_texts = set(_text_hashes(public)), list(_text_hashes(dataset))
    if not (public_texts and private_texts):
        return [Message("note.private.unchecked", option=argument("public"))]
    count = sum(text in public_texts for text in private_texts)
    return [Message("note.private.shared", n=count, option=argument("public"))] if count else []


def _text_hashes(dataset: LayerDataset) -> Iterator[int]:
    for part in dataset.parts():
        if "text" in part.texts.column_names:
            yield from map(hash, part.texts["text"].to_pylist())


def _classes(spec: TaskSpec, public: LayerDataset | None, labelled: Labelled) -> tuple[tuple[str, ...], str]:
    """Return the classes and where their names come from: the public rows if these have the column, else the private ones."""
    values, origin = labelled.values, "private rows"
    if public is not None and any(column_values(part, spec.label)[1] for part in public.parts()):
        values, origin = read_labels(public, spec.task, spec.label).values, "public rows"
    classes = class_names(values)
    if len(classes) < 2:
        raise RequestError(
            f"column {spec.label!r} has {'one class' if classes else 'no class'} in the {origin}; classify needs two or more"
        )
    return classes, origin


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
        option = argument("delta", budget.delta)
        notes.append(Message("note.private.delta", option=option, n=units.count, units=unit))
    if classes_from == "private rows":
        notes.append(Message("note.private.classes", option=argument("public")))
    return notes
