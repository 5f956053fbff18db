"""Copies between host and device that run beside the computing, as on CUDA; here with copies that come late."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from conftest import CORPUS
from layerwise.encode import gather, transfer
from layerwise.encode.transfer import Outgoing, to_device, to_host


class Kept:
    """A sink that notes what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[int], list[float]]] = []

    def put(self, layer: str, rows: Any, values: Any) -> None:
        """Note some rows."""
        self.got.append((layer, rows.tolist(), values[:, 0].tolist()))


class Late:
    """Copies that are there only once somebody has waited for them."""

    def __init__(self) -> None:
        self.under_way = self.most = 0

    def to_host(self, values: torch.Tensor) -> tuple[torch.Tensor, Callable[[], object]]:
        """Return a place that is filled when it is waited for."""
        host = torch.full_like(values, torch.nan)
        self.under_way += 1
        self.most = max(self.most, self.under_way)

        def arrive() -> None:
            self.under_way -= 1
            with torch.inference_mode():
                host.copy_(values)

        return host, arrive


@pytest.mark.parametrize("level", ["token", "word", "text"])
def test_layers_are_the_same_where_copies_come_late(
    level: str, encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_of("bert")
    texts = [*CORPUS, "one two three " * 60]
    options = {"level": level, "batch_tokens": 32, "max_length": 24}
    expected = encoder.encode(texts, **options).stack()
    late = Late()
    monkeypatch.setattr(transfer, "to_host", late.to_host)
    monkeypatch.setattr(gather, "asynchronous", lambda device: True)
    actual = encoder.encode(texts, **options).stack()
    np.testing.assert_array_equal(actual, expected)
    assert late.under_way == 0, "a copy was never waited for"
    assert late.most == len(encoder.layers) + 1, "the layers of one batch are under way, and the next one"


def test_rows_leave_in_order_and_none_is_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    late, sink = Late(), Kept()
    monkeypatch.setattr(transfer, "to_host", late.to_host)
    outgoing = Outgoing(sink, 2)
    for number in range(4):
        outgoing.put(str(number), np.array([number]), torch.full((1, 3), float(number)))
        assert len(sink.got) == max(0, number - 1)
    outgoing.finish()
    assert sink.got == [(str(n), [n], [float(n)]) for n in range(4)]


def test_a_cpu_copies_nothing_twice() -> None:
    values = torch.ones(2, 3)
    host, arrived = to_host(values)
    arrived()
    assert host.data_ptr() == values.data_ptr()
    assert to_device(values, torch.device("cpu")) is values
