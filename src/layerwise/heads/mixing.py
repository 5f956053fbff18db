"""Turn layers into the input of a head: mixed, paired, standardised."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from layerwise.heads.pairs import halves
from layerwise.layers import depth
from layerwise.mixes import LayerStats, Mix, apply_mix, layer_stats, within_float32
from layerwise.states import F32, I64, Layered

Read = Callable[[str], F32]
Norms = Mapping[str, LayerStats]


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


def input_width(mix: Mix, width: int, paired: bool) -> int:
    """Return the number of inputs of a head per row (per layer, for a learned mix)."""
    out = mix.out_width(width)
    return 2 * out + 1 if paired else out


def standardise(arrays: Sequence[F32], stats: Sequence[LayerStats]) -> F32:
    """Return planes standardised, each with its own statistics: float32 (planes, n, inputs)."""
    return np.stack([plane_stats(values) for values, plane_stats in zip(arrays, stats, strict=True)])


@dataclass(eq=False)
class Planes:
    """The planes of some rows, built layer by layer, and the statistics of the layers for `norm=layer`.

    `arrays` are those of `planes`, float32 (n, inputs) each; `norms` is `None` if the mix needs none.
    """

    mix: Mix
    arrays: list[F32] = field(default_factory=list)
    norms: dict[str, LayerStats] | None = None

    def add(self, name: str, values: F32, stats: LayerStats | None) -> None:
        """Add the layer `name`, (rows, width), standardised first if `stats` are given."""
        if self.mix.how == "learned":
            self.arrays.append(values)
            return
        if stats is not None:
            self.norms = {**(self.norms or {}), name: stats}
            values = stats(values)
        position = self.mix.layers.index(name)
        if not self.arrays:
            self.arrays.append(np.zeros((len(values), self.mix.out_width(values.shape[1])), np.float32))
            if self.mix.how == "max":
                self.arrays[0].fill(-np.inf)
        with within_float32():
            weights = self.mix.weights
            self._fold(position, values if weights is None else values * np.float32(weights[position]))

    def _fold(self, position: int, values: F32) -> None:
        mixed, width = self.arrays[0], values.shape[1]
        if self.mix.how == "concat":
            mixed[:, position * width : (position + 1) * width] = values
        elif self.mix.how == "max":
            np.maximum(mixed, values, out=mixed)
        else:
            mixed += values

    def finish(self, paired: bool) -> None:
        """Do the steps that need all layers: the mean, the order of a learned mix, and pairs."""
        if self.mix.how == "mean":
            self.arrays[0] /= np.float32(len(self.mix.layers))
        if self.mix.how == "learned":  # layers were added in the order of the model
            order = sorted(self.mix.layers, key=depth)
            self.arrays = [self.arrays[order.index(name)] for name in self.mix.layers]
        if paired:
            self.arrays = [halves(values) for values in self.arrays]


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
    planes_of_mixes = [Planes(mix) for mix in mixes]
    flat, paired = rows.reshape(-1), rows.ndim == 2
    for name in sorted({name for mix in mixes for name in mix.layers}, key=depth):
        values: F32 = dataset.layer(name, rows=flat)
        for mix_planes, fit_rows in zip(planes_of_mixes, fit, strict=True):
            if name not in mix_planes.mix.layers:
                continue
            stats = None
            if mix_planes.mix.norm is not None and mix_planes.mix.how != "learned":
                stats = layer_stats([values[np.repeat(fit_rows, 2) if paired else fit_rows]])
            mix_planes.add(name, values, stats)
    for mix_planes in planes_of_mixes:
        mix_planes.finish(paired)
    return planes_of_mixes
