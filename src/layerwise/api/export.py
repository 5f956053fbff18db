"""export: a dataset in other people's formats."""

from pathlib import Path

from layerwise import store
from layerwise._util.progress import Callback, tracking
from layerwise.errors import RequestError
from layerwise.layers import LayerSpec
from layerwise.store import LayerDataset, open_dataset


def export(
    dataset: LayerDataset | str | Path,
    out: str | Path,
    *,
    to: str = "parquet",
    layers: LayerSpec = "all",
    mix: str | None = None,
    progress: Callback | None = None,
) -> Path:
    """Write a dataset, or some layers or a mix of it, as one Parquet file or as a folder of npy files.

    Args:
        dataset: a dataset, or its folder.
        out: the file (`parquet`) or folder (`npy`); it may not exist.
        to: `parquet` or `npy`.
        layers: the layers to write; not together with `mix`.
        mix: a mix string, written instead of layers.
        progress: called with how far it has come; see `lw.Progress`.

    Returns:
        the path that was written.

    Raises:
        RequestError: an unknown format, or layers together with a mix.
        OutputError: a path that exists or can't be written to.
    """
    if mix is not None and layers != "all":
        raise RequestError(f"--layers {layers} and --mix {mix} exclude each other; leave one of them out")
    opened = (dataset if isinstance(dataset, LayerDataset) else open_dataset(dataset)).checked()
    with tracking(progress) as track:
        return store.export(opened, to=to, out=Path(out), layers=layers, mix=mix, track=track)
