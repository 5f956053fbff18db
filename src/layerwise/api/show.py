"""show: every layer of one text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layerwise import choices, encode
from layerwise._util.threads import choose
from layerwise.encode.computing import computing
from layerwise.layers import LayerSpec


@dataclass(frozen=True)
class ShownRow:
    """One vector: its layer, what it stands for, its Euclidean norm, its numbers."""

    layer: str
    text: str
    norm: float
    vector: list[float]


@dataclass(frozen=True)
class Shown:
    """Every layer of one text; `rows` go by row first (a token, a word, the text), then by layer."""

    model: str
    layers: int
    width: int
    tokens: int
    rows: tuple[ShownRow, ...]

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


def show(
    text: str,
    *,
    model: str | Path = "minilm",
    revision: str | None = None,
    device: str | None = None,
    layers: LayerSpec = "all",
    level: str = "text",
    pool: str | None = None,
    special_tokens: bool = True,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    threads: int | None = None,
) -> Shown:
    """Return every layer of one text. Arguments and errors as for `load_encoder` and `Encoder.encode`.

    `threads` is how many to compute with; see `lw.extract`.
    """

    choose(threads)
    choices.one_of("level", level, ("token", "word", "text"))
    with computing(threads):
        encoder = encode.load.load_encoder(
            model,
            device=device,
            revision=revision,
            allow_pickle=allow_pickle,
            trust_remote_code=trust_remote_code,
        )
        states = encoder.encode([text], layers, level, pool, special_tokens=special_tokens)
    stack = states.stack(list(states.layers))
    norms = np.linalg.norm(stack.astype(np.float64), axis=2)
    texts = states.index["text"].to_pylist()
    special = set(states.where(special=True).tolist()) if level == "token" else set()
    rows = tuple(
        ShownRow(
            layer,
            "(special)" if row in special else str(text),
            float(norms[at, row]),
            stack[at, row].tolist(),
        )
        for row, text in enumerate(texts)
        for at, layer in enumerate(states.layers)
    )
    return Shown(
        encoder.checkpoint.name, len(states.layers), encoder.width, states.texts["tokens"][0].as_py(), rows
    )
