"""Coarse pass: rule out candidates that cannot be the best, before the design fits them with many classes.

Problem: with 150 classes a fit takes minutes, and most layers score far below the best.

How: every candidate is scored by a linear discriminant with a shrunk covariance, in closed form, on the folds of the
first repeat. One Gram matrix serves all folds. A candidate is ruled out if its score lies below the best one by more
than `MARGIN` and 3.3 standard errors of the paired difference (one side of .0005), clustered by group.

The discriminant's scores differ from those of logistic regression; `MARGIN` covers by how much more they do for one
candidate than for another (docs/explanation/probe.md has the measurements). A learned mix has no closed form and is kept,
since it can be as good as any of its layers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from layerwise._util.progress import Tracker
from layerwise.array_types import F32, F64, I64
from layerwise.heads.mixing import read_planes
from layerwise.labels.labelled import Mask
from layerwise.labels.scorers import ClassScorer
from layerwise.mixes import Mix
from layerwise.probing.candidates import Candidate
from layerwise.probing.design import Design
from layerwise.probing.problem import ProbeProblem
from layerwise.states import Layered

MARGIN = 0.05
_ERRORS = 3.3
_SHRINKAGE = (1e-3, 1e-2, 1e-1, 1.0)  # of the within-class covariance, towards its mean eigenvalue
_WIDEST = 1536  # wider features are replaced by this many of their first principal directions
_COSTLY = 1e11  # multiplications of one step of all fits of all candidates, from which a coarse pass pays
_LEAST_ROWS = 5  # per class


def drop_hopeless(
    dataset: Layered, problem: ProbeProblem, design: Design, candidates: Sequence[Candidate], track: Tracker
) -> dict[str, float]:
    """Return the coarse scores of the candidates that cannot be the best, by name; empty where no pass pays."""
    scored = [candidate for candidate in candidates if candidate.mix.how != "learned"]
    if len(scored) < 2 or not pays(dataset, problem, design, candidates):
        return {}
    classes = np.asarray(problem.targets, np.int64)
    hits = []
    for candidate, _ in track.each(scored, [f"coarse pass, {candidate.name}" for candidate in scored]):
        x = torch.from_numpy(_features(dataset, problem.labelled.rows, candidate.mix))
        hits.append(discriminant_hits(_narrowed(x), classes, _folds(design), problem.count))
    rows = np.unique(np.concatenate([held_out for _, held_out in _folds(design)]))
    hits_of_rows = np.stack(hits)[:, rows]
    dropped = ruled_out(hits_of_rows, problem.groups[rows])
    return {
        candidate.name: float(hits_of_rows[index].mean())
        for index, candidate in enumerate(scored)
        if dropped[index]
    }


def pays(dataset: Layered, problem: ProbeProblem, design: Design, candidates: Sequence[Candidate]) -> bool:
    """Return whether the fits are so costly that a coarse pass pays; depends on the shapes alone."""
    # It compares accuracies of classifiers with even weights.
    if problem.scorer.metric != "accuracy" or design.fits.balanced:
        return False
    if not isinstance(problem.scorer, ClassScorer) or len(problem.targets) < _LEAST_ROWS * problem.count:
        return False
    planes = sum(len(c.mix.layers) if c.mix.how in ("concat", "learned") else 1 for c in candidates)
    rows = float(design.fits.train.sum())
    return rows * problem.count * dataset.width * planes * 2 > _COSTLY


def _folds(design: Design) -> list[tuple[Mask, I64]]:
    """Return training rows and held-out rows: the outer folds of the first repeat, or of a split the inner ones."""
    train = design.fits.train
    if design.fixed:
        return [(train[fit] > 0, rows) for fit, rows in design.outers[0].inner]
    return [(train[outer.fit] > 0, outer.test) for outer in design.outers if outer.repeat == 0]


def _features(dataset: Layered, rows: I64, mix: Mix) -> F32:
    """Return the features of a mix, float32 (n, inputs)."""
    (planes,) = read_planes(dataset, rows, [mix], [np.ones(len(rows), bool)])
    return planes.arrays[0]


def _narrowed(x: Tensor) -> Tensor:
    """Return standardised features (n, width), or about their first `_WIDEST` principal directions.

    Source: Halko, Martinsson and Tropp 2011, a random range and one power step.
    """
    spread, mean = torch.std_mean(x, 0, correction=0)
    x = (x - mean) / torch.where(spread > 1e-12 * (1 + mean.abs()), spread, torch.inf)
    if x.shape[1] <= _WIDEST:
        return x
    start = torch.randn(x.shape[1], _WIDEST, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    basis, _ = torch.linalg.qr(x.T @ (x @ start))
    narrowed: Tensor = x @ basis
    return narrowed


def discriminant_hits(x: Tensor, classes: I64, folds: Sequence[tuple[Mask, I64]], count: int) -> F64:
    """Return for each row (n,) whether the discriminant of its fold is right: 1 or 0; NaN for rows never held out.

    The shrinkage is the one with the most hits over all folds.

    Args:
        x: features, float32 (n, width).
        classes: class numbers (n,).
        folds: training rows, bool (n,), and the numbers of the held-out rows.
        count: the number of classes, K.
    """
    hits = np.full((len(_SHRINKAGE), len(x)), np.nan)
    gram, targets = x.T @ x, torch.from_numpy(classes)
    for train, held_out in folds:
        used = torch.from_numpy(train)
        gram_of_fold = gram - x[~used].T @ x[~used] if train.mean() > 0.5 else x[used].T @ x[used]
        rows, labels = x[used], targets[used]
        sizes = torch.bincount(labels, minlength=count).float()
        means = torch.zeros(count, x.shape[1], dtype=x.dtype).index_add_(0, labels, rows)
        means /= sizes.clamp_min(1.0)[:, None]
        within = (gram_of_fold - means.T @ (sizes[:, None] * means)) / len(rows)
        for index, shrinkage in enumerate(_SHRINKAGE):
            guesses = _discriminate(x[held_out], within, means, sizes, shrinkage)
            hits[index, held_out] = (guesses == targets[held_out]).numpy()
    best = np.nansum(hits, axis=1).argmax()
    best_hits: F64 = hits[best]
    return best_hits


def _discriminate(x: Tensor, within: Tensor, means: Tensor, sizes: Tensor, shrinkage: float) -> Tensor:
    """Return the most probable class of each row (m,) under normal classes with one shrunk covariance."""
    ridge = shrinkage * within.diagonal().mean().clamp_min(1e-12)
    factor = torch.linalg.cholesky(within + ridge * torch.eye(len(within), dtype=within.dtype))
    weights = torch.cholesky_solve(means.T, factor)
    bias = (sizes / sizes.sum()).log() - 0.5 * (means.T * weights).sum(0)
    return (x @ weights + bias).argmax(1)


def ruled_out(hits: F64, groups: I64) -> Mask:
    """Return which candidates (C,) lie below the best by more than the margin and the error of the difference.

    Args:
        hits: (C, n), 1 where a candidate is right, else 0.
        groups: (n,), the group of each row; rows of one group aren't independent.
    """
    scores = hits.mean(axis=1)
    gaps = hits[scores.argmax()] - hits
    centred = gaps - gaps.mean(axis=1, keepdims=True)
    _, index = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(index, weights=row) for row in centred])
    errors = np.sqrt((sums**2).sum(axis=1)) / hits.shape[1]
    result: Mask = gaps.mean(axis=1) - _ERRORS * errors > MARGIN
    return result
