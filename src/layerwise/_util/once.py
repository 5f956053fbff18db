"""Messages that are told once in a process, however often what they are about happens."""

_texts: set[str] = set()


def is_news(text: str) -> bool:
    """Return whether this process tells a message for the first time, and remember it."""
    news = text not in _texts
    _texts.add(text)
    return news


def forget_texts() -> None:
    """Forget which messages were told, for the next command in the same process."""
    _texts.clear()
