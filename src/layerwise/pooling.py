"""Pool the tokens of a row into one vector: choose tokens, then take their mean, max or sum."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import embedding_bag

from layerwise.alignment import Groups

Reduce = Literal["mean", "max", "sum"]


def reduction(pool: str | None) -> Reduce:
    """Return how chosen tokens are reduced; `first`, `last`, `first_last`, `cls`, `eos` are means of one or two tokens."""
    return pool if pool in ("max", "sum") else "mean"  # type: ignore[return-value]


def choose(groups: Groups, pool: str | None) -> Groups:
    """Return the tokens of each row that `pool` uses. No row may be empty."""
    if pool not in ("first", "last", "first_last"):
        return groups
    ends = np.cumsum(groups.counts)
    ones = np.ones(len(groups), dtype=np.int64)
    first, last = groups.members[ends - groups.counts], groups.members[ends - 1]
    if pool == "first_last":
        return Groups(np.stack([first, last], axis=1).reshape(-1), ones * 2)
    return Groups(first if pool == "first" else last, ones)


def reduce(hidden: torch.Tensor, members: torch.Tensor, offsets: torch.Tensor, how: Reduce) -> torch.Tensor:
    """Reduce tokens to rows.

    Args:
        hidden: (tokens, width), float32.
        members: (chosen,) indices into `hidden`, row after row.
        offsets: (rows,) start of each row in `members`.

    Returns:
        (rows, width)
    """
    return embedding_bag(members, hidden, offsets, mode=how)


def reduce_array(
    hidden: npt.NDArray[np.float32], groups: Groups, pool: str | None
) -> npt.NDArray[np.float32]:
    """Reduce an array (tokens, width) to (rows, width), over the tokens returned by `choose`."""
    offsets = torch.from_numpy(np.cumsum(groups.counts) - groups.counts)
    values: npt.NDArray[np.float32] = reduce(
        torch.from_numpy(hidden), torch.from_numpy(groups.members), offsets, reduction(pool)
    ).numpy()
    return values
