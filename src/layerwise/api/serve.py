"""serve: models and heads that answer requests for layers, mixes and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerwise._util.threads import choose
from layerwise.arguments import argument
from layerwise.encode.computing import computing
from layerwise.encode.load import load_for_requests
from layerwise.errors import RequestError
from layerwise.heads.head import HeadData
from layerwise.heads.inputs import load_model
from layerwise.heads.storage import read_head
from layerwise.serving.limits import limits_of
from layerwise.serving.scheduler import Watcher
from layerwise.serving.service import Service
from layerwise.store.transform_file import load_transform
from layerwise.transforms import Transform


def serve(
    models: Sequence[str | Path] = (),
    *,
    heads: Sequence[str | Path | HeadData] = (),
    transform: str | Path | Transform | None = None,
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
    batch_tokens: int | None = None,
    queue_tokens: int | None = None,
    max_wait_ms: float = 2.0,
    threads: int | None = None,
    watcher: Watcher | None = None,
) -> Service:
    """Return a service that batches requests for layers, mixes and heads of some models; `with` starts it.

    The command `layerwise serve` puts it behind HTTP.

    Args:
        models: the models; by default those of the heads, and without heads `minilm`.
        heads: heads of these models, as folders or loaded ones.
        transform: a transform that `export` wrote beside small vectors, or its file; it is applied to every mix of its model
            that is asked for, and other mixes of this model are refused.
        revision, device, allow_pickle, trust_remote_code, adapter: see `load_encoder`; `revision` and `adapter` are of one
            model.
        batch_tokens: the maximum number of tokens of a forward; by default depends on the device.
        queue_tokens: the maximum number of tokens in the queue of a model; by default as many as it computes in 4 seconds.
        max_wait_ms: milliseconds that a request waits for others to share its forward, at most.
        threads: number of threads to compute with; see `lw.extract`.
        watcher: is told of each forward, for metrics.

    Raises:
        LayerwiseError: a model, head or transform that can't be loaded, or that doesn't belong to the others.
    """
    choose(threads)
    for name, value in (("revision", revision), ("adapter", adapter)):
        if value is not None and len(models) != 1:
            raise RequestError(
                f"{argument(name, value)} is of one model and {len(models)} are given; give one, or leave it out"
            )
    loading: dict[str, Any] = {
        "revision": revision,
        "adapter": adapter,
        "device": device,
        "allow_pickle": allow_pickle,
        "trust_remote_code": trust_remote_code,
    }
    of_mix = transform if isinstance(transform, Transform | None) else load_transform(transform)
    loaded = [head if isinstance(head, HeadData) else read_head(head) for head in heads]
    with computing(threads):
        if models or not loaded:
            encoders = [load_for_requests(model, **loading) for model in models or ("minilm",)]
        else:
            firsts = {(head.model["weights"], head.rows["precision"]): head for head in reversed(loaded)}
            encoders = [load_model(head, **loading) for head in reversed(firsts.values())]
    limits = limits_of(encoders[0], batch_tokens, queue_tokens, max_wait_ms)
    return Service(encoders, loaded, transform=of_mix, limits=limits, threads=threads, watcher=watcher)
