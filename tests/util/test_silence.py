"""Warnings that are kept quiet by several threads at a time."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from layerwise._util.silence import silenced, warned_once


def test_a_category_is_quiet_in_the_block_alone() -> None:
    with silenced(DeprecationWarning):
        warnings.warn("quiet", DeprecationWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="loud"):  # warnings are errors in tests
            warnings.warn("loud", UserWarning, stacklevel=1)
    with pytest.raises(DeprecationWarning):
        warnings.warn("loud again", DeprecationWarning, stacklevel=1)


def test_blocks_that_overlap_leave_the_filters_as_they_were() -> None:
    """The first one in is the first one out: what `warnings.catch_warnings` leaves behind then is for good."""
    before, show = list(warnings.filters), warnings.showwarning
    entered, left = threading.Event(), threading.Event()

    def first() -> None:
        with silenced():
            entered.set()
            assert second_in.wait(60)
        left.set()

    def second() -> None:
        assert entered.wait(60)
        with silenced(UserWarning):
            second_in.set()
            assert left.wait(60)
            warnings.warn("quiet", UserWarning, stacklevel=1)

    second_in = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result()
    assert warnings.filters == before
    assert warnings.showwarning is show


def test_a_fault_leaves_the_filters_as_they_were() -> None:
    before = list(warnings.filters)
    with pytest.raises(ZeroDivisionError), silenced():
        _ = 1 / 0
    assert warnings.filters == before


LIBRARY = "/env/site-packages/sklearn/linear_model/_logistic.py"


def shown(texts: list[str], filename: str, *, silences: bool = False, lineno: int = 7) -> list[str]:
    """The texts of warnings that are shown, in a block that shows each kind once."""
    registry: dict[Any, int] = {}
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("default")
        with warned_once():
            for text in texts:
                if silences:
                    with silenced(DeprecationWarning):
                        pass
                warnings.warn_explicit(text, UserWarning, filename, lineno, registry=registry)
    return [str(warning.message) for warning in record]


def test_a_librarys_warning_comes_once_though_filters_change() -> None:
    texts = [f"lbfgs failed to converge after {steps} steps" for steps in range(50)]
    assert shown(texts, LIBRARY) == texts[:1]
    assert shown(texts[:1] * 50, LIBRARY, silences=True) == texts[:1]


def test_warnings_that_say_something_else_are_all_shown() -> None:
    assert shown(["no variance", "no rows", "no variance"], LIBRARY) == ["no variance", "no rows"]
    texts = ["mix 'mean(1)': has no statistics", "mix 'mean(2)': has no statistics"]
    assert shown(texts * 2, "/home/user/script.py") == texts


def test_a_block_within_a_block_shows_nothing_again() -> None:
    before = warnings.showwarning
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        with warned_once():
            for _ in range(3):
                with warned_once():
                    warnings.warn("the same", UserWarning, stacklevel=1)
        warnings.warn("the same", UserWarning, stacklevel=1)
    assert len(record) == 2, "once in the block, once after it"
    assert warnings.showwarning is before
