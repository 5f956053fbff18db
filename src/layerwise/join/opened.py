"""Opening a dataset of which provenance is wanted too, not only rows."""

from pathlib import Path

from layerwise.errors import DatasetError
from layerwise.store import LayerDataset, open_dataset

_DESCRIBED = {
    "model": dict,
    "settings": dict,
    "totals": dict,
    "tolerance": dict,
    "versions": dict,
    "columns": dict,
    "skipped": list,
    "notices": list,
}


def open_described(path: str | Path) -> LayerDataset:
    """Open a dataset whose manifest says where it comes from, as every one that `extract` and `pool` make.

    Raises:
        DatasetError: no dataset, or a manifest that lacks something of that.
    """
    dataset = open_dataset(path)
    manifest = dataset.manifest
    for name, kind in _DESCRIBED.items():
        if not isinstance(manifest.get(name), kind):
            raise DatasetError(
                f"{dataset.path}/manifest.json is damaged: {name} is {manifest.get(name)!r:.60}; restore it from a copy"
            )
    return dataset
