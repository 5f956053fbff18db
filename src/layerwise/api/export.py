"""export: a dataset in formats of other programs."""

from pathlib import Path

from layerwise import store
from layerwise._util.progress import Callback, tracking
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.layers import LayerSpec
from layerwise.store import LayerDataset, open_dataset


def export(
    dataset: LayerDataset | str | Path,
    out: str | Path,
    *,
    to: str = "parquet",
    layers: LayerSpec = "all",
    mix: str | int | None = None,
    progress: Callback | None = None,
) -> Path:
    """Write a dataset, or some layers or a mix of it, as one Parquet file or as a folder of npy files.

    Args:
        dataset: a dataset, or its folder.
        out: the file (`parquet`) or folder (`npy`); it must not exist.
        to: `parquet` or `npy`.
        layers: the layers to write; not together with `mix`.
        mix: a mix string, or a layer number, written instead of layers.
        progress: called with the progress; see `lw.Progress`.

    Returns:
        the path that was written.

    Raises:
        RequestError: an unknown format, a layer or mix that doesn't exist, or layers together with a mix.
        DatasetError: no dataset, or a damaged one.
        OutputError: `out` exists, or can't be written to.
    """
    if mix is not None and layers != "all":
        raise RequestError(
            f"{argument('layers', layers)} and {argument('mix', mix)} exclude each other; leave one of them out"
        )
    opened = (dataset if isinstance(dataset, LayerDataset) else open_dataset(dataset)).checked()
    with tracking(progress) as track:
        return store.export(opened, to=to, out=Path(out), layers=layers, mix=mix, track=track)
