"""Tokenizers that are written in Python: PhoBERT, BertJapanese, ByT5. Their tokens have no offsets."""

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers

import layerwise as lw
from conftest import FAMILIES, SMALL
from layerwise.cli.main import main
from layerwise.errors import ModelError, RequestError
from pages import held
from reference import worst
from selection import few_of
from st_folders import make_folder

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = {
    "phobert": ["xin chào các bạn", "tôi là", "", "chào 🙂 bạn <mask> xin", "x" * 30],
    "japanese": ["昨日は雨が降りました。", "ok, 今日!", "", "🙂 雨", "[MASK] は"],
    "characters": ["昨日は雨が降りました。", "ok, 今日!", "", "🙂 雨", "[MASK] は"],
    "byt5": ["naïve café", "天気", "", "a 🙂", "ends with </s>", "</s> begins", "<extra_id_0> x"],
}
WORDS = [["xin", "chào"], ["天気", "は", "ok"], ["a"], []]


def save(model: Any, folder: Path) -> None:
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(folder)


def make_phobert(folder: Path) -> None:
    folder.mkdir()
    syllables = ["x@@", "in", "xin", "chào", "ch@@", "ào", "các", "b@@", "ạn", "bạn", "tôi", "là", "i@@", "n"]
    (folder / "vocab.txt").write_text("".join(f"{syllable} 1\n" for syllable in syllables))
    merges = [
        "i n</w>",
        "x in</w>",
        "à o</w>",
        "ch ào</w>",
        "c h",
        "ạ n</w>",
        "b ạn</w>",
        "c á",
        "cá c</w>",
        "l à</w>",
    ]
    (folder / "bpe.codes").write_text("".join(f"{merge} 1\n" for merge in merges))
    tokenizer = transformers.PhobertTokenizer(
        str(folder / "vocab.txt"), str(folder / "bpe.codes"), model_max_length=60
    )
    tokenizer.save_pretrained(folder)
    config = transformers.RobertaConfig(
        **SMALL, vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2
    )
    config.tokenizer_class = "PhobertTokenizer"
    save(transformers.RobertaModel(config), folder)


def make_japanese(folder: Path, subwords: str) -> None:
    folder.mkdir()
    tokens = [*SPECIAL, *"昨日は雨が降りました。今天気ok!,", "##日", "##は", "ok", "##k"]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in dict.fromkeys(tokens)))
    tokenizer = transformers.BertJapaneseTokenizer(
        str(folder / "vocab.txt"),
        word_tokenizer_type="basic",
        subword_tokenizer_type=subwords,
        model_max_length=60,
    )
    tokenizer.save_pretrained(folder)
    save(transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=len(tokenizer))), folder)


def make_byt5(folder: Path) -> None:
    transformers.ByT5Tokenizer().save_pretrained(folder)
    config = transformers.AutoConfig.for_model("t5", **FAMILIES["t5"][1], vocab_size=384)
    save(transformers.T5EncoderModel(config), folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "phobert": make_phobert,
    "japanese": lambda folder: make_japanese(folder, "wordpiece"),
    "characters": lambda folder: make_japanese(folder, "character"),
    "byt5": make_byt5,
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(11)
    made = {name: tmp_path_factory.mktemp("python") / name for name in MAKERS}
    for name, folder in made.items():
        MAKERS[name](folder)
    return made


@pytest.fixture(params=list(MAKERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class PlainPython:
    """transformers itself, as its documentation says."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        is_t5 = transformers.AutoConfig.from_pretrained(folder).model_type == "t5"
        self.model = (transformers.T5EncoderModel if is_t5 else transformers.AutoModel).from_pretrained(
            folder
        )

    def ids(self, text: Any, **options: Any) -> list[int]:
        return list(self.tokenizer(text, **options)["input_ids"])

    def states(self, ids: list[int]) -> Any:
        with torch.no_grad():
            out = self.model.eval()(input_ids=torch.tensor([ids]), output_hidden_states=True)
        return np.stack([state[0].double().numpy() for state in out.hidden_states])


# ByT5 says so, and transformers' own call as well.
@pytest.mark.filterwarnings("ignore:This sequence already has")
def test_tokens_and_texts_are_those_of_transformers(name: str, folders: dict[str, Path]) -> None:
    encoder, plain = lw.load_encoder(folders[name], device="cpu"), PlainPython(folders[name])
    states = encoder.encode(TEXTS[name], level="token")
    texts = encoder.encode(TEXTS[name], level="text")
    for doc, text in enumerate(TEXTS[name]):
        rows, ids = states.where(doc=doc), plain.ids(text)
        index = states.index.take(rows)
        assert index["token_id"].to_pylist() == ids
        expected = plain.states(ids)
        assert worst(states.stack()[:, rows], expected) <= 1e-5
        assert worst(texts.stack()[:, [doc]], expected.mean(axis=1, keepdims=True)) <= 1e-5
        names = plain.tokenizer.convert_ids_to_tokens(ids)
        special = index["special"].to_pylist()
        assert index["text"].to_pylist() == ["" if s else n for n, s in zip(names, special, strict=True)]
    for column in ("start", "end", "word"):
        assert states.index[column].null_count == states.rows
        assert str(states.index[column].type) == "int32"
    unknown = plain.tokenizer.unk_token_id
    found = [
        states.index["unknown"].to_pylist()[n]
        for n in range(states.rows)
        if not states.index["special"][n].as_py()
    ]
    expected_unknown = [
        int(i == unknown)
        for i, s in zip(
            states.index["token_id"].to_pylist(), states.index["special"].to_pylist(), strict=True
        )
        if not s
    ]
    assert found == expected_unknown


def test_no_warning_of_a_text_that_ends_with_the_end(folders: dict[str, Path]) -> None:
    states = lw.load_encoder(folders["byt5"], device="cpu").encode(["a</s>", "</s>"], level="token")
    assert states.index["token_id"].to_pylist() == [100, 1, 1]
    assert states.index["special"].to_pylist() == [False, True, True]


def test_words_that_are_pre_split(name: str, folders: dict[str, Path]) -> None:
    encoder, plain = lw.load_encoder(folders[name], device="cpu"), PlainPython(folders[name])
    tokens = encoder.encode(WORDS, level="token")
    words = encoder.encode(WORDS, level="word")
    for doc, text in enumerate(WORDS):
        ids = plain.ids(text, is_split_into_words=True) if text else plain.ids("")
        rows = tokens.where(doc=doc)
        assert tokens.index["token_id"].take(rows).to_pylist() == ids
        parts = [plain.tokenizer(word, add_special_tokens=False)["input_ids"] for word in text]
        numbers = [n for n, part in enumerate(parts) for _ in part]
        got = tokens.index["word"].take(rows).to_pylist()
        assert [number for number in got if number is not None] == numbers
        expected = plain.states(ids)
        begin = got.index(0) if numbers else 0
        means = [
            expected[:, begin + np.flatnonzero(np.array(numbers) == n)].mean(axis=1) for n in range(len(text))
        ]
        if means:
            assert worst(words.stack()[:, words.where(doc=doc)], np.stack(means, axis=1)) <= 1e-5
    assert words.index["text"].to_pylist() == [word for text in WORDS for word in text]
    assert words.index["start"].to_pylist() == [0, 4, 0, 3, 5, 0]
    assert tokens.index["start"].null_count == tokens.rows


def test_words_of_raw_text_spans_and_prompts_are_refused_with_the_reason(
    name: str, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = lw.load_encoder(folders[name], device="cpu")
    with pytest.raises(
        RequestError, match="words of raw text are found by the offsets of tokens, and the tok.*none"
    ):
        encoder.encode(["a b"], level="word")
    for texts in (["a b"], [["a", "b"]]):
        with pytest.raises(RequestError, match="spans are found by the offsets of tokens"):
            encoder.encode(texts, level="span", spans=[[(0, 1)]])
    with pytest.raises(RequestError, match="where it ends among the tokens is found by their offsets"):
        encoder.encode(["a"], prompt="query: ")
    with pytest.raises(
        RequestError, match="raw=True finds the tokens of a word by their offsets, .* none; lea"
    ):
        lw.align(["a b"], ["b a"], model=encoder, raw=True)
    (tmp_path / "texts.txt").write_text("a b\n")
    command = ["extract", str(tmp_path / "texts.txt"), "--model", str(folders[name]), "--level", "word"]
    assert main([*command, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "words of raw text are found by the offsets" in error
    assert "use pre-split words (--words), or --level token or text" in error


def test_long_texts_go_through_windows(name: str, folders: dict[str, Path]) -> None:
    encoder = lw.load_encoder(folders[name], device="cpu")
    text = " ".join(TEXTS[name] * 3).replace("</s>", "")
    whole = encoder.encode([text], level="token", layers="emb", max_length=20, overlap=4)
    ids = PlainPython(folders[name]).ids(text)
    assert whole.index["token_id"].to_pylist() == ids
    assert whole.texts["windows"][0].as_py() > 1
    short = encoder.encode([text], level="token", long="truncate", max_length=20)
    assert short.index["token_id"].to_pylist() == [*ids[: 20 - len(ids) + len(ids) - 1], ids[-1]][:20]


@pytest.fixture
def source(tmp_path: Path, name: str) -> Path:
    path = tmp_path / "texts.jsonl"
    texts = [text for text in TEXTS[name] if text and "</s>" not in text]
    records = [{"text": text, "label": "ab"[n % 2]} for n, text in enumerate(texts * 6)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("name", few_of(MAKERS, "phobert", "characters"), indirect=True)
def test_a_dataset_of_tokens_without_offsets(
    name: str, folders: dict[str, Path], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    options: dict[str, Any] = {"model": folders[name], "level": "token", "device": "cpu", "dtype": "float32"}
    data = lw.extract(source, out, **options, shard_texts=5)
    assert data.index["start"].null_count == data.rows
    check = lw.verify(out, device="cpu")
    assert (check.ok, check.texts > 0) == (True, True)
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({"text": "ok", "label": "a"}) + "\n")
    grown = lw.extract(more, out, **options, shard_texts=5, append=True)
    assert grown.text_count == data.text_count + 1
    assert lw.verify(out, device="cpu").ok
    # Texts are pooled from tokens as they are encoded; words can't be found.
    pooled = lw.pool(out, level="text", pool="mean", out=tmp_path / "texts")
    direct = lw.load_encoder(folders[name], device="cpu").encode(data.texts["text"].to_pylist())
    assert worst(pooled.stack()[:, : data.text_count], direct.stack()) <= 1e-5
    with pytest.raises(RequestError, match="words of raw text are found by the offsets"):
        lw.pool(out, level="word", out=tmp_path / "words")
    lw.export(out, to="parquet", out=tmp_path / "out.parquet", layers="3")
    exported = pq.read_table(tmp_path / "out.parquet")
    assert exported["start"].null_count == grown.rows
    assert exported["text"].to_pylist() == grown.index["text"].to_pylist()
    lw.analyze(out, max_rows=200)
    head = lw.train(out, task="classify", label="label", mix="3", out=tmp_path / "head")
    (answer,) = head.predict([data.texts["text"][0].as_py()])
    assert {(row["start"], row["end"]) for row in answer["tokens"]} == {(None, None)}
    tokens = data.index.take(data.where(doc=0, special=False))
    assert [row["text"] for row in answer["tokens"]] == tokens["text"].to_pylist()
    assert lw.evaluate(tmp_path / "head", source, device="cpu").to_json()
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "head"), str(source), "--to", "csv", "--keep", "label"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "doc,source.label,start,end,label,probability"
    assert all(line.split(",")[2:4] == ["", ""] for line in lines[1:])
    assert main(["info", str(folders[name])]) == 0
    assert re.search(r"tokenizer +\w+Tokenizer, without offsets", capsys.readouterr().out)
    assert main(["show", TEXTS[name][0], "--model", str(folders[name]), "--level", "token"]) == 0
    assert tokens["text"][0].as_py() in capsys.readouterr().out
    lw.report(out, out=tmp_path / "page.html", points=50, texts=[0])
    content, _ = held((tmp_path / "page.html").read_text())
    (shown,) = content["tokens"]
    assert [token for token in shown["tokens"] if token] == tokens["text"].to_pylist()[: len(shown["tokens"])]
    assert content["points"]["context"] is None


def test_words_of_a_pre_split_source(folders: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "words.conll"
    path.write_text("xin\tB-X\nchào\tO\n\ncác\tO\nbạn\tB-X\n\n" * 5)
    options: dict[str, Any] = {"model": folders["phobert"], "columns": ["token", "tag"], "words": "token"}
    data = lw.extract(path, tmp_path / "tokens", level="token", device="cpu", dtype="float32", **options)
    words = lw.extract(path, tmp_path / "words", level="word", device="cpu", dtype="float32", **options)
    pooled = lw.pool(data, level="word", out=tmp_path / "pooled")
    assert worst(pooled.stack(), words.stack()) <= 1e-5
    assert pooled.index["start"].to_pylist() == words.index["start"].to_pylist()
    head = lw.train(words, task="tag", label="tag", mix="3", out=tmp_path / "head")
    (answer,) = head.predict([["xin", "chào"]])
    assert answer["spans"] == [] or answer["spans"][0]["text"] in ("xin", "chào", "xin chào")
    with pytest.raises(RequestError, match="words of raw text are found by the offsets"):
        head.predict(["xin chào"])


def test_a_recipe_that_makes_texts_lower_case(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = make_folder(folders["byt5"], tmp_path / "st", settings={"do_lower_case": True})
    upper = lw.load_encoder(folder, device="cpu").encode(["ABC É"], level="token").index["token_id"]
    lower = lw.load_encoder(folders["byt5"], device="cpu").encode(["abc é"], level="token").index["token_id"]
    assert upper.to_pylist() == lower.to_pylist()


def test_encoders_of_several_threads(name: str, folders: dict[str, Path]) -> None:
    encoder = lw.load_encoder(folders[name], device="cpu")
    expected = [encoder.encode([text], level="token").stack() for text in TEXTS[name]]
    with ThreadPoolExecutor(4) as pool:
        states = list(pool.map(lambda text: encoder.encode([text], level="token").stack(), TEXTS[name] * 4))
    for got, wanted in zip(states, expected * 4, strict=True):
        assert np.array_equal(got, wanted)


# What can't be used is refused with the reason.


def test_canine_is_refused_because_of_its_middle_layers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers.CanineTokenizer().save_pretrained(tmp_path / "canine")
    settings = {
        **SMALL,
        "max_position_embeddings": 256,
        "downsampling_rate": 4,
        "local_transformer_stride": 16,
    }
    transformers.CanineModel(transformers.CanineConfig(**settings)).save_pretrained(tmp_path / "canine")
    for _ in range(2):
        with pytest.raises(
            ModelError, match="of the family canine: its middle layers are four times shorter than its input"
        ):
            lw.load_encoder(tmp_path / "canine", device="cpu")
        (tmp_path / "canine/tokenizer_config.json").unlink(
            missing_ok=True
        )  # as google/canine-s was published
    capsys.readouterr()
    assert main(["show", "a", "--model", str(tmp_path / "canine")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_japanese_tokenizer_that_needs_a_package_names_it(folders: dict[str, Path], tmp_path: Path) -> None:
    if importlib.util.find_spec("fugashi") is not None:
        pytest.skip("fugashi is installed")
    folder = tmp_path / "mecab"
    shutil.copytree(folders["japanese"], folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "word_tokenizer_type": "mecab"}))
    with pytest.raises(ModelError, match=r"need to install fugashi .*\(pip install fugashi\)") as caught:
        lw.load_encoder(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_vocabulary_is_refused_as_before(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(folders["japanese"], folder)
    (folder / "vocab.txt").unlink()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        lw.load_encoder(folder, device="cpu")


def test_words_are_offered_where_they_can_be_given(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`extract` has `--words`, and `show` has not."""
    source, model = tmp_path / "texts.txt", ["--level", "word", "--model", str(folders["byt5"])]
    source.write_text("a\n")
    assert main(["show", "a", *model]) == 2
    assert "gives none; use --level token or text" in capsys.readouterr().err
    assert main(["extract", str(source), "--out", str(tmp_path / "out"), *model]) == 2
    assert "use pre-split words (--words), or --level token or text" in capsys.readouterr().err
