"""Tiny random models of further decoder-only families: the layers of plain one-text forwards. Slow, as they are many."""

from pathlib import Path

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModel

import layerwise as lw
from causal_models import CAUSAL, decoder_tokenizer
from reference import Plain, off

pytestmark = pytest.mark.slow
TOLERANCE = 1e-5  # as in test_causal
TEXTS = [
    "Every layer of every encoder, as data.",
    "a",
    "The first layers know where a word stands; the last know more.",
    "abc abd abe",
    "abc abd abf",
]
# The sizes of a tiny model, under all names that configurations have for them.
SIZES = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 3),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model"), 32),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim"), 64),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 80),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rotary_dim": 8,
    "sliding_window": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "vocab_size": 420,
}
FAMILIES = (
    *("apertus", "arcee", "biogpt", "bitnet", "codegen", "cohere", "cohere2", "ctrl", "diffllama", "doge"),
    *("ernie4_5", "ernie4_5_moe", "exaone4", "falcon", "falcon_mamba", "gemma", "glm4_moe", "gpt_bigcode"),
    *("gptj", "granite", "granitemoe", "helium", "hunyuan_v1_dense", "jetmoe", "minimax", "ministral"),
    *("mpt", "nanochat", "nemotron", "olmo", "olmo3", "olmoe", "openai-gpt", "persimmon", "phi", "phimoe"),
    *("qwen2_moe", "recurrent_gemma", "rwkv", "seed_oss"),
)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_that_of_one_text(family: str, tmp_path: Path) -> None:
    assert family not in CAUSAL
    if family not in CONFIG_MAPPING:
        pytest.skip("this version of transformers doesn't have it")
    config_class = CONFIG_MAPPING[family]
    known = set(vars(config_class())) | set(config_class.attribute_map)
    torch.manual_seed(7)
    model = AutoModel.from_config(config_class(**{k: v for k, v in SIZES.items() if k in known}))
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(tmp_path)
    decoder_tokenizer(begins=False).save_pretrained(tmp_path)
    encoder = lw.load_encoder(tmp_path, device="cpu")
    assert encoder.causal
    assert off(encoder, Plain(tmp_path), TEXTS) <= TOLERANCE
