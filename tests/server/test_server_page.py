"""The page of the server: its policy, and a request from it in a browser."""

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from browser import Opened, browser
from serving_client import Served


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as started:
        yield started


def test_the_page_runs_its_own_script_only(served: Served, name: str) -> None:
    response = served.client.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert name in script
    for path in (
        "/v1/embeddings",
        "/embed_all",
        "/layers",
        "/predict/mood",
        "/health",
        "/metrics",
        "/v1/models",
    ):
        assert path in response.text


def test_the_form_tries_a_mix(served: Served, started: Any) -> None:
    page = Opened(started, served.http.url)
    page.tab.fill("#text", "Every layer")
    page.tab.fill("#mix", "mean(-4:)")
    page.tab.click("button")
    # Not a function in the page: its policy forbids what isn't its own script.
    page.tab.locator("#answer:not(:empty)").wait_for()
    vector = [float(number) for number in page.text("#answer").split(",")]
    answer = served.post("/v1/embeddings", input="Every layer", mix="mean(-4:)").json()
    assert vector == pytest.approx(answer["data"][0]["embedding"], rel=1e-4, abs=1e-6)
    page.tab.fill("#mix", "9")
    page.tab.click("button")
    page.tab.locator("#said", has_text="9").wait_for()
    assert "layer 9 doesn't exist" in page.text("#said")
    # The browser itself notes the 400, and the icon that isn't there.
    assert [text for text in page.complaints if "400" not in text and "404" not in text] == []
    page.context.close()
