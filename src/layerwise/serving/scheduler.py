"""One thread that runs the model: it takes chunks of the requests in the queue, as many as fit into a forward.

A request is admitted whole or refused whole. Requests in the queue get their turns in the order of arrival, and none more
than half of a forward while others wait. In a forward each text leaves at its own depth (`encode.chunks`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from layerwise._util.threads import limited
from layerwise.errors import LayerwiseError
from layerwise.serving.limits import QUEUE_SECONDS, Limits
from layerwise.serving.refusals import Abandoned, InferenceError, Overloaded, Unavailable
from layerwise.serving.work import Work, WorkChunk

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder

_Picked = tuple[Work, WorkChunk]
_RECENT = 5.0  # seconds after a forward for which the model counts as working


class Watcher(Protocol):
    """Is told what a scheduler does, for metrics."""

    def started(self, chunks: Sequence[WorkChunk]) -> None:
        """Chunks go into a forward."""

    def queued(self, change: int) -> None:
        """So many requests came into the queue, or left it."""


class Unwatched:
    """A watcher that does nothing."""

    def started(self, chunks: Sequence[WorkChunk]) -> None:
        """Do nothing."""

    def queued(self, change: int) -> None:
        """Do nothing."""


class Scheduler:
    """Runs admitted requests on one model, in a thread of its own."""

    def __init__(
        self,
        encoder: Encoder,
        limits: Limits,
        *,
        threads: int | None = None,
        watcher: Watcher | None = None,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        """Prepare a scheduler; `start` starts it.

        Args:
            encoder: the model.
            limits: how long requests wait, and how many tokens.
            threads: the number of threads to compute with.
            watcher: is told of each forward.
            turn: a lock that is held during a forward, for several models on one device.
        """
        self.encoder, self.limits = encoder, limits
        self._threads, self._watcher, self._turn = threads, watcher or Unwatched(), turn or nullcontext()
        self._change = threading.Condition()
        self._queue: list[Work] = []
        self._queued = 0
        self._stops = False
        self._speed = 0.0
        self._worked = 0.0
        self._probe: Work | None = None
        self._thread = threading.Thread(target=self._serve, name="layerwise-serve", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, patience: float | None = None) -> None:
        """Refuse new requests, finish those that were admitted, and end the thread; wait at most `patience` seconds."""
        with self._change:
            self._stops = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join(patience)

    @property
    def bound(self) -> int:
        """The number of tokens that the queue holds now."""
        if self.limits.queue_tokens is not None:
            return self.limits.queue_tokens
        return max(4 * self.limits.batch_tokens, int(self._speed * QUEUE_SECONDS))

    def check_room(self, tokens: int = 0) -> None:
        """Check that a request of so many tokens would be admitted now.

        Raises:
            Overloaded: the queue is full. An empty queue takes any request.
            Unavailable: the scheduler stops.
        """
        if self._stops:
            raise Unavailable("the server is stopping; send the request to another one")
        queued, bound = self._queued, self.bound
        if queued and queued + tokens > bound:
            raise Overloaded(
                f"{queued} tokens are in the queue, which holds {bound}"
                + (f", and the request has {tokens}" if tokens else "")
                + "; try again later",
                self._seconds(queued),
            )

    def submit(self, work: Work) -> None:
        """Put a request into the queue, whole.

        Raises:
            Overloaded, Unavailable: as of `check_room`; nothing of it is in the queue then.
        """
        with self._change:
            self.check_room(work.tokens)
            self._add(work, len(self._queue))

    def abandon(self, work: Work) -> None:
        """Drop what is left of a request whose client went away."""
        with self._change:
            work.is_abandoned = True
            self._drop()

    def works(self, make_probe: Callable[[], Work], seconds: float) -> bool:
        """Return whether the model works: a forward succeeded just now, or one of `make_probe` does within `seconds`."""
        if not self._thread.is_alive() or self._stops:
            return False
        if time.monotonic() - self._worked < _RECENT:
            return True
        with self._change:
            if self._probe is None or self._probe.is_over:
                self._probe = make_probe()
                self._add(self._probe, 0)
            probe = self._probe
        try:
            probe.future.result(seconds)
        except (TimeoutError, LayerwiseError):
            return False
        return True

    def _seconds(self, tokens: int) -> float:
        """Return the seconds after which the queue will have room."""
        return max(1.0, math.ceil(tokens / self._speed)) if self._speed else 1.0

    def _add(self, work: Work, place: int) -> None:
        self._queue.insert(place, work)
        self._queued += work.tokens
        self._watcher.queued(1)
        self._change.notify_all()

    def _serve(self) -> None:
        """Run forwards until the scheduler stops and the queue is empty."""
        with limited(self._threads):
            while picked := self._next():
                self._watcher.started([chunk for _, chunk in picked])
                self._forward(picked)

    def _next(self) -> list[_Picked]:
        """Wait for requests, and return the chunks of the next forward; none when the scheduler stops."""
        with self._change:
            while True:
                self._drop()
                if not self._queue and self._stops:
                    return []
                pause = self._pause()
                if pause is not None and pause <= 0:
                    return self._take()
                self._change.wait(pause)

    def _pause(self) -> float | None:
        """Return the seconds for which it is worth waiting for further requests; None without any request."""
        if not self._queue:
            return None
        if self._queued >= self.limits.batch_tokens or self._stops:
            return 0.0
        return self._queue[0].arrived + self.limits.max_wait - time.monotonic()

    def _drop(self) -> None:
        """Take requests out of the queue that are over, and refuse those that waited too long."""
        now = time.monotonic()
        for work in self._queue:
            if not work.started and now > work.deadline:
                waited = now - work.arrived
                work.fail(
                    Overloaded(
                        f"the request waited {waited:.0f} s in the queue; try again later",
                        self._seconds(self._queued),
                    )
                )
        over = [work for work in self._queue if work.is_over]
        if over:
            self._queued -= sum(chunk.tokens for work in over for chunk in work.waiting)
            self._keep([work for work in self._queue if not work.is_over])

    def _take(self) -> list[_Picked]:
        budget = self.limits.batch_tokens
        picked: list[_Picked] = []
        total = 0
        # In the first round each request gets half of the forward at most, in the second one what is left.
        for share in (budget // 2, budget):
            for work in self._queue:
                tokens = 0
                while work.waiting and (
                    not picked or max(tokens - share, total - budget) + work.waiting[0].tokens <= 0
                ):
                    chunk = work.take()
                    picked.append((work, chunk))
                    tokens, total = tokens + chunk.tokens, total + chunk.tokens
        self._queued -= total
        self._keep([work for work in self._queue if work.waiting])
        return picked

    def _keep(self, queue: list[Work]) -> None:
        self._watcher.queued(len(queue) - len(self._queue))
        self._queue = queue

    def _forward(self, picked: Sequence[_Picked]) -> None:
        """Run chunks together; if that fails, those of each request alone, so that no request fails for another."""
        began = time.monotonic()
        try:
            with self._turn:
                states = self.encoder.states_of_chunks(
                    [chunk.shards for _, chunk in picked],
                    self.limits.batch_tokens,
                    on_forward=lambda *_: self._progressed(picked),
                )
        except Abandoned:
            return
        except Exception as error:  # whatever a model raises: the server goes on
            self._alone(picked, error)
            return
        self._measure(sum(chunk.tokens for _, chunk in picked), time.monotonic() - began)
        for (work, chunk), states_of_views in zip(picked, states, strict=True):
            self._give(work, chunk, states_of_views)

    def _progressed(self, picked: Sequence[_Picked]) -> None:
        """Note that a forward succeeded; a long text takes several.

        Raises:
            Abandoned: all clients went away, so that the others aren't needed.
        """
        self._worked = time.monotonic()
        if all(work.is_over for work, _ in picked):
            raise Abandoned("all clients of these forwards went away; nothing is left to do")

    def _give(self, work: Work, chunk: WorkChunk, states: list) -> None:  # type: ignore[type-arg]
        try:
            work.give(chunk, states)
        except Exception as error:  # rows of several chunks that can't be joined
            work.fail(_failure(error))

    def _alone(self, picked: Sequence[_Picked], error: Exception) -> None:
        works = list(dict.fromkeys(work for work, _ in picked))
        if len(works) == 1:
            self._worked = 0.0
            works[0].fail(_failure(error))
            return
        for work in works:
            self._forward([(owner, chunk) for owner, chunk in picked if owner is work])

    def _measure(self, tokens: int, seconds: float) -> None:
        speed = tokens / max(seconds, 1e-6)
        self._speed = speed if not self._speed else 0.8 * self._speed + 0.2 * speed


def _failure(error: Exception) -> LayerwiseError:
    """Return the error of a request on which the model failed; the text of another library's error stays out of it."""
    if isinstance(error, LayerwiseError):
        return error
    return InferenceError(
        f"the model failed on this request ({type(error).__name__}); send shorter texts, or report it"
    )
