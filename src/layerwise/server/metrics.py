"""What the server counts and measures, under the names of Text Embeddings Inference: the only module with prometheus_client."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence

from layerwise.errors import RequestError
from layerwise.serving.work import Work, WorkChunk

try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, Histogram, generate_latest
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
except ImportError:
    raise RequestError(
        "serving needs prometheus-client, which isn't installed; pip install 'layerwise[serve]'"
    ) from None

KIND = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
_DEPTHS = (0, *range(1, 25), 32, 48, 64, 96)


class _ExactCounters(Collector):
    """Counters whose samples have exactly their names; those of the library end in `_total`."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, meaning: str, label: str = "", value: str = "") -> None:
        """Count once."""
        with self._lock:
            self._counts[name, meaning, label, value] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield all counters."""
        with self._lock:
            counts = dict(self._counts)
        metrics: dict[str, Metric] = {}
        for (name, meaning, label, value), count in counts.items():
            # As an untyped metric, because the library writes the type of a counter under another name.
            metric = metrics.setdefault(name, Metric(name, meaning, "unknown"))
            metric.add_sample(name, {label: value} if label else {}, count)
        yield from metrics.values()


class Metrics:
    """The metrics of one server, and the watcher of its schedulers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counts = _ExactCounters()
        self._registry.register(self._counts)
        self._duration = self._histogram("te_request_duration", "Seconds of a request", _SECONDS)
        self._queue = self._histogram(
            "te_request_queue_duration", "Seconds of a request in the queue", _SECONDS
        )
        self._inference = self._histogram(
            "te_request_inference_duration", "Seconds of a request in the model", _SECONDS
        )
        self._size = self._histogram("te_batch_next_size", "Texts of a forward", _SIZES)
        self._tokens = self._histogram("te_batch_next_tokens", "Tokens of a forward", _TOKENS)
        self._depth = self._histogram("layerwise_layer_depth", "The deepest layer that a text needs", _DEPTHS)
        self._queue_size = Gauge("te_queue_size", "Requests in the queue", registry=self._registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, meaning, buckets=buckets, registry=self._registry)

    def started(self, chunks: Sequence[WorkChunk]) -> None:
        """Measure a forward."""
        self._size.observe(sum(chunk.texts for chunk in chunks))
        self._tokens.observe(sum(chunk.tokens for chunk in chunks))
        for chunk in chunks:
            for _ in range(chunk.texts):
                self._depth.observe(chunk.depth)

    def queued(self, change: int) -> None:
        """Note that so many requests came into a queue, or left it."""
        self._queue_size.inc(change)

    def admitted(self, is_batch: bool) -> None:
        """Count a request that was read."""
        method = "batch" if is_batch else "single"
        self._counts.add("te_request_count", "Requests", "method", method)

    def failed(self, kind: str) -> None:
        """Count a request that failed."""
        self._counts.add("te_request_failure", "Requests that failed", "err", kind)

    def succeeded(self, work: Work, seconds: float, is_batch: bool) -> None:
        """Count a request that was answered, after so many seconds."""
        method = "batch" if is_batch else "single"
        self._counts.add("te_request_success", "Requests that were answered", "method", method)
        self._duration.observe(seconds)
        self._queue.observe(max(0.0, work.started - work.arrived))
        self._inference.observe(max(0.0, work.finished - work.started))

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(_WithoutTimes(self._registry))


class _WithoutTimes(Collector):
    """The metrics of a registry without the times at which they were created, which the library adds as further metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
