"""Products whose last bits depend on the number of rows.

A library may take another kernel for many rows than for few (oneDNN does where it has AMX), whose sums come in another
order. The tests of the encoder must hold there too: with
`LAYERWISE_TEST_ROUNDING=rows`, as in `make test-isa`, a session runs with these products, on any processor.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from layerwise.encode.int8 import _Weights
from layerwise.encode.linear import PackedLinear


def products_that_round_by_rows() -> Iterator[None]:
    """Move what linear layers give by a unit in the last place at most, by column and number of rows."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((PackedLinear, "forward"), (torch.nn.Linear, "forward"), (_Weights, "times")):
            _wrap(patch, owner, name)
        yield


def _wrap(patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    product = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **options: moved(product(*args, **options)))


def moved(product: torch.Tensor) -> torch.Tensor:
    """Return a product (…, columns) with other last bits: all of float32, one in a hundred of bfloat16."""
    bits = {torch.float32: torch.int32, torch.bfloat16: torch.int16}.get(product.dtype)
    if bits is None or not product.numel():
        return product
    columns = torch.arange(product.shape[-1])
    rows = product.numel() // len(columns)
    step = (7 * columns + 13 * rows) % 3 - 1 if bits is torch.int32 else (columns + 13 * rows) % 97 == 0
    other = (product.contiguous().view(bits) + step.to(bits)).view(product.dtype)
    return torch.where(product.abs() > 1e-30, other, product)
