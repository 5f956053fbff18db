"""cut: a smaller model that ends at a layer of another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from layerwise._util.progress import Callback, tracking
from layerwise._util.silence import warned_once
from layerwise._util.threads import choose
from layerwise.cutting.drop_score import drop_probe, drop_score
from layerwise.cutting.folder import write_folder
from layerwise.cutting.graph import graph_end, graph_plan, layers_plan
from layerwise.cutting.onnx_folder import write_onnx
from layerwise.cutting.plan import cut_plan
from layerwise.cutting.request import check_cut, check_table
from layerwise.cutting.static import write_static
from layerwise.cutting.table import CutTable, cut_table
from layerwise.encode.computing import computing
from layerwise.encode.cut_source import load_cut_source
from layerwise.encode.load import load_without_prompts
from layerwise.heads.predict import load_head
from layerwise.layers import LayerSpec
from layerwise.options import CutOptions, LoadOptions, check_types, part
from layerwise.store import disk
from layerwise.store.layout import to_json
from layerwise.store.result_folder import result_folder

if TYPE_CHECKING:
    from layerwise.cutting.result import CutModel


@overload
def cut(
    model: str | Path = "minilm",
    out: str | Path | None = None,
    *,
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
    at: LayerSpec | None = None,
    drop: LayerSpec | None = None,
    to: str = "folder",
    mix: str | None = None,
    head: Any = None,
    precision: str = "fp32",
    static: bool = False,
    table: Literal[False] = False,
    probe: Any = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> CutModel: ...
@overload
def cut(
    model: str | Path = "minilm",
    out: str | Path | None = None,
    *,
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
    at: LayerSpec | None = None,
    drop: LayerSpec | None = None,
    to: str = "folder",
    mix: str | None = None,
    head: Any = None,
    precision: str = "fp32",
    static: bool = False,
    table: Literal[True],
    probe: Any = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> CutTable: ...
def cut(
    model: str | Path = "minilm",
    out: str | Path | None = None,
    *,
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
    at: LayerSpec | None = None,
    drop: LayerSpec | None = None,
    to: str = "folder",
    mix: str | None = None,
    head: Any = None,
    precision: str = "fp32",
    static: bool = False,
    table: bool = False,
    probe: Any = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> CutModel | CutTable:
    """Write the model that ends at a layer of another, with its tokenizer, its pool, and a model card.

    The result is compared with its source before it is done; a family whose blocks can't be cut is refused.

    Args:
        model: a name for `load_encoder`.
        out: the new folder; with `table`, a new JSON file, or nothing.
        at: the layer that the model ends at; a layer string of one layer, 0 for the embeddings alone.
        drop: blocks to leave out.
        to: `folder` or `onnx`.
        mix: with `onnx`, the mix that is its output.
        head: with `onnx`, the head whose scores are its output.
        precision: with `onnx`, `fp32` or `int8`.
        static: write a table of token vectors, as a folder of model2vec.
        table: measure the cost of every cut instead of writing one.
        probe: the result of `lw.probe`, or its folder.
        revision, device, allow_pickle, trust_remote_code, adapter: see `load_encoder`.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        what was written, and how far it is from its source; with `table`, the cost of each cut.

    Raises:
        RequestError: a layer that doesn't exist, or options that can't be combined.
        ModelError: an unknown model, or a family whose blocks can't be cut.
        OutputError: `out` exists, or can't be written to.
    """
    options = CutOptions(
        at=at,
        drop=drop,
        to=to,
        mix=mix,
        head=head,
        precision=precision,
        static=static,
        table=table,
        probe=probe,
        revision=revision,
        device=device,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
        adapter=adapter,
    )
    check_types(CutOptions, vars(options))
    choose(threads)
    if table:
        return _table(model, options, out, progress, threads)
    target = check_cut(options, out)
    disk.check_new(target)
    with warned_once(), computing(threads), tracking(progress) as track:
        loading, writing, scoring = track.split(1, 2, 0 if probe is None else 4)
        loading.named("loading the model")
        source = load_cut_source(model, **part(options, LoadOptions))
        graph = graph_plan(mix, None if head is None else load_head(head), source)
        plan = cut_plan(graph_end(graph, at, source), drop, source.blocks)
        probed = None if probe is None else drop_probe(probe, source)
        writing.named("writing the model")
        with result_folder(target) as folder:
            if static:
                written = write_static(source, plan, folder, writing)
            elif to == "onnx":
                written = write_onnx(source, plan, graph or layers_plan(plan), precision, folder)
            else:
                written = write_folder(source, plan, folder)
            score = None if probed is None else drop_score(probed, source, plan, folder, scoring)
    return replace(written, out=str(target), score=score)


def _table(
    model: str | Path,
    options: CutOptions,
    out: str | Path | None,
    progress: Callback | None,
    threads: int | None,
) -> CutTable:
    """Measure the cost of every cut, and write it as JSON if there is a file for it."""
    target = check_table(options, out)
    if target is not None:
        disk.check_new(target)
    with warned_once(), computing(threads), tracking(progress) as track:
        loading, measuring = track.split(1, 4)
        loading.named("loading the model")
        source = load_cut_source(model, **part(options, LoadOptions))
        encoder = load_without_prompts(model, **part(options, LoadOptions))
        table = cut_table(source, encoder, options.probe, measuring)
    if target is not None:
        with disk.new(target) as file:
            disk.write_synced(file, to_json(table.to_json()))
    return table
