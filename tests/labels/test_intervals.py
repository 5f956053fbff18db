"""Intervals of scores: against scipy, against draws by hand, and by how often they hold."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, pearsonr, spearmanr
from sklearn.metrics import f1_score, r2_score

from layerwise.labels import intervals
from layerwise.labels.intervals import score_intervals, share_interval, wilson

Array = np.ndarray[Any, Any]


def objects(values: Any) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def drawn(score: Any, gold: Array, predicted: Array, units: Array, draws: int = 3000) -> tuple[float, float]:
    """The percentiles of a score over draws of whole units, one draw after another, with another random stream."""
    chance = np.random.default_rng(99)
    rows_of = [np.flatnonzero(units == unit) for unit in np.unique(units)]
    scores = []
    for _ in range(draws):
        rows = np.concatenate([rows_of[unit] for unit in chance.integers(0, len(rows_of), len(rows_of))])
        scores.append(score(gold[rows], predicted[rows]))
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize(("right", "rows"), [(0, 3), (3, 3), (1, 1), (41, 60), (999, 1000)])
def test_a_share_of_rows_has_the_interval_of_scipy(right: int, rows: int) -> None:
    expected = binomtest(right, rows).proportion_ci(method="wilson")
    assert wilson(right / rows, rows) == pytest.approx((expected.low, expected.high), abs=1e-12)
    hits = np.repeat([1.0, 0.0], [right, rows - right])
    assert share_interval(hits, np.arange(rows)) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_rows_that_are_all_alike_in_a_text_count_as_one() -> None:
    """20 words of a text that are right or wrong together say as much as one."""
    hits = np.repeat(np.array([1.0, 0, 1, 1, 0, 1, 1, 1, 0, 1]), 20)
    units = np.repeat(np.arange(10), 20)
    assert share_interval(hits, units) == pytest.approx(wilson(0.7, 10))
    low, high = share_interval(np.ones(200), units)
    assert (low, high) == pytest.approx(wilson(1.0, 10))


def test_the_interval_of_clustered_rows_holds_as_often_as_it_says() -> None:
    """Planted: each text has a share of its own, 0.75 on average; intervals of rows alone would hold in 3 of 4 cases."""
    chance = np.random.default_rng(5)
    units = np.repeat(np.arange(60), 10)
    hits = rows_alone = 0
    for _ in range(600):
        shares = chance.beta(1.5, 0.5, 60)
        right = (chance.random(600) < shares[units]).astype(float)
        ends, plain = share_interval(right, units), wilson(float(right.mean()), 600)
        hits += ends[0] <= 0.75 <= ends[1]
        rows_alone += plain[0] <= 0.75 <= plain[1]
    assert 0.92 <= hits / 600 <= 0.98
    assert rows_alone / 600 < 0.85


@pytest.fixture(scope="module")
def classes() -> tuple[Array, Array, Array]:
    chance = np.random.default_rng(0)
    gold = chance.choice(list("aaaabbc"), 150)
    predicted = np.where(chance.random(150) < 0.7, gold, chance.choice(list("abc"), 150))
    return objects(gold), objects(predicted), np.arange(150)


def test_macro_f1_is_that_of_draws_by_hand(classes: tuple[Array, Array, Array]) -> None:
    gold, predicted, docs = classes
    units = docs // 3

    def macro(a: Array, b: Array) -> float:
        return float(f1_score(a.tolist(), b.tolist(), average="macro"))

    for rows in (docs, units):
        ends = score_intervals("classify", False, gold, predicted, docs, rows)
        expected = drawn(macro, gold, predicted, rows, 200)
        assert ends["macro_f1"] == pytest.approx(expected, abs=0.03)
        assert ends["macro_f1"][0] < macro(gold, predicted) < ends["macro_f1"][1]  # type: ignore[operator]


def test_several_labels_per_row() -> None:
    chance = np.random.default_rng(1)
    hits = chance.random((120, 3)) < 0.5
    guesses = np.where(chance.random((120, 3)) < 0.8, hits, ~hits)
    gold, predicted = (
        objects([tuple(np.array(list("xyz"))[row]) for row in side]) for side in (hits, guesses)
    )
    docs = np.arange(120)
    ends = score_intervals("classify", True, gold, predicted, docs, docs)
    for name in ("micro", "macro"):
        expected = drawn(lambda a, b, name=name: f1_score(a, b, average=name), hits, guesses, docs, 200)
        assert ends[f"{name}_f1"] == pytest.approx(expected, abs=0.03)
    exact = int((hits == guesses).all(axis=1).sum())
    assert ends["accuracy"] == pytest.approx(wilson(exact / 120, 120))


def test_numbers() -> None:
    chance = np.random.default_rng(2)
    gold = np.round(chance.normal(5, 2, 90))  # ties
    predicted = gold + chance.normal(0, 1.5, 90)
    docs = np.arange(90)
    metrics: dict[str, Any] = {
        "r2": r2_score,
        "pearson": lambda a, b: pearsonr(a, b).statistic,
        "spearman": lambda a, b: spearmanr(a, b).statistic,
    }
    for units in (docs, docs // 5):
        ends = score_intervals("regress", False, gold, predicted, docs, units)
        for name, metric in metrics.items():
            assert ends[name] == pytest.approx(drawn(metric, gold, predicted, units, 300), abs=0.05), name
    constant = score_intervals("regress", False, np.ones(9), predicted[:9], docs[:9], docs[:9])
    assert set(constant.values()) == {(None, None)}


def test_ranks_of_a_draw_are_those_of_scipy() -> None:
    """Value i occurs `times[i]` times, and equal values share their mean rank."""
    chance = np.random.default_rng(3)
    a, b = chance.integers(0, 6, 40).astype(float), chance.normal(size=40)
    times = chance.integers(0, 4, (5, 40)).astype(float)
    for row in times:
        repeated = np.repeat(np.arange(40), row.astype(int))
        ranks = [intervals._mean_ranks(row[None], *intervals._sorted_ties(side))[0] for side in (a, b)]
        expected = spearmanr(a[repeated], b[repeated]).statistic
        assert np.corrcoef(*(side[repeated] for side in ranks))[0, 1] == pytest.approx(expected)


def test_spans_are_drawn_by_whole_texts() -> None:
    from seqeval.metrics import classification_report, f1_score
    from seqeval.scheme import IOB2

    chance = np.random.default_rng(4)
    texts = [chance.choice(["O", "B-A", "B-B"], 5) for _ in range(60)]
    guesses = [np.where(chance.random(5) < 0.8, tags, "O") for tags in texts]
    docs = np.repeat(np.arange(60), 5)
    gold, predicted = objects(np.concatenate(texts)), objects(np.concatenate(guesses))
    ends = score_intervals("tag", False, gold, predicted, docs, docs)
    sides = [np.array([tags.tolist() for tags in side], object) for side in (texts, guesses)]

    def f1(a: Array, b: Array) -> float:
        return float(f1_score(a.tolist(), b.tolist(), mode="strict", scheme=IOB2))

    assert ends["span_f1"] == pytest.approx(drawn(f1, sides[0], sides[1], np.arange(60), 300), abs=0.03)
    report = classification_report(
        *(side.tolist() for side in sides), mode="strict", scheme=IOB2, output_dict=True
    )
    for name in ("precision", "recall"):
        low, high = ends[f"span_{name}"]
        assert low is not None
        assert low <= report["micro avg"][name] <= high


def test_a_perfect_score_of_few_texts_is_no_certainty() -> None:
    gold = objects(["a", "b", "a"])
    ends = score_intervals("classify", False, gold, gold, np.arange(3), np.arange(3))
    assert ends["macro_f1"] == ends["accuracy"] == pytest.approx(wilson(1.0, 3))
    only = score_intervals("classify", False, gold[:1], gold[:1], np.arange(1), np.arange(1))
    assert only["macro_f1"] == (None, None), "a single text can't be resampled"


def test_very_many_units_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(6)
    gold = objects(chance.choice(["a", "b"], 3000))
    predicted = objects(np.where(chance.random(3000) < 0.8, gold, "a"))
    docs = np.arange(3000)
    alone = score_intervals("classify", False, gold, predicted, docs, docs)
    monkeypatch.setattr(intervals, "_UNITS", 400)
    together = score_intervals("classify", False, gold, predicted, docs, docs)
    assert together["macro_f1"] == pytest.approx(alone["macro_f1"], abs=0.005)
    assert together["accuracy"] == alone["accuracy"]


def test_ranks_of_very_many_rows_are_those_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(7)
    gold = chance.normal(size=4000)
    predicted = gold + chance.normal(size=4000)
    docs = np.arange(4000)
    every = score_intervals("regress", False, gold, predicted, docs, docs)["spearman"]
    monkeypatch.setattr(intervals, "_RANKED", 1000)
    sampled = score_intervals("regress", False, gold, predicted, docs, docs)["spearman"]
    assert sampled != every
    assert sampled == pytest.approx(every, abs=0.006)
    middle = spearmanr(gold, predicted).statistic
    assert sampled[0] < middle < sampled[1]
