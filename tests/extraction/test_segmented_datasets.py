"""Datasets whose words are those of jieba: rows, `--append`, `pool`, heads and `predict`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.word_split import split_words

pytest.importorskip("jieba", reason="needs jieba, as of layerwise[jieba]", exc_type=ImportError)
TEXTS = ["天气很好，我们去公园。", "我们去北京 ok", "公园很好。"]


def written(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


@pytest.fixture
def dataset(model: str, tmp_path: Path) -> lw.LayerDataset:
    source = written(tmp_path / "texts.txt", TEXTS)
    return lw.extract(source, tmp_path / "words.lw", model=model, level="word", word_split="jieba")


def words(texts: list[str]) -> list[str]:
    return [text[start:end] for text in texts for start, end in split_words(text, "jieba")]


def test_rows_are_words_with_their_offsets(dataset: lw.LayerDataset) -> None:
    index = dataset.index.to_pylist()
    assert [row["text"] for row in index] == words(TEXTS)
    assert "天气" in words(TEXTS)
    assert all(TEXTS[row["doc"]][row["start"] : row["end"]] == row["text"] for row in index)
    assert dataset.manifest.settings.word_split == dataset.word_split == "jieba"


def test_a_word_is_the_mean_of_its_characters(
    dataset: lw.LayerDataset, encoder_of: Callable[[str], Any]
) -> None:
    """The tokenizer of BERT makes a token of each character, so rows of characters are those of tokens."""
    characters = encoder_of("bert").encode(TEXTS[:1], level="word")
    of_words = dataset.layer("2")[: len(words(TEXTS[:1]))]
    start = 0
    for word, row in zip(words(TEXTS[:1]), of_words, strict=True):
        mean = characters.layer("2")[start : start + len(word)].mean(axis=0)
        # The dataset stores float16, whose relative error is 2^-11.
        assert np.abs(row - mean).max() <= 2e-3 * max(1.0, np.abs(mean).max())
        start += len(word)


def test_append_pool_and_verify_keep_the_words(dataset: lw.LayerDataset, model: str, tmp_path: Path) -> None:
    more = written(tmp_path / "more.txt", ["北京天气很好"])
    grown = lw.extract(more, dataset.path, model=model, level="word", append=True)
    assert grown.index["text"].to_pylist() == words([*TEXTS, "北京天气很好"])
    assert lw.verify(grown, device="cpu").ok
    tokens = lw.extract(
        tmp_path / "texts.txt", tmp_path / "t.lw", model=model, level="token", word_split="jieba"
    )
    pooled = lw.pool(tokens, tmp_path / "p.lw", level="word")
    assert pooled.index["text"].to_pylist() == words(TEXTS)


def test_another_split_is_another_dataset(
    dataset: lw.LayerDataset, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["extract", str(tmp_path / "texts.txt"), "--out", str(dataset.path), "--level", "word"]
    assert main([*command, "--model", model]) == 2
    assert "word_split" in capsys.readouterr().err
    assert main([*command, "--model", model, "--word-split", "jieba"]) == 0


def test_a_head_splits_new_texts_as_in_its_training(dataset: lw.LayerDataset, tmp_path: Path) -> None:
    tags = [["O" if word in "，。 ok" else "B-X" for word in words([text])] for text in TEXTS]
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(f'{{"tag": {tag!r}}}\n'.replace("'", '"') for tag in tags), encoding="utf-8")
    head = lw.train(
        dataset, task="tag", label="tag", labels_from=f"{labels}:tag", mix="2", out=tmp_path / "x.head"
    )
    assert head.rows["word_split"] == "jieba"
    (answer,) = lw.load_head(tmp_path / "x.head").predict(["北京天气很好"])
    borders = split_words("北京天气很好", "jieba")
    assert len(borders) < 6
    assert answer["spans"]
    for span in answer["spans"]:
        assert (span["start"] in {a for a, _ in borders}, span["end"] in {b for _, b in borders}) == (
            True,
            True,
        )
