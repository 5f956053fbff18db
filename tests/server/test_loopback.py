"""The server behind `explore`: for this machine and whoever knows the address, and never a traceback."""

import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping

import pytest

from layerwise.errors import RequestError
from layerwise.server.loopback import Loopback
from waiting import SECONDS, ended, until


def answer(what: str, query: Mapping[str, str]) -> str:
    if what == "echo":
        return json.dumps(dict(query))
    if what == "gone":
        raise FileNotFoundError(2, "No such file or directory", "rows")
    raise RequestError(f"there is no {what!r} here")


@pytest.fixture
def patience() -> float:
    return SECONDS


@pytest.fixture
def server(patience: float) -> Iterator[Loopback]:
    with Loopback("<!doctype html>\ud800天", answer, patience=patience) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server
        server.close()
        ended(thread)


def port_of(server: Loopback) -> int:
    return int(server.url.split(":")[2].split("/")[0])


def token_of(server: Loopback) -> str:
    return server.url.split("/")[3]


def asked(
    server: Loopback, path: str, host: str | None = None, method: str = "GET"
) -> tuple[http.client.HTTPResponse, str]:
    """What the server answers to a path of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=SECONDS)
    connection.request(method, path, headers={"Host": host} if host else {})
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    return reply, body


def get(server: Loopback, path: str, host: str | None = None) -> tuple[int, str, str]:
    """What the server answers to a path under its address."""
    reply, body = asked(server, f"/{token_of(server)}/{path}", host)
    return reply.status, reply.headers["Content-Type"], body


def said(server: Loopback, sent: bytes) -> bytes:
    """What the server sends to whoever sends these bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port_of(server)), SECONDS) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


def test_page_and_data(server: Loopback) -> None:
    assert get(server, "") == (200, "text/html; charset=utf-8", "<!doctype html>?天")
    status, kind, body = get(server, "api/echo?q=%22%3Cb%3E+%E5%A4%A9&k=1")
    assert (status, kind) == (200, "application/json; charset=utf-8")
    assert json.loads(body) == {"q": '"<b> 天', "k": "1"}


def test_what_makes_no_sense(server: Loopback) -> None:
    assert get(server, "api/nonsense") == (400, "text/plain; charset=utf-8", "there is no 'nonsense' here\n")
    assert get(server, "api/gone") == (500, "text/plain; charset=utf-8", "No such file or directory\n")
    assert get(server, "../etc/passwd")[0] == 404
    assert get(server, "favicon.ico")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1:1"])
def test_other_names_get_nothing(server: Loopback, host: str) -> None:
    assert get(server, "", host)[0] == 403
    assert get(server, "api/echo?q=1", host)[0] == 403


def test_localhost_is_this_machine(server: Loopback) -> None:
    assert get(server, "", f"localhost:{port_of(server)}")[0] == 200


def test_who_does_not_know_the_token_gets_nothing(server: Loopback) -> None:
    token = token_of(server)
    assert len(token) >= 32
    other = "A" * len(token)
    for path in (
        "/",
        "/api/echo?q=1",
        f"/{other}/",
        f"/{token[:-1]}/api/echo",
        f"/{token}",
        f"/?{token}",
        "/天/",
    ):
        reply, body = asked(server, path.replace("天", "%E5%A4%A9"))
        assert reply.status == 403, path
        assert body == "the address isn't complete; open the one that layerwise printed\n"
    with Loopback("", answer) as another:
        assert token_of(another) != token


def test_what_goes_with_every_answer(server: Loopback) -> None:
    token = token_of(server)
    wanted = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    for path in (f"/{token}/", f"/{token}/api/echo", f"/{token}/api/nonsense", f"/{token}/nothing", "/"):
        reply, _ = asked(server, path)
        assert wanted.items() <= dict(reply.headers).items(), path
    reply, _ = asked(server, f"/{token}/", method="POST")
    assert reply.status == 501
    assert wanted.items() <= dict(reply.headers).items()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET http://[ HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"GET /TOKEN/api/echo?q=%zz&&&=;%ff HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"",
        b"GE",
    ],
)
def test_what_is_no_request_is_answered_or_dropped(
    sent: bytes, server: Loopback, capfd: pytest.CaptureFixture[str]
) -> None:
    here = sent.replace(b"PORT", str(port_of(server)).encode()).replace(b"TOKEN", token_of(server).encode())
    reply = said(server, here)
    assert reply == b"" or re.search(rb"^HTTP/1\.1 [245]|Error code: [45]", reply)
    assert get(server, "")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_client_that_resets_its_connection_is_no_fault(
    server: Loopback, capfd: pytest.CaptureFixture[str]
) -> None:
    threads = threading.active_count()
    for sent in (b"", b"GET / HT", f"GET /{token_of(server)}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()):
        with socket.create_connection(("127.0.0.1", port_of(server)), SECONDS) as client:
            client.sendall(sent)
            until(lambda: threading.active_count() > threads, "the connection to be taken")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: threading.active_count() == threads, "the end of its thread")
    assert capfd.readouterr().err == ""


class TestOfLittlePatience:
    @pytest.fixture
    def patience(self) -> float:
        return 0.05

    def test_a_client_that_says_nothing_is_let_go(
        self, server: Loopback, capfd: pytest.CaptureFixture[str]
    ) -> None:
        threads = threading.active_count()
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: 127"):
            with socket.create_connection(("127.0.0.1", port_of(server)), SECONDS) as client:
                client.sendall(sent)
                assert client.recv(1) == b"", "the server closes the connection"
        until(lambda: threading.active_count() == threads, "the end of its thread")
        assert capfd.readouterr().err == ""


def test_a_port_that_is_taken(server: Loopback) -> None:
    port = port_of(server)
    with pytest.raises(RequestError, match=f"port={port}: .*give another"):
        Loopback("", answer, port)
    with pytest.raises(RequestError, match="port=99999"):
        Loopback("", answer, 99999)
