"""The application: routes, and how requests are read and answered. The only module that knows starlette."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from layerwise.errors import RequestError
from layerwise.server import info_routes, layer_routes, openai_routes, tei_routes
from layerwise.server.exchange import JSON, Dialect, HttpRequest, InferenceRoute, PlainRoute, Reply
from layerwise.server.failures import Failure, Refusal, failure_of, openai_error, tei_error, tei_failure
from layerwise.server.guard import Access, Bounds, check_encoding, check_length, too_large
from layerwise.server.metrics import Metrics
from layerwise.server.runner import CompletedRequest, Runner
from layerwise.serving.service import Service

try:
    from starlette.applications import Starlette
    from starlette.datastructures import Headers
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send
except ImportError:
    raise RequestError(
        "serving needs starlette, which isn't installed; pip install 'layerwise[serve]'"
    ) from None

FIELDS = frozenset((*layer_routes.FIELDS, *openai_routes.FIELDS, *tei_routes.FIELDS))
"""The fields that requests may have."""
_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_END = b""
_SMALL_BODY = 1024  # bytes, of requests that need none


class Endpoint:
    """One route as an ASGI application."""

    def __init__(self, route: InferenceRoute | PlainRoute, server: ServerState) -> None:
        self._route, self._server = route, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever it is; a client that goes away gets no answer."""
        request = Request(scope, receive)
        began = time.monotonic()
        self._server.running += 1
        try:
            await self._answer(request, began, send)
        except ClientDisconnect:
            self._server.metrics.failed("abandoned")
        except TimeoutError:  # the client doesn't read its answer
            self._server.metrics.failed("slow_client")
        except Exception as error:
            await self._fail(error, send)
        finally:
            self._server.running -= 1

    async def _answer(self, request: Request, began: float, send: Send) -> None:
        server, route = self._server, self._route
        headers = _joined(request.headers)
        server.access.check_host(headers)
        if not (isinstance(route, PlainRoute) and route.is_open):
            server.access.check_key(headers)
        is_small = isinstance(route, PlainRoute) and "POST" not in route.methods
        if not is_small:  # health and metrics are told also when the server is busy
            server.check_requests()
        most = _SMALL_BODY if is_small else server.bounds.body
        call = HttpRequest(request.path_params, headers, await self._body(request, most))
        if isinstance(route, PlainRoute):
            respond = route.respond
            reply = await server.runner.in_thread(lambda: respond(server.service, call), waits=route.waits)
            await self._send(reply, send)
            return
        carried = await _unless_gone(
            request, server.runner.carry_out(route.plan, call, server.metrics.admitted)
        )
        try:
            await self._send(carried.reply, send, _times(carried, began))
            server.metrics.succeeded(carried.ticket.work, time.monotonic() - began, carried.is_batch)
        finally:
            carried.ticket.release()

    async def _body(self, request: Request, most: int) -> bytes:
        """Return the body of a request, of at most `most` bytes.

        Raises:
            Refusal: it is too large, compressed, or doesn't come in time.
        """
        bounds = self._server.bounds
        check_encoding(request.headers)
        check_length(request.headers, most)
        parts = bytearray()
        try:
            async with asyncio.timeout(bounds.reading):
                stream = request.stream()
                while True:
                    part = await asyncio.wait_for(anext(stream, _END), bounds.silence)
                    if part == _END:
                        return bytes(parts)
                    parts += part
                    if len(parts) > most:
                        raise too_large(most)
        except TimeoutError:
            raise Refusal(408, "timeout", "the body didn't come in time; send it faster") from None

    async def _fail(self, error: Exception, send: Send) -> None:
        failure = failure_of(error)
        is_tei = self._route.dialect is tei_error
        failure = tei_failure(failure) if is_tei else failure
        self._server.metrics.failed(failure.kind)
        with suppress(TimeoutError, ClientDisconnect, RuntimeError):  # the answer had begun
            await self._send(error_reply(failure, self._route.dialect), send)

    async def _send(self, reply: Reply, send: Send, headers: Mapping[str, str] | None = None) -> None:
        """Send a reply part by part; each must be received in time.

        Raises:
            TimeoutError: the client doesn't read.
        """
        silence = self._server.bounds.silence
        response = Response(
            status_code=reply.status, headers={**_HEADERS, **reply.headers, **(headers or {})}
        )
        response.headers["content-type"] = reply.kind
        if reply.size is None:
            del response.headers["content-length"]
        else:
            response.headers["content-length"] = str(reply.size)
        start = {"type": "http.response.start", "status": reply.status, "headers": response.raw_headers}
        await asyncio.wait_for(send(start), silence)
        parts = iter(reply.body)
        while True:
            part = (
                await self._server.runner.in_thread(lambda: next(parts, _END))
                if reply.size is None
                else next(parts, _END)
            )
            if part == _END:
                break
            body = {"type": "http.response.body", "body": part, "more_body": True}
            await asyncio.wait_for(send(body), silence)
        await asyncio.wait_for(send({"type": "http.response.body", "body": b"", "more_body": False}), silence)


class ServerState:
    """What the routes of one server share.

    Attributes:
        running: the number of requests that are being answered.
    """

    def __init__(self, service: Service, metrics: Metrics, access: Access, bounds: Bounds) -> None:
        self.service, self.metrics, self.access, self.bounds = service, metrics, access, bounds
        self.runner = Runner(service)
        self.running = 0

    def check_requests(self) -> None:
        """Check that there is room for one more request.

        Raises:
            Refusal: there are as many as there may be.
        """
        if self.running > self.bounds.requests:
            raise Refusal(
                429, "overloaded", f"{self.bounds.requests} requests are being answered; try again later"
            )


def application(service: Service, metrics: Metrics, access: Access, bounds: Bounds | None = None) -> ASGIApp:
    """Return the application that answers the requests of a service.

    Args:
        service: the models and heads; started by whoever runs the application.
        metrics: counts requests; the watcher of the service.
        access: who may send requests.
        bounds: the bounds of connections.
    """
    server = ServerState(service, metrics, access, bounds or Bounds())
    routes: list[InferenceRoute | PlainRoute] = [
        *openai_routes.ROUTES,
        *tei_routes.ROUTES,
        *layer_routes.ROUTES,
        *info_routes.routes(metrics.text),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        yield
        server.runner.close()

    app = Starlette(
        routes=[_route(route, server) for route in routes],
        lifespan=lifespan,
        exception_handlers={HTTPException: partial(_no_route, access)},
    )
    app.router.redirect_slashes = False
    return app


def error_reply(failure: Failure, dialect: Dialect) -> Reply:
    """Return the reply of a failed request in the words of its protocol."""
    value = dialect(failure.status, failure.kind, failure.message, failure.parameter)
    headers = {} if failure.retry_after is None else {"retry-after": str(round(failure.retry_after))}
    if failure.status == 401:
        headers["www-authenticate"] = "Bearer"
    if failure.status == 429:
        headers.setdefault("retry-after", "1")
    body = json.dumps(value).encode()
    return Reply([body], JSON, failure.status, headers, len(body))


def _route(route: InferenceRoute | PlainRoute, server: ServerState) -> Route:
    methods = ["POST"] if isinstance(route, InferenceRoute) else list(route.methods)
    return Route(route.path, Endpoint(route, server), methods=methods)


async def _no_route(access: Access, request: Request, error: Exception) -> Response:
    """Answer a request for a path or a method that doesn't exist."""
    try:
        access.check_host(request.headers)
        access.check_key(request.headers)
    except Refusal as refusal:
        value = openai_error(refusal.status, refusal.kind, refusal.message, None)
        return Response(json.dumps(value), refusal.status, _HEADERS, JSON)
    status = error.status_code if isinstance(error, HTTPException) else 404
    messages = {404: "there is no such path; / lists them", 405: "the path has no such method; / lists them"}
    value = openai_error(status, "not_found", messages.get(status, "the request can't be answered"), None)
    headers = dict(_HEADERS)
    if isinstance(error, HTTPException) and error.headers:
        headers.update(error.headers)
    return Response(json.dumps(value), status, headers, JSON)


async def _unless_gone(request: Request, answer: Any) -> CompletedRequest:
    """Return the result of a coroutine, or cancel it when the client goes away.

    Raises:
        ClientDisconnect: the client went away.
    """
    answering = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            return answering.result()  # type: ignore[no-any-return]
        raise ClientDisconnect
    finally:
        for task in (leaving, answering):
            task.cancel()


def _joined(headers: Headers) -> dict[str, str]:
    """Return headers by name: the first of several lines, but all of `Accept`, which is a list."""
    return {
        **dict(headers),
        **({"accept": ", ".join(headers.getlist("accept"))} if "accept" in headers else {}),
    }


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _times(carried: CompletedRequest, began: float) -> dict[str, str]:
    """Return headers with the milliseconds of a request, under the names of Text Embeddings Inference."""
    work = carried.ticket.work
    seconds = {
        "x-total-time": time.monotonic() - began,
        "x-queue-time": work.started - work.arrived,
        "x-inference-time": work.finished - work.started,
    }
    return {name: str(round(1000 * value)) for name, value in seconds.items()}
