"""Every layer of one text, as numbers to look at."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from layerwise.encode.encoder import Encoder
from layerwise.states import LayerStates


@dataclass(frozen=True)
class OverviewRow:
    """One vector: its layer, what it stands for, its Euclidean norm, its numbers."""

    layer: str
    text: str
    norm: float
    vector: list[float]


@dataclass(frozen=True)
class Overview:
    """Every layer of one text; `rows` go by row first (a token, a word, the text), then by layer."""

    model: str
    layers: int
    width: int
    tokens: int
    rows: tuple[OverviewRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        rows = [{"layer": r.layer, "text": r.text, "norm": r.norm, "vector": r.vector} for r in self.rows]
        return {
            "model": self.model,
            "layers": self.layers,
            "width": self.width,
            "tokens": self.tokens,
            "rows": rows,
        }


def overview(encoder: Encoder, states: LayerStates) -> Overview:
    """Return what one text is at each layer, from its rows."""
    stack = states.stack(list(states.layers))
    norms = np.linalg.norm(stack.astype(np.float64), axis=2)
    texts = states.index["text"].to_pylist()
    special = set(states.where(special=True).tolist()) if states.level == "token" else set()
    rows = tuple(
        OverviewRow(
            layer,
            "(special)" if row in special else str(text),
            float(norms[at, row]),
            stack[at, row].tolist(),
        )
        for row, text in enumerate(texts)
        for at, layer in enumerate(states.layers)
    )
    return Overview(
        encoder.checkpoint.name, len(states.layers), encoder.width, states.texts["tokens"][0].as_py(), rows
    )
