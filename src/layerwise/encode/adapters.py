"""Merge an adapter, such as LoRA, into the weights of its base: the only module that imports peft.

An adapter was mostly trained on a model with a head, in which the encoder has a name: `bert.encoder.layer.0…`. Here the
encoder is alone. It is put under that name, so that the adapter's configuration and the names of its tensors fit as they
are. What peft makes of them is checked: that each tensor has been used, that none is missing, and that the merged weights
give the same layers as the adapter beside them.
"""

import contextlib
import copy
import dataclasses
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from layerwise._util.paths import reason
from layerwise._util.silence import silenced
from layerwise.encode.adapter_experts import START, NoPlaceError, check_converted, expert_errors
from layerwise.encode.adapter_files import Adapter
from layerwise.encode.adapter_tensors import check_shape, read_tensors, right_base
from layerwise.encode.model_errors import first_line
from layerwise.encode.model_file_names import ADAPTER_CONFIG
from layerwise.encode.weight_names import POOLER
from layerwise.errors import LayerwiseError, ModelError

_PIP = "pip install 'layerwise[peft]'"
# The halves of models that generate text, which aren't loaded.
_NOT_ENCODER = ("decoder.", "lm_head.")
# float32 sums in another order; a kind that can't be merged differs by a share of the layers themselves.
_TOLERANCE = 1e-3
_PROBE_TOKENS = 8
_IGNORED_ENTRIES = ("runtime_config", "auto_mapping", "base_model_name_or_path", "revision", "task_type")


class _Named(nn.Module):
    """A module in which a model has the name that it has in models with a head."""

    is_gradient_checkpointing = False

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        setattr(self, name, model)
        # peft goes by it to find out what has become of the modules of the family.
        self.config, self.base_model_prefix = model.config, name

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding table of the tokens, as models of transformers do."""
        embeddings: nn.Module = getattr(self, self.base_model_prefix).get_input_embeddings()
        return embeddings

    def get_output_embeddings(self) -> None:
        """Return the output layer: there is none."""


def merge_adapter(model: nn.Module, adapter: Adapter, name: str) -> tuple[str, ...]:
    """Merge an adapter into a model, in place.

    Args:
        model: the base, in evaluation mode, with its weights.
        adapter: the files.
        name: the model's name, for errors.

    Returns:
        the names of the tensors of the adapter that belong to a head or a decoder, which no layer needs, without the
        `base_model.model.` of peft.

    Raises:
        ModelError: peft isn't installed; the adapter is of another base, damaged, or can't be merged.
    """
    what = f"adapter {adapter.name or name!r:.200}"
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"{what} needs an extra package; run: {_PIP}")
    # peft warns of parts that it skips; these are refused below.
    # New tensors are random until they are loaded.
    with _adapter_errors(what, adapter.kind), silenced(), torch.random.fork_rng(devices=[]):
        import peft

        tensors = read_tensors(what, adapter)
        root, prefix = _named(model, tensors)
        outside = prefix, _modules_outside(adapter, root)
        config = _config(peft, what, adapter, root)
        with expert_errors(what, peft.__version__, root, tensors):
            tuned = peft.PeftModel(root, config, autocast_adapter_dtype=False)
            check_converted(what, peft.__version__, adapter, getattr(config, "target_parameters", None))
            dropped = _load(peft, what, tuned, tensors, outside)
        expected = _layers(model)
        tuned.eval().merge_and_unload(safe_merge=True)
        model.eval()
        _check_merged(what, adapter.kind, model, expected)
    return dropped


def _named(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> tuple[nn.Module, str]:
    """Return the module that the names of the tensors begin in, and what the names of the encoder's tensors begin with."""
    prefix = getattr(model, "base_model_prefix", "")
    inside = prefix and prefix not in dict(model.named_children())
    if inside and any(name.startswith(f"{START}{prefix}.") for name in tensors):
        return _Named(model, prefix), f"{START}{prefix}."
    return model, START


def _config(peft: Any, what: str, adapter: Adapter, root: nn.Module) -> Any:
    """Return the configuration of peft, for a model without a head.

    Raises:
        ModelError: a kind, or an entry, that this version of peft doesn't know.
    """
    config_class = peft.PEFT_TYPE_TO_CONFIG_MAPPING.get(adapter.kind)
    if config_class is None:
        raise ModelError(
            f"{what} is of the kind {adapter.kind[:40]!r}, which peft {peft.__version__} doesn't know; {_newer()}"
        )
    options = {field.name for field in dataclasses.fields(config_class)}
    entries = {key: value for key, value in adapter.entries.items() if key not in _IGNORED_ENTRIES}
    for key, value in entries.items():
        if key not in options and value:
            raise ModelError(
                f"{what}: its {ADAPTER_CONFIG} has the entry {key[:60]!r}, which peft {peft.__version__} doesn't know; {_newer()}"
            )
    # peft changes some of them in place.
    config = config_class(**copy.deepcopy({key: value for key, value in entries.items() if key in options}))
    config.inference_mode = True
    if config.is_prompt_learning:
        raise _not_merged(what, adapter.kind)
    if getattr(config, "modules_to_save", None):
        outside = _modules_outside(adapter, root)
        config.modules_to_save = [part for part in config.modules_to_save if part not in outside] or None
    return config


def _newer() -> str:
    return "a newer one may: pip install -U peft"


def _load(
    peft: Any,
    what: str,
    tuned: Any,
    tensors: Mapping[str, torch.Tensor],
    outside: tuple[str, Sequence[str]],
) -> tuple[str, ...]:
    """Give a prepared model the tensors of its adapter; return the names of those that belong to a head or decoder.

    Raises:
        ModelError: a tensor that is missing, has no place, or has another shape; the message names it.
    """
    tensors = _of_this_version(tuned, tensors)
    places = peft.get_peft_model_state_dict(tuned, save_embedding_layers=False)
    # Many models with a head have no pooler, and the encoder alone has one, which no layer needs.
    missing = next((name for name in places if name not in tensors and POOLER not in name), None)
    if missing is not None:
        raise NoPlaceError(
            f"{what}: its weights lack {missing[:200]!r}, which its {ADAPTER_CONFIG} asks for with this base; it was "
            "trained on another one, or its two files aren't of one adapter",
            missing,
        )
    # Embeddings may be saved in full beside the adapter.
    whole = {name: tensor for name, tensor in tuned.state_dict().items() if name not in places}
    dropped, used = [], {}
    for name, tensor in tensors.items():
        place = places.get(name, whole.get(name))
        if place is None and _is_outside(name, *outside):
            dropped.append(name.removeprefix(START))
            continue
        if place is None:
            raise NoPlaceError(
                f"{what} changes {name.removeprefix(START)[:200]!r}, which its base doesn't have; {right_base()}",
                name,
            )
        check_shape(what, name.removeprefix(START), tensor, place)
        used[name] = tensor
    peft.set_peft_model_state_dict(tuned, used)
    loaded = tuned.state_dict() | peft.get_peft_model_state_dict(tuned, save_embedding_layers=False)
    for name, tensor in used.items():
        if not torch.equal(loaded[name], tensor.to(loaded[name].dtype)):
            raise ModelError(f"{what}: peft doesn't use its tensor {name[:200]!r}; {_newer()}")
    return tuple(dropped)


def _of_this_version(tuned: Any, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of an adapter for the modules of this version of transformers.

    Before transformers 5 each expert of a mixture had modules of its own; now those of a block share their tensors.
    """
    from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers

    converted: dict[str, torch.Tensor] = convert_peft_adapter_state_dict_for_transformers(
        tuned, tuned.peft_config["default"], dict(tensors)
    )
    return converted


def _modules_outside(adapter: Adapter, root: nn.Module) -> list[str]:
    """Return the modules that an adapter has in full and its base hasn't, such as heads."""
    saved = adapter.entries.get("modules_to_save")
    modules = [name for name, _ in root.named_modules()]
    return [
        part
        for part in (saved if isinstance(saved, list) else [])
        if not any(name.endswith(str(part)) for name in modules)
    ]


def _is_outside(name: str, prefix: str, modules: Sequence[str]) -> bool:
    """Return whether a tensor belongs to a head or a decoder, by its name.

    Args:
        name: the tensor's.
        prefix: what the names of the encoder's tensors begin with.
        modules: those that the base doesn't have.
    """
    if name.removeprefix(START).startswith(tuple(f"{module}." for module in modules)):
        return True
    if prefix != START:
        return name.startswith(START) and not name.startswith(prefix)
    return name.removeprefix(START).startswith(_NOT_ENCODER)


def _layers(model: nn.Module) -> list[torch.Tensor] | None:
    """Return the layers of a few tokens; None where a model isn't in float32, or takes more than tokens."""
    parameter = next(model.parameters())
    if parameter.dtype != torch.float32:
        return None
    size = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    ids = torch.linspace(0, size - 1, _PROBE_TOKENS).long()[None]
    with torch.inference_mode():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
    return list(states)


def _check_merged(what: str, kind: str, model: nn.Module, expected: list[torch.Tensor] | None) -> None:
    """Raise ModelError where a merged model has other layers than the adapter beside its base."""
    actual = _layers(model)
    if expected is None or actual is None:
        return
    for unmerged, merged in zip(expected, actual, strict=True):
        if not bool((merged - unmerged).abs().max() <= _TOLERANCE * max(1.0, float(unmerged.abs().max()))):
            raise _not_merged(what, kind)


def _not_merged(what: str, kind: str, why: str = "") -> ModelError:
    return ModelError(
        f"{what} is of the kind {kind}, which can't be merged into its base{why}; use one that can, such as LoRA"
    )


@contextlib.contextmanager
def _adapter_errors(what: str, kind: str) -> Iterator[None]:
    """Raise errors of peft as a ModelError of one line."""
    try:
        yield
    except LayerwiseError:
        raise
    except (NotImplementedError, AttributeError) as error:
        raise _not_merged(what, kind, f" ({first_line(error)})") from error
    except Exception as error:
        if "cannot merge" in str(error):
            raise _not_merged(what, kind, f" ({first_line(error)})") from error
        if "not found in the base model" in str(error):
            raise ModelError(
                f"{what} changes modules that its base doesn't have ({first_line(error)}); {right_base()}"
            ) from error
        raise ModelError(
            f"{what} can't be loaded: {reason(error)}; fetch it again, or use one of this base"
        ) from error
