"""Every layer of one text, as numbers for `show`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from layerwise.encode.encoder import Encoder
from layerwise.states import LayerStates


@dataclass(frozen=True)
class OverviewRow:
    """One vector: its layer, the text of its token, word or span, its Euclidean norm, its numbers."""

    layer: str
    text: str
    norm: float
    vector: list[float]


@dataclass(frozen=True)
class Overview:
    """Every layer of one text; `rows` are in the order of its tokens or words, and of the layers for each of these."""

    model: str
    layers: int
    width: int
    tokens: int
    rows: tuple[OverviewRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        rows = [{"layer": r.layer, "text": r.text, "norm": r.norm, "vector": r.vector} for r in self.rows]
        return {
            "model": self.model,
            "layers": self.layers,
            "width": self.width,
            "tokens": self.tokens,
            "rows": rows,
        }


def overview(encoder: Encoder, states: LayerStates) -> Overview:
    """Return the overview of the one text in `states`."""
    stack = states.stack(list(states.layers))
    norms = np.linalg.norm(stack.astype(np.float64), axis=2)
    texts = states.index["text"].to_pylist()
    special = set(states.where(special=True).tolist()) if states.level == "token" else set()
    rows = tuple(
        OverviewRow(
            layer,
            "(special)" if row in special else str(text),
            float(norms[position, row]),
            stack[position, row].tolist(),
        )
        for row, text in enumerate(texts)
        for position, layer in enumerate(states.layers)
    )
    return Overview(
        encoder.checkpoint.name, len(states.layers), encoder.width, states.texts["tokens"][0].as_py(), rows
    )
