"""Attention maps: those that plain transformers gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from conftest import FAMILIES
from layerwise.encode.load import load_encoder
from layerwise.errors import ModelError


# T5 has another class for its encoder; SqueezeBERT gives scores before the softmax; for BigBird see test_probes.
@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if family not in ("t5", "squeezebert", "big_bird")]
)
def test_it_is_that_of_plain_transformers(family: str, model_folder: Callable[[str], Path]) -> None:
    """Within 1e-5: our products are prepacked, theirs are torch's."""
    folder = model_folder(family)
    encoder = load_encoder(str(folder))
    text = "Every layer knows where a word stands."
    before = encoder.encode([text]).stack()
    actual = encoder.attention(text)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
        expected = torch.stack(model(**inputs, output_attentions=True).attentions)[:, 0].numpy()
    assert actual.shape == expected.shape
    assert actual == pytest.approx(expected, abs=1e-5)
    assert actual.sum(axis=-1) == pytest.approx(1, abs=1e-5)
    assert len(encoder.encode([text], level="token").index) == actual.shape[-1]
    assert np.array_equal(encoder.encode([text]).stack(), before), "the encoder isn't what it was"


def test_words_and_long_texts(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    assert encoder.attention(["Every", "layer"]).shape == encoder.attention("Every layer").shape
    assert encoder.attention("word " * 500).shape[-1] == encoder.max_length


def test_a_family_without(encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"\(squeezebert\) gives no attention maps"):
        encoder_of("squeezebert").attention("a")
    encoder = encoder_of("bert")
    monkeypatch.setattr("layerwise.encode.forwards.attention_maps", lambda *arguments: None)
    with pytest.raises(ModelError, match=r"\(bert\) gives no attention maps"):
        encoder.attention("a")
