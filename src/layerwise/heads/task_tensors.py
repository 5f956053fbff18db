"""A task's rows as tensors: targets standardised, weights of sum 1, and no copy of the layers."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layerwise.errors import RequestError
from layerwise.heads.weights import F32, LoopTask, blocks


@dataclass(frozen=True, slots=True, eq=False)
class TaskRows:
    """A task's rows as tensors.

    Attributes:
        kind: the task's.
        x: (layers, rows, width), which may be the memory of a read-only array: don't write to it.
        target: int64 or float32, the task's; 0 where a row has no label. Numbers are standardised.
        train: float32 (rows,), how much each row counts in training, of sum 1.
        held: float32 (rows,), how much it counts in the held-out loss, of sum 1, or all 0.
        mean: of the numbers of training rows, in their unit.
        std: their standard deviation; 1 where they are all the same.
    """

    kind: str
    x: Tensor
    target: Tensor
    train: Tensor
    held: Tensor
    mean: float = 0.0
    std: float = 1.0

    def blocks(self, rows: int) -> list[slice]:
        """Cut so many rows into blocks that are worked on at once."""
        return list(blocks(rows, self.x.shape[0] * self.x.shape[2]))

    def fewer(self) -> "TaskRows":
        """Leave out the rows that don't count, if copying the others costs less than passing over all."""
        counts = self.train + self.held > 0
        if counts.float().mean() > 0.5:
            return self
        own = counts.nonzero()[:, 0]
        x, target = self.x[:, own], self.target[own]
        return TaskRows(self.kind, x, target, self.train[own], self.held[own], self.mean, self.std)


def task_rows(task: LoopTask, dev: NDArray[np.bool_]) -> TaskRows:
    """Return the rows of a task that has been checked; those of `dev` are held out.

    Raises:
        RequestError: weights of training rows that don't sum to more than 0.
    """
    weight = np.ones(len(dev)) if task.weight is None else task.weight.astype(np.float64)
    train, held = (np.where(task.row_mask & part, weight, 0.0) for part in (~dev, dev))
    if not train.sum() > 0:
        raise RequestError(f"task {task.name!r}: no row to train on has a weight; give positive weights")
    train, held = train / train.sum(), held / (held.sum() or 1.0)
    target, mean, std = task.target, 0.0, 1.0
    if task.kind == "regress":
        values = np.where(task.row_mask, target, 0.0).astype(np.float64)
        mean = float(train @ values)
        std = float(np.sqrt(train @ (values - mean) ** 2)) or 1.0
        target = (values - mean) / std
    known = task.row_mask if target.ndim == 1 else task.row_mask[:, None]
    target = np.where(known, target, 0).astype(np.int64 if task.kind == "classify" else np.float32)
    masses = [torch.from_numpy(part.astype(np.float32)) for part in (train, held)]
    return TaskRows(task.kind, _tensor(task.x), torch.from_numpy(target), masses[0], masses[1], mean, std)


class _Shared:
    """The memory of a read-only array, as torch takes it without a warning: nothing here writes to it."""

    def __init__(self, array: F32) -> None:
        self.array = array
        place = (array.__array_interface__["data"][0], False)
        self.__array_interface__ = {**array.__array_interface__, "data": place}


def _tensor(x: F32) -> Tensor:
    x = np.ascontiguousarray(x, np.float32)
    return torch.from_numpy(x if x.flags.writeable else np.asarray(_Shared(x)))
