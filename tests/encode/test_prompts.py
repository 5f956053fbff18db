"""Prompts: what is put before each text, against plain transformers and sentence-transformers itself."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import processors

import layerwise as lw
from conftest import SHARED
from layerwise.errors import RequestError
from layerwise.word_split import split_words
from reference import Floats, Plain, worst
from st_folders import make_folder, sentence_transformer, write

TEXTS = [
    "Every LAYER of every encoder, as data.",
    "a",
    "The first layers know where a Word stands; the last know more than it says, and more than that.",
    "天气很好，我们去公园。",
    "Don't STOP: 3.14 is not 22/7!",
    "",
]
PROMPTS = ["query: ", "Instruct: know the layers\nQuery:", "e"]
FAMILIES = ["bert", "roberta", "xlm-roberta", "t5"]
LONG = "The first layers know where a word stands; the last know more than it says. " * 4
CONFIG = "config_sentence_transformers.json"


def folder_of(model: Path, folder: Path, *, mode: str = "mean", **pooling: Any) -> Path:
    return make_folder(model, folder, pooling={"pooling_mode": mode, **pooling})


def offsets(plain: Plain, prompt: str, text: str) -> tuple[list[int], list[tuple[int, int]], list[bool]]:
    """Token numbers of prompt and text as one string, offsets in it, and which tokens are special."""
    encoding = plain.tokenizer(
        prompt + text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
    )
    return (
        encoding["input_ids"],
        encoding["offset_mapping"],
        [bool(v) for v in encoding["special_tokens_mask"]],
    )


def split(plain: Plain, prompt: str, text: str) -> tuple[list[int], int, int, int]:
    """Token numbers, and how many tokens are special ones before, the prompt's, and special ones after."""
    ids, places, special = offsets(plain, prompt, text)
    inside = [n for n, lone in enumerate(special) if not lone]
    before, after = (inside[0], len(ids) - 1 - inside[-1]) if inside else (len(ids) - 1, 1)
    count = 0
    for number in inside:
        if places[number][1] > len(prompt) or places[number][0] >= len(prompt):
            break
        count += 1
    return ids, before, count, after


@functools.cache
def _plain(folder: Path) -> Plain:
    return Plain(folder)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_are_those_of_prompt_and_text_as_one_string(
    family: str, prompt: str, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder, plain = encoder_of(family), _plain(model_folder(family))
    states = encoder.encode(TEXTS, level="token", prompt=prompt, max_length=encoder.position_limit)
    for doc, text in enumerate(TEXTS):
        ids, before, count, after = split(plain, prompt, text)
        is_row = np.ones(len(ids), dtype=bool)
        is_row[before : before + count] = False
        rows = states.where(doc=doc)
        index = states.index.take(rows)
        assert index["token_id"].to_pylist() == [
            number for number, keep in zip(ids, is_row, strict=True) if keep
        ]
        assert worst(states.stack()[:, rows], plain.states(ids)[:, is_row]) <= 1e-5
        special = index["special"].to_pylist()
        assert special == [True] * before + [False] * (len(ids) - before - count - after) + [True] * after
        _, places, _ = offsets(plain, prompt, text)
        wanted = [
            (0, 0) if lone else (max(start - len(prompt), 0), end - len(prompt))
            for (start, end), lone in zip([places[n] for n in np.flatnonzero(is_row)], special, strict=True)
        ]
        got = list(zip(index["start"].to_pylist(), index["end"].to_pylist(), strict=True))
        # A token for a space that the text doesn't have loses its offsets, with and without a prompt.
        assert all(pair == want or pair[0] == pair[1] for pair, want in zip(got, wanted, strict=True))
        assert index["text"].to_pylist() == [text[start:end] for start, end in got]
        assert states.texts["tokens"][doc].as_py() == len(ids)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_words_and_spans_hold_no_token_of_the_prompt(
    family: str, prompt: str, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder, plain = encoder_of(family), _plain(model_folder(family))
    texts = [text for text in TEXTS if text]
    borders = [split_words(text) for text in texts]
    words = encoder.encode(texts, level="word", prompt=prompt, max_length=encoder.position_limit)
    spans = encoder.encode(
        texts,
        level="span",
        spans=[[(0, len(text))] for text in texts],
        prompt=prompt,
        max_length=encoder.position_limit,
    )
    for doc, text in enumerate(texts):
        ids, before, count, after = split(plain, prompt, text)
        _, places, _ = offsets(plain, prompt, text)
        states = plain.states(ids)
        body = range(before + count, len(ids) - after)
        rows = words.where(doc=doc)
        index = words.index.take(rows)
        assert list(zip(index["start"].to_pylist(), index["end"].to_pylist(), strict=True)) == borders[doc]
        expected = []
        for start, end in borders[doc]:
            members = [
                n for n in body if places[n][0] - len(prompt) < end and places[n][1] - len(prompt) > start
            ]
            expected.append(states[:, without_blanks(plain, prompt, text, members)].mean(axis=1))
        assert worst(words.stack()[:, rows], np.stack(expected, axis=1)) <= 1e-5
        whole = states[:, without_blanks(plain, prompt, text, list(body))].mean(axis=1, keepdims=True)
        assert worst(spans.stack()[:, spans.where(doc=doc)], whole) <= 1e-5


def without_blanks(plain: Plain, prompt: str, text: str, members: list[int]) -> list[int]:
    """Leave out each token for a space that the text doesn't have, where others have its characters."""
    ids, places, _ = offsets(plain, prompt, text)
    names = plain.tokenizer.convert_ids_to_tokens([ids[n] for n in members])
    string = prompt + text
    kept = [
        n
        for n, name in zip(members, names, strict=True)
        if name != "▁" or " " in string[places[n][0] : places[n][1]]
    ]
    return kept or members


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_before_words_the_prompt_is_one_more_word(
    family: str, prompt: str, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder, plain = encoder_of(family), _plain(model_folder(family))
    texts = [text.split() for text in TEXTS[:3]]
    tokens = encoder.encode(texts, level="token", prompt=prompt, max_length=encoder.position_limit)
    words = encoder.encode(texts, level="word", prompt=prompt, max_length=encoder.position_limit)
    for doc, text in enumerate(texts):
        encoding = plain.split([prompt.rstrip(" "), *text])
        numbers = encoding.word_ids()
        keep = [n for n, word in enumerate(numbers) if word != 0]
        states = plain.states(encoding["input_ids"])
        rows = tokens.where(doc=doc)
        index = tokens.index.take(rows)
        assert index["token_id"].to_pylist() == [encoding["input_ids"][n] for n in keep]
        names = plain.tokenizer.convert_ids_to_tokens(encoding["input_ids"])
        blank = [name in ("▁", "Ġ") for name in names]
        of_token = [None if numbers[n] is None or blank[n] else numbers[n] - 1 for n in keep]
        assert index["word"].to_pylist() == of_token
        assert worst(tokens.stack()[:, rows], states[:, keep]) <= 1e-5
        joined = " ".join(text)
        assert [
            joined[a:b] for a, b in zip(index["start"].to_pylist(), index["end"].to_pylist(), strict=True)
        ] == (index["text"].to_pylist())
        of_words = [
            states[:, [n for n, number in enumerate(numbers) if number == word and not blank[n]]].mean(axis=1)
            for word in range(1, len(text) + 1)
        ]
        assert worst(words.stack()[:, words.where(doc=doc)], np.stack(of_words, axis=1)) <= 1e-5
        assert words.index.take(words.where(doc=doc))["text"].to_pylist() == text


def pooled(
    states: Floats, pool: str, special: bool, before: int, count: int, after: int, skip: int | None
) -> Floats:
    """Pool by hand: (layers, width) of (layers, tokens, width)."""
    end = states.shape[1] if special or pool in ("cls", "eos") else states.shape[1] - after
    if pool in ("first", "last", "first_last"):
        body = states[:, before + count : states.shape[1] - after]
        return {"first": body[:, 0], "last": body[:, -1], "first_last": (body[:, 0] + body[:, -1]) / 2}[pool]
    if pool in ("cls", "eos"):
        return states[:, 0 if pool == "cls" else -1]
    begin = before + skip if skip is not None else 0 if special else before
    chosen = states[:, begin:end]
    by_pool: dict[str, Floats] = {
        "mean": chosen.mean(axis=1), "max": chosen.max(axis=1), "sum": chosen.sum(axis=1)
    }  # fmt: skip
    return by_pool[pool]


@pytest.mark.parametrize("included", [True, False])
@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("pool", ["mean", "max", "sum", "first", "last", "first_last", "cls", "eos"])
def test_pools_of_texts(
    pool: str, special: bool, included: bool, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    if not special and pool not in ("mean", "max", "sum"):
        pytest.skip("there is no such option for this pool")
    folder = folder_of(model_folder("bert"), tmp_path / "st", include_prompt=included)
    encoder, plain = lw.load_encoder(folder, device="cpu"), _plain(model_folder("bert"))
    texts, prompt = [text for text in TEXTS if text], "query: "
    states = encoder.encode(texts, pool=pool, special_tokens=special, prompt=prompt)
    alone = len(plain.raw(prompt)["input_ids"]) - 2
    for doc, text in enumerate(texts):
        ids, before, count, after = split(plain, prompt, text)
        skip = None if included else alone
        expected = pooled(plain.states(ids), pool, special, before, count, after, skip)
        assert worst(states.stack()[:, doc : doc + 1], expected[:, None]) <= (1e-4 if pool == "sum" else 1e-5)


@pytest.mark.parametrize("included", [True, False])
@pytest.mark.parametrize("mode", ["mean", "max", "lasttoken"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_gives_what_sentence_transformers_gives(
    family: str, mode: str, included: bool, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of(model_folder(family), tmp_path / "st", mode=mode, include_prompt=included)
    encoder = lw.load_encoder(folder, device="cpu")
    reference = sentence_transformer(folder)
    for prompt in (*PROMPTS, ""):
        got = encoder.encode(TEXTS, -1, prompt=prompt).layer(-1)
        assert np.abs(got - reference.encode(TEXTS, batch_size=2, prompt=prompt)).max() <= 1e-5, prompt
    assert encoder.checkpoint.not_applied == ()


@pytest.mark.parametrize("included", [True, False])
@pytest.mark.parametrize("default", [None, "query", "none"])
def test_names_and_the_default_are_those_of_sentence_transformers(
    default: str | None, included: bool, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st", include_prompt=included)
    prompts = {"query": "query: ", "passage": "passage: ", "none": "", "null": None}
    write(folder / CONFIG, {"prompts": prompts, "default_prompt_name": default})
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.prompts == prompts | {"null": ""}
    assert encoder.default_prompt == default
    reference = sentence_transformer(folder)
    ways: list[dict[str, Any]] = [{}, {"prompt": ""}, {"prompt": "else: "}]
    for options in (*ways, *({"prompt_name": name} for name in prompts)):
        got = encoder.encode(TEXTS, -1, **options).layer(-1)
        assert np.abs(got - reference.encode(TEXTS, batch_size=2, **options)).max() <= 1e-5, options
    request = encoder.request()
    assert request.prompt == ("query: " if default == "query" else None)
    assert request.include_prompt == (included if default == "query" else None)


@pytest.mark.parametrize(
    ("config", "note"),
    [
        (
            {"prompts": {"a": "a: ", "b": ""}, "default_prompt_name": "a"},
            "has the default prompt 'a' ('a: '), which is put before each text unless prompt or prompt_name gives another",
        ),
        (
            {"prompts": {"a": "a: ", "b\n": "b:\n", "c": ""}},
            "has the prompts 'a' ('a: '), 'b\\n' ('b:\\n'), and no default: none is put before texts unless prompt_name "
            "names one",
        ),
        ({"prompts": {"a": "a: ", "b": ""}, "default_prompt_name": "b"}, None),
        ({"prompts": {"query": "", "document": ""}, "default_prompt_name": None}, None),
        ({}, None),
    ],
)
def test_prompts_are_told_once(
    config: dict[str, Any], note: str | None, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st")
    write(folder / CONFIG, config)
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.notes == (() if note is None else (f"model {str(folder)!r} {note}",))


def test_a_default_that_does_not_exist_is_not_applied(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st")  # sentence-transformers refuses to load it
    write(folder / CONFIG, {"prompts": {"a": "a: "}, "default_prompt_name": "lost"})
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.checkpoint.not_applied == ("default_prompt_name 'lost', which is none of its prompts",)
    assert encoder.request().prompt is None


def test_cls_without_the_prompt_is_told(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """sentence-transformers then takes the first token of the text."""
    folder = folder_of(model_folder("bert"), tmp_path / "st", mode="cls", include_prompt=False)
    assert lw.load_encoder(folder, device="cpu").checkpoint.not_applied == (
        "include_prompt false for pool cls",
    )


def bare_folder(model: Path, folder: Path, **settings: Any) -> Path:
    """A BERT whose tokenizer adds no special tokens, as those of many causal models."""
    make_folder(model, folder, pooling={"pooling_mode": "lasttoken"})
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    backend.save(str(folder / "tokenizer.json"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write(folder / "tokenizer_config.json", config | settings)
    return folder


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("included", [True, False])
@pytest.mark.parametrize("mode", ["mean", "max", "lasttoken"])
def test_no_special_tokens_and_padding_on_either_side(
    mode: str, included: bool, side: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = bare_folder(model_folder("bert"), tmp_path / "st", padding_side=side)
    write(folder / "1_Pooling/config.json", {
        "word_embedding_dimension": 32, "pooling_mode": mode, "include_prompt": included
    })  # fmt: skip
    encoder = lw.load_encoder(folder, device="cpu")
    texts = [text for text in TEXTS if text]
    plain, reference = Plain(folder), sentence_transformer(folder)
    for prompt in ("query: ", ""):
        # In right-padded batches BERT's positions are those of one text; in left-padded ones sentence-transformers differs.
        size = 2 if side == "right" else 1
        expected = reference.encode(texts, batch_size=size, prompt=prompt)
        got = encoder.encode(texts, -1, prompt=prompt).layer(-1)
        assert np.abs(got - expected).max() <= 1e-5
        if mode == "lasttoken":
            ids = [plain.tokenizer(prompt + text)["input_ids"] for text in texts]
            by_hand = np.stack([plain.states(numbers)[-1, -1] for numbers in ids])
            assert np.abs(got - by_hand).max() <= 1e-5
    with pytest.raises(RequestError, match=r"pool 'cls' needs a classification token .* use mean or eos"):
        encoder.encode(texts, pool="cls")


@pytest.mark.parametrize("family", ["bert", "roberta", "t5"])
@pytest.mark.parametrize("pool", ["token", "mean", "max", "eos"])
def test_each_window_of_a_long_text_begins_with_the_prompt(
    family: str, pool: str, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    from test_windows import _stitched

    encoder, plain = encoder_of(family), _plain(model_folder(family))
    prompt, length, overlap = "query: ", 24, 5
    ids, before, count, after = split(plain, prompt, LONG)
    lead, body = ids[: before + count], ids[before + count : len(ids) - after]
    capacity = length - len(lead) - after
    expected = _stitched(plain, lead, body, ids[len(ids) - after :], capacity, overlap)
    if pool == "token":
        expected = np.delete(expected, range(before, before + count), axis=1)
        states = encoder.encode([LONG], level="token", prompt=prompt, max_length=length, overlap=overlap)
    else:
        expected = {"mean": expected.mean(axis=1), "max": expected.max(axis=1), "eos": expected[:, -1]}[pool][
            :, None
        ]
        states = encoder.encode([LONG], pool=pool, prompt=prompt, max_length=length, overlap=overlap)
    assert worst(states.stack(), expected) <= 1e-5
    assert states.texts["windows"][0].as_py() > 3
    longest = max(len(ids) for ids in encoder.plan(
        lw.encode.encoder.examples_of_texts([LONG]), encoder.request(prompt=prompt, max_length=length, overlap=overlap)
    ).plan.sequences.ids)  # fmt: skip
    assert longest == length


@pytest.mark.parametrize("side", ["left", "right"])
def test_truncating_keeps_the_prompt(side: str, model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write(folder / "tokenizer_config.json", config | {"truncation_side": side})
    encoder, plain = lw.load_encoder(folder, device="cpu"), _plain(model_folder("bert"))
    ids, before, count, _ = split(plain, "query: ", LONG)
    lead, body = ids[: before + count], ids[before + count : -1]
    room = 20 - len(lead) - 1
    kept = [*lead, *(body[-room:] if side == "left" else body[:room]), ids[-1]]
    states = encoder.encode([LONG], prompt="query: ", max_length=20, long="truncate")
    assert worst(states.stack(), plain.states(kept).mean(axis=1, keepdims=True)) <= 1e-5
    assert states.texts["truncated"].to_pylist() == [len(ids) - 20]
    with pytest.raises(RequestError, match=f"has {len(ids)} tokens and the limit is 20"):
        encoder.encode([LONG], prompt="query: ", max_length=20, long="error")


def test_attention_is_that_of_the_text_after_the_prompt(
    encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    from transformers import AutoModel

    plain = _plain(model_folder("bert"))
    model = AutoModel.from_pretrained(model_folder("bert"), attn_implementation="eager").eval()
    ids, before, count, _ = split(plain, "query: ", TEXTS[0])
    with torch.no_grad():
        maps = model(torch.tensor([ids]), output_attentions=True).attentions
    keep = np.delete(np.arange(len(ids)), range(before, before + count))
    expected = np.stack([block[0].numpy()[:, keep][:, :, keep] for block in maps])
    got = encoder_of("bert").attention(TEXTS[0], prompt="query: ")
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"prompt_name": "lost"},
            "prompt_name 'lost' is no prompt of model .*; choose one of 'query', 'passage'",
        ),
        (
            {"prompt": "a", "prompt_name": "query"},
            "prompt='a' and prompt_name='query' are both given; leave one",
        ),
        ({"prompt": 3}, "prompt is 3, no string; give one"),
        ({"prompt_name": ["query"]}, r"prompt_name is \['query'\], no string; give one"),
        (
            {"prompt": "a " * 90},
            "has 90 tokens, and 80 go through the model at once, 2 of them special, so no room is left .* to 77 tokens",
        ),
        ({"prompt": "a a a ", "max_length": 5}, "has 3 tokens, and 5 go .* shorten it to 2 tokens"),
        ({"prompt": "a a a ", "max_length": 9, "overlap": 4}, "windows hold 4 tokens; give 0 to 3"),
    ],
)
def test_prompts_that_are_refused(
    options: dict[str, Any], message: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of(model_folder("bert"), tmp_path / "st")
    write(folder / CONFIG, {"prompts": {"query": "query: ", "passage": "passage: "}})
    encoder = lw.load_encoder(folder, device="cpu")
    with pytest.raises(RequestError, match=message):
        encoder.encode(TEXTS, **options)
    with pytest.raises(
        RequestError, match="is no prompt of model .*; it has none; give the text itself in prompt"
    ):
        lw.load_encoder(model_folder("bert"), device="cpu").encode(TEXTS, prompt_name="query")


def test_the_largest_prompt_leaves_one_token(encoder_of: Callable[[str], Any]) -> None:
    states = encoder_of("bert").encode(["a word"], prompt="a a a ", max_length=6)
    assert states.texts["windows"].to_pylist() == [
        len(encoder_of("bert").encode(["a word"], level="token").index) - 2
    ]


def make_e5(folder: Path) -> Path:
    script = SHARED / "tools/e5_small.py"
    if not script.is_file():
        pytest.skip(f"{script} isn't here")
    made = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"{script} can't fetch the model: {made.stderr.strip()[-300:]}")
    return folder


@pytest.mark.slow
def test_e5_small_is_what_sentence_transformers_makes_of_it(tmp_path: Path) -> None:
    made_before = os.environ.get("LAYERWISE_TEST_E5")  # the folder of a model that is made already
    folder = Path(made_before) if made_before else make_e5(tmp_path / "e5")
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.prompts == {"query": "query: ", "passage": "passage: "}
    assert (encoder.default_pool, encoder.blocks, encoder.checkpoint.not_applied) == (
        "mean",
        12,
        ("Normalize",),
    )
    plain, reference = Plain(folder), sentence_transformer(folder)
    texts = [*TEXTS[:5], "Wie ist das Wetter heute?", "Тихо.", "naïve café", "مرحبا بالعالم"]
    for name in ("query", "passage"):
        vectors = encoder.encode(texts, -1, prompt_name=name).layer(-1)
        normed = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        assert np.abs(normed - reference.encode(texts, prompt_name=name)).max() <= 1e-5
        tokens = encoder.encode(texts, level="token", prompt_name=name)
        for doc, text in enumerate(texts):
            ids, before, count, _ = split(plain, f"{name}: ", text)
            expected = np.delete(plain.states(ids), range(before, before + count), axis=1)
            assert worst(tokens.stack()[:, tokens.where(doc=doc)], expected) <= 1e-5
    question, answer, other = (
        encoder.encode([text], -1, prompt_name=name).layer(-1)[0]
        for name, text in (
            ("query", "how much protein should a female eat"),
            ("passage", "As a guideline, the average requirement of protein for women is 46 grams per day."),
            ("passage", "Definition of summit for English learners: the highest point of a mountain."),
        )
    )
    cosine = [question @ x / np.linalg.norm(question) / np.linalg.norm(x) for x in (answer, other)]
    assert cosine[0] > cosine[1]
