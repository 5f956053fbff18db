"""Load the configuration and the weights of a model, and refuse weights that lack a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from transformers import AutoConfig, AutoModel
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

from layerwise._util.paths import reason
from layerwise.encode.adapter_files import unused_of_adapter, without_adapter
from layerwise.encode.adapters import merge_adapter
from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.config_sizes import check_sizes
from layerwise.encode.model_errors import model_errors
from layerwise.encode.model_file_checks import check_code
from layerwise.encode.model_file_names import google_configs
from layerwise.encode.recipe import read_object
from layerwise.encode.size_checks import check_sizes_of_weights
from layerwise.encode.tensorflow.weights import read_weights
from layerwise.encode.weight_names import POOLER, unused_names
from layerwise.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Tensors that a checkpoint may lack, because no layer depends on them.
NOT_LAYERS = (POOLER, "position_ids")
# The module that makes sentence embeddings of the last layer, in EmbeddingGemma 2.
PROJECTION = "embedding_projection"


class LoadedWeights(NamedTuple):
    """A model with its weights, the names of the tensors that no layer needs, and of those that the weights lack."""

    model: nn.Module
    unused: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()


def load_config(checkpoint: Checkpoint, trust_remote_code: bool) -> PretrainedConfig:
    """Return the configuration of a model.

    Raises:
        ModelError: sizes that can't be, or code of the model's own that can't be run.
    """
    check_sizes(checkpoint)
    if trust_remote_code:
        check_code(checkpoint.name, checkpoint.folder)
    if google := google_configs(checkpoint.folder):
        entries = read_object(google[0])
        family = entries.pop("model_type", google[0].name.split("_")[0])
        return AutoConfig.for_model(family, **entries)
    return AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=trust_remote_code)


def load_weights(
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


def _load_base(
    checkpoint: Checkpoint, config: PretrainedConfig, dtype: torch.dtype | str, trust_remote_code: bool
) -> LoadedWeights:
    """Return the model without an adapter; see `load_weights`."""
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
    lacking = sorted(key for key in missing if not any(part in key for part in NOT_LAYERS))
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


def _without_projection(model: nn.Module) -> tuple[str, ...]:
    """Remove what a model applies after its last norm to make sentence embeddings, and return the names of its tensors.

    EmbeddingGemma 2 has a projection there, to another width.
    """
    tensors = []
    for name, module in list(model.named_modules()):
        if isinstance(getattr(module, "norm", None), nn.Module) and hasattr(module, PROJECTION):
            tensors.append(f"{name}.{PROJECTION}.weight".removeprefix("."))
            setattr(module, PROJECTION, nn.Identity())
    return tuple(tensors)
