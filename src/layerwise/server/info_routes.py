"""`/`, `/health` and `/metrics`."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from importlib import resources

from layerwise.server.exchange import HttpRequest, PlainRoute, Reply, as_json, whole
from layerwise.server.failures import Refusal, openai_error, tei_error
from layerwise.serving.service import Service

METRICS_KIND = "text/plain; version=0.0.4; charset=utf-8"
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def health(service: Service, call: HttpRequest) -> Reply:
    """Say whether a forward of each model works."""
    if not service.works():
        raise Refusal(503, "unhealthy", "a model doesn't work; restart the server")
    return as_json({"status": "ok"})


def page(service: Service, call: HttpRequest) -> Reply:
    """Return a page with the routes, and a form that tries one."""
    text = (resources.files("layerwise.server") / "page.html").read_text(encoding="utf-8")
    options = {name: list(model.encoder.layers) for name, model in service.models.items()}
    heads = "".join(f"<li><code>POST /predict/{html.escape(name)}</code></li>" for name in service.heads)
    if service.first.transform is not None:
        mix = html.escape(service.first.transform.fitted.mix)
        text = text.replace('id="mix" value="-1"', f'id="mix" value="{mix}"')
    # In a script a `<` could end it.
    models = json.dumps(options).replace("<", "\\u003c")
    text = text.replace("MODELS", models).replace("<!-- heads -->", heads)
    policy = (
        f"default-src 'none'; connect-src 'self'; script-src {_hashes(_SCRIPT, text)}; "
        f"style-src {_hashes(_STYLE, text)}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    return whole(text.encode(), "text/html; charset=utf-8", headers={"content-security-policy": policy})


def _hashes(element: re.Pattern[str], text: str) -> str:
    digests = (hashlib.sha256(content.encode()).digest() for content in element.findall(text))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def routes(metrics: Callable[[], bytes]) -> tuple[PlainRoute, ...]:
    """Return the routes; `metrics` returns the text of all metrics."""

    def measured(service: Service, call: HttpRequest) -> Reply:
        return whole(metrics(), METRICS_KIND)

    return (
        PlainRoute("/", page, openai_error, is_open=True),
        PlainRoute("/health", health, tei_error, is_open=True, waits=True),
        PlainRoute("/metrics", measured, openai_error),
    )
