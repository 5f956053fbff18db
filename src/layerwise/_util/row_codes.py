"""int8 codes of rows, symmetric, with a scale per row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def int8_rows(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """Return int8 codes of finite rows (n, d), and the scales, little-endian float32 (n,), to multiply them by.

    The scale of a row is its largest |v| / 127; a row of zeros has scale 0 and codes 0.
    """
    largest = np.maximum(values.max(axis=1), -values.min(axis=1)) if values.size else np.zeros(len(values))
    scales = np.asarray(largest, np.float32) / np.float32(127)
    ratios = np.zeros(values.shape, np.float32)
    np.divide(values, scales[:, None], out=ratios, where=scales[:, None] > 0)
    np.rint(ratios, out=ratios)
    return np.clip(ratios, -127, 127, out=ratios).astype(np.int8), scales.astype("<f4")
