"""The command `layerwise`: parse argv, run one command, return its exit code."""

import argparse
import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from layerwise import __version__
from layerwise._util import threads
from layerwise._util.once import forget_texts
from layerwise._util.paths import faults, reason
from layerwise._util.silence import warned_once
from layerwise.arguments import as_flags, offering
from layerwise.cli import output
from layerwise.errors import LayerwiseError, RequestError

_COMMANDS = (
    "show",
    "extract",
    "info",
    "verify",
    "finish",
    "merge",
    "repair",
    "pool",
    "train",
    "predict",
    "evaluate",
    "probe",
    "analyze",
    "align",
    "report",
    "explore",
    "serve",
    "cut",
    "export",
    "bench",
    "env",
)
_RESUMABLE = ("extract", "finish", "merge", "pool", "repair")
_TOKENIZER_VARIABLE = "RAYON_NUM_THREADS"
# Options whose values may begin with a minus.
_OF_LAYERS = ("--layers", "--mix", "--at", "--drop")
_DESCRIPTION = "Every layer of every text encoder, as data."
_EXAMPLES = """\
examples:
  layerwise show "Hello, world!"
  layerwise extract reviews.csv --out reviews.lw
  layerwise info reviews.lw
  layerwise verify reviews.lw
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that names the help."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}; see {self.prog} -h")


class _UsageError(LayerwiseError):
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done · 1 a check found something wrong · 2 the request can't be carried out · 130 interrupted ·
        141 the reader of stdout closed it (`| head`)
    """
    command = ""
    try:
        _escape_unencodable()
        with warnings.catch_warnings(), _notes_shown(), as_flags():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            args = _parse(sys.argv[1:] if argv is None else argv)
            command = args.command
            _check_current_folder()
            with warned_once(), _tokenizer_threads(args), offering(vars(args)):
                code: int = args.run(args)
            output.flush()
            return code
    except LayerwiseError as error:
        output.print_message(str(error))
        return 2
    except BrokenPipeError:
        _drop_output()
        return 141
    except faults() as error:
        _drop_output()
        where = getattr(error, "filename", None) or "the output"
        output.print_message(f"{where}: {reason(error)}; correct this and run the command again")
        return 2
    except KeyboardInterrupt:
        hint = "; run the same command again to continue" if command in _RESUMABLE else ""
        output.print_message(f"interrupted{hint}")
        return 130


@contextmanager
def _tokenizer_threads(args: argparse.Namespace) -> Iterator[None]:
    """Check `--threads`, and set the number for the tokenizer too, which reads it from the environment.

    Raises:
        RequestError: `--threads` is less than 1.
    """
    number = getattr(args, "threads", None)
    if number is not None:
        threads.choose(number)
    if number is None or _TOKENIZER_VARIABLE in os.environ:
        yield
        return
    os.environ[_TOKENIZER_VARIABLE] = str(number)
    try:
        yield
    finally:
        os.environ.pop(_TOKENIZER_VARIABLE, None)


class _Notes(logging.Handler):
    """Shows log messages of the package as warnings are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        warnings.showwarning(record.getMessage(), UserWarning, "", 0)


@contextmanager
def _notes_shown() -> Iterator[None]:
    """Show log messages of the package until the end of the block, each message once."""
    forget_texts()
    logger, notes = logging.getLogger("layerwise"), _Notes()
    logger.addHandler(notes)
    try:
        yield
    finally:
        logger.removeHandler(notes)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    args, unknown = _parser().parse_known_args(_join_layers(argv))
    if unknown:
        raise _UsageError(f"unrecognized arguments: {' '.join(unknown)}; see layerwise {args.command} -h")
    return args


def _join_layers(argv: Sequence[str]) -> list[str]:
    """Return the arguments with `--layers -4:` as `--layers=-4:`, because argparse reads `-4:` and `-2,-1` as options."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in _OF_LAYERS and re.match(r"-\d", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parser() -> argparse.ArgumentParser:
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
        command.set_defaults(run=module.run, command=name)
    return parser


def _escape_unencodable() -> None:
    """Make stdout write characters that it can't encode as escapes, such as `→` in ASCII."""
    with suppress(AttributeError):  # stdout is closed, or replaced
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _check_current_folder() -> None:
    """Refuse to run in a folder that was removed; torch would end the process with an unrelated message."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        raise RequestError(
            "the current folder was removed; change to another folder and run the command again"
        ) from None


def _drop_output() -> None:
    """Discard the buffer of stdout; the interpreter would try to write it again at exit."""
    with suppress(OSError, AttributeError):  # stdout is closed, or not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(message: Warning | str, *_: object) -> None:
    output.print_note(str(message))
