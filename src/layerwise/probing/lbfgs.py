"""Many small smooth problems minimised at once: L-BFGS with a preconditioner, batched.

Every problem walks for itself (its own curvature, its own step, its own end), and all of them are evaluated
together, so that one matrix product serves hundreds of fits. Problems that have converged leave the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(numbers of problems (a,), parameters (a, size)) -> values (a,), gradients (a, size)"""
Precondition = Callable[[Tensor, Tensor], Tensor]
"""(numbers of problems (a,), vectors (a, size)) -> vectors (a, size): about the inverse Hessian's product"""
_MEMORY = 8
_ARMIJO = 1e-4
_SHRINK = 0.35
_LEAST = 1e-3  # float32 sums of losses can't tell smaller ones apart


@dataclass(slots=True)
class _State:
    """What is known of the problems that are still under way; each tensor's first axis is the problem.

    `eased` is the preconditioned gradient, and `eases` the preconditioned changes of the gradient: as the
    preconditioner is linear, differences of the former, so that it is applied once a step.
    """

    number: Tensor
    x: Tensor
    value: Tensor
    gradient: Tensor
    eased: Tensor
    step: Tensor
    direction: Tensor
    slope: Tensor
    scale: Tensor
    steps: list[Tensor]
    changes: list[Tensor]
    eases: list[Tensor]
    curvature: list[Tensor]

    def keep(self, mask: Tensor) -> None:
        """Drop the problems outside `mask`."""
        for name in ("number", "x", "value", "gradient", "eased", "step", "direction", "slope", "scale"):
            setattr(self, name, getattr(self, name)[mask])
        for history in (self.steps, self.changes, self.eases, self.curvature):
            history[:] = [item[mask] for item in history]


def minimise(
    evaluate: Evaluate,
    precondition: Precondition,
    start: Tensor,
    *,
    tolerance: float = 4e-6,
    most: int = 200,
) -> Tensor:
    """Return the minimisers (problems, size) of smooth problems, each walked to from its row of `start`.

    A problem ends when half its squared Newton decrement, as the preconditioner sees it (about how far its
    value is from the least), is below `tolerance` times its value (at most 1), or after `most` evaluations.

    Source: Liu and Nocedal 1989, the two-loop recursion; steps backtrack until Armijo's condition holds.
    """
    result = start.clone()
    number = torch.arange(len(start))
    value, gradient = evaluate(number, result)
    state = _begin(number, result.clone(), value, gradient, precondition)
    for _ in range(most):
        moving = -0.5 * state.slope > tolerance * state.value.clamp(_LEAST, 1.0)
        if not bool(moving.all()):
            result[state.number] = state.x
            state.keep(moving)
        if not len(state.number):
            return result
        _advance(state, evaluate, precondition)
    result[state.number] = state.x
    return result


def _begin(number: Tensor, x: Tensor, value: Tensor, gradient: Tensor, precondition: Precondition) -> _State:
    eased = precondition(number, gradient)
    slope = -(eased * gradient).sum(1)
    one = torch.ones(len(x), dtype=x.dtype)
    return _State(number, x, value, gradient, eased, one, -eased, slope, one.clone(), [], [], [], [])


def _advance(state: _State, evaluate: Evaluate, precondition: Precondition) -> None:
    """Try one step of every problem; those whose step was good enough go on from there."""
    x = state.x + state.step[:, None] * state.direction
    value, gradient = evaluate(state.number, x)
    # In float32 two values this near can't be told apart, and the step is as good as any.
    slack = 1e-6 * state.value.abs().clamp_min(1e-3)
    good = value <= state.value + _ARMIJO * state.step * state.slope + slack
    stuck = ~good & (state.step < 1e-4)
    moved = (good & torch.isfinite(value))[:, None]
    step = torch.where(moved, x - state.x, 0.0)
    change = torch.where(moved, gradient - state.gradient, 0.0)
    eased = precondition(state.number, gradient)
    ease = torch.where(moved, eased - state.eased, 0.0)
    state.x = torch.where(moved, x, state.x)
    state.value = torch.where(moved[:, 0], value, state.value)
    state.gradient = torch.where(moved, gradient, state.gradient)
    state.eased = torch.where(moved, eased, state.eased)
    _remember(state, step, change, ease)
    direction = -_two_loops(state)
    slope = (direction * state.gradient).sum(1)
    slope = torch.where(stuck, 0.0, slope)  # ends it
    renewed = moved[:, 0] | stuck
    state.direction = torch.where(renewed[:, None], direction, state.direction)
    state.slope = torch.where(renewed, slope, state.slope)
    state.step = torch.where(renewed, 1.0, state.step * _SHRINK)


def _remember(state: _State, step: Tensor, change: Tensor, ease: Tensor) -> None:
    product = (step * change).sum(1)
    useful = product > 1e-10 * (change * change).sum(1).clamp_min(1e-30)
    state.curvature.append(torch.where(useful, 1.0 / product.clamp_min(1e-30), 0.0))
    state.steps.append(step)
    state.changes.append(change)
    state.eases.append(ease)
    # By how much the preconditioner overrates the curvature along this step.
    own = product / (change * ease).sum(1).clamp_min(1e-30)
    state.scale = torch.where(useful & (own > 0), own, state.scale)
    for history in (state.steps, state.changes, state.eases, state.curvature):
        del history[:-_MEMORY]


def _two_loops(state: _State) -> Tensor:
    vector, eased = state.gradient.clone(), state.eased.clone()
    shares = []
    for step, change, ease, rho in zip(
        *map(reversed, (state.steps, state.changes, state.eases, state.curvature)), strict=True
    ):
        share = rho * (step * vector).sum(1)
        vector.sub_(share[:, None] * change)
        eased.sub_(share[:, None] * ease)
        shares.append(share)
    eased.mul_(state.scale[:, None])
    for step, change, rho, share in zip(
        state.steps, state.changes, state.curvature, reversed(shares), strict=True
    ):
        back = rho * (change * eased).sum(1)
        eased.add_((share - back)[:, None] * step)
    return eased
