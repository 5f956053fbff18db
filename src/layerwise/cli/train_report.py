"""The report that `train` prints: settings of the fit, scores, and tables."""

from typing import Any

from layerwise._util.display import count_of
from layerwise.choices import METRICS
from layerwise.cli import output
from layerwise.cli.mix_report import mix_report


def report(out: str, head: Any) -> list[str]:
    """Return the lines about a new head: a block per task, and for several tasks a table of scores alone and together."""
    if "private" in head.training:
        return _private(out, head)
    trainings = head.training["tasks"]
    blocks = [_task(task, trainings[task.name]) for task in head.task_heads]
    if len(head.task_heads) > 1:
        blocks.append(_together(trainings))
    first, *others = blocks
    title = f"{out}: {len(head.task_heads)} task{'s' * (len(head.task_heads) > 1)}"
    return [title, *first, *(line for block in others for line in ("", *block))]


def _private(out: str, head: Any) -> list[str]:
    """Return the lines about a head that was trained with privacy; it has no scores."""
    (task,) = head.task_heads
    mix = output.visible(str(task.mix), 200)
    return [
        f"{out}: 1 task",
        f"{output.visible(task.name)}: {task.task} on {mix}, private",
        f"  {private_facts(head.training['private'])}",
    ]


def private_facts(record: dict[str, Any]) -> str:
    """Return the guarantee of a private head, and how it was reached."""
    return (
        f"ε {record['epsilon']:g}, δ {record['delta']:g}, replacing one of {record['units']:,} {record['unit']}s; "
        f"gradients clipped at {record['clip']:g}, {record['steps']} steps with noise {record['noise']:.3g}; "
        f"standardised by {record['standardised_by']}, classes from {record['classes_from']}"
    )


def _task(task: Any, training: dict[str, Any]) -> list[str]:
    name = output.visible(task.name)
    lines = [
        f"{name}: {task.task} on {output.visible(str(task.mix), 200)}, {_rows(training)}",
        f"  {_fit_settings(training)}",
    ]
    if task.task == "tag" and training["scheme"] != "IOB2":
        lines.append(f"  tags were read as {training['scheme']}; the head uses and prints IOB2")
    for key, what in (("held_out", "held-out"), ("test", "test")):
        if training[key]:
            lines += _scored(what, training[key])
    if training["learned"]:
        lines.append("  the learned mix, fitted without the held-out rows:")
        lines += [f"  {line}" for line in mix_report(training["learned"])]
    return lines


def _rows(training: dict[str, Any]) -> str:
    parts = [f"{count_of(training['rows'], 'row')}"]
    if training["dropped"]:
        parts.append(f"{count_of(training['dropped'], 'row')} without a label not used")
    return ", ".join(parts)


def _fit_settings(training: dict[str, Any]) -> str:
    parts = []
    if training["C"] is not None:
        parts.append(f"C {training['C']:g}")
    if training["alpha"] is not None:
        parts.append(f"alpha {training['alpha']:g}")
    if training["epochs"] is not None:
        parts.append(f"{training['epochs']} epochs")
    if training["chosen_by"] is not None:
        metric = training["chosen_by"]
        parts[-1] += f" (chosen by {METRICS.get(metric, metric)} on held-out rows)"
    if not training["converged"]:
        parts.append("the solver stopped before it converged")
    return ", ".join(parts)


def _interval(scored: dict[str, Any]) -> str:
    """Return the line of the 95% interval of each score."""
    ends = (
        f"{METRICS.get(name, name)} {low:.4f} to {high:.4f}"
        for name, (low, high) in scored["intervals"].items()
        if low is not None
    )
    plural = "s" * (scored["units"] != 1)
    return f"    95% intervals, of {scored['units']:,} {scored['unit']}{plural}: {', '.join(ends) or 'none'}"


def _scored(what: str, scored: dict[str, Any]) -> list[str]:
    """Return the lines of scores, of their intervals, of the majority's scores if known, and a table of classes."""
    lines = [f"  {scored['rows']:,} {what} rows: {_metrics(scored['scores'])}", _interval(scored)]
    if "majority" in scored:
        answer = "mean" if "r2" in scored["scores"] else "most frequent answer"
        lines.append(f"    always the {answer} of the training rows: {_metrics(scored['majority'])}")
    if scored["classes"]:
        lines += [f"    {line}" for line in _classes(scored["classes"])]
    return lines


def _metrics(scores: dict[str, float]) -> str:
    return "  ".join(f"{METRICS.get(name, name)} {_number(value)}" for name, value in scores.items())


def _classes(classes: list[Any]) -> list[str]:
    rows: list[tuple[str, ...]] = [("class", "precision", "recall", "F1", "rows")]
    for label in classes:
        shares = [_number(label[name]) for name in ("precision", "recall", "f1")]
        rows.append((output.visible(label["label"]), *shares, f"{label['support']:,}"))
    return output.table(rows, right=(1, 2, 3, 4))


def _together(trainings: dict[str, Any]) -> list[str]:
    rows = [("task", "score", "alone", "together")]
    any_shared = any(training["alone"] for training in trainings.values())
    for name, together in trainings.items():
        if together["held_out"]:
            metric, value = next(iter(together["held_out"]["scores"].items()))
            alone = together["alone"]["scores"][metric] if together["alone"] else value
            rows.append((output.visible(name), METRICS.get(metric, metric), _number(alone), _number(value)))
    remark = [] if any_shared else ["(the tasks share no hidden layer, so both scores are the same)"]
    return [*output.table(rows, right=(2, 3)), *remark]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
