"""The values of `--task` and `--mix` of `train`, which may be repeated."""

from collections.abc import Sequence
from dataclasses import dataclass

from layerwise.errors import RequestError


@dataclass(frozen=True, slots=True)
class TaskArguments:
    """The values of `--task` and `--mix`, as parameters of `train`."""

    task: str | None
    tasks: dict[str, str] | None
    mix: str | dict[str, str | int] | None


def named_tasks(tasks: Sequence[str], mixes: Sequence[str] | None) -> TaskArguments:
    """Return the tasks of repeated `--task NAME=TASK:COL` and their mixes of `--mix NAME=MIX`; a single task needs no name.

    Raises:
        RequestError: one of several tasks has no name, or a name or a mix is given twice.
    """
    if len(tasks) == 1 and "=" not in tasks[0]:
        if mixes is not None and len(mixes) > 1:
            raise RequestError(f"--mix is given {len(mixes)} times for one task; give it once")
        return TaskArguments(tasks[0], None, mixes[0] if mixes else None)
    named: dict[str, str] = {}
    for text in tasks:
        name, equals, what = text.partition("=")
        if not equals or name in named:
            why = f"names {name!r} twice" if equals else "has no name"
            raise RequestError(f"--task {text!r} {why}; give each of several tasks as NAME=TASK:COL")
        named[name] = what
    mix: dict[str, str | int] = {}
    for text in mixes or ():
        name, equals, what = text.partition("=")
        if equals and name not in named and name.isidentifier():  # no mix string begins like this
            raise RequestError(
                f"--mix {text!r} is for task {name!r} and there is no such task; there are {', '.join(named)}"
            )
        fitting = [name] if equals and name in named else [n for n in named if len(mixes or ()) == 1]
        if not fitting or name in mix:
            raise RequestError(
                f"--mix {text!r} names no task, or a task that has a mix already; give NAME=MIX once for each task"
            )
        mix |= dict.fromkeys(fitting, what if equals and name in named else text)
    return TaskArguments(None, named, mix)
