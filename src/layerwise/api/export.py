"""export: a dataset in formats of other programs, and as small vectors for search."""

from pathlib import Path

from layerwise import store
from layerwise._util.paths import local_path
from layerwise._util.progress import Callback, tracking
from layerwise.arguments import argument
from layerwise.choices import read_export_format
from layerwise.errors import RequestError
from layerwise.fitted_mix import FittedMix, refuse_head_options
from layerwise.heads.predict import Head, load_head
from layerwise.heads.storage import is_head_folder
from layerwise.layers import LayerSpec
from layerwise.store import LayerDataset, open_dataset
from layerwise.store.export_result import Export
from layerwise.store.small_vectors import export_small

_WHOLE = ("parquet", "npy")


def export(
    dataset: LayerDataset | str | Path,
    out: str | Path,
    *,
    to: str = "parquet",
    layers: LayerSpec = "all",
    mix: str | int | Head | Path | None = None,
    task: str | None = None,
    hidden: bool = False,
    split: str | None = None,
    progress: Callback | None = None,
) -> Export:
    """Write a dataset, or some layers or a mix of it: whole vectors, or small ones for search with the transform for queries.

    Small vectors are a folder with the recall that was measured on them; see "Exporting vectors" in the documentation.

    Args:
        dataset: a dataset, or its folder.
        out: the file (`parquet`) or folder (all others); it must not exist.
        to: whole vectors: `parquet` or `npy`; small ones: `binary`, `int8`, `pca:D` with D dimensions, or an index of
            `faiss` or `usearch`.
        layers: the layers to write, one for small vectors; not together with `mix`.
        mix: a mix string, a layer number, or a head or its folder, whose trained mix is used; written instead of layers.
            The folder of a head whose name is a mix string as well is given with its path, such as `./6`.
        task: the name of the task whose mix is written, for a head of several tasks.
        hidden: for a head with a hidden layer, write the output of this layer.
        split: for small vectors: a column; the mean and the components are those of the rows with `train` in it, and the
            queries of the recall are other rows.
        progress: called with the progress; see `lw.Progress`.

    Returns:
        what was written, with its `path`, and for small vectors their size and recall.

    Raises:
        RequestError: an unknown format, a layer or mix that doesn't exist, or layers together with a mix; a head of
            several tasks without `task`, or `hidden` for a linear head; for small vectors no single mix, no rows, more
            dimensions than there are, an extra that isn't installed, or an index that doesn't fit into memory.
        HeadError: no head, or one that was trained on rows of another model, level or pool.
        DatasetError: no dataset, or a damaged one.
        OutputError: `out` exists, or can't be written to.
    """
    if mix is not None and layers != "all":
        raise RequestError(
            f"{argument('layers', layers)} and {argument('mix', mix)} exclude each other; leave one of them out"
        )
    name, _ = read_export_format(to)
    if split is not None and name in _WHOLE:
        raise RequestError(
            f"{argument('split', split)} is for small vectors, and {argument('to', to)} fits nothing; leave it out"
        )
    chosen = _fitted_mix(mix, task, hidden)
    opened = (dataset if isinstance(dataset, LayerDataset) else open_dataset(dataset)).checked()
    with tracking(progress) as track:
        if name in _WHOLE:
            path = store.export(opened, to=to, out=local_path(out), layers=layers, mix=chosen, track=track)
            return Export(path, to)
        return export_small(opened, to, local_path(out), layers, chosen, split, track)


def _fitted_mix(
    mix: str | int | Head | Path | None, task: str | None, hidden: bool
) -> str | int | FittedMix | None:
    """Return the mix of a head, or the mix string."""
    if isinstance(mix, Path) or (isinstance(mix, str) and is_head_folder(mix)):
        mix = load_head(mix)
    if isinstance(mix, Head):
        return mix.fitted_mix(task, hidden)
    refuse_head_options(task, hidden)
    return mix
