"""Training: labels and the rows of a dataset in, a head out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerwise._util.progress import SILENT, Tracker
from layerwise.choices import one_of
from layerwise.errors import RequestError
from layerwise.heads.fit import FittedTask, fit_heads
from layerwise.heads.fit_one import HEADS, HIDDEN, HeadOptions
from layerwise.heads.head import HeadData
from layerwise.heads.linear import regularisation
from layerwise.heads.predict import Head, new_about
from layerwise.heads.row_spec import describe_model, describe_pairs, describe_rows
from layerwise.heads.tasks import read_tasks
from layerwise.heads.weights import LoopOptions
from layerwise.labels.splits import SplitPlan, make_plan
from layerwise.labels.targets import Target, TaskSpec
from layerwise.options import TrainOptions
from layerwise.store import LayerDataset, open_dataset

# What a head says of its training, besides what came of it.
_KEPT = ("head", "class_weight", "groups", "split", "shared_hidden", "layer_dropout", "seed")


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
            "dataset; write one with lw.extract"
        )
    opened = open_dataset(dataset.path if isinstance(dataset, LayerDataset) else dataset).checked()
    specs = read_tasks(opened, task, label, tasks, mix, options.separator)
    fitting = _fitting(options, specs)
    rows, model, pairs = describe_rows(opened), describe_model(opened), describe_pairs(opened)
    plan = make_plan(opened, specs, groups=options.groups, split=options.split, seed=options.seed)
    _check_balance(plan, fitting)
    fitted = fit_heads(opened, plan, fitting, options.draws, track)
    settings = {name: getattr(options, name) for name in _KEPT}
    training = {**settings, **_report(plan, fitted)}
    return Head(HeadData(model, rows, pairs, tuple(f.head for f in fitted), training), new_about())


def _fitting(options: TrainOptions, specs: Sequence[TaskSpec]) -> HeadOptions:
    """Return how heads are fitted, after making sure that the options go together."""
    one_of("head", options.head, HEADS)
    if options.class_weight is not None:
        one_of("class weight", options.class_weight, ("balanced",))
    for name, width in (("hidden", options.hidden), ("shared-hidden", options.shared_hidden)):
        if width is not None and width < 1:
            raise RequestError(f"--{name} {width} is too small; take at least 1")
    if options.hidden is not None and options.head != "mlp":
        raise RequestError(f"--hidden {options.hidden} goes with --head mlp; add that, or leave it out")
    if options.shared_hidden is not None and len(specs) < 2:
        raise RequestError(
            f"--shared-hidden {options.shared_hidden} goes with several tasks; for one take --head mlp --hidden N"
        )
    if options.layer_dropout and not any(spec.mix.how == "learned" for spec in specs):
        raise RequestError(f"--layer-dropout {options.layer_dropout} goes with a mix such as learned(all)")
    if not 0 <= options.seed < 1 << 32:
        raise RequestError(f"--seed {options.seed} is out of range; take 0 to {(1 << 32) - 1}")
    limits: dict[str, Any] = {"epochs": options.epochs, "patience": options.patience}
    loop = LoopOptions(
        seed=options.seed,
        layer_dropout=options.layer_dropout,
        **{name: limit for name, limit in limits.items() if limit is not None},
    )
    loop.check()
    return HeadOptions(
        options.head, options.hidden or HIDDEN, options.shared_hidden, options.class_weight, loop
    )


def _check_balance(plan: SplitPlan, options: HeadOptions) -> None:
    for target in plan.targets:
        spec = target.spec
        looped = options.head == "mlp" or options.shared_hidden or spec.mix.how == "learned"
        if options.balance and (spec.task == "regress" or (target.multi and looped)):
            what = "regress" if spec.task == "regress" else "several labels per row and a fitted mix or MLP"
            raise RequestError(f"--class-weight balanced doesn't go with {what}; leave it out")


def _report(plan: SplitPlan, fitted: Sequence[FittedTask]) -> dict[str, Any]:
    tasks = {
        target.spec.name: _task_report(plan, target, fitted_task)
        for target, fitted_task in zip(plan.targets, fitted, strict=True)
    }
    return {"refitted": bool(plan.refit and plan.held.any()), "notes": list(plan.notes), "tasks": tasks}


def _task_report(plan: SplitPlan, target: Target, fitted_task: FittedTask) -> dict[str, Any]:
    fitting = plan.train | plan.held if plan.refit else plan.train
    return {
        "rows": int((target.has & fitting).sum()),
        "held_out_rows": int((target.has & plan.held).sum()),
        "test_rows": int((target.has & plan.test).sum()),
        "dropped": target.dropped,
        "scheme": target.scheme,
        **regularisation(target.spec.task, fitted_task.C),
        "epochs": fitted_task.epochs,
        "converged": fitted_task.converged,
        "mix_weights": _weights(fitted_task),
        "held_out": fitted_task.held_out.to_json() if fitted_task.held_out else None,
        "test": fitted_task.test.to_json() if fitted_task.test else None,
        "learned": fitted_task.learned.to_json() if fitted_task.learned else None,
        "alone": fitted_task.alone.to_json() if fitted_task.alone else None,
    }


def _weights(fitted_task: FittedTask) -> dict[str, float] | None:
    """Return the weights of a learned mix, by layer."""
    mix, weights = fitted_task.head.mix, fitted_task.head.fitted.mix_weights.tolist()
    return dict(zip(mix.layers, weights, strict=True)) if mix.how == "learned" else None
