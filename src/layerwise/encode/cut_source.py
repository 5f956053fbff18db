"""The model that `cut` shortens: loaded as transformers gives it, with what is known of its layers."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from layerwise.arguments import argument
from layerwise.encode import forwards
from layerwise.encode.batches import Sequences
from layerwise.encode.checkpoint import STEPS, Checkpoint, find_checkpoint
from layerwise.encode.devices import choose_device
from layerwise.encode.hf import loading, reports
from layerwise.encode.hf.loading import Loaded
from layerwise.encode.load import log_notes
from layerwise.encode.probes import make_probes
from layerwise.encode.references import References, read_references
from layerwise.encode.taps import final_norm
from layerwise.encode.tokenizer import Tokenizer
from layerwise.errors import ModelError


@dataclass(frozen=True)
class CutSource:
    """A model in float32, unchanged, and the texts on which a cut of it is compared.

    Attributes:
        checkpoint: its files.
        loaded: the model and the tokenizer of transformers.
        tokenizer: the tokenizer of this package.
        texts: token numbers of the texts on which layers are compared.
        references: where its layers come from.
    """

    checkpoint: Checkpoint
    loaded: Loaded
    tokenizer: Tokenizer
    texts: Sequences
    references: References

    @property
    def name(self) -> str:
        """The name that the user gave."""
        return self.checkpoint.name

    @property
    def family(self) -> str:
        """The name that transformers has for its architecture."""
        return str(self.loaded.config.model_type)

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.loaded.model

    @property
    def blocks(self) -> int:
        """The number of its blocks."""
        return self.references.blocks

    @cached_property
    def ends_with_norm(self) -> bool:
        """Whether its last layer is the output of the norm after its last block, and its other layers are not of one."""
        return self.references.taps is not None and final_norm(self.references.taps) is not None

    @cached_property
    def final_norm(self) -> nn.Module | None:
        """The norm after its last block, if it has one and its other layers don't end with one.

        In a model that is a cut itself, the layers may end before it.
        """
        if self.ends_with_norm:
            return final_norm(self.references.taps or ())
        types = self.texts.types
        return forwards.last_norm(self.model, self.texts.ids[0], None if types is None else types[0])

    @cached_property
    def stored_type(self) -> torch.dtype:
        """The type of the weights of a cut: that of this model's, if it holds every number of them exactly."""
        stated = getattr(self.loaded.config.get_text_config(), "dtype", None)
        dtype = stated if isinstance(stated, torch.dtype) and stated.is_floating_point else torch.float32
        numbers = [tensor for tensor in self.model.state_dict().values() if tensor.is_floating_point()]
        exact = all(torch.equal(tensor.to(dtype).to(tensor.dtype), tensor) for tensor in numbers)
        return dtype if exact else torch.float32

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of its weights, tokenizer and configuration."""
        return self.checkpoint.hashes()

    @property
    def pool(self) -> str:
        """How its tokens become the vector of a text."""
        return self.checkpoint.pool or "mean"

    @property
    def max_length(self) -> int:
        """The number of tokens that it takes at once, special ones included."""
        return min(self.checkpoint.max_length or self.loaded.max_length, self.loaded.max_length)


def load_cut_source(
    model: str | Path,
    *,
    revision: str | None = None,
    adapter: str | Path | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> CutSource:
    """Load the model that is cut, and log what the user should know of it; the arguments are those of `load_encoder`.

    Steps after its last layer are not logged: each output names them, as it has no last layer.

    Raises:
        ModelError: an unknown model, no text encoder, or one whose own code would be run.
    """
    checkpoint = find_checkpoint(
        model,
        revision,
        adapter=None if adapter is None else str(adapter),
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )
    if checkpoint.code:
        raise ModelError(
            f"model {checkpoint.name!r} is run by code of its own, which can't be cut; without "
            f"{argument('trust_remote_code', True)} transformers' own code of its family is cut, where there is one"
        )
    loaded = loading.load(checkpoint, device=choose_device(device))
    log_notes(note for note in (*checkpoint.notes, *loaded.notes) if getattr(note, "key", None) != STEPS)
    if getattr(loaded.config, "quantization_config", None) is not None:
        raise ModelError(
            f"model {checkpoint.name!r}: its weights are quantized, and those can't be cut; use a version in float32, float16 "
            "or bfloat16"
        )
    tokenizer = Tokenizer(loaded, checkpoint.name)
    probes = make_probes(tokenizer, loaded, checkpoint.name)
    with reports.without_reports(), torch.inference_mode():
        references = read_references(loaded.model, probes, checkpoint.name)
    return CutSource(checkpoint, loaded, tokenizer, probes.texts, references)
