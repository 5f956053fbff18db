"""Unknown tokens are counted as transformers counts them: the unknown token's number, special tokens aside."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import layerwise as lw
from conftest import CORPUS, make_model
from layerwise.cli.main import main
from reference import Plain

TEXTS = [*CORPUS, "新闻 5 of the 猫", "Ω " * 60, "[UNK] spelled out", "★", "\u200b"]
WORDS = [["The", "\u200b", "新闻", "layers"], ["", "a"], ["猫"] * 3, ["\u200b"]]


def counted(tokenizer: Any, text: Any, **options: Any) -> int:
    """The tokens of a text, without those around it, that have the number of the unknown token."""
    ids = tokenizer(text, add_special_tokens=False, **options)["input_ids"]
    return int(ids.count(tokenizer.unk_token_id))


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "t5"])
@pytest.mark.parametrize("level", ["text", "word", "token"])
def test_unknown_tokens_of_texts_are_those_of_transformers(
    family: str, level: str, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    tokenizer = Plain(model_folder(family)).tokenizer
    texts = encoder_of(family).encode(TEXTS, "emb", level).texts
    expected = [counted(tokenizer, text, truncation=False, verbose=False) for text in TEXTS]
    assert texts["unknown"].to_pylist() == expected
    assert family == "roberta" or sum(expected) > 10, "most of these texts have no unknown token"
    assert str(texts.schema.field("unknown").type) == "int32"
    names = texts.column_names
    assert names.index("unknown") == names.index("tokens") + 1


def test_rows_say_which_of_their_tokens_are_unknown(
    encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    tokenizer = Plain(model_folder("bert")).tokenizer
    encoder, text = encoder_of("bert"), "新闻 5 of the 猫 [UNK]"
    encoding = tokenizer(text, return_offsets_mapping=True)
    ids, offsets = encoding["input_ids"], encoding["offset_mapping"]
    unknown = [number == tokenizer.unk_token_id for number in ids]
    assert sum(unknown) == 5
    tokens = encoder.encode([text], "emb", "token").index
    assert tokens["unknown"].to_pylist() == [int(flag) for flag in unknown]
    assert str(tokens.schema.field("unknown").type) == "int32"
    words = encoder.encode([text], "emb", "word").index
    spans = encoder.encode([text], "emb", "span", spans=[[(0, 2), (3, 8), (0, len(text))]]).index
    for index in (words, spans):
        wanted = [
            sum(flag for flag, (a, b) in zip(unknown, offsets, strict=True) if max(a, start) < min(b, end))
            for start, end in zip(index["start"].to_pylist(), index["end"].to_pylist(), strict=True)
        ]
        assert index["unknown"].to_pylist() == wanted
    assert encoder.encode([text], "emb").index.column_names == ["doc", "text"], "the texts say it of texts"


def test_dropped_words_are_unknown_in_the_rows(encoder_of: Callable[[str], Any]) -> None:
    for level in ("word", "token"):
        states = encoder_of("bert").encode(WORDS, "emb", level)
        per_text = [0] * len(WORDS)
        for doc, count in zip(*(states.index[name].to_pylist() for name in ("doc", "unknown")), strict=True):
            per_text[doc] += count
        assert per_text == states.texts["unknown"].to_pylist() == [3, 1, 3, 1], level


def test_words_that_the_tokenizer_drops_are_unknown(
    encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    tokenizer = Plain(model_folder("bert")).split_tokenizer
    states = encoder_of("bert").encode(WORDS, "emb", "word")
    expected = []
    for words in WORDS:
        encoding = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
        dropped = len(set(range(len(words))) - set(encoding.word_ids()))
        expected.append(encoding["input_ids"].count(tokenizer.unk_token_id) + dropped)
    assert states.texts["unknown"].to_pylist() == expected == [3, 1, 3, 1]
    assert states.index["dropped"].to_pylist().count(True) == 3


@pytest.mark.parametrize("overlap", [0, 3, 9])
def test_no_unknown_token_counts_twice_in_windows(overlap: int, encoder_of: Callable[[str], Any]) -> None:
    text = "the 猫 sat " * 30
    states = encoder_of("bert").encode([text], "emb", max_length=20, overlap=overlap)
    assert states.texts["windows"][0].as_py() > 3
    assert states.texts["unknown"].to_pylist() == [30]


@pytest.mark.parametrize("side", ["right", "left"])
def test_only_stored_tokens_of_a_truncated_text_count(side: str, tmp_path: Path) -> None:
    folder = make_model("bert", tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"truncation_side": side}))
    text = "猫 " * 5 + "layer " * 30 + "猫 " * 9
    encoder = lw.load_encoder(folder, device="cpu")
    states = encoder.encode([text], "emb", long="truncate", max_length=20)
    tokenizer = Plain(folder).tokenizer
    ids = tokenizer(text, truncation=True, max_length=20)["input_ids"]
    assert states.texts["unknown"].to_pylist() == [ids.count(tokenizer.unk_token_id)]
    assert states.texts["unknown"].to_pylist() == [5 if side == "right" else 9]


def byte_level_model(folder: Path, **special: str) -> Any:
    """An encoder whose byte-level tokenizer names its special tokens as given."""
    make_model("roberta", folder)
    names = ["[CLS]", "[SEP]", "[PAD]", "[MASK]", *sorted({*special.values()})]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*names, *alphabet]))}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(names)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=80, **special)
    tokenizer.save_pretrained(folder)
    return lw.load_encoder(folder, device="cpu")


def test_the_end_of_a_text_is_no_unknown_token(tmp_path: Path) -> None:
    end = "<|endoftext|>"
    encoder = byte_level_model(tmp_path, bos_token=end, eos_token=end, unk_token=end, pad_token="[PAD]")
    states = encoder.encode([f"one{end}two", "新闻", ""], "emb")
    assert states.texts["unknown"].to_pylist() == [0, 0, 0], "GPT-2 calls the token between texts unknown"
    words = encoder.encode([["one", "two"]], "emb", "word")
    assert words.texts["unknown"].to_pylist() == [0]


def test_a_tokenizer_without_an_unknown_token_knows_every_text(tmp_path: Path) -> None:
    encoder = byte_level_model(tmp_path, bos_token="[CLS]", eos_token="[SEP]", pad_token="[PAD]")
    assert encoder.encode(["新闻 ★"], "emb").texts["unknown"].to_pylist() == [0]


def test_padding_may_be_the_unknown_token(tmp_path: Path, model_folder: Callable[[str], Path]) -> None:
    folder = make_model("bert", tmp_path)
    tokenizer = Plain(model_folder("bert")).tokenizer
    tokenizer.pad_token = tokenizer.unk_token
    tokenizer.save_pretrained(folder)
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.encode(["the 猫 ★"], "emb").texts["unknown"].to_pylist() == [2]


def test_the_first_look_at_a_text_says_it_too(model: str) -> None:
    assert lw.show("the 猫 ★", model=model).unknown == 2
    assert lw.show("the layers", model=model).to_json()["unknown"] == 0
    rows = lw.show("the 猫 ★", model=model, level="token", layers="emb").rows
    assert [(row.text, row.unknown) for row in rows[1:-1]] == [("the", 0), ("猫", 1), ("★", 1)]
    assert lw.show("the 猫 ★", model=model, layers="emb").rows[0].unknown == 2


def test_the_command_marks_unknown_tokens(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "the 猫", "--model", model, "--level", "token", "--layers", "emb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "(unknown)" in line] == [line for line in lines if "猫" in line] != []
    assert main(["show", "the 猫", "--model", model, "--layers", "emb"]) == 0
    assert "1 of them unknown" in (out := capsys.readouterr().out)
    assert "(unknown)" not in out
