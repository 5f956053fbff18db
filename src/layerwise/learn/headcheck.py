"""What a `head.json` must hold before anything of it is used."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from layerwise.learn.fitted import ACTIVATIONS
from layerwise.learn.labels import TASKS
from layerwise.names import LONG, POOLS, PRECISIONS

LEVELS = ("token", "word", "text")
_HASH = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(r"O|[BI](?:-.+)?", re.DOTALL)
_MOST = {"blocks": 10_000, "width": 1_000_000}
Check = Callable[[Any], bool]


def check_head(value: dict[str, Any]) -> str | None:
    """Return the path of the first entry that makes no sense, such as `tasks.0.mix`; `None` when all do."""
    return next(_wrong(value), None)


def _wrong(value: dict[str, Any]) -> Iterator[str]:
    for name, check in _TOP.items():
        if not check(value.get(name)):
            yield name
    for group, checks in (("model", _MODEL), ("rows", _ROWS), ("tensors", _TENSORS)):
        for name, check in checks.items():
            if not isinstance(value[group], dict) or not check(value[group].get(name)):
                yield f"{group}.{name}"
    if (value["rows"]["pool"] is None) != (value["rows"]["level"] == "token"):
        yield "rows.pool"
    if value["pairs"] is not None and value["rows"]["level"] != "text":
        yield "pairs"
    for number, task in enumerate(value["tasks"]):
        for name, check in _TASK.items():
            if not isinstance(task, dict) or not check(task.get(name)):
                yield f"tasks.{number}.{name}"
        yield from (f"tasks.{number}.{name}" for name in _senseless(task, value["rows"]["level"]))
    if len({task["name"] for task in value["tasks"]}) < len(value["tasks"]):
        yield "tasks"


def _senseless(task: dict[str, Any], level: str) -> Iterator[str]:
    """Yield the entries of a task that don't go together."""
    regress = task["task"] == "regress"
    least = 0 if regress else 1 if task["multi"] else 2
    if len(task["classes"]) < least or (regress and task["classes"]):
        yield "classes"
    if task["multi"] and task["task"] != "classify":
        yield "multi"
    if task["task"] == "tag":
        if level != "word":
            yield "task"
        tags = task["classes"]
        if not all(_TAG.fullmatch(tag) for tag in tags) or all(tag[0] == "I" for tag in tags):
            yield "classes"


def _string(value: Any) -> bool:
    return isinstance(value, str)


def _optional(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _whole(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _classes(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return False
    return len(set(value)) == len(value)


def _pairs(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 2 and all(isinstance(name, str) for name in value)


def _training(value: Any) -> bool:
    tasks = value.get("tasks", {}) if isinstance(value, dict) else None
    return isinstance(tasks, dict) and all(isinstance(made, dict) for made in tasks.values())


_TOP: dict[str, Check] = {
    "model": lambda value: isinstance(value, dict),
    "rows": lambda value: isinstance(value, dict),
    "tensors": lambda value: isinstance(value, dict),
    "training": _training,
    "versions": lambda value: isinstance(value, dict),
    "tasks": lambda value: isinstance(value, list) and bool(value),
    "pairs": _pairs,
}
_MODEL: dict[str, Check] = {
    "id": _string,
    "revision": _optional,
    "blocks": _whole(0, _MOST["blocks"]),
    "width": _whole(1, _MOST["width"]),
    "weights": _hash,
    "tokenizer": _hash,
    "config": _hash,
}
_ROWS: dict[str, Check] = {
    "level": lambda value: value in LEVELS,
    "pool": lambda value: value is None or value in POOLS,
    "special_tokens": lambda value: isinstance(value, bool),
    "long": lambda value: value in LONG,
    "max_length": _whole(1, 1 << 40),
    "overlap": _whole(0, 1 << 40),
    "precision": lambda value: value in PRECISIONS,
    "words_pool": lambda value: value is None or value in POOLS,
}
_TENSORS: dict[str, Check] = {"bytes": _whole(0, 1 << 40), "sha256": _hash}
_TASK: dict[str, Check] = {
    "name": _string,
    "task": lambda value: value in TASKS,
    "label": _string,
    "mix": _string,
    "classes": _classes,
    "multi": lambda value: isinstance(value, bool),
    "separator": _optional,
    "hidden": lambda value: value is None or _whole(1, 1 << 24)(value),
    "activation": lambda value: value in ACTIVATIONS,
}
