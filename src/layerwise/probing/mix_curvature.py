"""The curvature of a learned mix: how the loss bends along the weights of the layers, with the head that follows them.

Problem: the weights of a head depend on the mix of the layers, and the reverse. An optimiser that treats both as unrelated
takes hundreds of steps.

How: the Hessian is split in the head h (weights and biases) and the logits z of the mix. With P ≈ H_hh⁻¹ and B = H_zh, a
step of both is that of block elimination: dz = S⁻¹ (g_z - B P g_h) with S = H_zz - B P Bᵀ, and dh = P g_h - P Bᵀ dz.
S is small (layers × layers); negative curvature is taken by its size, so that steps go downhill.

Source: Golub and Pereyra 1973, variable projection; Dauphin et al. 2014, the absolute value of the curvature.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST = 1e-2  # eigenvalue of S, relative to the largest


@dataclass(frozen=True, slots=True, eq=False)
class MixCurvature:
    """Block elimination for some fits.

    Attributes:
        coupling: B, (f, layers, head).
        solved: B P, (f, layers, head).
        inverse: S⁻¹, (f, layers, layers).
    """

    coupling: Tensor
    solved: Tensor
    inverse: Tensor

    def take(self, index: Tensor) -> "MixCurvature":
        """Return that of some fits."""
        return MixCurvature(self.coupling[index], self.solved[index], self.inverse[index])

    def step(self, which: Tensor, solved: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Return the steps of head (a, head) and mix (a, layers), from P g_h (a, head) and g_z (a, layers)."""
        rest = slope - (self.coupling[which] @ solved[..., None])[..., 0]
        mix_step = (self.inverse[which] @ rest[..., None])[..., 0]
        return solved - (mix_step[:, None] @ self.solved[which])[:, 0], mix_step


def uncoupled(fits: int, layers: int, head: int) -> MixCurvature:
    """Return the elimination of heads and mixes that are unrelated, with a curvature of 1."""
    nothing = torch.zeros(fits, layers, head, dtype=torch.float32)
    return MixCurvature(nothing, nothing.clone(), torch.eye(layers, dtype=torch.float32).repeat(fits, 1, 1))


def inverse_of(curvature: Tensor) -> Tensor:
    """Return the inverses of symmetric matrices (f, layers, layers), with the absolute values of their eigenvalues."""
    values, vectors = torch.linalg.eigh((curvature + curvature.transpose(1, 2)) / 2)
    values = values.abs()
    values = torch.maximum(values, _LEAST * values.amax(1, keepdim=True)).clamp_min(1e-8)
    inverse: Tensor = (vectors / values[:, None]) @ vectors.transpose(1, 2)
    return inverse
