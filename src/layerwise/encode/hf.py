"""The one file that knows transformers: loading, the plain forward, and the attention of ours."""

from __future__ import annotations

import contextlib
import copy
import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import nn
from transformers import AttentionInterface, AutoConfig, AutoModel, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

from layerwise import schema
from layerwise.encode import attention, linear
from layerwise.encode.checkpoint import Checkpoint, weight_files
from layerwise.errors import LayerwiseError, ModelError
from layerwise.guarded import BLOCKS, WIDTH, read_json
from layerwise.locks import Shared, new_lock
from layerwise.silence import is_panic, no_panic_shown, silenced

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# int8 is made of fp32.
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.float32}
_LOADING = new_lock()
# Instruction sets of oneDNN that have no products of bf16.
_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
_UNBOUNDED = 1_000_000  # tokenizers without a maximum claim 1e30
_FALLBACK_LENGTH = 512
# A pooler is no part of the layers; everything else that a checkpoint lacks would be random numbers.
_NOT_LAYERS = ("pooler.", "position_ids")


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer, ready to run.

    `max_length` is the number of pieces, special ones included, that the model can take at once, and
    `first_position` the number of its first position. `backend` is the tokenizer of the `tokenizers`
    library, without truncation and padding.
    """

    model: nn.Module
    config: PretrainedConfig
    tokenizer: Any
    backend: Any
    max_length: int
    first_position: int


def load(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: str = "fp32",
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> Loaded:
    """Load the encoder and its tokenizer.

    Raises:
        ModelError: no text encoder, weights that lack a layer, a tokenizer that can't be used.
    """
    check_process(device, checkpoint)
    with _quiet():
        config = _load_config(checkpoint, trust_remote_code)
        model = _load_model(checkpoint, config, _TYPES[precision], allow_pickle, trust_remote_code)
        tokenizer, backend = _load_tokenizer(checkpoint, trust_remote_code)
    model = model.to(device).eval().requires_grad_(False)
    first = _first_position(model)
    return Loaded(model, config, tokenizer, backend, _max_length(checkpoint, config, tokenizer, first), first)


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


def fast_bf16() -> bool:
    """Tell whether the processor multiplies bf16 numbers itself, and oneDNN may use that; else it is slow."""
    if linear.held_to() in _WITHOUT_BF16:
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    found = [getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name)]
    return any(found) or platform.machine() in ("arm64", "aarch64")


def describe(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> dict[str, Any]:
    """Return family, blocks, width and position limit from the configuration alone, without the weights."""
    with _quiet():
        config = _load_config(checkpoint, trust_remote_code)
    return {
        "family": config.model_type,
        "blocks": blocks(config),
        "width": getattr(config, "hidden_size", None),
        "positions": getattr(config, "max_position_embeddings", None),
    }


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
    """Return all layers of one text by a plain forward, each (pieces, width) in float32 on the CPU."""
    device = next(model.parameters()).device
    inputs = {"input_ids": torch.tensor(ids, device=device)[None]}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if type_ids is not None:
        inputs["token_type_ids"] = torch.tensor(type_ids, device=device)[None]
    return [state[0].float().cpu() for state in model(**inputs, output_hidden_states=True).hidden_states]


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
def attention_maps(
    model: nn.Module | None, ids: npt.NDArray[np.int64], type_ids: npt.NDArray[np.int64] | None
) -> list[torch.Tensor] | None:
    """Return each block's attention in one text, (heads, pieces, pieces) in float32 on the CPU.

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
    if not found or any(one is None or one.dim() != 4 for one in found):
        return None
    return [one[0].float().cpu() for one in found]


def versions() -> dict[str, str]:
    """Return the versions of the libraries that the numbers depend on."""
    import tokenizers

    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }


class PlainLoop:
    """What people write: plain transformers, every layer of every piece to memory as numpy arrays."""

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
    def flop_per_piece(self) -> float:
        """Return what the products of the linear layers need per piece, poolers left out."""
        total = 0

        def count(module: nn.Module, inputs: Any, _: Any) -> None:
            nonlocal total
            if inputs[0].dim() == 3:  # a pooler sees one piece of each text
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
    with _quiet():
        torch.manual_seed(0)
        AutoModel.from_config(AutoConfig.for_model("bert")).save_pretrained(folder)
        AutoTokenizer.from_pretrained(tokenizer_from.folder).save_pretrained(folder)


# What sizes are called in configurations: of each family some, and null or nothing means its default.
_COUNT = schema.optional(schema.whole(0, BLOCKS))
_SIZE = schema.optional(schema.whole(0, WIDTH))
_SIZES: schema.Schema = {
    "model_type": schema.optional(schema.text),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers", "num_decoder_layers"), _COUNT),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_hidden_groups"), _COUNT),
    **dict.fromkeys(("hidden_size", "dim", "d_model", "n_embd", "embedding_size"), _SIZE),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_ff", "ffn_dim", "intra_bottleneck_size"), _SIZE),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads", "num_key_value_heads"), _SIZE),
    "vocab_size": schema.optional(schema.whole(0, 1 << 31)),
    "type_vocab_size": _SIZE,
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx"), schema.optional(schema.whole(-1, 1 << 24))
    ),
}


def _load_config(checkpoint: Checkpoint, trust_remote_code: bool) -> PretrainedConfig:
    _check_sizes(checkpoint)
    with _foreign(checkpoint, "can't be loaded"):
        return AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=trust_remote_code)


def _check_sizes(checkpoint: Checkpoint) -> None:
    """Check the sizes that a configuration names before a model of them is made.

    Raises:
        ModelError: naming the entry.
    """
    path = checkpoint.folder / "config.json"
    try:
        entries = read_json(path, lenient=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"model {checkpoint.name!r} can't be loaded: {path}: {_line(error)}") from None
    if not isinstance(entries, dict):
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: {path} holds no JSON object; put the right file there"
        )
    wrong = schema.first_wrong(entries, _SIZES)
    if wrong is not None:
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: {wrong} is {entries[wrong]!r:.60} in {path}, which no model has; put "
            "the right file there"
        )


@contextlib.contextmanager
def _foreign(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Turn what other libraries raise at a model's files into a ModelError.

    They raise anything, AttributeError and ZeroDivisionError included, and tokenizers a panic, which is no Exception.
    """
    try:
        yield
    except LayerwiseError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise _model_error(checkpoint, error, what) from None


def _load_model(
    checkpoint: Checkpoint,
    config: PretrainedConfig,
    dtype: torch.dtype,
    allow_pickle: bool,
    trust_remote_code: bool,
) -> nn.Module:
    loader = _loader(checkpoint, config)
    if checkpoint.random is not None:
        with torch.random.fork_rng(devices=[]), _foreign(checkpoint, "can't be made"):
            torch.manual_seed(checkpoint.random)
            made: nn.Module = _of_config(loader, config, trust_remote_code)
        return made.to(dtype)
    safe = weight_files(checkpoint.folder, allow_pickle=allow_pickle)[0].suffix == ".safetensors"
    with _foreign(checkpoint, "can't be loaded"):
        model, info = loader.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            use_safetensors=safe,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    lacking = sorted(key for key in info["missing_keys"] if not any(part in key for part in _NOT_LAYERS))
    if lacking:
        raise ModelError(
            f"model {checkpoint.name!r}: its weights lack {lacking[0]} (and {len(lacking) - 1} more), which would "
            "be filled with random numbers; the checkpoint doesn't fit its config.json"
        )
    if getattr(model, "main_input_name", "input_ids") != "input_ids":
        raise ModelError(
            f"model {checkpoint.name!r} takes {model.main_input_name}, not text; a text encoder is needed"
        )
    return model  # type: ignore[no-any-return]


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
    with _foreign(checkpoint, "has no tokenizer that can be loaded"), no_panic_shown():
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=trust_remote_code)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer ({type(tokenizer).__name__}) is written in Python and gives "
            "no offsets; a tokenizer of the tokenizers library (tokenizer.json) is needed"
        )
    with _foreign(checkpoint, "has no tokenizer that can be used"), no_panic_shown():
        backend.no_truncation()
        backend.no_padding()
        backend.encode("a")
    if checkpoint.lowercase:
        from tokenizers import normalizers

        parts = [normalizers.Lowercase()] + ([backend.normalizer] if backend.normalizer is not None else [])
        backend.normalizer = normalizers.Sequence(parts)
    return tokenizer, backend


def _first_position(model: nn.Module) -> int:
    """Return the number of a text's first position; RoBERTa and its kin count from pad_token_id + 1."""
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] == "position_embeddings" and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


def _max_length(checkpoint: Checkpoint, config: PretrainedConfig, tokenizer: Any, first_position: int) -> int:
    own = tokenizer.model_max_length
    if not schema.number(own) or own < 1:
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: model_max_length is {own!r:.60} in its tokenizer_config.json; "
            "put the right file there"
        )
    limits = [int(own)] if own < _UNBOUNDED else []
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and positions > 0:
        limits.append(int(positions) - first_position)
    return min(limits, default=_FALLBACK_LENGTH)


def _model_error(checkpoint: Checkpoint, error: BaseException, what: str) -> ModelError:
    text = _line(error)
    if "trust_remote_code" in str(error):
        return ModelError(
            f"model {checkpoint.name!r} brings code of its own, which is run only with --trust-remote-code"
        )
    return ModelError(f"model {checkpoint.name!r} {what}: {text}")


def _line(error: BaseException) -> str:
    """Return the first line of a foreign error, cut to a readable length; of a bug of theirs its kind as well."""
    text = (str(error).strip() or error.__class__.__name__).splitlines()[0]
    if not isinstance(error, ValueError | OSError | RuntimeError | ImportError):
        text = f"{error.__class__.__name__}: {text}"
    return text if len(text) <= 200 else text[:199] + "…"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the loading reports and progress bars of transformers; what matters is raised as an error.

    For one thread at a time: these settings, and torch's generator of random numbers, are the whole process's.
    """
    with _LOADING, silenced(), _reports.held():
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
