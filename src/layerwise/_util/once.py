"""Messages that are told once in a process, however often what they are about happens."""

_memories: list[set[str]] = []


class ToldMessages:
    """The messages that one place has told."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        _memories.append(self._texts)

    def is_new(self, text: str) -> bool:
        """Return whether a message is told for the first time, and remember it."""
        new = text not in self._texts
        self._texts.add(text)
        return new


def forget_texts() -> None:
    """Forget which messages were told anywhere, for the next command in the same process."""
    for memory in _memories:
        memory.clear()
