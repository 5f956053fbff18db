"""A load generator for HTTP servers: closed loop (so many clients), or open loop with Poisson arrivals.

In the open loop a request has a scheduled instant, whatever the server does, and its latency counts from that instant: a
server that falls behind can't hide it by slowing down its clients.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Outcome:
    """What a run of requests gave.

    Attributes:
        latencies: seconds of each request that was answered with 200.
        refusals: seconds of each that was answered with 429.
        failures: the numbers of other answers, by status.
        seconds: how long the run took.
    """

    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answered requests per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    def add(self, status: int, seconds: float) -> None:
        """Take one answer."""
        if status == 200:
            self.latencies.append(seconds)
        elif status == 429:
            self.refusals.append(seconds)
        else:
            self.failures[status] = self.failures.get(status, 0) + 1


class Client:
    """Connections to one path of a server, kept open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "127.0.0.1", parts.port or 80, parts.path
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def message(self, body: object) -> bytes:
        """Return the bytes of a request with a JSON body."""
        content = json.dumps(body).encode()
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    async def post(self, message: bytes) -> int:
        """Send a request, read the whole answer, and return its status; a connection that the server closed is replaced."""
        while self._free:
            connection = self._free.pop()
            try:
                return await self._ask(connection, message)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
            except ConnectionError:
                pass
        return await self._ask(await asyncio.open_connection(self._host, self._port), message)

    async def _ask(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], message: bytes
    ) -> int:
        reader, writer = connection
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")),
            None,
        )
        if length is None:
            await self._skip_chunks(reader)
        else:
            await reader.readexactly(length)
        self._free.append(connection)
        return int(head.split(b" ", 2)[1])

    @staticmethod
    async def _skip_chunks(reader: asyncio.StreamReader) -> None:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._free:
            writer.close()


async def _closed(client: Client, messages: Sequence[bytes], clients: int) -> Outcome:
    outcome, waiting = Outcome(), iter(messages)

    async def ask() -> None:
        for message in waiting:
            began = time.perf_counter()
            outcome.add(await client.post(message), time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(clients)))
    outcome.seconds = time.perf_counter() - began
    return outcome


async def _open(client: Client, messages: Sequence[bytes], rate: float, seed: int) -> Outcome:
    outcome, chance = Outcome(), random.Random(seed)
    began = time.perf_counter()

    async def ask(message: bytes, instant: float) -> None:
        outcome.add(await client.post(message), time.perf_counter() - instant)

    tasks, instant = [], began
    for message in messages:
        instant += chance.expovariate(rate)
        await asyncio.sleep(max(0.0, instant - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(message, instant)))
    await asyncio.gather(*tasks)
    outcome.seconds = time.perf_counter() - began
    return outcome


def closed_loop(url: str, bodies: Sequence[object], clients: int = 64) -> Outcome:
    """Send requests from so many clients, each as soon as it has the answer to its last one."""
    return asyncio.run(_with_client(url, bodies, lambda client, sent: _closed(client, sent, clients)))


def open_loop(url: str, bodies: Sequence[object], rate: float, seed: int = 0) -> Outcome:
    """Send requests at the instants of a Poisson process, `rate` per second."""
    return asyncio.run(_with_client(url, bodies, lambda client, sent: _open(client, sent, rate, seed)))


async def _with_client(
    url: str, bodies: Sequence[object], run: Callable[[Client, list[bytes]], Awaitable[Outcome]]
) -> Outcome:
    client = Client(url)
    try:
        return await run(client, [client.message(body) for body in bodies])
    finally:
        client.close()
