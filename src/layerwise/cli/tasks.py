"""What repeated `--task` and `--mix` of `train` mean."""

from collections.abc import Sequence
from dataclasses import dataclass

from layerwise.errors import RequestError


@dataclass(frozen=True, slots=True)
class Named:
    """What `--task` and `--mix` say, as `train` takes it."""

    task: str | None
    tasks: dict[str, str] | None
    mix: str | dict[str, str | int] | None


def named_tasks(tasks: Sequence[str], mixes: Sequence[str] | None) -> Named:
    """Return what repeated `--task NAME=TASK:COL` and `--mix NAME=MIX` mean; one task may go without a name.

    Raises:
        RequestError: several tasks without names, or a name or a plain mix given twice.
    """
    if len(tasks) == 1 and "=" not in tasks[0]:
        if mixes is not None and len(mixes) > 1:
            raise RequestError(f"--mix is given {len(mixes)} times for one task; give it once")
        return Named(tasks[0], None, mixes[0] if mixes else None)
    named: dict[str, str] = {}
    for text in tasks:
        name, equals, what = text.partition("=")
        if not equals or name in named:
            why = f"names {name!r} twice" if equals else "has no name"
            raise RequestError(f"--task {text!r} {why}; of several tasks each is NAME=TASK:COL")
        named[name] = what
    mix: dict[str, str | int] = {}
    for text in mixes or ():
        name, equals, what = text.partition("=")
        fitting = [name] if equals and name in named else [n for n in named if len(mixes or ()) == 1]
        if not fitting or name in mix:
            raise RequestError(f"--mix {text!r} fits no task, or a second time; give NAME=MIX for each task")
        mix |= dict.fromkeys(fitting, what if equals and name in named else text)
    return Named(None, named, mix)
