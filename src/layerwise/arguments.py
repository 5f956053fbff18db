"""How a message names an argument: as Python's parameter, or as the flag of the command line.

The two have one name (`max_rows`, `--max-rows`; see `flag_name`), so a message is written once, with `argument`. The command line
switches to flags by `as_flags`; without it, messages name parameters.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_NO_VALUE = object()
_FLAGS = {"heads": "head"}  # where a verb has a parameter `head` too
_flags = False
_offered: frozenset[str] | None = None


def argument(name: str, value: Any = _NO_VALUE) -> str:
    """Return an argument as the user writes it.

    >>> argument("max_rows"), argument("task", "regress")
    ('max_rows', "task='regress'")
    >>> with as_flags():
    ...     argument("max_rows"), argument("task", "regress"), argument("special_tokens", False)
    ('--max-rows', '--task regress', '--no-special-tokens')
    """
    if not _flags:
        return name if value is _NO_VALUE else f"{name}={value!r}"
    flag = flag_name(name)
    if value is False:
        return f"--no-{flag}"
    if value is _NO_VALUE or value is True:
        return f"--{flag}"
    values = value if isinstance(value, list | tuple) else (value,)
    return " ".join([f"--{flag}", *map(_in_a_shell, map(str, values))])


def flag_name(name: str) -> str:
    """Return the name of a parameter's flag, without dashes.

    >>> flag_name("max_rows"), flag_name("heads")
    ('max-rows', 'head')
    """
    return _FLAGS.get(name, name.replace("_", "-"))


def _in_a_shell(value: str) -> str:
    """Return a value with quotes where a shell would cut it, or run a part of it; brackets of mixes stay as they are."""
    return shlex.quote(value) if not value or re.search(r"""[\s;|&#<>$`"'\\]""", value) else value


@contextmanager
def as_flags(flags: bool = True) -> Iterator[None]:
    """Name arguments as flags until the end of the block, in all threads of this process."""
    global _flags
    before = _flags
    _flags = flags
    try:
        yield
    finally:
        _flags = before


@contextmanager
def offering(names: Iterable[str]) -> Iterator[None]:
    """Say until the end of the block, for all threads, which arguments the running command, or a request to it, has."""
    global _offered
    before = _offered
    _offered = frozenset(names)
    try:
        yield
    finally:
        _offered = before


def is_offered(name: str) -> bool:
    """Return whether the user can give this argument, so that a message may name it; True where no command runs."""
    return _offered is None or name in _offered


def are_flags() -> bool:
    """Return whether arguments are named as flags now, to pass it on to a process that this one starts."""
    return _flags
