"""Word alignment: every method against brute force, tokens and words, and links that the test planted."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from layerwise.errors import ModelError, RequestError
from layerwise.geometry.word_alignment import gold_score
from layerwise.geometry.word_alignment.advice import advise
from layerwise.geometry.word_alignment.argmax import argmax, directions
from layerwise.geometry.word_alignment.formats import line_format
from layerwise.geometry.word_alignment.itermax import itermax
from layerwise.geometry.word_alignment.match import match
from layerwise.geometry.word_alignment.methods import METHODS, chosen_methods
from layerwise.geometry.word_alignment.result import Alignment
from layerwise.geometry.word_alignment.run import Aligner, AlignPlan, chunks
from layerwise.geometry.word_alignment.sides import incidence, side_of, word_links
from layerwise.geometry.word_alignment.softmax import SHARE, THRESHOLD, softmax
from layerwise.read.gold_links import GoldLinks
from layerwise.read.parallel_texts import SentencePair
from layerwise.states import LayerStates

Array = np.ndarray[Any, Any]
SHAPES = [(1, 1), (1, 5), (2, 4), (3, 3), (4, 6), (7, 5), (0, 3)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def cosines(shape: tuple[int, int], layers: int = 6) -> Array:
    """Random cosines with ties in the last layer."""
    values = np.random.default_rng(sum(shape)).uniform(-1, 1, (layers, *shape)).astype(np.float32)
    values[-1] = np.round(values[-1], 1)
    return values


def nearest(row: Sequence[float]) -> int:
    return max(range(len(row)), key=lambda place: (row[place], -place))


def argmax_by_hand(matrix: Array) -> set[tuple[int, int]]:
    if not matrix.size:
        return set()
    forward = {(i, nearest(matrix[i].tolist())) for i in range(matrix.shape[0])}
    backward = {(nearest(matrix[:, j].tolist()), j) for j in range(matrix.shape[1])}
    return forward & backward


def itermax_by_hand(matrix: Array) -> set[tuple[int, int]]:
    """The two rounds of simalign 0.4, word by word."""
    links = argmax_by_hand(matrix)
    m, n = matrix.shape
    linked_a, linked_b = {i for i, _ in links}, {j for _, j in links}
    if min(m, n) <= 2 or len(linked_a) == m or len(linked_b) == n:
        return links
    again = np.zeros((m, n), np.float32)
    for i, j in itertools.product(range(m), range(n)):
        linked = (i in linked_a) + (j in linked_b)
        again[i, j] = (1 + matrix[i, j]) / 2 * np.float32([1, 0.9, 0][linked])
    more = {(i, j) for i, j in argmax_by_hand(again) if not (i in linked_a and j in linked_b)}
    return links | more


def match_by_hand(matrix: Array) -> float:
    """The largest sum of similarities over all matchings."""
    small, large = (matrix, matrix.T)[matrix.shape[0] > matrix.shape[1]].shape
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return max(
        sum(float(wide[i, j]) for i, j in enumerate(columns))
        for columns in itertools.permutations(range(large), small)
    )


def softmax_by_hand(matrix: Array) -> set[tuple[int, int]]:
    spread = float(np.std(matrix.astype(np.float64))) if matrix.size else 0.0
    scaled = matrix / (SHARE * spread) if spread > 0 else matrix.astype(np.float64)

    def share(row: Sequence[float], place: int) -> float:
        return 1 / sum(math.exp(min(value - row[place], 700)) for value in row)

    return {
        (i, j)
        for i, j in itertools.product(*map(range, matrix.shape))
        if share(scaled[i].tolist(), j) > THRESHOLD and share(scaled[:, j].tolist(), i) > THRESHOLD
    }


def links_of(mask: Array) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in np.argwhere(mask)}


@every_shape
@pytest.mark.parametrize(
    ("method", "by_hand"), [(argmax, argmax_by_hand), (itermax, itermax_by_hand), (softmax, softmax_by_hand)]
)
def test_links_are_those_of_brute_force(
    shape: tuple[int, int], method: Callable[[Array], Array], by_hand: Callable[[Array], set[tuple[int, int]]]
) -> None:
    values = cosines(shape)
    for matrix, links in zip(values, method(values), strict=True):
        assert links_of(links) == by_hand(matrix)


@every_shape
def test_a_match_is_the_best_of_all_matchings(shape: tuple[int, int]) -> None:
    values = cosines(shape)
    for matrix, links in zip(values, match(values), strict=True):
        assert links.sum() == min(shape)
        assert links.sum(axis=0).max(initial=0) <= 1
        assert links.sum(axis=1).max(initial=0) <= 1
        # Sums of a few float32 numbers of size 1.
        assert float(matrix[links].sum()) == pytest.approx(
            match_by_hand(matrix) if matrix.size else 0, abs=1e-5
        )


def test_itermax_has_a_second_round_that_adds_links() -> None:
    values = np.stack([cosines((7, 5), 1)[0] + shift for shift in np.linspace(0, 0.3, 4, dtype=np.float32)])
    values = np.concatenate([values, np.random.default_rng(3).uniform(-1, 1, (40, 7, 5)).astype(np.float32)])
    assert (itermax(values) >= argmax(values)).all()
    assert (itermax(values).sum(axis=(1, 2)) > argmax(values).sum(axis=(1, 2))).sum() > 10


@pytest.mark.parametrize("name", METHODS)
def test_methods_do_not_depend_on_the_direction(name: str) -> None:
    """Without ties the links from b to a are those from a to b, turned round."""
    values = np.random.default_rng(1).uniform(-1, 1, (5, 6, 8)).astype(np.float32)
    turned = METHODS[name](np.ascontiguousarray(values.transpose(0, 2, 1)))
    np.testing.assert_array_equal(METHODS[name](values), turned.transpose(0, 2, 1))


def test_the_temperature_follows_the_scale_of_a_layer() -> None:
    """A layer whose cosines crowd together has the same links: a fixed temperature would link everything."""
    values = cosines((6, 8), 1)
    crowded: Any = (0.9 + 0.01 * values.astype(np.float64)).astype(np.float32)
    # float32 rounds cosines near 0.9 by 3e-8, and here 0.01 of them would be 1e-4 of a temperature.
    assert (softmax(values) != softmax(crowded)).mean() < 0.01
    assert softmax(np.ones((1, 3, 4), np.float32)).all()  # no token differs from another


def test_methods_are_chosen_by_name() -> None:
    assert list(chosen_methods(())) == ["argmax"]
    assert list(chosen_methods("match")) == ["match"]
    assert list(chosen_methods(["softmax", "argmax"])) == ["softmax", "argmax"]
    with pytest.raises(RequestError, match="method 'eflomal' doesn't exist; choose one of argmax, itermax"):
        chosen_methods(["eflomal"])


# Tokens and words


def numbers(*values: int) -> Array:
    return np.array(values, np.int64)


def test_a_blank_token_belongs_to_the_word_after_it() -> None:
    """sentencepiece writes `▁` alone before a comma; it comes without a word, as it stands for no character."""
    of_words = incidence(("oh", ",", "x"), numbers(0, 3, 3, 5), numbers(2, 3, 4, 6), numbers(0, -1, 1, 2))
    np.testing.assert_array_equal(of_words, [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    raw = incidence("oh, x", numbers(0, 2, 2, 4), numbers(2, 2, 3, 5), numbers(0, -1, 1, 2))
    np.testing.assert_array_equal(raw, of_words)
    last = incidence(("oh",), numbers(0, 2), numbers(2, 2), numbers(0, -1))
    np.testing.assert_array_equal(last, [[1, 0]])  # a word after it doesn't exist


def test_a_token_over_several_words_belongs_to_all_of_them() -> None:
    of_words = incidence("so...", numbers(0, 2), numbers(2, 5), numbers(0, 1))
    np.testing.assert_array_equal(of_words, [[1, 0], [0, 1], [0, 1], [0, 1]])


def test_words_are_linked_when_any_of_their_tokens_are() -> None:
    rng = np.random.default_rng(0)
    words_a, words_b = np.sort(rng.integers(0, 4, 9)), np.sort(rng.integers(0, 3, 7))
    tokens = rng.random((5, 9, 7)) < 0.1
    a, b = (np.eye(n, dtype=np.float32)[w].T for n, w in ((4, words_a), (3, words_b)))
    for of_tokens, of_words in zip(tokens, word_links(tokens, a, b), strict=True):
        expected = {(int(words_a[i]), int(words_b[j])) for i, j in np.argwhere(of_tokens)}
        assert links_of(of_words) == expected
    a, b = (
        (rng.random(shape) < 0.3).astype(np.float32) for shape in ((4, 9), (3, 7))
    )  # any words of a token
    for of_tokens, of_words in zip(tokens, word_links(tokens, a, b), strict=True):
        np.testing.assert_array_equal(of_words, a @ of_tokens @ b.T > 0)


# Whole alignments of vectors that the test planted

WORDS = 8
WIDTH = 24


def tokens_of(sentences: Sequence[Sequence[str]], layers: Sequence[Callable[[str], Array]]) -> LayerStates:
    """Token-level states with a special token at both ends of each sentence, and a token per word."""
    rows = [
        (doc, word, text)
        for doc, words in enumerate(sentences)
        for word, text in [(None, ""), *enumerate(words), (None, "")]
    ]
    columns = {
        "doc": [doc for doc, _, _ in rows],
        "start": [0] * len(rows),
        "end": [0 if word is None else 1 for _, word, _ in rows],
        "word": pa.array([word for _, word, _ in rows], pa.int64()),
        "special": [word is None for _, word, _ in rows],
        "unknown": [int(text.startswith("?")) for _, _, text in rows],
    }
    texts = pa.table({"doc": list(range(len(sentences)))})
    names = ["emb", *map(str, range(1, len(layers)))]
    vectors = {
        name: np.array([layer(text) for _, _, text in rows], np.float32).reshape(-1, WIDTH)
        for name, layer in zip(names, layers, strict=True)
    }
    return LayerStates(
        vectors, index=pa.table(columns), texts=texts, blocks=len(layers) - 1, level="token", pool=None
    )


def lexicon(noise: float, offset: float) -> Callable[[str], Array]:
    """Vectors of words: `A3` and `B3` mean the same, side B is moved by a common vector, and each word has noise."""
    rng = np.random.default_rng(7)
    meaning, moved = rng.normal(size=(WORDS, WIDTH)), offset * rng.normal(size=WIDTH)
    own = {f"{side}{n}": noise * rng.normal(size=WIDTH) for side in "AB" for n in range(WORDS)}

    def vector(word: str) -> Array:
        if not word or word.startswith("?"):
            return np.ones(WIDTH)
        vectors: Array = meaning[int(word[1:])] + own[word] + moved * (word[0] == "B")
        return vectors

    return vector


def planted(count: int = 40) -> tuple[list[SentencePair], list[GoldLinks]]:
    """Sentence pairs whose side b has the words of side a in another order."""
    rng = np.random.default_rng(5)
    pairs, gold = [], []
    for number in range(count):
        words, order = rng.permutation(WORDS)[:6], rng.permutation(6)
        a, b = tuple(f"A{word}" for word in words), tuple(f"B{words[place]}" for place in order)
        links = frozenset((int(place), at) for at, place in enumerate(order))
        pairs.append(SentencePair(a, b, f"pair {number}"))
        gold.append(GoldLinks(links, links, f"pair {number}"))
    return pairs, gold


def aligned(
    layers: Sequence[Callable[[str], Array]],
    pairs: Sequence[SentencePair],
    gold: Sequence[GoldLinks] | None,
    *,
    methods: Sequence[str] = ("argmax",),
    centre: bool = False,
    encoded: list[int] | None = None,
    width: int = WIDTH,
) -> Alignment:
    def encode(sentences: Sequence[Any]) -> LayerStates:
        if encoded is not None:
            encoded.append(len(sentences))
        return tokens_of(sentences, layers)

    names = ("emb", *map(str, range(1, len(layers))))
    plan = AlignPlan(names, width, chosen_methods(methods), centre, gold)
    aligner = Aligner(pairs, encode, plan)
    return aligner.result(list(aligner.pairs(len(pairs))))


def test_planted_links_are_found_at_the_layer_that_has_them() -> None:
    pairs, gold = planted()
    layers = [lexicon(noise, 0) for noise in (9, 0.05, 2)]
    result = aligned(layers, pairs, gold, methods=list(METHODS))
    for name in METHODS:
        of_layers = result[name]
        assert of_layers["1"].aer == 0 if name != "softmax" else of_layers["1"].aer is not None
        assert of_layers["1"].aer < of_layers["2"].aer < of_layers["emb"].aer  # type: ignore[operator]
    assert result.advice is not None
    assert (result.advice.layer, result.advice.aer, result.advice.high) == ("1", 0, 0)
    assert "chosen on the other 20" in result.advice.text
    assert "Layer 2, the deepest, makes" in result.advice.text
    for pair, links in zip(pairs, result.pairs, strict=True):
        assert (links.a, links.b) == (pair.a, pair.b)
        assert set(links.links["argmax"]["1"]) == gold[links.doc].sure
    assert result.to_pandas()["method"].tolist() == [name for name in METHODS for _ in range(3)]


@pytest.mark.parametrize(
    ("layers", "methods", "words"),
    [
        (1, ["argmax"], "on 40 sentence pairs; no other method or layer was compared."),
        (2, ["argmax"], "on 20 sentence pairs; the layer was chosen on the other 20."),
        (1, ["argmax", "match"], "on 20 sentence pairs; the method was chosen on the other 20."),
        (2, ["argmax", "match"], "on 20 sentence pairs; method and layer were chosen on the other 20."),
    ],
)
def test_the_advice_says_what_was_chosen(layers: int, methods: list[str], words: str) -> None:
    pairs, gold = planted()
    result = aligned([lexicon(2, 0), lexicon(3, 0)][:layers], pairs, gold, methods=methods)
    assert result.advice is not None
    assert words in result.advice.text
    if len(methods) == layers == 1:
        score = result["argmax"]["emb"]
        assert (result.advice.aer, result.advice.low, result.advice.high) == (
            score.aer,
            score.low,
            score.high,
        )
        assert aligned([lexicon(2, 0)], pairs[:1], gold[:1]).advice is not None  # one pair is enough


def test_centring_takes_off_what_all_words_of_a_side_share() -> None:
    """With a common vector ten times as long as the words, argmax takes the shortest word of b for all words of a."""
    pairs, gold = planted()
    layers = [lexicon(0.05, 10)]
    raw, centred = aligned(layers, pairs, gold), aligned(layers, pairs, gold, centre=True)
    assert raw["argmax"]["emb"].aer > 0.3  # type: ignore[operator]
    assert centred["argmax"]["emb"].aer == 0
    assert centred.centred


def test_chunks_change_nothing() -> None:
    pairs, gold = planted()
    layers = [lexicon(1, 1), lexicon(0.3, 0)]
    for centre in (False, True):
        calls: list[int] = []
        # A width so large that 300 bytes of text fill a chunk: 16 pairs of 18 bytes.
        wide = (1 << 27) // (4 * 2 * 320)
        small = aligned(layers, pairs, gold, centre=centre, encoded=calls, width=wide)
        whole = aligned(layers, pairs, gold, centre=centre)
        assert small.to_json() == whole.to_json()
        assert small.pairs == whole.pairs
        assert max(calls) < 20
        assert sum(calls) == 2 * len(pairs) * (1 + centre)


def test_layers_in_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cosines of a long sentence pair at all layers don't fit into memory; here each layer is a block."""
    pairs, gold = planted(6)
    layers = [lexicon(1, 1), lexicon(0.3, 0), lexicon(2, 0)]
    for known in (gold, None):
        whole = aligned(layers, pairs, known, methods=list(METHODS))
        with monkeypatch.context() as patch:
            patch.setattr("layerwise.geometry.word_alignment.sides._CELLS", 1)
            blocks = aligned(layers, pairs, known, methods=list(METHODS))
        assert blocks.to_json() == whole.to_json()
        assert blocks.pairs == whole.pairs


def test_one_forward_where_everything_fits_into_memory() -> None:
    pairs, _ = planted()
    for centre in (False, True):
        calls: list[int] = []
        aligned([lexicon(1, 1)], pairs, None, centre=centre, encoded=calls)
        assert calls == [40, 40]


def test_a_long_sentence_is_a_chunk_of_its_own() -> None:
    short, long = SentencePair(("a",), ("b",), ""), SentencePair(("a" * 90,), ("b",), "")
    assert list(chunks([short, long, short, short], 10)) == [[short], [long], [short, short]]


def test_agreement_is_that_of_both_directions() -> None:
    pairs, _ = planted()
    layers = [lexicon(2, 0), lexicon(0.01, 0)]
    result = aligned(layers, pairs, None, methods=["match", "argmax"])
    both = total = 0
    for pair in pairs:
        a, b = (np.array([layers[0](word) for word in side], np.float32) for side in (pair.a, pair.b))
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
        forward, backward = directions((a @ b.T)[None])
        both += 2 * int((forward & backward).sum())
        total += sum(map(len, (pair.a, pair.b)))
    links = result["argmax"]["emb"]
    assert links.agreement == pytest.approx(both / total)
    assert links.low < links.agreement < links.high  # type: ignore[operator]
    assert result["match"]["1"].agreement == 1
    assert result["match"]["1"].to_json() == {"agreement": 1, "low": 1, "high": 1}
    assert result.advice is None
    assert any("a rough guide" in note for note in result.notes)
    assert list(result.to_json()["methods"]["match"]) == ["emb", "1"]


def test_sentences_after_a_side_without_words_keep_their_tokens() -> None:
    """A first sentence without a token once gave its place to the second, whose links were then those of the third."""
    full = [SentencePair((f"A{n}", "A0"), (f"B{n}", "B0"), "") for n in (1, 2, 3)]
    links = [pair.links for pair in aligned([lexicon(0, 0)], full, None).pairs]
    for empty in (SentencePair((), ("B1",), ""), SentencePair(("A1",), (), ""), SentencePair((), (), "")):
        result = aligned([lexicon(0, 0)], [empty, empty, *full, empty], None)
        nothing: dict[str, dict[str, list[Any]]] = {"argmax": {"emb": []}}
        assert [pair.links for pair in result.pairs] == [nothing, nothing, *links, nothing]


def test_sides_without_words_and_unknown_tokens_are_told() -> None:
    pairs = [SentencePair(("A1", "?x"), ("B1",), ""), SentencePair((), ("B2",), ""), SentencePair((), (), "")]
    result = aligned([lexicon(0, 0)], pairs, None)
    assert [pair.links["argmax"]["emb"] for pair in result.pairs] == [[(0, 0)], [], []]
    assert any(note.startswith("2 sentence pairs have a side without a word") for note in result.notes)
    unknown = next(note for note in result.notes if "unknown" in note)
    assert unknown.startswith("1 of 8 tokens of side a (12.5%) is unknown")


def test_vectors_that_are_not_finite_are_refused() -> None:
    states = tokens_of([["A1"]], [lambda word: np.full(WIDTH, np.inf if word else 0)])
    with pytest.raises(ModelError, match="layer emb has vectors that aren't finite"):
        side_of(states, [("A1",)])


def test_pharaoh_has_room_for_one_layer_and_one_method() -> None:
    pairs, _ = planted(1)
    (pair,) = aligned([lexicon(0, 0)], pairs, None).pairs
    line = line_format("pharaoh", ["argmax"], ["emb"])(pair)
    assert line == " ".join(f"{i}-{j}" for i, j in pair.links["argmax"]["emb"])
    with pytest.raises(
        RequestError, match="room for one layer and one method, and these are 2 layers and 1 m"
    ):
        line_format("pharaoh", ["argmax"], ["1", "2"])


# Scores


def test_a_score_by_hand() -> None:
    """Five links, of which two are sure and one more is possible; three sure links exist."""
    links = np.zeros((1, 4, 4), bool)
    for link in [(0, 0), (1, 1), (2, 3), (3, 0), (3, 1)]:
        links[(0, *link)] = True
    sure = {(0, 0), (1, 1), (2, 2)}
    possible = sure | {(2, 3), (0, 3)}
    sums = gold_score.counts(links, sure, possible)
    assert sums.tolist() == [[5, 3, 2, 3]]
    assert gold_score.error_rate(sums).tolist() == [pytest.approx(1 - (2 + 3) / (5 + 3))]
    assert gold_score.precision(sums).tolist() == [pytest.approx(3 / 5)]
    assert gold_score.recall(sums).tolist() == [pytest.approx(2 / 3)]


def test_counts_are_those_of_sets() -> None:
    rng = np.random.default_rng(2)
    links = rng.random((3, 6, 5)) < 0.3
    sure = {(int(i), int(j)) for i, j in np.argwhere(rng.random((6, 5)) < 0.2)}
    possible = sure | {(int(i), int(j)) for i, j in np.argwhere(rng.random((6, 5)) < 0.3)}
    for of_layer, sums in zip(links, gold_score.counts(links, sure, possible).tolist(), strict=True):
        found = links_of(of_layer)
        assert sums == [len(found), len(sure), len(found & sure), len(found & possible)]
    nothing = gold_score.counts(links, set(), set())
    assert np.isnan(gold_score.recall(nothing)).all()
    assert gold_score.error_rate(nothing).tolist() == [1.0] * 3
    assert np.isnan(gold_score.error_rate(np.zeros(4, np.int64)))


def test_intervals_cover_the_rate_of_the_whole() -> None:
    """Of samples from a population of sentences, about 95% of the intervals hold its rate: 3 standard errors of 200."""
    rng = np.random.default_rng(0)
    sure = rng.integers(1, 9, 4000)
    hits = rng.binomial(sure, np.repeat(rng.beta(6, 2, 400), 10))
    population = np.stack([sure, sure, hits, hits], axis=1)
    rate, covered = gold_score.error_rate(population.sum(axis=0)), 0
    for draw in range(200):
        sample = population[rng.integers(0, len(population), 60)]
        low, high = gold_score.ends(gold_score.error_rate(gold_score.resampled(sample, draw)))
        covered += bool(low <= rate <= high)
    assert covered / 200 == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 200))


def test_many_sentences_are_resampled_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    of_sentences = rng.integers(0, 9, (50, 2, 4))
    whole = gold_score.resampled(of_sentences, 0)
    monkeypatch.setattr(gold_score, "_CELLS", 500)
    parts = gold_score.resampled(of_sentences, 0)
    np.testing.assert_array_equal(whole, parts)
    assert whole.shape == (1000, 2, 4)


def test_no_advice_on_three_sentences_or_without_gold_links() -> None:
    some = np.ones((3, 1, 2, 4), np.int64)
    assert advise(some, ["argmax"], ["1", "2"], 0) is None
    assert advise(np.zeros((9, 1, 2, 4), np.int64), ["argmax"], ["1", "2"], 0) is None
    for count in (3, 4):
        pairs, gold = planted(count)
        result = aligned([lexicon(0.01, 0), lexicon(2, 0)], pairs, gold)
        told = [note for note in result.notes if note.startswith("There is no advice: it takes gold links")]
        assert (result.advice is None) == bool(told) == (count == 3)


def test_advice_is_scored_on_the_half_that_it_was_not_chosen_on() -> None:
    """Forty layers of chance: the best of one half is no better than chance on the other."""
    rng = np.random.default_rng(8)
    hits = rng.binomial(5, 0.5, (60, 40))
    of_sentences = np.stack([np.full_like(hits, 5), np.full_like(hits, 5), hits, hits], axis=2)[:, None]
    layers = [str(number) for number in range(40)]
    advice = [advise(of_sentences, ["argmax"], layers, seed) for seed in range(30)]
    rates = [choice.aer for choice in advice if choice is not None]
    lowest = gold_score.error_rate(of_sentences.sum(axis=0)).min()
    assert np.mean(rates) > lowest + 0.02
    # 30 halves of 60 sentences of 5 links: a standard error of about 0.01, as halves share sentences.
    assert np.mean(rates) == pytest.approx(0.5, abs=0.03)
    choice = advice[0]
    assert choice is not None
    assert choice.to_json()["messages"]["text"]["key"].startswith("align.advice")
