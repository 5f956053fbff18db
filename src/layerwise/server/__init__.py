"""HTTP servers: they only parse requests and write answers; `page` and `serving` compute them."""

from typing import TYPE_CHECKING

from layerwise._util.lazy import submodules

if TYPE_CHECKING:
    from layerwise.server import loopback, run, web  # noqa: F401

__getattr__ = submodules(__name__)
