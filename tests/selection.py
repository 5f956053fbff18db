"""Which of the values of a parameter are tested in every run."""

from collections.abc import Iterable
from typing import Any

import pytest


def few_of(values: Iterable[Any], *few: Any) -> list[Any]:
    """Return the values as parameters of which only `few` are tested in every run; the others are slow tests."""
    values = list(values)
    assert all(value in values for value in few), f"{few} aren't all among {values}"
    return [value if value in few else _slow(value) for value in values]


def _slow(value: Any) -> Any:
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
