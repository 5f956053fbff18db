"""Decoder-only models: the layers of plain one-text forwards, whatever the batch."""

import functools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwise as lw
from causal_models import CAUSAL, decoder_tokenizer, make_causal
from conftest import CORPUS
from layerwise.encode import attention, int8
from layerwise.encode.compare import Comparison
from layerwise.errors import ModelError, RequestError
from reference import Plain, off, worst

# fp32: rounding of the same sums in another order; see `tolerance.COMPUTED`.
TOLERANCE = 1e-5
SHORT = [text for text in CORPUS if 0 < len(text) < 90]
EQUAL = ["abc abd abe", "abc abd abf", "xyz abd abe", "abc"]


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return functools.cache(lambda family: make_causal(family, tmp_path_factory.mktemp(f"model-{family}")))


@pytest.fixture(scope="session")
def causal_encoder(causal_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    return functools.cache(lambda family: lw.load_encoder(causal_folder(family), device="cpu"))


@pytest.mark.parametrize("family", CAUSAL)
def test_every_layer_is_that_of_one_text(
    family: str, causal_encoder: Callable[[str], Any], causal_folder: Callable[[str], Path]
) -> None:
    encoder = causal_encoder(family)
    assert encoder.causal
    assert encoder.engine["packing"] == CAUSAL[family][1]
    assert off(encoder, Plain(causal_folder(family)), SHORT) <= TOLERANCE


@pytest.mark.parametrize("family", CAUSAL)
def test_order_neighbours_and_budget_change_nothing(
    family: str, causal_encoder: Callable[[str], Any]
) -> None:
    encoder = causal_encoder(family)
    alone = np.stack([encoder.encode([text]).stack()[:, 0] for text in SHORT], axis=1)
    order = random.Random(0).sample(range(len(SHORT)), len(SHORT))
    shuffled = encoder.encode([SHORT[n] for n in order], batch_tokens=100).stack()
    assert worst(shuffled, alone[:, order]) <= TOLERANCE


@pytest.mark.parametrize("family", CAUSAL)
def test_texts_of_one_length_stay_causal(family: str, causal_encoder: Callable[[str], Any]) -> None:
    """huggingface/text-embeddings-inference #882: a batch without padding lost the causal mask."""
    encoder = causal_encoder(family)
    states = encoder.encode(EQUAL, level="token")
    stack = states.stack()
    first, second, third, prefix = (stack[:, states.where(doc=doc)] for doc in range(4))
    assert first.shape[1] == second.shape[1] == third.shape[1]
    shared = prefix.shape[1]
    assert worst(first[:, :-1], second[:, :-1]) <= TOLERANCE
    assert worst(first[:, :shared], prefix) <= TOLERANCE
    assert worst(first[-1:, -1:], third[-1:, -1:]) > 1e-3, "the last token doesn't see the first"
    assert worst(first[-1:, -1:], second[-1:, -1:]) > 1e-3, "the texts don't differ"


@pytest.mark.parametrize("family", ["qwen3", "gpt_oss", "lfm2", "mamba", "bloom"])
def test_the_side_of_padding_changes_nothing(
    family: str, causal_encoder: Callable[[str], Any], tmp_path: Path
) -> None:
    """One family of each way of making batches; those of `causal_encoder` pad on the right."""
    left = lw.load_encoder(make_causal(family, tmp_path, padding_side="left"), device="cpu")
    assert off(left, Plain(tmp_path), SHORT) <= TOLERANCE
    for pool in ("eos", "mean", "first"):
        expected = causal_encoder(family).encode(SHORT, pool=pool).stack()
        assert np.array_equal(left.encode(SHORT, pool=pool).stack(), expected)


def test_bidirectional_gemma_is_no_decoder(tmp_path: Path) -> None:
    """EmbeddingGemma: the architecture of Gemma 3, where each token sees those after it too."""
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    folder = make_causal(
        "gemma3_text", tmp_path, begins=True, use_bidirectional_attention=True, layer_types=layers
    )
    encoder = lw.load_encoder(folder, device="cpu")
    assert not encoder.causal
    assert encoder.engine["packing"] == "packed"
    assert off(encoder, Plain(folder), [*SHORT, *EQUAL, "word " * 30]) <= TOLERANCE
    first, second = (encoder.encode([text], level="token").stack()[:, 0] for text in EQUAL[:2])
    assert np.abs(first - second)[-1].max() > 1e-4, "the first token doesn't see the last"


def test_the_last_layer_is_normed(
    causal_encoder: Callable[[str], Any], causal_folder: Callable[[str], Path]
) -> None:
    assert [family for family in CAUSAL if not causal_encoder(family).final_norm] == []
    plain = Plain(causal_folder("llama"))
    encoder = causal_encoder("llama")
    with torch.no_grad():
        expected = plain.model(torch.tensor([plain.raw(SHORT[0])["input_ids"]])).last_hidden_state
    assert worst(encoder.encode([SHORT[0]], layers=-1, level="token").stack(), expected.numpy()) <= TOLERANCE
    assert encoder.description["last_layer"] == "normed"
    assert encoder.description["causal"] is True


@pytest.mark.parametrize("family", ["llama", "opt", "gemma3_text", "lfm2"])
def test_a_single_layer_is_the_same_layer(family: str, causal_encoder: Callable[[str], Any]) -> None:
    encoder = causal_encoder(family)
    every = encoder.encode(SHORT)
    for layer in encoder.layers:
        assert worst(encoder.encode(SHORT, layers=layer).stack(), every.stack(layer)) <= TOLERANCE


@pytest.mark.parametrize("family", ["llama", "opt", "gemma2"])
def test_texts_that_leave_the_forward_early(family: str, causal_encoder: Callable[[str], Any]) -> None:
    from layerwise.encode.batches import Sequences

    engine = causal_encoder(family)._engine
    assert engine.leaves
    ids = [np.array([7, 8, 9]), np.array([10, 11, 12, 13, 14]), np.array([15, 16])]
    texts = Sequences(ids, None)
    depths = np.array([0, 3, 1])
    (batch,) = engine.batches(texts, 100)
    ordered = batch.by_depth(depths[batch.windows])
    layers = [frozenset({int(depths[window])}) for window in ordered.windows]
    states: dict[int, torch.Tensor] = {}
    engine.run(texts, ordered, layers, states.__setitem__)
    for window, begin in zip(ordered.windows.tolist(), engine.begins(ordered).tolist(), strict=True):
        depth = int(depths[window])
        alone: dict[int, torch.Tensor] = {}
        single = texts.select([window])
        (batch_alone,) = engine.batches(single, 100)
        engine.run(single, batch_alone, frozenset({depth}), alone.__setitem__)
        size = len(ids[window])
        error = (states[depth][begin : begin + size] - alone[depth][:size]).abs().max()
        assert error <= TOLERANCE * max(1.0, float(alone[depth].abs().max()))


POOLS: dict[str, Callable[[Any], Any]] = {
    "mean": lambda x: x.mean(axis=1),
    "max": lambda x: x.max(axis=1),
    "sum": lambda x: x.sum(axis=1),
    "first": lambda x: x[:, 0],
    "last": lambda x: x[:, -1],
    "first_last": lambda x: (x[:, 0] + x[:, -1]) / 2,
    "eos": lambda x: x[:, -1],
}


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("begins", [False, True])
def test_pools_of_a_text(begins: bool, padding_side: str, tmp_path: Path) -> None:
    """The side on which a tokenizer pads is of no matter, and pool eos needs no end token."""
    folder = make_causal("qwen3", tmp_path, begins=begins, padding_side=padding_side)
    encoder, plain = lw.load_encoder(folder, device="cpu"), Plain(folder)
    states = [plain.states(plain.raw(text)["input_ids"]) for text in SHORT]
    for pool, pooled in POOLS.items():
        # `first`, `last` and `first_last` never include special tokens.
        special = int(begins and "first" in pool)
        expected = np.stack([pooled(layers[:, special:]) for layers in states], axis=1)
        # A sum over n tokens adds up n rounding errors.
        error = worst(encoder.encode(SHORT, pool=pool).stack(), expected)
        assert error <= TOLERANCE * (10 if pool == "sum" else 1), pool


def test_words_and_long_texts(
    causal_encoder: Callable[[str], Any], causal_folder: Callable[[str], Path]
) -> None:
    encoder, plain = causal_encoder("llama"), Plain(causal_folder("llama"))
    states = encoder.encode(["Every layer"], level="word")
    encoding = plain.tokenizer("Every layer", return_offsets_mapping=True)
    layers = plain.states(encoding["input_ids"])
    first = [n for n, (start, end) in enumerate(encoding["offset_mapping"]) if end <= 5 and end > start]
    assert worst(states.stack()[:, :1], layers[:, first].mean(axis=1, keepdims=True)) <= TOLERANCE
    text = "word " * 60
    cut = encoder.encode([text], level="token", long="truncate")
    expected = plain.states(plain.raw(text)["input_ids"][: encoder.max_length])
    assert worst(cut.stack(), expected) <= TOLERANCE


def test_an_empty_text_has_a_token_without_an_unknown_token(causal_encoder: Callable[[str], Any]) -> None:
    states = causal_encoder("qwen3").encode(["", "a"], level="token")
    assert len(states.where(doc=0)) == 1
    assert np.isfinite(states.stack()).all()


@pytest.mark.parametrize("family", CAUSAL)
def test_the_classification_token_is_refused(
    family: str, causal_folder: Callable[[str], Path], causal_encoder: Callable[[str], Any], tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="needs a classification token"):
        causal_encoder(family).encode(["a"], pool="cls")
    folder = tmp_path / family
    shutil.copytree(causal_folder(family), folder)
    decoder_tokenizer(begins=True).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cls_token": "[CLS]"}))
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.causal
    with pytest.raises(
        RequestError, match="'cls' takes the first token, .* knows nothing of the text; use eos or mean"
    ):
        encoder.encode(["a"], pool="cls")


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "mixtral", "falcon_h1"])
def test_bf16_is_near(
    family: str, causal_folder: Callable[[str], Path], causal_encoder: Callable[[str], Any]
) -> None:
    """The tolerance of bf16 would hide that a convolution mixes neighbours; falcon_h1 has one."""
    exact = causal_encoder(family).encode(SHORT).stack()
    rough = lw.load_encoder(causal_folder(family), device="cpu", precision="bf16")
    error = worst(rough.encode(SHORT).stack(), exact)
    assert 1e-5 < error <= rough.tolerance
    assert (rough.engine["packing"] == "packed") == (family in ("llama", "qwen3", "gemma3_text"))


@pytest.mark.skipif(not int8.available(), reason="needs VNNI")
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "gpt2"])
def test_int8_is_within_its_tolerance(
    family: str, causal_folder: Callable[[str], Path], causal_encoder: Callable[[str], Any]
) -> None:
    rough = lw.load_encoder(causal_folder(family), device="cpu", precision="int8")
    assert rough.engine == {"packing": "packed", "products": "int8"}
    error = worst(rough.encode(SHORT).stack(), causal_encoder(family).encode(SHORT).stack())
    assert 1e-5 < error <= rough.tolerance


@pytest.mark.skipif(not int8.available(), reason="needs VNNI")
def test_int8_with_too_large_an_error_is_refused(causal_folder: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="has too large an error in int8; use precision='bf16' or fp32"):
        lw.load_encoder(causal_folder("mamba"), device="cpu", precision="int8")


# Blocks of convolutions and recurrences have no attention; here that is the second of three.
HYBRIDS = ("lfm2", "qwen3_next", "jamba")
WITHOUT_MAPS = ("gpt_oss", "mamba")


@pytest.mark.parametrize("family", [family for family in CAUSAL if family not in WITHOUT_MAPS])
def test_attention_maps(
    family: str, causal_folder: Callable[[str], Path], causal_encoder: Callable[[str], Any]
) -> None:
    from transformers import AutoModel

    encoder = causal_encoder(family)
    maps = encoder.attention(SHORT[0])
    model = AutoModel.from_pretrained(causal_folder(family), attn_implementation="eager").eval()
    ids = torch.tensor([Plain(causal_folder(family)).raw(SHORT[0])["input_ids"]])
    with torch.inference_mode():
        attentions = model(ids, output_attentions=True).attentions
    expected = [block[0].numpy() for block in attentions if block is not None]
    assert len(maps) == encoder.blocks == 3
    blocks = [1] if family in HYBRIDS else [0, 1, 2]
    assert maps[blocks] == pytest.approx(np.stack(expected), abs=1e-5)
    assert np.isnan(np.delete(maps, blocks, axis=0)).all()
    assert not np.triu(maps[blocks], 1).any(), "a token attends to a later one"


@pytest.mark.parametrize("family", WITHOUT_MAPS)
def test_families_without_attention_maps(family: str, causal_encoder: Callable[[str], Any]) -> None:
    with pytest.raises(ModelError, match="gives no attention maps"):
        causal_encoder(family).attention("a b")


@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_the_page_names_the_blocks_with_attention(
    family: str, causal_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from pages import held

    (tmp_path / "texts.txt").write_text("a few words\nand more of them\n" * 3)
    data = lw.extract(
        tmp_path / "texts.txt", tmp_path / "data", model=causal_folder(family), level="token", device="cpu"
    )
    lw.report(data, out=tmp_path / "page.html", points=10, texts=[0], attention=True)
    content, _ = held((tmp_path / "page.html").read_text())
    assert content["tokens"][0]["attention_layers"] == (["2"] if family == "lfm2" else ["1", "2", "3"])


def test_sinks_are_caught_by_the_comparison(
    tmp_path: Path, causal_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_UNSUPPORTED", ())
    encoder = lw.load_encoder(causal_folder("gpt_oss"), device="cpu")
    assert encoder.engine["packing"] == "padded"


LONG = ["word and layer " * 400, "Every layer of every encoder, as data.", "token " * 150]


@pytest.mark.parametrize(
    ("family", "settings", "packing"),
    [
        # Longer than all probes, so that these can't show how far attention reaches.
        ("mistral", {"sliding_window": 700}, "packed"),
        ("gemma3_text", {"sliding_window": 700}, "packed"),
        ("llama4_text", {"attention_chunk_size": 600}, "padded"),
        ("llama", {}, "packed"),
        # All frequencies of a batch change where one of its texts is long.
        (
            "phi3",
            {
                "original_max_position_embeddings": 600,
                "rope_parameters": {
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "long_factor": [2.0] * 4,
                    "short_factor": [1.0] * 4,
                    "original_max_position_embeddings": 600,
                },
            },
            "even",
        ),
    ],
)
def test_texts_longer_than_the_probes(
    family: str, settings: dict[str, Any], packing: str, tmp_path: Path
) -> None:
    folder = make_causal(family, tmp_path, max_position_embeddings=1500, **settings)
    encoder, plain = lw.load_encoder(folder, device="cpu"), Plain(folder)
    assert max(len(plain.raw(text)["input_ids"]) for text in LONG) > 1000
    assert encoder.engine["packing"] == packing
    assert off(encoder, plain, LONG) <= TOLERANCE


def test_a_long_text_with_a_window_attends_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_BLOCK", 16)
    folder = make_causal("mistral", tmp_path, max_position_embeddings=1500)
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.engine["packing"] == "packed"
    assert off(encoder, Plain(folder), LONG) <= TOLERANCE


def test_one_text_at_a_time_is_the_last_way(
    causal_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No family is known that needs it, so the comparison is made to refuse all other ways."""
    for name in ("agrees", "agrees_on_plain"):
        compared = getattr(Comparison, name)

        def single_only(
            self: Comparison, engine: Any, tolerance: float, compared: Callable[..., bool] = compared
        ) -> bool:
            return engine.packing == "single" and compared(self, engine, tolerance)

        monkeypatch.setattr(Comparison, name, single_only)
    encoder = lw.load_encoder(causal_folder("llama"), device="cpu")
    assert encoder.engine["packing"] == "single"
    assert off(encoder, Plain(causal_folder("llama")), SHORT) <= TOLERANCE


def test_a_model_that_no_way_gets_right_is_refused(
    causal_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Comparison, "agrees", lambda *arguments: False)
    monkeypatch.setattr(Comparison, "agrees_on_plain", lambda *arguments: False)
    with pytest.raises(ModelError, match="gives other layers in every way of batching") as caught:
        lw.load_encoder(causal_folder("llama"), device="cpu")
    assert "\n" not in str(caught.value)


def test_the_projection_of_embedding_gemma_2_is_not_applied(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModel

    from causal_models import decoder_tokenizer

    tokenizer = decoder_tokenizer(begins=True)
    config = AutoConfig.for_model(
        "embedding_gemma2_text",
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        global_head_dim=16,
        hidden_size_per_layer_input=8,
        sliding_window=8,
        sliding_window_pattern=3,
        embedding_dim=48,
        max_position_embeddings=80,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = AutoModel.from_config(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = lw.load_encoder(tmp_path, device="cpu")
    assert (encoder.width, encoder.blocks, encoder.causal) == (32, 3, False)
    assert any("embedding_projection" in note and "isn't applied" in note for note in encoder.notes)
    assert "embedding_projection.weight" in encoder.description["unused"]["tensors"]
    ids = torch.tensor([tokenizer(SHORT[0])["input_ids"]])
    normed: list[torch.Tensor] = []
    model.norm.register_forward_hook(lambda module, inputs, output: normed.append(output))
    with torch.no_grad():
        projected = model(ids).last_hidden_state
    last = encoder.encode([SHORT[0]], layers=-1, level="token").stack()
    assert worst(last, normed[0].numpy()) <= TOLERANCE
    assert projected.shape[-1] == 48
