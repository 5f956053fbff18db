"""A server in this process, on a port of its own, for tests that speak HTTP with it."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from layerwise.server.guard import Bounds
from layerwise.server.metrics import Metrics
from layerwise.server.run import HttpServer
from layerwise.serving.limits import Limits
from layerwise.serving.service import Service
from waiting import SECONDS, ended, until

KEY = "a-key-of-the-tests"


class Served:
    """A running server.

    Attributes:
        service, metrics, http: its parts.
        client: an httpx client for it.
    """

    def __init__(self, service: Service, metrics: Metrics, http: HttpServer) -> None:
        self.service, self.metrics, self.http = service, metrics, http
        self.port = http._socket.getsockname()[1]
        self.client = httpx.Client(base_url=http.url, timeout=SECONDS)

    def post(self, path: str, **fields: Any) -> httpx.Response:
        return self.client.post(path, json=fields)

    def raw(self, sent: bytes, seconds: float = SECONDS) -> bytes:
        """What the server answers to some bytes, until it closes the connection."""
        with self.connected(seconds) as connection:
            connection.sendall(sent)
            received = b""
            while part := connection.recv(65536):
                received += part
            return received

    def connected(self, seconds: float = SECONDS) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def failures(self) -> dict[str, float]:
        """How many requests failed, by kind."""
        return {
            labels[3]: float(count)
            for labels, count in self.metrics._counts._counts.items()
            if labels[0] == "te_request_failure"
        }


@contextmanager
def serving(
    encoders: Sequence[Any],
    heads: Sequence[Any] = (),
    *,
    transform: Any = None,
    limits: Limits | None = None,
    bounds: Bounds | None = None,
    **options: Any,
) -> Iterator[Served]:
    """Serve models and heads until the end of the block."""
    metrics = Metrics()
    service = Service(encoders, heads, transform=transform, limits=limits, watcher=metrics)
    options = {"host": "127.0.0.1", "port": 0, **options}
    http = HttpServer(service, metrics, bounds=bounds, **options)
    thread = threading.Thread(target=http.run, name="server")
    thread.start()
    served = Served(service, metrics, http)
    try:
        until(lambda: http._server.started, "the server")
        yield served
    finally:
        served.client.close()
        http.stop()
        ended(thread)
