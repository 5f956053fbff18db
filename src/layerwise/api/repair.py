"""repair: write damaged or missing shards again from their source."""

from collections.abc import Sequence
from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise.encode.computing import computing
from layerwise.extraction.repair import Repair, repair_dataset
from layerwise.store import LayerDataset
from layerwise.store.dataset_path import path_of


def repair(
    dataset: LayerDataset | str | Path,
    *,
    source: str | Path | Sequence[str | Path] | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Repair:
    """Encode damaged or missing shards of a dataset again, from the same records of its source.

    Args:
        dataset: a dataset, or its folder.
        source: the corpus that it was made from; by default the files that its manifest names.
        model: the current name or folder of its model, if that has changed; the hashes must be equal.
        device, allow_pickle, trust_remote_code, adapter: see `load_encoder`; by default the kind of device of the dataset.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        the numbers of the shards that were written again.

    Raises:
        DatasetError: a damaged manifest, a source that has changed, or a dataset that wasn't made from texts.
        ModelError: a model that can't be found, or a different model.
    """
    loading = {
        "device": device,
        "allow_pickle": allow_pickle,
        "trust_remote_code": trust_remote_code,
        "adapter": adapter,
    }
    with computing(threads), tracking(progress) as track:
        return repair_dataset(path_of(dataset), source, model, loading, track)
