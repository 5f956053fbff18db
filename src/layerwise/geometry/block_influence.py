"""How much each block changes its rows: blocks that change little can be left out (Men et al. 2024)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from layerwise.arguments import argument
from layerwise.geometry.rows import RowArray, unit_rows
from layerwise.layers import depth, site

NAME = "block_influence"
SOURCE = "Men et al. 2024"


def block_influence(before: RowArray, after: RowArray) -> float:
    """Return 1 - the mean cosine of a row before and after a block, in [0, 2]; 0 where no direction changes.

    NaN where a row is 0, a value isn't finite, or the widths differ.

    Args:
        before, after: the same rows, each (n, d).
    """
    if before.shape != after.shape:
        return math.nan
    first, second = unit_rows(before), unit_rows(after)
    if first is None or second is None:
        return math.nan
    return float(1 - np.einsum("nd,nd->n", first, second).mean())


def needs() -> dict[str, str]:
    """Return what the measure needs, by its name."""
    return {NAME: f"rows of {argument('layers')} that follow each other, such as all"}


def layers_before(names: Sequence[str]) -> Mapping[str, str]:
    """Return the layer before each block whose input and output are both among some layers, by the name of the output."""
    outputs = {depth(name): name for name in names if site(name) is None}
    return {name: outputs[number - 1] for number, name in outputs.items() if number - 1 in outputs}
