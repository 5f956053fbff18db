"""Write a cut as ONNX, with the tokenizer, a description of its outputs, and a model card."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from layerwise.cutting import onnx_runtime
from layerwise.cutting.card import card
from layerwise.cutting.description import described
from layerwise.cutting.folder import source_facts, steps_note, write_tokenizer
from layerwise.cutting.graph import CutGraph, GraphPlan, leaves_prompt_out
from layerwise.cutting.onnx_parity import GraphReference
from layerwise.cutting.plan import CutPlan
from layerwise.cutting.result import CutModel
from layerwise.encode.cut_model import stored_size
from layerwise.encode.cut_parity import checked_model
from layerwise.encode.cut_source import CutSource
from layerwise.encode.hf import saving
from layerwise.store import disk
from layerwise.wording import Message

FILE = "model.onnx"
_USAGE = """\
import numpy, onnxruntime
from transformers import AutoTokenizer
session = onnxruntime.InferenceSession("model.onnx")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
{padding}texts = {texts}
tokens = tokenizer(
    texts, padding=True, padding_side="right", truncation=True, max_length={length}, return_tensors="np"
)
inputs = {{i.name: tokens[i.name].astype(numpy.int64) for i in session.get_inputs()}}
outputs = session.run({names}, inputs)"""
_TEXTS = '["Hello, world!", "And more."]'


def write_onnx(source: CutSource, plan: CutPlan, graph: GraphPlan, precision: str, folder: Path) -> CutModel:
    """Write a cut as ONNX into an existing empty folder.

    Args:
        source: the model.
        plan: which of its blocks stay.
        graph: the outputs.
        precision: `fp32` or `int8`.
        folder: where.

    Returns:
        what was written; `out` is the name of the folder.

    Raises:
        ModelError: a model that can't be cut or exported, or a graph that gives other numbers.
    """
    short = checked_model(source, plan.at, plan.dropped)
    reference = GraphReference(source, short, graph)
    module = CutGraph(short.model, graph).eval()
    example = {name: torch.from_numpy(values) for name, values in reference.batches[0].inputs.items()}
    exact = folder if precision == "fp32" else folder / "exact"
    disk.make_folder(exact)
    onnx_runtime.export(module, example, graph.outputs, exact / FILE, f"{source.name!r} ({source.family})")
    parity = reference.parity(exact / FILE)
    errors = {} if exact == folder else _quantised(exact, folder, reference)
    write_tokenizer(source, folder)
    saving.save_config(short.model, folder)
    notes = graph_notes(source, graph, errors)
    written = CutModel(
        out=str(folder),
        to="onnx",
        at=plan.layer,
        dropped=plan.dropped,
        blocks=plan.blocks,
        width=reference.expected[0][graph.outputs[-1]].shape[-1],
        parameters=stored_size(short, source)[0],
        bytes=0,
        source=source_facts(source),
        parity=parity,
        outputs=graph.outputs,
        errors=errors,
        notes=notes,
    )
    usage = _USAGE.format(
        texts=_TEXTS if not source.checkpoint.lowercase else f"[text.lower() for text in {_TEXTS}]",
        padding="" if _pads(source) else "tokenizer.pad_token = tokenizer.eos_token\n",
        names=list(graph.outputs),
        length=longest_text(source, graph),
    )
    disk.write_file(folder / "README.md", card(source, plan, "onnx", usage, notes).encode())
    return described(written, source, folder, **_described_graph(source, graph, precision))


def _quantised(exact: Path, folder: Path, reference: GraphReference) -> Mapping[str, float]:
    """Write a graph with int8 weights in place of the exact one, and return the relative error of each output."""
    onnx_runtime.quantise(exact / FILE, folder / FILE)
    shutil.rmtree(exact)
    return reference.errors(folder / FILE)


def graph_notes(source: CutSource, graph: GraphPlan, errors: Mapping[str, float]) -> tuple[Message, ...]:
    """Return what a reader of a graph should know: what it does to no text, and the `errors` of int8 by output."""
    notes = list(steps_note(source))
    if errors:
        notes.append(Message("note.cut.int8", error=f"{max(errors.values()):.2g}"))
    rows = _rows(source, graph)
    if rows["prompt"]:
        notes.append(Message("note.cut.prompt", prompt=repr(rows["prompt"])))
    if leaves_prompt_out(rows, source):
        notes.append(Message("note.cut.prompt.pooled", pool=str(rows["pool"])))
    if source.checkpoint.lowercase:
        notes.append(Message("note.cut.lowercase"))
    if rows.get("redact") is not None:
        notes.append(Message("note.cut.redact"))
    return tuple(notes)


def _rows(source: CutSource, graph: GraphPlan) -> Mapping[str, Any]:
    """Return how the rows are made that a graph gives: those of its head, or those of the source."""
    if graph.head is not None:
        return graph.head.rows
    prompts = source.checkpoint.prompts
    prompt = None if prompts.default is None else prompts.texts[prompts.default]
    return {"prompt": prompt, "pool": graph.pool, "max_length": source.max_length}


def longest_text(source: CutSource, graph: GraphPlan) -> int:
    """Return the number of tokens of the longest text: that of the head, whose training may have had a smaller one."""
    return min(int(_rows(source, graph)["max_length"]), source.max_length)


def _pads(source: CutSource) -> bool:
    return source.loaded.tokenizer.pad_token_id is not None


def _described_graph(source: CutSource, graph: GraphPlan, precision: str) -> dict[str, Any]:
    """Return what a program needs to know of the graph."""
    tasks = () if graph.head is None else graph.head.task_heads
    return {
        "mix": None if graph.mix is None else str(graph.mix),
        "classes": {name: list(task.classes) for name, task in zip(graph.outputs, tasks, strict=False)},
        "pool": graph.pool,
        "max_length": longest_text(source, graph),
        "precision": precision,
    }
