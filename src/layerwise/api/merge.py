"""merge: one dataset from several with the same model and settings."""

from collections.abc import Sequence
from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise.extraction.merge import merge_datasets
from layerwise.store import LayerDataset


def merge(
    datasets: Sequence[LayerDataset | str | Path], out: str | Path, *, progress: Callback | None = None
) -> LayerDataset:
    """Write one dataset with the rows of several datasets, in order; those stay unchanged.

    Args:
        datasets: at least two datasets, or their folders, made by the same model with the same settings.
        out: the folder of the new dataset.
        progress: called with the progress; see `lw.Progress`.

    Returns:
        the new dataset, opened.

    Raises:
        DatasetError: datasets that were made in different ways, or damaged ones.
        RequestError: fewer than two datasets.
        OutputError: `out` can't be written to.
    """
    with tracking(progress) as track:
        return merge_datasets(datasets, out, track)
