"""The bounds of a service: how long requests wait, and how much may be asked for and queued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerwise import choices
from layerwise.arguments import argument
from layerwise.errors import RequestError

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder

QUEUE_SECONDS = (
    4.0  # where the queue isn't bounded by the user: as many tokens as the model computes in this time
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of a service.

    Attributes:
        batch_tokens: the maximum number of tokens of a forward.
        max_wait: seconds that a request waits for others to share its forward, at most.
        queue_tokens: the maximum number of tokens in the queue; None for what the model computes in `QUEUE_SECONDS`.
        request_tokens: the maximum number of tokens of a request.
        cut_tokens: the same before texts are cut, where the request lets them be cut.
        texts: the maximum number of texts of a request.
        patience: seconds after which a request that is still in the queue is refused.
        answer_bytes: the maximum size of the vectors of a request.
        all_answer_bytes: the maximum size of the vectors of all requests that are being answered.
    """

    batch_tokens: int
    max_wait: float = 0.002
    queue_tokens: int | None = None
    request_tokens: int = 131_072
    cut_tokens: int = 524_288
    texts: int = 2048
    patience: float = 60.0
    answer_bytes: int = 256 * 2**20
    all_answer_bytes: int = 2**30


def limits_of(
    encoder: Encoder,
    batch_tokens: int | None = None,
    queue_tokens: int | None = None,
    max_wait_ms: float = 2.0,
) -> Limits:
    """Return checked limits; the arguments are those of `serve`.

    Raises:
        RequestError: an argument that is out of range.
    """
    budget = encoder.request("-1", prompt="", batch_tokens=batch_tokens).batch_tokens
    if queue_tokens is not None:
        choices.whole_number("queue_tokens", queue_tokens, 1)
    if not 0 <= max_wait_ms <= 10_000:
        raise RequestError(f"{argument('max_wait_ms', max_wait_ms)} is out of range; give 0 to 10000")
    return Limits(batch_tokens=budget, queue_tokens=queue_tokens, max_wait=max_wait_ms / 1000)
