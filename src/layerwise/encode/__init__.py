"""Encode texts: tokens, windows, batches, and the forward that gives every layer. Knows neither labels nor disk."""

from typing import TYPE_CHECKING

from layerwise._util.lazy import submodules

if TYPE_CHECKING:
    from layerwise.encode import (  # noqa: F401
        adapter_files,
        checkpoint,
        devices,
        encoder,
        hf,
        int8,
        linear,
        load,
        plain_loop,
        request,
    )

__getattr__ = submodules(__name__)
