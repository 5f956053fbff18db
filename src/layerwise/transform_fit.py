"""Fit a transform on rows that come in blocks: their mean, and their principal components."""

import numpy as np
from scipy import linalg

from layerwise.array_types import F32, F64
from layerwise.transforms import FittedRows, Transform


class TransformFitter:
    """Mean and, for principal components, scatter of rows; float64, independent of the number of rows.

    The scatter is summed around the mean of the first block and moved to that of all rows at the end, so that one pass
    is enough and large means cost no digits.
    """

    def __init__(self, kind: str, width: int, components: int | None = None) -> None:
        """Begin without rows; `components` is the number of principal components, for kind `pca`."""
        self.rows, self._kind, self._components = 0, kind, components
        self._origin: F64 | None = None
        self._sum = np.zeros(width)
        self._scatter = np.zeros((width, width)) if components is not None else None

    def add(self, block: F32) -> None:
        """Add rows, (n, width)."""
        if not len(block):
            return
        if self._origin is None:
            self._origin = block.mean(axis=0, dtype=np.float64)
        shifted = block - self._origin
        self.rows += len(block)
        self._sum += shifted.sum(axis=0)
        if self._scatter is not None:
            self._scatter += shifted.T @ shifted

    def finish(self, fitted: FittedRows) -> tuple[Transform, float | None]:
        """Return the transform, and for principal components the share of the variance that they keep (1 without any).

        The sign of a component is that which makes its largest number positive.
        """
        assert self._origin is not None  # there is a row
        shift = self._sum / self.rows
        mean = (self._origin + shift).astype(np.float32)
        if self._scatter is None or self._components is None:
            return Transform(self._kind, mean, None, fitted), None
        scatter = self._scatter - self.rows * np.outer(shift, shift)
        width = len(scatter)
        values, vectors = linalg.eigh(scatter, subset_by_index=(width - self._components, width - 1))
        components = vectors.T[::-1]
        largest = np.abs(components).argmax(axis=1)[:, None]
        components = components * np.sign(np.take_along_axis(components, largest, axis=1))
        total = float(np.trace(scatter))
        kept = min(1.0, float(np.maximum(values, 0).sum()) / total) if total > 0 else 1.0
        return Transform(self._kind, mean, np.ascontiguousarray(components, np.float32), fitted), kept
