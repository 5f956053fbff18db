"""extract: a corpus in, a dataset of all layers out; resumable, and by as many processes as there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise import choices
from layerwise._util.progress import Callback, Tracker, tracking
from layerwise._util.temporary import sweep
from layerwise._util.threads import choose
from layerwise.encode.computing import computing
from layerwise.errors import RequestError
from layerwise.extraction.job import prepare
from layerwise.extraction.shard_maker import ShardRecipe
from layerwise.layers import LayerSpec
from layerwise.options import ExtractOptions
from layerwise.parallel.executor import Executor, SerialExecutor
from layerwise.parallel.local import ProcessExecutor
from layerwise.parallel.ray import Ray
from layerwise.store import LayerDataset, open_dataset

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder


def extract(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path | Encoder = "minilm",
    layers: LayerSpec = "all",
    level: str = "text",
    pool: str | None = None,
    precision: str = "fp32",
    dtype: str = "float16",
    long: str = "window",
    overlap: int | None = None,
    max_length: int | None = None,
    batch_tokens: int | None = None,
    device: str | None = None,
    special_tokens: bool = True,
    format: str = "auto",
    text: str | Sequence[str] | None = None,
    words: str | None = None,
    id: str | None = None,
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8",
    no_text: bool = False,
    keep: Sequence[str] = (),
    skip_bad: bool = False,
    limit: int | None = None,
    shard_texts: int | None = None,
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    append: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
) -> LayerDataset:
    """Write every wanted layer of every text of a corpus to the dataset `out`.

    The same call again goes on where an interrupted one stopped, and does nothing when it is done.

    Args:
        source: files, globs, a folder (with `format="docs"`), or `-` for stdin.
        out: the folder of the dataset.
        model: a name for `load_encoder`, or an encoder.
        layers, level, pool, special_tokens, long, overlap, max_length, batch_tokens: see `Encoder.request`.
        precision, device, revision, allow_pickle, trust_remote_code: see `load_encoder`.
        dtype: the stored type: `float16`, `float32`, `bfloat16`, `int8`.
        format, text, words, id, columns, encoding, skip_bad, limit: see `read.open_corpus`.
        no_text, keep: leave out texts and carried columns of strings, but for those in `keep`.
        shard_texts: texts per shard.
        append: add what is new to a finished dataset, as new shards: the rest of a source that has grown, or
            all of another one. Until that is done the dataset stays as it was.
        workers: how many processes share the work and the cores (or the GPUs); the bytes are the same.
        cluster: `ray`, for workers on the machines of a Ray cluster, which all see `source` and `out`.
        progress: called with how far it has come; see `lw.Progress`.
        threads: how many to compute with, all workers together; by default the usual environment variables
            say so, else what the machine grants.

    Returns:
        the dataset, opened.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    options = ExtractOptions(
        model=model,
        layers=layers,
        level=level,
        pool=pool,
        precision=precision,
        dtype=dtype,
        long=long,
        overlap=overlap,
        max_length=max_length,
        batch_tokens=batch_tokens,
        device=device,
        special_tokens=special_tokens,
        format=format,
        text=text,
        words=words,
        id=id,
        columns=columns,
        encoding=encoding,
        no_text=no_text,
        keep=keep,
        skip_bad=skip_bad,
        limit=limit,
        shard_texts=shard_texts,
        revision=revision,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )
    if workers is not None and workers < 1:
        raise RequestError(f"--workers {workers} is too small; take at least 1")
    if cluster is not None:
        choices.one_of("cluster", cluster, ("ray",))
    choose(threads)
    job = prepare(source, out, options, together=cluster is not None or (workers or 1) > 1)
    with tracking(progress) as track, _executor(job.recipe, workers, cluster, threads, track) as executor:
        job.run(executor, track, append=append)
    return open_dataset(out)


@contextmanager
def _executor(
    recipe: ShardRecipe, workers: int | None, cluster: str | None, threads: int | None, track: Tracker
) -> Iterator[Executor]:
    """Start what makes shards, and let it compute with so many threads."""
    sweep()
    track.named("loading the model")
    if cluster is not None:
        with Ray(recipe, workers, threads) as executor:
            yield executor
    elif workers is not None and workers > 1:
        with ProcessExecutor(recipe, workers, threads) as executor:
            yield executor
    else:
        with computing(threads), SerialExecutor(recipe) as executor:
            yield executor


def extract_share(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    share: tuple[int, int],
    *,
    progress: Callback | None = None,
    threads: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write the shards of worker `share[0]` of `share[1]`; `finish` makes a dataset of them when all are there.

    No worker needs another, or to run at the same time. Each reads the whole source, to know where its shards
    begin.

    Args:
        source, out: as in `extract`.
        share: (index, number of workers).
        progress, threads, **options: as in `extract`.

    Returns:
        `shards` and `texts`: how many this worker's share has; `of_shards` and `of_texts`: how many there are.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    index, count = share
    if count < 1:
        raise RequestError(f"--num-workers {count} is too small; take at least 1")
    if not 0 <= index < count:
        raise RequestError(f"--worker-index {index} doesn't fit --num-workers {count}; take 0 to {count - 1}")
    choose(threads)
    job = prepare(source, out, ExtractOptions(**options))
    with tracking(progress) as track, _executor(job.recipe, None, None, threads, track) as executor:
        return job.run_share(executor, track, share)
