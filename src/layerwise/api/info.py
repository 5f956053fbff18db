"""info: what a dataset, a head or a model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layerwise import encode, heads
from layerwise._util.paths import is_url, place
from layerwise.errors import DatasetError, ModelError, RequestError
from layerwise.store import LayerDataset, open_dataset
from layerwise.store.dtypes import itemsize

# Any of these makes a folder a model's, or what is taken for one.
_OF_MODELS = ("config.json", "modules.json", "adapter_config.json")


def info(
    name: str | Path,
    *,
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Return what `name` is, as JSON holds it; `kind` says which: a `dataset`, a `head` or a `model`.

    Raises:
        RequestError: no name, or a revision of what is no model on the hub.
        DatasetError: a folder that holds none of them, or an unfinished dataset.
        HeadError: a damaged head.
        ModelError: a name that is neither here nor on the hub.
    """
    if is_url(name):
        return _dataset(place(name))
    folder = Path(name)
    if not str(name):
        raise RequestError("info needs a name: the folder of a dataset, a head or a model, or a model's name")
    if folder.is_dir() and not any((folder / file).is_file() for file in _OF_MODELS):
        if revision is not None:
            raise RequestError(f"--revision {revision!r} doesn't fit the folder {str(name)!r}; leave it out")
        return _head(folder) if is_head(folder) else _dataset(folder)
    if folder.is_file():
        raise DatasetError(
            f"{folder} is a file; info takes the folder of a dataset, a head or a model, or a model's name"
        )
    return _model(str(name), revision, allow_pickle, trust_remote_code)


def is_head(folder: Path) -> bool:
    """Tell whether a folder holds a head; looks at the name of its file only, which costs no import."""
    return (folder / "head.json").is_file()


def _dataset(folder: Path) -> dict[str, Any]:
    return {"kind": "dataset", "path": str(folder), **describe_dataset(open_dataset(folder))}


def describe_dataset(dataset: LayerDataset) -> dict[str, Any]:
    """Return what a dataset's manifest says, with its sizes, and what was measured while it was made.

    `seconds` and `finished` are `None` when they aren't known; `run_problem` then says why.
    """
    manifest, run = dataset.manifest.to_json(), dataset.run
    return {
        **manifest,
        "shards": manifest["shards"]["count"],
        "totals": {**manifest["totals"], "seconds": run.total},
        "seconds": run.total,
        "finished": run.finished,
        "run_problem": run.problem,
        "bytes": manifest["totals"]["bytes"],
        "bytes_per_layer": dataset.rows * dataset.width * itemsize(dataset.dtype),
    }


def _head(folder: Path) -> dict[str, Any]:
    heads.storage.read_head(folder)  # a head whose tensors are damaged isn't shown as one
    return {"kind": "head", "path": str(folder), **heads.storage.describe_head(folder)}


def _model(name: str, revision: str | None, allow_pickle: bool, trust_remote_code: bool) -> dict[str, Any]:

    try:
        checkpoint = encode.checkpoint.find_checkpoint(
            name, revision, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code
        )
    except ModelError as error:
        raise ModelError(f"{name!r} is no dataset here, and: {error}") from None
    described = encode.hf.describe(checkpoint, trust_remote_code=trust_remote_code)
    tensors = list(encode.hf.unused_tensors(checkpoint, trust_remote_code=trust_remote_code))
    return {
        "kind": "model",
        "id": checkpoint.name,
        "revision": checkpoint.revision,
        "folder": str(checkpoint.folder),
        **described,
        "default_pool": checkpoint.pool or "mean",
        "not_applied": list(checkpoint.not_applied),
        "unused": {"tensors": tensors, "files": list(checkpoint.files.unused)},
        **checkpoint.hashes(),
        "bytes": checkpoint.files.bytes,
    }
