"""Carry out requests beside the event loop: read and admit in threads, wait for the model, write the answer in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from layerwise.server.exchange import HttpRequest, Planned, PlanRequest, Reply
from layerwise.serving.asks import Ticket
from layerwise.serving.service import Service

T = TypeVar("T")
_THREADS = 4  # the rest of the processors' time belongs to the model


@dataclass(frozen=True)
class CompletedRequest:
    """A request whose reply is ready to be sent; its `ticket` is released afterwards."""

    reply: Reply
    ticket: Ticket[Any]
    is_batch: bool


class Runner:
    """Carries out the requests of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="layerwise-http")
        self._waiting = ThreadPoolExecutor(1, thread_name_prefix="layerwise-http-waiting")

    async def in_thread(self, function: Callable[[], T], *, waits: bool = False) -> T:
        """Return the result of a function that is called in a thread; those that wait for seconds have one of their own."""
        return await asyncio.wrap_future((self._waiting if waits else self._pool).submit(function))

    async def carry_out(
        self, plan: PlanRequest, call: HttpRequest, admitted: Callable[[bool], None]
    ) -> CompletedRequest:
        """Read a request, admit it, and return its answer; if this is cancelled, drop what is left of the request.

        Args:
            plan: reads and admits.
            call: the request.
            admitted: is told whether it is a batch, as soon as it was admitted.

        Raises:
            LayerwiseError: the request can't be carried out.
        """
        # At once, without waiting for a thread, and before the body is read.
        self._service.check_room()
        planning = self._pool.submit(plan, self._service, call)
        try:
            planned = await asyncio.wrap_future(planning)
        except asyncio.CancelledError:
            planning.add_done_callback(_dropped)
            raise
        admitted(planned.is_batch)
        ticket = planned.ticket
        try:
            states = await asyncio.wrap_future(ticket.work.future)
            reply = await self.in_thread(lambda: planned.write(ticket.finish(states)))
        except BaseException:
            _drop(ticket)
            raise
        return CompletedRequest(reply, ticket, planned.is_batch)

    def close(self) -> None:
        """End the threads."""
        for pool in (self._pool, self._waiting):
            pool.shutdown(wait=False, cancel_futures=True)


def _dropped(planning: Future[Planned]) -> None:
    """Drop a request that was admitted after its client had gone."""
    with suppress(BaseException):
        _drop(planning.result().ticket)


def _drop(ticket: Ticket[Any]) -> None:
    ticket.abandon()
    ticket.release()
