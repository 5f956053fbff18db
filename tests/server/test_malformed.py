"""Requests made by chance: an answer to each, never a 5xx, no hang, and no memory kept."""

import gc
import json
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_client import Served

PATHS = (
    *(
        "/v1/embeddings",
        "/embed",
        "/embed_all",
        "/predict",
        "/predict/mood",
        "/predict/names",
        "/predict/pair",
    ),
    *(
        "/predict/mood,names",
        "/tokenize",
        "/layers",
        "/info",
        "/v1/models",
        "/v1/models/x@",
        "/",
        "/nothing",
        "/predict/",
    ),
)
FIELDS = (
    *(
        "input",
        "inputs",
        "model",
        "encoding_format",
        "dimensions",
        "user",
        "mix",
        "pool",
        "truncate",
        "layers",
    ),
    *(
        "level",
        "spans",
        "prompt_name",
        "truncation_direction",
        "normalize",
        "add_special_tokens",
        "raw_scores",
    ),
)
WORDS = (
    *(
        "all",
        "emb",
        "-1",
        "mean(-4:)",
        "concat(all)",
        "mean(all; norm=layer)",
        "weighted(1,2; 1e38,1e38)",
        "learned(all)",
    ),
    *(
        "token",
        "word",
        "span",
        "text",
        "cls",
        "eos",
        "first",
        "base64",
        "float",
        "Left",
        "1:",
        "::0",
        "mean(",
        "",
    ),
    *(
        "weighted(1;nan)",
        "9" * 400,
        "sum(1,1)",
        "-0",
        "bert@2",
        "@",
        "@@",
        "\ud800",
        "\x00",
        "word " * 200,
        "天气 " * 50,
    ),
)
texts = st.sampled_from(WORDS) | st.text(max_size=30)
numbers = st.integers() | st.floats(allow_nan=False) | st.sampled_from([0, -1, 16, 32, 2**63, 10**30])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from(FIELDS), values, max_size=6)
# Mostly right, so that requests get beyond the reading of their fields.
likely = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("input", "inputs"), texts | st.lists(texts, max_size=4)),
        **dict.fromkeys(("mix", "layers", "level", "pool", "encoding_format"), texts),
        **dict.fromkeys(("truncate", "normalize"), st.booleans()),
        "spans": st.lists(
            st.lists(st.tuples(st.integers(-1, 9), st.integers(-1, 9)), max_size=2), max_size=2
        ),
    },
)
raw = st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
contents = (bodies | likely | likely | likely).map(lambda body: json.dumps(body).encode()) | raw
headers = st.dictionaries(
    st.sampled_from(
        [
            "Accept",
            "Content-Type",
            "Authorization",
            "Origin",
            "X-Other",
            "Expect",
            "Content-Encoding",
            "Range",
        ]
    ),
    st.sampled_from(
        [
            "",
            "*/*",
            "application/json",
            "application/x-npy;q=0",
            ";;q=,",
            "null",
            "gzip",
            "a" * 900,
            "bytes=0-1",
        ]
    ),
    max_size=3,
)
methods = st.sampled_from(
    ["POST", "POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "FOO"]
)
EXCHANGES = st.tuples(methods, st.sampled_from(PATHS), headers, contents)


def check(served: Served, exchange: tuple[str, str, dict[str, str], bytes]) -> None:
    method, path, sent_headers, content = exchange
    response = served.client.request(method, path, headers=sent_headers, content=content)
    assert response.status_code < 500, (exchange, response.text)
    if response.status_code >= 400 and method != "HEAD":
        assert "error" in response.json(), exchange


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(exchange=EXCHANGES)
def test_no_request_makes_a_5xx(served: Served, exchange: Any) -> None:
    check(served, exchange)


junk = st.lists(
    st.sampled_from(
        [
            *(
                b"POST ",
                b"GET ",
                b"/v1/embeddings ",
                b"/%zz ",
                b"/\xff ",
                b"HTTP/1.1\r\n",
                b"HTTP/9.9\r\n",
                b"HTTP/1.0\r\n",
            ),
            *(
                b"Host: 127.0.0.1\r\n",
                b"Host:\r\n",
                b"Content-Length: 5\r\n",
                b"Content-Length: -1\r\n",
                b"\r\n",
                b"\r\n\r\n",
            ),
            *(
                b"Transfer-Encoding: chunked\r\n",
                b"Upgrade: websocket\r\nConnection: upgrade\r\n",
                b"ffffffffff\r\n",
                b"0\r\n\r\n",
            ),
            *(
                b"Expect: 100-continue\r\n",
                b"Connection: close\r\n",
                b"\x00",
                b": x\r\n",
                b"a" * 500,
                b'{"input": "a"}',
            ),
        ]
    ),
    max_size=12,
).map(b"".join)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(sent=junk)
def test_no_bytes_make_a_5xx(served: Served, sent: bytes) -> None:
    with served.connected() as connection:
        connection.sendall(sent)
        connection.shutdown(1)
        received = b""
        while part := connection.recv(65536):
            received += part
    assert b"HTTP/1.1 5" not in received, (sent, received)


@pytest.fixture(autouse=True)
def nothing_failed_inside(served: Served) -> Any:
    yield
    assert "internal" not in served.failures()
    assert served.service.room.reserved == 0
    response = served.post("/v1/embeddings", input="a")
    assert response.status_code == 200, "the server lives on"
    assert isinstance(response, httpx.Response)


@pytest.mark.slow
def test_ten_thousand_requests_keep_no_memory(served: Served) -> None:
    process = psutil.Process()

    @settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(exchange=EXCHANGES)
    def ask(exchange: Any) -> None:
        check(served, exchange)

    ask()
    gc.collect()
    before = process.memory_info().rss
    ask()
    gc.collect()
    grown = process.memory_info().rss - before
    # hypothesis itself keeps what it tried; a kept body or answer of each request would be several times as much.
    assert grown < 64 * 2**20, f"{grown / 2**20:.0f} MiB"
