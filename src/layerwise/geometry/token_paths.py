"""The tokens of one text, layer by layer: the change of each, its length, its similarity to the others."""

from dataclasses import dataclass

import numpy as np

from layerwise.array_types import F32
from layerwise.geometry.neighbours import units
from layerwise.geometry.step_plane import StepPlane, step_plane


@dataclass(frozen=True, slots=True, eq=False)
class TokenPaths:
    """Measures of a text's tokens along the layers.

    Attributes:
        norms: Euclidean lengths, float32 (layers, tokens).
        moves: the cosine of a token with itself one layer before, float32 (layers - 1, tokens); 1 is no change.
        cosines: of all pairs of tokens in each layer, float32 (layers, tokens, tokens).
        plane: the tokens of all layers, at unit length, on one plane.
    """

    norms: F32
    moves: F32
    cosines: F32
    plane: StepPlane


def moves(layers: F32) -> TokenPaths:
    """Return how the tokens of a text change through the layers; `layers` are (layers, tokens, width)."""
    unit = np.stack([units(layer) for layer in layers])
    return TokenPaths(
        norms=np.linalg.norm(layers, axis=2).astype(np.float32),
        moves=np.einsum("lpd,lpd->lp", unit[1:], unit[:-1]),
        cosines=np.clip(unit @ unit.transpose(0, 2, 1), -1, 1),
        plane=step_plane(unit),
    )
