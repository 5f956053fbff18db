"""Every layer of one text, as numbers for `show`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerwise._util.display import count_of, number
from layerwise.encode.encoder import Encoder
from layerwise.results import Result, Table
from layerwise.states import LayerStates, dimension_names, matching_rows

_FIRST = 4  # numbers of a vector that a notebook shows


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """One vector.

    Attributes:
        layer: its layer.
        text: what it stands for: a token, a word, or the text; `(special)` for a special token.
        unknown: how many tokens of it the model doesn't know.
        norm: its Euclidean norm.
        vector: its numbers.
    """

    layer: str
    text: str
    unknown: int
    norm: float
    vector: list[float]


@dataclass(frozen=True, slots=True, repr=False)
class Overview(Result):
    """Every layer of one text; returned by `lw.show`.

    A sequence of rows: `overview[-1]`, `for row in overview`. They go by token, word or text first, then by layer.
    `to_pandas()` has a row per vector: `layer`, `text`, `unknown`, `norm`, and a column per dimension (see
    `LayerStates.to_pandas`).

    Attributes:
        model: the name of the model.
        layers: the number of layers.
        width: the number of dimensions of a vector; of the widest where sites have others.
        tokens, unknown: the number of tokens of the text, and of those that the model doesn't know.
        rows: the vectors.
    """

    model: str
    layers: int
    width: int
    tokens: int
    unknown: int
    rows: tuple[OverviewRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> OverviewRow:
        return self.rows[position]

    def __iter__(self) -> Iterator[OverviewRow]:
        return iter(self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        rows = [
            {"layer": r.layer, "text": r.text, "unknown": r.unknown, "norm": r.norm, "vector": r.vector}
            for r in self.rows
        ]
        return {
            "model": self.model,
            "layers": self.layers,
            "width": self.width,
            "tokens": self.tokens,
            "unknown": self.unknown,
            "rows": rows,
        }

    def _lines(self) -> Sequence[str]:
        norms = ", ".join(f"{row.layer} {number(row.norm)}" for row in self.rows[: self.layers])
        return [
            f"Overview: {count_of(self.layers, 'layer')} of width {self.width} by {self.model}, {count_of(self.tokens, 'token')} "
            f"({self.unknown} unknown), {len(self.rows):,} vectors",
            f"norms of {self.rows[0].text}: {norms}" if self.rows else "",
        ]

    def _table(self) -> Table:
        filled = ([*row.vector, *[None] * (self.width - len(row.vector))] for row in self.rows)
        vectors = zip(*filled, strict=True)
        return {**self._described(), **dict(zip(dimension_names(self.width), vectors, strict=True))}

    def _shown_table(self) -> Table:
        first = [", ".join(map(number, row.vector[:_FIRST])) for row in self.rows]
        return {**self._described(), "first numbers": first}

    def _note(self) -> str:
        return ""

    def _described(self) -> Table:
        return {
            name: [getattr(row, name) for row in self.rows] for name in ("layer", "text", "unknown", "norm")
        }


def overview(encoder: Encoder, states: LayerStates) -> Overview:
    """Return the overview of the one text in `states`."""
    layers = {name: states.layer(name) for name in states.layers}
    norms = {name: np.linalg.norm(rows.astype(np.float64), axis=1) for name, rows in layers.items()}
    texts = states.index["text"].to_pylist()
    special = set(matching_rows(states, special=True).tolist()) if states.level == "token" else set()
    tokens, unknown = (states.texts[name][0].as_py() for name in ("tokens", "unknown"))
    unknown_of_rows = states.index["unknown"].to_pylist() if states.level != "text" else [unknown]
    rows = tuple(
        OverviewRow(
            layer,
            "(special)" if row in special else str(text),
            unknown_of_rows[row],
            float(norms[layer][row]),
            layers[layer][row].tolist(),
        )
        for row, text in enumerate(texts)
        for layer in states.layers
    )
    width = max(states.widths.values())
    return Overview(encoder.checkpoint.name, len(states.layers), width, tokens, unknown, rows)
