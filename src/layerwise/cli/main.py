"""The command `layerwise`: argv in, exit code out; the only place that prints."""

import argparse
import importlib
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from layerwise.errors import LayerwiseError

_COMMANDS = ("show", "extract", "info", "verify", "pool", "export", "bench", "env")
_DESCRIPTION = "Every layer of every text encoder, as data."
_EXAMPLES = """\
examples:
  layerwise show "Hello, world!"
  layerwise extract reviews.csv --out reviews.lw
  layerwise info reviews.lw
  layerwise verify reviews.lw
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where the help is."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}; see {self.prog} -h")


class _UsageError(LayerwiseError):
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done · 1 a check found something wrong · 2 the request can't be carried out · 130 interrupted
    """
    # A reader that goes away (`| head`) ends the command quietly, as it does any other.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            args = _parser().parse_args(argv)
            code: int = args.run(args)
            sys.stdout.flush()
            return code
    except LayerwiseError as error:
        print(f"layerwise: {_one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("layerwise: interrupted; the same command again goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    from layerwise import __version__

    parser = _Parser(
        prog="layerwise",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"layerwise {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        module = importlib.import_module(f"layerwise.cli.{name}")
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            epilog=f"examples:\n{module.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"layerwise: note: {_one_line(str(message))}", file=sys.stderr)


def _one_line(text: str) -> str:
    """Return `text` in one line, without control characters that a terminal would act on."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
