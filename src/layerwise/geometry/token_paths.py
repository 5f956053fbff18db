"""The pieces of one text, layer by layer: how far each moves, how long it is, what it is near to."""

from dataclasses import dataclass

import numpy as np

from layerwise.geometry.neighbours import units
from layerwise.geometry.projection import project
from layerwise.states import F32


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Pieces along the layers.

    Attributes:
        norms: Euclidean lengths, float32 (layers, pieces).
        moves: the cosine of a piece with itself one layer before, float32 (layers - 1, pieces); 1 is standing still.
        cosines: of all pairs of pieces in each layer, float32 (layers, pieces, pieces).
        coords: on a plane, as `look.projection` lays them out, float32 (layers, pieces, 2).
    """

    norms: F32
    moves: F32
    cosines: F32
    coords: F32


def moves(layers: F32) -> Moves:
    """Return how the pieces of a text go through the layers; `layers` are (layers, pieces, width)."""
    unit = np.stack([units(layer) for layer in layers])
    return Moves(
        norms=np.linalg.norm(layers, axis=2).astype(np.float32),
        moves=np.einsum("lpd,lpd->lp", unit[1:], unit[:-1]),
        cosines=np.clip(unit @ unit.transpose(0, 2, 1), -1, 1),
        coords=project(list(layers)).coords,
    )
