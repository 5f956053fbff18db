"""info: what a dataset, a head or a model is."""

from __future__ import annotations

from pathlib import Path

from layerwise import encode
from layerwise._util.paths import is_url, local_path, place
from layerwise.arguments import argument
from layerwise.errors import DatasetError, ModelError, RequestError
from layerwise.heads.facts import head_facts, is_head
from layerwise.results import Facts
from layerwise.store import LayerDataset
from layerwise.store.facts import dataset_facts

# A folder with any of these files is a model; the last three are of Google's releases.
_MODEL_FILES = (
    "config.json",
    "modules.json",
    "adapter_config.json",
    "bert_config*.json",
    "albert_config*.json",
    "electra_config*.json",
)


def info(
    name: LayerDataset | str | Path,
    *,
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
) -> Facts:
    """Return what a dataset, a head or a model is: layers, width, provenance, coverage, size.

    Args:
        name: a dataset, the folder of a dataset, a head or a model, or the name of a model.
        revision, allow_pickle, trust_remote_code, adapter: see `load_encoder`; for models.

    Returns:
        facts by name, as `layerwise info --json` prints them: `kind` is `dataset`, `head` or `model`, and the
        other names depend on it.

    Raises:
        RequestError: an empty name, or a revision of something that isn't a model on the hub.
        DatasetError: a folder that holds none of them, or an unfinished dataset.
        HeadError: a damaged head.
        ModelError: a name that is neither a folder nor on the hub.
    """
    if isinstance(name, LayerDataset):
        return dataset_facts(name.path)
    if is_url(name):
        return dataset_facts(place(name))
    folder = local_path(name)
    if not str(name):
        raise RequestError(
            "info needs a name; give the folder of a dataset, a head or a model, or a model's name"
        )
    if folder.is_dir() and not any(path.is_file() for file in _MODEL_FILES for path in folder.glob(file)):
        if revision is not None:
            raise RequestError(
                f"{argument('revision', revision)} only applies to a model on the hub, not to the folder {str(name)!r}; "
                "leave it out"
            )
        return head_facts(folder) if is_head(folder) else dataset_facts(folder)
    if folder.is_file():
        raise DatasetError(
            f"{folder} is a file; info takes the folder of a dataset, a head or a model, or a model's name"
        )
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
    return facts
