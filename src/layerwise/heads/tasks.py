"""The tasks of a head: one without a name, or several with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layerwise.errors import RequestError
from layerwise.labels.targets import TaskSpec, check_task
from layerwise.mixes import parse_mix
from layerwise.store import LayerDataset

_RESERVED = ("doc", "id")


def read_tasks(
    dataset: LayerDataset,
    task: str | None,
    label: str | None,
    tasks: Mapping[str, str | Sequence[str]] | None,
    mix: str | int | Mapping[str, str | int] | None,
    separator: str | None,
) -> list[TaskSpec]:
    """Return the tasks that the arguments of `train` mean, each with its mix.

    Raises:
        RequestError: no task, one without a label, a broken name or mix, or a mix of no task.
    """
    if (task is None) == (tasks is None):
        got = "neither" if task is None else "both"
        raise RequestError(f"give one task with its label column, or several in tasks; got {got}")
    if tasks is None:
        if not label:
            raise RequestError(f"task {task!r} needs the column of its labels; name it with --label COL")
        wanted = {str(label): (str(task), label)}
    else:
        if label is not None:
            raise RequestError(
                f"--label {label!r} goes with one task; several are named as NAME=TASK:COL, "
                "such as topic=classify:topic"
            )
        wanted = {name: _pair(name, what) for name, what in tasks.items()}
    if not wanted:
        raise RequestError("no task is named; give one, such as topic=classify:topic")
    mixes = _mixes(dataset, list(wanted), mix, several=tasks is not None)
    specs = []
    for name, (kind, column) in wanted.items():
        takes = tasks is None or check_task(kind) == "classify"
        own = separator if takes else None
        specs.append(
            TaskSpec(name, kind, column, parse_mix(mixes[name], dataset.blocks, dataset.layers), own)
        )
    return specs


def _pair(name: str, what: str | Sequence[str]) -> tuple[str, str]:
    if not name or name in _RESERVED:
        raise RequestError(
            f"a task can't be called {name!r}; give it a name, but not {' or '.join(_RESERVED)}"
        )
    parts = what.split(":", 1) if isinstance(what, str) else list(what)
    if len(parts) != 2 or not all(parts):
        raise RequestError(f"task {name!r} is {what!r}; give TASK:COL, such as classify:topic")
    return parts[0], parts[1]


def _mixes(
    dataset: LayerDataset,
    names: Sequence[str],
    mix: str | int | Mapping[str, str | int] | None,
    *,
    several: bool,
) -> dict[str, str | int]:
    given = dict(mix) if isinstance(mix, Mapping) else {} if mix is None else dict.fromkeys(names, mix)
    unknown = sorted(set(given) - set(names))
    if unknown:
        what = f"there are {', '.join(names)}" if several else "there is one task without a name"
        raise RequestError(f"a mix is given for task {unknown[0]!r} and there is no such task; {what}")
    return {name: given.get(name, default_mix(dataset.layers)) for name in names}


def default_mix(layers: Sequence[str]) -> str:
    """Return the mix that is taken when none is named: the mean of all stored layers but `emb`."""
    deep = [name for name in layers if name != "emb"] or list(layers)
    return deep[0] if len(deep) == 1 else f"mean({','.join(deep)})"
