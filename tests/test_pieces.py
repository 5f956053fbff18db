"""Pieces that nobody wants to have located are the same pieces."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conftest import CORPUS
from layerwise.cluster.crew import settled


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "t5"])
def test_what_is_not_located_is_else_the_same(family: str, encoder_of: Callable[[str], Any]) -> None:
    tokenizer = encoder_of(family).tokenizer
    texts = [*CORPUS, "many words " * 2000]
    for text, one, other in zip(
        texts, tokenizer.texts(texts), tokenizer.texts(texts, located=False), strict=True
    ):
        for name in ("ids", "types", "words"):
            np.testing.assert_array_equal(
                getattr(one, name), getattr(other, name), f"{name} of {text[:40]!r}"
            )
        assert (one.prefix, one.suffix) == (other.prefix, other.suffix)
        assert not other.starts.any()
        assert not other.ends.any()


def test_special_pieces_stand_where_the_tokenizer_says(encoder_of: Callable[[str], Any]) -> None:
    for family in ("bert", "roberta", "t5"):
        tokenizer = encoder_of(family).tokenizer
        for text, pieces in zip(CORPUS, tokenizer.texts(CORPUS), strict=True):
            mask = tokenizer._backend.encode(text).special_tokens_mask
            if len(mask) == len(pieces):  # a text without any piece has got the unknown one
                wanted = [1] * pieces.prefix + [0] * pieces.body + [1] * pieces.suffix
                assert mask == wanted, f"{family}: {text!r}"


def test_the_collector_is_as_before_once_all_is_made() -> None:
    before = gc.get_freeze_count()

    def fail() -> None:
        with settled():
            assert gc.get_freeze_count() > before
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.get_freeze_count() == 0, "what was frozen stays so for ever"
