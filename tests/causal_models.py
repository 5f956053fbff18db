"""Tiny random decoder-only models of many families, with tokenizers as these families have them."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import processors

from conftest import make_tokenizer

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
}
_HEADS = {**_SHAPE, "head_dim": 8}
_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 80}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
}
# family -> (config, how its batches can be made)
CAUSAL: dict[str, tuple[dict[str, Any], str]] = {
    "qwen2": (_SHAPE, "packed"),
    "qwen3": (_HEADS, "packed"),
    "llama": (_SHAPE, "packed"),
    "mistral": ({**_SHAPE, "sliding_window": 8}, "packed"),
    "gemma2": ({**_HEADS, "sliding_window": 8, "attn_logit_softcapping": 2.0}, "packed"),
    "gemma3_text": (
        {
            **_HEADS,
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        "packed",
    ),
    "olmo2": (_SHAPE, "packed"),
    "phi3": (_SHAPE, "packed"),
    "gpt_neox": ({**_SHAPE, "num_key_value_heads": 4}, "packed"),
    "gpt2": (_GPT2, "packed"),
    "smollm3": (_SHAPE, "packed"),
    # Its embeddings are added outside any module.
    "opt": ({**_SHAPE, "ffn_dim": 64, "word_embed_proj_dim": 32}, "packed"),
    # Values narrower than keys.
    "deepseek_v3": ({**_SHAPE, "num_key_value_heads": 4, **_LATENT}, "packed"),
    # Mixtures of experts.
    "qwen3_moe": ({**_HEADS, **_EXPERTS}, "packed"),
    "mixtral": ({**_SHAPE, "num_local_experts": 4}, "packed"),
    # Attention sinks.
    "gpt_oss": ({**_HEADS, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8}, "padded"),
    # Attention within chunks of a text.
    "llama4_text": (
        {
            **_HEADS,
            "attention_chunk_size": 8,
            "num_local_experts": 4,
            "intermediate_size_mlp": 64,
            "no_rope_layers": [1, 1, 0],
        },
        "padded",
    ),
    # Biases by distance, of a mask that counts the padding.
    "bloom": ({"hidden_size": 32, "n_layer": 3, "n_head": 4}, "even"),
    # Convolutions and recurrences.
    "lfm2": ({**_SHAPE, "layer_types": ["conv", "full_attention", "conv"]}, "padded"),
    "mamba": ({"hidden_size": 32, "num_hidden_layers": 3, "state_size": 4}, "padded"),
    "qwen3_next": ({**_HEADS, **_EXPERTS, **_LINEAR, "shared_expert_intermediate_size": 16}, "padded"),
    "jamba": (
        {
            **_SHAPE,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "num_experts": 4,
            "mamba_d_state": 4,
            "use_mamba_kernels": False,
        },
        "padded",
    ),
    "falcon_h1": (
        {
            **_SHAPE,
            "mamba_d_ssm": 32,
            "mamba_n_heads": 4,
            "mamba_d_head": 8,
            "mamba_d_state": 4,
            "mamba_chunk_size": 8,
        },
        "even",
    ),
}


def decoder_tokenizer(*, begins: bool, padding_side: str = "right") -> Any:
    """Make a byte-level tokenizer without an unknown token, which puts `[CLS]` before a text or nothing at all."""
    tokenizer = make_tokenizer("bytes")
    backend = tokenizer.backend_tokenizer
    cls = backend.token_to_id("[CLS]")
    single = "[CLS] $A" if begins else "$A"
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("[CLS]", cls)])
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=80,
        padding_side=padding_side,
        bos_token="[CLS]",
        eos_token="[SEP]",
        pad_token="[PAD]",
    )


def make_causal(
    family: str, folder: Path, *, begins: bool = False, padding_side: str = "right", **overrides: Any
) -> Path:
    """Write a tiny random model of a family of `CAUSAL` with its tokenizer to `folder`."""
    from transformers import AutoConfig, AutoModel

    tokenizer = decoder_tokenizer(begins=begins, padding_side=padding_side)
    limit = overrides.get("max_position_embeddings")
    if limit is not None:
        tokenizer.model_max_length = limit
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id}
    special["eos_token_id"] = tokenizer.eos_token_id
    # transformers has a tokenizer class for some families, which adds tokens.
    size = len(tokenizer) + 8
    settings = {**CAUSAL[family][0], "vocab_size": size, **special, **overrides}
    config = AutoConfig.for_model(family, **settings)
    torch.manual_seed(7)
    model = AutoModel.from_config(config)
    # Fresh biases are zero and norms are one: random ones would show a part that is left out.
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
