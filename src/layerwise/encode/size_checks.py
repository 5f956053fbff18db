"""Refuse a model that is larger than its files or than the memory, before any of it is loaded."""

from layerwise._util import memory
from layerwise.arguments import argument
from layerwise.encode.checkpoint import Checkpoint
from layerwise.errors import ModelError

_NUMBERS_PER_BYTE = 2  # of a file of weights, at most: 4-bit weights
_BF16 = 2  # bytes of a number


def check_sizes_of_weights(checkpoint: Checkpoint, numbers: int | None, itemsize: int | None) -> None:
    """Check that the weights of a model are in its files and fit into memory.

    Args:
        checkpoint: the model.
        numbers: how many numbers its configuration describes; None if that isn't known.
        itemsize: the bytes of a number in memory; None for those of the files.

    Raises:
        ModelError: they don't.
    """
    in_files = checkpoint.files.bytes
    if numbers is not None and numbers > _NUMBERS_PER_BYTE * in_files:
        raise ModelError(
            f"model {checkpoint.name!r}: its config.json describes {numbers:,} numbers and its weights have "
            f"{in_files:,} bytes, so these are cut off or of another model; fetch the files that belong together"
        )
    available = memory.available()
    needed = in_files if numbers is None or itemsize is None else numbers * itemsize
    if available is None or needed <= available:
        return
    in_bf16 = (numbers or 0) * _BF16
    fits = itemsize is not None and itemsize > _BF16 and 0 < in_bf16 <= available
    hint = f"{argument('precision', 'bf16')} ({_gigabytes(in_bf16)}), " if fits else ""
    raise ModelError(
        f"model {checkpoint.name!r} takes {_gigabytes(needed)} of memory, and {_gigabytes(available)} are available; "
        f"use {hint}a smaller model, or a machine with more memory"
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"
