"""Estimate how long a probe takes, from a few fits of one layer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerwise._util.progress import duration
from layerwise.array_types import I64
from layerwise.probing.batched_solver import CHOOSING
from layerwise.probing.candidates import Candidate, Fitter, fitter, time_of
from layerwise.probing.fits import select
from layerwise.probing.run import ProbeRun
from layerwise.wording import Message

_LAST = 4  # position of the last C that paths usually reach
_FAMILIES = 4  # sets of inner fits in the larger of the two timed batches
_LEAST = (
    1e10  # multiplications of one step of all fits, from which an estimate is worth the time that it takes
)


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds that a probe takes, estimated from `fits` fits of a layer."""

    seconds: float
    fits: int
    layer: str


def estimate(run: ProbeRun, candidates: Sequence[Candidate], weight: float) -> Message | None:
    """Return the estimated duration of the fits in words; `None` for a problem that takes seconds. See `time_estimate`."""
    expected = time_estimate(run, candidates, weight)
    if expected is None:
        return None
    return Message(
        "note.estimate",
        duration=duration(expected.seconds),
        candidates=len(candidates),
        n=expected.fits,
        layer=expected.layer,
    )


def time_estimate(run: ProbeRun, candidates: Sequence[Candidate], weight: float) -> TimeEstimate | None:
    """Return the estimated duration of the fits; `None` for a problem that takes seconds.

    The time of fits grows linearly with their rows, and each batch takes some time by itself. Both are measured, on the
    inner fits of one and of several outer fits of the layer of medium depth.

    Args:
        run: the rows and the design.
        candidates: all that will be fitted.
        weight: how long everything takes, relative to a layer of medium depth; see `candidates.time_of`.
    """
    layers = [candidate for candidate in candidates if candidate.kind == "layer"]
    fits = run.design.fits
    columns = fits.columns * run.dataset.width
    if not layers or float(fits.train.sum()) * columns * weight < _LEAST:
        return None
    layer = layers[len(layers) // 2]
    outers = run.design.outers
    inner_fits = [np.array([fit for fit, _ in outer.inner]) for outer in outers]
    timed = [inner_fits[0]]
    if len(outers) > 1:
        timed.append(np.concatenate(inner_fits[:_FAMILIES]))
    solver = fitter(run.dataset, run.problem.labelled.rows, layer)
    seconds = [_seconds(run, solver, numbers) for numbers in timed]
    rows = [float(fits.train[numbers].sum()) for numbers in timed]
    slope = seconds[0] / rows[0]
    if len(timed) > 1 and seconds[1] > seconds[0]:
        slope = (seconds[1] - seconds[0]) / (rows[1] - rows[0])
    total = (seconds[0] + slope * (float(fits.train.sum()) - rows[0])) * weight / time_of(layer)
    return TimeEstimate(total, sum(map(len, timed)), layer.name)


def _seconds(run: ProbeRun, solver: Fitter, numbers: I64) -> float:
    """Return the seconds that fits take along the path of Cs."""
    start = time.perf_counter()
    for scores in solver.path(select(run.design.fits, numbers), lambda family: False, tolerance=CHOOSING):
        if scores.c_index == _LAST:
            break
    return time.perf_counter() - start
