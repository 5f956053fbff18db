"""The order in which classes are listed: numbers by their value, then all other names."""

import random

import pytest

from layerwise.columns import in_order


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9", "1", "2"], ["1", "2", "9", "10"]),
        (["1.0", "0.5", "-3", "1e2", "+7"], ["-3", "0.5", "1.0", "+7", "1e2"]),
        (["b", "10", "a", "2"], ["2", "10", "a", "b"]),
        (["nan", "inf", "3", "-inf", "1_0"], ["3", "-inf", "1_0", "inf", "nan"]),
        (["٣", "4", "class 10", "class 2"], ["4", "class 10", "class 2", "٣"]),
        (["1.0", "01", "1"], ["01", "1", "1.0"]),
        (["True", "False"], ["False", "True"]),
        ([], []),
    ],
)
def test_numbers_come_in_their_order(names: list[str], expected: list[str]) -> None:
    for seed in range(5):
        shuffled = random.Random(seed).sample(names, len(names))
        assert in_order(shuffled) == expected


def test_integers_are_in_the_order_of_integers() -> None:
    numbers = random.Random(0).sample(range(-1000, 1000), 300)
    assert in_order(map(str, numbers)) == [str(number) for number in sorted(numbers)]
