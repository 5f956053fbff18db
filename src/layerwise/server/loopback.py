"""A page and the data behind it, for the browser of this machine alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from layerwise.errors import LayerwiseError, RequestError

HOST = "127.0.0.1"
Answer = Callable[[str, Mapping[str, str]], str]
"""(what is asked for, the query) -> JSON; raises LayerwiseError for what makes no sense."""


class Loopback:
    """Serves one page at `url`, and under `api/` what it asks for; nobody but this machine gets an answer.

    >>> with Loopback("<!doctype html>", lambda what, query: "{}") as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, page: str, answer: Answer, port: int = 0) -> None:
        """Take a port, a free one for 0.

        Raises:
            RequestError: the port is taken, or can't be had.
        """
        try:
            self._server = ThreadingHTTPServer(
                (HOST, port), _handler(page.encode("utf-8", "replace"), answer)
            )
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise RequestError(f"--port {port}: {why}; take another, or 0 for a free one") from None
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self._server.server_port}/"

    def serve(self) -> None:
        """Answer until interrupted, or closed from another thread."""
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Stop answering, and give the port back."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()


def _handler(page: bytes, answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "layerwise"
        sys_version = ""

        def do_GET(self) -> None:
            """Answer with the page, or with what it asks for."""
            # A page of another site may send its visitors' browsers here under a name of its own.
            port = cast(ThreadingHTTPServer, self.server).server_port
            if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
                return self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this page is for 127.0.0.1 alone\n")
            asked = urlsplit(self.path)
            if asked.path == "/":
                return self._send(HTTPStatus.OK, "text/html", page)
            if not asked.path.startswith("/api/"):
                return self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is nothing here\n")
            try:
                found = answer(asked.path.removeprefix("/api/"), dict(parse_qsl(asked.query)))
            except LayerwiseError as error:
                return self._send(
                    HTTPStatus.BAD_REQUEST, "text/plain", f"{error}\n".encode("utf-8", "replace")
                )
            return self._send(HTTPStatus.OK, "application/json", found.encode())

        def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: what is looked at is the user's own business."""

    return Handler
