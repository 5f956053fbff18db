"""Run a service over HTTP until it is stopped: the only module that knows uvicorn."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import Collection
from types import FrameType
from typing import Any

from layerwise._util.open_files import raise_limit
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.server.failures import openai_error
from layerwise.server.guard import Access, Bounds
from layerwise.server.metrics import Metrics
from layerwise.server.web import application
from layerwise.serving.service import Service

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError:
    raise RequestError(
        "serving needs uvicorn, which isn't installed; pip install 'layerwise[serve]'"
    ) from None

_BACKLOG = 2048
_GRACE = 60  # seconds for requests that were admitted, when the server stops
_BODY = json.dumps(openai_error(400, "no_http", "this is no valid HTTP request", None)).encode()
_NO_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class HttpServer:
    """Answers the requests of a service on one address.

    Attributes:
        url: the address.
    """

    def __init__(
        self,
        service: Service,
        metrics: Metrics,
        *,
        host: str,
        port: int,
        key: str | None = None,
        hosts: Collection[str] = (),
        bounds: Bounds | None = None,
    ) -> None:
        """Open the port.

        Args:
            service: the models and heads.
            metrics: counts requests; the watcher of the service.
            host, port: the address; port 0 for a free one.
            key: the key that requests need; without one the address must be this machine's own.
            hosts: names that requests may send in `Host` besides those of this machine.
            bounds: the bounds of connections.

        Raises:
            RequestError: the address isn't available, or needs a key.
        """
        self._service = service
        self._socket, is_local = _opened(host, port)
        if not is_local and key is None:
            self._socket.close()
            raise RequestError(
                f"{argument('host', host)} can be reached from other machines, and anyone there could send requests; give "
                f"{argument('api_key')} too, or use 127.0.0.1"
            )
        port = self._socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{port}/"
        bounds = bounds or Bounds()
        access = Access(port=port, is_local=is_local, hosts=hosts, key=key)
        self._server = _Uvicorn(_config(application(service, metrics, access, bounds), bounds))

    def run(self) -> None:
        """Answer requests until SIGINT, SIGTERM or `stop`; requests that were admitted are finished."""
        raise_limit()
        self._service.start()
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._service.stop(_GRACE)
            self._socket.close()

    def stop(self) -> None:
        """Let `run` return; from any thread."""
        self._server.should_exit = True


def _config(app: Any, bounds: Bounds) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_protocol(bounds.silence),
        ws="none",
        loop="asyncio",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="critical",  # its messages name paths, which may hold text
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=max(1, int(bounds.silence)),
        timeout_graceful_shutdown=_GRACE,
    )


class _Uvicorn(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully at the first signal, and at once at a second one. The signal isn't raised again."""
        self.force_exit = self.should_exit
        self.should_exit = True


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that closes connections on which no whole request arrives in time, and those whose answers aren't read.

    Attributes:
        silence: seconds for a request to arrive, and for a client to read the rest of an answer.
    """

    silence = 30.0
    _timer: asyncio.TimerHandle | None = None
    _was_closing = False

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what a client sends; what breaks the protocol ends the connection."""
        try:
            super().data_received(data)
        except Exception:
            self.transport.abort()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with the JSON of an error, unless an answer has begun, and close."""
        if not self._is_answering() or not self.cycle.response_started:
            self.transport.write(_NO_HTTP)
        self.transport.close()

    def _wait(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(self.silence, self._close_if_idle)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_if_idle(self) -> None:
        """Close a connection on which nothing happens; one that is closing keeps what its client didn't read, so abort it."""
        if self._was_closing:
            self.transport.abort()
            return
        if not self._is_answering():
            self.transport.close()
        self._was_closing = self.transport.is_closing()
        self._wait()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        return cycle is not None and not cycle.response_complete


def _protocol(seconds: float) -> type[PatientProtocol]:
    class Protocol(PatientProtocol):
        silence = seconds

    return Protocol


def _opened(host: str, port: int) -> tuple[socket.socket, bool]:
    """Return a bound socket, and whether its address is one of this machine alone.

    Raises:
        RequestError: the address can't be bound.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, number)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(
                _BACKLOG
            )  # who reads the address can connect at once, and waits for the server to begin
        except BaseException:
            bound.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise RequestError(
            f"{argument('host', host)} {argument('port', port)}: {why}; give another port, or 0 for a free one"
        ) from None
    return bound, ipaddress.ip_address(str(bound.getsockname()[0])).is_loopback
