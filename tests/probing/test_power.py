"""The difference that a design can find: against simulation, and what is said of it."""

import numpy as np
import pytest
from probes import probe
from scipy import stats as reference

from layerwise._util.progress import Progress, tracking
from layerwise.arguments import argument
from layerwise.probing.power import DIFFERING, TARGET, detectable, power_note
from layerwise.probing.problem import gather
from layerwise.probing.run import ProbeRun
from planted import noise, states_of


def run_of(rows: int, groups: str | None = None, repeats: int = 1) -> ProbeRun:
    columns = {"y": (np.arange(rows) % 2).astype(str), "team": (np.arange(rows) // 50).astype(str)}
    states = states_of(noise(rows, 2, 2), columns)
    problem = gather(states, "classify", "y", groups=groups, split=None, folds=5, max_rows=rows, seed=0)
    return ProbeRun(states, problem, repeats, 0)


def test_two_candidates_are_the_textbook_sample_size() -> None:
    error = (DIFFERING / 900) ** 0.5
    expected = (reference.norm.ppf(0.975) + reference.norm.ppf(0.8)) * error
    assert detectable(900, 2) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("count", [5, 13])
def test_the_difference_is_found_in_80_percent_of_draws(count: int) -> None:
    rng, rows = np.random.default_rng(0), 2000
    error = (DIFFERING / rows) ** 0.5
    true = np.zeros(count)
    true[0] = detectable(rows, count)
    scores = true + rng.standard_normal((20_000, count)) * error / 2**0.5
    ordered = -np.sort(-scores, axis=1)
    gaps = ordered[:, :1] - ordered
    critical = [reference.studentized_range.ppf(0.95, k, 1e6) / 2**0.5 * error for k in range(2, count + 1)]
    claims = (gaps[:, 1:] > critical)[:, count // 2 - 1 :].all(axis=1) & (scores.argmax(axis=1) == 0)
    assert 0.75 < claims.mean() < 0.88


def test_a_design_that_finds_three_points_has_no_note() -> None:
    assert power_note(run_of(2500, repeats=5), 13, 5) is None
    assert power_note(run_of(400), 1, 1) is None
    note = power_note(run_of(400), 13, 1)
    assert note is not None
    assert f"at least {detectable(400, 13, 1):.3f}" in note
    factor = (detectable(400, 13, 1) / TARGET) ** 2
    assert f"{factor:.1f} times as many rows" in note
    close = power_note(run_of(1980), 13, 1)
    assert close is not None
    assert f"without {argument('quick')}" in close


def test_rows_of_a_group_count_as_fewer() -> None:
    by_team, by_row = power_note(run_of(1000, "team"), 3, 1), power_note(run_of(1000), 3, 1)
    units = 1000 / (1 + 49 * 0.05)
    assert by_team is not None
    assert by_row is not None
    assert f"{detectable(units, 3, 1):.3f}" in by_team
    assert f"{detectable(1000, 3, 1):.3f}" in by_row


def test_the_note_comes_before_the_work() -> None:
    states = states_of(noise(60, 2, 2), {"y": (np.arange(60) % 2).astype(str)})
    events: list[Progress] = []
    with tracking(events.append) as track:
        result = probe(states, "classify", "y", mixes=[], quick=True, track=track)
    (at,) = [index for index, event in enumerate(events) if event.note]
    assert events[at].note in result.notes
    assert not any(event.stage.startswith("candidate") for event in events[: at + 1])
    assert any(event.stage.startswith("candidate") for event in events[at:])
