"""Which requests of browsers a server refuses: those of pages of other sites."""

from collections.abc import Collection
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def names_this_machine(host: str | None, port: int) -> bool:
    """Return whether a `Host` header names this machine and this port.

    Against DNS rebinding: another site may resolve its own name to this address, to read the answers.

    >>> names_this_machine("localhost:8000", 8000), names_this_machine("evil.example:8000", 8000)
    (True, False)
    """
    return host in {f"{name}:{port}" for name in LOOPBACK} or (port == 80 and host in LOOPBACK)


def names_one_of(host: str | None, names: Collection[str]) -> bool:
    """Return whether a `Host` header is one of some names, with any port."""
    return host is not None and (host in names or host.rpartition(":")[0] in names)


def is_same_origin(origin: str | None, host: str | None) -> bool:
    """Return whether a request is of no page, or of a page of the host that it is sent to.

    >>> is_same_origin(None, "localhost:8000"), is_same_origin("null", "localhost:8000")
    (True, False)
    """
    if origin is None:
        return True
    try:
        return host is not None and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # no address
        return False
