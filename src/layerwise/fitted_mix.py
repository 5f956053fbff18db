"""The mix of a trained head, which rows and exports apply without knowing heads."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from layerwise.arguments import argument
from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.mixes import block_slices


@runtime_checkable
class FittedMix(Protocol):
    """What `Layered.mix` needs of the mix of a trained head, which is a `heads.head_mix.HeadMix`."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are mixed."""

    @property
    def mix_string(self) -> str:
        """The mix string of the mix, without what was fitted."""

    @property
    def width(self) -> int:
        """The number of dimensions of a vector."""

    @property
    def rows_per_vector(self) -> int:
        """The number of consecutive rows that make one vector."""

    def check(self, rows: Any) -> None:
        """Check that rows are of the kind that the head was trained on."""

    def __call__(self, read: Callable[[str], F32]) -> F32:
        """Return the vectors of rows; `read` returns one layer of them by its name."""


@runtime_checkable
class HasFittedMix(Protocol):
    """A trained head, which is a `lw.Head`."""

    def fitted_mix(self, task: str | None = None, hidden: bool = False) -> FittedMix:
        """Return the mix of one of its tasks."""


def fitted_rows(mix: FittedMix, rows: slice, width: int, read: Callable[[str, slice], F32]) -> F32:
    """Return the vectors of the mix of a head, float32 (rows / rows per vector, width of the mix), block by block.

    Args:
        mix: the mix, which fits the rows.
        rows: the numbers of the rows, of step 1.
        width: the width of a layer.
        read: returns some rows of one layer by its name, float32 (rows, width).
    """
    step = mix.rows_per_vector
    out = np.empty(((rows.stop - rows.start) // step, mix.width), np.float32)
    for block in block_slices(len(out), step * width * len(mix.layers)):
        chosen = slice(rows.start + block.start * step, rows.start + block.stop * step)
        out[block] = mix(partial(_read_rows, read, chosen))
    return out


def _read_rows(read: Callable[[str, slice], F32], rows: slice, name: str) -> F32:
    return read(name, rows)


def refuse_head_options(task: str | None, hidden: bool) -> None:
    """Reject options of a head's mix where the mix isn't that of a head.

    Raises:
        RequestError: `task` or `hidden`.
    """
    name, value = ("task", task) if task is not None else ("hidden", hidden)
    if value:
        raise RequestError(
            f"{argument(name, value)} is for the trained mix of a head; give a head in {argument('mix')}, or leave it out"
        )
