"""repair: shards that were changed or lost, made again from their source."""

from collections.abc import Sequence
from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise.encode.computing import computing
from layerwise.extraction.repair import Repair, repair_dataset


def repair(
    path: str | Path,
    *,
    source: str | Path | Sequence[str | Path] | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Repair:
    """Make the shards again whose files aren't what was written, from the records that they were made from.

    Args:
        path: the dataset.
        source: where its corpus is now, when the names of the files in its manifest have changed.
        model: where the model is now, when its name has changed; its hash must be the same.
        device, allow_pickle, trust_remote_code: see `load_encoder`.
        progress: called with how far it has come; see `lw.Progress`.
        threads: how many to compute with; see `lw.extract`.

    Raises:
        DatasetError: a manifest that is damaged itself, a source that isn't what it was, or a dataset that
            wasn't made from texts.
        ModelError: the model can't be had, or is another one.
    """
    loading = {"device": device, "allow_pickle": allow_pickle, "trust_remote_code": trust_remote_code}
    with computing(threads), tracking(progress) as track:
        return repair_dataset(path, source, model, loading, track)
