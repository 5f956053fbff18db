"""DNA by other tokenizers than ESM's: overlapping k-mers (DNABERT), single letters, and pieces of any length (BPE)."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, BertTokenizer, PreTrainedTokenizerFast

import layerwise as lw
from conftest import SMALL
from reference import Plain, worst

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SEQUENCE = "ATGCGTACGTN"
OPTIONS: dict[str, Any] = {"device": "cpu", "dtype": "float32"}


def save(family: str, folder: Path, tokenizer: Any, **settings: Any) -> Path:
    torch.manual_seed(3)
    model = AutoModel.from_config(AutoConfig.for_model(family, vocab_size=len(tokenizer), **settings))
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_bert(folder: Path, entries: list[str]) -> Path:
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *entries]))
    tokenizer = BertTokenizer.from_pretrained(folder, do_lower_case=False, model_max_length=80)
    return save("bert", folder, tokenizer, **SMALL)


def make_letters(folder: Path) -> Path:
    """A recurrent model that reads letters, as HyenaDNA and Caduceus do: `[SEP]` after the text, nothing before it."""
    entries = ["[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]", *"ACGTN"]
    backend = Tokenizer(models.WordLevel({entry: n for n, entry in enumerate(entries)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(""), "isolated")
    backend.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", sep_token="[SEP]", model_max_length=60
    )
    settings = {"hidden_size": 32, "num_hidden_layers": 3, "state_size": 4, "pad_token_id": 4}
    return save("mamba", folder, tokenizer, **settings)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "bases.fa"
    path.write_text(f">s1\n{SEQUENCE[:8]}\n{SEQUENCE[8:]}\n>s2\nacgt\n")
    return path


def test_overlapping_kmers_are_words(tmp_path: Path, fasta: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = make_bert(tmp_path / "dnabert", ["".join(kmer) for kmer in itertools.product("ATCG", repeat=3)])
    bases = SEQUENCE[:-1]
    kmers = [bases[at : at + 3] for at in range(len(bases) - 2)]
    (tmp_path / "run.jsonl").write_text(json.dumps({"text": " ".join(kmers)}) + "\n")
    (tmp_path / "split.jsonl").write_text(json.dumps({"kmers": kmers}) + "\n")
    plain = Plain(model)
    expected = plain.states(plain.raw(" ".join(kmers))["input_ids"])[:, 1:-1]
    for name, words in (("run", None), ("split", "kmers")):
        source = tmp_path / f"{name}.jsonl"
        data = lw.extract(source, tmp_path / name, model=model, level="word", words=words, **OPTIONS)
        assert data.index["text"].to_pylist() == kmers
        assert worst(data.stack(), expected) <= 1e-5
        assert data.texts["unknown"].to_pylist() == [0]
    # A sequence in one run of letters is one unknown token, and is told.
    whole = lw.extract(fasta, tmp_path / "whole", model=model, **OPTIONS)
    assert whole.texts["unknown"].to_pylist() == [1, 1]
    (note,) = (line for line in caplog.messages if "are unknown to the model" in line)
    assert "if its tokenizer needs blanks between letters, give them apart, as by words='sequence'" in note


def test_letters_of_a_vocabulary_of_letters(tmp_path: Path, fasta: Path) -> None:
    model = make_bert(tmp_path / "letters", [*"ACGTN"])
    data = lw.extract(fasta, tmp_path / "data", model=model, level="word", words="sequence", **OPTIONS)
    assert data.index["text"].to_pylist() == [*SEQUENCE, *"acgt"]
    assert data.texts["unknown"].to_pylist() == [0, 4]
    plain = Plain(model)
    expected = plain.states(plain.split([*SEQUENCE])["input_ids"])[:, 1:-1]
    assert worst(data.stack()[:, : len(SEQUENCE)], expected) <= 1e-5


def test_each_letter_is_a_token_of_a_recurrent_model(tmp_path: Path, fasta: Path) -> None:
    model = make_letters(tmp_path / "mamba")
    data = lw.extract(fasta, tmp_path / "data", model=model, level="word", **OPTIONS)
    assert data.index["text"].to_pylist() == [*SEQUENCE, *"acgt"]
    assert data.texts["unknown"].to_pylist() == [0, 4]
    plain = Plain(model)
    expected = plain.states(plain.raw(SEQUENCE)["input_ids"])
    assert worst(data.stack()[:, : len(SEQUENCE)], expected[:, :-1]) <= 1e-5
    tokens = lw.extract(fasta, tmp_path / "tokens", model=model, level="token", **OPTIONS)
    assert worst(tokens.stack()[:, tokens.where(doc=0)], expected) <= 1e-5
    assert worst(lw.pool(tokens, level="word", out=tmp_path / "pooled").stack(), data.stack()) <= 1e-5
    long = tmp_path / "long.fa"
    long.write_text(">long\n" + "ACGTTGCAAC\n" * 30)
    windows = lw.extract(long, tmp_path / "windows", model=model, level="word", **OPTIONS)
    assert windows.rows == 300
    assert windows.texts["windows"][0].as_py() > 1
    assert lw.verify(tmp_path / "windows", device="cpu").ok


def test_bases_have_the_piece_that_they_are_in(tmp_path: Path) -> None:
    """DNABERT-2 and GENA-LM: byte-pair encoding of bases."""
    entries = [*SPECIAL, *"ACGT", "AC", "GT", "ACGT"]
    merges = [("A", "C"), ("G", "T"), ("AC", "GT")]
    backend = Tokenizer(models.BPE({entry: n for n, entry in enumerate(entries)}, merges, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=80, **names)
    model = save("bert", tmp_path / "bpe", tokenizer, **SMALL)
    (tmp_path / "a.fa").write_text(">a\nACGTGGT\nAN\n")
    data = lw.extract(tmp_path / "a.fa", tmp_path / "data", model=model, level="word", **OPTIONS)
    assert data.index["text"].to_pylist() == [*"ACGTGGTAN"]
    plain = Plain(model)
    ids = plain.raw("ACGTGGTAN")["input_ids"]
    assert plain.tokenizer.convert_ids_to_tokens(ids)[1:-1] == ["ACGT", "G", "GT", "A", "[UNK]"]
    token_of_base = [1, 1, 1, 1, 2, 3, 3, 4, 5]
    assert worst(data.stack(), plain.states(ids)[:, token_of_base]) <= 1e-5
    assert data.texts["unknown"].to_pylist() == [1]
