"""The memory that answers may take together, from when a request is admitted until its answer was sent."""

from collections.abc import Callable

from layerwise._util.locks import new_lock
from layerwise.serving.limits import Limits
from layerwise.serving.refusals import Overloaded, TooLarge


class AnswerRoom:
    """Counts the bytes of the answers that are being computed or sent.

    Attributes:
        reserved: their number now.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits, self._lock, self.reserved = limits, new_lock(), 0

    def reserve(self, size: int) -> Callable[[], None]:
        """Reserve room for an answer, and return the idempotent function that frees it.

        Raises:
            TooLarge: an answer that is larger than one may be.
            Overloaded: all answers together would be too large.
        """
        self.check(size)
        together = self._limits.all_answer_bytes
        with self._lock:
            if self.reserved + size > together:
                raise Overloaded(
                    f"answers of {self.reserved} bytes are being sent, of at most {together}; try again later",
                    1.0,
                )
            self.reserved += size
        return self._once_freed(size)

    def check(self, size: int) -> None:
        """Check that an answer isn't larger than one may be.

        Raises:
            TooLarge: it is.
        """
        most = self._limits.answer_bytes
        if size > most:
            raise TooLarge(
                f"the answer would have {size} bytes of vectors and may have {most}; ask for fewer texts or layers, or for a "
                "coarser level"
            )

    def _once_freed(self, size: int) -> Callable[[], None]:
        sizes = [size]

        def free() -> None:
            with self._lock:
                self.reserved -= sizes.pop() if sizes else 0

        return free
