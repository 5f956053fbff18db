"""merge: one dataset of several that were made in the same way."""

from collections.abc import Sequence
from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise.extraction.merge import merge_datasets
from layerwise.store import LayerDataset


def merge(
    datasets: Sequence[LayerDataset | str | Path], out: str | Path, *, progress: Callback | None = None
) -> LayerDataset:
    """Write the dataset that holds the rows of several, one after the other; they stay as they are.

    Args:
        datasets: at least two, or their folders, made by the same model with the same settings.
        out: the folder of the new one.
        progress: called with how far it has come; see `lw.Progress`.

    Returns:
        the new dataset, opened.

    Raises:
        DatasetError: datasets that were made in different ways, or damaged ones.
        RequestError: fewer than two.
    """
    with tracking(progress) as track:
        return merge_datasets(datasets, out, track)
