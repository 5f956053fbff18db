"""Encode texts: tokens, windows, batches, and the forward that gives every layer. Knows neither labels nor disk."""

from typing import TYPE_CHECKING

from layerwise._util.lazy import submodules

if TYPE_CHECKING:
    from layerwise.encode import adapter_files, checkpoint, devices, encoder, hf, int8, linear, load, plain_loop, request  # noqa: F401

__getattr__ = submodules(__name__)
