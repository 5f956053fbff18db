"""Checks of the values of options."""

from typing import Any

import numpy as np
import pytest

from layerwise.arguments import as_flags
from layerwise.choices import one_of, whole_number
from layerwise.errors import RequestError


@pytest.mark.parametrize("value", [1, 7, np.int64(3), 1 << 100])
def test_a_whole_number_of_any_type_is_taken(value: Any) -> None:
    number = whole_number("limit", value, 1)
    assert number == value
    assert type(number) is int


@pytest.mark.parametrize("value", ["3", "", None, 1.0, float("nan"), [], np.array([1, 2]), True, b"3"])
def test_what_is_no_whole_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(RequestError, match=r"^limit=.* is not a whole number; give at least 1$"):
        whole_number("limit", value, 1)


def test_the_range_is_named() -> None:
    with pytest.raises(RequestError, match="^limit=0 is too small; give at least 1$"):
        whole_number("limit", 0, 1)
    with (
        as_flags(),
        pytest.raises(RequestError, match="^--seed 9 is out of range; give a whole number from 0 to 8$"),
    ):
        whole_number("seed", 9, 0, 8)


@pytest.mark.parametrize("value", [None, 1, ["a"], np.array(["a", "b"]), {}])
def test_a_choice_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="^long .* doesn't exist; choose one of a, b$"):
        one_of("long", value, ("a", "b"))
