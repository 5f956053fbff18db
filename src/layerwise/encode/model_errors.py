"""Turn errors that other libraries raise while they read a model's files into errors of one line."""

import contextlib
import re
from collections.abc import Iterator

from layerwise._util.silence import is_panic
from layerwise.arguments import argument
from layerwise.encode.checkpoint import Checkpoint
from layerwise.errors import LayerwiseError, ModelError

# How transformers says that a package is needed.
_PACKAGE = re.compile(r"need to install ([\w-]+)|The ([\w-]+) dictionary is not installed")


@contextlib.contextmanager
def model_errors(checkpoint: Checkpoint, problem: str = "can't be loaded") -> Iterator[None]:
    """Raise every error of the block as a ModelError: "model NAME `problem`: REASON".

    Raises:
        ModelError: the block raised an error, or a library in Rust panicked.
    """
    try:
        yield
    except LayerwiseError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise _model_error(checkpoint, error, problem) from error


def _model_error(checkpoint: Checkpoint, error: BaseException, problem: str) -> ModelError:
    if "trust_remote_code" in str(error):
        return ModelError(
            f"model {checkpoint.name!r} brings code of its own, which is run only with "
            f"{argument('trust_remote_code', True)}; add it if you trust the code"
        )
    # The message refers to a report of transformers, which is silenced.
    if "ignore_mismatched_sizes" in str(error):
        return ModelError(
            f"model {checkpoint.name!r}: its weights have other shapes than its config.json says, so they aren't of one "
            "model; use the files that belong together"
        )
    return ModelError(f"model {checkpoint.name!r} {problem}: {first_line(error)}{_pip_line(error)}")


def _pip_line(error: BaseException) -> str:
    """Return what to type for the package that a tokenizer needs, as the error names it."""
    match = _PACKAGE.search(str(error)) if isinstance(error, ImportError) else None
    return f" (pip install {(match[1] or match[2]).replace('_', '-')})" if match else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error of another library, at most 200 characters long.

    A line that ends with a colon only says where the next one, which is added, comes from. The class of the error is
    named as well where it suggests a bug of that library (KeyError, AttributeError, …).
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [error.__class__.__name__]
    text = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    if not isinstance(error, ValueError | OSError | RuntimeError | ImportError):
        text = f"{error.__class__.__name__}: {text}"
    return text if len(text) <= 200 else text[:199] + "…"
