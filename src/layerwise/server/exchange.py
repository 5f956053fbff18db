"""A request as routes see it, and their replies: nothing here knows the web framework."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from layerwise.serving.asks import Ticket, Usage
from layerwise.serving.service import Service

JSON = "application/json"


@dataclass(frozen=True)
class HttpRequest:
    """A request: the named parts of its path, its headers by lower-case name, and its body."""

    path: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A reply; the parts of `body` are sent one after the other, as they are made.

    `size` is the total size of the parts, `None` where it isn't known before.
    """

    body: Iterable[bytes]
    kind: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True)
class Planned:
    """An admitted request, how many inputs it has, and how its answer is written."""

    ticket: Ticket[Any]
    write: Callable[[Any], Reply]
    is_batch: bool


Dialect = Callable[[int, str, str, str | None], Any]
"""(status, kind of failure, message, parameter) -> the JSON value of an error."""
PlanRequest = Callable[[Service, HttpRequest], Planned]
"""Reads and admits a request; raises LayerwiseError."""
Respond = Callable[[Service, HttpRequest], Reply]
"""Answers a request that needs no forward."""


@dataclass(frozen=True)
class InferenceRoute:
    """A route whose requests go through the model."""

    path: str
    plan: PlanRequest
    dialect: Dialect


@dataclass(frozen=True)
class PlainRoute:
    """A route that is answered without a forward of its own.

    `is_open` where it needs no key, `waits` where it may take seconds.
    """

    path: str
    respond: Respond
    dialect: Dialect
    methods: Sequence[str] = ("GET",)
    is_open: bool = False
    waits: bool = False


def whole(
    body: bytes, kind: str = JSON, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    """Return a reply with a body that is in memory."""
    return Reply([body], kind, status, headers or {}, len(body))


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with a JSON value; a number that isn't finite can't be written."""
    return whole(json.dumps(value, allow_nan=False).encode(), status=status, headers=headers)


def joined_json(parts: Iterable[bytes], headers: Mapping[str, str] | None = None) -> Reply:
    """Return a reply with JSON that was written in parts."""
    return whole(b"".join(parts), headers=headers)


def usage_fields(usage: Usage) -> dict[str, Any]:
    """Return what each JSON object says of its request: its tokens, and whether any were cut off."""
    return {
        "tokens": usage.tokens,
        "truncated": bool(usage.truncated_tokens),
        "truncated_texts": list(usage.truncated_texts),
    }


def usage_headers(usage: Usage) -> dict[str, str]:
    """Return the same as headers, for answers that are arrays or binary."""
    return {
        "x-compute-tokens": str(usage.tokens),
        "x-truncated-tokens": str(usage.truncated_tokens),
        "x-truncated-texts": str(len(usage.truncated_texts)),
    }
