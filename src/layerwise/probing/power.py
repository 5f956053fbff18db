"""The difference of two candidates that a design can find, from its rows, before any fit.

Two candidates that answer differently on a share d of n independent rows have a difference whose standard error is about
√(d / n), and retraining adds to it, by more where rows are few. To be told apart, a candidate must lead the one with the
median score by the quantile of the studentised range of the better half of the candidates (`comparison`), and by some more
to be found in about 80% of cases. The constants come from `benchmarks/power.py`, whose results (docs/explanation/probe.md) these
differences meet within about a tenth. Rows that are in a few groups can't show any difference.
"""

import numpy as np
from scipy import special, stats

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.labels.scorers import SpanScorer
from layerwise.probing.bounded import WIDEST
from layerwise.probing.run import ProbeRun
from layerwise.wording import Message, Value, fixed, percent

DIFFERING = 0.12  # share of rows on which two candidates usually answer differently
TARGET = 0.03  # the difference in score that layers of a model often have
_POWER = 0.8
_SPREAD = 0.5  # of the lead over the candidate with the median score, relative to the standard error of a difference
_RETRAINING, _AT_ROWS = 0.35, 2000.0  # variance that retraining adds to that of so many rows, relative to it
_COUNTED = ("accuracy", "micro_f1", "span_f1")  # metrics whose error follows from the number of rows
_CORRELATION = 0.01  # of the differences of rows in one group
_ONE_REPEAT = 1.12  # standard errors of one repeat, relative to those of five


def detectable(units: float, candidates: int, repeats: int = 5, *, fixed_test: bool = False) -> float:
    """Return the difference in score that is found in about 80% of cases.

    Args:
        units: how many independent rows (or spans, or groups) are scored.
        candidates: how many are compared.
        repeats: of the cross-validation.
        fixed_test: whether one test set is scored, with the training set held fixed.
    """
    better_half = max(2, candidates // 2 + 1)
    quantile = float(stats.studentized_range.ppf(0.95, better_half, 1e6)) / 2**0.5
    spread = 1.0 if candidates == 2 else _SPREAD
    error = (DIFFERING / units) ** 0.5
    if not fixed_test:
        error *= (1 + _RETRAINING * (_AT_ROWS / units) ** 0.5) ** 0.5 * (_ONE_REPEAT if repeats == 1 else 1.0)
    return float((quantile + spread * special.ndtri(_POWER)) * error)


def rows_needed(units: float, candidates: int, repeats: int = 5, *, fixed_test: bool = False) -> float:
    """Return how many times as many rows find `TARGET`."""
    needed = units
    for _ in range(20):  # each step halves the error, or better: differences fall by about the root of rows
        needed *= (detectable(needed, candidates, repeats, fixed_test=fixed_test) / TARGET) ** 2
    return needed / units


def least_p(groups: float, candidates: int) -> float:
    """Return about the least p of a difference between candidates if all groups agree.

    The sign test of g groups gives 2 / 2^g for two candidates; for more, the p of the largest difference of any pair.
    """
    statistic = -special.ndtri(max(0.5**groups, 1e-12)) * 2**0.5
    return float(stats.studentized_range.sf(statistic, candidates, 1e6))


def groups_needed(candidates: int) -> int:
    """Return how many groups of equal size can show a difference between candidates."""
    groups = 2
    while least_p(groups, candidates) >= 0.05:
        groups += 1
    return groups


def power_note(run: ProbeRun, candidates: int, repeats: int) -> Message | None:
    """Return what the design can't find, and which one could.

    `None` if it finds 3 points, or for metrics not in `_COUNTED` unless rows are in a few groups.
    """
    few = few_groups(run, candidates)
    if few is not None:
        return Message("note.power.groups", **few)
    if candidates < 2 or run.scorer.metric not in _COUNTED:
        return None
    units = _units(run)
    fixed_test = run.design.fixed
    difference = detectable(units, candidates, repeats, fixed_test=fixed_test)
    if round(difference, 3) <= TARGET:
        return None
    is_quick = repeats == 1 and not fixed_test
    if is_quick and round(detectable(units, candidates), 3) <= TARGET:
        more = Message("note.power.repeats", quick=argument("quick"))
    else:
        times = rows_needed(units, candidates, repeats, fixed_test=fixed_test)
        more = Message("note.power.rows", times=fixed(times, 1 if times < 10 else 0))
    if difference > WIDEST:
        return Message("note.power.none", wanted=fixed(TARGET, 2), more=more)
    return Message(
        "note.power",
        difference=fixed(difference),
        differing=percent(DIFFERING),
        wanted=fixed(TARGET, 2),
        more=more,
    )


def few_groups(run: ProbeRun, candidates: int) -> dict[str, Value] | None:
    """Return how many `groups` of equal size rows are in, and how many are the `least` that can show a difference.

    `None` if there are enough of them. A single candidate is compared with the baselines.
    """
    groups, compared = _effective_groups(run), max(2, candidates)
    if least_p(groups, compared) < 0.05:
        return None
    return {"groups": fixed(groups, 1), "least": groups_needed(compared)}


def _scored_rows(run: ProbeRun) -> I64:
    """Return the rows that are scored."""
    return run.design.outers[0].test if run.design.fixed else np.arange(len(run.problem.groups))


def _effective_groups(run: ProbeRun) -> float:
    """Return Kish's effective number of groups, by their rows."""
    groups = run.problem.groups[_scored_rows(run)]
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def _units(run: ProbeRun) -> float:
    """Return the effective number of rows that are scored, or of their gold spans.

    Rows of one group are correlated: m rows count as m / (1 + (m - 1) · 0.01) (Kish's design effect).
    """
    rows = _scored_rows(run)
    weights = np.ones(len(rows))
    if isinstance(run.scorer, SpanScorer):
        gold = np.asarray(run.design.fits.targets[0], np.int64)
        weights = run.scorer.counts(gold[rows], rows)[:, 2]
    _, group_of_row = np.unique(run.problem.groups[rows], return_inverse=True)
    sizes = np.bincount(group_of_row, weights=weights)
    sizes = sizes[sizes > 0]
    return max(1.0, float((sizes / (1 + np.maximum(sizes - 1, 0) * _CORRELATION)).sum()))
