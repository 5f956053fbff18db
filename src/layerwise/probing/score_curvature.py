"""The mean curvature of the loss by the scores of a row, which preconditions the weights of the columns.

The Hessian of a softmax by the scores of a row is diag(p) - p pᵀ. Its mean over the rows has eigenvectors, in whose
directions the columns of weights are divided by the curvature of each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_COUPLED = 64  # classes; of more, each is related to every other but little
_LEAST = 1e-3  # curvature, times the number of columns


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCurvature:
    """The curvature of some fits.

    Attributes:
        values: (f, columns), along each direction.
        directions: (f, columns, columns), one per matrix column; None for the columns of weights themselves.
    """

    values: Tensor
    directions: Tensor | None = None

    def take(self, index: Tensor) -> "ScoreCurvature":
        """Return that of some fits."""
        return ScoreCurvature(self.values[index], None if self.directions is None else self.directions[index])

    def put(self, index: Tensor, other: "ScoreCurvature") -> None:
        """Set that of some fits."""
        self.values[index] = other.values
        if self.directions is not None and other.directions is not None:
            self.directions[index] = other.directions

    def to_directions(self, columns: Tensor) -> Tensor:
        """Return `columns` (f, columns, n) in the directions."""
        return columns if self.directions is None else self.directions.transpose(1, 2) @ columns

    def to_columns(self, along: Tensor) -> Tensor:
        """Return values in the directions (f, columns, n) as columns."""
        return along if self.directions is None else self.directions @ along


def of_columns(chances: Tensor, share: Tensor) -> ScoreCurvature:
    """Return the curvature of columns that are fitted apart, from probabilities (f, columns, n) and shares (f, n)."""
    values = torch.einsum("fn,fkn->fk", share, chances - chances * chances)
    return ScoreCurvature(values.clamp_min(_LEAST / values.shape[1]))


def of_softmax(chances: Tensor, share: Tensor) -> ScoreCurvature:
    """Return the curvature of a softmax, from probabilities (f, K, n) and shares (f, n)."""
    if chances.shape[1] > _MOST_COUPLED:
        return of_columns(chances, share)
    weighted = chances * share[:, None]
    matrix = torch.diag_embed(weighted.sum(2)) - weighted @ chances.transpose(1, 2)
    values, directions = torch.linalg.eigh(matrix)
    return ScoreCurvature(values.clamp_min(_LEAST / values.shape[1]), directions)
