"""Parity: how far rows are from those that plain transformers give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from layerwise.example import Example
from layerwise.states import matching_rows

if TYPE_CHECKING:
    from layerwise.array_types import F32
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.request import Request

LONGEST = 100_000  # characters: one longer text would take longer than all other texts of a comparison
_MEASURED = 32  # texts on which the error of int8 is measured


@dataclass(frozen=True)
class Parity:
    """How far one layer is from plain transformers over the sampled texts.

    `max_abs` is the largest |a − b|; `max_rel` the largest |a − b| / max(1, max |b|), the maximum of |b| taken
    per text; `cosine` the smallest cosine of a row with its reference.
    """

    max_abs: float
    max_rel: float
    cosine: float


def parity(got: F32, expected: F32) -> Parity:
    """Compare rows of one layer with those of the reference, both (rows, width)."""
    a, b = got.astype(np.float64), expected.astype(np.float64)
    worst = float(np.abs(a - b).max())
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.divide((a * b).sum(axis=1), norms, out=np.ones(len(a)), where=norms > 0)
    return Parity(worst, worst / max(1.0, float(np.abs(b).max())), float(cosines.min()))


def worst(parities: Sequence[Parity]) -> Parity:
    """Return the worst of each measure."""
    if not parities:
        return Parity(0.0, 0.0, 1.0)
    # With numpy, because its maximum and minimum are NaN if any of the numbers is NaN.
    return Parity(
        float(np.max([p.max_abs for p in parities])),
        float(np.max([p.max_rel for p in parities])),
        float(np.min([p.cosine for p in parities])),
    )


def measured(
    examples: Sequence[Example], encoder: Encoder, exact: Encoder, request: Request
) -> dict[str, dict[str, float]]:
    """Return how far an encoder is from one in fp32, per layer, on a few of the texts."""
    few, only = spread([len(example.text) for example in examples]), None
    if request.context is None:
        examples = [examples[number] for number in few]
    else:
        only = sorted(few)
    got, expected = (model.states(examples, request, only=only) for model in (encoder, exact))
    texts = [rows for doc in range(len(few)) if len(rows := matching_rows(got, doc=doc))]
    errors: dict[str, dict[str, float]] = {}
    for layer in request.layers:
        values, reference = got.layer(layer), expected.layer(layer)
        worst_of_texts = worst([parity(values[rows], reference[rows]) for rows in texts])
        errors[layer] = {"max_rel": worst_of_texts.max_rel, "cosine": worst_of_texts.cosine}
    return errors


def spread(lengths: Sequence[int]) -> list[int]:
    """Return the numbers of a few texts of all lengths, because the rounding error depends on the length."""
    order = sorted(
        (number for number, length in enumerate(lengths) if length <= LONGEST), key=lengths.__getitem__
    )
    count = min(_MEASURED, len(order))
    return [order[(2 * n + 1) * len(order) // (2 * count)] for n in range(count)]
