"""The independent reference: plain transformers, one text per forward, no padding, the tokenizer as it comes."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

Floats = NDArray[np.float64]


class Plain:
    """A model and tokenizer straight from `from_pretrained`, used as their documentation says."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer, T5EncoderModel

        loader = T5EncoderModel if AutoConfig.from_pretrained(folder).model_type == "t5" else AutoModel
        self.model = loader.from_pretrained(folder).eval()
        self._changes = (
            self.model.config.model_type == "big_bird"
        )  # a short text changes how it takes a long one
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.split_tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
        backend = self.split_tokenizer.backend_tokenizer
        if isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
            # Only some tokenizer classes pass the option on.
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)

    def raw(self, text: str) -> Any:
        """The encoding of a raw text."""
        return self.tokenizer(text, truncation=False, verbose=False)

    def split(self, words: Sequence[str]) -> Any:
        """The encoding of pre-split words."""
        return self.split_tokenizer(list(words), is_split_into_words=True, truncation=False, verbose=False)

    def states(self, ids: Sequence[int]) -> Floats:
        """All layers of one sequence of token numbers: (layers, tokens, width)."""
        model = copy.deepcopy(self.model) if self._changes else self.model
        with torch.no_grad():
            out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        return np.stack([state[0, : len(ids)].double().numpy() for state in out.hidden_states])


def worst(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest |a − b| / max(1, max |b|) over the layers of one text: both are (layers, rows, width)."""
    assert got.shape == expected.shape, f"shapes differ: got {got.shape}, expected {expected.shape}"
    if not expected.size:
        return 0.0
    scale = np.maximum(1.0, np.abs(expected).max(axis=(1, 2)))
    return float((np.abs(got - expected).max(axis=(1, 2)) / scale).max())


def off(encoder: Any, plain: Plain, texts: list[str]) -> float:
    """How far the layers of texts, encoded together, are off those of plain forwards at most."""
    states = encoder.encode(texts, level="token", max_length=encoder.position_limit)
    rows = [states.where(doc=doc) for doc in range(len(texts))]
    ids = [states.index["token_id"].take(own).to_pylist() for own in rows]
    assert ids == [plain.raw(text)["input_ids"] for text in texts]
    return max(
        worst(states.stack()[:, own], plain.states(numbers)) for own, numbers in zip(rows, ids, strict=True)
    )
