"""Layers in two dimensions, turned so that a point moves as little as it can from one layer to the next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerwise._util.progress import SILENT, Tracker
from layerwise.geometry.shape import F64, Rows, centred, finite, standardise

F32 = NDArray[np.float32]
Flat = Callable[[F64, F64 | None], F64]
"""From standardised rows (n, d), and where they stood in the layer before (n, 2), to coordinates (n, 2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Rows of several layers on a plane.

    Attributes:
        coords: float32 (layers, n, 2), in [-1, 1]; 0 where a layer has no spread, or values that aren't finite.
        explained: of PCA, the share of variance of each axis (layers, 2); NaN for the layers without spread.
    """

    coords: F32
    explained: F64 | None


def project(layers: Sequence[Rows], flat: Flat | None = None, track: Tracker = SILENT) -> Projection:
    """Return layers on a plane: PCA of standardised dimensions, or what `flat` makes of them.

    Dimensions are standardised, as a rogue one would decide alone. A layer is turned (and mirrored) to lie as
    near as it can to the one before (orthogonal Procrustes, Schönemann 1966), and scaled to fit; distances
    within a layer keep their proportions, and between layers there is no common measure.

    Args:
        layers: each (n, d).
        flat: another way down to two dimensions.
        track: reports which layer is laid out.
    """
    coords = np.zeros((len(layers), len(layers[0]) if layers else 0, 2))
    explained = np.full((len(layers), 2), np.nan)
    before: F64 | None = None
    steps = track.each(layers, (f"layer {n + 1} of {len(layers)}" for n in range(len(layers))))
    for place, (layer, _) in enumerate(steps):
        if not finite(layer) or not centred(layer)[0].any():
            continue
        rows = standardise(layer)
        if flat is None:
            found, explained[place] = _pca(rows)
        else:
            found = flat(rows, before)
        before = _turned(found, before)
        coords[place] = _fitted(before)
    return Projection(coords.astype(np.float32), explained if flat is None else None)


def _pca(rows: F64) -> tuple[F64, F64]:
    """Principal components of centred rows, (n, 2), and their shares of variance (2,)."""
    inner = rows.T @ rows if rows.shape[1] <= len(rows) else rows @ rows.T
    values, vectors = np.linalg.eigh(inner)
    top = vectors[:, ::-1][:, :2]
    found = rows @ top if rows.shape[1] <= len(rows) else top * np.sqrt(np.maximum(values[::-1][:2], 0))
    shares = np.maximum(values[::-1][:2], 0) / np.trace(inner)
    missing = 2 - found.shape[1]  # one row, or one dimension
    return np.pad(found, ((0, 0), (0, missing))), np.pad(shares, (0, missing))


def _turned(found: F64, before: F64 | None) -> F64:
    """About the mean, towards `before`, and the farthest point at 1."""
    found = found - found.mean(axis=0)
    if before is not None:
        left, _, right = np.linalg.svd(found.T @ before)
        found = found @ (left @ right)
    else:
        # Signs of components are arbitrary; this makes them the same on every machine.
        signs = np.sign(found[np.abs(found).argmax(axis=0), [0, 1]])
        found = found * np.where(signs == 0, 1, signs)
    farthest = float(np.sqrt((found**2).sum(axis=1).max()))
    return found / farthest if farthest else found


def _fitted(found: F64) -> F64:
    """In the middle of the square, and as large as goes into it."""
    low, high = found.min(axis=0), found.max(axis=0)
    half = float((high - low).max()) / 2
    fitted: F64 = (found - (low + high) / 2) / (half or 1)
    return fitted
