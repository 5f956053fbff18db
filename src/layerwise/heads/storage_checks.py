"""Check the content of `head.json` before any of it is used."""

import re
from collections.abc import Iterator
from typing import Any

from layerwise._util import json_checks
from layerwise._util.guarded import BLOCKS, WIDTH
from layerwise._util.guarded import TASKS as MOST_TASKS
from layerwise._util.json_checks import (
    flag,
    list_of,
    map_of,
    mapping,
    nullable,
    number,
    object_of,
    one_of,
    optional,
    sha256,
    text,
    whole,
)
from layerwise.choices import LONG, POOLS, PRECISIONS, TASKS, WORD_SPLITS
from layerwise.heads.head import ACTIVATIONS

LEVELS = ("token", "word", "text")
_TAG = re.compile(r"O|[BI](?:-.+)?", re.DOTALL)
_LONGEST = 1 << 40
_MIX = 1 << 16  # characters


def check_head(value: dict[str, Any]) -> str | None:
    """Return the path of the first invalid entry, such as `tasks.0.mix`; `None` if all are valid."""
    wrong = json_checks.first_wrong(value, _TOP)
    return wrong if wrong is not None else next(_inconsistent_entries(value), None)


def _inconsistent_entries(value: dict[str, Any]) -> Iterator[str]:
    """Yield the entries that contradict each other, though each is valid alone."""
    if (value["rows"].get("pool") is None) != (value["rows"]["level"] == "token"):
        yield "rows.pool"
    if value["rows"].get("words_pool") is not None and value["rows"]["level"] != "text":
        yield "rows.words_pool"
    if value.get("pairs") is not None and value["rows"]["level"] != "text":
        yield "pairs"
    for position, task in enumerate(value["tasks"]):
        wrong = json_checks.first_wrong(task, _TASK)
        names = [wrong] if wrong is not None else _inconsistent_in_task(task, value["rows"]["level"])
        yield from (f"tasks.{position}.{name}" for name in names)
    if len({task["name"] for task in value["tasks"]}) < len(value["tasks"]):
        yield "tasks"


def _inconsistent_in_task(task: dict[str, Any], level: str) -> Iterator[str]:
    """Yield the entries of a task that contradict each other."""
    regress = task["task"] == "regress"
    min_classes = 0 if regress else 1 if task["multi"] else 2
    if len(task["classes"]) < min_classes or (regress and task["classes"]):
        yield "classes"
    if task["multi"] and task["task"] != "classify":
        yield "multi"
    if task["task"] == "tag":
        if level != "word":
            yield "task"
        tags = task["classes"]
        if not all(_TAG.fullmatch(tag) for tag in tags) or all(tag[0] == "I" for tag in tags):
            yield "classes"


def _classes(value: Any) -> bool:
    return list_of(text)(value) and len(set(value)) == len(value)


def _pairs(value: Any) -> bool:
    return value is None or (list_of(text)(value) and len(value) == 2)


def _context(value: Any) -> bool:
    return list_of(whole(0, _LONGEST))(value) and len(value) == 2 and sum(value) > 0


_SCORES = optional(object_of({"rows": whole(), "scores": map_of(optional(number))}))
# The entries of a task's training that `info` shows; all other entries are only for reports.
_TRAINED: json_checks.Schema = {
    "rows": optional(whole()),
    "dropped": optional(whole()),
    "held_out": _SCORES,
    "test": _SCORES,
}
_PRIVATE: json_checks.Schema = {
    "epsilon": number,
    "delta": number,
    "unit": one_of(("text", "group")),
    "units": whole(),
    "clip": number,
    "steps": whole(),
    "noise": number,
    "standardised_by": text,
    "classes_from": text,
}
_TEXTS: json_checks.Schema = {"number": whole(), "sum": text}
_READING: json_checks.Schema = {"text": optional(text), "words": optional(text), "join": optional(text)}
_TOP: json_checks.Schema = {
    "model": {
        "id": text,
        "revision": nullable(text),
        "blocks": whole(0, BLOCKS),
        "width": whole(1, WIDTH),
        "widths": optional(map_of(whole(1, WIDTH))),
        "weights": sha256,
        "tokenizer": sha256,
        "config": sha256,
        "adapter": optional(object_of({"folder": nullable(text), "kind": text, "base": nullable(text)})),
    },
    "rows": {
        "level": one_of(LEVELS),
        "pool": nullable(one_of(POOLS)),
        "special_tokens": flag,
        "long": one_of(LONG),
        "max_length": whole(1, _LONGEST),
        "overlap": whole(0, _LONGEST),
        "precision": one_of(PRECISIONS),
        "prompt": optional(text),
        "word_split": optional(one_of(WORD_SPLITS)),
        "words_pool": nullable(one_of(POOLS)),
        "context": optional(_context),
        "document": optional(text),
        "joint": optional(_pairs),
        "redact": optional(object_of({"kind": text, "how": optional(text), "sha256": optional(sha256)})),
    },
    "tensors": {"bytes": whole(0, _LONGEST), "sha256": sha256},
    "training": lambda value: (
        isinstance(value, dict)
        and map_of(object_of(_TRAINED))(value.get("tasks", {}))
        and optional(object_of(_PRIVATE))(value.get("private"))
        and optional(object_of(_READING))(value.get("reading"))
        and optional(object_of(_TEXTS))(value.get("texts"))
    ),
    "versions": map_of(text),
    "made": optional(text),
    "tasks": lambda value: list_of(mapping)(value) and 0 < len(value) <= MOST_TASKS,
    "pairs": _pairs,
}
_TASK: json_checks.Schema = {
    "name": text,
    "task": one_of(TASKS),
    "label": text,
    "mix": lambda value: text(value) and len(value) <= _MIX,
    "classes": _classes,
    "multi": flag,
    "label_separator": nullable(lambda value: text(value) and value != ""),
    "hidden": nullable(whole(1, 1 << 24)),
    "activation": one_of(ACTIVATIONS),
}
