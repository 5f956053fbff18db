"""The graph of a cut model: its layers, the mix of a text, or the scores of a head, by the names of its outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerwise.arguments import argument
from layerwise.cutting.plan import CutPlan, at_of_layers
from layerwise.cutting.text_output import GRAPH_POOLS, HeadOutput, MixOutput, pooled
from layerwise.encode.cut_source import CutSource
from layerwise.encode.taps import hidden_states
from layerwise.errors import RequestError
from layerwise.heads.head import HeadData
from layerwise.layers import LayerSpec, layer_names, site
from layerwise.mixes import Mix, parse_mix, refuse_learned

_SUMS = ("mean", "max", "sum")  # the pools of all tokens of a text


@dataclass(frozen=True)
class GraphPlan:
    """What a graph gives.

    Attributes:
        outputs: the names of its outputs.
        mix: the mix that it gives per text, or `None`.
        head: the head whose scores it gives, or `None`.
        pool: how tokens become a row; `None` where it gives a vector, or scores, per token.
    """

    outputs: tuple[str, ...]
    mix: Mix | None = None
    head: HeadData | None = None
    pool: str | None = None


def mix_plan(text: str, source: CutSource) -> GraphPlan:
    """Return the plan of a graph that gives the mix of a text.

    Raises:
        RequestError: a mix that needs a head or training rows, or a pool that the graph can't compute.
    """
    mix = parse_mix(text, source.blocks)
    refuse_learned(mix, f"give the head in {argument('head')}")
    if mix.norm is not None:
        raise RequestError(
            f"{argument('mix', text)} standardises layers by rows, and a graph has none; give a head trained with this mix in "
            f"{argument('head')}, or leave norm=layer out"
        )
    _check_sites(mix.layers, argument("mix", text))
    _check_pool(source.pool, True, argument("mix", text))
    return GraphPlan(("mix",), mix=mix, pool=source.pool)


def head_plan(head: HeadData, source: CutSource) -> GraphPlan:
    """Return the plan of a graph that gives the scores of a head.

    Raises:
        HeadError: a head of another model.
        RequestError: a head whose rows a graph can't make.
    """
    head.check_model(source.hashes, source.name)
    rows, name = head.rows, argument("head", head.name or "HEAD")
    kind = _rows_without_graph(head, source)
    if kind is not None:
        raise RequestError(
            f"{name} reads rows of {kind}, which a graph can't make of tokens; give a head of single texts of level 'text' or "
            "'token'"
        )
    _check_sites(head.layers, name)
    if rows["level"] == "text":
        _check_pool(rows["pool"], bool(rows["special_tokens"]), name)
    single = len(head.task_heads) == 1
    outputs = ("scores",) if single else tuple(f"scores.{task}" for task in head.tasks)
    return GraphPlan(outputs, head=head, pool=rows["pool"] if rows["level"] == "text" else None)


def _rows_without_graph(head: HeadData, source: CutSource) -> str | None:
    """Return in words which rows a head reads that a graph can't make of the tokens of a text; `None` for others."""
    rows = head.rows
    if head.pairs is not None or rows.get("joint"):
        return "pairs of texts"
    if rows.get("context"):
        return "texts with their neighbours"
    if rows.get("words_pool"):
        return f"texts pooled from words ({rows['words_pool']})"
    if rows["level"] not in ("text", "token"):
        return f"level {rows['level']!r}"
    return "texts without the tokens of their prompt" if leaves_prompt_out(rows, source) else None


def leaves_prompt_out(rows: Mapping[str, Any], source: CutSource) -> bool:
    """Return whether the pool of rows that were made in some way leaves out the tokens of their prompt."""
    return bool(rows["prompt"]) and rows["pool"] in _SUMS and not source.checkpoint.prompts.included


def layers_plan(plan: CutPlan) -> GraphPlan:
    """Return the plan of a graph that gives every layer of a cut, a vector per token."""
    return GraphPlan(layer_names(plan.blocks))


def _check_sites(layers: tuple[str, ...], name: str) -> None:
    sites = [layer for layer in layers if site(layer) is not None]
    if sites:
        raise RequestError(
            f"{name} reads {sites[0]}, and a graph gives emb and the outputs of blocks only; use a mix of those"
        )


def _check_pool(pool: str, special_tokens: bool, name: str) -> None:
    if pool not in GRAPH_POOLS or not special_tokens:
        kind = f"pool {pool!r}" if special_tokens else f"pool {pool!r} without special tokens"
        raise RequestError(
            f"{name} is of rows with {kind}, for which a graph would have to know special tokens; it can have "
            f"{', '.join(GRAPH_POOLS)}, with special tokens"
        )


class CutGraph(nn.Module):
    """A cut model with named outputs."""

    def __init__(self, model: nn.Module, plan: GraphPlan) -> None:
        super().__init__()
        self.model, self.plan = model, plan
        tasks = () if plan.head is None else plan.head.task_heads
        self.mix = None if plan.mix is None else MixOutput(plan.mix)
        self.heads = nn.ModuleList(HeadOutput(task) for task in tasks)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Return the outputs; each input is (batch, length)."""
        inputs: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        states = hidden_states(self.model(**inputs, output_hidden_states=True))
        if self.mix is None and not len(self.heads):
            return states
        layers = dict(zip(layer_names(len(states) - 1), states, strict=True))
        if self.plan.pool is not None:
            layers = self._rows(layers, attention_mask)
        parts = [self.mix] if self.mix is not None else list(self.heads)
        return tuple(part(layers) for part in parts)

    def _rows(self, layers: Mapping[str, torch.Tensor], mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return a row per text of the layers that are needed, (batch, width) each."""
        needed = self.plan.mix.layers if self.plan.mix is not None else self.plan.head.layers  # type: ignore[union-attr]
        return {name: pooled(layers[name], mask, str(self.plan.pool)) for name in needed}


def graph_plan(mix: str | None, head: HeadData | None, source: CutSource) -> GraphPlan | None:
    """Return the plan of a graph for a mix or a head; `None` for one that gives layers."""
    if head is not None:
        return head_plan(head, source)
    return None if mix is None else mix_plan(mix, source)


def graph_end(graph: GraphPlan | None, at: LayerSpec | None, source: CutSource) -> LayerSpec | None:
    """Return where to cut a model for a graph: after the deepest layer that it reads, unless `at` says where.

    Raises:
        RequestError: `at` is before that layer.
    """
    if graph is None:
        return at
    layers = graph.head.layers if graph.head is not None else graph.mix.layers  # type: ignore[union-attr]
    return at_of_layers(layers, at, source.blocks)
