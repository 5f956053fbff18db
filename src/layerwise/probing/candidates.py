"""The candidates of a probe: every layer alone, and mixes of layers."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from layerwise.array_types import F32, I64
from layerwise.errors import RequestError
from layerwise.heads.mixing import halves, read_planes
from layerwise.layers import depth, short_mix
from layerwise.mixes import Mix, parse_mix
from layerwise.probing.batched_solver import Solver
from layerwise.probing.fits import BeginCallback, Fits, Scores, select
from layerwise.probing.lbfgs import EXACT
from layerwise.states import Layered

DEFAULTS = ("mean(1:)", "mean(-4:)", "concat(-4:)", "concat(all)", "learned(all)")
_COLON = re.compile(r"\A([A-Za-z_]+)\s*:\s*(.*)", re.DOTALL)  # HOW:LAYERS


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mix with its name: the mix string of the user, or of `DEFAULTS`, with brackets (`mean(1:)`)."""

    name: str
    mix: Mix
    blocks: int

    @property
    def short_name(self) -> str:
        """The shortest form of its name."""
        return short_mix(self.name)

    @property
    def kind(self) -> str:
        """`layer` or `mix`."""
        return "layer" if self.mix.how == "layer" else "mix"

    @property
    def cost(self) -> float:
        """The share of the full forward pass, in blocks, that the deepest layer needs."""
        return max(depth(name) for name in self.mix.layers) / max(self.blocks, 1)


def time_of(candidate: Candidate) -> float:
    """Return about how long a candidate takes, relative to a layer of medium depth; see docs/explanation/performance.md."""
    how, layers = candidate.mix.how, len(candidate.mix.layers)
    if how == "layer" or layers == 1:
        return 0.3 + 1.6 * candidate.cost  # rows of deeper layers are less alike
    if how == "learned":
        return 2.2 * layers
    if how == "concat":
        return 1.4 * layers
    return 1.0 * layers if candidate.mix.norm else 1.0


def candidates(dataset: Layered, mixes: Sequence[str] | None) -> list[Candidate]:
    """Return every stored layer, then `mixes`, or the defaults that this dataset allows; equal mixes once.

    Raises:
        RequestError: a broken mix string, or a mix of a layer that isn't stored.
    """
    out = [_candidate(name, dataset) for name in dataset.layers]
    keys = {_key(candidate.mix) for candidate in out}
    for text in DEFAULTS if mixes is None else mixes:
        try:
            candidate = _candidate(text, dataset)
        except RequestError:
            if mixes is not None:
                raise
            continue
        if _key(candidate.mix) not in keys:
            keys.add(_key(candidate.mix))
            out.append(candidate)
    return out


def _candidate(text: str | int, dataset: Layered) -> Candidate:
    mix = parse_mix(text, dataset.blocks, dataset.layers, dataset.widths)
    return Candidate(_COLON.sub(r"\1(\2)", str(text).strip()), mix, dataset.blocks)


def _key(mix: Mix) -> tuple[object, ...]:
    """Return a key that equal mixes share: every unweighted mix of one layer equals that layer."""
    if len(mix.layers) == 1 and mix.how != "weighted":
        return ("layer", mix.layers)
    how = "mean" if mix.how == "sum" else mix.how  # equal once features are standardised
    layers = tuple(sorted(mix.layers)) if mix.weights is None else mix.layers
    norm = None if how in ("concat", "learned") else mix.norm
    return (how, layers, mix.weights, norm)


class Fitter(Protocol):
    """Fits one candidate on all training sets; see `Solver`."""

    def path(
        self,
        fits: Fits,
        may_stop: Callable[[int], bool],
        on_begin: BeginCallback = ...,
        tolerance: float = ...,
    ) -> Iterator[Scores]:
        """Fit every training set at every C, from strong to weak regularisation."""

    def at(
        self,
        fits: Fits,
        c_index: int,
        on_begin: BeginCallback,
        start: F32 | None = None,
        tolerance: float | None = None,
    ) -> Scores:
        """Fit every training set at the C of position `c_index`, from `start`, solutions of similar fits; see `Solver.at`."""


def fitter(dataset: Layered, rows: I64, candidate: Candidate) -> Fitter:
    """Return the solver of a candidate.

    Features are standardised by the rows of each training set, and so is each layer with `norm=layer`.

    Args:
        dataset: holds the rows.
        rows: row numbers, (n,), or (n, 2) for pairs.
        candidate: the mix to fit.
    """
    mix = candidate.mix
    if mix.how == "learned":
        return Solver(beside(dataset, rows, mix), layers=len(mix.layers))
    if mix.norm is None or mix.how in ("layer", "concat"):
        everything = np.ones(len(rows), bool)
        plain = Mix(mix.how, mix.layers, mix.weights)
        (planes,) = read_planes(dataset, rows, [plain], [everything])
        return Solver(planes.arrays[0])
    if mix.coefficients is None or rows.ndim == 2:
        return _PerFitSolver(dataset, rows, mix)
    return Solver(beside(dataset, rows, mix), layers=len(mix.layers), mix=mix.coefficients)


def beside(dataset: Layered, rows: I64, mix: Mix) -> F32:
    """Return the layers of a mix side by side, (n, layers * inputs)."""
    flat = rows.reshape(-1)
    layers = [dataset.layer(name, rows=flat) for name in mix.layers]
    return np.concatenate([halves(v) for v in layers] if rows.ndim == 2 else layers, axis=1)


class _PerFitSolver:
    """Solves each training set by itself, for mixes whose standardisation can't be folded into the weights."""

    def __init__(self, dataset: Layered, rows: I64, mix: Mix) -> None:
        self._dataset, self._rows, self._mix = dataset, rows, mix

    def path(
        self,
        fits: Fits,
        may_stop: Callable[[int], bool],
        on_begin: BeginCallback = lambda fits, c_index, done: None,
        tolerance: float = EXACT,
    ) -> Iterator[Scores]:
        """Fit every training set at every C; `may_stop` isn't used, as families are not fitted together."""
        for number in range(len(fits.train)):
            solver = self._solver(fits, number)
            callback = _callback_of_fit(on_begin, number, len(fits.train))
            for item in solver.path(select(fits, np.array([number])), on_begin=callback, tolerance=tolerance):
                yield replace(item, fits=np.array([number]))

    def at(
        self,
        fits: Fits,
        c_index: int,
        on_begin: BeginCallback = lambda fits, c_index, done: None,
        start: F32 | None = None,
        tolerance: float | None = None,
    ) -> Scores:
        """Fit every training set at the C of position `c_index`."""
        every = range(len(fits.train))
        solved = [
            self._solver(fits, n).at(
                select(fits, np.array([n])),
                c_index,
                _callback_of_fit(on_begin, n, len(every)),
                None if start is None else start[[n]],
                tolerance,
            )
            for n in every
        ]
        values = np.concatenate([scores.values for scores in solved])
        return Scores(c_index, np.array(every), values, unfinished=sum(s.unfinished for s in solved))

    def _solver(self, fits: Fits, number: int) -> Solver:
        train = fits.train[number] > 0
        (planes,) = read_planes(self._dataset, self._rows, [self._mix], [train])
        return Solver(planes.arrays[0])


def _callback_of_fit(on_begin: BeginCallback, number: int, count: int) -> BeginCallback:
    """Return the callback for fit `number` of `count` fits that are solved one after another."""
    return lambda _, c_index, done: on_begin(np.array([number]), c_index, (number + done) / count)
