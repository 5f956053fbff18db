"""A tiny random ESM-2 of the real architecture with the real vocabulary, and a tokenizer of k-mers for DNA."""

import itertools
import json
from pathlib import Path
from typing import Any

import torch

# The 33 tokens of every ESM-1b, ESM-1v and ESM-2, in their order.
VOCABULARY = (
    *("<cls>", "<pad>", "<eos>", "<unk>"),
    *"LAGVSERTIDPKQNFYMHWCXBUZO",
    *(".", "-", "<null_1>", "<mask>"),
)
# As in the config.json of the released ESM-2 models, but for the sizes.
ESM2 = {
    "model_type": "esm",
    "vocab_size": 33,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "position_embedding_type": "rotary",
    "emb_layer_norm_before": False,
    "token_dropout": True,
    "mask_token_id": 32,
    "pad_token_id": 1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-5,
}
_KMERS = ("".join(letters) for letters in itertools.product("ATCG", repeat=3))
# The order of the Nucleotide Transformer's vocabulary, with k-mers of three letters instead of six.
NUCLEOTIDES = ("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>", *_KMERS, *"ATCGN")


def write_tokenizer(folder: Path, vocabulary: tuple[str, ...], **settings: Any) -> Path:
    """Write an `EsmTokenizer` as the hub has it: `vocab.txt`, without a `tokenizer.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    config = {"tokenizer_class": "EsmTokenizer", "model_max_length": 66, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def make_esm(
    folder: Path,
    vocabulary: tuple[str, ...] = VOCABULARY,
    tokenizer: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """Write a tiny random ESM-2 with its tokenizer to `folder`."""
    from transformers import AutoConfig, AutoModelForMaskedLM

    settings = AutoConfig.for_model(**{**ESM2, "vocab_size": len(vocabulary), **config})
    torch.manual_seed(11)
    model = AutoModelForMaskedLM.from_config(settings)
    # Fresh biases are zero and norms are one: random ones would show a part that is left out.
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(folder)
    return write_tokenizer(folder, vocabulary, **(tokenizer or {}))
