"""The loop that users write with transformers, as the baseline of `bench` and of the benchmarks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.hf import loading


class PlainLoop:
    """Plain transformers: every layer of every token, as numpy arrays in memory."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        loaded = loading.load(checkpoint, device=device)
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
        """Return the floating-point operations per token of the linear layers, poolers left out."""
        total = 0

        def count(module: nn.Module, inputs: Any, _: Any) -> None:
            nonlocal total
            if inputs[0].dim() == 3:  # a pooler gets one token of each text
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
