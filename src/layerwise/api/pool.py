"""pool: a coarser dataset from a finer one, without the model."""

from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import limited
from layerwise.extraction.pool import pool_dataset
from layerwise.store import LayerDataset, open_dataset
from layerwise.store.dataset_path import path_of


def pool(
    dataset: LayerDataset | str | Path,
    out: str | Path,
    *,
    level: str = "text",
    pool: str | None = None,
    special_tokens: bool = True,
    dtype: str | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> LayerDataset:
    """Pool the rows of a dataset into coarser ones, without the model: token to word or text, or word to text.

    Args:
        dataset: a dataset, or its folder.
        out: the folder of the new dataset.
        level, pool, special_tokens: as in `Encoder.request`; from word level there are no special tokens.
        dtype: the stored type; that of `dataset` by default.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        the new dataset, opened.

    Raises:
        RequestError: a level that isn't coarser, or rows that can't be made from these.
        DatasetError: no dataset, or a damaged one.
        OutputError: `out` can't be written to.
    """
    with limited(threads), tracking(progress) as track:
        finer = open_dataset(path_of(dataset)).checked()
        return pool_dataset(finer, out, level, pool, special_tokens=special_tokens, dtype=dtype, track=track)
