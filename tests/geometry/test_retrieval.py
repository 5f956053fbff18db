"""Retrieval of translations: every variant against brute force, planted shifts and rotations, several languages."""

import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import layerwise as lw
from conftest import E5, SHARED
from layerwise.cli.main import main
from layerwise.errors import RequestError
from layerwise.geometry.retrieval import advice as advices
from layerwise.geometry.retrieval.language_probe import side_hits
from layerwise.geometry.retrieval.pairs import side_pairs
from layerwise.geometry.retrieval.procrustes import folds
from layerwise.geometry.retrieval.variants import VARIANTS, variant_hits
from planted import noise, states_of
from st_folders import make_folder, sentence_transformer, write

Array = np.ndarray[Any, Any]
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def unit(x: Array) -> Array:
    rows: Array = x / np.linalg.norm(x, axis=1, keepdims=True)
    return rows


def nearest(cosines: list[float], count: int) -> list[float]:
    return sorted(cosines, reverse=True)[:count]


def cosine_by_hand(a: Array, b: Array) -> list[int]:
    return [int(np.argmax([float(x @ y) for y in unit(b)]) == i) for i, x in enumerate(unit(a))]


def csls_by_hand(a: Array, b: Array) -> list[int]:
    """2 cos(x, y) − r(x) − r(y), with r of the ten nearest."""
    cosines = unit(a) @ unit(b).T
    r_a = [np.mean(nearest(row, 10)) for row in cosines.tolist()]
    r_b = [np.mean(nearest(row, 10)) for row in cosines.T.tolist()]
    scores = [[2 * c - r_a[i] - r_b[j] for j, c in enumerate(row)] for i, row in enumerate(cosines.tolist())]
    return [int(np.argmax(row) == i) for i, row in enumerate(scores)]


def margin_by_hand(a: Array, b: Array) -> list[int]:
    """The steps of LASER's xsim: four neighbours each way, then the best ratio among the four of a text."""
    cosines = unit(a) @ unit(b).T
    mean_a = [np.mean(nearest(row, 4)) for row in cosines.tolist()]
    mean_b = [np.mean(nearest(row, 4)) for row in cosines.T.tolist()]
    hits = []
    for i, row in enumerate(cosines.tolist()):
        candidates = sorted(range(len(row)), key=lambda j: -row[j])[:4]
        best = max(candidates, key=lambda j: row[j] / ((mean_a[i] + mean_b[j]) / 2))
        hits.append(int(best == i))
    return hits


def procrustes_by_hand(a: Array, b: Array) -> list[int]:
    """scipy's orthogonal map of the other four fifths."""
    from scipy.linalg import orthogonal_procrustes

    a, b = unit(a), unit(b)
    hits = [0] * len(a)
    for fold in folds(len(a), 0):
        kept = [n for n in range(len(a)) if n not in set(fold.tolist())]
        means = a[kept].mean(axis=0), b[kept].mean(axis=0)
        turn, _ = orthogonal_procrustes(a[kept] - means[0], b[kept] - means[1])
        mapped = cosine_by_hand((a - means[0]) @ turn, b - means[1])
        for n in fold.tolist():
            hits[n] = mapped[n]
    return hits


def centred_by_hand(a: Array, b: Array) -> list[int]:
    return cosine_by_hand(a - a.mean(axis=0), b - b.mean(axis=0))


BY_HAND = {
    "cosine": cosine_by_hand,
    "centred": centred_by_hand,
    "csls": csls_by_hand,
    "margin": margin_by_hand,
    "procrustes": procrustes_by_hand,
}


@every_variant
def test_hits_are_those_of_brute_force(variant: str) -> None:
    rng = np.random.default_rng(2)
    # All cosines are positive, as those of models are: a ratio of numbers of both signs means nothing.
    a = rng.normal(size=(60, 8)) + 2
    b = a + 0.8 * rng.normal(size=(60, 8)) + 0.5 * rng.normal(size=8)
    forward, backward = variant_hits(variant, a, b)
    assert forward.tolist() == BY_HAND[variant](a, b)
    assert 0.1 < forward.mean() < 0.95
    if variant != "procrustes":  # its reference fits a map of its own the other way; the same up to rounding
        assert backward.tolist() == BY_HAND[variant](b, a)
    else:
        assert backward.tolist() == procrustes_by_hand(b, a)


@every_variant
def test_what_is_all_alike_is_found_by_chance(variant: str) -> None:
    same = np.ones((8, 3))
    if variant in ("cosine", "csls", "margin"):
        assert variant_hits(variant, same, same)[0].tolist() == [1 / 8] * 8
    for a, b in ((same[:1], same[:1]), (0 * same, same), (same * np.inf, same)):
        assert np.isnan(variant_hits(variant, a, b)).all()


def test_variants_differ_where_they_should() -> None:
    """A text that is near everything takes all hits by cosine; CSLS and the margin take its nearness off."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(80, 30)) + 3
    b = a + 0.9 * rng.normal(size=(80, 30))
    b[0] = 3  # the mean of all texts
    scores = {variant: float(variant_hits(variant, a, b)[0].mean()) for variant in VARIANTS}
    assert scores["csls"] > scores["cosine"] + 0.1
    assert scores["margin"] > scores["cosine"] + 0.1


def test_procrustes_undoes_a_rotation_that_nothing_else_does() -> None:
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    a = rng.normal(size=(200, 12))
    b = a @ turn + 0.05 * rng.normal(size=(200, 12)) + 3
    scores = {variant: variant_hits(variant, a, b)[0].mean() for variant in VARIANTS}
    assert scores.pop("procrustes") == 1
    assert max(scores.values()) < 0.1
    # Pairs that have nothing in common aren't found, though a map of all of them would bring them closer.
    few, others = rng.normal(size=(2, 40, 60))
    assert variant_hits("procrustes", few, others)[0].mean() < 0.2


def test_blocks_are_the_same_and_hold_less(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.normal(size=(1500, 4)) for _ in range(2))
    b[700:] = b[:800]  # equally near ones, in other blocks
    whole = {variant: variant_hits(variant, a, b) for variant in ("cosine", "csls", "margin")}
    monkeypatch.setattr("layerwise.geometry.retrieval.hits._CELLS", 1 << 16)
    for variant, hits in whole.items():
        tracemalloc.start()
        blocks = variant_hits(variant, a, b)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        np.testing.assert_allclose(blocks, hits, atol=1e-12)
        assert peak < 5e6, f"{peak / 1e6:.1f} MB: all cosines of 1,500 rows are 18 MB"


# Which rows are pairs


def test_three_of_a_value_are_no_pair() -> None:
    states = states_of(noise(9, 4, 1), {"key": ["a", "b", "a", "b", "b", "b", "c", None, "c"]})
    (pair,), alone = side_pairs(states, "key")
    assert pair.rows.tolist() == [[0, 2], [6, 8]]
    assert pair.directions == ("a>b", "b>a")
    assert alone == 4


def test_pairs_of_several_sides() -> None:
    keys = ["1", "1", "1", "2", "2", "3", "4", "4", "4", ""]
    sides = ["en", "de", "fr", "fr", "en", "de", "de", "de", "en", "en"]
    states = states_of(noise(10, 4, 1), {"key": keys, "side": sides})
    pairs, alone = side_pairs(states, "key", "side")
    assert {(pair.a, pair.b): pair.rows.tolist() for pair in pairs} == {
        ("de", "en"): [[1, 0]],
        ("de", "fr"): [[1, 2]],
        ("en", "fr"): [[0, 2], [4, 3]],
    }
    assert alone == 4  # 3 has no partner, and of 4 one side is there twice
    with pytest.raises(
        RequestError, match="column 'side' must have two values or more, one per side, and has 1: en"
    ):
        side_pairs(states_of(noise(4, 4, 1), {"key": list("aabb"), "side": ["en"] * 4}), "key", "side")
    with pytest.raises(RequestError, match="no value of column 'key' is shared by exactly two texts"):
        side_pairs(states_of(noise(4, 4, 1), {"key": list("abcd"), "side": list("xyxy")}), "key", "side")


def test_sides_and_pairs_that_are_exchanged_are_refused() -> None:
    columns = {"key": [str(n) for n in range(9)] * 2, "side": ["x"] * 9 + ["y"] * 9}
    states = states_of(noise(18, 4, 1), columns)
    (pair,), _ = side_pairs(states, "key", "side")
    assert len(pair.rows) == 9
    with pytest.raises(
        RequestError,
        match="sides='key' has 9 values, and no two of them share more than 2 values of pairs='side'",
    ):
        side_pairs(states, "side", "key")


# Whole analyses


def languages(count: int = 60) -> tuple[Any, dict[str, Array]]:
    """Layer 0 is noise; layer 1 holds translations in three languages, each moved by a constant of its own."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(count, 12))
    names = ("de", "en", "fr")
    by_side = {
        name: meaning + 0.2 * rng.normal(size=(count, 12)) + 3 * n * rng.normal(size=12)
        for n, name in enumerate(names)
    }
    order = rng.permutation(3 * count)
    layer = np.concatenate(list(by_side.values()))[order]
    columns = {
        "pair": [f"p{n % count}" for n in order],
        "language": [names[n // count] for n in order],
    }
    return states_of([noise(3 * count, 12, 1)[0], layer], columns), by_side


def test_several_languages_are_one_analysis() -> None:
    states, by_side = languages()
    analysis = lw.analyze(states, pairs="pair", sides="language", measure=["retrieval", "language_probe"])
    directions = ("de>en", "en>de", "de>fr", "fr>de", "en>fr", "fr>en")
    for variant in VARIANTS:
        measure = analysis[f"retrieval_{variant}"]
        assert measure.directions == directions
        for direction, values in zip(directions, measure.values, strict=True):
            a, b = direction.split(">")
            if variant != "procrustes":  # its folds depend on the order of the pairs
                # States hold float32.
                expected = np.mean(BY_HAND[variant](*(by_side[s].astype(np.float32) for s in (a, b))))
                assert values[1] == pytest.approx(expected, abs=1e-9), (variant, direction)
            assert values[0] < 0.2
        low, high = measure.low, measure.high
        assert low is not None
        assert high is not None
        assert ((low <= measure.values) & (measure.values <= high)).all()
    assert (
        analysis["retrieval_cosine"].values[:, 1].min()
        < 0.9
        < analysis["retrieval_centred"].values[:, 1].min()
    )
    content = json.loads(json.dumps(analysis.to_json()))
    assert list(content["measures"]["retrieval_cosine"]["values"]) == list(directions)
    assert len(content["measures"]["retrieval_cosine"]["low"]["en>fr"]) == 2
    probe = analysis["language_probe"]
    assert probe.values[1] > 0.95
    assert 0.2 < probe.values[0] < 0.5
    advice = analysis.retrieval
    assert advice is not None
    assert advice.overall.layer == "1"
    assert advice.overall.variant in ("centred", "procrustes")
    assert set(advice.directions) == set(directions)
    assert content["retrieval"]["text"] == advice.text
    frame = analysis.to_pandas("retrieval_csls")
    assert frame.columns.tolist() == ["layer", *directions]
    assert "retrieval_csls:de>en_low" in analysis.to_pandas().columns


def test_an_interval_is_that_of_resampled_pairs() -> None:
    """The hits of a text are 0 or 1: a share of 60 has the standard error √(p (1 − p) / 60)."""
    states, _ = languages()
    measure = lw.analyze(states, pairs="pair", sides="language", measure=["cosine"])["retrieval_cosine"]
    assert measure.low is not None
    assert measure.high is not None
    shares = measure.values[:, 1]
    error = np.sqrt(shares * (1 - shares) / 60)
    # Percentiles of 1,000 draws of a discrete share: a fifth of the width.
    np.testing.assert_allclose((measure.high - measure.low)[:, 1], 2 * 1.96 * error, rtol=0.2, atol=0.01)
    without = lw.analyze(states, pairs="pair", sides="language", measure=["cosine"], intervals="none")
    assert without["retrieval_cosine"].low is None


def test_a_sample_of_the_pairs() -> None:
    states, _ = languages()
    some = lw.analyze(states, pairs="pair", sides="language", measure=["cosine"], max_rows=20)
    floor = some["retrieval_cosine"].floor
    assert floor is not None
    assert floor.tolist() == [[1 / 20] * 2] * 6
    assert "60 pairs: de – en 20, de – fr 20, en – fr 20" in str(some["retrieval_cosine"].note)


def test_the_language_probe_is_a_ridge_regression() -> None:
    rng = np.random.default_rng(4)
    sides, groups = np.tile([0, 1, 2], 30), np.repeat(np.arange(30), 3)
    x = rng.normal(size=(90, 6)) + 0.5 * np.eye(6)[sides]
    hits = side_hits(x, sides, groups)
    for fold in folds(30, 0):
        tested = np.isin(groups, fold)
        mean, deviation = x[~tested].mean(axis=0), x[~tested].std(axis=0)
        model = Ridge(alpha=1).fit((x[~tested] - mean) / deviation, np.eye(3)[sides[~tested]])
        expected = model.predict((x[tested] - mean) / deviation).argmax(axis=1) == sides[tested]
        assert hits[tested].tolist() == expected.tolist()
    assert np.isnan(side_hits(x * np.nan, sides, groups)).all()


def test_a_high_probe_says_that_it_does_not_mean_unaligned() -> None:
    rng = np.random.default_rng(5)
    meaning = rng.normal(size=(80, 10))
    marked = [np.concatenate([meaning, meaning + 4 * np.eye(10)[0]])]
    columns = {"pair": [*map(str, range(80))] * 2, "side": ["de"] * 80 + ["en"] * 80}
    analysis = lw.analyze(
        states_of(marked, columns), pairs="pair", sides="side", measure=["retrieval", "language"]
    )
    assert analysis["language_probe"].values[0] > 0.95
    assert "doesn't mean that the languages aren't aligned" in str(analysis["language_probe"].note)
    assert analysis["retrieval_centred"].values.min() == 1


def test_without_sides_the_earlier_row_is_a() -> None:
    rng = np.random.default_rng(6)
    layer = rng.normal(size=(40, 6))
    mixed = states_of([layer], {"pair": [str(n // 2) for n in range(40)]})
    analysis = lw.analyze(mixed, pairs="pair", measure=["cosine"])
    assert any(note.startswith("Without sides, side a is the earlier row") for note in analysis.notes)
    x = layer.astype(np.float32).astype(np.float64)
    expected = np.mean(cosine_by_hand(x[::2], x[1::2]))
    assert analysis["retrieval_cosine"].values[0, 0] == pytest.approx(expected)


def test_advice_is_scored_on_the_half_that_it_was_not_chosen_on() -> None:
    """Forty layers of chance: the best of one half is no better than chance on the other."""
    rng = np.random.default_rng(8)
    scores = []
    for _ in range(30):
        hits = {"cosine": [rng.integers(0, 2, (40, 100)).astype(np.float64)]}
        advice = advices.advise(hits, ["a>b"], [*map(str, range(40))], 0)
        assert advice is not None
        scores.append(advice.overall.score)
    # 1,500 hits: a standard error of 0.013.
    assert np.mean(scores) == pytest.approx(0.5, abs=0.04)
    assert advices.advise({}, [], [], 0) is None
    assert advices.advise({"cosine": [np.ones((2, 3))]}, ["a>b"], ["1", "2"], 0) is None


def test_too_few_pairs_for_advice_are_told() -> None:
    for count in (3, 4):
        analysis = lw.analyze(languages(count)[0], pairs="pair", sides="language", measure=["cosine"])
        told = [note for note in analysis.notes if note.startswith("There is no advice on retrieval")]
        assert (analysis.retrieval is None) == bool(told) == (count == 3)
    states = languages(6)[0]
    pairs, sides = (states.texts[name].to_pylist() for name in ("pair", "language"))
    french = [row for row, side in enumerate(sides) if side == "fr"]
    sides[french[0]] = " fr "  # blanks at the ends don't count
    sides[french[-1]] = sides[french[-2]] = "other"
    layers = [states.layer(name) for name in states.layers]
    analysis = lw.analyze(
        states_of(layers, {"pair": pairs, "language": sides}),
        pairs="pair",
        sides="language",
        measure=["cosine"],
    )
    assert analysis.retrieval is not None
    kept = set(analysis.retrieval.directions)
    assert kept == {name for name in analysis["retrieval_cosine"].directions or () if "other" not in name}
    (note,) = (note for note in analysis.notes if "advice" in note)
    assert "leaves out de → other, other → de, en → other, other → en: it takes 4 pairs or more" in note
    without = lw.analyze(languages(3)[0], pairs="pair", sides="language", measure=["norm"])
    assert not any("advice" in note for note in without.notes)


def test_the_command_prints_a_row_per_direction_and_the_advice(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {"text": f"{text} {n}", "n": n, "side": side}
        for n, text in enumerate(["a text", "the last layer", "encoder of words", "stop", "every", "first"])
        for side, text in (("x", text), ("y", f"{text}!"))
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lw.extract(tmp_path / "t.jsonl", tmp_path / "t.lw", model=model)
    command = ["analyze", str(tmp_path / "t.lw"), "--pairs", "n", "--sides", "side", "--quiet"]
    assert (
        main([*command, "--measure", "retrieval", "--measure", "norm", "--out", str(tmp_path / "out")]) == 0
    )
    shown = capsys.readouterr().out
    assert "retrieval_margin:y>x" in shown
    assert "For retrieval use layer" in shown
    assert "For each direction: x → y: layer" in shown
    stored = json.loads((tmp_path / "out/analysis.json").read_text())
    assert list(stored["measures"]["retrieval_margin"]["values"]) == ["x>y", "y>x"]
    assert (tmp_path / "out/geometry.svg").exists()
    assert (tmp_path / "out/retrieval_cosine.svg").exists()
    chinese = ["--measure", "retrieval_cosine", "--lang", "zh", "--out", str(tmp_path / "zh")]
    assert main([*command, *chinese]) == 0
    shown = capsys.readouterr().out
    assert "随机水平" in shown
    assert "检索请用第" in shown
    assert f"12 行中的 12 行，随机种子 0；全部结果在 {tmp_path / 'zh'}" in shown
    content = json.loads((tmp_path / "zh/analysis.json").read_text())
    assert content["retrieval"]["text"].startswith("For retrieval use layer")
    in_english = any("no font on this machine" in note for note in content["notes"])
    drawn = (tmp_path / "zh/retrieval_cosine.svg").read_text("utf-8")  # with the words as comments
    assert bool(re.search("[\u4e00-\u9fff]", drawn)) != in_english
    page = tmp_path / "page.html"
    assert (
        main(["report", str(tmp_path / "t.lw"), "--analysis", str(tmp_path / "out"), "--out", str(page)]) == 0
    )


def by_sentence_transformers(folder: Path, name: str, pairs: list[tuple[str, str]]) -> list[float]:
    """The accuracy of both directions, at the last layer, by its evaluator of translations."""
    from sentence_transformers.sentence_transformer.evaluation import TranslationEvaluator

    model = sentence_transformer(folder)
    model.default_prompt_name = name
    sources, targets = (list(side) for side in zip(*pairs, strict=True))
    accuracies = TranslationEvaluator(sources, targets, batch_size=8, write_csv=False)(model)
    return [accuracies["src2trg_accuracy"], accuracies["trg2src_accuracy"]]


def last_layer_accuracies(folder: Path, name: str, pairs: list[tuple[str, str]], out: Path) -> list[float]:
    rows = [
        {"text": text, "pair": n, "side": side}
        for n, pair in enumerate(pairs)
        for side, text in zip("xy", pair, strict=True)
    ]
    dataset = lw.extract(rows, out, model=folder, prompt_name=name, layers=-1, dtype="float32")
    analysis = lw.analyze(dataset, pairs="pair", sides="side", measure=["cosine"])
    assert analysis["retrieval_cosine"].directions == ("x>y", "y>x")
    accuracies: list[float] = analysis["retrieval_cosine"].values[:, 0].tolist()
    return accuracies


def test_retrieval_with_a_prompt_is_that_of_sentence_transformers(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = make_folder(model_folder("bert"), tmp_path / "st")
    prompts = {"query": "query: ", "passage": "the last passage knows more than it says: "}
    write(folder / "config_sentence_transformers.json", {"prompts": prompts})
    words = ["layer", "encoder", "word", "first", "last", "every", "data", "sentences", "batches", "stop"]
    pairs = [(f"{a} of a {b}", f"{b}: the {a}!") for a in words for b in words if a != b]
    accuracies = {}
    for name in prompts:
        accuracies[name] = last_layer_accuracies(folder, name, pairs, tmp_path / name)
        assert accuracies[name] == pytest.approx(by_sentence_transformers(folder, name, pairs), abs=1e-9)
        assert 1 / 90 < min(accuracies[name]) < 1
    assert accuracies["query"] != accuracies["passage"]


@pytest.mark.skipif(
    not (E5.is_dir() and SHARED.is_dir()), reason="needs shared/ and the model of shared/tools"
)
@pytest.mark.slow
@pytest.mark.parametrize("name", ["query", "passage"])
def test_retrieval_of_a_real_model_with_its_prompts(name: str, tmp_path: Path) -> None:
    sides = [
        (SHARED / f"data/tatoeba/jpn-eng.{side}").read_text(encoding="utf-8").splitlines()[:200]
        for side in ("jpn", "eng")
    ]
    pairs = list(zip(*sides, strict=True))
    expected = by_sentence_transformers(E5, name, pairs)
    # A tie within rounding could fall either way: one pair of 200.
    assert last_layer_accuracies(E5, name, pairs, tmp_path / name) == pytest.approx(expected, abs=1.5 / 200)


@pytest.mark.skipif(
    not (E5.is_dir() and SHARED.is_dir()), reason="needs shared/ and the model of shared/tools"
)
@pytest.mark.slow
def test_accuracies_of_a_real_model() -> None:
    """Measured with other code on the same model and sentences; half a point is the tolerance for other products."""
    rows = []
    for language in ("deu", "fra", "cmn", "jpn"):
        for side in (language, "eng"):
            file = SHARED / f"data/tatoeba/{language}-eng.{side}"
            lines = file.read_text(encoding="utf-8").splitlines()
            rows += [{"text": text, "pair": f"{language}{n}", "side": side} for n, text in enumerate(lines)]
    states = lw.load_encoder(E5).encode(
        [row["text"] for row in rows], layers=[0, 6, 12], pool="mean", prompt=""
    )
    planted = states_of(
        [states.layer(layer) for layer in states.layers],
        {name: [row[name] for row in rows] for name in ("pair", "side")},
    )
    analysis = lw.analyze(planted, pairs="pair", sides="side", measure=["cosine", "centred", "language"])
    cosine = dict(
        zip(analysis["retrieval_cosine"].directions or (), analysis["retrieval_cosine"].values, strict=True)
    )
    centred = dict(
        zip(analysis["retrieval_centred"].directions or (), analysis["retrieval_centred"].values, strict=True)
    )
    for language, expected in {"deu": 0.985, "fra": 0.926, "cmn": 0.921, "jpn": 0.875}.items():
        direction = f"{language}>eng"
        assert cosine[direction][2] == pytest.approx(expected, abs=0.005)
        assert cosine[direction][0] < cosine[direction][1] < cosine[direction][2]
        assert centred[direction][1] > cosine[direction][1]
    assert (analysis["language_probe"].values > 0.99).all()
