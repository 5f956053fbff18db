"""The messages that this process has told: what is true of a model is told once, however often it is loaded."""

_told: set[str] = set()


def is_first(message: str) -> bool:
    """Return whether a message is told for the first time, and remember it."""
    first = message not in _told
    _told.add(message)
    return first


def forget() -> None:
    """Forget what was told, for the next command in the same process."""
    _told.clear()
