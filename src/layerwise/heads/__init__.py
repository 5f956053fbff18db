"""Fit, save, load and apply heads; write predictions."""

from typing import TYPE_CHECKING

from layerwise._util.lazy import submodules

if TYPE_CHECKING:
    from layerwise.heads import storage  # noqa: F401

__getattr__ = submodules(__name__)
