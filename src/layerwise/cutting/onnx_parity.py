"""Compare a graph with its source: ONNX Runtime against plain forwards of the source by torch, and mixes and heads in NumPy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.arguments import argument
from layerwise.array_types import F32, I64
from layerwise.cutting import onnx_runtime
from layerwise.cutting.graph import GraphPlan
from layerwise.encode.cut_model import ShortModel
from layerwise.encode.cut_parity import reference_states
from layerwise.encode.cut_source import CutSource
from layerwise.encode.forwards import Layers
from layerwise.errors import ModelError
from layerwise.heads.head import TaskHead
from layerwise.layers import layer_names
from layerwise.mixes import apply_mix
from layerwise.pooling import reduction

TOLERANCE = 1e-4  # of the largest number: other kernels, and sums in another order
Outputs = dict[str, F32]


@dataclass(frozen=True)
class InputBatch:
    """Some texts as inputs of a graph: their numbers, and int64 (texts, length) each, padded at the end."""

    numbers: tuple[int, ...]
    inputs: Mapping[str, I64]


def input_batches(source: CutSource) -> list[InputBatch]:
    """Return the inputs for two texts of other lengths together, and for each text alone."""
    lengths = source.texts.lengths()
    other = next(number for number, length in enumerate(lengths) if length != lengths[0])
    groups = [(0, other), *((number,) for number in range(len(lengths)))]
    return [InputBatch(numbers, _inputs(source, numbers)) for numbers in groups]


def _inputs(source: CutSource, numbers: Sequence[int]) -> dict[str, I64]:
    padding = source.loaded.tokenizer.pad_token_id or 0
    ids = [source.texts.ids[number] for number in numbers]
    inputs = {
        "input_ids": _padded(ids, padding),
        "attention_mask": _padded([np.ones_like(row) for row in ids], 0),
    }
    types = source.texts.types
    if types is not None and any(part.any() for part in types):
        inputs["token_type_ids"] = _padded([types[number] for number in numbers], 0)
    return inputs


def _padded(rows: Sequence[I64], padding: int) -> I64:
    padded = np.full((len(rows), max(map(len, rows))), padding, np.int64)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded


class GraphReference:
    """What the outputs of a graph should be for each text."""

    def __init__(self, source: CutSource, short: ShortModel, graph: GraphPlan) -> None:
        self.source, self.graph = source, graph
        self.batches = input_batches(source)
        self.expected = [self._expected(states) for states in reference_states(source, short)]

    def parity(self, path: Path) -> dict[str, float]:
        """Return the largest difference of each output of an ONNX file, as a share of the largest number.

        Raises:
            ModelError: one that is too large.
        """
        pairs = self._pairs(path)
        parity = {
            name: max(_difference(got[name], reference[name]) for got, reference in pairs)
            for name in self.graph.outputs
        }
        output, value = max(parity.items(), key=lambda item: item[1])
        if not value <= TOLERANCE:
            raise ModelError(
                f"model {self.source.name!r} ({self.source.family}) can't be exported to ONNX: output {output!r} of ONNX Runtime "
                f"is off by {value:.2g} of its largest number, more than {TOLERANCE:g}; write {argument('to', 'folder')} instead"
            )
        return parity

    def errors(self, path: Path) -> dict[str, float]:
        """Return the relative error of each output: the length of the difference, as a share of that of all numbers."""
        pairs = self._pairs(path)
        return {name: _relative([(a[name], b[name]) for a, b in pairs]) for name in self.graph.outputs}

    def _pairs(self, path: Path) -> list[tuple[Outputs, Outputs]]:
        """Return the outputs of ONNX Runtime for each text of each batch, without padding, with those expected."""
        results = onnx_runtime.run(path, [batch.inputs for batch in self.batches], self.graph.outputs)
        return [
            (self._of_text(result, place, number), self.expected[number])
            for batch, result in zip(self.batches, results, strict=True)
            for place, number in enumerate(batch.numbers)
        ]

    def _of_text(self, result: Mapping[str, Any], place: int, number: int) -> Outputs:
        end = len(self.source.texts.ids[number]) if self.graph.pool is None else None
        return {name: values[place][:end] for name, values in result.items()}

    def _expected(self, states: Layers) -> Outputs:
        """Return the outputs for a text, of its layers (tokens, width) as the source gives them."""
        graph = self.graph
        layers: Outputs = dict(zip(layer_names(len(states) - 1), map(np.asarray, states), strict=True))
        if graph.pool is not None:
            layers = {name: _row(tokens, graph.pool) for name, tokens in layers.items()}
        if graph.head is not None:
            tasks = zip(graph.outputs, graph.head.task_heads, strict=True)
            return {name: _scores(task, layers, graph) for name, task in tasks}
        if graph.mix is not None:
            return {"mix": apply_mix(graph.mix, layers.__getitem__, None)[0]}
        return layers


def _scores(task: TaskHead, layers: Outputs, graph: GraphPlan) -> F32:
    scores = task.scores(layers.__getitem__, paired=False)
    return scores if graph.pool is None else scores[0]


def _row(tokens: F32, pool: str) -> F32:
    """Return the row of a text, (1, width), of its tokens (tokens, width)."""
    if pool in ("cls", "eos"):
        return tokens[:1] if pool == "cls" else tokens[-1:]
    row: F32 = getattr(tokens, reduction(pool))(axis=0, keepdims=True)
    return row


def _difference(got: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.abs(got - expected).max()) / max(1.0, float(np.abs(expected).max()))


def _relative(pairs: Sequence[tuple[F32, F32]]) -> float:
    difference = np.concatenate([(got - expected).ravel() for got, expected in pairs])
    return float(np.linalg.norm(difference) / np.linalg.norm(np.concatenate([b.ravel() for _, b in pairs])))
