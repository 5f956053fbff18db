"""From layers to what a head sees: mixed, paired, standardised."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from layerwise.heads.pairs import halves
from layerwise.mixes import LayerStats, Mix, apply_mix, layer_stats, within_float32
from layerwise.states import F32, I64, Layered

Read = Callable[[str], F32]
Norms = Mapping[str, LayerStats]


def planes(mix: Mix, read: Read, norms: Norms | None, paired: bool) -> list[F32]:
    """Return what a head is fitted on, before it is standardised: arrays float32 (n, inputs).

    There is one for a fixed mix, and one per layer for a learned one, whose weights come with the head. Of
    pairs they are the features of two rows each; a learned mix then mixes those of each layer.

    Args:
        mix: what to make.
        read: gives one layer by its name, float32 (rows, width); of pairs the two rows one after the other.
        norms: statistics of the layers, for `norm=layer`.
        paired: whether rows are pairs.
    """
    learned = mix.how == "learned"
    made = [read(name) for name in mix.layers] if learned else [apply_mix(mix, read, norms)]
    return [halves(values) for values in made] if paired else made


def input_width(mix: Mix, width: int, paired: bool) -> int:
    """Return how many numbers a head sees of a row (of each layer, for a learned mix)."""
    out = mix.out_width(width)
    return 2 * out + 1 if paired else out


def standardise(made: Sequence[F32], stats: Sequence[LayerStats]) -> F32:
    """Return planes standardised, each with its own statistics: float32 (planes, n, inputs)."""
    return np.stack([known(values) for values, known in zip(made, stats, strict=True)])


@dataclass(eq=False)
class Planes:
    """The planes of some rows, as `planes` makes them, and the statistics of the layers that `norm=layer` took.

    `arrays` are float32 (n, inputs) each; `norms` is `None` where the mix needs none.
    """

    mix: Mix
    arrays: list[F32] = field(default_factory=list)
    norms: dict[str, LayerStats] | None = None

    def add(self, name: str, values: F32, stats: LayerStats | None) -> None:
        """Take in the layer `name`, (rows, width), standardised first when `stats` are given."""
        if self.mix.how == "learned":
            self.arrays.append(values)
            return
        if stats is not None:
            self.norms = {**(self.norms or {}), name: stats}
            values = stats(values)
        place = self.mix.layers.index(name)
        if not self.arrays:
            self.arrays.append(np.zeros((len(values), self.mix.out_width(values.shape[1])), np.float32))
            if self.mix.how == "max":
                self.arrays[0].fill(-np.inf)
        with within_float32():
            weights = self.mix.weights
            self._fold(place, values if weights is None else values * np.float32(weights[place]))

    def _fold(self, place: int, values: F32) -> None:
        whole, width = self.arrays[0], values.shape[1]
        if self.mix.how == "concat":
            whole[:, place * width : (place + 1) * width] = values
        elif self.mix.how == "max":
            np.maximum(whole, values, out=whole)
        else:
            whole += values

    def finish(self, paired: bool) -> None:
        """Do what can be done only after the last layer."""
        if self.mix.how == "mean":
            self.arrays[0] /= np.float32(len(self.mix.layers))
        if self.mix.how == "learned":  # layers were read in the order of the model
            order = sorted(self.mix.layers, key=_depth)
            self.arrays = [self.arrays[order.index(name)] for name in self.mix.layers]
        if paired:
            self.arrays = [halves(values) for values in self.arrays]


def read_planes(
    dataset: Layered, rows: I64, mixes: Sequence[Mix], fit: Sequence[NDArray[np.bool_]]
) -> list[Planes]:
    """Return the planes of each mix, all of them from one reading of the layers.

    Args:
        dataset: where the rows are.
        rows: their numbers, int64 (n,), or (n, 2) for pairs.
        mixes: what to make of them.
        fit: for each mix, which of the n rows the statistics of `norm=layer` are taken from, bool (n,).
    """
    made = [Planes(mix) for mix in mixes]
    flat, paired = rows.reshape(-1), rows.ndim == 2
    for name in sorted({name for mix in mixes for name in mix.layers}, key=_depth):
        values: F32 = dataset.layer(name, rows=flat)
        for planes_of, known in zip(made, fit, strict=True):
            if name not in planes_of.mix.layers:
                continue
            stats = None
            if planes_of.mix.norm is not None and planes_of.mix.how != "learned":
                stats = layer_stats([values[np.repeat(known, 2) if paired else known]])
            planes_of.add(name, values, stats)
    for planes_of in made:
        planes_of.finish(paired)
    return made


def _depth(name: str) -> int:
    return 0 if name == "emb" else int(name)
