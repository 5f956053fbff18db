"""A task's rows as tensors: targets standardised, weights of sum 1, and the layers without a copy."""

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
        kind: the kind of the task.
        x: (layers, rows, width), which may be the memory of a read-only array: don't write to it.
        target: the task's target, int64 or float32; 0 where a row has no label. Numbers are standardised.
        train: float32 (rows,), the weight of each row in training, of sum 1.
        held: float32 (rows,), the weight of each row in the held-out loss, of sum 1, or all 0.
        mean: the mean of the training rows' numbers, in their unit.
        std: their standard deviation; 1 if they are all equal.
    """

    kind: str
    x: Tensor
    target: Tensor
    train: Tensor
    held: Tensor
    mean: float = 0.0
    std: float = 1.0

    def blocks(self, rows: int) -> list[slice]:
        """Cut `rows` rows into blocks that are processed one at a time."""
        return list(blocks(rows, self.x.shape[0] * self.x.shape[2]))

    def drop_unused(self) -> "TaskRows":
        """Return the rows without those of weight 0, if a copy of the others costs less than to process all."""
        is_used = self.train + self.held > 0
        if is_used.float().mean() > 0.5:
            return self
        used_rows = is_used.nonzero()[:, 0]
        x, target = self.x[:, used_rows], self.target[used_rows]
        return TaskRows(
            self.kind, x, target, self.train[used_rows], self.held[used_rows], self.mean, self.std
        )


def task_rows(task: LoopTask, dev: NDArray[np.bool_]) -> TaskRows:
    """Return the rows of a checked task; the rows `dev` are held out.

    Raises:
        RequestError: weights of training rows whose sum isn't positive.
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
    labelled = task.row_mask if target.ndim == 1 else task.row_mask[:, None]
    target = np.where(labelled, target, 0).astype(np.int64 if task.kind == "classify" else np.float32)
    weights = [torch.from_numpy(part.astype(np.float32)) for part in (train, held)]
    return TaskRows(task.kind, _tensor(task.x), torch.from_numpy(target), weights[0], weights[1], mean, std)


class _SharedMemory:
    """The memory of a read-only array, declared writable: torch would warn otherwise. It is never written to."""

    def __init__(self, array: F32) -> None:
        self.array = array
        address = (array.__array_interface__["data"][0], False)
        self.__array_interface__ = {**array.__array_interface__, "data": address}


def _tensor(x: F32) -> Tensor:
    x = np.ascontiguousarray(x, np.float32)
    return torch.from_numpy(x if x.flags.writeable else np.asarray(_SharedMemory(x)))
