"""Write a cut as ONNX, with the tokenizer, a description of its outputs, and a model card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from layerwise.cutting import onnx_runtime
from layerwise.cutting.card import card
from layerwise.cutting.folder import folder_bytes, source_facts, steps_note, write_json, write_tokenizer
from layerwise.cutting.graph import CutGraph, GraphPlan
from layerwise.cutting.onnx_parity import GraphReference
from layerwise.cutting.plan import CutPlan
from layerwise.cutting.result import CutModel
from layerwise.encode import hf
from layerwise.encode.cut_model import short_model
from layerwise.encode.cut_parity import check_parity
from layerwise.encode.cut_source import CutSource
from layerwise.store import disk
from layerwise.wording import Message

FILE, DESCRIPTION = "model.onnx", "layerwise.json"
_USAGE = """\
import numpy, onnxruntime
from transformers import AutoTokenizer
session = onnxruntime.InferenceSession("model.onnx")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
tokens = tokenizer(
    ["Hello, world!", "And more."], padding=True, padding_side="right", truncation=True, max_length={length}, return_tensors="np"
)
inputs = {{i.name: tokens[i.name].astype(numpy.int64) for i in session.get_inputs()}}
outputs = session.run({names}, inputs)"""


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
    short = short_model(source, plan.at, plan.dropped)
    check_parity(source, short, short.model)
    reference = GraphReference(source, short, graph)
    module = CutGraph(short.model, graph).eval()
    example = {name: torch.from_numpy(values) for name, values in reference.batches[0].inputs.items()}
    path = folder / FILE
    onnx_runtime.export(module, example, graph.outputs, path, f"{source.name!r} ({source.family})")
    parity = reference.parity(path)
    errors = _quantised(path, reference) if precision == "int8" else {}
    write_tokenizer(source, folder)
    hf.save_config(short.model, folder)
    notes = _notes(source, graph, errors)
    written = CutModel(
        out=str(folder),
        to="onnx",
        at=plan.layer,
        dropped=plan.dropped,
        blocks=plan.blocks,
        width=reference.expected[0][graph.outputs[-1]].shape[-1],
        parameters=sum(parameter.numel() for parameter in short.model.parameters()),
        bytes=folder_bytes(folder),
        source=source_facts(source),
        parity=parity,
        outputs=graph.outputs,
        errors=errors,
        notes=notes,
    )
    write_json(folder / DESCRIPTION, _description(written, source, graph, precision))
    usage = _USAGE.format(names=list(graph.outputs), length=source.max_length)
    disk.write_file(folder / "README.md", card(source, plan, "onnx", usage, notes).encode())
    return written


def _quantised(path: Path, reference: GraphReference) -> Mapping[str, float]:
    """Replace a graph by one with int8 weights, and return the relative error of each output."""
    exact = path.with_name("exact.onnx")
    disk.rename(path, exact)
    onnx_runtime.quantise(exact, path)
    for part in path.parent.glob("exact.onnx*"):
        disk.remove(part)
    return reference.errors(path)


def _notes(source: CutSource, graph: GraphPlan, errors: Mapping[str, float]) -> tuple[Message, ...]:
    notes = list(steps_note(source))
    if errors:
        notes.append(Message("note.cut.int8", error=f"{max(errors.values()):.2g}"))
    prompts = source.checkpoint.prompts
    prompt = None if prompts.default is None else prompts.texts[prompts.default]
    if graph.head is not None:
        prompt = graph.head.rows.get("prompt")
    if prompt:
        notes.append(Message("note.cut.prompt", prompt=repr(prompt)))
    return tuple(notes)


def _description(written: CutModel, source: CutSource, graph: GraphPlan, precision: str) -> dict[str, Any]:
    """Return what the graph is, for programs."""
    tasks = () if graph.head is None else graph.head.task_heads
    return {
        "source": dict(written.source),
        "at": written.at,
        "dropped": list(written.dropped),
        "outputs": list(graph.outputs),
        "mix": None if graph.mix is None else str(graph.mix),
        "classes": {name: list(task.classes) for name, task in zip(graph.outputs, tasks, strict=False)},
        "pool": graph.pool,
        "max_length": source.max_length,
        "precision": precision,
        "parity": dict(written.parity),
        "errors": dict(written.errors),
    }
