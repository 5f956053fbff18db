"""Requests that are valid HTTP but unusual, very large, or never read to their end."""

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from test_guard import hold_begun, post_in_thread

from layerwise.encode.encoder import Encoder
from layerwise.server.guard import Bounds
from layerwise.serving.limits import Limits
from layerwise.serving.tokens import check_text_tokens
from serving_client import KEY, Served, serving
from waiting import until

LIMITS = Limits(batch_tokens=256, request_tokens=600, cut_tokens=1200)
BOUNDS = Bounds(requests=2, silence=0.3)


@pytest.fixture(scope="module")
def narrow(encoder_of: Callable[[str], Any]) -> Iterator[Served]:
    with serving([encoder_of("bert")], bounds=BOUNDS, limits=LIMITS, key=KEY) as served:
        served.client.headers["Authorization"] = f"Bearer {KEY}"
        yield served


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"input": "a", "input": "b"}', "the field 'input' is given 2 times; give it once"),
        (b'{"input": ["a", {"x": 1, "x": 2}]}', "the field 'x' is given 2 times; give it once"),
    ],
)
def test_a_field_that_is_given_twice_is_refused(served: Served, body: bytes, message: str) -> None:
    response = served.client.post("/v1/embeddings", content=body)
    assert (response.status_code, response.json()["error"]["message"]) == (400, message)


@pytest.mark.parametrize("field", ["mix", "layers", "pool", "level", "model", "prompt_name", "x" * 100_000])
def test_an_error_quotes_little_of_a_long_value(served: Served, field: str) -> None:
    response = served.post("/layers", **{"inputs": "a", field: "9" * 100_000})
    message = response.json()["error"]["message"]
    assert response.status_code in (400, 404)
    assert len(message) < 1300
    if field in ("mix", "layers"):
        assert "emb, 1, 2, 3" in message[-100:], "what is allowed"


def test_accept_may_have_several_lines(served: Served) -> None:
    headers = [("Accept", "text/html"), ("Accept", "application/json")]
    response = served.client.post("/layers", headers=headers, json={"inputs": "a"})
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("closing", [b"", b"Connection: close\r\n"])
def test_the_connection_of_a_client_that_does_not_read_is_closed(narrow: Served, closing: bytes) -> None:
    connections = narrow.http._server.server_state.connections
    narrow.client.get("/health", headers={"Connection": "close"})
    until(lambda: not connections, "no connection")
    body = json.dumps({"inputs": ["word " * 70] * 3, "level": "token", "layers": "all"}).encode()
    head = (
        b"POST /layers HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n"
        % (
            narrow.port,
            KEY.encode(),
            len(body),
        )
    )
    with narrow.connected() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        requests = (head + b"\r\n" + body) * 40 + head + closing + b"\r\n" + body
        connection.setblocking(False)
        connection.send(requests)
        until(lambda: connections, "the connection")
        # An answer that waits in the buffers of a connection must not keep it, nor delay a stop.
        until(lambda: not connections, "the end of the connection")


def test_health_and_metrics_are_told_when_the_server_is_full(
    narrow: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert narrow.client.get("/health").status_code == 200
    begun, going_on = hold_begun(narrow, monkeypatch)
    answers: list[Any] = []
    threads = [post_in_thread(narrow, answers, input="a") for _ in range(2)]
    until(lambda: begun.is_set() and narrow.service.room.reserved > 200, "two requests")
    assert narrow.post("/v1/embeddings", input="a").status_code == 429
    assert [narrow.client.get(path).status_code for path in ("/health", "/metrics", "/")] == [200] * 3
    going_on.set()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]


def test_who_has_no_key_sends_no_body(narrow: Served) -> None:
    answer = narrow.client.request("GET", "/health", headers={"Authorization": ""}, content=b"a" * 5000)
    assert answer.status_code == 413


def test_what_is_far_too_large_is_not_planned(narrow: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerwise.serving.tokens._PIECE", 64)
    planned: list[int] = []
    plan = Encoder.plan_chunks

    def noted(*arguments: Any, **options: Any) -> Any:
        planned.append(1)
        return plan(*arguments, **options)

    monkeypatch.setattr(Encoder, "plan_chunks", noted)
    long, cut = "word " * 700, {"truncate": True}
    for path, fields in (
        ("/embed", {}),
        ("/tokenize", {}),
        ("/embed_all", {}),
        ("/embed", {"inputs": long * 2, **cut}),
    ):
        response = narrow.post(path, **{"inputs": long, **fields})
        assert response.status_code == 413, path
        assert "more than" in response.json()["error"]
    spans = [[[0, 4]] * 20_000]
    monkeypatch.setattr(narrow.service.room, "_limits", replace(LIMITS, answer_bytes=2**20))
    response = narrow.post("/layers", inputs="word", level="span", spans=spans)
    assert response.status_code == 413
    assert planned == []
    assert narrow.post("/embed", inputs=long, **cut).status_code == 200


@pytest.mark.parametrize("text", ["word " * 300, "天气很好" * 200, "Rome, and Paris. " * 40, ""])
def test_tokens_are_counted_in_pieces(
    encoder_of: Callable[[str], Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerwise.serving.tokens._PIECE", 50)
    tokenizer = encoder_of("bert").tokenizer
    count = len(tokenizer.texts([text])[0]) - 2
    check_text_tokens(tokenizer, [text], count + 2 * (len(text) // 50))
    if len(text) > count:
        with pytest.raises(Exception, match="have more than"):
            check_text_tokens(tokenizer, [text], count - 1)
