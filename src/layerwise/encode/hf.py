"""The only file that imports transformers and tokenizers: load a model and its tokenizer, and switch its attention.

transformers changes its names between versions, logs and draws progress bars while it loads, and raises whatever
error comes up in a damaged folder. All of that ends here: the other files see a `Loaded` model, which is a module of
torch, and a ModelError of one line. Files that are wrong in themselves are refused before transformers reads them
(`config_sizes`), and what it silently makes up for missing files is refused afterwards (`_load_model`,
`tokenizer_checks`, `limits`).
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import nn

with warnings.catch_warnings():
    # tqdm warns in a notebook without ipywidgets, which would draw its bars; nothing here shows them.
    warnings.filterwarnings("ignore", "IProgress not found")
    import transformers
    from transformers import (
        AlbertTokenizer,
        AttentionInterface,
        AutoConfig,
        AutoModel,
        AutoTokenizer,
        BertTokenizer,
        EsmTokenizer,
    )
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

from layerwise._util.locks import Shared, new_lock
from layerwise._util.paths import reason
from layerwise._util.silence import no_panic_shown, silenced
from layerwise.array_types import F32
from layerwise.encode import attention
from layerwise.encode.adapter_files import head_notes, unused_of_adapter, without_adapter
from layerwise.encode.adapters import merge_adapter
from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.config_sizes import check_sizes
from layerwise.encode.devices import check_process
from layerwise.encode.esm_tokenizer import rebuilt_description, texts_to_compare
from layerwise.encode.limits import (
    max_length,
    position_table,
    stated_length,
    stated_positions,
    vocabulary_size,
)
from layerwise.encode.model_errors import model_errors
from layerwise.encode.model_file_checks import check_code
from layerwise.encode.model_file_names import google_configs
from layerwise.encode.python_tokenizers import PythonBackend
from layerwise.encode.recipe import read_object
from layerwise.encode.size_checks import check_sizes_of_weights
from layerwise.encode.tensorflow.weights import read_weights
from layerwise.encode.tokenizer_checks import casing_notes, check_tokens, mismatch_notes, vocabulary_notes
from layerwise.encode.weight_names import POOLER, blocks_of_weights, unused_names
from layerwise.errors import ModelError
from layerwise.wording import Message

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# int8 weights are made from fp32 ones, see `int8`.
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.float32}
_LOADING = new_lock()
_OF_SYSTEM = re.compile(r"\(os error (\d+)\)")  # how safetensors names errors of the operating system
# The shape of decoders in `save_random`.
_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 2048,
    "max_position_embeddings": 2048,
}
# Tensors that a checkpoint may lack, because no layer depends on them.
_NOT_LAYERS = (POOLER, "position_ids")
# The module that makes sentence embeddings of the last layer, in EmbeddingGemma 2.
_PROJECTION = "embedding_projection"
# What the package reads from a tokenizer after it was loaded.
_TOKENIZER_ATTRIBUTES = (
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

    Attributes:
        model: the encoder, on its device, in evaluation mode, without gradients.
        config, tokenizer: those of transformers.
        backend: the tokenizer of the `tokenizers` library, without truncation and padding, or a `PythonBackend`.
        max_length: tokens that the model takes at once, special ones included.
        vocabulary_size: the number of entries of the embedding table.
        padding_idx: that of the table of positions, or None. RoBERTa and related families don't count this token
            when they number positions, and begin with the next number.
        unused: names of tensors of the weights that no layer needs; several with a common start are `START.*`.
        notes: what the user should know.
        untrained: names of tensors of the model that the weights lack, so that they hold random numbers; no layer needs
            them.
    """

    model: nn.Module
    config: PretrainedConfig
    tokenizer: Any
    backend: Any
    max_length: int
    vocabulary_size: int
    padding_idx: int | None
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()


class LoadedWeights(NamedTuple):
    """A model with its weights, the names of the tensors that no layer needs, and of those that the weights lack."""

    model: nn.Module
    unused: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()


def load(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: str = "fp32",
    trust_remote_code: bool = False,
) -> Loaded:
    """Load an encoder and its tokenizer.

    Raises:
        ModelError: no text encoder, weights that lack a layer, a tokenizer that can't be used.
    """
    check_process(device, checkpoint.name)
    with quiet(), model_errors(checkpoint):
        config = _load_config(checkpoint, trust_remote_code)
        model, unused, untrained = _load_model(checkpoint, config, _TYPES[precision], trust_remote_code)
        _check_blocks(checkpoint, config, unused)
        tokenizer, backend = _load_tokenizer(checkpoint, trust_remote_code)
        # Where the unknown token isn't in the vocabulary, transformers looks it up without end: it should fail here.
        for name in _TOKENIZER_ATTRIBUTES:
            getattr(tokenizer, name)
    with model_errors(checkpoint):
        model = model.to(device).eval().requires_grad_(False)
        table = position_table(model)
        padding_idx = None if table is None else table.padding_idx
        entries = vocabulary_size(checkpoint, model, backend)
        return Loaded(
            model,
            config,
            tokenizer,
            backend,
            max_length(checkpoint, config, tokenizer, table),
            entries,
            padding_idx,
            unused,
            casing_notes(checkpoint, backend)
            + mismatch_notes(config, tokenizer, padding_idx)
            + vocabulary_notes(checkpoint, backend, entries)
            + _projection_notes(checkpoint, unused)
            + _block_notes(checkpoint, config, model, unused)
            + head_notes(checkpoint.name, unused),
            untrained,
        )


def _check_blocks(checkpoint: Checkpoint, config: PretrainedConfig, unused: Sequence[str]) -> None:
    """Raise ModelError where the configuration names no block and the weights have tensors beside the embeddings."""
    names = [name for name in unused if not any(part in name for part in _NOT_LAYERS)]
    if names and getattr(config.get_text_config(), "num_hidden_layers", None) == 0:
        raise ModelError(
            f"model {checkpoint.name!r} gives no layers but emb, and its weights have {names[0]}; its config.json must name "
            "their number of blocks (num_hidden_layers)"
        )


def _without_projection(model: nn.Module) -> tuple[str, ...]:
    """Remove what a model applies after its last norm to make sentence embeddings, and return the names of its tensors.

    EmbeddingGemma 2 has a projection there, to another width.
    """
    tensors = []
    for name, module in list(model.named_modules()):
        if isinstance(getattr(module, "norm", None), nn.Module) and hasattr(module, _PROJECTION):
            tensors.append(f"{name}.{_PROJECTION}.weight".removeprefix("."))
            setattr(module, _PROJECTION, nn.Identity())
    return tuple(tensors)


def _projection_notes(checkpoint: Checkpoint, unused: tuple[str, ...]) -> tuple[str, ...]:
    if not any(_PROJECTION in name for name in unused):
        return ()
    return (Message("note.model.projection", model=repr(checkpoint.name), projection=_PROJECTION),)


def _block_notes(
    checkpoint: Checkpoint, config: PretrainedConfig, model: nn.Module, unused: tuple[str, ...]
) -> tuple[Message, ...]:
    blocks: int = getattr(config.get_text_config(), "num_hidden_layers", None) or 0
    stored = blocks_of_weights(model, blocks, unused) if blocks else 0
    if stored == blocks:
        return ()
    return (Message("note.model.blocks", model=repr(checkpoint.name), stored=stored, blocks=blocks),)


def describe(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> dict[str, Any]:
    """Return family, blocks, width and position limit from the configuration alone, without the weights."""
    with quiet(), model_errors(checkpoint):
        config = _load_config(checkpoint, trust_remote_code)
        text = config.get_text_config()
        blocks = getattr(text, "num_hidden_layers", None)
        return {
            "family": config.model_type,
            "blocks": int(blocks) if blocks is not None else None,
            "width": getattr(text, "hidden_size", None),
            "positions": next(iter(stated_positions(text)), None),
        }


def describe_tokenizer(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> dict[str, Any]:
    """Return the class of a tokenizer, whether it gives offsets, and how many tokens it allows; or its `problem`."""
    try:
        with quiet(), model_errors(checkpoint):
            tokenizer, backend = _load_tokenizer(checkpoint, trust_remote_code)
    except ModelError as error:
        return {"class": None, "offsets": None, "max_length": None, "problem": str(error)}
    return {
        "class": type(tokenizer).__name__,
        "offsets": not isinstance(backend, PythonBackend),
        "max_length": stated_length(tokenizer),
    }


def load_model(
    checkpoint: Checkpoint, *, trust_remote_code: bool = False
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the model with its weights in their own type, and the names of the tensors that no layer needs."""
    with quiet(), model_errors(checkpoint):
        config = _load_config(checkpoint, trust_remote_code)
        model, unused, _ = _load_model(checkpoint, config, "auto", trust_remote_code)
        return model.eval().requires_grad_(False), unused


def token_table(model: nn.Module) -> F32:
    """Return the embedding of every token of the vocabulary, float32 (vocabulary, width of the table), as a copy."""
    weight = model.get_input_embeddings().weight  # type: ignore[operator]
    table: F32 = weight.detach().float().cpu().numpy().copy()
    return table


def use_packed_attention(model: nn.Module) -> str:
    """Switch the model to `attention.packed_attention`, and return the name of its attention before."""
    AttentionInterface.register(attention.NAME, attention.packed_attention)
    transformers.AttentionMaskInterface.register(attention.NAME, attention.no_mask)
    before: str = model.config._attn_implementation  # type: ignore[union-attr, assignment]
    model.set_attn_implementation(attention.NAME)  # type: ignore[operator]
    return before


def use_attention(model: nn.Module, name: str) -> None:
    """Switch the model to the attention `name`."""
    model.set_attn_implementation(name)  # type: ignore[operator]


def without_cache(model: nn.Module) -> None:
    """Switch off the cache of keys and values, which decoders keep for tokens that they generate later."""
    for module in model.modules():
        config = getattr(module, "config", None)
        if isinstance(config, transformers.PretrainedConfig) and getattr(config, "use_cache", False):
            config.use_cache = False


def use_linear_layers(model: nn.Module) -> None:
    """Replace the `Conv1D` modules of GPT-2, which are linear layers with transposed weights, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is transformers.pytorch_utils.Conv1D and not child._forward_hooks:
                transposed: Any = child
                inputs, outputs = transposed.weight.shape
                linear: Any = nn.Linear(inputs, outputs, device="meta")
                linear.weight = nn.Parameter(transposed.weight.t().contiguous(), requires_grad=False)
                linear.bias = transposed.bias
                setattr(module, name, linear)


def eager_copy(model: nn.Module) -> nn.Module | None:
    """Return a model of the same weights with the "eager" attention of transformers, which returns its maps.

    The copy shares the weights. It has its own modules and configuration, without hooks, so that other threads that
    run the model at the same time see no change. None for a family without that attention.
    """
    copied = shared_copy(model)
    try:
        use_attention(copied, "eager")
    except (ValueError, TypeError, AttributeError):
        return None
    return copied


def shared_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model with its own modules and configuration and without hooks, which shares the weights."""
    return _copy(model, {}, {})


def _copy(module: nn.Module, modules: dict[nn.Module, nn.Module], configs: dict[int, Any]) -> nn.Module:
    """Return a copy of a module that shares its tensors; `modules` and `configs` hold the copies so far."""
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


def shapes_of(model_class: Any, config: PretrainedConfig) -> dict[str, torch.Size]:
    """Return the shapes of the tensors of a model of this configuration, by name, without allocating them."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        meta_model = model_class(config)
    return {name: tensor.shape for name, tensor in meta_model.state_dict().items()}


def model_of_tensors(
    model_class: Any, config: PretrainedConfig, tensors: Mapping[str, torch.Tensor]
) -> nn.Module:
    """Return a model with these tensors, float32, in evaluation mode, without gradients."""
    with torch.random.fork_rng(devices=[]):
        model: Any = model_class.from_pretrained(
            None, config=config, state_dict=dict(tensors), dtype=torch.float32
        )
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]


def save_model(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype, folder: Path
) -> None:
    """Write configuration and weights of a model; `tensors` are the weights, all floating ones of type `dtype`.

    Raises:
        OSError: they can't be written.
    """
    saved: Any = shared_copy(model)
    try:
        with quiet():
            saved.config.dtype = dtype
            saved.save_pretrained(folder, state_dict=dict(tensors))
    except SafetensorError as error:
        number = _OF_SYSTEM.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from None


def save_config(model: nn.Module, folder: Path) -> None:
    """Write the configuration of a model."""
    saved: Any = shared_copy(model)
    with quiet():
        saved.config.architectures = [type(model).__name__]
        saved.config.save_pretrained(folder)


def save_tokenizer(loaded: Loaded, folder: Path) -> None:
    """Write the tokenizer of a model as transformers does."""
    with quiet():
        loaded.tokenizer.save_pretrained(folder)


def save_random(folder: Path, tokenizer_from: Checkpoint, family: str = "bert") -> None:
    """Write a model of 12 blocks and width 768 with random weights, and a tokenizer for it.

    Args:
        folder: where.
        tokenizer_from: the model whose tokenizer is used.
        family: `bert` (the base shape); or `llama` or `qwen3`, with 12 heads, 4 heads of keys and values, and gated
            layers of width 2,048.
    """
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_from.folder)
        decoder = {"vocab_size": len(tokenizer), "num_key_value_heads": 4, "head_dim": 64}
        settings = {} if family == "bert" else _BASE | decoder
        torch.manual_seed(0)
        AutoModel.from_config(AutoConfig.for_model(family, **settings)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _load_config(checkpoint: Checkpoint, trust_remote_code: bool) -> PretrainedConfig:
    check_sizes(checkpoint)
    if trust_remote_code:
        check_code(checkpoint.name, checkpoint.folder)
    if google := google_configs(checkpoint.folder):
        entries = read_object(google[0])
        family = entries.pop("model_type", google[0].name.split("_")[0])
        return AutoConfig.for_model(family, **entries)
    return AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=trust_remote_code)


def _load_model(
    checkpoint: Checkpoint, config: PretrainedConfig, dtype: torch.dtype | str, trust_remote_code: bool
) -> LoadedWeights:
    """Return the model; `dtype` "auto" is the type of the weights."""
    adapter = checkpoint.adapter
    if adapter is None or checkpoint.random is not None:
        return _load_base(checkpoint, config, dtype, trust_remote_code)
    # Merged in float32, because bfloat16 would round twice.
    merging = dtype if dtype == "auto" else torch.float32
    model, unused, untrained = _load_base(checkpoint, config, merging, trust_remote_code)
    dropped = merge_adapter(model.eval().requires_grad_(False), adapter, checkpoint.name)
    if dtype not in (merging, "auto"):
        merged = type(model)
        model = merged.from_pretrained(None, config=config, state_dict=model.state_dict(), dtype=dtype)  # type: ignore[attr-defined]
    return LoadedWeights(model, unused + unused_of_adapter(dropped), untrained)


def _load_base(
    checkpoint: Checkpoint, config: PretrainedConfig, dtype: torch.dtype | str, trust_remote_code: bool
) -> LoadedWeights:
    """Return the model without an adapter; see `_load_model`."""
    model_class = _model_class(checkpoint, config)
    _check_before_loading(checkpoint, model_class, config, dtype, trust_remote_code)
    if checkpoint.random is not None:
        with torch.random.fork_rng(devices=[]), model_errors(checkpoint, "can't be made"):
            torch.manual_seed(checkpoint.random)
            untrained: nn.Module = _from_config(model_class, config, trust_remote_code)
        return LoadedWeights(untrained.to(dtype), _without_projection(untrained))
    if checkpoint.files.of_tensorflow:
        return _from_tensorflow(checkpoint, model_class, config, dtype)
    with without_adapter(checkpoint.folder) as folder:
        model, info = model_class.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=not checkpoint.files.pickled,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    _check_after_loading(checkpoint, model, config, info["missing_keys"])
    unused = unused_names(checkpoint, model, info)
    return LoadedWeights(model, unused + _without_projection(model), tuple(sorted(info["missing_keys"])))


def _from_tensorflow(
    checkpoint: Checkpoint, model_class: Any, config: PretrainedConfig, dtype: torch.dtype | str
) -> LoadedWeights:
    """Return a model with weights that TensorFlow wrote."""
    files = [checkpoint.files.root / name for name in checkpoint.files.weights]
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        meta_model = _from_config(model_class, config, False)
    shapes = {name: tuple(tensor.shape) for name, tensor in meta_model.state_dict().items()}
    try:
        tensors, left_out = read_weights(files, config.model_type, config.num_hidden_layers, shapes)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {checkpoint.name!r} can't be loaded: {reason(error)}; fetch its files again"
        ) from None
    model, info = type(meta_model).from_pretrained(
        None,
        config=config,
        state_dict={name: torch.from_numpy(values) for name, values in tensors.items()},
        dtype=torch.float32 if dtype == "auto" else dtype,
        output_loading_info=True,
    )
    _check_after_loading(checkpoint, model, config, info["missing_keys"])
    unused = tuple(sorted({*left_out, *unused_names(checkpoint, model, info)}))
    return LoadedWeights(model, unused, tuple(sorted(info["missing_keys"])))


def _check_before_loading(
    checkpoint: Checkpoint,
    model_class: Any,
    config: PretrainedConfig,
    dtype: torch.dtype | str,
    trust_remote_code: bool,
) -> None:
    """Raise ModelError for a model that takes no text, has further files, or is larger than its weights or memory."""
    _check_input(checkpoint, model_class, config)
    further = [name for name in getattr(config, "extra_files", ()) if (checkpoint.folder / name).is_file()]
    if further:
        raise ModelError(
            f"model {checkpoint.name!r} ({config.model_type}) has weights in further files ({', '.join(further)}), which "
            "isn't supported; use another model"
        )
    itemsize = dtype.itemsize if isinstance(dtype, torch.dtype) else None
    check_sizes_of_weights(checkpoint, _parameter_count(model_class, config, trust_remote_code), itemsize)


def _check_after_loading(
    checkpoint: Checkpoint, model: nn.Module, config: PretrainedConfig, missing: list[str]
) -> None:
    """Raise ModelError for weights that lack a layer, or that transformers left quantized."""
    lacking = sorted(key for key in missing if not any(part in key for part in _NOT_LAYERS))
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
            "use a version in float32, float16 or bfloat16"
        )


def _parameter_count(model_class: Any, config: PretrainedConfig, trust_remote_code: bool) -> int | None:
    """Return how many numbers the model of a configuration has, without allocating memory; None if it can't be counted."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            meta_model = _from_config(model_class, config, trust_remote_code)
    # Code that comes with the model may not run on the device "meta". Any other error is raised when it is loaded.
    except Exception:
        return None
    numbers: int = sum(parameter.numel() for parameter in meta_model.parameters())
    return numbers


def _check_input(checkpoint: Checkpoint, model: Any, config: PretrainedConfig) -> None:
    """Raise ModelError for a model, or a model class, that takes no text."""
    if model is AutoModel:
        model = AutoModel._model_mapping.get(type(config), None)
    name = getattr(model, "main_input_name", "input_ids")
    if name != "input_ids":
        raise ModelError(f"model {checkpoint.name!r} takes {name}, not text; a text encoder is needed")


def _from_config(model_class: Any, config: PretrainedConfig, trust_remote_code: bool) -> Any:
    """Return the model that a configuration describes, with initial weights as before any training."""
    if model_class is AutoModel:
        return AutoModel.from_config(config, trust_remote_code=trust_remote_code)
    return model_class(config)


def _model_class(checkpoint: Checkpoint, config: PretrainedConfig) -> Any:
    """Return the class that loads the encoder; for the T5 family the class of its encoder half."""
    if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING:
        encoder_class = MODEL_FOR_TEXT_ENCODING_MAPPING[type(config)]
        if encoder_class.__name__.endswith("EncoderModel"):
            return encoder_class
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"model {checkpoint.name!r} is of the family {config.model_type!r}, an encoder with a decoder; "
            "of these only the T5 family's encoder half is supported"
        )
    return AutoModel


def _load_tokenizer(checkpoint: Checkpoint, trust_remote_code: bool) -> tuple[Any, Any]:
    """Return the tokenizer of transformers, and its tokenizer of the `tokenizers` library."""
    with model_errors(checkpoint, "has no tokenizer that can be loaded"), no_panic_shown():
        tokenizer = _of_google(checkpoint) or AutoTokenizer.from_pretrained(
            checkpoint.folder, trust_remote_code=trust_remote_code
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(tokenizer, EsmTokenizer):
        backend = _rebuilt(checkpoint, tokenizer)
    if backend is None:
        with model_errors(checkpoint, f"has a tokenizer ({type(tokenizer).__name__}) that can't be used"):
            backend = PythonBackend(tokenizer)
    if checkpoint.max_length is not None:
        # The settings of sentence-transformers override the tokenizer's, as in sentence-transformers itself.
        tokenizer.model_max_length = checkpoint.max_length
    with model_errors(checkpoint, "has no tokenizer that can be used"), no_panic_shown():
        backend.no_truncation()
        backend.no_padding()
        backend.encode("a")
    check_tokens(checkpoint, tokenizer, backend)
    if checkpoint.lowercase and isinstance(backend, PythonBackend):
        backend.lowercases = True
    elif checkpoint.lowercase:
        _lowercase_first(backend)
    return tokenizer, backend


def _rebuilt(checkpoint: Checkpoint, tokenizer: EsmTokenizer) -> Any:
    """Return the tokenizer of ESM as one of the `tokenizers` library, which gives offsets.

    Raises:
        ModelError: it gives other tokens than the original.
    """
    with model_errors(checkpoint, "has no tokenizer that can be used"), no_panic_shown():
        backend = _from_description(rebuilt_description(tokenizer))
        differing = [
            text
            for text in texts_to_compare(tokenizer)
            if backend.encode(text).ids != tokenizer(text)["input_ids"]
        ]
    if differing:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer (EsmTokenizer), rebuilt with offsets from vocab.txt, gives other tokens "
            f"for {differing[0]!r:.60}; use a vocabulary without added tokens, or one with a tokenizer.json"
        )
    return backend


def _from_description(description: str) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(description)


def _of_google(checkpoint: Checkpoint) -> Any:
    """Return the tokenizer of a folder of Google's, of `vocab.txt` or of a SentencePiece model; None for other folders."""
    if checkpoint.do_lower_case is None:
        return None
    if (checkpoint.folder / "vocab.txt").is_file():
        return BertTokenizer.from_pretrained(checkpoint.folder, do_lower_case=checkpoint.do_lower_case)
    vocabulary = next(checkpoint.folder.glob("*.model"))
    settings = {"vocab_file": str(vocabulary), "do_lower_case": checkpoint.do_lower_case}
    return AlbertTokenizer(**AlbertTokenizer.convert_to_native_format(**settings))


def _lowercase_first(backend: Any) -> None:
    """Make a tokenizer lowercase texts before anything else, unless one of its steps does it already."""
    from tokenizers import normalizers

    normalizer: Any = backend.normalizer
    is_sequence = isinstance(normalizer, normalizers.Sequence)
    steps: list[Any] = [*normalizer] if is_sequence else [] if normalizer is None else [normalizer]
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the loading reports and progress bars of transformers; what matters is raised as an error.

    One thread at a time: these settings, and torch's random generator, belong to the whole process.
    """
    with _LOADING, silenced(), _reports.enabled():
        yield


def without_reports() -> contextlib.AbstractContextManager[None]:
    """Silence what transformers logs in forwards; several threads may be in such a block at the same time."""
    return _reports.enabled()


def _silence_reports() -> Callable[[], None]:
    """Silence the log and the progress bars of transformers; return a function that restores them."""
    logger = logging.getLogger("transformers")
    level, bars = logger.level, transformers.utils.logging.is_progress_bar_enabled()
    dtype = torch.get_default_dtype()
    logger.setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()

    def restore() -> None:
        logger.setLevel(level)
        # transformers changes it while it builds a model; a process forked meanwhile inherits the change.
        torch.set_default_dtype(dtype)
        if bars:
            transformers.utils.logging.enable_progress_bar()

    return restore


_reports = Shared(_silence_reports)
