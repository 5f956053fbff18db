"""Texts with tokens of their neighbours in a document: by brute force, one plain forward per text, its rows cut out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from causal_models import make_causal
from layerwise.encode.context import documents
from layerwise.encode.load import load_encoder
from layerwise.errors import RequestError
from layerwise.example import Example
from layerwise.word_split import split_words
from reference import Floats, Plain, worst
from selection import few_of

DOCUMENTS = {
    "weather": [
        "天气很好，我们去公园。",
        "a",
        "",
        "The first layers know where a word stands.",
        "Don't stop!",
    ],
    "alone": ["Every layer of every encoder, as data."],
    "layers": [
        "The first layers know where a word stands; the last know more than it says.",
        "Sentences of several lengths make batches.",
        "The last know more.",
    ],
}
FAMILIES = ["bert", "roberta", "xlm-roberta", "mobilebert", "deberta-v2", "t5"]
POOLS = ["mean", "max", "sum", "first", "last", "first_last", "cls", "eos"]
LIMIT = 77


def examples_of(documents: dict[str, list[str]]) -> list[Example]:
    """The texts of documents, one document after the other."""
    return [Example(text, columns={"document": name}) for name, texts in documents.items() for text in texts]


def body(plain: Plain, text: str) -> tuple[list[int], list[int], list[int]]:
    """The numbers of the special tokens before a text, of its own tokens, and of the special tokens after it."""
    ids = plain.raw(text)["input_ids"]
    framed = plain.raw("a")["input_ids"]
    mask = plain.tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    before = mask.index(0) if 0 in mask else 0
    after = len(framed) - before - mask.count(0)
    return ids[:before], ids[before : len(ids) - after], ids[len(ids) - after :]


def pooled(pool: str, own: Floats) -> Floats:
    """The pool of the tokens of a word: (layers, tokens, width) to (layers, width)."""
    pools: dict[str, Floats] = {
        "mean": own.mean(axis=1),
        "max": own.max(axis=1),
        "sum": own.sum(axis=1),
        "first": own[:, 0],
        "last": own[:, -1],
        "first_last": (own[:, 0] + own[:, -1]) / 2,
    }
    return pools[pool]


def shares(before: int, after: int, room: int) -> tuple[int, int]:
    """How many tokens of neighbours there is room for: one by one, before and after in turn, nearest first."""
    taken = [0, 0]
    while room and taken != [before, after]:
        side = 0 if taken[0] < before and (taken[0] <= taken[1] or taken[1] == after) else 1
        taken[side] += 1
        room -= 1
    return taken[0], taken[1]


def brute_force(
    plain: Plain, documents: dict[str, list[str]], context: tuple[int, int], limit: int = LIMIT
) -> list[tuple[Floats, int, int, int]]:
    """The tokens of each text between its neighbours: (layers, tokens, width), its own first, and how much context."""
    found = []
    for texts in documents.values():
        parts = [body(plain, text) for text in texts]
        for number, (head, own, tail) in enumerate(parts):
            earlier = [token for _, tokens, _ in parts[:number] for token in tokens]
            later = [token for _, tokens, _ in parts[number + 1 :] for token in tokens]
            room = max(limit - len(head) - len(own) - len(tail), 0)
            before, after = shares(min(context[0], len(earlier)), min(context[1], len(later)), room)
            ids = [*head, *earlier[len(earlier) - before :], *own, *later[:after], *tail]
            states = plain.states(ids)
            begin = len(head) + before
            kept = [
                *range(len(head)),
                *range(begin, begin + len(own)),
                *range(begin + len(own) + after, len(ids)),
            ]
            found.append((states[:, kept], len(head), before, after))
    return found


@pytest.mark.parametrize("context", [(7, 0), (0, 5), (9, 4), (60, 15), (75, 0)])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_are_those_of_one_forward_over_text_and_neighbours(
    family: str,
    context: tuple[int, int],
    encoder_of: Callable[[str], Any],
    model_folder: Callable[[str], Path],
) -> None:
    encoder, plain = encoder_of(family), Plain(model_folder(family))
    request = encoder.with_context(encoder.request(level="token", max_length=LIMIT), context)
    states = encoder.states(examples_of(DOCUMENTS), request)
    expected = brute_force(plain, DOCUMENTS, context)
    for doc, (rows, _, before, after) in enumerate(expected):
        own = states.where(doc=doc)
        assert worst(states.stack()[:, own], rows) <= 1e-5, f"text {doc}"
        counts = [states.texts[name][doc].as_py() for name in ("tokens", "context_before", "context_after")]
        assert counts == [rows.shape[1], before, after]
    assert any(before or after for _, _, before, after in expected)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_pools_of_texts_hold_no_token_of_the_neighbours(
    family: str,
    pool: str,
    special: bool,
    encoder_of: Callable[[str], Any],
    model_folder: Callable[[str], Path],
) -> None:
    if not special and pool not in ("mean", "max", "sum"):
        pytest.skip("special tokens are in no other pool")
    encoder, plain = encoder_of(family), Plain(model_folder(family))
    request = encoder.request(pool=pool, special_tokens=special, max_length=LIMIT)
    states = encoder.states(examples_of(DOCUMENTS), encoder.with_context(request, "12,6"))
    for doc, (rows, head, _, _) in enumerate(brute_force(plain, DOCUMENTS, (12, 6))):
        own = rows[:, head:-1] if rows.shape[1] > head + 1 else rows
        all_tokens = rows if special else own
        wanted = {
            "mean": all_tokens.mean(axis=1),
            "max": all_tokens.max(axis=1),
            "sum": all_tokens.sum(axis=1),
            "first": own[:, 0],
            "last": own[:, -1],
            "first_last": (own[:, 0] + own[:, -1]) / 2,
            "cls": rows[:, 0],
            "eos": rows[:, -1],
        }[pool]
        assert worst(states.stack()[:, [doc]], wanted[:, None]) <= 1e-5, f"text {doc}"


@pytest.mark.parametrize("pre_split", [True, False])
@pytest.mark.parametrize("pool", ["mean", "max", "sum", "first", "last", "first_last"])
def test_words_hold_no_token_of_the_neighbours(
    pool: str, pre_split: bool, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder, plain = encoder_of("bert"), Plain(model_folder("bert"))
    chosen = {name: [text for text in texts if text.split()] for name, texts in DOCUMENTS.items()}
    examples = examples_of(chosen)
    if pre_split:
        words = [tuple(text.split()) for texts in chosen.values() for text in texts]
        examples = [
            Example(" ".join(own), own, columns=example.columns)
            for own, example in zip(words, examples, strict=True)
        ]
    request = encoder.request(level="word", pool=pool, max_length=LIMIT)
    states = encoder.states(examples, encoder.with_context(request, (20, 9)))
    for doc, (rows, head, _, _) in enumerate(brute_force(plain, chosen, (20, 9))):
        # WordPiece splits at blanks, so the tokens of words and of the text are the same.
        text = examples[doc].text
        places = plain.tokenizer(text, return_offsets_mapping=True)["offset_mapping"][head:-1]
        spans = split_words(text)
        if pre_split:
            ends = np.cumsum([len(word) + 1 for word in text.split()]) - 1
            spans = [(int(end) - len(word), int(end)) for end, word in zip(ends, text.split(), strict=True)]
        vectors = [
            pooled(pool, rows[:, [head + n for n, (s, e) in enumerate(places) if s < end and e > start]])
            for start, end in spans
        ]
        own = states.where(doc=doc)
        assert worst(states.stack()[:, own], np.stack(vectors, axis=1)) <= 1e-5, f"text {doc}"


def test_spans_hold_no_token_of_the_neighbours(
    encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder, plain = encoder_of("bert"), Plain(model_folder("bert"))
    chosen = {"d": DOCUMENTS["layers"]}
    request = encoder.with_context(encoder.request(level="span"), "11,3")
    states = encoder.states(examples_of(chosen), request, spans=[[(4, 9)], [(0, 9)], [(4, 8), (0, 3)]])
    expected = brute_force(plain, chosen, (11, 3))
    first = plain.tokenizer(chosen["d"][0], return_offsets_mapping=True)["offset_mapping"]
    inside = [n for n, (start, end) in enumerate(first) if start < 9 and end > 4 and end > start]
    assert worst(states.stack()[:, [0]], expected[0][0][:, inside].mean(axis=1)[:, None]) <= 1e-5
    assert states.index["doc"].to_pylist() == [0, 1, 2, 2]


@pytest.mark.parametrize("limit", [12, 16])
@pytest.mark.parametrize("long", ["window", "truncate"])
def test_the_text_comes_first(
    long: str, limit: int, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder, plain = encoder_of("bert"), Plain(model_folder("bert"))
    request = encoder.request(level="token", long=long, max_length=limit)
    alone = encoder.states(examples_of(DOCUMENTS), request)
    states = encoder.states(examples_of(DOCUMENTS), encoder.with_context(request, (6, 4)))
    expected = brute_force(plain, DOCUMENTS, (6, 4), limit)
    cut = 0
    for doc, (rows, _, before, after) in enumerate(expected):
        own = states.where(doc=doc)
        counts = [states.texts[name][doc].as_py() for name in ("context_before", "context_after")]
        assert counts == [before, after]
        if rows.shape[1] > limit:
            assert counts == [0, 0]
            # A long text has the rows that it has alone.
            np.testing.assert_allclose(states.stack()[:, own], alone.stack()[:, own], atol=1e-6)
            cut += 1
        else:
            assert worst(states.stack()[:, own], rows) <= 1e-5, f"text {doc}"
    assert cut, "no text is longer than the window"
    strict = encoder.with_context(encoder.request(level="token", long="error", max_length=8), (2, 2))
    with pytest.raises(RequestError, match=r"text 0 has \d+ tokens and the limit is 8"):
        encoder.states(examples_of(DOCUMENTS), strict)


def test_a_shard_counts_its_context(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    request = encoder.with_context(encoder.request(max_length=16), (6, 4))
    shard = encoder.plan(examples_of(DOCUMENTS), request)
    sides = [shard.texts[name].to_pylist() for name in ("context_before", "context_after")]
    assert shard.counts["context_tokens"] == sum(map(sum, sides))
    # With a window that holds everything, the texts that had less are those that were counted.
    roomy = encoder.plan(examples_of(DOCUMENTS), encoder.with_context(encoder.request(), (6, 4)))
    wanted = [roomy.texts[name].to_pylist() for name in ("context_before", "context_after")]
    less = [
        pair != other for pair, other in zip(zip(*sides, strict=True), zip(*wanted, strict=True), strict=True)
    ]
    assert shard.counts["cut_contexts"] == sum(less) > 0
    assert roomy.counts["cut_contexts"] == 0


def test_the_prompt_stands_before_the_context(
    encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder, plain = encoder_of("bert"), Plain(model_folder("bert"))
    texts = ["The last know more.", "Every layer."]
    request = encoder.with_context(encoder.request(level="token", prompt="query: "), (3, 2))
    states = encoder.states(examples_of({"d": texts}), request)
    count = len(plain.tokenizer("query: ", add_special_tokens=False)["input_ids"])
    parts = [plain.raw("query: " + text)["input_ids"] for text in texts]
    first, second = (part[1 + count : -1] for part in parts)
    head = parts[0][: 1 + count]
    ids = [*head, *first[-3:], *second, parts[0][-1]]
    kept = [0, *range(len(head) + 3, len(ids))]
    assert worst(states.stack()[:, states.where(doc=1)], plain.states(ids)[:, kept]) <= 1e-5


def test_only_some_texts_are_encoded(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    request = encoder.with_context(encoder.request(), (12, 6))
    examples = examples_of(DOCUMENTS)
    whole, some = encoder.states(examples, request), encoder.states(examples, request, only=[1, 4, 7])
    assert (
        some.texts["context_before"].to_pylist() == whole.texts["context_before"].take([1, 4, 7]).to_pylist()
    )
    np.testing.assert_allclose(some.stack(), whole.stack()[:, [1, 4, 7]], atol=1e-6)


def test_texts_without_a_document_are_alone() -> None:
    names = ["x", "x", None, None, "", " ", "y", "y", float("nan"), 1, 1]
    examples = [Example("a", columns={"document": name}) for name in names]
    assert [list(numbers) for numbers in documents(examples)] == [
        [0, 1],
        [2],
        [3],
        [4],
        [5],
        [6, 7],
        [8],
        [9, 10],
    ]
    assert documents([]) == []


@pytest.mark.parametrize("level", ["token", "word", "text"])
@pytest.mark.parametrize("family", few_of(["gpt2", "qwen3", "mistral", "bloom", "mamba"], "gpt2", "mistral"))
@pytest.mark.parametrize("begins", [True, False])
def test_one_pass_over_a_document_of_a_causal_model(
    begins: bool, family: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(make_causal(family, tmp_path / "model", begins=begins), device="cpu")
    chosen = {name: [text for text in texts if text] for name, texts in DOCUMENTS.items()}
    chosen["weather"] = chosen["weather"][1:]
    request = encoder.request(level=level, pool="eos" if level == "text" else None)
    examples = examples_of(chosen)
    whole = encoder.with_context(request, encoder.max_length - 2)
    counted: list[int] = []
    states = encoder.states(examples, whole, on_batch=lambda tokens, windows: counted.append(windows))
    assert sum(counted) == 3, "a document took more than one pass"
    for doc in range(len(examples)):
        alone = encoder.states(examples, whole, only=[doc])
        assert states.texts["context_before"][doc] == alone.texts["context_before"][0]
        assert worst(states.stack()[:, states.where(doc=doc)], alone.stack().astype(np.float64)) <= 1e-5
    if level == "token":
        plain = Plain(tmp_path / "model")
        expected = brute_force(plain, chosen, (encoder.max_length - 2, 0), encoder.max_length)
        for doc, (rows, *_) in enumerate(expected):
            assert worst(states.stack()[:, states.where(doc=doc)], rows) <= 1e-5


@pytest.mark.parametrize(
    ("context", "windows"), [("70", 2), ("70,1", 4), ("3", 4)], ids=["reaches", "after", "short"]
)
def test_documents_take_one_pass_only_where_it_is_exact(
    context: str, windows: int, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    examples = examples_of({"d": ["The first layers", "know where", "a word stands"], "e": ["alone"]})
    causal = load_encoder(make_causal("gpt2", tmp_path / "model", begins=True), device="cpu")
    request = causal.with_context(causal.request(level="token"), context)
    assert causal.plan(examples, request).plan.windows == windows
    both_ways = encoder_of("bert")
    request = both_ways.with_context(both_ways.request(level="token"), context)
    assert both_ways.plan(examples, request).plan.windows == 4


def test_a_document_that_is_longer_than_the_window_takes_a_pass_per_text(tmp_path: Path) -> None:
    encoder = load_encoder(make_causal("gpt2", tmp_path / "model"), device="cpu")
    texts = ["The first layers know where a word stands."] * 6
    request = encoder.with_context(encoder.request(level="token"), 80)
    plan = encoder.plan(examples_of({"d": texts}), request)
    assert plan.plan.windows == 6
    assert plan.counts["cut_contexts"] > 0
    states = encoder.states(examples_of({"d": texts}), request)
    expected = brute_force(Plain(tmp_path / "model"), {"d": texts}, (80, 0), encoder.max_length)
    for doc, (rows, *_) in enumerate(expected):
        assert worst(states.stack()[:, states.where(doc=doc)], rows) <= 1e-5


def test_several_requests_share_one_forward(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    causal = load_encoder(make_causal("gpt2", tmp_path / "model", begins=True), device="cpu")
    examples = examples_of({"d": ["The first layers", "know where", "a word stands"]})
    for encoder in (encoder_of("bert"), causal):
        kinds: Sequence[Any] = [{"level": "token"}, {"pool": "mean"}, {"pool": "eos"}]
        requests = [encoder.with_context(encoder.request(**kind), 40) for kind in kinds]
        together = encoder.states_of_requests(examples, requests)
        for request, states in zip(requests, together, strict=True):
            alone = encoder.states(examples, request)
            np.testing.assert_allclose(states.stack(), alone.stack(), atol=1e-5)
        with pytest.raises(RequestError, match="different windows, batches, prompts or contexts"):
            encoder.states_of_requests(examples, [requests[0], encoder.request()])


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("79", r"context='79' is 79 tokens, and a window has room for 78 besides its special tokens"),
        ("70,9", "context='70,9' is 79 tokens"),
        ("a", "context='a' isn't BEFORE or BEFORE,AFTER; give one or two whole numbers"),
        ("1,2,3", "isn't BEFORE or BEFORE,AFTER"),
        ("-1", "isn't BEFORE or BEFORE,AFTER"),
        ((1.5, 2), "context='1.5,2' isn't BEFORE or BEFORE,AFTER"),
        (True, "isn't BEFORE or BEFORE,AFTER"),
    ],
)
def test_a_context_that_cannot_be_is_refused(
    context: Any, message: str, encoder_of: Callable[[str], Any]
) -> None:
    encoder = encoder_of("bert")
    with pytest.raises(RequestError, match=message):
        encoder.with_context(encoder.request(), context)


@pytest.mark.parametrize("context", [0, "0", "0,0", (0, 0), [0], None])
def test_no_context(context: Any, encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    assert encoder.with_context(encoder.request(), context) == encoder.request()
