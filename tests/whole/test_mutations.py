"""Hundreds of files changed by chance: each is right, or refused in one line; see `mutations.py`."""

import pytest

from mutations import BASES, QUESTIONS, REFUSED, SUBJECTS, case, unchanged

FEW = {"dataset": 120, "head": 80, "model": 40, "source": 60, "work": 60}
MANY = 40  # times as many, by other seeds


@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_nobody_changed_is_answered(subject: str) -> None:
    """Else a question with a mistake in it would be refused in every case, and test nothing."""
    for name in BASES[subject]():
        outcomes = [unchanged(subject, name, number) for number in range(len(QUESTIONS[subject]))]
        refused = {n for n, outcome in enumerate(outcomes) if outcome.startswith("refused: ")}
        assert refused == REFUSED.get((subject, name), set()), f"{name}: {outcomes}"
        assert {outcome for n, outcome in enumerate(outcomes) if n not in refused} <= {"right"}, name


@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_was_changed_by_chance_is_right_or_refused(subject: str) -> None:
    for seed in range(FEW[subject]):
        case(subject, seed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(MANY))
@pytest.mark.parametrize("subject", SUBJECTS)
def test_twenty_thousand_changes(subject: str, part: int) -> None:
    first = 1_000_000 + part * FEW[subject]
    for seed in range(first, first + FEW[subject]):
        case(subject, seed)
