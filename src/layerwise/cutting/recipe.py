"""The files that make a folder one of sentence-transformers: pool, prompts, and maximum length of the source.

Steps of the source that aren't applied here, such as Dense and Normalize, are left out of a cut and told: they were made
for the last layer.
"""

from typing import Any

from layerwise.encode.cut_source import CutSource
from layerwise.encode.recipe import MODULES, PROMPTS, SETTINGS

_POOLING = "1_Pooling"
_TYPES = "sentence_transformers.models"
_MODES = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "eos": "lasttoken"}


def recipe_files(source: CutSource, width: int) -> dict[str, Any]:
    """Return the JSON files of the recipe by their path in the folder; `width` is that of the vectors."""
    checkpoint = source.checkpoint
    pooling = {"word_embedding_dimension": width}
    pooling |= {f"pooling_mode_{mode}": pool == source.pool for pool, mode in _MODES.items()}
    modules = [("", "Transformer"), (_POOLING, "Pooling")]
    return {
        MODULES: [
            {"idx": number, "name": str(number), "path": path, "type": f"{_TYPES}.{kind}"}
            for number, (path, kind) in enumerate(modules)
        ],
        SETTINGS[0]: {"max_seq_length": source.max_length, "do_lower_case": checkpoint.lowercase},
        f"{_POOLING}/config.json": {**pooling, "include_prompt": checkpoint.prompts.included},
        PROMPTS: {
            "prompts": dict(checkpoint.prompts.texts),
            "default_prompt_name": checkpoint.prompts.default,
            "similarity_fn_name": "cosine",
        },
    }
