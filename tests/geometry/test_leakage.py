"""leakage: attacks on planted vectors whose recovery is known, on vectors of chance, and on a real model with its texts."""

import json
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise._util.threads import limited
from layerwise.array_types import F32
from layerwise.cli.main import main
from layerwise.errors import DatasetError, RequestError
from layerwise.extraction.attacker import table_and_tokens
from layerwise.geometry import attacks
from layerwise.geometry.attacks import (
    TokenSets,
    centred_table,
    clustered_interval,
    guessed_classes,
    recovered,
    trained_queries,
)
from layerwise.geometry.leakage import Leakage
from layerwise.geometry.sample import draw

VOCABULARY, WIDTH = 300, 24


def table_of(seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal((VOCABULARY, WIDTH)).astype(np.float32)


def one_each(ids: Any) -> TokenSets:
    return TokenSets.of(np.arange(len(ids)), np.asarray(ids, np.int64), len(ids))


def test_the_nearest_entries_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    table, queries = table_of(), rng.standard_normal((40, WIDTH)).astype(np.float32)
    sets = TokenSets.of(rng.integers(0, 40, 150), rng.integers(0, VOCABULARY, 150), 40)
    excluded = np.arange(0, VOCABULARY, 7)
    expected = []
    centred = table - table.mean(axis=0)
    for row in range(40):
        wanted = sets.ids[sets.begins[row] : sets.begins[row + 1]]
        cosines = centred @ queries[row] / np.linalg.norm(centred, axis=1)
        cosines[excluded] = -np.inf
        nearest = np.argsort(-cosines)[: len(wanted)]
        expected.append(np.mean([token in nearest for token in wanted]) if len(wanted) else np.nan)
    for rows, entries, threads in ((512, 1 << 12, 1), (7, 64, 2), (1, 7, 3)):
        monkeypatch.setattr(attacks, "_ROWS", rows)
        monkeypatch.setattr(attacks, "_ENTRIES", entries)
        with limited(threads):
            shares = recovered(queries, centred_table(table), sets, excluded)
        assert shares == pytest.approx(expected, nan_ok=True)


def test_the_search_holds_few_cosines_at_once() -> None:
    """All of them would be 160 MB; each of two threads holds 8 MiB, and what it takes to find their largest."""
    rng = np.random.default_rng(7)
    entries = centred_table(rng.standard_normal((20_000, 8)).astype(np.float32))
    ids = rng.integers(0, 20_000, 2048)
    with limited(2):
        tracemalloc.start()
        shares = recovered(entries[ids], entries, one_each(ids))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert shares.mean() > 0.99
    assert peak < 40 << 20


def test_vectors_that_are_entries_give_all_away_and_noise_gives_nothing() -> None:
    rng = np.random.default_rng(2)
    ids = rng.integers(0, VOCABULARY, 500)
    table = table_of()
    entries = centred_table(table)
    x = table[ids] * 3 + 5  # another scale, and a shift that centring takes off
    x -= x.mean(axis=0)
    assert recovered(x, entries, one_each(ids)).mean() > 0.99
    noise = rng.standard_normal((500, WIDTH)).astype(np.float32)
    # By chance 1 in 300; 12 of 500 would be five standard errors more.
    assert recovered(noise, entries, one_each(ids)).mean() < 12 / 500


def test_rows_of_zeros_or_without_numbers_give_nothing() -> None:
    x = np.zeros((3, WIDTH), np.float32)
    x[1] = np.nan
    x[2] = table_of()[0] - table_of().mean(axis=0)
    assert recovered(x, centred_table(table_of()), one_each([0, 0, 0])).tolist() == [0.0, 0.0, 1.0]


def test_a_rotation_hides_tokens_from_the_untrained_and_not_from_the_trained() -> None:
    """The map is learned from types of the first half; those of the second were never seen."""
    rng = np.random.default_rng(3)
    table, rotation = table_of(), np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    ids = np.concatenate([rng.integers(0, 150, 2000), rng.integers(150, 300, 200)])
    x = table[ids] @ rotation + 0.01 * rng.standard_normal((2200, WIDTH)).astype(np.float32)
    fit, test = np.arange(2000), np.arange(2000, 2200)
    entries = centred_table(table)
    assert recovered(x - x.mean(axis=0), entries, one_each(ids)).mean() < 0.05
    queries = trained_queries(x, table[ids], fit, test)
    assert recovered(queries, entries, one_each(ids[test])).mean() > 0.95


def test_with_few_rows_the_trained_attack_is_the_untrained_one() -> None:
    rng = np.random.default_rng(4)
    table, ids = table_of(), rng.integers(0, VOCABULARY, 210)
    x = table[ids] + 0.05 * rng.standard_normal((210, WIDTH)).astype(np.float32)
    queries = trained_queries(x, table[ids], np.arange(10), np.arange(10, 210))
    assert recovered(queries, centred_table(table), one_each(ids[10:])).mean() > 0.9


def test_a_planted_attribute_is_guessed_and_a_random_one_is_not() -> None:
    rng = np.random.default_rng(5)
    classes = rng.integers(0, 3, 600)
    x = rng.standard_normal((600, 10)).astype(np.float32)
    fit, test = np.arange(400), np.arange(400, 600)
    # 1/3 by chance, standard error 0.033
    assert (guessed_classes(x, classes, fit, test) == classes[test]).mean() < 0.5
    x[np.arange(600), classes] += 4
    assert (guessed_classes(x, classes, fit, test) == classes[test]).mean() > 0.9


def test_intervals_cover_the_truth_with_clustered_rows() -> None:
    """95% intervals of 300 samples whose rows agree within a text; at least 90% must hold the true share."""
    rng = np.random.default_rng(6)
    inside = 0
    for _ in range(300):
        shares_of_texts = rng.beta(2, 1, 40)  # mean 2/3
        docs = np.repeat(np.arange(40), 10)
        mean, low, high = clustered_interval((rng.random(400) < shares_of_texts[docs]).astype(float), docs)
        assert low <= mean <= high
        inside += low <= 2 / 3 <= high
    assert inside >= 270
    wide = clustered_interval(np.ones(400), np.repeat(np.arange(40), 10))
    assert wide[2] == 1.0
    assert 0.85 < wide[1] < 0.95  # Wilson's for 40 of 40: 0.912


# --- on a model -------------------------------------------------------------------------------------------

WORDS = [
    "the",
    "old",
    "ship",
    "sailed",
    "over",
    "cold",
    "water",
    "while",
    "birds",
    "sang",
    "loud",
    "songs",
    "about",
    "distant",
    "lands",
    "and",
    "quiet",
    "stars",
]


@pytest.fixture(scope="module")
def texts() -> list[dict[str, Any]]:
    chance = np.random.default_rng(0)
    return [
        {"text": " ".join(chance.choice(WORDS, 6)), "author": f"a{number % 2}", "note": f"n{number}"}
        for number in range(60)
    ]


@pytest.fixture(scope="module")
def make(
    encoder_of: Callable[[str], Any], texts: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    folder = tmp_path_factory.mktemp("leakage")
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in texts))

    def extracted(name: str, **options: Any) -> tuple[Any, Path]:
        out = folder / f"{name}.lw"
        if not out.exists():
            lw.extract(source, out, model=encoder_of("bert"), dtype="float32", **options)
        return lw.open_dataset(out), source

    return extracted


def test_tokens_of_a_model_are_recovered_at_emb(make: Callable[..., Any]) -> None:
    dataset, _ = make("tokens", level="token")
    analysis = lw.analyze(dataset, measure=["leakage"], max_rows=10_000)
    names = {"leakage_tokens_untrained", "leakage_tokens_trained", "leakage_tokens_unseen"}
    assert {name for name in analysis.measures if not name.startswith("leakage_attribute")} == names
    untrained = analysis["leakage_tokens_untrained"]
    assert untrained.low is not None
    assert untrained.high is not None
    assert untrained.values[0] > untrained.floor[0]  # type: ignore[index]
    assert ((untrained.low <= untrained.values) & (untrained.values <= untrained.high)).all()
    assert "At least this much" in str(untrained.note)
    assert "at least this much" in untrained.unit
    content = analysis.to_json()["measures"]["leakage_tokens_trained"]
    assert {"values", "low", "high", "unit", "source", "floor"} <= set(content)


def test_source_gives_the_same_as_stored_texts_and_stores_none(
    make: Callable[..., Any], tmp_path: Path, texts: list[dict[str, Any]]
) -> None:
    stored, source = make("tokens", level="token")
    without, _ = make("secret", level="token", no_text=True)
    expected = lw.analyze(stored, measure=["leakage_tokens_untrained", "leakage_tokens_trained"])
    result = lw.analyze(
        without,
        measure=["leakage_tokens_untrained", "leakage_tokens_trained"],
        source=source,
        out=tmp_path / "out",
    )
    for name in result.measures:
        assert np.array_equal(result[name].values, expected[name].values)
    said = (tmp_path / "out" / "analysis.json").read_text()
    assert not any(row["text"] in said for row in texts)
    with pytest.raises(RequestError, match="stores no texts"):
        lw.analyze(without, measure=["leakage"])


def test_other_texts_are_refused(
    make: Callable[..., Any], tmp_path: Path, texts: list[dict[str, Any]]
) -> None:
    without, _ = make("secret", level="token", no_text=True)
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(row | {"text": "some other words"}) + "\n" for row in texts))
    with pytest.raises(RequestError, match="aren't those that it was made from"):
        lw.analyze(without, measure=["leakage_tokens_untrained"], source=other)
    other.write_text("".join(json.dumps(row) + "\n" for row in texts[:5]))
    with pytest.raises(DatasetError, match="fewer texts"):
        lw.analyze(without, measure=["leakage_tokens_untrained"], source=other)


@pytest.mark.parametrize(("level", "names"), [("word", 3), ("text", 1)])
def test_words_and_texts_have_their_measures(make: Callable[..., Any], level: str, names: int) -> None:
    dataset, _ = make(level, level=level)
    measures = lw.analyze(dataset, measure=["leakage"]).measures
    assert len([name for name in measures if "attribute" not in name]) == names
    assert "leakage_attribute:author" in measures
    assert "leakage_attribute:note" not in measures  # 60 values for 60 texts


def test_attacker_and_test_share_no_text_and_unseen_rows_no_token(make: Callable[..., Any]) -> None:
    dataset, _ = make("tokens", level="token")
    sample = draw(dataset, 60, 0)  # of so few texts not every token is known
    leakage = Leakage(sample, [], partial(table_and_tokens, dataset, None), seed=0)
    docs, tokens = sample.docs, sample.index["token_id"].to_numpy()
    assert set(docs[leakage.fit]).isdisjoint(docs[leakage.test])
    assert sorted([*leakage.fit, *leakage.test]) == list(range(sample.rows))
    known = set(tokens[leakage.fit].tolist())
    unseen = [token not in known for token in tokens[leakage.test].tolist()]
    assert leakage.truth.unseen.tolist() == unseen
    assert any(unseen)
    assert not all(unseen)


def test_only_who_asks_pays(make: Callable[..., Any]) -> None:
    dataset, _ = make("text", level="text")
    assert not any(name.startswith("leakage") for name in lw.analyze(dataset, intervals="none").measures)


def test_a_column_is_named_as_it_is_written(make: Callable[..., Any]) -> None:
    dataset, _ = make("text", level="text")
    result = lw.analyze(dataset, measure=["leakage_attribute:author"])
    assert list(result.measures) == ["leakage_attribute:author"]
    assert result["leakage_attribute:author"].floor.tolist() == [0.5] * 4  # type: ignore[union-attr]
    with pytest.raises(RequestError, match="no column 'nowhere'"):
        lw.analyze(dataset, measure=["leakage_attribute:nowhere"])
    with pytest.raises(RequestError, match="rows of level='word' or token"):
        lw.analyze(dataset, measure=["leakage_tokens_trained"])


def test_attributes_with_gaps_numbers_and_one_value(
    encoder_of: Callable[[str], Any], texts: list[dict[str, Any]], tmp_path: Path
) -> None:
    rows = [
        {
            "text": row["text"],
            "gaps": None if n % 3 else "ab"[n % 2],
            "age": 20 + n % 4,
            "same": "x",
            "height": n / 7,
        }
        for n, row in enumerate(texts)
    ]
    dataset = lw.extract(rows, tmp_path / "d.lw", model=encoder_of("bert"), dtype="float32")
    result = lw.analyze(dataset, measure=["leakage"])
    attributes = {name for name in result.measures if "attribute" in name}
    assert attributes == {"leakage_attribute:gaps", "leakage_attribute:age"}
    assert "20 texts, 2 values" in str(result["leakage_attribute:gaps"].note)
    assert "60 texts, 4 values" in str(result["leakage_attribute:age"].note)
    assert any("'same', 'height'" in str(note) for note in result.notes)
    same = lw.analyze(dataset, measure=["leakage_attribute:same"])["leakage_attribute:same"]
    assert np.isnan(same.values).all()
    assert "too few to guess it" in str(same.note)


def test_words_have_no_attribute_of_texts(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    rows = [{"words": ["old", "ship"], "tag": ["A", "B"], "topic": "ab"[n % 2]} for n in range(12)]
    options: dict[str, Any] = {"model": encoder_of("bert"), "words": "words"}
    for level in ("word", "token", "text"):
        dataset = lw.extract(rows, tmp_path / f"{level}.lw", level=level, **options)
        with pytest.raises(RequestError, match="'tag' has a value per word"):
            lw.analyze(dataset, measure=["leakage_attribute:tag"])
        assert "leakage_attribute:topic" in lw.analyze(dataset, measure=["leakage_attribute:topic"]).measures


def test_few_texts_have_wide_intervals_or_none(
    encoder_of: Callable[[str], Any], tmp_path: Path, texts: list[dict[str, Any]]
) -> None:
    """Fewer rows than dimensions, down to one text, where nobody is left to train."""
    for count in (1, 2, 3, 8):
        rows = [{"text": row["text"]} for row in texts[:count]]
        dataset = lw.extract(
            rows, tmp_path / f"{count}.lw", model=encoder_of("bert"), dtype="float32", level="token"
        )
        result = lw.analyze(dataset, measure=["leakage"])
        untrained, trained = result["leakage_tokens_untrained"], result["leakage_tokens_trained"]
        assert np.isfinite(untrained.values).all()
        assert np.isfinite(trained.values).all() == (count > 1)


def test_texts_of_other_scripts(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    rows = [{"text": f"老船 {n} старый корабль"} for n in range(12)]
    for level in ("token", "word", "text"):
        dataset = lw.extract(rows, tmp_path / f"{level}.lw", model=encoder_of("bert"), level=level)
        names = list(lw.analyze(dataset, measure=["leakage"]).measures)
        assert len(names) == (1 if level == "text" else 3)


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "query: ", "level": "token"},
        {"context": 8, "level": "word"},
        {"long": "window", "max_length": 5, "level": "token"},
        {"layers": "all,attention.1:,value.1:", "level": "token"},
        {"text": ("a", "b"), "pair_encoding": "joint", "level": "token"},
    ],
)
def test_datasets_of_every_kind_are_measured(
    encoder_of: Callable[[str], Any], tmp_path: Path, texts: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    """Prompts, neighbours, windows, sites and pairs: the tokens of the attack are those of the rows."""
    rows = [
        {"text": row["text"], "document": n // 4}
        if "text" not in options
        else {"a": row["text"], "b": row["text"][::-1]}
        for n, row in enumerate(texts)
    ]
    dataset = lw.extract(rows, tmp_path / "d.lw", model=encoder_of("bert"), dtype="float32", **options)
    result = lw.analyze(dataset, measure=["leakage"], max_rows=10_000)
    first = next(iter(result.measures.values()))
    assert first.values[0] > first.floor[0]  # type: ignore[index]


def test_rows_in_memory_have_no_table(encoder_of: Callable[[str], Any]) -> None:
    states = encoder_of("bert").encode(["a text", "another one"] * 8, level="token")
    with pytest.raises(RequestError, match="give a dataset on disk"):
        lw.analyze(states, measure=["leakage"])


def test_the_command(make: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, source = make("secret", level="token", no_text=True)
    command = [
        "analyze",
        str(dataset.path),
        "--measure",
        "leakage",
        "--quiet",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 2
    assert "--source" in capsys.readouterr().err
    assert main([*command, "--source", str(source)]) == 0
    assert "leakage_tokens_untrained" in capsys.readouterr().out
