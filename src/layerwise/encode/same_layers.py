"""Whether the layers of a text, computed in two ways, are the same."""

from collections.abc import Mapping

import torch

from layerwise.encode.forwards import Layers


def same_layers(
    reference: Layers,
    layers: Mapping[int, torch.Tensor],
    begin: int,
    tolerance: float,
    tokens: int | None = None,
) -> bool:
    """Return whether the layers of a text that begins at token `begin` of a batch are those of `reference`.

    With `tokens`, compare only so many tokens, the first of the text.
    """
    for layer, hidden in layers.items():
        expected = reference[layer][:tokens]
        actual = hidden[begin : begin + len(expected)].float().cpu()
        # Not written with `>`, so that NaN counts as a difference.
        if not (actual - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max())):
            return False
    return True
