"""The facts on a head, for people."""

from typing import Any

from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.cli import output
from layerwise.cli.facts.dataset import context, redactor
from layerwise.cli.facts.model import adapter_rows
from layerwise.cli.train_report import private_facts


def head_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the facts on a head, with their names."""
    model, settings, training = facts["model"], facts["rows"], facts["training"]
    pool = f", pool {settings['pool']}" if settings["pool"] else ""
    rows: list[tuple[str, Any]] = [
        (
            "head",
            f"{facts['path']} (format {facts['version']}, {output.size(facts['tensors']['bytes'])})",
        ),
        ("model", f"{model['id']} ({count_of(model['blocks'], 'block')}, width {model['width']})"),
        *adapter_rows(model),
        ("weights", f"sha256 {model['weights']}"),
        (
            "rows",
            f"of level {settings['level']}{pool}"
            + (f", pairs {'-'.join(facts['pairs'])}" if facts["pairs"] else ""),
        ),
    ]
    if settings.get("prompt") is not None:
        rows.append(("prompt", f"{settings['prompt']!r} before each text"))
    if settings.get("context") is not None:
        rows.append(("context", context(settings["context"])))
    if settings.get("redact") is not None:
        rows.append(("redacted", f"texts are, {redactor(settings['redact'])}"))
    if training.get("reading"):
        options = " ".join(argument(name, value) for name, value in training["reading"].items())
        rows.append(("texts", f"read with {options}, unless another column is named"))
    if settings.get("joint") is not None:
        rows.append(("pairs", f"{' and '.join(settings['joint'])}, encoded together"))
    for task in facts["tasks"]:
        shape = "linear" if task["hidden"] is None else f"a hidden layer of {task['hidden']}"
        rows.append((f"task {task['name']}", f"{task['task']} of {task['label']} on {task['mix']}, {shape}"))
        if task["classes"]:
            rows.append(("classes", f"{len(task['classes'])}: {', '.join(task['classes'])}"))
        rows += _scores(training.get("tasks", {}).get(task["name"], {}))
    if training.get("private"):
        rows.append(("private", private_facts(training["private"])))
    versions = facts.get("versions") or {}
    rows.append(("trained", facts.get("made")))
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    return rows


def _scores(report: dict[str, Any]) -> list[tuple[str, Any]]:
    rows = (
        [
            (
                "trained on",
                f"{count_of(report['rows'], 'row')}, {count_of(report['dropped'], 'row')} without a label not used",
            )
        ]
        if "rows" in report
        else []
    )
    for key in ("held_out", "test"):
        if report.get(key):
            scores = ", ".join(
                f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
                for name, value in report[key]["scores"].items()
            )
            rows.append((key.replace("_", "-"), f"{count_of(report[key]['rows'], 'row')}: {scores}"))
    return rows
