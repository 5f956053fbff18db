"""Tokens of all layers on one plane with one scale, on which the steps from layer to layer keep their lengths.

Metric multidimensional scaling by SMACOF (de Leeuw 1977): the coordinates minimise the weighted sum of squared
differences between distances on the plane and distances of the vectors. Pairs that are one step, the same token in two
successive layers, have most of the weight: each path is a chain, so a plane has room for its steps. Other distances are
only approximate. The first two components of all layers together keep the lengths of steps less well.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from layerwise.array_types import F32, F64
from layerwise.geometry.svd import svd

_STEP_WEIGHT = 1  # weight of a step, relative to the weights of all other distances of a point together
_ROUNDS = 100  # of SMACOF
_DISTANCES = 100_000_000  # about as many distances are computed at most, in all rounds together
_ROUNDS_LEAST = 20
_PAIRS = 4_000_000  # of how many pairs `distances` is computed
_TINY = 1e-20
_BLOCK = 1 << 20  # distances computed at once


@dataclass(frozen=True, slots=True, eq=False)
class StepPlane:
    """Tokens of several layers on a plane.

    Attributes:
        coords: float32 (layers, tokens, 2), in the unit of the vectors; their mean is 0.
        steps: the share of variance of the lengths of steps that is on the plane (squared correlation); NaN where there
            are none, or all are equal.
        distances: the same of the distances of all pairs of points.
    """

    coords: F32
    steps: float
    distances: float


def step_plane(layers: F32) -> StepPlane:
    """Return tokens of several layers on one plane; `layers` are (layers, tokens, width), finite."""
    depth, tokens, _ = layers.shape
    points = layers.reshape(depth * tokens, -1).astype(np.float32)
    apart = _distances(points)
    steps = np.linalg.norm(np.diff(layers.astype(np.float64), axis=0), axis=2)
    weight = _STEP_WEIGHT * len(points)
    solve = np.linalg.inv(len(points) * np.eye(depth) + weight * _chain(depth))
    coords = _principal(points).reshape(depth, tokens, 2)
    for _ in range(int(np.clip(_DISTANCES // max(1, len(points) ** 2), _ROUNDS_LEAST, _ROUNDS))):
        pull = _pull(coords.reshape(-1, 2), apart).reshape(coords.shape) + weight * _step_pull(coords, steps)
        coords = np.einsum("kl,lti->kti", solve, pull)
    drawn_steps = np.linalg.norm(np.diff(coords, axis=0), axis=2)
    # The other distances make all steps a little too short, or too long.
    stretch = (drawn_steps * steps).sum() / (drawn_steps**2).sum() if drawn_steps.any() else 1.0
    plane = (stretch * coords).astype(np.float32)
    flat = plane.reshape(-1, 2)
    return StepPlane(plane, _shared(drawn_steps, steps), _shared(_pairs(_distances(flat)), _pairs(apart)))


def _chain(depth: int) -> F64:
    """Return the Laplacian of a path through the layers, (layers, layers)."""
    laplacian = np.zeros((depth, depth))
    for layer in range(depth - 1):
        laplacian[layer : layer + 2, layer : layer + 2] += [[1, -1], [-1, 1]]
    return laplacian


def _principal(points: F32) -> F64:
    """Return the first two principal components of points, (n, 2), with signs that are the same on every machine."""
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    left, sizes, _ = svd(centred, full_matrices=False)
    components = left[:, :2] * sizes[:2]
    components = np.pad(components, ((0, 0), (0, 2 - components.shape[1])))
    signs = np.sign(components[np.abs(components).argmax(axis=0), [0, 1]])
    principal: F64 = components * np.where(signs == 0, 1, signs)
    return principal


def _pull(flat: F64, apart: F32) -> F64:
    """Return the Guttman transform of points (n, 2), times n, all weights 1; `apart` are the distances to draw (n, n)."""
    out = np.empty_like(flat)
    x, y = flat.T.astype(np.float32)
    for rows in _blocks(len(flat)):
        # Squares of distances; their smallest number avoids a division by 0.
        length = np.subtract.outer(x[rows], x) ** 2
        length += np.subtract.outer(y[rows], y) ** 2
        ratio = apart[rows] / np.sqrt(np.maximum(length, _TINY, out=length), out=length)
        total = ratio.sum(axis=1)
        out[rows, 0], out[rows, 1] = x[rows] * total - ratio @ x, y[rows] * total - ratio @ y
    return out


def _step_pull(coords: F64, steps: F64) -> F64:
    """Return the same for the steps alone: `coords` (layers, tokens, 2), `steps` (layers - 1, tokens) their lengths."""
    out = np.zeros_like(coords)
    change = np.diff(coords, axis=0)
    length = np.linalg.norm(change, axis=2)
    pull = np.divide(steps, length, out=np.zeros_like(steps), where=length > 0)[:, :, None] * change
    out[1:] += pull
    out[:-1] -= pull
    return out


def _distances(points: F32) -> F32:
    """Return the Euclidean distances of all pairs of points, (n, n)."""
    squares = np.einsum("nd,nd->n", points, points)
    out = np.empty((len(points), len(points)), np.float32)
    for rows in _blocks(len(points)):
        out[rows] = squares[rows, None] + squares - 2 * (points[rows] @ points.T)
    np.fill_diagonal(out, 0)
    distances: F32 = np.sqrt(np.maximum(out, 0, out=out), out=out)
    return distances


def _pairs(apart: F32) -> F32:
    """Return the distances of different points, of every point or, where they are many, of some evenly spaced ones."""
    every = max(1, len(apart) ** 2 // _PAIRS)
    pairs: F32 = np.concatenate([apart[row, row + 1 :] for row in range(0, len(apart), every)])
    return pairs


def _blocks(count: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, count))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _shared(drawn: F64 | F32, real: F64 | F32) -> float:
    """Return the squared correlation of drawn and real lengths; NaN where either doesn't vary."""
    pairs = np.stack([np.ravel(drawn), np.ravel(real)]).astype(np.float64)
    if pairs.shape[1] < 2 or np.ptp(pairs, axis=1).min() <= 1e-6 * np.abs(pairs[1]).max():
        return float("nan")
    return float(np.corrcoef(pairs[0], pairs[1])[0, 1] ** 2)
