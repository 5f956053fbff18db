"""The directive `command`: what a command does, its usage, every argument and flag, and its examples.

All of it is read from the parser of the command line, which makes flags from the option dataclasses.
"""

import argparse
import importlib
from collections.abc import Iterator

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from layerwise.cli.main import _parser
from layerwise_docs.markdown import in_markdown

_HELP = "show this help message and exit"


class CommandDirective(SphinxDirective):
    """`{command} extract`: the reference of one command."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parts of the page after its title."""
        name = self.arguments[0]
        for module in (
            f"layerwise.cli.{name}",
            "layerwise.cli.flags",
            "layerwise.options",
            "layerwise.choices",
        ):
            self.env.note_dependency(importlib.import_module(module).__file__ or "")
        parser = command_parsers()[name]
        # Of a text with headings, what stands before the first would be lost.
        return [
            *self.parse_text_to_nodes("\n".join(introduction(name, parser))),
            *self.parse_text_to_nodes("\n".join(sections(parser)), allow_section_headings=True),
        ]


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command, by its name."""
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def introduction(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield what a command does, its usage and its examples, as lines of MyST Markdown."""
    yield from (in_markdown(parser.description or ""), "", f"```{{program}} {parser.prog}", "```", "")
    yield from ("```text", usage(parser), "```", "")
    examples = importlib.import_module(f"layerwise.cli.{name}").EXAMPLES
    yield from ("```sh", *(line.removeprefix("  ") for line in examples.splitlines()), "```", "")


def sections(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a section for each group of flags, as lines of MyST Markdown."""
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != _HELP]
        if actions:
            yield from (f"## {_title(group.title or '')}", "")
            for action in actions:
                yield from (f"````{{option}} {_signature(action)}", in_markdown(_help(action)), "````", "")


def usage(parser: argparse.ArgumentParser) -> str:
    """Return the usage in a line: what has to be given, then `[options]`."""
    needed = [action for action in parser._actions if action.required or not action.option_strings]
    return " ".join([parser.prog, *(_in_usage(action) for action in needed), "[options]"])


def _in_usage(action: argparse.Action) -> str:
    if action.option_strings:
        return f"{action.option_strings[-1]} {action.metavar}"
    several = {"+": f"{action.metavar}...", "*": f"[{action.metavar}...]", "?": f"[{action.metavar}]"}
    return several.get(str(action.nargs), str(action.metavar))


def _title(title: str) -> str:
    """Return the title of a group; argparse's own are in lower case."""
    return {"positional arguments": "Arguments", "options": "Flags"}.get(title, title)


def _signature(action: argparse.Action) -> str:
    """Return what is typed: the flag with a word for its value, or the argument."""
    if not action.option_strings:
        return str(action.metavar)
    flags = ", ".join(action.option_strings)
    if action.nargs == 0:
        return flags
    return f"{flags} {action.metavar}{' ...' if action.nargs == '+' else ''}"


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")
