"""Tokens that nobody wants to have located are the same tokens."""

import gc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from conftest import CORPUS, SMALL
from layerwise.parallel.executor import frozen_objects


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "t5"])
def test_what_is_not_located_is_else_the_same(family: str, encoder_of: Callable[[str], Any]) -> None:
    tokenizer = encoder_of(family).tokenizer
    texts = [*CORPUS, "many words " * 2000]
    for text, actual, expected in zip(
        texts, tokenizer.texts(texts), tokenizer.texts(texts, located=False), strict=True
    ):
        for name in ("ids", "types", "words"):
            np.testing.assert_array_equal(
                getattr(actual, name), getattr(expected, name), f"{name} of {text[:40]!r}"
            )
        assert (actual.prefix, actual.suffix) == (expected.prefix, expected.suffix)
        assert not expected.starts.any()
        assert not expected.ends.any()


def test_special_tokens_stand_where_the_tokenizer_says(encoder_of: Callable[[str], Any]) -> None:
    for family in ("bert", "roberta", "t5"):
        tokenizer = encoder_of(family).tokenizer
        for text, tokens in zip(CORPUS, tokenizer.texts(CORPUS), strict=True):
            mask = tokenizer._backend.encode(text).special_tokens_mask
            if len(mask) == len(tokens):  # a text without any token has got the unknown one
                expected = [1] * tokens.prefix + [0] * tokens.body + [1] * tokens.suffix
                assert mask == expected, f"{family}: {text!r}"


def test_the_collector_is_as_before_once_all_is_made() -> None:
    before = gc.get_freeze_count()

    def fail() -> None:
        with frozen_objects():
            assert gc.get_freeze_count() > before
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.get_freeze_count() == 0, "what was frozen stays so for ever"


def blank_vocabulary(**options: Any) -> Any:
    """A tokenizer of the unigram kind whose vocabulary has a space and Chinese words, but none with both."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = [
        "\u2581",
        "天气",
        "天",
        "气",
        "很",
        "好",
        "。",
        "\u2581the",
        "\u2581day",
        "d",
        "a",
        "y",
        "t",
        "h",
        "e",
    ]
    vocab = [("[PAD]", 0.0), ("[UNK]", -20.0), ("[CLS]", 0.0), ("[SEP]", 0.0)]
    backend = Tokenizer(models.Unigram([*vocab, *((word, -2.0 / len(word)) for word in words)], 1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(**options)
    backend.add_special_tokens([name for name, _ in vocab])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return backend


def tokens_of(backend: Any, text: str | list[str]) -> list[tuple[str, str, int]]:
    """The tokens of a text with the characters and the word of each."""
    from transformers import PreTrainedTokenizerFast

    from layerwise.encode.tokenizer import Tokenizer

    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )
    tokenizer = Tokenizer(SimpleNamespace(backend=backend, tokenizer=fast), "tiny")  # type: ignore[arg-type]
    whole = text if isinstance(text, str) else " ".join(text)
    (tokens,) = tokenizer.texts([text]) if isinstance(text, str) else tokenizer.words([text])
    names = tokenizer.names(tokens.ids.tolist())
    parts = [whole[start:end] for start, end in zip(tokens.starts, tokens.ends, strict=True)]
    return list(zip(names, parts, tokens.words.tolist(), strict=True))[1:-1]


def test_a_space_that_the_text_has_not_has_no_characters_and_no_word() -> None:
    backend = blank_vocabulary()
    assert tokens_of(backend, "天气很好。") == [
        ("\u2581", "", -1), ("天气", "天气", -1), ("很", "很", -1), ("好", "好", -1), ("。", "。", -1),
    ]  # fmt: skip
    assert tokens_of(backend, ["天气", "the", "很", "day"]) == [
        ("\u2581", "", -1), ("天气", "天气", 0), ("\u2581the", "the", 1),
        ("\u2581", "", -1), ("很", "很", 2), ("\u2581day", "day", 3),
    ]  # fmt: skip


def test_a_space_that_the_text_has_keeps_its_place() -> None:
    backend = blank_vocabulary()
    tokens = tokens_of(backend, "the 天 day")
    assert tokens == [
        ("\u2581the", "the", -1),
        ("\u2581", " ", -1),
        ("天", "天", -1),
        ("\u2581day", " day", -1),
    ]
    literal = tokens_of(backend, "\u2581天")
    assert [(name, part) for name, part, _ in literal][-2:] == [("\u2581", "\u2581"), ("天", "天")]


def test_the_space_of_another_kind_of_tokenizer_is_a_letter() -> None:
    """\u0120 is a letter of Maltese, and byte-level tokenizers write it for a space."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocab = [
        ("[PAD]", 0.0),
        ("[UNK]", -20.0),
        ("[CLS]", 0.0),
        ("[SEP]", 0.0),
        ("\u2581", -1.0),
        ("\u0120", -1.0),
    ]
    backend = Tokenizer(models.Unigram([*vocab, ("o", -1.0), ("r", -1.0)], 1))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    tokens = tokens_of(backend, "x\u0120or\u0120o")
    assert [(name, part) for name, part, _ in tokens if name == "\u0120"] == [("\u0120", "\u0120")] * 2


def test_a_space_is_a_word_where_nothing_else_is() -> None:
    from tokenizers import normalizers

    backend = blank_vocabulary()
    backend.normalizer = normalizers.Replace("很", "")
    assert tokens_of(backend, ["天", "很"])[-1] in [
        ("\u2581", "很", 1),
        ("\u2581", "", 1),
        ("[UNK]", "很", 1),
    ]


def test_words_of_chinese_text_begin_with_their_own_token(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    backend = blank_vocabulary()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )
    fast.save_pretrained(tmp_path)
    config = AutoConfig.for_model("bert", **{**SMALL, "vocab_size": len(fast)})
    AutoModel.from_config(config).save_pretrained(tmp_path)
    encoder = lw.load_encoder(tmp_path)
    tokens = encoder.encode(["天气很好"], level="token")
    assert tokens.index["text"].to_pylist() == ["", "", "天气", "很", "好", ""]
    assert tokens.index["word"].to_pylist() == [None, None, 0, 2, 3, None]
    first = encoder.encode(["天气很好"], level="word", pool="first")
    assert first.index["text"].to_pylist() == ["天", "气", "很", "好"]
    np.testing.assert_array_equal(first.layer(1), tokens.layer(1)[[2, 2, 3, 4]])
    split = encoder.encode([["天气", "很好"]], level="word")
    np.testing.assert_allclose(
        split.layer(1)[1],
        encoder.encode([["天气", "很好"]], "1", "token").layer(1)[[4, 5]].mean(0),
        atol=1e-6,
    )
