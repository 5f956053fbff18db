"""Text to layers: tokenising, windows, batches, and the forward; knows neither labels nor disk."""

from typing import TYPE_CHECKING

from layerwise._util.lazy import submodules

if TYPE_CHECKING:
    from layerwise.encode import checkpoint, encoder, hf, int8, linear, load, request  # noqa: F401

__getattr__ = submodules(__name__)
