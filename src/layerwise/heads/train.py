"""Train a head: the arguments of `lw.train` and the labelled rows of a dataset in, a head out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from layerwise._util.progress import SILENT, Tracker
from layerwise._util.versions import versions
from layerwise.arguments import argument
from layerwise.choices import CLASS_WEIGHTS, HEAD_TYPES, one_of
from layerwise.errors import RequestError
from layerwise.heads.advised_mix import advised_mix
from layerwise.heads.fit import fit_heads
from layerwise.heads.head import HeadData
from layerwise.heads.held_out_intervals import few_units_notes
from layerwise.heads.inputs import describe_model, describe_pairs, describe_reading, describe_rows
from layerwise.heads.predict import Head
from layerwise.heads.private import PrivateHead, train_private
from layerwise.heads.private_checks import check_private
from layerwise.heads.solve import Hyperparameters, has_hidden, is_learned, loop_options
from layerwise.heads.together import RESERVED
from layerwise.heads.trained_texts import TextsDigest
from layerwise.labels.attached import with_labels
from layerwise.labels.labelled import check_task
from layerwise.labels.plan import SplitPlan, TaskSpec, make_plan
from layerwise.layers import in_order, site
from layerwise.mixes import parse_mix
from layerwise.options import TrainOptions
from layerwise.store import LayerDataset, open_dataset

# The options that are recorded with a head.
_KEPT = ("head_type", "class_weight", "split", "shared_hidden", "layer_dropout", "seed")


def train_head(
    dataset: LayerDataset | str | Path,
    *,
    task: str | None = None,
    label: str | None = None,
    mix: str | int | Mapping[str, str | int] | None = None,
    tasks: Mapping[str, str | Sequence[str]] | None = None,
    options: TrainOptions,
    track: Tracker = SILENT,
) -> Head:
    """Train a head on the rows of a dataset; see `api.train`."""
    if not isinstance(dataset, LayerDataset | str | Path):
        raise RequestError(
            f"train takes a dataset or its folder, not {type(dataset).__name__}: a head names the model of its "
            "dataset; write one with `extract`"
        )
    check_private(options)
    opened = open_dataset(dataset.path if isinstance(dataset, LayerDataset) else dataset).checked()
    attached = with_labels(opened, options.labels_from, label, task=task)
    label = attached.label if tasks is None else label
    advice = None
    if options.mix_from is not None:
        _check_alone(mix)
        advice = advised_mix(options.mix_from)
        mix = advice.mix_for(opened)
    specs = _read_tasks(opened, task, label, tasks, mix, options.label_separator)
    mix_notes = _default_notes(specs, mix) if advice is None else [*advice.notes(opened, specs)]
    _check_options(options, specs)
    rows, pairs = describe_rows(opened), describe_pairs(opened)
    model = describe_model(opened, in_order({name for spec in specs for name in spec.mix.layers}))
    if options.private is not None:
        trained = train_private(opened, attached, specs, advice, options, track)
        training = _private_training(trained, mix_notes, options) | {"reading": describe_reading(opened)}
        return Head(HeadData(model, rows, pairs, (trained.task,), training, _provenance()))
    plan = make_plan(
        attached.dataset, specs, groups=options.groups, split=options.split, seed=options.seed or 0
    )
    _check_class_weight(plan, options)
    task_heads, records, notes = fit_heads(opened, plan, options, track)
    training = {
        **{name: getattr(options, name) for name in _KEPT},
        "seed": options.seed or 0,
        "groups": plan.grouping.column,
        "refitted": bool(plan.refit and plan.held_out.any()),
        "labels_from": attached.record,
        "reading": describe_reading(opened),
        "texts": TextsDigest().add(opened).to_json(),
        "notes": [
            *attached.notes,
            *plan.notes,
            *mix_notes,
            *_idle_notes(options, specs),
            *notes,
            *few_units_notes(records),
        ],
        "tasks": records,
    }
    return Head(HeadData(model, rows, pairs, task_heads, training, _provenance()))


def _private_training(
    trained: PrivateHead, mix_notes: Sequence[str], options: TrainOptions
) -> dict[str, Any]:
    """Return the record of a private training, which says nothing of the rows but the number of units."""
    return {
        **{name: getattr(options, name) for name in _KEPT},
        "groups": options.groups,
        "refitted": False,
        "labels_from": None,
        "notes": [*mix_notes, *trained.notes],
        "private": trained.record,
        "tasks": {trained.task.name: {}},
    }


def _provenance() -> dict[str, Any]:
    """Return the records of a training: the versions and the time."""
    solver_versions = {name: version(name) for name in ("scikit-learn", "scipy")}
    return {
        "versions": {**versions(), **solver_versions},
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _read_tasks(
    dataset: LayerDataset,
    task: str | None,
    label: str | None,
    tasks: Mapping[str, str | Sequence[str]] | None,
    mix: str | int | Mapping[str, str | int] | None,
    label_separator: str | None,
) -> list[TaskSpec]:
    """Return the tasks from the arguments of `train`, each with its mix.

    Raises:
        RequestError: no task, a task without a label, an invalid name or mix, or a mix for an unknown task.
    """
    if (task is None) == (tasks is None):
        got = "neither" if task is None else "both"
        raise RequestError(f"give one task with its label column, or several in tasks; got {got}")
    if tasks is None:
        if not label:
            raise RequestError(
                f"{argument('task', task)} needs the column of its labels; name it in {argument('label')}"
            )
        kind_and_column = {str(label): (str(task), label)}
    else:
        if label is not None:
            raise RequestError(
                f"{argument('label', label)} only applies to a single task; give each of several tasks as NAME=TASK:COL, "
                "such as topic=classify:topic"
            )
        if not isinstance(tasks, Mapping):
            raise RequestError(
                f"{argument('tasks')} is {tasks!r:.60}, no dictionary; give a name and TASK:COL for each task, such as "
                "{'topic': 'classify:topic'}"
            )
        kind_and_column = {name: _kind_and_column(name, pair) for name, pair in tasks.items()}
    if not kind_and_column:
        raise RequestError("no task is named; give one, such as topic=classify:topic")
    mixes = _mixes(dataset, list(kind_and_column), mix, several=tasks is not None)
    specs = []
    for name, (kind, column) in kind_and_column.items():
        uses_separator = tasks is None or check_task(kind) == "classify"
        separator_of_task = label_separator if uses_separator else None
        parsed = parse_mix(mixes[name], dataset.blocks, dataset.layers, dataset.widths)
        specs.append(TaskSpec(name, kind, column, parsed, separator_of_task))
    return specs


def _kind_and_column(name: Any, pair: Any) -> tuple[str, str]:
    if not isinstance(name, str) or not name or name in RESERVED:
        raise RequestError(
            f"a task can't be called {name!r}, since its answers are under its name; give it a name, but none of "
            f"{', '.join(RESERVED)}, which predictions use"
        )
    parts = pair.split(":", 1) if isinstance(pair, str) else pair
    if (
        not isinstance(parts, list | tuple)
        or len(parts) != 2
        or not all(isinstance(part, str) and part for part in parts)
    ):
        raise RequestError(f"task {name!r} is {pair!r}; give TASK:COL, such as classify:topic")
    return parts[0], parts[1]


def _mixes(
    dataset: LayerDataset,
    names: Sequence[str],
    mix: str | int | Mapping[str, str | int] | None,
    *,
    several: bool,
) -> dict[str, str | int]:
    mix_of_task = dict(mix) if isinstance(mix, Mapping) else {} if mix is None else dict.fromkeys(names, mix)
    unknown = sorted(set(mix_of_task) - set(names))
    if unknown:
        allowed = f"there are {', '.join(names)}" if several else "there is one task without a name"
        raise RequestError(f"a mix is given for task {unknown[0]!r} and there is no such task; {allowed}")
    return {name: mix_of_task.get(name, _default_mix(dataset.layers)) for name in names}


def _check_alone(mix: str | int | Mapping[str, str | int] | None) -> None:
    """Raise RequestError if a mix is given beside the probe that advises one."""
    if mix is not None:
        raise RequestError(
            f"{argument('mix')} and {argument('mix_from')} are both given and each chooses the mix; leave one out"
        )


def _default_notes(specs: Sequence[TaskSpec], mix: str | int | Mapping[str, str | int] | None) -> list[str]:
    """Return a note on the mix of tasks for which none is given."""
    named = mix if isinstance(mix, Mapping) else {} if mix is None else {spec.name for spec in specs}
    lacking = [spec for spec in specs if spec.name not in named]
    if not lacking:
        return []
    tasks = f" for {', '.join(spec.name for spec in lacking)}" if len(specs) > 1 else ""
    return [
        f"the mix{tasks} is {lacking[0].mix}, the default; {argument('mix')} names another, "
        f"{argument('mix_from')} takes what `probe` advised"
    ]


def _default_mix(layers: Sequence[str]) -> str:
    """Return the default mix: the mean of all stored outputs of blocks; without any of all that is stored."""
    deep = [name for name in layers if name != "emb" and site(name) is None] or list(layers)
    return deep[0] if len(deep) == 1 else f"mean({','.join(deep)})"


def _check_options(options: TrainOptions, specs: Sequence[TaskSpec]) -> None:
    """Raise RequestError for options out of range, or that can't be combined."""
    one_of("head_type", options.head_type, HEAD_TYPES)
    if options.class_weight is not None:
        one_of("class_weight", options.class_weight, CLASS_WEIGHTS)
    for name in ("hidden", "shared_hidden"):
        width = getattr(options, name)
        if width is not None and width < 1:
            raise RequestError(f"{argument(name, width)} is too small; give at least 1")
    if options.hidden is not None and options.head_type != "mlp":
        raise RequestError(
            f"{argument('hidden', options.hidden)} needs {argument('head_type', 'mlp')}; "
            f"add that, or leave {argument('hidden')} out"
        )
    if options.shared_hidden is not None and len(specs) < 2:
        raise RequestError(
            f"{argument('shared_hidden', options.shared_hidden)} only applies to several tasks; "
            f"for a single task use {argument('head_type', 'mlp')} and {argument('hidden')}"
        )
    if options.layer_dropout and not any(spec.mix.how == "learned" for spec in specs):
        raise RequestError(
            f"{argument('layer_dropout', options.layer_dropout)} needs a learned mix; "
            f"use a mix such as learned(all), or leave {argument('layer_dropout')} out"
        )
    if not 0 <= (options.seed or 0) < 1 << 32:
        raise RequestError(f"{argument('seed', options.seed)} is out of range; give 0 to {(1 << 32) - 1}")
    loop_options(options, Hyperparameters(), 1).check()


def _idle_notes(options: TrainOptions, specs: Sequence[TaskSpec]) -> list[str]:
    """Return notes on options that were changed and that no part of this training uses."""
    if any(spec.mix.how == "learned" for spec in specs):
        return []
    defaults = TrainOptions()
    changed = [
        name for name in ("draws", "epochs", "patience") if getattr(options, name) != getattr(defaults, name)
    ]
    notes = [
        f"{argument(name, getattr(options, name))} has no effect: only the gradient loop has epochs, and a linear head on a "
        f"fixed mix doesn't use it; use {argument('head_type', 'mlp')} or a learned mix, or leave it out"
        for name in changed
        if name != "draws" and not has_hidden(options)
    ]
    if "draws" in changed:
        notes.append(
            f"{argument('draws', options.draws)} has no effect: only the weights of a learned mix have intervals; use a mix "
            "such as learned(all), or leave it out"
        )
    return notes


def _check_class_weight(plan: SplitPlan, options: TrainOptions) -> None:
    """Raise RequestError if classes are to be balanced in a task where that isn't possible."""
    for target in plan.targets:
        regress, looped = target.spec.task == "regress", has_hidden(options) or is_learned(target)
        if options.class_weight and (regress or (target.multi and looped)):
            kind = (
                argument("task", "regress") if regress else "several labels per row and a fitted mix or MLP"
            )
            raise RequestError(
                f"{argument('class_weight', options.class_weight)} can't be used with {kind}; leave it out"
            )
