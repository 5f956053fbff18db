"""info: what a dataset, a head, a model, a cut, or an export is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerwise import encode
from layerwise._util.paths import is_url, local_path, place
from layerwise.arguments import argument
from layerwise.cutting.facts import cut_facts, read_description
from layerwise.errors import DatasetError, ModelError, RequestError
from layerwise.heads.facts import head_facts, is_head
from layerwise.results import Facts
from layerwise.store import LayerDataset
from layerwise.store.facts import dataset_facts
from layerwise.store.small_facts import export_facts, is_export, transform_facts

# A folder with any of these files is a model; the last three are of Google's releases.
_MODEL_FILES = (
    "config.json",
    "modules.json",
    "adapter_config.json",
    "bert_config*.json",
    "albert_config*.json",
    "electra_config*.json",
)

_ALLOWED = "the folder of a dataset, a head, a model, a cut or of small vectors, the file of a transform, or a model's name"


def info(
    name: LayerDataset | str | Path,
    *,
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
) -> Facts:
    """Return what a dataset, a head, a model, a cut, an export or a transform is: layers, width, provenance, coverage, size.

    Args:
        name: a dataset; the folder of a dataset, a head, a model, a cut or of small vectors; the file of a transform; or the
            name of a model.
        revision, allow_pickle, trust_remote_code, adapter: see `load_encoder`; for models.

    Returns:
        facts by name, as `layerwise info --json` prints them: `kind` is `dataset`, `head`, `model`, `cut`, `export` or
        `transform`, and the other names depend on it. A model that `cut` wrote has its description as `cut`.

    Raises:
        RequestError: an empty name, or a revision of something that isn't a model on the hub.
        DatasetError: a folder that holds none of them, an unfinished dataset, or a damaged export.
        HeadError: a damaged head.
        ModelError: a name that is neither a folder nor on the hub, or a damaged description of a cut.
    """
    if isinstance(name, LayerDataset):
        return dataset_facts(name.path)
    if is_url(name):
        return dataset_facts(place(name))
    folder = local_path(name)
    if not str(name):
        raise RequestError(f"info needs a name: {_ALLOWED}")
    description = read_description(folder) if folder.is_dir() else None
    if folder.is_file() or (folder.is_dir() and not _is_model(folder, description)):
        if revision is not None:
            raise RequestError(
                f"{argument('revision', revision)} only applies to a model on the hub, not to {str(name)!r}; leave it out"
            )
        return _facts_of(folder, description)
    try:
        checkpoint = encode.checkpoint.find_checkpoint(
            str(name),
            revision,
            adapter=None if adapter is None else str(adapter),
            allow_pickle=allow_pickle,
            trust_remote_code=trust_remote_code,
        )
    except ModelError as error:
        raise ModelError(f"{str(name)!r} is not a folder of a dataset or head; as a model: {error}") from None
    facts: Facts = encode.facts.model_facts(checkpoint, trust_remote_code=trust_remote_code)
    return facts if description is None else replace(facts, content={**facts.content, "cut": description})


def _is_model(folder: Path, description: Mapping[str, Any] | None) -> bool:
    """Return whether a folder holds a model; that of a graph or of a table of tokens has its configuration only."""
    if description is not None:
        return bool(description["to"] == "folder")
    return any(path.is_file() for file in _MODEL_FILES for path in folder.glob(file))


def _facts_of(path: Path, description: Mapping[str, Any] | None) -> Facts:
    """Return what a file or a folder is that holds no model."""
    if path.suffix == ".safetensors" and path.is_file():
        return transform_facts(path)
    if path.is_file():
        raise DatasetError(f"{path} is a file; info takes {_ALLOWED}")
    if description is not None:
        return cut_facts(path, description)
    if is_export(path):
        return export_facts(path)
    return head_facts(path) if is_head(path) else dataset_facts(path)
