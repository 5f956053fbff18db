"""verify: every byte of a dataset against its hashes, and a sample of its rows against plain transformers."""

from collections.abc import Sequence
from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import choose
from layerwise.errors import RequestError
from layerwise.extraction.verify import SAMPLE, Verification, verify_dataset


def verify(
    path: str | Path,
    *,
    source: str | Path | Sequence[str | Path] | None = None,
    model: str | Path | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Verification:
    """Check every file of a dataset, and `sample` of its texts against one-text forwards of plain transformers.

    Args:
        path: the dataset.
        source: the corpus it was made from, needed when the dataset holds no texts.
        model: where the model is now, when its name has changed; its hash must be the same.
        sample: how many texts are compared; 0 for none.
        seed: which texts these are.
        device, allow_pickle, trust_remote_code: see `load_encoder`.
        progress: called with how far it has come; see `lw.Progress`.
        threads: how many to compute with; see `lw.extract`.

    Raises:
        DatasetError: no dataset at all.
        ModelError: the model can't be had, or is another one.
        RequestError: a sample of fewer than 0 texts.
    """
    if sample < 0:
        raise RequestError(f"a sample of {sample} texts can't be drawn; take at least 0")
    choose(threads)
    loading = (model, device, allow_pickle, trust_remote_code)
    with tracking(progress) as track:
        return verify_dataset(path, source, sample, seed, loading, threads, track)
