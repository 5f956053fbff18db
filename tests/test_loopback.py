"""The server behind `explore`: for this machine alone, and never a traceback."""

import http.client
import json
import threading
from collections.abc import Iterator, Mapping

import pytest

from layerwise.errors import RequestError
from layerwise.server.loopback import Loopback
from waiting import SECONDS, ended


def answer(what: str, query: Mapping[str, str]) -> str:
    if what == "echo":
        return json.dumps(dict(query))
    raise RequestError(f"there is no {what!r} here")


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback("<!doctype html>\ud800天", answer) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server
        server.close()
        ended(thread)


def get(server: Loopback, path: str, host: str | None = None) -> tuple[int, str, str]:
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request("GET", path, headers={"Host": host} if host else {})
    reply = connection.getresponse()
    found = reply.status, reply.headers["Content-Type"], reply.read().decode()
    connection.close()
    return found


def test_page_and_data(server: Loopback) -> None:
    assert get(server, "/") == (200, "text/html; charset=utf-8", "<!doctype html>?天")
    status, kind, body = get(server, "/api/echo?q=%22%3Cb%3E+%E5%A4%A9&k=1")
    assert (status, kind) == (200, "application/json; charset=utf-8")
    assert json.loads(body) == {"q": '"<b> 天', "k": "1"}


def test_what_makes_no_sense(server: Loopback) -> None:
    assert get(server, "/api/nonsense") == (400, "text/plain; charset=utf-8", "there is no 'nonsense' here\n")
    assert get(server, "/../etc/passwd")[0] == 404
    assert get(server, "/favicon.ico")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1:1"])
def test_other_names_get_nothing(server: Loopback, host: str) -> None:
    assert get(server, "/", host)[0] == 403
    assert get(server, "/api/echo?q=1", host)[0] == 403


def test_localhost_is_this_machine(server: Loopback) -> None:
    port = server.url.rsplit(":", 1)[1].strip("/")
    assert get(server, "/", f"localhost:{port}")[0] == 200


def test_a_port_that_is_taken(server: Loopback) -> None:
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(RequestError, match=f"--port {port}: .*take another"):
        Loopback("", answer, port)
    with pytest.raises(RequestError, match="--port 99999"):
        Loopback("", answer, 99999)
