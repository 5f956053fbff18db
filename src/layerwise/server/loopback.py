"""Serve a page and its data over HTTP, only to browsers of this machine that know its random address."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl

from layerwise._util.paths import faults, reason
from layerwise.arguments import argument
from layerwise.errors import LayerwiseError, RequestError
from layerwise.server.origins import is_same_origin, names_this_machine

HOST = "127.0.0.1"
PATIENCE = 30.0  # seconds for a client to send a request, or to receive a part of the answer
Answer = Callable[[str, Mapping[str, str]], str]
"""(path under `api/`, query) -> JSON; raises LayerwiseError for an invalid request."""
_HEADERS = {
    "Cache-Control": "no-store",
    # The page itself limits what it may load; only a header can limit who may embed it.
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Loopback:
    """Serves one page at `url`, and the data that it requests under `api/`.

    Answers only requests from this machine that know `url`, which contains a random token.

    >>> with Loopback("<!doctype html>", lambda what, query: "{}") as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, page: str, answer: Answer, port: int = 0, patience: float = PATIENCE) -> None:
        """Open `port`, or a free one for 0; drop a client that is silent for `patience` seconds.

        Raises:
            RequestError: the port is in use, or isn't available.
        """
        self._token = secrets.token_urlsafe(24)
        handler = _handler(page.encode("utf-8", "replace"), answer, self._token, patience)
        try:
            self._server = _Server((HOST, port), handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise RequestError(
                f"{argument('port', port)}: {why}; give another, or 0 for a free one"
            ) from None

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self._server.server_port}/{self._token}/"

    def serve(self) -> None:
        """Answer requests until interrupted, or closed from another thread."""
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Stop answering, and release the port."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that disconnects in the middle of a request."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(page: bytes, answer: Answer, token: str, patience: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "layerwise"
        sys_version = ""
        timeout = patience

        def do_GET(self) -> None:
            """Answer with the page, or with the data that it requests."""
            port = cast(ThreadingHTTPServer, self.server).server_port
            host = self.headers.get("Host")
            if not names_this_machine(host, port) or not is_same_origin(self.headers.get("Origin"), host):
                return self._refuse(HTTPStatus.FORBIDDEN, "this page is only for 127.0.0.1")
            path, _, query = self.path.partition("?")
            sent_token, slash, rest = path.removeprefix("/").partition("/")
            if not slash or not secrets.compare_digest(sent_token.encode("utf-8", "replace"), token.encode()):
                return self._refuse(
                    HTTPStatus.FORBIDDEN, "the address isn't complete; open the one that layerwise printed"
                )
            if not rest:
                return self._send(HTTPStatus.OK, "text/html", page)
            if not rest.startswith("api/"):
                return self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
            try:
                body = answer(rest.removeprefix("api/"), dict(parse_qsl(query)))
            except LayerwiseError as error:
                return self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            except faults() as error:
                return self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, reason(error))
            return self._send(HTTPStatus.OK, "application/json", body.encode())

        def _refuse(self, status: HTTPStatus, why: str) -> None:
            self._send(status, "text/plain", f"{why}\n".encode("utf-8", "replace"))

        def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def end_headers(self) -> None:
            """Add our headers to every answer, also to the error pages of the library."""
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: what the user looks at is private."""

    return Handler
