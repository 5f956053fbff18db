"""The flags of a command, made from the options of its verb (`layerwise.options`)."""

import argparse
from collections.abc import Callable, Collection, Iterator
from dataclasses import Field, fields
from typing import Any

from layerwise.cli import options as parse

_TYPES: dict[str, Callable[[str], Any]] = {
    "path": parse.path,
    "integer": int,
    "count": parse.count,
    "number": float,
    "names": lambda argument: argument.split(","),
    "counts": parse.numbers,
}


def add(
    parser: argparse.ArgumentParser, options: type, *, without: Collection[str] = (), **defaults: Any
) -> None:
    """Add a flag for each option.

    Args:
        parser: of the command.
        options: a dataclass of `layerwise.options`.
        without: names of options that the command hasn't.
        **defaults: where the command's differ.
    """
    for option in _chosen(options, without):
        _add(parser, option, defaults.get(option.name, option.default))


def values(args: argparse.Namespace, options: type, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return what the flags of `add` were given, by the names of the options."""
    return {option.name: getattr(args, option.name) for option in _chosen(options, without)}


def _chosen(options: type, without: Collection[str]) -> Iterator[Field[Any]]:
    return (option for option in fields(options) if option.name not in without)


def _add(parser: argparse.ArgumentParser, option: Field[Any], default: Any) -> None:
    name = option.name.replace("_", "-")
    text = option.metadata["help"].replace("%", "%%")
    if default is True:
        parser.add_argument(f"--no-{name}", dest=option.name, action="store_false", help=text)
    elif default is False:
        parser.add_argument(f"--{name}", action="store_true", help=text)
    else:
        kind = option.metadata["kind"]
        more: dict[str, Any] = {"type": _TYPES[kind]} if kind in _TYPES else {}
        if kind == "several":
            more = {"action": "extend", "nargs": "+"}
            default = list(default)
        if kind == "repeated":
            more = {"action": "append"}
        shown = "" if default in (None, []) else f" ({default})"
        parser.add_argument(
            f"--{name}", default=default, metavar=option.metadata["metavar"], help=f"{text}{shown}", **more
        )
