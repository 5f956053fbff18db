"""Plumbing that any project could have: paths, threads, locks, progress, guarded reading; knows nothing of layers."""

from typing import TYPE_CHECKING

from layerwise._util.lazy import submodules

if TYPE_CHECKING:
    from layerwise._util import arrow_size, parquet_size  # noqa: F401

__getattr__ = submodules(__name__)
