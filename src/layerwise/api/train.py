"""train: labels and the rows of a dataset in, a head out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import choose, limited
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
from layerwise.store import LayerDataset, disk
from layerwise.store.described import open_described


def train(
    dataset: LayerDataset | str | Path,
    *,
    task: str | None = None,
    label: str | None = None,
    mix: str | int | Mapping[str, str | int] | None = None,
    head: str = "linear",
    out: str | Path | None = None,
    tasks: Mapping[str, str | Sequence[str]] | None = None,
    groups: str | None = None,
    split: str | None = None,
    class_weight: str | None = None,
    separator: str | None = None,
    hidden: int | None = None,
    shared_hidden: int | None = None,
    layer_dropout: float = 0.0,
    epochs: int | None = None,
    patience: int | None = None,
    draws: int = 20,
    seed: int = 0,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Head:
    """Train a head on the rows of a dataset, and write it to the folder `out`.

    How much a linear head is restrained is chosen on held-out rows (whole groups; identical texts stay
    together), then all training rows are fitted. The gradient loop (`head="mlp"`, `learned` mixes) stops by
    the held-out rows and is then run as long on all training rows. With a `split` that has a dev part, that
    part is what is held out, and no head is ever fitted to it. Test rows are scored, and nothing else.

    Args:
        dataset: a dataset, or its folder.
        task: `classify`, `regress` or `tag`.
        label: the column of the labels; a column of lists has several labels per row.
        mix: a mix string, or one per task; by default the mean of all stored layers but `emb`.
        head: `linear` or `mlp`.
        out: the folder of the head; nothing is written when left out.
        tasks: several tasks at once, in place of `task` and `label`: `{"topic": "classify:topic", …}`.
        groups: a column; rows with equal values are never parted by a cut.
        split: a column of `train`, `dev` (or `validation`) and `test`.
        class_weight: `balanced` weighs rows so that all classes count alike.
        separator: cuts a string of labels into several.
        hidden: the width of an MLP's hidden layer, 128 when left out.
        shared_hidden: the width of one hidden layer that all tasks share.
        layer_dropout: for `learned` mixes, the chance that a layer is left out of a step.
        epochs, patience: of the gradient loop.
        draws: for `learned` mixes, how many refits on resampled groups make the intervals of what they show.
        seed: of what is held out, of initial weights and of batches.
        progress: called with how far it has come; see `lw.Progress`.
        threads: how many to compute with; see `lw.extract`.

    Returns:
        the head; `training` holds its scores on held-out and test rows.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    choose(threads)
    if out is not None:
        disk.check_new(Path(out))
    if not isinstance(dataset, LayerDataset | str | Path):
        raise RequestError(
            f"train takes a dataset or its folder, not {type(dataset).__name__}: a head names the model of its "
            "dataset; write one with lw.extract"
        )
    opened = open_described(dataset.path if isinstance(dataset, LayerDataset) else dataset).checked()
    specs = read_tasks(opened, task, label, tasks, mix, separator)
    options = _options(
        head, specs, hidden, shared_hidden, class_weight, layer_dropout, epochs, patience, seed
    )
    rows, model, pairs = describe_rows(opened), describe_model(opened), describe_pairs(opened)
    plan = make_plan(opened, specs, groups=groups, split=split, seed=seed)
    _check_balance(plan, options)
    with limited(threads), tracking(progress) as track:
        fitted = fit_heads(opened, plan, options, draws, track)
    settings = {
        "head": head,
        "class_weight": class_weight,
        "groups": groups,
        "split": split,
        "shared_hidden": shared_hidden,
        "layer_dropout": layer_dropout,
        "seed": seed,
    }
    training = {**settings, **_report(plan, fitted)}
    made = Head(HeadData(model, rows, pairs, tuple(f.head for f in fitted), training), new_about())
    if out is not None:
        made.save(out)
    return made


def _options(
    head: str,
    specs: Sequence[TaskSpec],
    hidden: int | None,
    shared_hidden: int | None,
    class_weight: str | None,
    layer_dropout: float,
    epochs: int | None,
    patience: int | None,
    seed: int,
) -> HeadOptions:
    one_of("head", head, HEADS)
    if class_weight is not None:
        one_of("class weight", class_weight, ("balanced",))
    for name, width in (("hidden", hidden), ("shared-hidden", shared_hidden)):
        if width is not None and width < 1:
            raise RequestError(f"--{name} {width} is too small; take at least 1")
    if hidden is not None and head != "mlp":
        raise RequestError(f"--hidden {hidden} goes with --head mlp; add that, or leave it out")
    if shared_hidden is not None and len(specs) < 2:
        raise RequestError(
            f"--shared-hidden {shared_hidden} goes with several tasks; for one take --head mlp --hidden N"
        )
    if layer_dropout and not any(spec.mix.how == "learned" for spec in specs):
        raise RequestError(f"--layer-dropout {layer_dropout} goes with a mix such as learned(all)")
    if not 0 <= seed < 1 << 32:
        raise RequestError(f"--seed {seed} is out of range; take 0 to {(1 << 32) - 1}")
    given: dict[str, Any] = {"epochs": epochs, "patience": patience}
    loop = LoopOptions(
        seed=seed, layer_dropout=layer_dropout, **{k: v for k, v in given.items() if v is not None}
    )
    loop.check()
    return HeadOptions(head, hidden or HIDDEN, shared_hidden, class_weight, loop)


def _check_balance(plan: SplitPlan, options: HeadOptions) -> None:
    for target in plan.targets:
        spec = target.spec
        looped = options.head == "mlp" or options.shared_hidden or spec.mix.how == "learned"
        if options.balance and (spec.task == "regress" or (target.multi and looped)):
            what = "regress" if spec.task == "regress" else "several labels per row and a fitted mix or MLP"
            raise RequestError(f"--class-weight balanced doesn't go with {what}; leave it out")


def _report(plan: SplitPlan, fitted: Sequence[FittedTask]) -> dict[str, Any]:
    tasks = {
        target.spec.name: _task_report(plan, target, found)
        for target, found in zip(plan.targets, fitted, strict=True)
    }
    return {"refitted": bool(plan.refit and plan.held.any()), "notes": list(plan.notes), "tasks": tasks}


def _task_report(plan: SplitPlan, target: Target, found: FittedTask) -> dict[str, Any]:
    fitting = plan.train | plan.held if plan.refit else plan.train
    return {
        "rows": int((target.has & fitting).sum()),
        "held_out_rows": int((target.has & plan.held).sum()),
        "test_rows": int((target.has & plan.test).sum()),
        "dropped": target.dropped,
        "scheme": target.scheme,
        **regularisation(target.spec.task, found.C),
        "epochs": found.epochs,
        "converged": found.converged,
        "mix_weights": _weights(found),
        "held_out": found.held_out.to_json() if found.held_out else None,
        "test": found.test.to_json() if found.test else None,
        "learned": found.learned.to_json() if found.learned else None,
        "alone": found.alone.to_json() if found.alone else None,
    }


def _weights(found: FittedTask) -> dict[str, float] | None:
    """Return the weights of a learned mix, by layer."""
    mix, weights = found.head.mix, found.head.fitted.mix_weights.tolist()
    return dict(zip(mix.layers, weights, strict=True)) if mix.how == "learned" else None
