"""Layers in two dimensions, each rotated so that points move as little as possible from one layer to the next.

A projection is only defined up to rotation and mirroring. Without alignment, points would jump from layer to layer
for no reason in the data, and the layers couldn't be compared by eye.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F32, F64
from layerwise.geometry.rows import RowArray, centred, finite, standardise
from layerwise.geometry.svd import svd

Reducer = Callable[[F64, F64 | None], F64]
"""Function of standardised rows (n, d) and their coordinates in the layer before (n, 2) to coordinates (n, 2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Rows of several layers on a plane.

    Attributes:
        coords: float32 (layers, n, 2), in [-1, 1]; 0 where a layer has no spread, or values that aren't finite.
        explained: of PCA, the share of the variance of the standardised dimensions along each axis of the plane,
            as it is rotated, (layers, 2); NaN for the layers without spread.
    """

    coords: F32
    explained: F64 | None


def project(layers: Sequence[RowArray], flat: Reducer | None = None, track: Tracker = SILENT) -> Projection:
    """Return layers on a plane, by PCA of standardised dimensions or by `flat`.

    Dimensions are standardised because a single rogue one would dominate. A layer is rotated (and mirrored) to be
    as near as possible to the one before (orthogonal Procrustes, Schönemann 1966), and scaled to fit; distances
    within a layer keep their proportions, distances in different layers can't be compared.

    Args:
        layers: each (n, d).
        flat: another projection to two dimensions; PCA when left out.
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
            flattened, shares = _pca(rows)
        else:
            flattened = flat(rows, before)
        before = _turned(flattened, before)
        if flat is None:
            explained[place] = shares.sum() * _per_axis(before)
        coords[place] = _fitted(before)
    return Projection(coords.astype(np.float32), explained if flat is None else None)


def _pca(rows: F64) -> tuple[F64, F64]:
    """Return the first two principal components of centred rows, (n, 2), and their shares of variance (2,)."""
    inner = rows.T @ rows if rows.shape[1] <= len(rows) else rows @ rows.T
    values, vectors = np.linalg.eigh(inner)
    top = vectors[:, ::-1][:, :2]
    components = rows @ top if rows.shape[1] <= len(rows) else top * np.sqrt(np.maximum(values[::-1][:2], 0))
    shares = np.maximum(values[::-1][:2], 0) / np.trace(inner)
    missing = 2 - components.shape[1]  # one row, or one dimension
    return np.pad(components, ((0, 0), (0, missing))), np.pad(shares, (0, missing))


def _turned(plane: F64, before: F64 | None) -> F64:
    """Return points centred at their mean, rotated towards `before`, scaled so that the farthest is at distance 1."""
    plane = plane - plane.mean(axis=0)
    if before is not None:
        u, _, vt = svd(plane.T @ before)
        plane = plane @ (u @ vt)
    else:
        # Signs of components are arbitrary; this makes them the same on every machine.
        signs = np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])
        plane = plane * np.where(signs == 0, 1, signs)
    farthest = float(np.sqrt((plane**2).sum(axis=1).max()))
    return plane / farthest if farthest else plane


def _per_axis(plane: F64) -> F64:
    """Return the share of each axis in the variance of points that are centred, (2,)."""
    squares: F64 = (plane**2).sum(axis=0)
    return squares / (squares.sum() or 1)


def _fitted(plane: F64) -> F64:
    """Return points shifted and scaled to fill the square [-1, 1]², proportions kept."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    half = float((high - low).max()) / 2
    fitted: F64 = (plane - (low + high) / 2) / (half or 1)
    return fitted
