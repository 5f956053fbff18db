"""Labels are equal when they are the same text after trimming, the same number, or the same boolean."""

import itertools
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layerwise.labels.spelling import class_of_each, key_of, spell
from layerwise.labels.unknown import match_classes

SAME = [
    ("pos", "pos ", "\tpos", "\u00a0pos\n"),
    (1, 1.0, "1", "1.0", " 1 ", "+1", "1e0", "01", Decimal("1.00"), np.int64(1).item()),
    (0, 0.0, -0.0, "0", "-0.0", "0."),
    (0.1, "0.1", ".1", "0.10", Decimal("0.1"), np.float32(0.1).item()),
    (True, "True", "true", "TRUE", " true"),
    (False, "False", "false", "FALSE"),
    (2**60 + 1, str(2**60 + 1), f"{2**60 + 1}.0"),
    (123456792, 123456792.0, "123456792"),
    ("Pos",),
    ("inf",),
    ("1,5",),
    ("1_000",),
    (1000, "1000.0", "1e3"),
    ("１",),
    ("yes",),
    ("T",),
]


@pytest.mark.parametrize("spellings", SAME, ids=lambda spellings: repr(spellings[0]))
def test_spellings_of_one_class(spellings: tuple[Any, ...]) -> None:
    assert len({key_of(label) for label in spellings}) == 1
    assert len(set(spell(spellings).names.values())) == 1


def test_different_classes_stay_different() -> None:
    for first, second in itertools.combinations(SAME, 2):
        assert key_of(first[0]) != key_of(second[0])


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([1.0, 0.0], ["1", "0"]),
        (["1.0", "0.0", "1.0"], ["1", "0", "1"]),
        (["007", "007", "7"], ["007"] * 3),
        (["7", "007"], ["7", "7"]),
        (["pos ", " pos", "neg"], ["pos", "pos", "neg"]),
        ([0.5, 2.0], ["0.5", "2"]),
        ([True, False], ["True", "False"]),
        (["true", "false"], ["true", "false"]),
        ([" ", "", None, float("nan"), Decimal("NaN"), "a"], [None] * 5 + ["a"]),
        ([["b", "a "], [], None], ["b, a", None, None]),
    ],
)
def test_the_name_of_a_class(labels: list[Any], names: list[str]) -> None:
    assert class_of_each(labels) == names


def test_merged_spellings_are_named_once() -> None:
    notes = spell(["pos ", "pos", "pos", "neg", "1.0", "1"]).notes
    assert notes == ["These spellings are one class each: 'pos ' = 'pos', '1.0' = '1'."]
    assert not spell(["pos ", "neg"]).notes
    assert "and 3 more" in spell([text for n in range(8) for text in (f"c{n}", f"c{n} ")]).notes[0]


def test_a_class_that_may_be_a_missing_label_is_named() -> None:
    assert "'NA' is a class here" in spell(["pos", "NA"]).notes[0]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.text(), st.integers(), st.floats(allow_nan=False), st.booleans(), st.decimals(allow_nan=False)
    )
)
def test_a_name_equals_its_class(label: Any) -> None:
    """A head stores names, which are compared with the labels of other files."""
    (name,) = class_of_each([label])
    if name is not None:
        assert key_of(name) == key_of(label)
        assert class_of_each([name]) == [name]


def objects(labels: list[Any]) -> Any:
    out = np.empty(len(labels), object)
    out[:] = labels
    return out


def test_labels_take_the_names_of_a_head() -> None:
    gold, unknown = match_classes(objects(["1.0", "0", "2", "2"]), ["0", "1"])
    assert gold.tolist() == ["1", "0", "2", "2"]
    assert unknown == {"2": 2}


def test_several_labels_take_the_names_of_a_head() -> None:
    gold, unknown = match_classes(objects([("1.0", "x"), (), ("1",)]), ["1"], multi=True)
    assert gold.tolist() == [("1", "x"), (), ("1",)]
    assert unknown == {"x": 1}
