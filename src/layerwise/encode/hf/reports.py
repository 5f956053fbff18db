"""Silence what transformers prints, logs and draws."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

import torch
import transformers

from layerwise._util.locks import Shared, new_lock
from layerwise._util.silence import silenced

_LOADING = new_lock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the loading reports and progress bars of transformers; what matters is raised as an error.

    One thread at a time: these settings, and torch's random generator, belong to the whole process.
    """
    with _LOADING, silenced(), _reports.enabled():
        yield


def without_reports() -> contextlib.AbstractContextManager[None]:
    """Silence what transformers logs in forwards; several threads may be in such a block at the same time."""
    return _reports.enabled()


def _silence_reports() -> Callable[[], None]:
    """Silence the log and the progress bars of transformers; return a function that restores them."""
    logger = logging.getLogger("transformers")
    level, bars = logger.level, transformers.utils.logging.is_progress_bar_enabled()
    dtype = torch.get_default_dtype()
    logger.setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()

    def restore() -> None:
        logger.setLevel(level)
        # transformers changes it while it builds a model; a process forked meanwhile inherits the change.
        torch.set_default_dtype(dtype)
        if bars:
            transformers.utils.logging.enable_progress_bar()

    return restore


_reports = Shared(_silence_reports)
