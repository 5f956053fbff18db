"""The gradient loop: fit heads, each with a fixed or a learned mix of layers.

A learned mix is the scalar mix of Peters et al. (2018, "Deep contextualized word representations"): the input of
a head is scale · Σ softmax(logits)_l · x_l, where x_l are the standardised layers. scikit-learn's linear
models can fit neither such a mix nor hidden layers that tasks share. The solver depends on the head:

- linear heads: L-BFGS over all rows, from zero, to the optimum, or to the best held-out loss before it.
  Deterministic; the seed is unused.
- a hidden layer, a shared one, or layer dropout: AdamW in batches (Loshchilov and Hutter 2019).

Without held-out rows to stop at, heads with a hidden layer would fit the training rows ever more closely.

Losses are negative log-likelihoods in nats per row: cross-entropy, the sum over labels of binary
cross-entropy, and half the squared error of the standardised target.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layerwise._util.progress import SILENT, Tracker
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.heads.head import Fitted
from layerwise.heads.loop_tasks import (
    LoopOptions,
    LoopTask,
    Parameters,
    TaskRows,
    fitted,
    initial_layer,
    losses,
    scores,
    task_rows,
)

_MIN_GAIN = 1e-5  # L-BFGS stops when five steps lower the loss by less than this share
_MAX_EIGEN_WIDTH = 2048  # for wider rows, computing eigenvectors takes longer than the steps that it saves
_MOMENT_ROWS = 20_000  # so many rows are enough to estimate second moments


def fit(
    tasks: Sequence[LoopTask], dev: NDArray[np.bool_], options: LoopOptions, track: Tracker = SILENT
) -> tuple[Fitted, ...]:
    """Return a fitted head per task.

    Without a shared hidden layer, each head is fitted independently. With one, the mean of the tasks' losses is
    minimised, and the epoch with the best mean held-out loss is kept.

    Args:
        tasks: the tasks with their rows.
        dev: bool (rows,), the held-out rows, whose loss stops the loop; without any, all epochs are run.
        options: how to fit.
        track: reports the epochs.

    Raises:
        RequestError: shapes that don't agree, a task without rows to train on, an option out of range, or
            tasks of different widths that share a hidden layer.
    """
    options.check()
    for task in tasks:
        task.check(dev)
    if options.shared_hidden is None:
        return tuple(
            _fit_single(task, dev, options, part)
            for task, part in zip(tasks, track.split(*[1.0] * len(tasks)), strict=True)
        )
    widths = sorted({task.x.shape[2] for task in tasks})
    if len(widths) > 1:
        raise RequestError(
            f"tasks with mixes of widths {', '.join(map(str, widths))} can't share a hidden layer; "
            f"give all the same width, or leave {argument('shared_hidden')} out"
        )
    return _fit_adamw(tasks, dev, options, track)


def _fit_single(task: LoopTask, dev: NDArray[np.bool_], options: LoopOptions, track: Tracker) -> Fitted:
    if task.hidden is None and not (len(task.x) > 1 and options.layer_dropout):
        return _fit_lbfgs(task, dev, options, track)
    return _fit_adamw([task], dev, options, track)[0]


@dataclass
class _Best:
    """The best state so far, by held-out loss; without held-out rows, the last state."""

    patience: int
    loss: float = float("inf")
    epoch: int = 0
    state: list[Tensor] = field(default_factory=list)

    def stop(self, epoch: int, loss: float, parameters: Sequence[Tensor]) -> bool:
        """Record an epoch; return whether to stop."""
        if np.isnan(loss) or loss < self.loss or not self.state:
            self.loss, self.epoch = loss, epoch
            self.state = [p.detach().clone() for p in parameters]
        return epoch - self.epoch >= self.patience

    def restore(self, parameters: Sequence[Tensor]) -> None:
        for parameter, state in zip(parameters, self.state, strict=True):
            parameter.data.copy_(state)


def _fit_lbfgs(task: LoopTask, dev: NDArray[np.bool_], options: LoopOptions, track: Tracker) -> Fitted:
    """Fit one linear head by L-BFGS: parameters in float64, products in float32.

    The scale stays at 1 during the fit, since only its product with the weight matters.
    """
    rows = task_rows(task, dev).drop_unused()
    sizes = ((len(rows.x),), (rows.x.shape[2], task.outputs), (task.outputs,))
    logits, weight, bias = (torch.zeros(size, dtype=torch.float64) for size in sizes)
    head = Parameters(logits, torch.ones((), dtype=torch.float64), [], weight, bias)
    objective = _LossAndGradient(head, rows, options)
    optimizer, past_losses = objective.lbfgs(), [float("inf")] * 5
    best = _Best(options.patience)
    for epoch in range(options.epochs + 1):
        track.report(epoch / options.epochs, f"epoch {epoch} of at most {options.epochs}")
        loss, held_out = objective.evaluate()
        slow = past_losses[-5] - loss <= _MIN_GAIN * abs(loss)
        if best.stop(epoch, held_out, head.all()) or slow or epoch == options.epochs:
            break
        if loss >= past_losses[-1]:
            # The stored curvature gave a bad step: reset it, so that the next step follows the gradient.
            optimizer = objective.lbfgs()
        past_losses.append(loss)
        optimizer.step(objective)  # type: ignore[no-untyped-call]
    best.restore(head.all())
    return fitted(objective.in_row_terms(), rows, best.epoch, best.loss, options)


def _basis(rows: TaskRows, l2: float) -> Tensor:
    """Return directions (width, width) of weights along which the loss has about equal curvature.

    For wide rows, only a factor per weight, (width, 1). Computed from the second moments of the mean layer and the
    bound of Böhning (1992) on the curvature of the loss. Without it L-BFGS needs many more steps.
    """
    rows_used = rows.train.nonzero()[:, 0]
    rows_used = rows_used[:: max(1, len(rows_used) // _MOMENT_ROWS)]
    mean = (
        torch.stack([layer[rows_used] for layer in rows.x]).mean(0)
        if len(rows.x) > 1
        else rows.x[0, rows_used]
    )
    curvature = {"classify": 0.5, "multilabel": 0.25, "regress": 1.0}[rows.kind]
    if mean.shape[1] > _MAX_EIGEN_WIDTH:
        moments, vectors = (mean**2).mean(0).double()[:, None], torch.ones((), dtype=torch.float64)
    else:
        moments, vectors = torch.linalg.eigh((mean.T @ mean / len(rows_used)).double())
    steepness = curvature * moments.clamp_min(0.0) + l2
    return vectors / steepness.clamp_min(1e-4 * max(float(steepness.max()), 1e-12)).sqrt()


class _LossAndGradient:
    """Compute loss and gradient of a linear head over all rows, block by block; the last results are cached."""

    def __init__(self, head: Parameters, rows: TaskRows, options: LoopOptions) -> None:
        self.head, self.rows, self.options = head, rows, options
        self.free = [head.logits, head.weight, head.bias]
        self.basis, self.pace = _basis(rows, options.l2), len(rows.x) ** 0.5
        self.cache: list[tuple[list[Tensor], tuple[list[Tensor], float, float]]] = []

    def __call__(self) -> float:
        return self.evaluate()[0]

    def lbfgs(self) -> torch.optim.LBFGS:
        """Return a new optimiser without stored curvature; each step ends with a line search."""
        return torch.optim.LBFGS(
            self.free,
            max_iter=1,
            max_eval=26,
            history_size=20,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

    def in_row_terms(self) -> Parameters:
        """Return the head with weights for its rows, instead of weights in the basis of the optimiser."""
        weight = self.head.weight
        weight = self.basis @ weight if self.basis.shape[1] > 1 else self.basis * weight
        return replace(self.head, logits=self.head.logits * self.pace, weight=weight)

    def evaluate(self) -> tuple[float, float]:
        """Set the gradients of the parameters; return the training loss, and the held-out loss or NaN."""
        parameters = [p.detach().clone() for p in self.free]
        cached = [result for state, result in self.cache if all(map(torch.equal, state, parameters))]
        grads, loss, held_out = cached[0] if cached else self._pass()
        if not cached:
            self.cache = [(parameters, (grads, loss, held_out)), *self.cache[:9]]
        for parameter, grad in zip(self.free, grads, strict=True):
            parameter.grad = grad.clone()
        return loss, held_out

    def _pass(self) -> tuple[list[Tensor], float, float]:
        current = self.in_row_terms()
        leaves = [p.float().requires_grad_() for p in (current.logits, current.weight, current.bias.clone())]
        head = Parameters(leaves[0], torch.ones((), dtype=torch.float32), [], leaves[1], leaves[2])
        loss, held_out = 0.0, 0.0
        for block in self.rows.blocks(self.rows.x.shape[1]):
            outputs = scores(head, self.rows.x[:, block], self.options)
            row_losses = losses(self.rows.kind, outputs, self.rows.target[block])
            block_loss = row_losses @ self.rows.train[block]
            block_loss.backward()  # type: ignore[no-untyped-call]
            loss, held_out = (
                loss + block_loss.item(),
                held_out + (row_losses.detach() @ self.rows.held_out[block]).item(),
            )
        grads = [(torch.zeros_like(p) if p.grad is None else p.grad).double() for p in leaves]
        grads[0] *= self.pace
        weight = grads[1] + self.options.l2 * current.weight
        grads[1] = self.basis.T @ weight if self.basis.shape[1] > 1 else self.basis * weight
        loss += self.options.l2 / 2 * float((current.weight**2).sum())
        return grads, loss, held_out if bool(self.rows.held_out.any()) else float("nan")


def _fit_adamw(
    tasks: Sequence[LoopTask], dev: NDArray[np.bool_], options: LoopOptions, track: Tracker
) -> tuple[Fitted, ...]:
    """Fit heads together by AdamW, in batches of rows."""
    generator = torch.Generator().manual_seed(options.seed)
    data = [task_rows(task, dev) for task in tasks]
    heads = _heads(tasks, options, generator)
    free = list({id(p): p.requires_grad_() for head in heads for p in head.all()}.values())
    optimizer = torch.optim.AdamW(_groups(heads, tasks, options), lr=options.learning_rate, weight_decay=0.0)
    trained = (sum(rows.train for rows in data) > 0).nonzero()[:, 0]  # type: ignore[union-attr]
    best = _Best(options.patience)
    for epoch in range(1, options.epochs + 1):
        track.report((epoch - 1) / options.epochs, f"epoch {epoch} of at most {options.epochs}")
        for batch in torch.split(trained[torch.randperm(len(trained), generator=generator)], options.batch):
            optimizer.zero_grad()
            loss = _batch_loss(heads, data, batch.sort().values, options, generator) * (
                len(trained) / len(batch)
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if best.stop(epoch, _held_loss(heads, data, options), free):
            break
    best.restore(free)
    return tuple(
        fitted(head, rows, best.epoch, _held_loss([head], [rows], options), options)
        for head, rows in zip(heads, data, strict=True)
    )


def _heads(tasks: Sequence[LoopTask], options: LoopOptions, generator: torch.Generator) -> list[Parameters]:
    shared = options.shared_hidden
    shared_layer = initial_layer(tasks[0].x.shape[2], shared, generator) if shared else []
    heads = []
    for task in tasks:
        width = task.x.shape[2]
        hidden = initial_layer(width, task.hidden, generator) if task.hidden and not shared else shared_layer
        weight, bias = initial_layer(hidden[0].shape[1] if hidden else width, task.outputs, generator)
        heads.append(Parameters(*_initial_mix(len(task.x)), hidden, weight, bias))
    return heads


def _initial_mix(layers: int) -> tuple[Tensor, Tensor]:
    """Return the logits (layers,) of an even mix, and a scale of 1."""
    return torch.zeros(layers, dtype=torch.float32), torch.ones((), dtype=torch.float32)


def _groups(
    heads: Sequence[Parameters], tasks: Sequence[LoopTask], options: LoopOptions
) -> list[dict[str, Any]]:
    learned = [head for head, task in zip(heads, tasks, strict=True) if task.learned]
    hidden = {id(head.hidden[0]): head.hidden for head in heads if head.hidden}
    decayed = [weight for weight, _ in hidden.values()] + [head.weight for head in heads if head.hidden]
    plain = [bias for _, bias in hidden.values()] + [head.bias for head in heads]
    return [
        {"params": [p for head in learned for p in (head.logits, head.scale)], "lr": options.mix_rate},
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": plain + [head.weight for head in heads if not head.hidden]},
    ]


def _batch_loss(
    heads: Sequence[Parameters],
    data: Sequence[TaskRows],
    batch: Tensor,
    options: LoopOptions,
    generator: torch.Generator,
) -> Tensor:
    """Return the mean over tasks of the part of each task's loss that comes from a batch of rows."""
    total = torch.zeros((), dtype=torch.float32)
    for head, rows in zip(heads, data, strict=True):
        batch_rows = batch[rows.train[batch] > 0]
        if len(batch_rows):
            outputs = scores(head, rows.x.index_select(1, batch_rows), options, generator)
            total = total + losses(rows.kind, outputs, rows.target[batch_rows]) @ rows.train[batch_rows]
        if not head.hidden:
            share = len(batch_rows) / int((rows.train > 0).sum())
            total = total + share * options.l2 / 2 * ((head.scale * head.weight) ** 2).sum()
    return total / len(heads)


@torch.no_grad()
def _held_loss(heads: Sequence[Parameters], data: Sequence[TaskRows], options: LoopOptions) -> float:
    """Return the mean over tasks of the held-out loss; NaN if no task has held-out rows."""
    means = []
    for head, rows in zip(heads, data, strict=True):
        held_out = rows.held_out.nonzero()[:, 0]
        total = 0.0
        for block in rows.blocks(len(held_out)):
            block_rows = held_out[block]
            outputs = scores(head, rows.x.index_select(1, block_rows), options)
            total += (losses(rows.kind, outputs, rows.target[block_rows]) @ rows.held_out[block_rows]).item()
        if len(held_out):
            means.append(total)
    return sum(means) / len(means) if means else float("nan")
