"""Fits, saves, loads and applies a head; writes predictions."""

from typing import TYPE_CHECKING

from layerwise._util.lazy import submodules

if TYPE_CHECKING:
    from layerwise.heads import storage  # noqa: F401

__getattr__ = submodules(__name__)
