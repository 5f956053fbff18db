"""The allowed values of options: levels, pools, types and policies, each spelled once."""

import operator
from collections.abc import Sequence
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import RequestError

LEVELS = ("token", "word", "span", "text")
POOLS = ("mean", "max", "sum", "first", "last", "first_last", "cls", "eos")
_OF_TEXTS = ("cls", "eos")
PRECISIONS = ("fp32", "bf16", "int8")
DTYPES = ("float32", "float16", "bfloat16", "int8")
LONG = ("window", "truncate", "error")
TASKS = ("classify", "regress", "tag")
HEAD_TYPES = ("linear", "mlp")
CLASS_WEIGHTS = ("balanced",)
LANGS = ("en", "zh")
PAIR_ENCODINGS = ("separate", "joint")
ALIGNMENT_METHODS = ("argmax", "itermax", "match", "softmax")
ALIGNMENT_FORMATS = ("jsonl", "pharaoh")
EXPORT_FORMATS = ("parquet", "npy", "binary", "int8", "pca:D", "faiss", "usearch")
CUT_FORMATS = ("folder", "onnx")
CUT_PRECISIONS = ("fp32", "int8")
WORD_SPLITS = ("chars", "jieba")
FORMATS = ("auto", "txt", "docs", "jsonl", "json", "csv", "tsv", "parquet", "arrow", "hf", "conll", "fasta")
# The metrics by which `probe` can compare; which of them a task has is `labels.metrics.choices`.
RANKING_METRICS = (
    "accuracy",
    "macro_f1",
    "micro_f1",
    "balanced_accuracy",
    "auc",
    "mcc",
    "r2",
    "pearson",
    "spearman",
    "span_f1",
)

# The metrics of results, as people write them.
METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "log_likelihood": "log-likelihood",
    "r2": "R²",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "span_f1": "span F1",
    "span_precision": "span precision",
    "span_recall": "span recall",
    "word_accuracy": "word accuracy",
}


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return `value`, that of the argument `name`, after checking that it is one of `allowed`.

    Raises:
        RequestError: with the argument, its value, and the allowed values.
    """
    if not isinstance(value, str) or value not in allowed:
        raise RequestError(f"{argument(name)} {value!r} doesn't exist; choose one of {', '.join(allowed)}")
    return value


def whole_number(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value`, that of the argument `name`, after checking that it is a whole number from `low` to `high`.

    Raises:
        RequestError: with the argument, its value, and the range.
    """
    allowed = f"at least {low}" if high is None else f"a whole number from {low} to {high}"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise RequestError(f"{argument(name, value)} is not a whole number; give {allowed}")
    if number < low or (high is not None and number > high):
        problem = "too small" if high is None else "out of range"
        raise RequestError(f"{argument(name, value)} is {problem}; give {allowed}")
    return number


def fit_special(level: str, pool: str | None, special_tokens: bool) -> bool:
    """Return `special_tokens`, after checking that it has an effect at this level and pool.

    Raises:
        RequestError: special tokens are excluded where they are never included.
    """
    if not special_tokens and (level != "text" or pool not in ("mean", "max", "sum")):
        raise RequestError(
            f"{argument('special_tokens', False)} only applies to level 'text' with pool mean, max or sum, and the "
            f"level is {level!r}{f' and the pool {pool!r}' if pool else ''}; leave it out"
        )
    return special_tokens


def fit_overlap(long: str, overlap: int | None) -> int | None:
    """Return `overlap`, after checking that long texts are cut into windows, as only windows overlap.

    Raises:
        RequestError: an overlap with another policy for long texts.
    """
    if overlap is not None and not _has_windows(long):
        raise RequestError(
            f"{argument('overlap', overlap)} only applies to {argument('long', 'window')}, not to "
            f"{argument('long', long)}; leave it out"
        )
    return overlap


def recorded_overlap(long: str, overlap: int | None) -> int | None:
    """Return the overlap of recorded settings, to request it again; None where it had no effect."""
    return overlap if _has_windows(long) else None


def _has_windows(long: str) -> bool:
    return long == "window"


def fit_pool(level: str, pool: str | None) -> str | None:
    """Return the pool that `level` uses: `None` at token level, `mean` by default elsewhere.

    Raises:
        RequestError: for a pool at token level, or `cls` or `eos` below text level.
    """
    one_of("level", level, LEVELS)
    if level == "token":
        if pool is not None:
            raise RequestError(
                f"{argument('pool')} {pool!r} doesn't fit level 'token': a token row is one token; leave it out"
            )
        return None
    pool = one_of("pool", "mean" if pool is None else pool, POOLS)
    if pool in _OF_TEXTS and level != "text":
        raise RequestError(
            f"{argument('pool')} {pool!r} doesn't fit level {level!r}: only a text has one; "
            "use mean, max, sum, first, last or first_last"
        )
    return pool


def read_context(value: Any) -> tuple[int, int] | None:
    """Return how many tokens of neighbours each text is encoded with, before and after it; `None` for no context.

    Args:
        value: one number, BEFORE, or two, as a string such as `64,32` or as a pair; `None` and 0 are no context.

    Raises:
        RequestError: anything else.
    """
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    numbers = [_tokens(part) for part in (parts if isinstance(parts, list | tuple) else [parts])]
    if None in numbers or len(numbers) not in (1, 2):
        shown = shown_context(value) if isinstance(value, list | tuple) else value
        raise RequestError(
            f"{argument('context', shown)} isn't BEFORE or BEFORE,AFTER; give one or two whole numbers of tokens of 0 or "
            "more, such as 128 or 64,64"
        )
    before, after = (number or 0 for number in (*numbers, 0)[:2])
    return (before, after) if before or after else None


def _tokens(value: Any) -> int | None:
    """Return a number of tokens, which may be given as a string; `None` for anything else."""
    if isinstance(value, str):
        digits = value.strip()
        return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    number = operator.index(value)
    return number if number >= 0 else None


def read_export_format(value: Any) -> tuple[str, int | None]:
    """Return the name of a format of `export`, and for `pca:D` the number D.

    Raises:
        RequestError: an unknown format, or a D that is no whole number of 1 or more.
    """
    name, _, digits = value.partition(":") if isinstance(value, str) else ("", "", "")
    if name == "pca":
        if not (digits.isascii() and digits.isdecimal() and int(digits[:10]) > 0):
            raise RequestError(
                f"{argument('to')} {value!r:.60} has no number of dimensions; give a whole number of 1 or more, such as pca:128"
            )
        return "pca", int(digits[:10])
    one_of("to", value, EXPORT_FORMATS)
    return name, None


def shown_context(context: Sequence[Any]) -> str:
    """Return a context as it is given: `64,32`, or `64` where no token follows a text."""
    parts = context[:1] if len(context) == 2 and context[1] == 0 else context
    return ",".join(map(str, parts))
