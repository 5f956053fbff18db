"""Read the tasks of a head from arguments: one without a name, or several with names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layerwise.errors import RequestError
from layerwise.labels.labelled import check_task
from layerwise.labels.plan import TaskSpec
from layerwise.mixes import parse_mix
from layerwise.store import LayerDataset

_RESERVED = ("doc", "id")


def read_tasks(
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
            raise RequestError(f"task {task!r} needs the column of its labels; name it with --label COL")
        kind_and_column = {str(label): (str(task), label)}
    else:
        if label is not None:
            raise RequestError(
                f"--label {label!r} goes with one task; several are named as NAME=TASK:COL, "
                "such as topic=classify:topic"
            )
        kind_and_column = {name: _kind_and_column(name, pair) for name, pair in tasks.items()}
    if not kind_and_column:
        raise RequestError("no task is named; give one, such as topic=classify:topic")
    mixes = _mixes(dataset, list(kind_and_column), mix, several=tasks is not None)
    specs = []
    for name, (kind, column) in kind_and_column.items():
        uses_separator = tasks is None or check_task(kind) == "classify"
        separator_of_task = label_separator if uses_separator else None
        specs.append(
            TaskSpec(
                name, kind, column, parse_mix(mixes[name], dataset.blocks, dataset.layers), separator_of_task
            )
        )
    return specs


def _kind_and_column(name: str, pair: str | Sequence[str]) -> tuple[str, str]:
    if not name or name in _RESERVED:
        raise RequestError(
            f"a task can't be called {name!r}; give it a name, but not {' or '.join(_RESERVED)}"
        )
    parts = pair.split(":", 1) if isinstance(pair, str) else list(pair)
    if len(parts) != 2 or not all(parts):
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
    return {name: mix_of_task.get(name, default_mix(dataset.layers)) for name in names}


def default_mix(layers: Sequence[str]) -> str:
    """Return the default mix: the mean of all stored layers except `emb`."""
    deep = [name for name in layers if name != "emb"] or list(layers)
    return deep[0] if len(deep) == 1 else f"mean({','.join(deep)})"
