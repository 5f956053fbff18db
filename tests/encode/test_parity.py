"""fp32: every family, level and pool within 1e-5 · max(1, max |b|) of plain one-text forwards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import CORPUS, FAMILIES, make_model
from reference import Plain, worst

TOLERANCE = 1e-5
SHORT = [text for text in CORPUS if len(text) < 90]
WORDS = [
    ["Hello", "world"],
    [],
    ["Don't", "stop", ":"],
    ["", "a", "\u200d"],
    ["naïve", "New York", "天气"],
    ["\ufeff"],
]


@pytest.fixture(scope="session")
def plain_of(model_folder: Callable[[str], Path]) -> Callable[[str], Plain]:
    import functools

    return functools.cache(lambda family: Plain(model_folder(family)))


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_of_every_family(
    family: str, encoder_of: Callable[[str], Any], plain_of: Callable[[str], Plain]
) -> None:
    encoder, plain = encoder_of(family), plain_of(family)
    states = encoder.encode(SHORT, level="token", max_length=encoder.position_limit)
    got = states.stack()
    for doc, text in enumerate(SHORT):
        rows = states.where(doc=doc)
        encoding = plain.raw(text)
        assert states.index["token_id"].take(rows).to_pylist() == encoding["input_ids"], f"tokens of {text!r}"
        error = worst(got[:, rows], plain.states(encoding["input_ids"]))
        assert error <= TOLERANCE, f"{family}: {text!r} is off by {error:.1e}"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fastest_way_that_agrees_is_taken(family: str, encoder_of: Callable[[str], Any]) -> None:
    assert encoder_of(family).engine["packing"] == FAMILIES[family][2]


@pytest.mark.parametrize("family", FAMILIES)
def test_order_neighbours_and_budget_change_nothing(family: str, encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of(family)
    alone = np.stack([encoder.encode([text]).stack()[:, 0] for text in SHORT], axis=1)
    together = encoder.encode(SHORT[::-1], batch_tokens=100).stack()[:, ::-1]
    assert worst(together, alone) <= TOLERANCE


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "deberta-v2", "t5"])
def test_words_of_pre_split_text(
    family: str, encoder_of: Callable[[str], Any], plain_of: Callable[[str], Plain]
) -> None:
    encoder, plain = encoder_of(family), plain_of(family)
    states = encoder.encode(WORDS, level="word")
    got = states.stack()
    for doc, words in enumerate(WORDS):
        ids, numbers = _with_unknown(plain, words)
        expected = plain.states(ids)
        rows = states.where(doc=doc)
        assert states.index["word"].take(rows).to_pylist() == list(range(len(words))), (
            f"a row per word of {words}"
        )
        for row, word in zip(rows, range(len(words)), strict=True):
            tokens = [place for place, number in enumerate(numbers) if number == word]
            error = worst(got[:, [row]], expected[:, tokens].mean(axis=1, keepdims=True))
            assert error <= TOLERANCE, f"{family}: word {words[word]!r} is off by {error:.1e}"


def without_blanks(places: list[int], names: list[str]) -> list[int]:
    """Return places without those of tokens that stand for a space alone, where others are left."""
    left = [place for place, name in zip(places, names, strict=True) if name.strip("\u2581\u0120")]
    return left or places


def _with_unknown(plain: Plain, words: list[str]) -> tuple[list[int], list[int | None]]:
    """Return tokens and word numbers, with the unknown token where the tokenizer drops a word.

    A space that stands before a word is none of its tokens, unless there is no other.
    """
    encoding = plain.split(words)
    ids, numbers = list(encoding["input_ids"]), list(encoding.word_ids())
    for word in range(len(words)):
        if word not in numbers:
            before = [place for place, number in enumerate(numbers) if number is not None and number < word]
            first = next((place for place, number in enumerate(numbers) if number is not None), None)
            specials = plain.split(["a"]).word_ids().index(0)
            at = before[-1] + 1 if before else (first if first is not None else specials)
            ids.insert(at, plain.tokenizer.unk_token_id)
            numbers.insert(at, word)
    names = plain.tokenizer.convert_ids_to_tokens(ids)
    for word in range(len(words)):
        of_word = [place for place, number in enumerate(numbers) if number == word]
        if len(of_word) > 1 and not names[of_word[0]].strip("\u2581\u0120") and not words[word][:1].isspace():
            numbers[of_word[0]] = None
    return ids, numbers


POOLS: dict[str, Callable[[Any], Any]] = {
    "mean": lambda x: x.mean(axis=1),
    "max": lambda x: x.max(axis=1),
    "sum": lambda x: x.sum(axis=1),
    "first": lambda x: x[:, 1],
    "last": lambda x: x[:, -2],
    "first_last": lambda x: (x[:, 1] + x[:, -2]) / 2,
    "cls": lambda x: x[:, 0],
}


@pytest.mark.parametrize("pool", POOLS)
def test_pools_of_a_text(
    pool: str, encoder_of: Callable[[str], Any], plain_of: Callable[[str], Plain]
) -> None:
    encoder, plain = encoder_of("bert"), plain_of("bert")
    texts = [text for text in SHORT if len(plain.raw(text)["input_ids"]) > 2]
    got = encoder.encode(texts, pool=pool).stack()
    expected = np.stack([POOLS[pool](plain.states(plain.raw(text)["input_ids"])) for text in texts], axis=1)
    # A sum over n tokens adds up n rounding errors.
    assert worst(got, expected) <= TOLERANCE * (10 if pool == "sum" else 1)


@pytest.mark.parametrize("pool", ["mean", "max", "sum"])
def test_pools_without_special_tokens(
    pool: str, encoder_of: Callable[[str], Any], plain_of: Callable[[str], Plain]
) -> None:
    encoder, plain = encoder_of("bert"), plain_of("bert")
    states = encoder.encode([CORPUS[0], ""], pool=pool, special_tokens=False)
    inner = plain.states(plain.raw(CORPUS[0])["input_ids"])[:, 1:-1]
    assert worst(states.stack()[:, :1], POOLS[pool](inner)[:, None]) <= TOLERANCE * 10
    assert states.texts["special_only"].to_pylist() == [False, True]
    empty = plain.states(plain.raw("")["input_ids"])
    assert worst(states.stack()[:, 1:], POOLS[pool](empty)[:, None]) <= TOLERANCE


def test_words_of_raw_text_take_every_token_that_touches_them(
    encoder_of: Callable[[str], Any], plain_of: Callable[[str], Plain]
) -> None:
    for family in ("bert", "roberta", "xlm-roberta"):
        encoder, plain = encoder_of(family), plain_of(family)
        for text in SHORT:
            states = encoder.encode([text], level="word")
            got = states.stack()
            encoding = plain.tokenizer(text, return_offsets_mapping=True)
            expected = plain.states(encoding["input_ids"])
            spans = zip(states.index["start"].to_pylist(), states.index["end"].to_pylist(), strict=True)
            for row, (start, end) in enumerate(spans):
                touching = [
                    place
                    for place, (a, b) in enumerate(encoding["offset_mapping"])
                    if a < end and b > start and b > a
                ]
                names = plain.tokenizer.convert_ids_to_tokens([encoding["input_ids"][p] for p in touching])
                touching = without_blanks(touching, names)
                error = worst(got[:, [row]], expected[:, touching].mean(axis=1, keepdims=True))
                assert error <= TOLERANCE, f"{family}: {text[start:end]!r} in {text!r} is off by {error:.1e}"


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "convbert"])
@pytest.mark.parametrize("layer", ["emb", "1", "2", "-1"])
def test_a_single_layer_is_the_same_layer(family: str, layer: str, encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of(family)
    some = encoder.encode(SHORT, layers=layer)
    assert worst(some.stack(), encoder.encode(SHORT).stack(layer)) <= TOLERANCE


def test_the_forward_stops_after_the_deepest_layer(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    calls: list[int] = []
    model = encoder._engine._model
    for number, block in enumerate(model.encoder.layer):
        block.register_forward_hook(lambda *_, number=number: calls.append(number), prepend=True)
    encoder.encode(["a b c"], layers="emb,1")
    assert calls == [0]


def test_the_last_layer_of_a_model_with_a_final_norm_is_normed(
    encoder_of: Callable[[str], Any], plain_of: Callable[[str], Plain]
) -> None:
    assert {family for family in FAMILIES if encoder_of(family).final_norm} == {
        "modernbert",
        "t5",
        "esm",
    }
    plain = plain_of("modernbert")
    states = encoder_of("modernbert").encode([CORPUS[0]], layers=-1, level="token")
    import torch

    with torch.no_grad():
        expected = plain.model(torch.tensor([plain.raw(CORPUS[0])["input_ids"]])).last_hidden_state
    assert np.abs(states.layer(-1) - expected[0].numpy()).max() <= TOLERANCE * max(1, expected.abs().max())


def test_deberta_with_a_convolution_agrees(tmp_path: Path) -> None:
    from layerwise.encode.load import load_encoder

    folder = make_model("deberta-v2", tmp_path, conv_kernel_size=3, conv_act="gelu")
    encoder, plain = load_encoder(folder, device="cpu"), Plain(folder)
    got = encoder.encode(SHORT, level="token")
    for doc, text in enumerate(SHORT):
        assert (
            worst(got.stack()[:, got.where(doc=doc)], plain.states(plain.raw(text)["input_ids"])) <= TOLERANCE
        )


def test_bf16_is_near(model_folder: Callable[[str], Path], encoder_of: Callable[[str], Any]) -> None:
    from layerwise.encode.load import load_encoder

    exact = encoder_of("bert").encode(SHORT).stack()
    rough = load_encoder(model_folder("bert"), device="cpu", precision="bf16")
    error = worst(rough.encode(SHORT).stack(), exact)
    assert 1e-5 < error <= rough.tolerance
