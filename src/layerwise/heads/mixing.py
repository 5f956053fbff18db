"""Turn layers into the input of a head: mixed, paired, standardised."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.array_types import F32, I64
from layerwise.layers import in_order
from layerwise.mixes import LayerStats, Mix, Mixer, apply_mix, layer_stats, within_float32
from layerwise.states import Layered
from layerwise.widths import Widths

Read = Callable[[str], F32]
Norms = Mapping[str, LayerStats]
Array = Any  # of numpy or of torch


def planes(mix: Mix, read: Read, norms: Norms | None, paired: bool) -> list[F32]:
    """Return the planes of a mix, the input of a head before it is standardised: arrays float32 (n, inputs).

    A fixed mix has one plane; a learned mix has one per layer, since its weights are fitted with the head. For
    pairs a plane holds the features of two rows each; a learned mix then mixes the features of each layer.

    Args:
        mix: the mix.
        read: returns one layer by its name, float32 (rows, width); the two rows of a pair are consecutive.
        norms: statistics of the layers, for `norm=layer`.
        paired: whether rows are pairs.
    """
    learned = mix.how == "learned"
    arrays = [read(name) for name in mix.layers] if learned else [apply_mix(mix, read, norms)]
    return [halves(values) for values in arrays] if paired else arrays


def input_width(mix: Mix, widths: Widths, paired: bool) -> int:
    """Return the number of inputs of a head per row (per layer, for a learned mix)."""
    out = mix.out_width(widths)
    return 2 * out + 1 if paired else out


def standardise(arrays: Sequence[F32], stats: Sequence[LayerStats]) -> F32:
    """Return planes standardised, each with its own statistics: float32 (planes, n, inputs)."""
    return np.stack([plane_stats(values) for values, plane_stats in zip(arrays, stats, strict=True)])


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """The planes of some rows, float32 (n, inputs) each, and the statistics of the layers for `norm=layer`.

    `norms` is `None` if the mix needs none.
    """

    arrays: list[F32]
    norms: dict[str, LayerStats] | None


class _PlanesReader:
    """Build the planes of one mix from layers that are added in the order of the model."""

    def __init__(self, mix: Mix, widths: Widths) -> None:
        self.mix, self.norms = mix, dict[str, LayerStats]()
        self._mixer, self._layers = Mixer(mix, widths), dict[str, F32]()

    def add(self, name: str, values: F32, fit_rows: NDArray[np.bool_]) -> None:
        """Add the layer `name`, (rows, width); statistics for `norm=layer` are those of `fit_rows`, bool (rows,)."""
        if name not in self.mix.layers:
            return
        if self.mix.how == "learned":
            self._layers[name] = values
            return
        if self.mix.norm is not None:
            self.norms[name] = layer_stats([values[fit_rows]])
        self._mixer.add(name, values, self.norms.get(name))

    def planes(self, paired: bool) -> Planes:
        """Return the planes, after all layers were added."""
        learned = self.mix.how == "learned"
        arrays = [self._layers[name] for name in self.mix.layers] if learned else [self._mixer.result()]
        return Planes([halves(values) for values in arrays] if paired else arrays, self.norms or None)


def read_planes(
    dataset: Layered, rows: I64, mixes: Sequence[Mix], fit: Sequence[NDArray[np.bool_]]
) -> list[Planes]:
    """Return the planes of each mix; each layer is read once for all mixes.

    Args:
        dataset: the dataset.
        rows: the numbers of the rows, int64 (n,), or (n, 2) for pairs.
        mixes: the mixes.
        fit: for each mix, bool (n,), the rows from which the statistics of `norm=layer` are computed.
    """
    readers = [_PlanesReader(mix, dataset.widths) for mix in mixes]
    flat, paired = rows.reshape(-1), rows.ndim == 2
    for name in in_order({name for mix in mixes for name in mix.layers}):
        values: F32 = dataset.layer(name, rows=flat)
        for reader, fit_rows in zip(readers, fit, strict=True):
            reader.add(name, values, np.repeat(fit_rows, 2) if paired else fit_rows)
    return [reader.planes(paired) for reader in readers]


def fold_mix(weight: Array, mix_weights: Array) -> Array:
    """Return the weights of each layer of a linear head on a learned mix, (…, outputs, layers, width).

    The sum over layers of their products with the layers is the product of the head's weights with the mix.

    Args:
        weight: the weights of the head, (…, outputs, width), as an array or a tensor.
        mix_weights: the weights of the mix, (…, layers).
    """
    return weight[..., :, None, :] * mix_weights[..., None, :, None]


def pair_features(a: F32, b: F32) -> F32:
    """Return the features of pairs of vectors, float32 of shape (n, 2 * width + 1): [cos(a, b), |a − b|, a · b].

    The difference and the product are those of InferSent (Conneau et al. 2017); swapping the two vectors
    changes no feature. The cosine with a vector of zeros is 0.

    Args:
        a, b: the vectors of the first and of the second texts, float32 (n, width) each.
    """
    width = a.shape[1]
    out = np.empty((len(a), 2 * width + 1), np.float32)
    product = out[:, width + 1 :]
    with within_float32():
        np.multiply(a, b, out=product)
        np.abs(np.subtract(a, b, out=out[:, 1 : width + 1]), out=out[:, 1 : width + 1])
        norms = np.sqrt((a**2).sum(axis=1, dtype=np.float64) * (b**2).sum(axis=1, dtype=np.float64))
    dots = product.sum(axis=1, dtype=np.float64)
    out[:, 0] = np.divide(dots, norms, out=np.zeros_like(norms), where=norms > 0)
    return out


def halves(values: F32) -> F32:
    """Return the features of pairs whose two vectors are consecutive rows of `values` (2n, width)."""
    return pair_features(values[0::2], values[1::2])
