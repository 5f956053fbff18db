"""The server under load: its throughput against `encode` on the same texts, its latency, and what it does when overloaded.

The clients are on the same machine, and take some of its time. `--url` measures another server with the same requests.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from common import Goal, documentation, heading, show, show_goals
from load_client import Outcome, closed_loop, open_loop

import layerwise as lw
from layerwise import encode

_LOADS = (0.2, 0.5, 0.8, 1.0, 1.2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=("bert-base", "minilm"), default="bert-base")
    parser.add_argument("--texts", type=int, default=512, metavar="N", help="texts of a run")
    parser.add_argument("--per-request", type=int, default=1, metavar="N", help="texts of a request")
    parser.add_argument("--clients", type=int, default=64, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument(
        "--memory", type=int, default=0, metavar="N", help="also send N requests, and watch memory"
    )
    parser.add_argument("--url", help="embeddings path of another server, measured alone")
    parser.add_argument("--name", default="", help="its model")
    options = parser.parse_args()
    texts = documentation(options.texts)
    if options.url:
        _other(options, texts)
        return
    heading(
        f"serve: {options.shape}, {options.clients} clients, {options.per_request} texts a request, {len(texts)} texts, "
        f"median of {options.rounds} rounds"
    )
    with _model(options.shape) as model:
        encoder = lw.load_encoder(model)
        tokens = sum(encoder.encode(texts, layers="emb").texts["tokens"].to_pylist()) / len(texts)
        # The closed loops have all clients in the queue; the flood fills the rest of it.
        queue = int(1.5 * options.clients * options.per_request * tokens)
        with _server(model, queue) as (url, process):
            _measure(options, texts, encoder, url, process)


def _measure(
    options: argparse.Namespace, texts: Sequence[str], encoder: Any, url: str, process: psutil.Process
) -> None:
    name, size, blocks = Path(encoder.home).name, options.per_request, encoder.blocks
    path = f"{url}v1/embeddings"
    layers = [str(1 + n % blocks) for n in range(len(texts))]

    def served(mixes: Sequence[str], times: int = 1) -> Callable[[], Outcome]:
        bodies = requests_of(texts, size, name, mixes) * times
        return lambda: closed_loop(path, bodies, options.clients)

    last, mixed, first = [str(blocks)], layers, ["1"]
    closed_loop(path, requests_of(texts[:64], size, name, last), options.clients)
    runs: dict[str, Callable[[], Any]] = {
        "encode": lambda: encoder.encode(texts, layers=last[0]),
        "served, last layer": served(last),
        "served, mixed layers": served(mixed),
        "served, layer 1": served(first, 4),
    }
    seconds: dict[str, list[float]] = {label: [] for label in runs}
    for _ in range(options.rounds):
        for label, run in runs.items():
            began = time.perf_counter()
            outcome = run()
            seconds[label].append((time.perf_counter() - began) / (4 if label.endswith("layer 1") else 1))
            if isinstance(outcome, Outcome) and (outcome.refusals or outcome.failures):
                raise SystemExit(f"{label}: {len(outcome.refusals)} refusals, failures {outcome.failures}")
    speeds = {label: len(texts) / median(times) for label, times in seconds.items()}
    show([("run", "texts/s"), *((label, f"{speed:.1f}") for label, speed in speeds.items())])
    goals = [
        Goal("served against encode", speeds["served, last layer"] / speeds["encode"], 0.9),
        Goal(
            "mixed layers against the last layer",
            speeds["served, mixed layers"] / speeds["served, last layer"],
            0.9,
        ),
    ]
    if options.shape == "bert-base":
        gain = speeds["served, layer 1"] / speeds["served, last layer"]
        goals.append(Goal("layer 1 against the last of 12", gain, 5, " x"))
    capacity = speeds["served, last layer"] / size
    goals += _latencies(path, requests_of(texts, size, name, last), capacity, options.clients)
    if options.memory:
        # Memory depends on the number of requests: with long texts they would take an hour.
        short = [" ".join(text.split()[:6]) for text in texts[:64]]
        goals.append(_memory(path, requests_of(short, size, name, first), options.memory, process))
    show_goals(goals)


def _latencies(path: str, bodies: Sequence[object], capacity: float, clients: int) -> list[Goal]:
    """Print latencies at shares of the capacity, in requests per second."""
    rows: list[tuple[str, ...]] = [("load", "answered/s", "p50 ms", "p99 ms", "429", "longest 429 ms")]
    outcomes: dict[float, Outcome] = {}
    for share in _LOADS:
        outcome = outcomes[share] = open_loop(path, bodies, share * capacity)
        rows.append(_row(share, outcome))
    # Far more than it can do: the queue is full most of the time.
    flood = open_loop(path, [bodies[n % len(bodies)] for n in range(5 * clients)], 5 * capacity)
    rows.append(_row(5, flood))
    print()
    show(rows, right=(1, 2, 3, 4, 5))
    refusals = sorted(flood.refusals) or [float("nan")]
    return [
        Goal("p99 at half load", 1000 * outcomes[0.5].percentile(0.99), float("inf"), " ms", most=True),
        Goal("median time of a 429", 1000 * median(refusals), 50, " ms", most=True),
    ]


def _row(share: float, outcome: Outcome) -> tuple[str, ...]:
    milliseconds = [f"{1000 * outcome.percentile(part):.0f}" for part in (0.5, 0.99)]
    longest = f"{1000 * max(outcome.refusals):.0f}" if outcome.refusals else ""
    return f"{share:g}", f"{outcome.rate:.1f}", *milliseconds, str(len(outcome.refusals)), longest


def _memory(path: str, bodies: Sequence[object], count: int, process: psutil.Process) -> Goal:
    """Send `count` requests, and return how much memory the server has gained since the first tenth of them."""
    sizes = []
    for _ in range(10):
        closed_loop(path, [bodies[n % len(bodies)] for n in range(count // 10)])
        sizes.append(process.memory_info().rss / 2**20)
        print(f"MiB of the server after {len(sizes)} tenths of the requests: {sizes[-1]:.0f}", flush=True)
    return Goal(f"memory gained over {count} requests", sizes[-1] - sizes[0], 32, " MiB", most=True)


def requests_of(texts: Sequence[str], size: int, name: str, mixes: Sequence[str]) -> list[dict[str, Any]]:
    """Return requests of `size` texts, each for the next of `mixes`."""
    return [
        {
            "model": f"{name}@{mixes[number % len(mixes)]}" if mixes != [""] else name,
            "input": list(texts[begin : begin + size]) if size > 1 else texts[begin],
            "encoding_format": "base64",
        }
        for number, begin in enumerate(range(0, len(texts) - size + 1, size))
    ]


def _other(options: argparse.Namespace, texts: Sequence[str]) -> None:
    """Measure another server with the same requests."""
    bodies = requests_of(texts, options.per_request, options.name, [""])
    closed_loop(options.url, bodies[:64], options.clients)
    outcomes = [closed_loop(options.url, bodies, options.clients) for _ in range(options.rounds)]
    rate = median(outcome.rate for outcome in outcomes) * options.per_request
    print(f"{options.url}: {rate:.1f} texts/s; failures {outcomes[-1].failures}")


@contextmanager
def _model(shape: str) -> Iterator[str]:
    if shape == "minilm":
        yield "minilm"
        return
    with tempfile.TemporaryDirectory() as folder:
        encode.hf.saving.save_random(Path(folder), encode.checkpoint.find_checkpoint("minilm"), "bert")
        yield folder


@contextmanager
def _server(model: str, queue: int) -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "layerwise", "serve", model, "--port", "0"]
    command += ["--queue-tokens", str(queue)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        while True:
            try:
                urllib.request.urlopen(f"{url}health").close()
                break
            except OSError:
                time.sleep(0.1)
        try:
            yield url, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
