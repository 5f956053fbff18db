"""finish: a dataset of the shards that several workers wrote."""

from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise.extraction.finish import finish_dataset
from layerwise.store import LayerDataset


def finish(path: str | Path, *, progress: Callback | None = None) -> LayerDataset:
    """Make a dataset of the shards that several workers wrote, when all are there.

    On a finished dataset it does nothing.

    Args:
        path: the folder of the dataset.
        progress: called with how far it has come; see `lw.Progress`.

    Returns:
        the dataset, opened.

    Raises:
        DatasetError: naming the shards, and the workers, that are missing; or a worker that is still at work.
    """
    with tracking(progress) as track:
        return finish_dataset(path, track)
