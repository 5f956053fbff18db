"""Who may send requests, and how large they may be: hosts, origins, keys, bodies, and clients that are slow or silent."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from layerwise.errors import RequestError
from layerwise.server.failures import Refusal
from layerwise.server.guard import Access, Bounds
from layerwise.server.metrics import Metrics
from layerwise.server.run import HttpServer
from layerwise.serving.asks import EncodeAsk
from layerwise.serving.limits import Limits
from layerwise.serving.service import Service
from serving_client import KEY, Served, serving
from waiting import until

LIMITS = Limits(batch_tokens=256)
POSTED = b'{"input": "a"}'


def request(
    path: bytes = b"/v1/embeddings", body: bytes = POSTED, *headers: bytes, host: bytes = b""
) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: %b" % (host or b"127.0.0.1"), b"Connection: close"]
    lines += [b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def error(answer: bytes) -> str:
    message = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("127.0.0.1:PORT", 200),
        ("localhost:PORT", 200),
        ("[::1]:PORT", 200),
        ("127.0.0.1", 403),
        ("evil.example:PORT", 403),
        ("localhost.evil.example:PORT", 403),
        ("localhost:1", 403),
        ("", 403),
    ],
)
def test_a_foreign_host_is_refused(served: Served, host: str, answered: int) -> None:
    sent = host.replace("PORT", str(served.port)).encode() or b"x"
    for path in (b"/v1/embeddings", b"/health", b"/", b"/nothing"):
        method = b"POST" if path == b"/v1/embeddings" else b"GET"
        answer = served.raw(request(path, host=sent).replace(b"POST", method, 1))
        expected = 404 if answered == 200 and path == b"/nothing" else answered
        assert status(answer) == expected, (path, answer)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://[", ""])
def test_a_foreign_origin_is_refused(served: Served, origin: str) -> None:
    response = served.client.post("/v1/embeddings", content=POSTED, headers={"Origin": origin})
    assert response.status_code == 403
    own = f"http://127.0.0.1:{served.port}"
    assert served.client.post("/v1/embeddings", content=POSTED, headers={"Origin": own}).status_code == 200


def test_names_of_a_proxy_can_be_allowed() -> None:
    access = Access(port=8000, is_local=True, hosts=["vectors.example"])
    for host in ("vectors.example", "vectors.example:443", "localhost:8000"):
        access.check_host({"host": host})
    with pytest.raises(Refusal, match=r"--allow-host"):
        access.check_host({"host": "other.example"})
    Access(port=8000, is_local=False, key=KEY).check_host({"host": "any.example"})
    with pytest.raises(Refusal, match=r"--allow-host"):
        Access(port=8000, is_local=False, key=KEY, hosts=["a.example"]).check_host({"host": "any.example"})


@pytest.fixture(scope="module")
def locked(encoder_of: Callable[[str], Any]) -> Iterator[Served]:
    with serving([encoder_of("bert")], key=KEY) as served:
        yield served


@pytest.mark.parametrize("path", ["/v1/models", "/info", "/metrics", "/nothing"])
@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xff"]
)
def test_a_key_is_needed(locked: Served, path: str, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    response = locked.client.get(path, headers=headers)
    assert response.status_code == 401
    assert KEY not in response.text
    right = locked.client.get(path, headers={"Authorization": f"bearer {KEY}"})
    assert right.status_code == (404 if path == "/nothing" else 200)


def test_health_and_the_page_need_no_key(locked: Served) -> None:
    assert locked.client.get("/health").json() == {"status": "ok"}
    assert locked.client.get("/").status_code == 200
    assert locked.post("/v1/embeddings", input="a").status_code == 401


def test_an_address_that_others_reach_needs_a_key(encoder_of: Callable[[str], Any]) -> None:
    service = Service([encoder_of("bert")])
    with pytest.raises(RequestError, match=r"can be reached from other machines.*api_key"):
        HttpServer(service, Metrics(), host="0.0.0.0", port=0)
    http = HttpServer(service, Metrics(), host="0.0.0.0", port=0, key=KEY)
    http._socket.close()


def test_an_address_that_is_not_available_is_refused(
    served: Served, encoder_of: Callable[[str], Any]
) -> None:
    service = Service([encoder_of("bert")])
    for host, port in (("127.0.0.1", served.port), ("no.such.host.invalid", 0), ("203.0.113.7", 0)):
        with pytest.raises(RequestError, match="give another port, or 0"):
            HttpServer(service, Metrics(), host=host, port=port, key=KEY)


# --- sizes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(encoder_of: Callable[[str], Any]) -> Iterator[Served]:
    """A server with small bounds."""
    bounds = Bounds(body=2000, requests=3, silence=0.5, reading=2.0)
    with serving([encoder_of("bert")], bounds=bounds, limits=LIMITS) as served:
        yield served


def test_a_body_that_is_too_large_is_refused(narrow: Served) -> None:
    host = b"127.0.0.1:%d" % narrow.port
    large = b'{"input": "%b"}' % (b"a" * 3000)
    answer = narrow.raw(request(body=large, host=host))
    assert status(answer) == 413
    assert "more than 2000 bytes" in error(answer)
    # Also where its size isn't stated, and where it is stated and never sent.
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(large), large)
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n" % host
    assert status(narrow.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked)) == 413
    assert status(narrow.raw(head + b"Content-Length: 99999999999999999999\r\n\r\n")) in (400, 413)


def test_a_compressed_body_is_refused(served: Served) -> None:
    response = served.client.post("/v1/embeddings", content=b"x", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415


def test_a_body_that_does_not_come_is_refused(narrow: Served) -> None:
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 14\r\n\r\n{" % narrow.port
    answer = narrow.raw(head)
    assert status(answer) == 408
    assert "didn't come in time" in error(answer)


def test_a_client_that_sends_nothing_or_half_a_head_is_disconnected(narrow: Served) -> None:
    assert narrow.raw(b"") == b""
    assert narrow.raw(b"POST /v1/embeddings HTTP/1.1\r\nHost:") == b""


def test_a_thousand_connections_that_send_nothing_hinder_nobody(served: Served) -> None:
    connections: list[socket.socket] = []
    try:
        connections = [served.connected() for _ in range(1000)]
        for _ in range(3):
            assert served.post("/v1/embeddings", input="a").status_code == 200
    finally:
        for connection in connections:
            connection.close()


def test_what_is_no_http_is_refused(served: Served) -> None:
    for sent in (
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
    ):
        answer = served.raw(sent + b"\r\n\r\n")
        assert status(answer) == 400
        assert error(answer) == "this is no valid HTTP request"


def test_a_head_that_is_too_large_is_refused(served: Served) -> None:
    with served.connected() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
        assert status(connection.recv(65536)) == 400


# --- overload, and clients that go away -------------------------------------------------------------------


def hold(served: Served, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let the model wait for an event."""
    return hold_begun(served, monkeypatch)[1]


def hold_begun(served: Served, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let the model wait for the second event; the first is set when a forward waits."""
    begun, going_on = threading.Event(), threading.Event()
    engine = served.service.first.encoder._engine
    run = engine.run

    def waiting(*arguments: Any) -> None:
        begun.set()
        going_on.wait()
        run(*arguments)

    monkeypatch.setattr(engine, "run", waiting)
    return begun, going_on


@pytest.fixture
def small_queue(encoder_of: Callable[[str], Any]) -> Iterator[Served]:
    with serving([encoder_of("bert")], limits=replace(LIMITS, queue_tokens=100)) as served:
        yield served


def post_in_thread(served: Served, answers: list[httpx.Response], **fields: Any) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(served.post("/v1/embeddings", **fields)))
    thread.start()
    return thread


def test_a_full_queue_answers_429_and_finishes_what_it_admitted(
    small_queue: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, going_on = hold_begun(small_queue, monkeypatch)
    scheduler = small_queue.service.first.scheduler
    answers: list[httpx.Response] = []
    threads = [post_in_thread(small_queue, answers, input="a")]
    until(begun.is_set, "a forward")
    threads.append(post_in_thread(small_queue, answers, input=["word " * 50] * 2))
    until(lambda: scheduler._queued > 90, "a full queue")
    refused = small_queue.post("/v1/embeddings", input="word " * 50)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"
    tei = small_queue.post("/embed", inputs="word " * 50)
    assert (tei.status_code, tei.json()["error_type"]) == (429, "Overloaded")
    going_on.set()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert small_queue.failures()["overloaded"] == 2


def test_there_are_not_more_requests_than_allowed(narrow: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    going_on = hold(narrow, monkeypatch)
    answers: list[httpx.Response] = []
    threads = [post_in_thread(narrow, answers, input="a") for _ in range(6)]
    until(lambda: len(answers) == 3, "refusals")
    assert {answer.status_code for answer in answers} == {429}
    assert "3 requests are being answered" in answers[0].json()["error"]["message"]
    going_on.set()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 3


def test_the_work_of_clients_that_went_away_is_dropped(
    encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving([encoder_of("bert")], limits=LIMITS) as served:
        going_on = hold(served, monkeypatch)
        scheduler = served.service.first.scheduler
        answers: list[httpx.Response] = []
        first = post_in_thread(served, answers, input="a")
        until(lambda: b"te_batch_next_size_count 1.0" in served.metrics.text(), "a forward")
        connections = [served.connected() for _ in range(8)]
        body = json.dumps({"input": ["word " * 30] * 3}).encode()
        for connection in connections:
            connection.sendall(request(body=body, host=b"127.0.0.1:%d" % served.port))
        until(lambda: len(scheduler._queue) == 8, "eight requests in the queue")
        for connection in connections:
            connection.close()
        until(lambda: scheduler._queue == [] and scheduler._queued == 0, "an empty queue")
        going_on.set()
        first.join()
        assert answers[0].status_code == 200
        until(lambda: served.service.room.reserved == 0, "no memory kept")
        assert served.failures() == {"abandoned": 8}
        assert b"te_queue_size 0.0" in served.metrics.text()


def test_a_client_that_does_not_read_is_dropped(narrow: Served) -> None:
    texts = ["word " * 75] * 5
    body = json.dumps({"inputs": texts, "level": "token", "layers": "all"}).encode()
    assert len(body) < 2000
    with narrow.connected() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        # Pipelined, as one answer fits into the buffers of the system.
        head = b"POST /layers HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n\r\n" % (
            narrow.port,
            len(body),
        )
        connection.sendall((head + body) * 60)
        until(lambda: narrow.failures().get("slow_client"), "a slow client")
        until(lambda: narrow.service.room.reserved == 0, "no memory kept")
    assert narrow.post("/v1/embeddings", input="a").status_code == 200


def test_a_failure_inside_is_told_without_its_text(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise RuntimeError("the text was: secret")

    with monkeypatch.context() as broken:
        broken.setattr(served.service.first.encoder._engine, "run", failing)
        response = served.post("/v1/embeddings", input="a")
        assert response.status_code == 424
        assert "secret" not in response.text
        tei = served.post("/embed", inputs="a")
        assert (tei.status_code, tei.json()["error_type"]) == (424, "Backend")
        assert served.client.get("/health").status_code == 503
        assert served.client.get("/health").json()["error_type"] == "Unhealthy"
    assert served.client.get("/health").status_code == 200


def test_nothing_of_texts_is_logged(
    served: Served, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    for path in ("/v1/embeddings", "/layers", "/predict/secret", "/secret?q=secret"):
        served.post(path, input="secret", inputs="secret")
        served.client.get(path)
    served.raw(b"secret\r\n\r\n")
    time.sleep(0.05)
    out, err = capfd.readouterr()
    logged = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert "secret" not in out + err + "".join(record.getMessage() for record in logged)


def test_a_stop_finishes_what_was_admitted(
    encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[httpx.Response] = []
    with serving([encoder_of("bert")], limits=LIMITS) as served:
        begun, going_on = hold_begun(served, monkeypatch)
        threads = [post_in_thread(served, answers, input=["word " * 20] * 3)]
        until(begun.is_set, "a forward of one request")
        threads += [post_in_thread(served, answers, input=["word " * 20] * 3) for _ in range(4)]
        until(lambda: len(served.service.first.scheduler._queue) >= 4, "requests in the queue")
        idle = served.connected()
        served.http.stop()
        until(lambda: not _accepts(served), "the end of listening")
        going_on.set()
        for thread in threads:
            thread.join()
    idle.close()
    assert [answer.status_code for answer in answers] == [200] * 5
    assert all(len(answer.json()["data"]) == 3 for answer in answers)
    ticket_after = served.service.first
    with pytest.raises(Exception, match="stopping"):
        ticket_after.encode(["a"], EncodeAsk())


def _accepts(served: Served) -> bool:
    try:
        served.connected(1).close()
    except OSError:
        return False
    return True
