"""Run texts of several requests in shared forwards, up to the deepest layer that each text needs.

A chunk is some texts with the rows that one request makes of them, perhaps in several views (levels, pools, layers). The
windows of all chunks go through the model together. Each window leaves the forward after its own deepest layer, where the
engine can do that. Rows of the same layers and reduction are gathered together, whatever requests they belong to.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from layerwise import pooling
from layerwise.array_types import I64
from layerwise.encode.batches import Batch, LayerKey, LayerSets, Sequences
from layerwise.encode.engine import Engine, PlainEngine
from layerwise.encode.gather import Gatherer, Memory, PlannedRows, gathering_device, key_of
from layerwise.encode.plan import Plan, merged_plan
from layerwise.encode.shard_plan import PlannedShard
from layerwise.encode.taps import OnLayer, block_of
from layerwise.encode.transfer import Floats
from layerwise.widths import Widths

TextChunk = Sequence[PlannedShard]
"""Some texts: a plan per view, all of the same windows."""
LayersOfRows = Mapping[str, Floats]
"""Layers of some rows by name, each float32 (rows, width)."""
OnForward = Callable[[int, int], None]


@dataclass(frozen=True)
class _RowGroup:
    """Rows of the same layers and reduction: (chunk, view) of each plan, and the sink that takes them."""

    members: Sequence[tuple[int, int]]
    plan: Plan
    gatherer: Gatherer
    memory: Memory


def run_chunks(
    engine: Engine | PlainEngine,
    chunks: Sequence[TextChunk],
    widths: Widths,
    budget: int,
    on_forward: OnForward | None = None,
) -> list[list[LayersOfRows]]:
    """Return the requested layers of each view of each chunk, from shared forwards.

    Args:
        engine: runs the model.
        chunks: the texts.
        widths: those of all requested layers.
        budget: the maximum number of tokens of a batch.
        on_forward: called after each forward with its numbers of tokens and of windows.
    """
    sequences = _concatenated([chunk[0].plan.sequences for chunk in chunks])
    counts = [chunk[0].plan.windows for chunk in chunks]
    firsts = np.cumsum([0, *counts])[:-1].tolist()
    device = gathering_device(engine)
    groups = [_group(chunks, members, firsts, sequences, (widths, device)) for members in _alike(chunks)]
    sets_of_windows = [
        keys for keys, count in zip(map(_keys, chunks), counts, strict=True) for _ in range(count)
    ]
    _run(engine, sequences, groups, sets_of_windows, budget, on_forward)
    return _by_chunk(chunks, groups)


def _run(
    engine: Engine | PlainEngine,
    sequences: Sequences,
    groups: Sequence[_RowGroup],
    sets: Sequence[frozenset[LayerKey]],
    budget: int,
    on_forward: OnForward | None,
) -> None:
    device = gathering_device(engine)
    depths = np.array([max(map(block_of, keys)) for keys in sets], dtype=np.int64)
    for batch in engine.batches(sequences, budget, depths):
        ordered, sets_of_batch = _ordered(engine, batch, sets, depths)
        begins = engine.begins(ordered)
        receivers = [group.gatherer.receiver(ordered, begins) for group in groups]

        def on_layer(key: LayerKey, hidden: torch.Tensor, receivers: Sequence[OnLayer] = receivers) -> None:
            hidden = hidden.to(device)
            for receive in receivers:
                receive(key, hidden)

        engine.run(sequences, ordered, sets_of_batch, on_layer)
        if on_forward is not None:
            on_forward(int(batch.lengths.sum()), len(batch.windows))
    for group in groups:
        group.gatherer.finish()


def _ordered(
    engine: Engine | PlainEngine, batch: Batch, sets: Sequence[frozenset[LayerKey]], depths: I64
) -> tuple[Batch, LayerSets]:
    """Return a batch in the order in which its windows can leave, and the layers to deliver."""
    if not getattr(engine, "leaves", False) or len({sets[n] for n in batch.windows.tolist()}) == 1:
        return batch, frozenset().union(*(sets[n] for n in batch.windows.tolist()))
    ordered = batch.by_depth(depths[batch.windows])
    return ordered, [sets[n] for n in ordered.windows.tolist()]


def _keys(chunk: TextChunk) -> frozenset[LayerKey]:
    return frozenset(key_of(name) for shard in chunk for name in shard.request.layers)


def _alike(chunks: Sequence[TextChunk]) -> list[list[tuple[int, int]]]:
    """Return (chunk, view) of rows that are gathered together: at most one view of a chunk in each group."""
    groups: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for number, chunk in enumerate(chunks):
        repeats: dict[tuple[object, ...], int] = {}
        for view, shard in enumerate(chunk):
            request = shard.request
            key = (request.layers, request.level == "token", pooling.reduction(request.pool))
            repeats[key] = repeats.get(key, 0) + 1
            groups.setdefault((*key, repeats[key]), []).append((number, view))
    return list(groups.values())


def _group(
    chunks: Sequence[TextChunk],
    members: Sequence[tuple[int, int]],
    firsts: Sequence[int],
    sequences: Sequences,
    vectors: tuple[Widths, torch.device],
) -> _RowGroup:
    widths, device = vectors
    plans = [chunks[number][view].plan for number, view in members]
    plan = merged_plan(plans, [firsts[number] for number, _ in members], sequences)
    number, view = members[0]
    request = chunks[number][view].request
    memory = Memory(request.layers, plan.rows, widths)
    return _RowGroup(members, plan, Gatherer(PlannedRows(plan, request, memory), widths, device), memory)


def _by_chunk(chunks: Sequence[TextChunk], groups: Sequence[_RowGroup]) -> list[list[LayersOfRows]]:
    """Return the layers of each view of each chunk: views of the arrays of its group."""
    vectors: list[list[LayersOfRows]] = [[{} for _ in chunk] for chunk in chunks]
    for group in groups:
        layers, begin = group.memory.layers, 0
        for number, view in group.members:
            end = begin + chunks[number][view].rows
            vectors[number][view] = {name: rows[begin:end] for name, rows in layers.items()}
            begin = end
    return vectors


def _concatenated(parts: Sequence[Sequences]) -> Sequences:
    types = [segments for part in parts for segments in part.types or ()]
    return Sequences(
        [ids for part in parts for ids in part.ids], types if parts[0].types is not None else None
    )
