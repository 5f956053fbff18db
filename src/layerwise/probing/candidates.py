"""What is compared: every layer alone, and mixes of several."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from layerwise.errors import RequestError
from layerwise.heads.mixing import read_planes
from layerwise.heads.pairs import halves
from layerwise.mixes import Mix, parse_mix
from layerwise.probing.batched_solver import Began, Fits, Scores, Solver
from layerwise.states import F32, I64, Layered

DEFAULTS = ("mean(1:)", "mean(-4:)", "concat(-4:)", "concat(all)", "learned(all)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mix under its name: the string that the user, or the list of defaults, has for it."""

    name: str
    mix: Mix
    blocks: int

    @property
    def kind(self) -> str:
        """`layer` or `mix`."""
        return "layer" if self.mix.how == "layer" else "mix"

    @property
    def cost(self) -> float:
        """The share of the full forward that the deepest layer needs, in blocks."""
        return max(depth(name) for name in self.mix.layers) / max(self.blocks, 1)


def time_of(candidate: Candidate) -> float:
    """Return about how long a candidate takes, in times of a middling layer; see docs/performance.md."""
    how, layers = candidate.mix.how, len(candidate.mix.layers)
    if how == "layer" or layers == 1:
        return 0.3 + 1.6 * candidate.cost  # the deeper, the less its rows look alike
    if how == "learned":
        return 1.8 * layers
    if how == "concat":
        return 1.4 * layers
    return 1.0 * layers if candidate.mix.norm else 1.0


def depth(name: str) -> int:
    """Return the number of blocks that a layer needs."""
    return 0 if name == "emb" else int(name)


def candidates(dataset: Layered, mixes: Sequence[str] | None) -> list[Candidate]:
    """Return every stored layer, then `mixes`, or the defaults that exist here and differ.

    Raises:
        RequestError: a broken mix string, or a mix of a layer that isn't stored.
    """
    out = [_candidate(name, name, dataset) for name in dataset.layers]
    seen = {_what(one.mix) for one in out}
    for text in DEFAULTS if mixes is None else mixes:
        try:
            one = _candidate(text, text, dataset)
        except RequestError:
            if mixes is not None:
                raise
            continue
        if _what(one.mix) not in seen:
            seen.add(_what(one.mix))
            out.append(one)
    return out


def _candidate(name: str, text: str, dataset: Layered) -> Candidate:
    return Candidate(name, parse_mix(text, dataset.blocks, dataset.layers), dataset.blocks)


def _what(mix: Mix) -> tuple[object, ...]:
    """Return what two mixes must share to be the same one: of one layer, every unweighted mix is that layer."""
    if len(mix.layers) == 1 and mix.how != "weighted":
        return ("layer", mix.layers)
    how = "mean" if mix.how == "sum" else mix.how  # the same, once standardised
    layers = tuple(sorted(mix.layers)) if mix.weights is None else mix.layers
    norm = None if how in ("concat", "learned") else mix.norm
    return (how, layers, mix.weights, norm)


class Fitter(Protocol):
    """Fits one candidate on training sets; see `Solver`."""

    def path(self, fits: Fits, over: Callable[[int], bool], began: Began) -> Iterator[Scores]:
        """Fit every training set at every C, from strong to weak."""

    def at(self, fits: Fits, place: int, began: Began) -> Scores:
        """Fit every training set at one C."""


def fitter(dataset: Layered, rows: I64, candidate: Candidate) -> Fitter:
    """Return what fits a candidate.

    Features are standardised by the rows of each training set, and so is each layer for `norm=layer`.

    Args:
        dataset: where the rows are.
        rows: their numbers, (n,), or (n, 2) for pairs.
        candidate: the mix.
    """
    mix = candidate.mix
    if mix.how == "learned":
        return Solver(beside(dataset, rows, mix), layers=len(mix.layers))
    if mix.norm is None or mix.how in ("layer", "concat"):
        everything = np.ones(len(rows), bool)
        plain = Mix(mix.how, mix.layers, mix.weights)
        (planes,) = read_planes(dataset, rows, [plain], [everything])
        return Solver(planes.arrays[0])
    if mix.how == "max" or rows.ndim == 2:
        return _OneByOne(dataset, rows, mix)
    weights = mix.weights or (1 / len(mix.layers) if mix.how == "mean" else 1.0,) * len(mix.layers)
    return Solver(beside(dataset, rows, mix), layers=len(mix.layers), mix=weights)


def beside(dataset: Layered, rows: I64, mix: Mix) -> F32:
    """Return the layers of a mix side by side, (n, layers * inputs)."""
    flat = rows.reshape(-1)
    made = [dataset.layer(name, rows=flat) for name in mix.layers]
    return np.concatenate([halves(v) for v in made] if rows.ndim == 2 else made, axis=1)


class _OneByOne:
    """Mixes anew for each training set, where standardising isn't a matter of weights."""

    def __init__(self, dataset: Layered, rows: I64, mix: Mix) -> None:
        self._dataset, self._rows, self._mix = dataset, rows, mix

    def path(
        self,
        fits: Fits,
        over: Callable[[int], bool],
        began: Began = lambda fits, place, done: None,
    ) -> Iterator[Scores]:
        """Fit every training set at every C; `over` isn't asked, as families are not fitted together."""
        for number in range(len(fits.train)):
            solver = self._solver(fits, number)
            for item in solver.path(_only(fits, number), began=_one_of(began, number, len(fits.train))):
                yield Scores(item.place, np.array([number]), item.values)

    def at(self, fits: Fits, place: int, began: Began = lambda fits, place, done: None) -> Scores:
        """Fit every training set at one C."""
        every = range(len(fits.train))
        made = [
            self._solver(fits, n).at(_only(fits, n), place, _one_of(began, n, len(every))).values
            for n in every
        ]
        return Scores(place, np.array(every), np.concatenate(made))

    def _solver(self, fits: Fits, number: int) -> Solver:
        known = fits.train[number] > 0
        (planes,) = read_planes(self._dataset, self._rows, [self._mix], [known])
        return Solver(planes.arrays[0])


def _one_of(began: Began, number: int, count: int) -> Began:
    """Return what is called where one fit of several is solved by itself."""
    return lambda _, place, done: began(np.array([number]), place, (number + done) / count)


def _only(fits: Fits, number: int) -> Fits:
    one = [number]
    return replace(fits, train=fits.train[one], labels=fits.labels[one], family=fits.family[one])
