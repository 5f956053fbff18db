"""Hundreds of files changed by chance: each is right, or refused in one line; see `mutations.py`."""

import pytest

from mutations import SUBJECTS, case

FEW = {"dataset": 240, "head": 80, "model": 60, "source": 60, "work": 60}
MANY = 40  # times as many, by other seeds


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
