"""Batched L-BFGS with a preconditioner: minimises many small smooth problems at once.

A probe fits hundreds of small models; one call of an optimiser per model would spend its time in Python and in
small matrix products. Here every problem has its own curvature, step size and stopping test, but all problems
are evaluated together, so that one matrix product serves all of them. Converged problems leave the batch;
otherwise the slowest problem would decide how long all others are evaluated.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LossPoint = tuple[Tensor, Tensor, Tensor]
"""values (a,), gradients (a, size), preconditioned gradients (a, size): approximate inverse Hessians times gradients"""
Evaluate = Callable[[Tensor, Tensor], LossPoint]
"""(numbers of problems (a,), parameters (a, size)) -> their points"""
# The estimate of the distance to the minimum is up to 14 times too small, so this is about 1e-6 of the least value.
EXACT = 1e-7
_ARMIJO = 1e-4
_SHRINK = 0.35
_MIN_VALUE = 1e-3  # float32 sums of losses can't resolve smaller values
# A problem that no step improves has ended if its estimate is within so many tolerances: float32 resolves no more.
_RESOLVED = 100.0


@dataclass(slots=True)
class _State:
    """State of the problems that haven't converged; the first axis of each tensor is the problem.

    `preconditioned` is the preconditioned gradient; `preconditioned_changes` are the preconditioned changes of
    the gradient: the preconditioner is linear, so they are differences, and it is applied only once a step.
    """

    number: Tensor
    x: Tensor
    value: Tensor
    gradient: Tensor
    preconditioned: Tensor
    step: Tensor
    direction: Tensor
    slope: Tensor
    scale: Tensor
    steps: list[Tensor]
    changes: list[Tensor]
    preconditioned_changes: list[Tensor]
    curvature: list[Tensor]
    memory: int
    is_stuck: Tensor

    def keep(self, mask: Tensor) -> None:
        """Drop the problems outside `mask`."""
        for name in (
            "number",
            "x",
            "value",
            "gradient",
            "preconditioned",
            "step",
            "direction",
            "slope",
            "scale",
            "is_stuck",
        ):
            setattr(self, name, getattr(self, name)[mask])
        for history in (self.steps, self.changes, self.preconditioned_changes, self.curvature):
            history[:] = [item[mask] for item in history]


def minimise(
    evaluate: Evaluate,
    numbers: Tensor,
    start: Tensor,
    *,
    tolerance: float = EXACT,
    max_evaluations: int = 200,
    memory: int = 8,
) -> tuple[Tensor, Tensor]:
    """Return the minimisers (problems, size) of smooth problems, and whether each has ended within the tolerance.

    `numbers` (problems,) are those that `evaluate` knows them by; each starts from its row of `start`.

    A problem ends when half its squared Newton decrement, estimated with the preconditioner (about how far its
    value is above the minimum), is below `tolerance` times its value (at most 1), after `max_evaluations`, or where no step
    along its direction improves it.
    `memory` is the number of past steps that approximate the curvature; each takes three vectors per problem.

    Source: Liu and Nocedal 1989, the two-loop recursion; steps backtrack until Armijo's condition holds.
    """
    result, is_finished = start.clone(), torch.ones(len(start), dtype=torch.bool)
    state = _begin(torch.arange(len(start)), result.clone(), evaluate(numbers, result), memory)
    for _ in range(max_evaluations):
        tolerances = -0.5 * state.slope / (tolerance * state.value.clamp(_MIN_VALUE, 1.0))
        unfinished = (tolerances > 1) & ~state.is_stuck
        if not bool(unfinished.all()):
            result[state.number] = state.x
            is_finished[state.number[state.is_stuck & (tolerances > _RESOLVED)]] = False
            state.keep(unfinished)
        if not len(state.number):
            return result, is_finished
        _advance(state, numbers, evaluate)
    result[state.number] = state.x
    is_finished[state.number] = False
    return result, is_finished


def _begin(number: Tensor, x: Tensor, point: LossPoint, memory: int) -> _State:
    value, gradient, preconditioned = point
    slope = -_products(preconditioned, gradient)
    ones = torch.ones(len(x), dtype=x.dtype)
    return _State(
        number,
        x,
        value,
        gradient,
        preconditioned,
        ones,
        -preconditioned,
        slope,
        ones.clone(),
        [],
        [],
        [],
        [],
        memory,
        torch.zeros(len(x), dtype=torch.bool),
    )


def _advance(state: _State, numbers: Tensor, evaluate: Evaluate) -> None:
    """Try one step of every problem; accept it where it lowers the value enough, else shorten it."""
    x = state.x + state.step[:, None] * state.direction
    value, gradient, preconditioned = evaluate(numbers[state.number], x)
    # In float32 the difference of two values this close is rounding, so the step is accepted.
    slack = 1e-6 * state.value.abs().clamp_min(1e-3)
    sufficient = value <= state.value + _ARMIJO * state.step * state.slope + slack
    stuck = ~sufficient & (state.step < 1e-4)
    moved = (sufficient & torch.isfinite(value))[:, None]
    step = torch.where(moved, x - state.x, 0.0)
    change = torch.where(moved, gradient - state.gradient, 0.0)
    preconditioned_change = torch.where(moved, preconditioned - state.preconditioned, 0.0)
    state.x = torch.where(moved, x, state.x)
    state.value = torch.where(moved[:, 0], value, state.value)
    state.gradient = torch.where(moved, gradient, state.gradient)
    state.preconditioned = torch.where(moved, preconditioned, state.preconditioned)
    _remember(state, step, change, preconditioned_change)
    direction = -_two_loops(state)
    slope = _products(direction, state.gradient)
    state.direction = torch.where(moved, direction, state.direction)
    state.slope = torch.where(moved[:, 0], slope, state.slope)
    state.step = torch.where(moved[:, 0], 1.0, state.step * _SHRINK)
    state.is_stuck = stuck


def _remember(state: _State, step: Tensor, change: Tensor, preconditioned_change: Tensor) -> None:
    product = _products(step, change)
    useful = product > 1e-10 * _products(change, change).clamp_min(1e-30)
    state.curvature.append(torch.where(useful, 1.0 / product.clamp_min(1e-30), 0.0))
    state.steps.append(step)
    state.changes.append(change)
    state.preconditioned_changes.append(preconditioned_change)
    # By how much the preconditioner overestimates the curvature along this step.
    ratio = product / _products(change, preconditioned_change).clamp_min(1e-30)
    state.scale = torch.where(useful & (ratio > 0), ratio, state.scale)
    for history in (state.steps, state.changes, state.preconditioned_changes, state.curvature):
        del history[: -state.memory]


def _two_loops(state: _State) -> Tensor:
    vector, preconditioned = state.gradient.clone(), state.preconditioned.clone()
    shares = []
    for step, change, preconditioned_change, rho in zip(
        *map(reversed, (state.steps, state.changes, state.preconditioned_changes, state.curvature)),
        strict=True,
    ):
        share = rho * _products(step, vector)
        vector.addcmul_(share[:, None], change, value=-1)
        preconditioned.addcmul_(share[:, None], preconditioned_change, value=-1)
        shares.append(share)
    preconditioned.mul_(state.scale[:, None])
    for step, change, rho, share in zip(
        state.steps, state.changes, state.curvature, reversed(shares), strict=True
    ):
        back = rho * _products(change, preconditioned)
        preconditioned.addcmul_((share - back)[:, None], step)
    return preconditioned


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner products (problems,) of vectors (problems, size)."""
    products: Tensor = torch.linalg.vecdot(a, b)  # `torch.bmm` takes up to ten times as long
    return products
