"""The facts about a model that `info` shows."""

from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.hf import loading
from layerwise.encode.references import is_causal
from layerwise.encode.structure import model_structure
from layerwise.results import Facts


def model_facts(checkpoint: Checkpoint, *, trust_remote_code: bool) -> Facts:
    """Return name, folder, sizes, hashes and defaults of a model, and what of its folder isn't used.

    Raises:
        ModelError: a configuration that can't be read.
    """
    described = loading.describe(checkpoint, trust_remote_code=trust_remote_code)
    model, tensors = loading.load_model(checkpoint, trust_remote_code=trust_remote_code)
    tokenizer = loading.describe_tokenizer(checkpoint, trust_remote_code=trust_remote_code)
    limits = [limit for limit in (described["positions"], tokenizer["max_length"]) if limit is not None]
    content = {
        "kind": "model",
        "id": checkpoint.name,
        "revision": checkpoint.revision,
        "folder": str(checkpoint.folder),
        "adapter": None if checkpoint.adapter is None else checkpoint.adapter.description,
        **described,
        "max_length": min(limits, default=None),
        "causal": is_causal(model),
        **model_structure(model),
        "tokenizer_facts": tokenizer,
        "default_pool": checkpoint.pool or "mean",
        "prompts": dict(checkpoint.prompts.texts),
        "default_prompt": checkpoint.prompts.default,
        "include_prompt": checkpoint.prompts.included,
        "not_applied": list(checkpoint.not_applied),
        "unused": {"tensors": list(tensors), "files": list(checkpoint.files.unused)},
        **checkpoint.hashes(),
        "bytes": checkpoint.files.bytes,
    }
    return Facts(f"Model {checkpoint.name}", content)
