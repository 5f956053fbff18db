"""Why a request isn't carried out: each class is one kind of answer, whatever protocol carries it."""

from layerwise.errors import LayerwiseError, RequestError


class NotServed(RequestError):
    """A model, mix or head that isn't served here."""


class TooLarge(RequestError):
    """A request with more texts or tokens, or with a larger answer, than the server accepts."""


class Overloaded(LayerwiseError):
    """The queue is full, or the request waited too long; `retry_after` is the number of seconds to wait."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InferenceError(LayerwiseError):
    """The model failed on this request, also alone in its forward."""


class Unavailable(LayerwiseError):
    """The server is stopping, or its model doesn't work."""


class Abandoned(LayerwiseError):
    """The client went away before its request was carried out."""
