"""Sampling whole texts, and intervals of what is measured on a sample."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import layerwise as lw
from conftest import CORPUS
from layerwise.errors import RequestError
from layerwise.geometry.jackknife import Jackknife, RowMask, cut, interval
from layerwise.geometry.sample import draw, pick
from planted import noise, states_of, words_of


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> lw.LayerDataset:
    """Tokens in several shards, with special ones."""
    place = tmp_path_factory.mktemp("sample")
    (place / "texts.txt").write_text("\n".join(text.replace("\n", " ") for text in CORPUS * 3) + "\n")
    dataset: lw.LayerDataset = lw.extract(
        place / "texts.txt", place / "d", model=encoder_of("bert"), level="token", shard_texts=7
    )
    return dataset


def test_everything_where_there_is_not_more(tokens: lw.LayerDataset) -> None:
    drawn = draw(tokens, tokens.rows, 0)
    special = tokens.index["special"].to_numpy()
    assert drawn.chosen.tolist() == np.flatnonzero(~special).tolist()
    assert drawn.special == special.sum()
    assert drawn.all


@pytest.mark.parametrize("most", [1, 5, 40, 300])
def test_whole_texts_in_the_order_of_the_dataset(tokens: lw.LayerDataset, most: int) -> None:
    drawn = draw(tokens, most, 3)
    assert 0 < len(drawn) <= most
    assert (np.diff(drawn.chosen) > 0).all()
    assert not drawn.all
    own = tokens.index["doc"].to_numpy()
    plain = ~tokens.index["special"].to_numpy()
    docs = np.unique(drawn.docs)
    if most > 60:  # else the only text drawn may be longer than all that is asked for
        wanted = np.flatnonzero(np.isin(own, docs) & plain)
        assert drawn.chosen.tolist() == wanted.tolist(), "texts aren't whole"


def test_a_sample_has_the_face_of_its_dataset(tokens: lw.LayerDataset) -> None:
    drawn = draw(tokens, 60, 1)
    assert drawn.layers == tokens.layers
    assert drawn.width == tokens.width
    for name in drawn.layers:
        assert np.array_equal(drawn.layer(name), tokens.layer(name, rows=drawn.chosen))
    assert drawn.layer("2", rows=[-1, 0]).tolist() == tokens.layer("2", rows=drawn.chosen[[-1, 0]]).tolist()
    assert drawn.index.equals(tokens.index.take(drawn.chosen))
    assert set(drawn.texts["doc"].to_pylist()) == set(drawn.docs.tolist())
    few = drawn.keep(np.arange(len(drawn)) < 3)
    assert few.chosen.tolist() == drawn.chosen[:3].tolist()
    assert len(few.index) == 3


def test_a_seed_says_which(tokens: lw.LayerDataset) -> None:
    assert draw(tokens, 50, 5).chosen.tolist() == draw(tokens, 50, 5).chosen.tolist()
    assert draw(tokens, 50, 5).chosen.tolist() != draw(tokens, 50, 6).chosen.tolist()


def test_every_text_is_as_likely() -> None:
    """Drawn 2,000 times, 3 of 12 texts: each about 500 times (binomial, deviation 19; within 5 of these)."""
    states = words_of(noise(24, 4, 1), [["a", "b"]] * 12, {})
    counts = np.zeros(12)
    for seed in range(2000):
        drawn = draw(states, 6, seed)
        assert len(drawn) == 6
        counts[np.unique(drawn.docs)] += 1
    assert counts == pytest.approx(500, abs=5 * 19)


def test_of_a_long_text_the_first_rows() -> None:
    states = words_of(noise(50, 4, 1), [["a"] * 50], {})
    assert draw(states, 8, 0).chosen.tolist() == list(range(8))


def test_picked_rows(tokens: lw.LayerDataset) -> None:
    rows = np.array([0, 1, tokens.rows - 1])
    assert pick(tokens, rows).index.equals(tokens.index.take(rows))
    assert len(pick(tokens, rows[:0])) == 0


@pytest.mark.parametrize(("most", "seed"), [(0, 0), (5, -1), (5, 1 << 32)])
def test_refused(most: int, seed: int) -> None:
    with pytest.raises(RequestError, match=r"give at least 1|give a whole number"):
        draw(states_of(noise(5, 4, 1), {}), most, seed)


# --- the jackknife ----------------------------------------------------------------------------------------


def test_groups_are_of_whole_texts() -> None:
    docs = np.repeat(np.arange(25), 3)
    kept = cut(docs, 0)
    assert len(kept) == 10
    assert (np.sum([~keep for keep in kept], axis=0) == 1).all(), "every row goes once"
    for keep in kept:
        assert len(np.intersect1d(docs[keep], docs[~keep])) == 0
    assert len(cut(np.arange(4), 0)) == 4
    assert cut(np.zeros(9, int), 0) == []


def test_of_a_mean_the_textbook_interval() -> None:
    """One row per group: the jackknife of a mean is the standard error of the mean, exactly."""
    x = np.random.default_rng(0).normal(size=10)
    low, high = interval(x.mean(), [np.delete(x, i).mean() for i in range(10)], 0.0)
    half = stats.t.ppf(0.975, 9) * x.std(ddof=1) / np.sqrt(10)
    assert [low, high] == pytest.approx([x.mean() - half, x.mean() + half])
    all_but, _ = interval(x.mean(), [np.delete(x, i).mean() for i in range(10)], 0.75)
    assert x.mean() - all_but == pytest.approx(half / 2), "the finite population counts"


def test_it_holds_what_the_whole_has() -> None:
    """Of 400 samples of a third of the texts, the interval holds the mean of all in about 95% (within 4 points)."""
    rng = np.random.default_rng(1)
    of_text = rng.normal(size=300)
    docs = np.repeat(np.arange(300), 4)
    x = of_text[docs] + rng.normal(size=1200)
    held = 0
    for seed in range(400):
        mine = np.isin(docs, np.random.default_rng(seed).choice(300, 100, replace=False))
        own, about = x[mine], Jackknife.of(docs[mine], seed, 1 / 3)

        def mean(keep: RowMask, own: Any = own) -> float:
            return float(own.mean() if keep is None else own[keep].mean())

        found = about.take(mean, unit="", source="")
        assert found.low is not None
        assert found.high is not None
        held += bool(found.low <= x.mean() <= found.high)
    assert held / 400 == pytest.approx(0.95, abs=0.04)


def test_where_all_was_looked_at_there_is_no_interval() -> None:
    found = Jackknife.of(np.arange(30), 0, 1).take(lambda keep: [1.0], unit="", source="")
    assert found.low is None
    assert found.high is None
