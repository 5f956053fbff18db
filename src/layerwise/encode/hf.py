"""The one file that knows transformers: loading, the plain forward, and the attention of ours."""

from __future__ import annotations

import contextlib
import copy
import logging
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from safetensors import safe_open
from torch import nn
from transformers import AttentionInterface, AutoConfig, AutoModel, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

from layerwise._util import json_checks
from layerwise._util.guarded import BLOCKS, WIDTH, read_json
from layerwise._util.locks import Shared, new_lock
from layerwise._util.silence import is_panic, no_panic_shown, silenced
from layerwise.encode import attention, linear
from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.modelfiles import check_code, config_files
from layerwise.errors import LayerwiseError, ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# int8 is made of fp32.
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.float32}
_LOADING = new_lock()
# Instruction sets of oneDNN that have no products of bf16.
_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
_BLANK_PIECES = ("", " ", "\u2581", "\u0120")
_NUMBERS_PER_BYTE = 2  # of weights, at the most
_UNBOUNDED = 1_000_000  # tokenizers without a maximum claim 1e30
_FALLBACK_LENGTH = 512
_WHOLE = 0.02  # how far the sum of a row of attention may be from 1: bf16 rounds each of its numbers
# The names that configurations have for the number of positions.
_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "max_seq_len")
# A pooler is no part of the layers; everything else that a checkpoint lacks would be random numbers.
_POOLER = "pooler."
_NOT_LAYERS = (_POOLER, "position_ids")
_CASED = 0.01  # of a vocabulary's entries hold capitals: more than a stray letter


# What is asked of a tokenizer once its model is loaded.
_ASKED = (
    "unk_token_id",
    "cls_token_id",
    "pad_token_id",
    "mask_token_id",
    "all_special_ids",
    "model_input_names",
)


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer, ready to run.

    `max_length` is the number of tokens, special ones included, that the model can take at once, and
    `vocabulary` the number of entries of its embedding table. `skipped` is the token that isn't counted where the
    model numbers positions (`None` where all are): RoBERTa and its kin pass over that of the padding, and begin
    behind its number. `backend` is the tokenizer of the `tokenizers` library, without truncation and padding.
    `unused` are tensors of the weights that no layer needs, those that begin alike as one `NAME.*`; `notes` what the
    user should be told.
    """

    model: nn.Module
    config: PretrainedConfig
    tokenizer: Any
    backend: Any
    max_length: int
    vocabulary: int
    skipped: int | None
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def load(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: str = "fp32",
    trust_remote_code: bool = False,
) -> Loaded:
    """Load the encoder and its tokenizer.

    Raises:
        ModelError: no text encoder, weights that lack a layer, a tokenizer that can't be used.
    """
    check_process(device, checkpoint)
    with quiet(), foreign(checkpoint):
        config = _load_config(checkpoint, trust_remote_code)
        model, unused = _load_model(checkpoint, config, _TYPES[precision], trust_remote_code)
        tokenizer, backend = _load_tokenizer(checkpoint, trust_remote_code)
        for name in (
            _ASKED
        ):  # an unknown token that isn't in the vocabulary makes transformers ask for it without end
            getattr(tokenizer, name)
    with foreign(checkpoint):
        model = model.to(device).eval().requires_grad_(False)
        table = _position_table(model)
        skipped = None if table is None else table.skipped
        return Loaded(
            model,
            config,
            tokenizer,
            backend,
            _max_length(checkpoint, config, tokenizer, table),
            _vocabulary(checkpoint, model, backend),
            skipped,
            unused,
            _cased(checkpoint, backend) + _others(config, tokenizer, skipped),
        )


def check_process(device: str, checkpoint: Checkpoint) -> None:
    """Raise ModelError for a GPU that the parent of this forked process works with: CUDA refuses that."""
    if torch.device(device).type == "cuda" and torch.cuda._is_in_bad_fork():
        raise ModelError(
            f"model {checkpoint.name!r} can't run on {device} in a process that was forked; start that process with "
            "the method spawn and load the model there, or take --device cpu"
        )


def blocks(config: PretrainedConfig) -> int | None:
    """Return the number of encoder blocks that a configuration names."""
    number = getattr(config, "num_hidden_layers", None)
    return int(number) if number is not None else None


def head_size(model: nn.Module) -> int:
    """Return how many numbers the narrowest of a model's attention heads has; a large number where no module says."""
    names = ("attention_head_size", "head_dim", "key_value_proj_dim")
    stated = [getattr(module, name, None) for module in model.modules() for name in names]
    return min((size for size in stated if isinstance(size, int)), default=1_000_000)


def fast_bf16() -> bool:
    """Tell whether the processor multiplies bf16 numbers itself, and oneDNN may use that; else it is slow."""
    if linear.held_to() in _WITHOUT_BF16:
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    flags = [getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name)]
    return any(flags) or platform.machine() in ("arm64", "aarch64")


def describe(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> dict[str, Any]:
    """Return family, blocks, width and position limit from the configuration alone, without the weights."""
    with quiet(), foreign(checkpoint):
        config = _load_config(checkpoint, trust_remote_code)
        return {
            "family": config.model_type,
            "blocks": blocks(config),
            "width": getattr(config, "hidden_size", None),
            "positions": next(iter(_stated_positions(config)), None),
        }


def unused_tensors(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> tuple[str, ...]:
    """Return the tensors of a model's weights that no layer needs, as in `Loaded`; loads the weights as they are."""
    with quiet(), foreign(checkpoint):
        config = _load_config(checkpoint, trust_remote_code)
        return _load_model(checkpoint, config, "auto", trust_remote_code)[1]


def use_packed_attention(model: nn.Module) -> str:
    """Switch the model to our attention; returns the name of the one before."""
    AttentionInterface.register(attention.NAME, attention.packed_attention)
    transformers.AttentionMaskInterface.register(attention.NAME, attention.no_mask)
    before: str = model.config._attn_implementation  # type: ignore[union-attr, assignment]
    model.set_attn_implementation(attention.NAME)  # type: ignore[operator]
    return before


def use_attention(model: nn.Module, name: str) -> None:
    """Switch the model back to the attention `name`."""
    model.set_attn_implementation(name)  # type: ignore[operator]


@torch.inference_mode()
def plain_states(
    model: nn.Module, ids: npt.NDArray[np.int64], type_ids: npt.NDArray[np.int64] | None
) -> list[torch.Tensor]:
    """Return all layers of one text by a plain forward, each (tokens, width) in float32 on the CPU.

    The model is left as it was, and must be one that no forward has changed; see `remember`.
    """
    device = next(model.parameters()).device
    inputs = {"input_ids": torch.tensor(ids, device=device)[None]}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if type_ids is not None:
        inputs["token_type_ids"] = torch.tensor(type_ids, device=device)[None]
    put_back = remember(model)
    try:
        outputs = model(**inputs, output_hidden_states=True)
    finally:
        put_back()
    # BigBird fills a text up to whole blocks, and cuts its last state alone.
    whole = len(ids) if outputs.last_hidden_state.shape[1] == len(ids) else None
    return [state[0, :whole].float().cpu() for state in outputs.hidden_states]


def remember(model: nn.Module) -> Callable[[], bool]:
    """Return what puts a model back as it is now after a forward, and tells whether that had changed it.

    Some families note on themselves what they did, and do otherwise from then on: BigBird exchanges its attention
    at the first short text, rotary positions grow with the longest. Put back are the attributes of all modules, and
    which modules and tensors they hold. Hooks stay.
    """
    before = [(module, _attributes(module)) for module in model.modules()]

    def put_back() -> bool:
        changed = [_put_back(module, attributes) for module, attributes in before]
        return any(changed)

    return put_back


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return the attributes of a module, each with a copy where it is a dictionary."""
    return {
        name: (value, value.copy() if isinstance(value, dict) else None)
        for name, value in vars(module).items()
        if "_hooks" not in name
    }


def _put_back(module: nn.Module, attributes: dict[str, tuple[Any, Any]]) -> bool:
    now, changed = vars(module), False
    for name in [name for name in now if name not in attributes and "_hooks" not in name]:
        del now[name]
        changed = True
    for name, (value, copied) in attributes.items():
        if now.get(name, _put_back) is not value:
            now[name] = value
            changed = True
        if copied is not None and not _same_entries(value, copied):
            value.clear()
            value.update(copied)
            changed = True
    return changed


def _same_entries(first: dict[Any, Any], second: dict[Any, Any]) -> bool:
    return list(first) == list(second) and all(first[name] is second[name] for name in first)


def eager_copy(model: nn.Module) -> nn.Module | None:
    """Return a model of the same weights with the plain ("eager") attention of transformers, which keeps its maps.

    The weights are shared; configuration and modules are the copy's own, without hooks, so that whoever runs the
    model meanwhile sees no change. `None` for a family without that attention.
    """
    copied = _copy(model, {}, {})
    try:
        use_attention(copied, "eager")
    except (ValueError, TypeError, AttributeError):
        return None
    return copied


def _copy(module: nn.Module, modules: dict[nn.Module, nn.Module], configs: dict[int, Any]) -> nn.Module:
    if module in modules:
        return modules[module]
    copied = modules[module] = module.__class__.__new__(module.__class__)
    copied.__dict__.update(module.__dict__)
    for name, value in module.__dict__.items():
        if isinstance(value, transformers.PretrainedConfig):
            copied.__dict__[name] = copy.deepcopy(value, configs)
        elif name.endswith("_hooks") or "_hooks_" in name:
            copied.__dict__[name] = type(value)()
        elif name in ("_parameters", "_buffers"):
            copied.__dict__[name] = dict(value)
    copied.__dict__["_modules"] = {
        name: None if child is None else _copy(child, modules, configs)
        for name, child in module._modules.items()
    }
    return copied


@torch.inference_mode()
def take_shape(model: nn.Module, ids: npt.NDArray[np.int64]) -> None:
    """Let a model that changes with its texts become what it is for this one (BigBird exchanges its attention)."""
    with without_reports():
        model(input_ids=torch.tensor(ids, device=next(model.parameters()).device)[None])


@torch.inference_mode()
def attention_maps(
    model: nn.Module | None, ids: npt.NDArray[np.int64], type_ids: npt.NDArray[np.int64] | None
) -> list[torch.Tensor] | None:
    """Return each block's attention in one text, (heads, tokens, tokens) in float32 on the CPU.

    `model` is an `eager_copy`. `None` for a family that doesn't give any.
    """
    if model is None:
        return None
    device = next(model.parameters()).device
    inputs = {"input_ids": torch.tensor(ids, device=device)[None]}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if type_ids is not None:
        inputs["token_type_ids"] = torch.tensor(type_ids, device=device)[None]
    try:
        found = model(**inputs, output_attentions=True).attentions
    except (ValueError, TypeError, AttributeError):
        return None
    if not found or any(block is None or block.shape[2:] != (len(ids), len(ids)) for block in found):
        return None
    maps = [block[0].float().cpu() for block in found]
    # Attention to parts of a text is given in other shapes, or with what is left out of it.
    whole = all(bool(((block.sum(-1) - 1).abs() < _WHOLE).all()) for block in maps)
    return maps if whole else None


def versions() -> dict[str, str]:
    """Return the versions of the libraries that the numbers depend on."""
    import tokenizers

    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }


class PlainLoop:
    """What people write: plain transformers, every layer of every token to memory as numpy arrays."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        loaded = load(checkpoint, device=device)
        self._model, self._tokenizer, self._device = loaded.model, loaded.tokenizer, device
        self._length = min(loaded.max_length, checkpoint.max_length or loaded.max_length)

    @torch.inference_mode()
    def one_by_one(self, texts: Sequence[str]) -> list[list[Any]]:
        """Encode one text at a time."""
        return [self._forward([text]) for text in texts]

    @torch.inference_mode()
    def padded(self, texts: Sequence[str], size: int = 32) -> list[list[Any]]:
        """Encode batches in the order of the texts, each padded to its longest text."""
        return [self._forward(list(texts[begin : begin + size])) for begin in range(0, len(texts), size)]

    @torch.inference_mode()
    def flop_per_token(self) -> float:
        """Return what the products of the linear layers need per token, poolers left out."""
        total = 0

        def count(module: nn.Module, inputs: Any, _: Any) -> None:
            nonlocal total
            if inputs[0].dim() == 3:  # a pooler sees one token of each text
                weight: Any = module.weight
                total += 2 * weight.numel() * inputs[0].shape[0] * inputs[0].shape[1]

        linears = [m for m in self._model.modules() if isinstance(m, nn.Linear)]
        handles = [module.register_forward_hook(count) for module in linears]
        inputs = self._tokenizer("one two three", return_tensors="pt").to(self._device)
        self._model(**inputs)
        for handle in handles:
            handle.remove()
        return total / int(inputs["input_ids"].shape[1])

    def _forward(self, texts: list[str]) -> list[Any]:
        inputs = self._tokenizer(
            texts, return_tensors="pt", padding=len(texts) > 1, truncation=True, max_length=self._length
        ).to(self._device)
        states = self._model(**inputs, output_hidden_states=True).hidden_states
        return [state.cpu().numpy() for state in states]


def save_random(folder: Path, tokenizer_from: Checkpoint) -> None:
    """Write a BERT of the base shape (12 blocks, width 768) with random weights, and a tokenizer for it."""
    with quiet():
        torch.manual_seed(0)
        AutoModel.from_config(AutoConfig.for_model("bert")).save_pretrained(folder)
        AutoTokenizer.from_pretrained(tokenizer_from.folder).save_pretrained(folder)


# What sizes are called in configurations: of each family some, and null or nothing means its default.
_COUNT = json_checks.optional(json_checks.whole(0, BLOCKS))
_SIZE = json_checks.optional(json_checks.whole(0, WIDTH))
_SIZES: json_checks.Schema = {
    "model_type": json_checks.optional(json_checks.text),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers", "num_decoder_layers"), _COUNT),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_hidden_groups"), _COUNT),
    **dict.fromkeys(("inner_group_num", "num_feedforward_networks"), _COUNT),
    **dict.fromkeys(("hidden_size", "dim", "d_model", "n_embd", "embedding_size"), _SIZE),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_ff", "ffn_dim", "intra_bottleneck_size"), _SIZE),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads", "num_key_value_heads"), _SIZE),
    "vocab_size": json_checks.optional(json_checks.whole(0, 1 << 31)),
    "type_vocab_size": _SIZE,
    "num_labels": json_checks.optional(json_checks.whole(0, 1 << 17)),  # each is given a name
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx"),
        json_checks.optional(json_checks.whole(-1, 1 << 24)),
    ),
}


def _load_config(checkpoint: Checkpoint, trust_remote_code: bool) -> PretrainedConfig:
    _check_sizes(checkpoint)
    if trust_remote_code:
        check_code(checkpoint.name, checkpoint.folder)
    return AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=trust_remote_code)


def _check_sizes(checkpoint: Checkpoint) -> None:
    """Check the sizes that a configuration names before a model of them is made.

    Raises:
        ModelError: naming the entry.
    """
    for path in config_files(checkpoint.folder):
        _check_sizes_in(checkpoint, path)


def _check_sizes_in(checkpoint: Checkpoint, path: Path) -> None:
    try:
        entries = read_json(path, lenient=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"model {checkpoint.name!r} can't be loaded: {path}: {first_line(error)}") from None
    if not isinstance(entries, dict):
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: {path} holds no JSON object; put the right file there"
        )
    wrong = json_checks.first_wrong(entries, _SIZES)
    if wrong is not None:
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: {wrong} is {entries[wrong]!r:.60} in {path}, which no model has; put "
            "the right file there"
        )


def _load_model(
    checkpoint: Checkpoint, config: PretrainedConfig, dtype: torch.dtype | str, trust_remote_code: bool
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the model, and the tensors of its weights that no layer needs; `auto` is the type of the weights."""
    loader = _loader(checkpoint, config)
    _check_input(checkpoint, loader, config)
    further = [name for name in getattr(config, "extra_files", ()) if (checkpoint.folder / name).is_file()]
    if further:
        raise ModelError(
            f"model {checkpoint.name!r} ({config.model_type}) has weights in further files ({', '.join(further)}), which "
            "isn't supported"
        )
    _check_amount(checkpoint, loader, config, trust_remote_code)
    if checkpoint.random is not None:
        with torch.random.fork_rng(devices=[]), foreign(checkpoint, "can't be made"):
            torch.manual_seed(checkpoint.random)
            made: nn.Module = _of_config(loader, config, trust_remote_code)
        return made.to(dtype), ()
    model, info = loader.from_pretrained(
        checkpoint.folder,
        dtype=dtype,
        use_safetensors=not checkpoint.files.pickled,
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
    )
    lacking = sorted(key for key in info["missing_keys"] if not any(part in key for part in _NOT_LAYERS))
    if lacking:
        raise ModelError(
            f"model {checkpoint.name!r}: its weights lack {lacking[0]} (and {len(lacking) - 1} more), which would "
            "be filled with random numbers; the checkpoint doesn't fit its config.json"
        )
    _check_input(checkpoint, model, config)
    quantized = getattr(config, "quantization_config", None)
    if quantized is not None and getattr(model, "hf_quantizer", None) is None:
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        raise ModelError(
            f"model {checkpoint.name!r}: its weights are quantized by {str(method)[:40]!r}, which transformers doesn't read; "
            "take a version in float32, float16 or bfloat16"
        )
    return model, _unused(checkpoint, model, info)


def _check_amount(
    checkpoint: Checkpoint, loader: Any, config: PretrainedConfig, trust_remote_code: bool
) -> None:
    """Refuse a configuration of more numbers than the weights can hold, before memory is taken for them."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            described = _of_config(loader, config, trust_remote_code)
    except (
        Exception
    ):  # code of the model's own may not run without memory; what is wrong is told when it is loaded
        return
    numbers = sum(parameter.numel() for parameter in described.parameters())
    if numbers > _NUMBERS_PER_BYTE * checkpoint.files.bytes:
        raise ModelError(
            f"model {checkpoint.name!r}: its config.json describes {numbers:,} numbers and its weights have "
            f"{checkpoint.files.bytes:,} bytes, so these are cut off or of another model; fetch the files that belong together"
        )


def _check_input(checkpoint: Checkpoint, model: Any, config: PretrainedConfig) -> None:
    """Refuse a model, or the class that a configuration leads to, which takes no text."""
    if model is AutoModel:
        model = AutoModel._model_mapping.get(type(config), None)
    name = getattr(model, "main_input_name", "input_ids")
    if name != "input_ids":
        raise ModelError(f"model {checkpoint.name!r} takes {name}, not text; a text encoder is needed")


def _unused(checkpoint: Checkpoint, model: nn.Module, info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tensors of the weights that no layer needs; those that stand alone under a name as `NAME.*`."""
    present = set(model.state_dict())
    poolers = {name for name in present if _POOLER in name}
    # In the weights the model may stand under a name of its own: bert.encoder…
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    # Transformers doesn't report what it expects not to need.
    silent = [
        re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    ]
    left_out = {
        name
        for name in _tensor_names(checkpoint)
        if name.removeprefix(prefix) not in present and any(pattern.search(name) for pattern in silent)
    }
    unused = {*info["unexpected_keys"], *left_out, *(poolers - set(info["missing_keys"]))}
    used = present - poolers
    return _grouped(unused, used | {prefix + name for name in used})


def _tensor_names(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield the names of the tensors in a model's safetensors files."""
    for name in checkpoint.files.weights:
        if name.endswith(".safetensors"):
            with safe_open(checkpoint.files.root / name, "pt") as file:
                yield from file.keys()


def _grouped(names: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return names in order; of several that are all there is under a part of theirs, only that part, with `.*`."""
    taken = {name[: at.start()] for name in others for at in re.finditer(r"\.|$", name)}
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        starts = (name[: at.start()] for at in re.finditer(r"\.|$", name))
        groups.setdefault(next((start for start in starts if start not in taken), name), []).append(name)
    return tuple(members[0] if len(members) == 1 else f"{start}.*" for start, members in groups.items())


def _of_config(loader: Any, config: PretrainedConfig, trust_remote_code: bool) -> Any:
    """Return the model that a configuration describes, with the weights that training begins with."""
    if loader is AutoModel:
        return AutoModel.from_config(config, trust_remote_code=trust_remote_code)
    return loader(config)


def _loader(checkpoint: Checkpoint, config: PretrainedConfig) -> Any:
    """Return the class that loads the encoder: of the T5 family its encoder half alone."""
    if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING:
        half = MODEL_FOR_TEXT_ENCODING_MAPPING[type(config)]
        if half.__name__.endswith("EncoderModel"):
            return half
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"model {checkpoint.name!r} is of the family {config.model_type!r}, an encoder with a decoder; "
            "of these only the T5 family's encoder half is supported"
        )
    return AutoModel


def _load_tokenizer(checkpoint: Checkpoint, trust_remote_code: bool) -> tuple[Any, Any]:
    with foreign(checkpoint, "has no tokenizer that can be loaded"), no_panic_shown():
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=trust_remote_code)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer ({type(tokenizer).__name__}) is written in Python and gives "
            "no offsets; a tokenizer of the tokenizers library (tokenizer.json) is needed"
        )
    if checkpoint.max_length is not None:
        # As sentence-transformers does: what the folder asks for goes before what the tokenizer says.
        tokenizer.model_max_length = checkpoint.max_length
    with foreign(checkpoint, "has no tokenizer that can be used"), no_panic_shown():
        backend.no_truncation()
        backend.no_padding()
        backend.encode("a")
    _check_tokens(checkpoint, tokenizer, backend)
    if checkpoint.lowercase:
        _lower(backend)
    return tokenizer, backend


def _check_tokens(checkpoint: Checkpoint, tokenizer: Any, backend: Any) -> None:
    """Refuse a tokenizer without a vocabulary, to which every word is unknown: transformers makes one of nothing."""
    tokens = set(backend.get_vocab(with_added_tokens=True))
    if tokens <= {*tokenizer.all_special_tokens, *_BLANK_PIECES}:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer ({type(tokenizer).__name__}) knows no tokens but the {len(tokens)} "
            "special ones, so no vocabulary was found or it is empty; put the files of the model's tokenizer there"
        )
    try:
        known = tokenizer.unk_token_id is None or tokenizer.unk_token in tokens
    except RecursionError:  # the number of an unknown token is that of the unknown one
        known = False
    if not known:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer's unknown token {tokenizer.unk_token!r:.60} is none of its tokens; "
            "correct unk_token in tokenizer_config.json, or special_tokens_map.json"
        )


def _lower(backend: Any) -> None:
    """Let a tokenizer make texts lower case first, unless that is one of its steps."""
    from tokenizers import normalizers

    first: Any = backend.normalizer
    several = isinstance(first, normalizers.Sequence)
    steps: list[Any] = [*first] if several else [] if first is None else [first]
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])


def _cased(checkpoint: Checkpoint, backend: Any) -> tuple[str, ...]:
    """Return a note where a tokenizer makes texts lower case and its vocabulary has capitals, as by mistake.

    A folder with nothing but vocab.txt is read so, for the first BERT was.
    """
    if checkpoint.lowercase or backend.normalizer is None or type(backend.model).__name__ != "WordPiece":
        return ()
    if backend.normalizer.normalize_str("A") != "a":
        return ()
    words = [word for word in backend.get_vocab(False) if not (word.startswith("[") and word.endswith("]"))]
    cased = sum(word != word.lower() for word in words)
    if cased <= _CASED * len(words):
        return ()
    return (
        f"the vocabulary of model {checkpoint.name!r} is cased ({cased:,} of {len(words):,} entries hold capitals), and its "
        'tokenizer makes texts lower case, so these are never used; if that is wrong, put "do_lower_case": false into its '
        "tokenizer_config.json",
    )


@dataclass(frozen=True)
class _Positions:
    """The table of absolute positions of a model: its entries, and the token that isn't counted (`None` for none)."""

    entries: int
    skipped: int | None


def _position_table(model: nn.Module) -> _Positions | None:
    """Return what is known of the table of absolute positions; `None` for a family without one."""
    for name, module in model.named_modules():
        last, weight = name.rsplit(".", 1)[-1], getattr(module, "weight", None)
        named = ("position" in last or last == "wpe") and "rel" not in last
        # I-BERT's is no nn.Embedding.
        if (
            named
            and "Embedding" in type(module).__name__
            and isinstance(weight, torch.Tensor)
            and weight.dim() == 2
        ):
            return _Positions(len(weight), getattr(module, "padding_idx", None))
    return None


def _max_length(
    checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, table: _Positions | None
) -> int:
    """Return how many tokens the model takes at once.

    Raises:
        ModelError: a maximum that the folder states goes beyond the table of positions.
    """
    own = tokenizer.model_max_length
    if not json_checks.number(own) or own < 1:
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: model_max_length is {own!r:.60} in its tokenizer_config.json; "
            "put the right file there"
        )
    stated = int(own) if own < _UNBOUNDED else None
    limits = [] if stated is None else [stated]
    if table is None:
        return min(limits + _stated_positions(config), default=_FALLBACK_LENGTH)
    if stated is not None and stated > table.entries:
        where = "tokenizer" if checkpoint.max_length is None else "sentence-transformers folder"
        raise ModelError(
            f"model {checkpoint.name!r}: its {where} allows {stated} tokens and its table of positions has "
            f"{table.entries} entries, so they aren't of one model; take the files that belong together, or correct the "
            "maximum length"
        )
    usable = table.entries - (0 if table.skipped is None else table.skipped + 1)
    return min([*limits, *_stated_positions(config), usable])


def _stated_positions(config: PretrainedConfig) -> list[int]:
    """Return the number of positions that a configuration states, if it does, where there is no table."""
    positions = [getattr(config, name, None) for name in _POSITIONS]
    # The position counts of T5's configurations limit nothing: its attention goes by distances.
    if getattr(config, "relative_attention_num_buckets", None) is not None:
        return []
    return [int(number) for number in positions if isinstance(number, int) and number > 0][:1]


def _vocabulary(checkpoint: Checkpoint, model: nn.Module, backend: Any) -> int:
    """Return the number of entries of the embedding table; of the tokenizer where the model doesn't tell.

    Raises:
        ModelError: the tokenizer has tokens beyond it.
    """
    vocabulary = backend.get_vocab(with_added_tokens=True)
    highest = max(vocabulary.values(), default=0)
    try:
        entries = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    except (NotImplementedError, AttributeError):  # code of the model's own
        return highest + 1
    if highest >= entries:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer has {len(vocabulary)} tokens, up to number {highest}, and its "
            f"embedding table {entries} entries, so they aren't of one model; take the tokenizer that belongs to it"
        )
    return entries


def _others(config: PretrainedConfig, tokenizer: Any, skipped: int | None) -> tuple[str, ...]:
    """Return a note for padding and masks that have another number in the tokenizer than in the model."""
    pairs = {
        "padding": (tokenizer.pad_token_id, skipped),
        "mask": (tokenizer.mask_token_id, getattr(config, "mask_token_id", None)),
    }
    return tuple(
        f"the tokenizer's {what} is token {names} and the model's is {number}, so they may not be of one model; vectors are "
        "those that transformers gives"
        for what, (names, number) in pairs.items()
        if names is not None and number is not None and names != number
    )


@contextlib.contextmanager
def foreign(checkpoint: Checkpoint, what: str = "can't be loaded") -> Iterator[None]:
    """Turn whatever other people's code makes of a model's files into an error of one line.

    Raises:
        ModelError: with the first line of what was raised.
    """
    try:
        yield
    except LayerwiseError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise _model_error(checkpoint, error, what) from error


def _model_error(checkpoint: Checkpoint, error: BaseException, what: str) -> ModelError:
    if "trust_remote_code" in str(error):
        return ModelError(
            f"model {checkpoint.name!r} brings code of its own, which is run only with --trust-remote-code"
        )
    if "ignore_mismatched_sizes" in str(
        error
    ):  # which says that a report has the details, and that is silenced
        return ModelError(
            f"model {checkpoint.name!r}: its weights have other shapes than its config.json says, so they aren't of one "
            "model; take the files that belong together"
        )
    return ModelError(f"model {checkpoint.name!r} {what}: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """Return the first line of a foreign error, cut to a readable length; of a bug of theirs its kind as well."""
    text = (str(error).strip() or error.__class__.__name__).splitlines()[0]
    if not isinstance(error, ValueError | OSError | RuntimeError | ImportError):
        text = f"{error.__class__.__name__}: {text}"
    return text if len(text) <= 200 else text[:199] + "…"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the loading reports and progress bars of transformers; what matters is raised as an error.

    For one thread at a time: these settings, and torch's generator of random numbers, are the whole process's.
    """
    with _LOADING, silenced(), _reports.enabled():
        yield


def _without_reports() -> Callable[[], None]:
    logger = logging.getLogger("transformers")
    level, bars = logger.level, transformers.utils.logging.is_progress_bar_enabled()
    dtype = torch.get_default_dtype()
    logger.setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()

    def back() -> None:
        logger.setLevel(level)
        torch.set_default_dtype(dtype)  # changed while a model is made, which a fork may come into
        if bars:
            transformers.utils.logging.enable_progress_bar()

    return back


_reports = Shared(_without_reports)


def without_reports() -> contextlib.AbstractContextManager[None]:
    """Silence what transformers reports of forwards."""
    return _reports.enabled()
