"""ALBERT as Google releases it: weights of TensorFlow and a SentencePiece model, compared with sentencepiece itself."""

import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwise as lw
from conftest import CORPUS
from tensorflow_writer import as_google, write_bundle

SIZES: dict[str, Any] = {
    "embedding_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
}
TEXTS = [
    *(text for text in CORPUS if text.strip() and "[" not in text and "<" not in text),
    "Crème brûlée, ÉLAN and Straße",
    "She said ``no'' and left.",
    "  many   blanks\tand tabs ",
    "ﬁne ligatures, ½ and ①",
]


@pytest.fixture(scope="module")
def vocabulary() -> bytes:
    """A SentencePiece model with the special tokens of ALBERT's `30k-clean.model`, and in their order."""
    spm = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([text.lower() for text in CORPUS] * 20),
        model_writer=model,
        model_type="unigram",
        vocab_size=150,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def google_folder(vocabulary: bytes, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a folder of a name with `albert_config.json`, a checkpoint and `30k-clean.model`."""
    from transformers import AlbertConfig, AlbertModel

    spm = pytest.importorskip("sentencepiece")

    def write(name: str) -> Path:
        folder = tmp_path_factory.mktemp("google") / name
        folder.mkdir()
        (folder / "30k-clean.model").write_bytes(vocabulary)
        size = spm.SentencePieceProcessor(model_proto=vocabulary).get_piece_size()
        (folder / "albert_config.json").write_text(json.dumps({**SIZES, "vocab_size": size}))
        torch.manual_seed(3)
        model = AlbertModel(AlbertConfig(**SIZES, vocab_size=size))
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter) * 0.1
        weights = {
            name: value.numpy() for name, value in model.state_dict().items() if "position_ids" not in name
        }
        write_bundle(folder / "model.ckpt-best", as_google(weights, "albert"))
        model.save_pretrained(folder.with_name("reference"))
        return folder

    return write


def pieces_of_google(processor: Any, text: str, *, lower: bool) -> list[int]:
    """The numbers of `preprocess_text` and `encode_pieces` in tokenization.py of ALBERT's code."""
    text = " ".join(text.strip().split()).replace("``", '"').replace("''", '"')
    if lower:
        text = text.lower()
    # As the released models were called: accents are removed by transformers, see its AlbertTokenizer (keep_accents).
    text = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return list(processor.encode(text))


@pytest.mark.parametrize("name", ["albert_base", "albert_cased"])
def test_tokens_are_those_of_sentencepiece(
    name: str, google_folder: Callable[[str], Path], vocabulary: bytes
) -> None:
    spm = pytest.importorskip("sentencepiece")
    processor = spm.SentencePieceProcessor(model_proto=vocabulary)
    encoder = lw.load_encoder(google_folder(name), device="cpu")
    for text in TEXTS:
        ids = encoder.encode([text], layers="emb", level="token").index["token_id"].to_pylist()
        assert ids == [2, *pieces_of_google(processor, text, lower=name == "albert_base"), 3], text


def test_layers_are_those_of_pytorch(google_folder: Callable[[str], Path], vocabulary: bytes) -> None:
    from transformers import AlbertModel

    folder = google_folder("albert_base")
    encoder = lw.load_encoder(folder, device="cpu")
    reference: Any = AlbertModel.from_pretrained(folder.with_name("reference")).eval()
    states = encoder.encode(TEXTS, level="token")
    docs = np.asarray(states.index["doc"])
    for doc in range(len(TEXTS)):
        rows = np.flatnonzero(docs == doc)
        ids = torch.tensor([states.index["token_id"].take(rows).to_pylist()])
        with torch.inference_mode():
            expected = torch.cat(reference(ids, output_hidden_states=True).hidden_states).numpy()
        actual = np.stack([states.layer(layer, rows=rows) for layer in states.layers])
        assert np.abs(actual - expected).max() < 3e-6, TEXTS[doc]  # float32 in other orders, numbers up to 4
