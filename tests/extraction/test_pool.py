"""pool: what comes from a finer dataset is what extraction at the coarser level gives."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from conftest import CORPUS
from layerwise.errors import RequestError
from selection import few_of


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "raw.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text, "n": n}) + "\n" for n, text in enumerate(CORPUS)), encoding="utf-8"
    )
    return path


@pytest.fixture
def split(tmp_path: Path) -> Path:
    path = tmp_path / "split.jsonl"
    rows = [{"words": ["a", "\u200d", "New York"], "tag": ["x", "y", "z"]}, {"words": ["b"], "tag": ["w"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("family", few_of(["bert", "roberta"], "bert"))
@pytest.mark.parametrize(
    ("level", "pool", "special"),
    [
        ("word", "mean", True),
        ("word", "last", True),
        ("text", "mean", True),
        ("text", "max", False),
        ("text", "sum", True),
        ("text", "first_last", True),
        ("text", "cls", True),
        ("text", "eos", True),
    ],
)
def test_pooling_tokens_is_extracting_coarser(
    family: str,
    level: str,
    pool: str,
    special: bool,
    encoder_of: Callable[[str], Any],
    raw: Path,
    tmp_path: Path,
) -> None:
    encoder = encoder_of(family)
    common: dict[str, Any] = {"model": encoder, "dtype": "float32", "shard_texts": 6, "max_length": 40}
    lw.extract(raw, tmp_path / "tokens", level="token", **common)
    expected = lw.extract(raw, tmp_path / "direct", level=level, pool=pool, special_tokens=special, **common)
    made = lw.pool(tmp_path / "tokens", tmp_path / "made", level=level, pool=pool, special_tokens=special)
    assert (made.level, made.pool, made.layers) == (level, pool, expected.layers)
    assert made.index.to_pylist() == expected.index.to_pylist()
    assert made.texts.to_pylist() == expected.texts.to_pylist()
    assert np.allclose(made.stack(), expected.stack(), rtol=0, atol=1e-4 if pool == "sum" else 1e-5)
    assert made.manifest.totals == expected.manifest.totals
    assert lw.verify(tmp_path / "made", device="cpu").ok


def test_pooling_pre_split_tokens(encoder_of: Callable[[str], Any], split: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"model": encoder_of("bert"), "words": "words", "dtype": "float32"}
    lw.extract(split, tmp_path / "tokens", level="token", **common)
    expected = lw.extract(split, tmp_path / "words", level="word", **common)
    made = lw.pool(tmp_path / "tokens", tmp_path / "made", level="word")
    assert made.index.to_pylist() == expected.index.to_pylist()
    assert made.index["dropped"].to_pylist() == [False, True, False, False]
    assert np.allclose(made.stack(), expected.stack(), atol=1e-5)


def test_pooling_words_to_texts_is_the_mean_of_words(
    encoder_of: Callable[[str], Any], split: Path, tmp_path: Path
) -> None:
    words = lw.extract(
        split, tmp_path / "words", model=encoder_of("bert"), words="words", level="word", dtype="float32"
    )
    made = lw.pool(words, tmp_path / "made")
    by_hand = np.stack([words.stack()[:, :3].mean(axis=1), words.stack()[:, 3]], axis=1)
    assert np.allclose(made.stack(), by_hand, atol=1e-6)
    note = lw.verify(tmp_path / "made").note
    assert note is not None
    assert "pooled from words" in note


def test_pooling_needs_no_text_for_texts(encoder_of: Callable[[str], Any], raw: Path, tmp_path: Path) -> None:
    lw.extract(raw, tmp_path / "tokens", model=encoder_of("bert"), level="token", no_text=True)
    made = lw.pool(tmp_path / "tokens", tmp_path / "made")
    assert made.rows == len(CORPUS)
    assert "text" not in made.index.column_names
    with pytest.raises(
        RequestError, match="words are looked up in the texts, and this dataset was made with no_text=True"
    ):
        lw.pool(tmp_path / "tokens", tmp_path / "words", level="word")


def test_what_cannot_be_pooled(encoder_of: Callable[[str], Any], raw: Path, tmp_path: Path) -> None:
    encoder = encoder_of("bert")
    lw.extract(raw, tmp_path / "texts", model=encoder)
    lw.extract(raw, tmp_path / "words", model=encoder, level="word")
    with pytest.raises(
        RequestError, match="level 'word' can't be made from level 'text'; it needs a dataset of level token"
    ):
        lw.pool(tmp_path / "texts", tmp_path / "x", level="word")
    with pytest.raises(RequestError, match="pool 'cls' needs the classification token"):
        lw.pool(tmp_path / "words", tmp_path / "x", pool="cls")
    with pytest.raises(RequestError, match=r"text \d+ has no word, so no row; pool a dataset of level token"):
        lw.pool(tmp_path / "words", tmp_path / "x")


def test_an_empty_text_stays_a_text(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("\na b\n")
    common: dict[str, Any] = {"model": encoder_of("bert"), "dtype": "float32"}
    lw.extract(path, tmp_path / "tokens", level="token", **common)
    made = lw.pool(tmp_path / "tokens", tmp_path / "made", pool="first")
    expected = lw.extract(path, tmp_path / "direct", pool="first", **common)
    assert (
        made.texts["special_only"].to_pylist() == expected.texts["special_only"].to_pylist() == [True, False]
    )
    assert np.allclose(made.stack(), expected.stack(), atol=1e-5)
