"""The one gradient loop: heads, each with a fixed or a learned mix of layers, fitted by descent.

A learned mix is the scalar mix of Peters et al. (2018, "Deep contextualized word representations"): of
standardised layers x_l a head sees scale · Σ softmax(logits)_l · x_l. Which way down is taken:

- linear heads: L-BFGS over all rows, from zero, to the optimum, or to the best held-out loss before it.
  There is no chance in it: no seed matters.
- a hidden layer, a shared one, or layer dropout: AdamW in batches (Loshchilov and Hutter 2019).

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
from layerwise.errors import RequestError
from layerwise.heads.forward import Parameters, fitted, layer, losses, scores
from layerwise.heads.task_tensors import TaskRows, task_rows
from layerwise.heads.weights import Fitted, LoopOptions, LoopTask, apply

__all__ = ["Fitted", "LoopOptions", "LoopTask", "apply", "fit"]
_LITTLE = 1e-5  # a descent that gains less than this share of its loss in five steps has arrived
_WIDE = 2048  # the eigenvectors of wider rows would take longer than the steps that they save
_SAMPLE = 20_000  # rows that are enough to know the second moments of all


def fit(
    tasks: Sequence[LoopTask], dev: NDArray[np.bool_], options: LoopOptions, track: Tracker = SILENT
) -> tuple[Fitted, ...]:
    """Return a fitted head per task.

    Where nothing is shared, each head is what it would be alone. With a shared hidden layer the mean of the
    tasks' losses goes down, and the state that is kept is the best for all together.

    Args:
        tasks: what to learn.
        dev: bool (rows,), the rows held out, which say when to stop; none, and all epochs are run.
        options: how.
        track: reports the epochs.

    Raises:
        RequestError: shapes that don't agree, a task without rows to train on, an option out of range, or
            tasks of different widths that are to share a hidden layer.
    """
    options.check()
    for task in tasks:
        task.check(dev)
    if options.shared_hidden is None:
        return tuple(
            _alone(task, dev, options, part)
            for task, part in zip(tasks, track.split(*[1.0] * len(tasks)), strict=True)
        )
    widths = sorted({task.x.shape[2] for task in tasks})
    if len(widths) > 1:
        raise RequestError(
            f"tasks with mixes of widths {', '.join(map(str, widths))} can't share a hidden layer; "
            "give all the same width, or leave the shared layer out"
        )
    return _adam(tasks, dev, options, track)


def _alone(task: LoopTask, dev: NDArray[np.bool_], options: LoopOptions, track: Tracker) -> Fitted:
    if task.hidden is None and not (len(task.x) > 1 and options.layer_dropout):
        return _newton(task, dev, options, track)
    return _adam([task], dev, options, track)[0]


@dataclass
class _Best:
    """The best state so far, by held-out loss where there is one, else the last."""

    patience: int
    loss: float = float("inf")
    epoch: int = 0
    state: list[Tensor] = field(default_factory=list)

    def stop(self, epoch: int, loss: float, parameters: Sequence[Tensor]) -> bool:
        """Take note of an epoch; return whether it is time to stop."""
        if np.isnan(loss) or loss < self.loss or not self.state:
            self.loss, self.epoch = loss, epoch
            self.state = [p.detach().clone() for p in parameters]
        return epoch - self.epoch >= self.patience

    def restore(self, parameters: Sequence[Tensor]) -> None:
        for parameter, state in zip(parameters, self.state, strict=True):
            parameter.data.copy_(state)


def _newton(task: LoopTask, dev: NDArray[np.bool_], options: LoopOptions, track: Tracker) -> Fitted:
    """Fit one linear head by L-BFGS: parameters in float64, products in float32.

    The scale stays at 1 on the way, since only its product with the weight matters.
    """
    rows = task_rows(task, dev).fewer()
    sizes = ((len(rows.x),), (rows.x.shape[2], task.outputs), (task.outputs,))
    logits, weight, bias = (torch.zeros(size, dtype=torch.float64) for size in sizes)
    head = Parameters(logits, torch.ones((), dtype=torch.float64), [], weight, bias)
    look = _Evaluate(head, rows, options)
    descent, past = look.lbfgs(), [float("inf")] * 5
    best = _Best(options.patience)
    for epoch in range(options.epochs + 1):
        track.report(epoch / options.epochs, f"epoch {epoch} of at most {options.epochs}")
        loss, held = look.at()
        slow = past[-5] - loss <= _LITTLE * abs(loss)
        if best.stop(epoch, held, head.all()) or slow or epoch == options.epochs:
            break
        if loss >= past[-1]:
            # Where the curvature that is remembered misleads, the next step is along the gradient.
            descent = look.lbfgs()
        past.append(loss)
        descent.step(look)  # type: ignore[no-untyped-call]
    best.restore(head.all())
    return fitted(look.turned(), rows, best.epoch, best.loss, options)


def _basis(rows: TaskRows, l2: float) -> Tensor:
    """Directions (width, width) of weights along which the loss curves about equally; for wide rows, (width, 1).

    From the second moments of the mean layer, and the bound of Böhning (1992) on how a loss curves.
    """
    own = rows.train.nonzero()[:, 0]
    own = own[:: max(1, len(own) // _SAMPLE)]
    mean = torch.stack([layer[own] for layer in rows.x]).mean(0) if len(rows.x) > 1 else rows.x[0, own]
    curve = {"classify": 0.5, "multilabel": 0.25, "regress": 1.0}[rows.kind]
    if mean.shape[1] > _WIDE:
        moments, vectors = (mean**2).mean(0).double()[:, None], torch.ones((), dtype=torch.float64)
    else:
        moments, vectors = torch.linalg.eigh((mean.T @ mean / len(own)).double())
    steep = curve * moments.clamp_min(0.0) + l2
    return vectors / steep.clamp_min(1e-4 * max(float(steep.max()), 1e-12)).sqrt()


class _Evaluate:
    """Loss and gradient of a linear head over all rows, block by block; the last states are remembered."""

    def __init__(self, head: Parameters, rows: TaskRows, options: LoopOptions) -> None:
        self.head, self.rows, self.options = head, rows, options
        self.free = [head.logits, head.weight, head.bias]
        self.basis, self.pace = _basis(rows, options.l2), len(rows.x) ** 0.5
        self.known: list[tuple[list[Tensor], tuple[list[Tensor], float, float]]] = []

    def __call__(self) -> float:
        return self.at()[0]

    def lbfgs(self) -> torch.optim.LBFGS:
        """A descent that knows nothing yet; a step of it ends with a line search."""
        return torch.optim.LBFGS(
            self.free,
            max_iter=1,
            max_eval=26,
            history_size=20,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

    def turned(self) -> Parameters:
        """The head in the terms of its rows, not of the basis in which it is moved."""
        weight = self.head.weight
        weight = self.basis @ weight if self.basis.shape[1] > 1 else self.basis * weight
        return replace(self.head, logits=self.head.logits * self.pace, weight=weight)

    def at(self) -> tuple[float, float]:
        """Put gradients into the parameters; return the training loss, and the held-out loss or NaN."""
        now = [p.detach().clone() for p in self.free]
        seen = [past for state, past in self.known if all(map(torch.equal, state, now))]
        grads, loss, held = seen[0] if seen else self._pass()
        if not seen:
            self.known = [(now, (grads, loss, held)), *self.known[:9]]
        for parameter, grad in zip(self.free, grads, strict=True):
            parameter.grad = grad.clone()
        return loss, held

    def _pass(self) -> tuple[list[Tensor], float, float]:
        now = self.turned()
        leaves = [p.float().requires_grad_() for p in (now.logits, now.weight, now.bias.clone())]
        head = Parameters(leaves[0], torch.ones((), dtype=torch.float32), [], leaves[1], leaves[2])
        loss, held = 0.0, 0.0
        for block in self.rows.blocks(self.rows.x.shape[1]):
            found = scores(head, self.rows.x[:, block], self.options)
            each = losses(self.rows.kind, found, self.rows.target[block])
            part = each @ self.rows.train[block]
            part.backward()  # type: ignore[no-untyped-call]
            loss, held = loss + part.item(), held + (each.detach() @ self.rows.held[block]).item()
        grads = [(torch.zeros_like(p) if p.grad is None else p.grad).double() for p in leaves]
        grads[0] *= self.pace
        weight = grads[1] + self.options.l2 * now.weight
        grads[1] = self.basis.T @ weight if self.basis.shape[1] > 1 else self.basis * weight
        loss += self.options.l2 / 2 * float((now.weight**2).sum())
        return grads, loss, held if bool(self.rows.held.any()) else float("nan")


def _adam(
    tasks: Sequence[LoopTask], dev: NDArray[np.bool_], options: LoopOptions, track: Tracker
) -> tuple[Fitted, ...]:
    """Fit heads together by AdamW."""
    chance = torch.Generator().manual_seed(options.seed)
    data = [task_rows(task, dev) for task in tasks]
    heads = _heads(tasks, options, chance)
    free = list({id(p): p.requires_grad_() for head in heads for p in head.all()}.values())
    descent = torch.optim.AdamW(_groups(heads, tasks, options), lr=options.learning_rate, weight_decay=0.0)
    trained = (sum(rows.train for rows in data) > 0).nonzero()[:, 0]  # type: ignore[union-attr]
    best = _Best(options.patience)
    for epoch in range(1, options.epochs + 1):
        track.report((epoch - 1) / options.epochs, f"epoch {epoch} of at most {options.epochs}")
        for batch in torch.split(trained[torch.randperm(len(trained), generator=chance)], options.batch):
            descent.zero_grad()
            loss = _joint(heads, data, batch.sort().values, options, chance) * (len(trained) / len(batch))
            loss.backward()  # type: ignore[no-untyped-call]
            descent.step()
        if best.stop(epoch, _held(heads, data, options), free):
            break
    best.restore(free)
    return tuple(
        fitted(head, rows, best.epoch, _held([head], [rows], options), options)
        for head, rows in zip(heads, data, strict=True)
    )


def _heads(tasks: Sequence[LoopTask], options: LoopOptions, chance: torch.Generator) -> list[Parameters]:
    shared = options.shared_hidden
    common = layer(tasks[0].x.shape[2], shared, chance) if shared else []
    heads = []
    for task in tasks:
        width = task.x.shape[2]
        hidden = layer(width, task.hidden, chance) if task.hidden and not shared else common
        weight, bias = layer(hidden[0].shape[1] if hidden else width, task.outputs, chance)
        heads.append(Parameters(*_mix_of(len(task.x)), hidden, weight, bias))
    return heads


def _mix_of(layers: int) -> tuple[Tensor, Tensor]:
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


def _joint(
    heads: Sequence[Parameters],
    data: Sequence[TaskRows],
    batch: Tensor,
    options: LoopOptions,
    chance: torch.Generator,
) -> Tensor:
    """The mean over tasks of the part of each task's loss that a batch of rows makes up."""
    total = torch.zeros((), dtype=torch.float32)
    for head, rows in zip(heads, data, strict=True):
        own = batch[rows.train[batch] > 0]
        if len(own):
            found = scores(head, rows.x.index_select(1, own), options, chance)
            total = total + losses(rows.kind, found, rows.target[own]) @ rows.train[own]
        if not head.hidden:
            share = len(own) / int((rows.train > 0).sum())
            total = total + share * options.l2 / 2 * ((head.scale * head.weight) ** 2).sum()
    return total / len(heads)


@torch.no_grad()
def _held(heads: Sequence[Parameters], data: Sequence[TaskRows], options: LoopOptions) -> float:
    """The mean over tasks of the held-out loss; NaN where no task has held-out rows."""
    means = []
    for head, rows in zip(heads, data, strict=True):
        held = rows.held.nonzero()[:, 0]
        total = 0.0
        for block in rows.blocks(len(held)):
            own = held[block]
            found = scores(head, rows.x.index_select(1, own), options)
            total += (losses(rows.kind, found, rows.target[own]) @ rows.held[own]).item()
        if len(held):
            means.append(total)
    return sum(means) / len(means) if means else float("nan")
