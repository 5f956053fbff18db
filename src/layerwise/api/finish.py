"""finish: one dataset from the shards that several workers wrote."""

from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise.extraction.finish import finish_dataset
from layerwise.extraction.unknown import tell_unknown
from layerwise.store import LayerDataset
from layerwise.store.dataset_path import path_of


def finish(dataset: LayerDataset | str | Path, *, progress: Callback | None = None) -> LayerDataset:
    """Complete a dataset whose shards several workers wrote.

    A finished dataset is returned as it is.

    Args:
        dataset: the folder of a dataset, or a dataset.
        progress: called with the progress; see `lw.Progress`.

    Returns:
        the dataset, opened.

    Raises:
        DatasetError: shards or workers are missing (the message names them), or a worker is still running.
    """
    with tracking(progress) as track:
        finished = finish_dataset(path_of(dataset), track)
    tell_unknown(finished.manifest)
    return finished
