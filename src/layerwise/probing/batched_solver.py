"""Logistic and ridge regression with L2, for hundreds of training sets and many Cs at once.

Problem: a probe fits each candidate on hundreds of training sets (folds, inner folds, blocks of online codes) at several
Cs. One by one, as in scikit-learn, this takes far longer (benchmarks/probe.py), mostly in copies and small products.

How: all training sets are masks over the same rows, so a step of all fits is two matrix products with one shared matrix.
Each fit standardises its features by the rows of its own mask. That is an affine map, so it is folded into the weights
(and so are the weights of a mix), and the shared matrix isn't copied for each fit.

What would go wrong otherwise: with the statistics of all rows, test rows would leak into training. Fits from zero at each
C would take most of their steps twice, so each C starts from where the solutions of the stronger ones lead; a family of fits that
select their C together ends there as soon as weaker regularisation no longer helps.

Several labels per row are as many logistic regressions, one against the rest, with one C.

The minimum is that of scikit-learn: C · Σ loss + ½ ‖W‖², bias without penalty, W on standardised features; two
classes have one vector of weights (a sigmoid), more have one per class. Regression minimises half the squared
error of the standardised target, which is ridge regression with alpha = 1 / C.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from layerwise._util.threads import current, spread, spread_in_turn
from layerwise.array_types import F32, I64
from layerwise.heads.solve import CS
from layerwise.probing.feature_batch import FeatureBatch
from layerwise.probing.fit_batch import FitBatch, memory
from layerwise.probing.fits import BeginCallback, Fits, Scores
from layerwise.probing.lbfgs import EXACT
from layerwise.probing.row_batch import RowBatch
from layerwise.probing.shared_rows import SharedRows

_ARRAYS = ("values", "mix", "weights", "parameters")
_MAX_SCORES = 1 << 25  # how many scores a batch may have: 128 MiB
# How many numbers a batch may keep for the optimiser, copies of the rows and kernels: 256 MiB.
_MAX_NUMBERS = 1 << 26
# How many scores are computed at once: they stay in the cache, and fits alone use their own rows only.
_CACHED = 1 << 20
_CACHED_KERNELS = 1 << 23  # how many numbers the kernels of fits that are solved together may have
_FEWEST = 8  # fits that are solved together rather than by several threads
_MOST_ROWS = 4096  # up to which a kernel of all rows is kept: 64 MiB
# Tolerances (see `lbfgs.minimise`) of fits whose accuracy alone matters, as they choose C, and of those of online codes.
CHOOSING, CODING = 3e-4, 1e-4
# The tolerance of scored fits of a learned mix: which of its minima is found changes the loss by more.
LEARNED = 1e-5
# The position of C from which a learned mix that has no start begins at even weights. On 1,500 questions of TREC this took 0.6 of
# the evaluations of the path, to losses as low or lower; at a smaller C the path led to losses that were 2% lower.
_EVEN = 2


class Solver:
    """Logistic or ridge regressions on one set of features, float32 (n, width), for many training sets.

    With `layers` > 1 the features are that many layers side by side, and each fit learns a mix of them:
    softmax weights of the layers, together with the weights of the classes (whose size is the scale).
    """

    def __init__(self, x: F32, *, layers: int = 1, mix: Sequence[float] | None = None) -> None:
        """Standardise by all rows; each fit corrects this for its own rows.

        Args:
            x: features, float32 (n, width), or (n, layers * width).
            layers: the number of layers side by side, to be mixed after each is standardised.
            mix: fixed weights of the layers; without them each fit learns its own.

        Raises:
            RequestError: numbers so large that standardising them exceeds float32.
        """
        self._shared = SharedRows(x, layers, mix)
        self._learns_mix = layers > 1 and mix is None
        self._exact = LEARNED if self._learns_mix else EXACT
        self._solves_by_row = layers == 1 and len(x) <= min(x.shape[1], _MOST_ROWS)

    @property
    def features(self) -> F32:
        """The rows, standardised by all rows, float32 (n, width) or (n, layers * width)."""
        features: F32 = self._shared.x.numpy()
        return features

    def at(
        self,
        fits: Fits,
        c_index: int,
        on_begin: BeginCallback = lambda fits, c_index, done: None,
        start: F32 | None = None,
        tolerance: float | None = None,
    ) -> Scores:
        """Fit every training set at the C of position `c_index`; by default to `lbfgs.EXACT`, a learned mix to `LEARNED`.

        Begins at `start` (fits, size), `Scores.parameters` of similar fits; without it by the path from stronger
        regularisation, or for a learned mix with weak regularisation at even weights of the layers (`_EVEN`).
        """
        ends_at = self._exact if tolerance is None else tolerance
        if start is None and not (self._learns_mix and c_index >= _EVEN):
            path = self.path(fits, on_begin=on_begin, last=c_index, tolerance=ends_at)
            batches = [scores for scores in path if scores.c_index == c_index]
        else:
            batches = list(self._from(fits, c_index, on_begin, start, ends_at))
        order = np.argsort(np.concatenate([scores.fits for scores in batches]))
        values, mix, weights, parameters = (
            _concatenated([getattr(scores, n) for scores in batches], order) for n in _ARRAYS
        )
        assert values is not None
        unfinished = sum(scores.unfinished for scores in batches)
        return Scores(c_index, np.arange(len(order)), values, mix, weights, parameters, unfinished)

    def _from(
        self, fits: Fits, c_index: int, on_begin: BeginCallback, start: F32 | None, tolerance: float
    ) -> Iterator[Scores]:
        def solve(part: I64) -> Scores:
            solver = self._batch(fits, part)
            if start is not None:
                solver.start_at(torch.from_numpy(start[part]))
            return solver.solve(c_index, CS[c_index], tolerance)

        self._prepare()
        for batch in self._batches(fits):
            groups = self._groups(fits, batch)
            solved = spread_in_turn(solve, groups)
            for part in groups:
                on_begin(part, c_index, batch[0] / len(fits.train))
                yield next(solved)

    def path(
        self,
        fits: Fits,
        may_stop: Callable[[int], bool] = lambda family: False,
        on_begin: BeginCallback = lambda fits, c_index, done: None,
        tolerance: float = EXACT,
        last: int = len(CS) - 1,
    ) -> Iterator[Scores]:
        """Fit every training set at every C, from strong to weak regularisation, each from the last solution.

        Weak regularisation takes longest and seldom helps: after each C, `may_stop` is called with each family
        and returns whether its path may end there; `last` is the position of the last C. Fits end at
        `tolerance`; those before a `last` C only lead to it, and end at `CHOOSING`. `on_begin` is called when fits begin at a C.
        """
        self._prepare()
        for batch in self._batches(fits):
            solvers = spread(lambda part: self._batch(fits, part), self._groups(fits, batch))
            for c_index in range(last + 1):
                ends_at = tolerance if last in (c_index, len(CS) - 1) else CHOOSING
                solved = spread_in_turn(partial(_next, c_index=c_index, tolerance=ends_at), solvers)
                for index, solver in enumerate(solvers):
                    step = (c_index + index / len(solvers)) / (last + 1)
                    on_begin(solver.batch.numpy(), c_index, (batch[0] + len(batch) * step) / len(fits.train))
                    yield next(solved)
                solvers = [solver for solver in solvers if solver.keep(may_stop)]

    def _prepare(self) -> None:
        """Compute what all fits share, before threads use it."""
        _ = self._shared.leading if self._solves_by_row else self._shared.spectrum

    def _batch(self, fits: Fits, numbers: I64) -> FitBatch:
        return (RowBatch if self._solves_by_row else FeatureBatch)(self._shared, fits, numbers)

    def _batches(self, fits: Fits) -> Iterator[I64]:
        """Cut the fits into batches of whole families; a family that is larger than the limits is a batch alone.

        The limits are `_MAX_SCORES` scores and `_MAX_NUMBERS` numbers.
        """
        rows, features = self._shared.x.shape
        if self._solves_by_row:
            most_rows = int((fits.train > 0).sum(axis=1).max())
            size, copies = 2 * fits.columns * most_rows, most_rows**2 * 5 // 4
        else:
            size = fits.columns * (self._shared.width + 1)
            copies = rows * features // max(1, self._group_size(fits, rows))
            copies += 2 * size * self._shared.layers if self._shared.layers > 1 else 0
        numbers = size * (3 * memory(size) + 8) + copies
        max_fits = max(1, min(_MAX_SCORES // (rows * fits.count), _MAX_NUMBERS // numbers))
        starts = np.flatnonzero(np.diff(fits.family, prepend=-1))
        begin = 0
        for start, end in zip(starts, [*starts[1:], len(fits.family)], strict=True):
            if end - begin > max_fits and start > begin:
                yield np.arange(begin, start)
                begin = int(start)
        yield np.arange(begin, len(fits.family))

    def _group_size(self, fits: Fits, rows: int) -> int:
        """Return how many fits with up to `rows` training rows are solved together."""
        size = _CACHED // (int(fits.train.shape[1]) * fits.count)
        return max(1, min(size, _CACHED_KERNELS // rows**2) if self._solves_by_row else size)

    def _groups(self, fits: Fits, batch: I64) -> list[I64]:
        """Cut a batch into groups of at most `_group_size` fits of a similar number of training rows, for all threads.

        The numbers are within a factor of four, so that small fits don't use the rows of large ones.
        """
        rows = (fits.train[batch] > 0).sum(axis=1)
        size = np.ceil(np.log2(np.maximum(rows, 1) / max(int(rows.max()), 1)) / 2)
        out = []
        for value in np.unique(size):
            group = batch[size == value]
            step = self._group_size(fits, int(rows[size == value].max()))
            step = min(step, max(_FEWEST, -(-len(group) // current())))
            out += [group[at : at + step] for at in range(0, len(group), step)]
        return out


def _next(solver: FitBatch, c_index: int, tolerance: float) -> Scores:
    """Solve fits at the next C of their path."""
    solver.extrapolate()
    if isinstance(solver, FeatureBatch):
        solver.mix_evenly()
    return solver.solve(c_index, CS[c_index], tolerance)


def _concatenated(parts: Sequence[F32 | None], order: I64) -> F32 | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays)[order] if arrays else None
