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

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(numbers of problems (a,), parameters (a, size)) -> values (a,), gradients (a, size)"""
Precondition = Callable[[Tensor, Tensor], Tensor]
"""(numbers of problems (a,), vectors (a, size)) -> vectors (a, size): approximate inverse Hessian times vector"""
EXACT = 1e-6
_ARMIJO = 1e-4
_SHRINK = 0.35
_MIN_VALUE = 1e-3  # float32 sums of losses can't resolve smaller values


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
        ):
            setattr(self, name, getattr(self, name)[mask])
        for history in (self.steps, self.changes, self.preconditioned_changes, self.curvature):
            history[:] = [item[mask] for item in history]


def minimise(
    evaluate: Evaluate,
    precondition: Precondition,
    start: Tensor,
    *,
    tolerance: float = EXACT,
    max_evaluations: int = 200,
    memory: int = 8,
) -> Tensor:
    """Return the minimisers (problems, size) of smooth problems, each started from its row of `start`.

    A problem ends when half its squared Newton decrement, estimated with the preconditioner (about how far its
    value is above the minimum), is below `tolerance` times its value (at most 1), or after `max_evaluations`.
    `memory` is the number of past steps that approximate the curvature; each takes three vectors per problem.

    Source: Liu and Nocedal 1989, the two-loop recursion; steps backtrack until Armijo's condition holds.
    """
    result = start.clone()
    number = torch.arange(len(start))
    value, gradient = evaluate(number, result)
    state = _begin(number, result.clone(), value, gradient, precondition, memory)
    for _ in range(max_evaluations):
        unfinished = -0.5 * state.slope > tolerance * state.value.clamp(_MIN_VALUE, 1.0)
        if not bool(unfinished.all()):
            result[state.number] = state.x
            state.keep(unfinished)
        if not len(state.number):
            return result
        _advance(state, evaluate, precondition)
    result[state.number] = state.x
    return result


def _begin(
    number: Tensor, x: Tensor, value: Tensor, gradient: Tensor, precondition: Precondition, memory: int
) -> _State:
    preconditioned = precondition(number, gradient)
    slope = -(preconditioned * gradient).sum(1)
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
    )


def _advance(state: _State, evaluate: Evaluate, precondition: Precondition) -> None:
    """Try one step of every problem; accept it where it lowers the value enough, else shorten it."""
    x = state.x + state.step[:, None] * state.direction
    value, gradient = evaluate(state.number, x)
    # In float32 the difference of two values this close is rounding, so the step is accepted.
    slack = 1e-6 * state.value.abs().clamp_min(1e-3)
    sufficient = value <= state.value + _ARMIJO * state.step * state.slope + slack
    stuck = ~sufficient & (state.step < 1e-4)
    moved = (sufficient & torch.isfinite(value))[:, None]
    step = torch.where(moved, x - state.x, 0.0)
    change = torch.where(moved, gradient - state.gradient, 0.0)
    preconditioned = precondition(state.number, gradient)
    preconditioned_change = torch.where(moved, preconditioned - state.preconditioned, 0.0)
    state.x = torch.where(moved, x, state.x)
    state.value = torch.where(moved[:, 0], value, state.value)
    state.gradient = torch.where(moved, gradient, state.gradient)
    state.preconditioned = torch.where(moved, preconditioned, state.preconditioned)
    _remember(state, step, change, preconditioned_change)
    direction = -_two_loops(state)
    slope = (direction * state.gradient).sum(1)
    slope = torch.where(stuck, 0.0, slope)  # a slope of 0 ends the problem
    renewed = moved[:, 0] | stuck
    state.direction = torch.where(renewed[:, None], direction, state.direction)
    state.slope = torch.where(renewed, slope, state.slope)
    state.step = torch.where(renewed, 1.0, state.step * _SHRINK)


def _remember(state: _State, step: Tensor, change: Tensor, preconditioned_change: Tensor) -> None:
    product = (step * change).sum(1)
    useful = product > 1e-10 * (change * change).sum(1).clamp_min(1e-30)
    state.curvature.append(torch.where(useful, 1.0 / product.clamp_min(1e-30), 0.0))
    state.steps.append(step)
    state.changes.append(change)
    state.preconditioned_changes.append(preconditioned_change)
    # By how much the preconditioner overestimates the curvature along this step.
    ratio = product / (change * preconditioned_change).sum(1).clamp_min(1e-30)
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
        share = rho * (step * vector).sum(1)
        vector.sub_(share[:, None] * change)
        preconditioned.sub_(share[:, None] * preconditioned_change)
        shares.append(share)
    preconditioned.mul_(state.scale[:, None])
    for step, change, rho, share in zip(
        state.steps, state.changes, state.curvature, reversed(shares), strict=True
    ):
        back = rho * (change * preconditioned).sum(1)
        preconditioned.add_((share - back)[:, None] * step)
    return preconditioned
