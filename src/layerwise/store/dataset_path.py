"""The folder of a dataset, whichever way the dataset is given."""

from pathlib import Path

from layerwise.store.reader import LayerDataset


def path_of(dataset: LayerDataset | str | Path) -> str | Path:
    """Return the folder of a dataset that is open, or the path itself."""
    return dataset.path if isinstance(dataset, LayerDataset) else dataset
