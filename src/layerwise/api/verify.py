"""verify: every byte of a dataset against its hashes, and a sample of its rows against plain transformers."""

from collections.abc import Sequence
from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import choose
from layerwise.choices import whole_number
from layerwise.extraction.verify import SAMPLE, Verification, verify_dataset
from layerwise.store import LayerDataset
from layerwise.store.dataset_path import path_of


def verify(
    dataset: LayerDataset | str | Path,
    *,
    source: str | Path | Sequence[str | Path] | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Verification:
    """Check every file of a dataset, and `sample` of its texts against one-text forwards of plain transformers.

    Args:
        dataset: a dataset, or its folder.
        source: the corpus that it was made from; needed if the dataset holds no texts.
        model: the current name or folder of its model, if that has changed; the hashes must be equal.
        device, allow_pickle, trust_remote_code, adapter: see `load_encoder`.
        sample: the number of texts to compare; 0 for none.
        seed: seed of the sample.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        what is wrong, and the largest differences per layer; `verification.ok` is the answer.

    Raises:
        DatasetError: no dataset.
        ModelError: a model that can't be found, or a different model.
        RequestError: a negative sample or seed.
    """
    sample, seed = whole_number("sample", sample, 0), whole_number("seed", seed, 0)
    choose(threads)
    loading = {
        "device": device,
        "allow_pickle": allow_pickle,
        "trust_remote_code": trust_remote_code,
        "adapter": adapter,
    }
    with tracking(progress) as track:
        return verify_dataset(path_of(dataset), source, sample, seed, model, loading, threads, track)
