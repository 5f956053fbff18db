"""Several requests in one forward: each gets the bits that it gets alone, and no layer beyond the deepest is computed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conftest import CORPUS
from layerwise.errors import RequestError
from layerwise.example import Example
from selection import few_of

ASKED: list[tuple[Any, ...]] = [
    ("1,2", "text", "mean"),
    ("emb,2", "word", "first_last"),
    ("1", "token", None),
    ("1", "text", "max"),
    ("2", "word", "mean"),
]
TEXTS = [
    *map(Example, CORPUS),
    Example("New York sleeps", ("New York", "sleeps")),
    Example("", ()),
    Example("word " * 59 + "word", ("word",) * 60),
]


def requests(encoder: Any, **options: Any) -> list[Any]:
    return [encoder.request(layers, level, pool, **options) for layers, level, pool in ASKED]


# Packed; only equal lengths together, and without a module per layer; padded.
@pytest.mark.parametrize(
    "family", few_of(["bert", "xlm-roberta", "mobilebert", "big_bird", "t5"], "bert", "mobilebert", "t5")
)
@pytest.mark.parametrize(
    "options",
    [{}, {"max_length": 12, "overlap": 3}, {"max_length": 12, "long": "truncate"}, {"batch_tokens": 50}],
    ids=str,
)
def test_each_request_gets_what_it_gets_alone(
    encoder_of: Callable[[str], Any], family: str, options: dict[str, Any]
) -> None:
    encoder = encoder_of(family)
    asked = requests(encoder, **options)
    batches: list[tuple[int, int]] = []
    together = encoder.states_of_requests(TEXTS, asked, on_batch=lambda *counts: batches.append(counts))
    for request, states in zip(asked, together, strict=True):
        alone = encoder.states(TEXTS, request)
        assert states.layers == alone.layers == request.layers
        assert (states.level, states.pool) == (request.level, request.pool)
        assert states.index == alone.index
        assert states.texts == alone.texts
        for name in states.layers:
            assert np.array_equal(states.layer(name), alone.layer(name)), (request, name)
    alone_batches: list[tuple[int, int]] = []
    encoder.states(TEXTS, asked[0], on_batch=lambda *counts: alone_batches.append(counts))
    assert batches == alone_batches, "one forward per batch"


def test_no_layer_beyond_the_deepest_is_computed(
    encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_of("bert")
    run, seen = type(encoder._engine).run, set()

    def watched(self: Any, sequences: Any, batch: Any, layers: Any, on_layer: Any) -> None:
        seen.add(layers)
        run(self, sequences, batch, layers, on_layer)

    monkeypatch.setattr(type(encoder._engine), "run", watched)
    encoder.states_of_requests(TEXTS, requests(encoder))
    assert seen == {frozenset({0, 1, 2})}, "of a model with layer 3"


def test_requests_with_other_windows_are_refused(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    for other in ({"max_length": 12}, {"long": "truncate"}, {"overlap": 5}, {"batch_tokens": 7}):
        asked = [encoder.request("1"), encoder.request("1", **other)]
        with pytest.raises(RequestError, match="different windows, batches, prompts or contexts"):
            encoder.states_of_requests(TEXTS, asked)
