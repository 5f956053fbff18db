"""How many files and connections this process may have open."""

from contextlib import suppress


def raise_limit() -> None:
    """Raise the limit as far as the system allows; nothing happens where there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # no limit, or one that may not be reached
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
