"""What `train` prints of a head: how it was fitted, its scores, and tables."""

from typing import Any

from layerwise.choices import METRICS
from layerwise.cli import options


def report(out: str, head: Any) -> list[str]:
    """Return what was trained, a block per task, and for several tasks the table of alone and together."""
    tasks = head.training["tasks"]
    blocks = [_task(task, tasks[task.name]) for task in head.task_heads]
    if len(head.task_heads) > 1:
        blocks.append(_together(tasks))
    first, *others = blocks
    title = f"{out}: {len(head.task_heads)} task{'s' * (len(head.task_heads) > 1)}"
    return [title, *first, *(line for block in others for line in ("", *block))]


def _task(task: Any, made: dict[str, Any]) -> list[str]:
    name = options.visible(task.name)
    lines = [
        f"{name}: {task.task} on {options.visible(str(task.mix), 200)}, {_rows(made)}",
        f"  {_way(made)}",
    ]
    if task.task == "tag" and made["scheme"] != "IOB2":
        lines.append(f"  tags were read as {made['scheme']}; inside and outside they are IOB2")
    for key, what in (("held_out", "held-out"), ("test", "test")):
        if made[key]:
            lines += _scored(what, made[key])
    if made["learned"]:
        lines += _learned(made["learned"])
    return lines


def _rows(made: dict[str, Any]) -> str:
    parts = [f"{made['rows']:,} rows"]
    if made["dropped"]:
        parts.append(f"{made['dropped']:,} without a label left out")
    return ", ".join(parts)


def _way(made: dict[str, Any]) -> str:
    parts = []
    if made["C"] is not None:
        parts.append(f"C {made['C']:g}")
    if made["alpha"] is not None:
        parts.append(f"alpha {made['alpha']:g}")
    if made["epochs"] is not None:
        parts.append(f"{made['epochs']} epochs")
    if not made["converged"]:
        parts.append("the solver stopped before it converged")
    return ", ".join(parts)


def _scored(what: str, scored: dict[str, Any]) -> list[str]:
    """Return the scores in a line, and the table per class."""
    scores = "  ".join(f"{METRICS.get(k, k)} {_number(v)}" for k, v in scored["scores"].items())
    lines = [f"  {scored['rows']:,} {what} rows: {scores}"]
    if scored["classes"]:
        lines += [f"    {line}" for line in _classes(scored["classes"])]
    return lines


def _classes(classes: list[Any]) -> list[str]:
    rows: list[tuple[str, ...]] = [("class", "precision", "recall", "F1", "rows")]
    for label in classes:
        shares = [_number(label[name]) for name in ("precision", "recall", "f1")]
        rows.append((options.visible(label["label"]), *shares, f"{label['support']:,}"))
    return options.table(rows, right=(1, 2, 3, 4))


def _learned(importance: dict[str, Any]) -> list[str]:
    """Return the table of a learned mix, and the caution that goes with it."""
    head = [
        "layer",
        "weight",
        "",
        "share of logit variance",
        "",
        f"{importance['metric']} without it",
        "difference",
        "",
    ]
    rows = [head]
    for name in importance["layers"]:
        weight, share, left = (importance[key].get(name) for key in ("weights", "logit_variance", "left_out"))
        row = [name, _number(weight["value"]), _ends(weight), _number(share["value"]), _ends(share)]
        row += (
            [_number(left["value"]), _number(left["difference"]["value"]), _ends(left["difference"])]
            if left
            else [""] * 3
        )
        rows.append(row)
    table = options.table(rows, right=(1, 3, 5, 6))
    return [
        "  the mix, fitted without the held-out rows:",
        *(f"    {line}" for line in table),
        f"  {importance['caution']}",
    ]


def _together(tasks: dict[str, Any]) -> list[str]:
    rows = [("task", "score", "alone", "together")]
    shares = any(together["alone"] for together in tasks.values())
    for name, together in tasks.items():
        if together["held_out"]:
            metric, value = next(iter(together["held_out"]["scores"].items()))
            alone = together["alone"]["scores"][metric] if together["alone"] else value
            rows.append((options.visible(name), METRICS.get(metric, metric), _number(alone), _number(value)))
    same = [] if shares else ["(nothing but the reading is shared, so each head is what it would be alone)"]
    return [*options.table(rows, right=(2, 3)), *same]


def evaluation(source: str, scores: dict[str, Any]) -> list[str]:
    """Return the scores on a source, and a table per class."""
    lines = []
    for name, task in scores.items():
        lost = f", {task['dropped']:,} rows without a label left out" if task["dropped"] else ""
        lines += [
            f"{options.visible(source, 200)}: {options.visible(name)}{lost}",
            *_scored("evaluated", task),
        ]
    return lines


def _ends(estimate: dict[str, Any]) -> str:
    return "" if estimate["low"] is None else f"{estimate['low']:.3f} to {estimate['high']:.3f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
