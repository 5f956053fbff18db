"""Texts of several requests in shared forwards: each gets the vectors that it gets alone, and leaves at its own depth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conftest import CORPUS
from layerwise.encode.batches import Batch, LayerSets
from layerwise.encode.encoder import Encoder, examples_of_texts
from layerwise.errors import RequestError

# Layers, level, pool; of several views on the same texts, each.
VIEWS: list[list[tuple[Any, ...]]] = [
    [("-1", "text", "mean")],
    [("emb", "text", "max")],
    [("1", "token", None), ("3", "word", "first_last"), ("3", "word", "first_last")],
    [("all", "text", "cls")],
    [("2", "text", "sum"), ("2", "text", "mean")],
    [("-1", "text", "mean")],
]
# Products of other shapes round otherwise; the largest difference seen was 3e-7 of the largest number.
TOLERANCE = 1e-5


def close(vectors: Any, reference: Any) -> bool:
    return bool(
        np.abs(vectors - reference).max(initial=0) <= TOLERANCE * max(1, np.abs(reference).max(initial=0))
    )


# Packed; padded; only equal lengths together; without a module per layer.
@pytest.mark.parametrize("family", ["bert", "modernbert", "mpnet", "mobilebert", "big_bird"])
@pytest.mark.parametrize("budget", [60, 100_000])
def test_each_request_gets_the_vectors_of_encode(
    encoder_of: Callable[[str], Any], family: str, budget: int
) -> None:
    encoder = encoder_of(family)
    texts = [CORPUS[number::3] for number in range(len(VIEWS))]
    requests = [
        [encoder.request(*view, max_length=12 if number != 3 else None) for view in views]
        for number, views in enumerate(VIEWS)
    ]
    chunks = [
        chunk
        for of_request, views in zip(texts, requests, strict=True)
        for chunk in encoder.plan_chunks(examples_of_texts(of_request), views, 100_000)
    ]
    assert len(chunks) == len(VIEWS)
    states = encoder.states_of_chunks(chunks, budget)
    for of_request, views, of_chunk in zip(texts, requests, states, strict=True):
        for request, shared in zip(views, of_chunk, strict=True):
            alone = encoder.states(examples_of_texts(of_request), request)
            assert shared.layers == alone.layers == request.layers
            assert shared.index == alone.index
            assert shared.texts == alone.texts
            for name in alone.layers:
                assert close(shared.layer(name), alone.layer(name)), (family, request, name)


def test_chunks_of_one_request_are_its_texts_in_order(encoder_of: Callable[[str], Any]) -> None:
    encoder: Encoder = encoder_of("bert")
    request = encoder.request("all", "word")
    examples = examples_of_texts(CORPUS)
    chunks = encoder.plan_chunks(examples, [request], 30)
    assert len(chunks) > 5
    assert [doc for chunk in chunks for doc in chunk[0].texts["doc"].to_pylist()] == list(range(len(CORPUS)))
    states = [views[0] for views in encoder.states_of_chunks(chunks, 64)]
    alone = encoder.states(examples, request)
    for name in alone.layers:
        assert close(np.concatenate([part.layer(name) for part in states]), alone.layer(name))
    assert [row for part in states for row in part.index.to_pylist()] == alone.index.to_pylist()


def test_a_window_leaves_after_its_own_layer(
    encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_of("bert")
    assert encoder._engine.leaves
    seen: list[tuple[Batch, LayerSets]] = []
    run = encoder._engine.run

    def recorded(sequences: Any, batch: Batch, layers: LayerSets, on_layer: Any) -> None:
        seen.append((batch, layers))
        run(sequences, batch, layers, on_layer)

    monkeypatch.setattr(encoder._engine, "run", recorded)
    shallow, deep = (
        encoder.plan_chunks(examples_of_texts(CORPUS[:4]), [encoder.request(layers)], 1000)
        for layers in ("1", "3")
    )
    encoder.states_of_chunks([*shallow, *deep], 1000)
    ((batch, layers),) = seen
    assert layers == [frozenset({3})] * 4 + [frozenset({1})] * 4
    assert sorted(batch.windows[:4].tolist()) == [4, 5, 6, 7]
    # Where the budget makes several batches of them, each is of one depth.
    seen.clear()
    encoder.states_of_chunks([*deep, *shallow], 20)
    assert len(seen) > 2
    assert sum(isinstance(layers, frozenset) for _, layers in seen) >= len(seen) - 1


def test_an_engine_that_cannot_let_windows_leave_runs_each_depth_alone(
    encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_of("mpnet")
    assert not encoder._engine.leaves
    depths: list[int] = []
    run = encoder._engine.run

    def recorded(sequences: Any, batch: Batch, layers: frozenset[int], on_layer: Any) -> None:
        depths.append(max(layers))
        run(sequences, batch, layers, on_layer)

    monkeypatch.setattr(encoder._engine, "run", recorded)
    chunks = [
        chunk
        for layers in ("3", "1", "2")
        for chunk in encoder.plan_chunks(examples_of_texts(CORPUS[:2]), [encoder.request(layers)], 1000)
    ]
    encoder.states_of_chunks(chunks, 1000)
    assert depths == [1, 2, 3]


def test_forwards_are_reported(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    chunks = encoder.plan_chunks(examples_of_texts(CORPUS), [encoder.request("1")], 1000)
    forwards: list[tuple[int, int]] = []
    encoder.states_of_chunks(chunks, 100, on_forward=lambda *counts: forwards.append(counts))
    assert sum(windows for _, windows in forwards) == sum(
        n for chunk in chunks for n in chunk[0].texts["windows"].to_pylist()
    )


def test_views_of_different_windows_are_refused(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    requests = [encoder.request("1", max_length=length) for length in (12, 20)]
    with pytest.raises(RequestError, match="different windows"):
        encoder.plan_chunks(examples_of_texts(CORPUS), requests, 1000)
