"""What every request must pass before it reaches a route: host, origin, key, and room for one more request."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from layerwise.server.failures import Refusal
from layerwise.server.origins import is_same_origin, names_one_of, names_this_machine


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The bounds of connections.

    Attributes:
        body: the maximum size of a body, in bytes.
        requests: the maximum number of requests at the same time.
        silence: seconds for a client to send something, or to receive a part of the answer.
        reading: seconds for a client to send a whole body.
    """

    body: int = 8 * 2**20
    requests: int = 512
    silence: float = 30.0
    reading: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may send requests.

    Attributes:
        port: the port that the server listens on.
        is_local: whether it listens on this machine's own address only.
        hosts: the names that requests may send in `Host` besides; behind a key none means any.
        key: the key that requests need, if any.
    """

    port: int
    is_local: bool
    hosts: Collection[str] = ()
    key: str | None = None

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Check `Host` and `Origin`.

        Raises:
            Refusal: the request is of a page of another site, or for another host.
        """
        host = headers.get("host")
        is_named = names_one_of(host, self.hosts) or names_this_machine(host, self.port)
        if not is_named and (self.is_local or self.hosts):
            raise Refusal(
                403,
                "forbidden",
                "the header Host names another machine; start the server with --allow-host NAME",
            )
        if not is_same_origin(headers.get("origin"), host):
            raise Refusal(
                403,
                "forbidden",
                "requests from pages of other sites are refused; send it from the server's own page, or without Origin",
            )

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Check the key, in constant time.

        Raises:
            Refusal: it is missing or wrong.
        """
        if self.key is None:
            return
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        is_right = secrets.compare_digest(sent.strip().encode("utf-8", "replace"), self.key.encode())
        if scheme.lower() != "bearer" or not is_right:
            raise Refusal(401, "unauthorized", "the key is missing or wrong; send Authorization: Bearer KEY")


def check_encoding(headers: Mapping[str, str]) -> None:
    """Check that a body isn't compressed.

    Raises:
        Refusal: it is.
    """
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "unsupported_encoding", "the body is compressed; send it as it is")


def check_length(headers: Mapping[str, str], most: int) -> None:
    """Check the stated size of a body.

    Raises:
        Refusal: it is larger than `most` bytes.
    """
    stated = headers.get("content-length", "0")
    if stated.isascii() and stated.isdecimal() and (len(stated) > 15 or int(stated) > most):
        raise too_large(most)


def too_large(most: int) -> Refusal:
    """Return the refusal of a body of more than `most` bytes."""
    return Refusal(413, "too_large", f"the body has more than {most} bytes; send several requests")
