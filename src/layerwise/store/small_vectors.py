"""Small vectors for search: one mix as bits, int8, principal components, or an index; with the transform for queries.

The rows are read twice, block by block: to fit the transform, and to write. Memory holds a block, the sampled queries, and
of an index all of it.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.lib import format as npy

from layerwise._util.display import count_of
from layerwise._util.memory import available
from layerwise._util.progress import SILENT, Tracker
from layerwise.arguments import argument
from layerwise.array_types import F32, I64
from layerwise.choices import read_export_format
from layerwise.errors import RequestError
from layerwise.fitted_mix import FittedMix
from layerwise.layers import LayerSpec, resolve_layers
from layerwise.mixes import Mix, parse_mix
from layerwise.recall import NearestRows, Recall, recall_of
from layerwise.states import Layered, LayerStates
from layerwise.store import disk, faiss_index, usearch_index
from layerwise.store.export_result import FACTS, TRANSFORM, Export, SmallVectors
from layerwise.store.export_rows import mix_column, write_tables
from layerwise.store.layout import to_json
from layerwise.store.reader import LayerDataset
from layerwise.store.result_provenance import provenance_of
from layerwise.store.search_rows import SearchRows, search_rows
from layerwise.store.transform_file import write_transform
from layerwise.transform_fit import TransformFitter
from layerwise.transforms import FittedRows, Transform, unit_rows

VECTORS, SCALES = "vectors.npy", "scales.npy"
_INDEXES: dict[str, tuple[str, Any]] = {
    "faiss": (faiss_index.NAME, faiss_index.FaissIndex),
    "usearch": (usearch_index.NAME, usearch_index.UsearchIndex),
}


class VectorIndex(Protocol):
    """An index of another library; see `faiss_index.FaissIndex`."""

    def add(self, vectors: F32) -> None:
        """Add rows, (n, width)."""

    def search(self, queries: F32, k: int) -> I64:
        """Return the numbers of the k rows nearest to each query."""

    def save(self, path: Path) -> None:
        """Write the index to a new file."""


def export_small(
    states: Layered,
    to: str,
    out: str | Path,
    layers: LayerSpec = "all",
    mix: str | int | Mix | FittedMix | None = None,
    split: str | None = None,
    track: Tracker = SILENT,
) -> Export:
    """Write one mix of some rows as small vectors, or as an index, into the folder `out`.

    The folder has `vectors.npy` (and `scales.npy` for int8), `vectors.faiss` or `vectors.usearch`; the transform for
    queries; what was measured, `export.json`; and the tables of the rows and the texts.

    Args:
        states: rows on disk or in memory.
        to: `binary`, `int8`, `pca:D` with the number of dimensions, `faiss` or `usearch`.
        out: the folder to write; it must not exist yet.
        layers: a single layer, when no mix is given.
        mix: a mix string, or the mix of a head.
        split: a column; the transform is fitted on the rows with `train`, and queries are taken from the others.
        track: reports which rows are read.

    Raises:
        RequestError: no single mix, no rows, more dimensions than the rows have, no training rows, an extra that isn't
            installed, or an index that is larger than the available memory.
        HeadError: a head that was trained on other rows.
        OutputError: something exists at `out`, or it can't be written to.
    """
    name, components = read_export_format(to)
    mix = _single_layer(states, to, layers) if mix is None else mix
    target = Path(out)
    disk.check_new(target)
    rows = search_rows(states, mix_column(states, mix), split)
    _check_components(to, components, rows)
    index = _new_index(name, rows) if name in _INDEXES else None
    fitter = TransformFitter(name if index is None else "unit", rows.width, components)
    fitting, writing = track.split(1, 2)
    with disk.new(target) as part:
        part.mkdir()
        transform, queries, variance = rows.fit(fitter, _fitted_rows(rows, mix, split), fitting)
        write_transform(transform, part / TRANSFORM)
        if index is None:
            recall = _write_vectors(rows, transform, queries, part, writing)
        else:
            recall = _write_index(rows, transform, queries, index, part / _INDEXES[name][0], writing)
        small = _facts(transform, states.rows, variance, recall, part)
        write_tables(states, part)
        disk.write_file(part / FACTS, to_json({"to": to, **small.to_json(), **provenance_of(states)}))
    return Export(target, to, small)


def _single_layer(states: Layered, to: str, layers: LayerSpec) -> str:
    names = resolve_layers(layers, states.blocks, states.layers)
    if len(names) != 1:
        raise RequestError(
            f"{argument('to', to)} writes one layer or mix, and {argument('layers', layers)} are {len(names)}; give "
            f"{argument('mix', names[-1])} or another mix"
        )
    return names[0]


def _check_components(to: str, components: int | None, rows: SearchRows) -> None:
    most = min(rows.width, int(rows.train.sum()))
    if components is not None and components > most:
        raise RequestError(
            f"{argument('to', to)} asks for {components} dimensions, the vectors have {rows.width}, and the transform has "
            f"{count_of(int(rows.train.sum()), 'row')} to fit on; give pca:D with D up to {most}"
        )


def _new_index(name: str, rows: SearchRows) -> VectorIndex:
    """Return an index without rows, after checking that the memory has room for it."""
    index: VectorIndex = _INDEXES[name][1](rows.width)
    size, free = rows.states.rows * _INDEXES[name][1].bytes_per_row(rows.width), available()
    if free is not None and size > free:
        raise RequestError(
            f"{argument('to', name)}: an index of {rows.states.rows:,} rows of {rows.width} numbers needs about "
            f"{size / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are available; use "
            f"{argument('to', 'int8')} or {argument('to', 'binary')}"
        )
    return index


def _fitted_rows(rows: SearchRows, mix: str | int | Mix | FittedMix, split: str | None) -> FittedRows:
    states, special_tokens = rows.states, True
    model, hashes = None, None
    if isinstance(states, LayerDataset):
        special_tokens = states.manifest.settings.special_tokens
        entry = states.manifest.model
        model, hashes = entry.id, {name: getattr(entry, name) for name in ("weights", "tokenizer", "config")}
    elif isinstance(states, LayerStates) and states.model is not None:
        model, hashes = states.model.name, dict(states.model.hashes)
    of_head = isinstance(mix, FittedMix)
    text = mix.mix_string if isinstance(mix, FittedMix) else str(parse_mix(mix, states.blocks, states.layers))
    count = int(rows.train.sum())
    return FittedRows(text, of_head, states.level, states.pool, special_tokens, model, hashes, count, split)


def _write_vectors(
    rows: SearchRows, transform: Transform, queries: F32, folder: Path, track: Tracker
) -> Recall | None:
    """Write `vectors.npy`, and for int8 `scales.npy`; return the recall, measured in the same pass."""
    exact = NearestRows(unit_rows(transform.centred(queries)), rows.queries, rows.nearest)
    small = NearestRows(transform.comparable(transform(queries)), rows.queries, rows.nearest)
    count = rows.states.rows
    with ExitStack() as files:
        vectors = files.enter_context(
            _array_file(folder / VECTORS, transform.dtype, (count, transform.numbers))
        )
        has_scales = transform.kind == "int8"
        scales = (
            files.enter_context(_array_file(folder / SCALES, np.dtype("<f4"), (count,)))
            if has_scales
            else None
        )
        for first, block in rows.blocks(track, "rows"):
            codes, of_rows = transform.with_scales(block)
            vectors.write(codes.data)
            if scales is not None and of_rows is not None:
                scales.write(of_rows.data)
            if rows.nearest:
                exact.add(first, unit_rows(transform.centred(block)))
                small.add(first, transform.comparable(codes))
        for file in (vectors, scales):
            if file is not None:
                file.flush()
                disk.sync(file.fileno(), folder)
    return recall_of(exact.rows, small.rows, count) if rows.nearest else None


def _array_file(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> BinaryIO:
    """Open a new npy file of an array of this type and shape, whose numbers are to be written."""
    file = disk.create(path)
    npy.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    return file


def _write_index(
    rows: SearchRows, transform: Transform, queries: F32, index: VectorIndex, path: Path, track: Tracker
) -> Recall | None:
    """Write an index, and return the recall of searches in it."""
    units = transform(queries)
    exact = NearestRows(units, rows.queries, rows.nearest)
    for first, block in rows.blocks(track, "rows"):
        vectors = transform(block)
        index.add(vectors)
        if rows.nearest:
            exact.add(first, vectors)
    index.save(path)
    if not rows.nearest:
        return None
    nearest = index.search(units, rows.nearest + 1)
    others = np.argsort(nearest == rows.queries[:, None], axis=1, kind="stable")[:, : rows.nearest]
    return recall_of(exact.rows, np.take_along_axis(nearest, others, axis=1), rows.states.rows)


def _facts(
    transform: Transform, rows: int, variance: float | None, recall: Recall | None, folder: Path
) -> SmallVectors:
    files = [folder / name for name in (VECTORS, SCALES, *(name for name, _ in _INDEXES.values()))]
    return SmallVectors(
        mix=transform.fitted.mix,
        rows=rows,
        width=transform.width,
        numbers=transform.numbers,
        dtype=transform.dtype.name,
        bytes_per_row=sum(path.stat().st_size for path in files if path.exists()) / rows,
        fitted_rows=transform.fitted.rows,
        variance=variance,
        recall=recall,
    )
