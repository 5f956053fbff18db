"""What a failed request is answered with: a status, and an error in the words of the protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from layerwise.errors import HeadError, LayerwiseError, ModelError, RequestError
from layerwise.server.fields import FieldError
from layerwise.serving.refusals import (
    Abandoned,
    InferenceError,
    NotServed,
    Overloaded,
    TooLarge,
    Unavailable,
)

_STATUSES: tuple[tuple[type[Exception], int, str], ...] = (
    (NotServed, 404, "not_found"),
    (TooLarge, 413, "too_large"),
    (Overloaded, 429, "overloaded"),
    (Unavailable, 503, "unhealthy"),
    (InferenceError, 424, "inference"),
    (Abandoned, 499, "abandoned"),
    (RequestError, 400, "validation"),
    (ModelError, 422, "tokenization"),
    (HeadError, 422, "inference"),
    (LayerwiseError, 400, "validation"),
)
_PARAMETER = re.compile(
    r"(input|inputs|model|mix|pool|layers|level|spans|dimensions|encoding_format|prompt_name)\b"
)
_MESSAGE_END = (
    600  # characters of the beginning and of the end of a long message: what was got, and what is allowed
)
_TEI_TYPES = {
    "too_large": "Validation",
    "overloaded": "Overloaded",
    "unhealthy": "Unhealthy",
    "inference": "Backend",
    "internal": "Backend",
    "tokenization": "Tokenizer",
    "empty": "Empty",
}


@dataclass(frozen=True)
class Refusal(Exception):
    """A request that is refused before it reaches a route, or because of its route."""

    status: int
    kind: str
    message: str


@dataclass(frozen=True)
class Failure:
    """How a failed request is answered; `kind` is also the label of the metric."""

    status: int
    kind: str
    message: str
    parameter: str | None = None
    retry_after: float | None = None


def failure_of(error: Exception) -> Failure:
    """Return how an exception is answered. The text of an unforeseen one stays out of the answer.

    Messages quote values of requests, which may be as long as a body; the middle of a long message is left out.
    """
    if isinstance(error, Refusal):
        return Failure(error.status, error.kind, error.message)
    for kind, status, name in _STATUSES:
        if isinstance(error, kind):
            retry = error.retry_after if isinstance(error, Overloaded) else None
            return Failure(status, name, _shortened(str(error)), _parameter(error), retry)
    return Failure(500, "internal", f"the request failed ({type(error).__name__}); report it")


def _shortened(message: str) -> str:
    if len(message) <= 2 * _MESSAGE_END:
        return message
    return f"{message[:_MESSAGE_END]} … {message[-_MESSAGE_END:]}"


def openai_error(status: int, kind: str, message: str, parameter: str | None) -> Any:
    """Return an error as OpenAI's clients read it."""
    types = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    usual = "invalid_request_error" if status < 500 and status != 424 else "server_error"
    return {"error": {"message": message, "type": types.get(status, usual), "param": parameter, "code": kind}}


def tei_error(status: int, kind: str, message: str, parameter: str | None) -> Any:
    """Return an error as Text Embeddings Inference writes it."""
    return {"error": message, "error_type": _TEI_TYPES.get(kind, "Validation")}


def tei_failure(failure: Failure) -> Failure:
    """Return a failure with the status that Text Embeddings Inference gives it: 422 for what can't be understood."""
    status = 422 if failure.status == 400 and failure.kind == "validation" else failure.status
    return Failure(status, failure.kind, failure.message, failure.parameter, failure.retry_after)


def _parameter(error: Exception) -> str | None:
    """Return the field that an error is about, where its message begins with one."""
    if isinstance(error, FieldError):
        return error.field
    match = _PARAMETER.match(str(error))
    return match[1] if match else None
