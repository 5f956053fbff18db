"""The difference of two candidates that a design can find, from its rows, before any fit.

Two candidates that answer differently on a share d of n independent rows have a difference whose standard error is about
√(d / n). To be told apart, a candidate must lead the one with the median score by the quantile of the studentised range
of the better half of the candidates (`comparison`), and by z.80 more to be found in about 80% of cases. `benchmarks/power.py`
checks the result by simulation (docs/probe.md).
"""

import numpy as np
from scipy import special, stats

from layerwise.arguments import argument
from layerwise.labels.scorers import SpanScorer
from layerwise.probing.run import ProbeRun
from layerwise.wording import Message, fixed, percent

DIFFERING = 0.12  # share of rows on which two candidates usually answer differently
TARGET = 0.03  # the difference in score that layers of a model often have
_POWER = 0.8
_COUNTED = ("accuracy", "micro_f1", "span_f1")  # metrics whose error follows from the number of rows
_CORRELATION = 0.05  # of the differences of rows in one group
_ONE_REPEAT = 1.05  # standard errors of one repeat, relative to those of five


def detectable(units: float, candidates: int, repeats: int = 5) -> float:
    """Return the difference in score that is found in about 80% of cases.

    Args:
        units: how many independent rows (or spans, or groups) are scored.
        candidates: how many are compared.
        repeats: of the cross-validation.
    """
    better_half = max(2, candidates // 2 + 1)
    quantile = float(stats.studentized_range.ppf(0.95, better_half, 1e6)) / 2**0.5
    error = (DIFFERING / units) ** 0.5 * (_ONE_REPEAT if repeats == 1 else 1.0)
    return float((quantile + special.ndtri(_POWER)) * error)


def power_note(run: ProbeRun, candidates: int, repeats: int) -> Message | None:
    """Return what the design can't find, and which one could; `None` if it finds 3 points, or for metrics not in `_COUNTED`."""
    if candidates < 2 or run.scorer.metric not in _COUNTED:
        return None
    units = _units(run)
    difference = detectable(units, candidates, repeats)
    if difference <= TARGET:
        return None
    needed = units * (difference / TARGET) ** 2
    return _sentence(units, difference, needed, quick=repeats == 1 and not run.design.fixed)


def _sentence(units: float, difference: float, needed: float, *, quick: bool) -> Message:
    more = Message("note.power.rows", times=fixed(needed / units, 1))
    if quick and difference / _ONE_REPEAT <= TARGET:
        more = Message("note.power.repeats", quick=argument("quick"))
    return Message(
        "note.power",
        difference=fixed(difference),
        differing=percent(DIFFERING),
        wanted=fixed(TARGET, 2),
        more=more,
    )


def _units(run: ProbeRun) -> float:
    """Return the effective number of rows that are scored, or of their gold spans.

    Rows of one group are correlated: m rows count as m / (1 + (m - 1) · 0.05) (Kish's design effect).
    """
    rows = run.design.outers[0].test if run.design.fixed else np.arange(len(run.problem.groups))
    weights = np.ones(len(rows))
    if isinstance(run.scorer, SpanScorer):
        gold = np.asarray(run.design.fits.targets[0], np.int64)
        weights = run.scorer.counts(gold[rows], rows)[:, 2]
    _, group_of_row = np.unique(run.problem.groups[rows], return_inverse=True)
    sizes = np.bincount(group_of_row, weights=weights)
    sizes = sizes[sizes > 0]
    return max(1.0, float((sizes / (1 + np.maximum(sizes - 1, 0) * _CORRELATION)).sum()))
