"""The executor of an extraction: this process, several, or the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from layerwise._util.progress import Tracker
from layerwise._util.temporary import sweep
from layerwise.encode.computing import computing
from layerwise.extraction.shard_maker import ShardRecipe
from layerwise.parallel.executor import Executor, SerialExecutor
from layerwise.parallel.local import ProcessExecutor
from layerwise.parallel.ray import RayExecutor


@contextmanager
def start_executor(
    recipe: ShardRecipe, workers: int | None, cluster: str | None, threads: int | None, track: Tracker
) -> Iterator[Executor]:
    """Start the executor that makes shards, and stop it at the end of the block.

    Args:
        recipe: how a worker makes shards.
        workers: number of processes or, on a cluster, of actors.
        cluster: `ray`, or `None` for this machine.
        threads: number of threads of all workers together.
        track: reports that the model is loaded.
    """
    sweep()
    track.named("loading the model")
    if cluster is not None:
        with RayExecutor(recipe, workers, threads) as executor:
            yield executor
    elif workers is not None and workers > 1:
        with ProcessExecutor(recipe, workers, threads) as executor:
            yield executor
    else:
        with computing(threads), SerialExecutor(recipe) as executor:
            yield executor
