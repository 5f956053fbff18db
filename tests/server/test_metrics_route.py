"""Metrics under the names of Text Embeddings Inference, as Prometheus reads them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving_client import Served, serving


@pytest.fixture
def fresh(encoder_of: Callable[[str], Any]) -> Iterator[Served]:
    with serving([encoder_of("bert")]) as served:
        yield served


def samples(served: Served) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = served.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_metrics_count_what_was_done(fresh: Served) -> None:
    assert fresh.post("/v1/embeddings", input="a b", mix="1").status_code == 200
    assert fresh.post("/embed", inputs=["a", "b", "c"]).status_code == 200
    assert fresh.post("/layers", inputs=["a"], layers="emb").status_code == 200
    assert fresh.post("/embed", inputs=3).status_code == 422
    assert fresh.post("/v1/embeddings", input=["a"] * 3000).status_code == 413
    seen = samples(fresh)
    assert seen["te_request_count", (("method", "single"),)] == 1
    assert seen["te_request_count", (("method", "batch"),)] == 2
    assert seen["te_request_success", (("method", "single"),)] == 1
    assert seen["te_request_success", (("method", "batch"),)] == 2
    assert seen["te_request_failure", (("err", "validation"),)] == 1
    assert seen["te_request_failure", (("err", "too_large"),)] == 1
    for name in ("te_request_duration", "te_request_queue_duration", "te_request_inference_duration"):
        assert seen[f"{name}_count", ()] == 3
        assert 0 < seen[f"{name}_sum", ()] < 60
    assert seen["te_batch_next_size_count", ()] == 3
    assert seen["te_batch_next_size_sum", ()] == 5
    # Each text has two special tokens.
    assert seen["te_batch_next_tokens_sum", ()] == 2 + 3 + 1 + 2 * 5
    assert seen["te_queue_size", ()] == 0
    assert seen["layerwise_layer_depth_count", ()] == 5
    assert seen["layerwise_layer_depth_sum", ()] == 1 + 3 * 3
    assert seen["layerwise_layer_depth_bucket", (("le", "0.0"),)] == 1
