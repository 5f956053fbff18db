"""The flags of a command: those made from the options of its verb (`layerwise.options`), and the shared ones."""

import argparse
from collections.abc import Callable, Collection, Iterator
from dataclasses import Field, fields
from typing import Any

from layerwise.arguments import flag_name
from layerwise.choices import LANGS


def path(argument: str) -> str:
    """Return an argument that is a path or a name.

    Raises:
        argparse.ArgumentTypeError: it is empty, as an unset variable of the shell is.
    """
    if not argument:
        raise argparse.ArgumentTypeError("'' is empty; give a path or a name")
    return argument


def count(argument: str) -> int:
    """Return an argument that is a whole number, 0 or more.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if not (argument.isascii() and argument.isdecimal()):
        raise argparse.ArgumentTypeError(f"{argument!r} is not a whole number of 0 or more")
    return int(argument)


def integer(argument: str) -> int:
    """Return an argument that is a whole number.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    try:
        return int(argument)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{argument!r} is not a whole number") from None


def number(argument: str) -> float:
    """Return an argument that is a number.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    try:
        return float(argument)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{argument!r} is not a number") from None


def numbers(argument: str) -> list[int]:
    """Return an argument that is a list of whole numbers, such as `0,17,42`.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    return [count(item.strip()) for item in argument.split(",")]


_TYPES: dict[str, Callable[[str], Any]] = {
    "path": path,
    "integer": integer,
    "count": count,
    "number": number,
    "names": lambda argument: argument.split(","),
    "counts": numbers,
}


def add(
    parser: argparse.ArgumentParser, options: type, *, without: Collection[str] = (), **defaults: Any
) -> None:
    """Add a flag for each option; help groups flags by the class that has the option, under its docstring.

    Args:
        parser: the parser of the command.
        options: a dataclass of `layerwise.options`.
        without: names of options that the command doesn't have.
        **defaults: defaults of the command, for options where they differ from those of the dataclass.
    """
    for option in _without(options, without):
        group = _group(parser, _class_of(options, option.name))
        _add(group, option, defaults.get(option.name, option.default))


def values(args: argparse.Namespace, options: type, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the values of the flags that `add` added, by the names of the options."""
    return {option.name: _value(args, option) for option in _without(options, without)}


def changed(args: argparse.Namespace, options: type) -> dict[str, Any]:
    """Return the values of the flags that `add` added and that differ from their defaults, by the names of the options."""
    got = {option: getattr(args, option.name) for option in fields(options)}
    return {
        option.name: value
        for option, value in got.items()
        # `several` values are a list here, and a tuple in the options
        if (tuple(value) if isinstance(value, list) else value) != option.default
    }


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="show no progress on stderr")


def add_lang(parser: argparse.ArgumentParser, of: str) -> None:
    """Add `--lang`, the language of what only a command prints."""
    parser.add_argument(
        "--lang", default="en", metavar=f"{{{','.join(LANGS)}}}", help=f"language of {of} (default: en)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _value(args: argparse.Namespace, option: Field[Any]) -> Any:
    value = getattr(args, option.name)
    # argparse extends lists; the default of the options is a tuple.
    return tuple(value) if option.metadata["kind"] == "several" else value


def _without(options: type, without: Collection[str]) -> Iterator[Field[Any]]:
    return (option for option in fields(options) if option.name not in without)


def _class_of(options: type, name: str) -> type:
    """Return the class among `options` and its bases that says what an option is."""
    return next(cls for cls in options.__mro__ if name in vars(cls).get("__annotations__", {}))


def _group(parser: argparse.ArgumentParser, options: type) -> argparse._ArgumentGroup:
    """Return the group of flags of a class, which is added when its first flag is."""
    title = (options.__doc__ or "").partition("\n")[0].removesuffix(".").replace("`", "")
    groups = (group for group in parser._action_groups if group.title == title)
    return next(groups, None) or parser.add_argument_group(title)


def _add(parser: argparse._ArgumentGroup, option: Field[Any], default: Any) -> None:
    name = flag_name(option.name)
    text = option.metadata["help"].replace("%", "%%")
    if default is True:
        parser.add_argument(f"--no-{name}", dest=option.name, action="store_false", help=text)
    elif default is False:
        parser.add_argument(f"--{name}", dest=option.name, action="store_true", help=text)
    else:
        kind = option.metadata["kind"]
        settings: dict[str, Any] = {"type": _TYPES[kind]} if kind in _TYPES else {}
        if kind == "several":
            settings = {"action": "extend", "nargs": "+"}
            default = list(default)
        if kind == "repeated":
            settings = {"action": "append"}
        suffix = "" if default in (None, []) else f" (default: {default})"
        parser.add_argument(
            f"--{name}",
            dest=option.name,
            default=default,
            metavar=option.metadata["metavar"],
            help=f"{text}{suffix}",
            **settings,
        )
