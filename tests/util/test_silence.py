"""Warnings that are kept quiet by several threads at a time."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from layerwise._util.silence import silenced


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
