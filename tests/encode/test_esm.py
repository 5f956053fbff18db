"""ESM-2: its tokenizer with offsets, and every layer of every residue, compared with plain transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import layerwise as lw
from layerwise.encode.esm_tokenizer import rebuilt_description
from layerwise.encode.hf.tokenizer import _from_description
from proteins import NUCLEOTIDES, VOCABULARY, make_esm, write_tokenizer

SEQUENCES = [
    "MKTAYIAKQRQISFVKSHFSRQ",
    "MALWMRLLPLLALLALWGPDPAAA*",  # the stop codon is none of the tokens
    "mkTAYjjIAKQ",  # soft masking, and letters that no protein has
    "M-KT.A<mask>YI<mask>",  # gaps are tokens; masks scale the whole text
    "A",
    "",
    "GAVLIPFMWSTCYNQDEKRH" * 3,  # 60 residues: just within the 64 that fit
    " M K\tT ",
]
LONG = "".join("GAVLIPFMWSTCYNQDEKRH"[n * n % 19] for n in range(230))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_esm(tmp_path_factory.mktemp("esm") / "esm2")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> lw.Encoder:
    return lw.load_encoder(folder)


class Plain:
    """Plain transformers: the tokenizer in Python, and one text per forward."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, EsmModel

        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model = EsmModel.from_pretrained(folder, add_pooling_layer=False).eval()

    def layers(self, ids: list[int]) -> np.ndarray[Any, Any]:
        """All layers of a text, (layers, tokens, width)."""
        with torch.inference_mode():
            states = self.model(torch.tensor([ids]), torch.ones(1, len(ids)), output_hidden_states=True)
        return torch.cat(states.hidden_states).numpy()


@pytest.fixture(scope="module")
def plain(folder: Path) -> Plain:
    return Plain(folder)


@pytest.fixture(scope="module")
def kmers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of DNA with k-mers as tokens, as the Nucleotide Transformer; it has no `<eos>` after a text."""
    settings = {"eos_token": None, "bos_token": None}
    special = {"pad_token_id": 1, "mask_token_id": 2}
    folder = tmp_path_factory.mktemp("kmers") / "dna"
    return make_esm(folder, NUCLEOTIDES, settings, **special, position_embedding_type="absolute")


def rows_of(states: lw.LayerStates, doc: int) -> list[int]:
    """The numbers of the rows of a text."""
    return [number for number, other in enumerate(states.index["doc"].to_pylist()) if other == doc]


def assert_equal_layers(states: lw.LayerStates, rows: list[int], expected: Any, what: str) -> None:
    for number, layer in enumerate(states.layers):
        actual = states.layer(layer, rows=rows)
        # float32 in other orders; the largest values are about 3. Rotary positions are relative, and a packed text may
        # count from another one, which rounds differently.
        np.testing.assert_allclose(actual, expected[number], rtol=0, atol=2e-5, err_msg=f"{what} {layer}")


def test_residues_in_batches_have_the_layers_of_plain_forwards(encoder: lw.Encoder, plain: Plain) -> None:
    assert encoder.engine["packing"] == "packed"
    states = encoder.encode(SEQUENCES, level="token")
    for doc, text in enumerate(SEQUENCES):
        rows = rows_of(states, doc)
        ids = plain.tokenizer(text)["input_ids"]
        assert states.index["token_id"].take(rows).to_pylist() == ids
        assert_equal_layers(states, rows, plain.layers(ids), text)


@pytest.mark.parametrize(
    "config",
    [
        {"position_embedding_type": "absolute", "emb_layer_norm_before": True},  # ESM-1b, ESM-1v
        {"token_dropout": False},
    ],
)
def test_other_models_of_the_family(config: dict[str, Any], tmp_path: Path) -> None:
    folder = make_esm(tmp_path / "esm", **config)
    encoder, plain = lw.load_encoder(folder), Plain(folder)
    assert encoder.engine["packing"] == "packed"
    states = encoder.encode(SEQUENCES, level="token")
    for doc, text in enumerate(SEQUENCES):
        ids = plain.tokenizer(text)["input_ids"]
        assert_equal_layers(states, rows_of(states, doc), plain.layers(ids), text)


def test_a_mask_scales_its_own_text_alone(encoder: lw.Encoder, plain: Plain) -> None:
    """`token_dropout`: all embeddings of a text with masks are scaled by their share, and those of no other text."""
    beside = encoder.encode(["MKTAY", "M<mask>T<mask>Y", "MKTAY"], level="token", batch_tokens=64)
    alone = encoder.encode(["MKTAY"], level="token")
    for doc in (0, 2):
        assert_equal_layers(beside, rows_of(beside, doc), alone.stack(), "beside a text with masks")
    masked = plain.layers(plain.tokenizer("M<mask>T<mask>Y")["input_ids"])
    assert_equal_layers(beside, rows_of(beside, 1), masked, "with masks")
    # 7 tokens, 2 of them masks: 0.88 / (1 - 2/7) times the table, and 0.88 times it without masks.
    ratio = beside.layer("emb", rows=rows_of(beside, 1)[:1]) / alone.layer("emb", rows=[0])
    np.testing.assert_allclose(ratio, 7 / 5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{"overlap": 0}, {"overlap": 13}, {"overlap": 60}, {"max_length": 20}])
def test_windows_of_a_long_sequence(encoder: lw.Encoder, plain: Plain, settings: dict[str, Any]) -> None:
    """Each residue has the vector of one of its windows, each a plain forward by itself."""
    length = settings.get("max_length", 66) - 2
    overlap = settings.get("overlap", length // 4)
    states = encoder.encode([LONG], level="token", **settings)
    ids = plain.tokenizer(LONG)["input_ids"]
    assert states.index["token_id"].to_pylist() == ids
    starts = [*range(0, len(LONG) - length, length - overlap), len(LONG) - length]
    windows = {s: plain.layers([ids[0], *ids[1 + s : 1 + s + length], ids[-1]]) for s in starts}
    assert states.texts["windows"].to_pylist() == [len(windows)]
    stack = states.stack()
    for residue in range(len(LONG)):
        of_windows = [
            layers[:, 1 + residue - start]
            for start, layers in windows.items()
            if 0 <= residue - start < length
        ]
        errors = [np.abs(stack[:, 1 + residue] - expected).max() for expected in of_windows]
        assert min(errors) < 2e-5, f"residue {residue} has the vector of none of its windows: {errors}"


def test_residues_as_words_and_spans_and_texts(encoder: lw.Encoder) -> None:
    text = "MKTAYJJ*IAK"
    tokens = encoder.encode([text], level="token", layers="2")
    words = encoder.encode([list(text)], level="word", layers="2")
    assert words.index["text"].to_pylist() == list(text)
    places = list(zip(tokens.index["start"].to_pylist(), tokens.index["end"].to_pylist(), strict=True))
    # A run of letters that the tokenizer doesn't know is one token.
    assert places == [(0, 0), *((n, n + 1) for n in range(5)), (5, 8), (8, 9), (9, 10), (10, 11), (0, 0)]
    assert tokens.texts["unknown"].to_pylist() == [1]
    # Words that were split beforehand are tokens of their own: the transformers way of `is_split_into_words`.
    assert words.texts["unknown"].to_pylist() == [3]
    (span,) = encoder.encode([text], level="span", spans=[[(2, 6)]], layers="2").layer("2")
    np.testing.assert_allclose(span, tokens.layer("2")[3:7].mean(0), atol=1e-6)
    (mean,) = encoder.encode([text], special_tokens=False, layers="2").layer("2")
    np.testing.assert_allclose(mean, tokens.layer("2")[1:-1].mean(0), atol=1e-6)


def test_kmers_have_the_layers_of_plain_forwards(kmers: Path) -> None:
    encoder, plain = lw.load_encoder(kmers), Plain(kmers)
    sequences = ["ATCGATNAATTCCGGA", "acgtACGT", "NNNN", "AT", "ACG" * 40]
    states = encoder.encode(sequences, level="token")
    for doc, text in enumerate(sequences[:-1]):
        ids = plain.tokenizer(text)["input_ids"]
        assert states.index["token_id"].take(rows_of(states, doc)).to_pylist() == ids
        assert_equal_layers(states, rows_of(states, doc), plain.layers(ids), text)
    names = encoder.tokenizer.names(states.index["token_id"].take(rows_of(states, 0)).to_pylist())
    assert names == ["<cls>", "ATC", "GAT", "N", "AAT", "TCC", "GGA"]
    assert states.index["text"].take(rows_of(states, 0)).to_pylist()[1:] == names[1:]


def test_a_rebuilt_tokenizer_that_differs_is_refused(folder: Path, tmp_path: Path) -> None:
    """An entry with a blank in it is a token for `EsmTokenizer`, but it is divided there afterwards."""
    copy = make_esm(tmp_path / "esm", (*VOCABULARY, "A B"))
    with pytest.raises(lw.ModelError, match=r"rebuilt with offsets from vocab.txt, gives other tokens for '"):
        lw.load_encoder(copy)


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    copy = make_esm(tmp_path / "esm")
    write_tokenizer(copy, (*VOCABULARY, "J"))
    with pytest.raises(
        lw.ModelError,
        match=r"its tokenizer has 34 tokens, up to number 33, and its embedding table 33 entries",
    ):
        lw.load_encoder(copy)


ALPHABETS = {
    "residues": [*VOCABULARY, *"jkzJ* \t\n\x1c\x1f\x85\u2028\u200b<>", "mk", "中"],
    "kmers": [*NUCLEOTIDES[:6], *"ATCGATCGATCGNacx \n<>"],
}


@pytest.mark.parametrize("kind", ALPHABETS)
def test_rebuilt_tokenizers_are_those_of_transformers(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from transformers import AutoTokenizer

    vocabulary, special = (VOCABULARY, {}) if kind == "residues" else (NUCLEOTIDES, {"eos_token": None})
    folder = tmp_path_factory.mktemp("tokenizer") / kind
    original: Any = AutoTokenizer.from_pretrained(write_tokenizer(folder, vocabulary, **special))
    rebuilt = _from_description(rebuilt_description(original))
    texts = st.lists(st.sampled_from(ALPHABETS[kind]), max_size=30).map("".join)

    @settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
    @given(texts, st.lists(texts, min_size=1, max_size=5))
    def compare(text: str, words: list[str]) -> None:
        encoding = rebuilt.encode(text)
        assert encoding.ids == original(text)["input_ids"]
        split = rebuilt.encode(words, is_pretokenized=True)
        assert split.ids == original(words, is_split_into_words=True)["input_ids"]
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            assert (start, end) == (0, 0) or text[start:end] == token or token == "<unk>"

    compare()
