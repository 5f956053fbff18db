"""analyze: planted layers, what isn't defined, other datasets, pairs, and its files."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import layerwise as lw
from conftest import CORPUS
from layerwise.cli.main import main
from layerwise.errors import OutputError, RequestError
from layerwise.geometry import separation, shape, similarity
from layerwise.geometry.block_influence import block_influence
from layerwise.geometry.dimension import two_nn
from layerwise.geometry.layer_pairs import matrix
from layerwise.geometry.umap import umap
from planted import noise, states_of, words_of

MATRICES = {measure.name for measure in similarity.MEASURES}


def turned(x: np.ndarray[Any, Any], seed: int = 5) -> np.ndarray[Any, Any]:
    """The same rows, turned, scaled and shifted."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1],) * 2))
    return np.asarray(3 * x @ turn + 7, np.float32)


# --- planted ----------------------------------------------------------------------------------------------


def test_two_layers_that_are_turned_copies() -> None:
    first, second, other = noise(200, 8, 3)
    found = lw.analyze(states_of([first, second, turned(first), other], {}))
    for name in MATRICES:
        values = found[name].values
        alike = found[name].alike
        assert alike is not None
        # Cosines hang on the origin, which a shift moves: neighbours and their kin aren't the same.
        if name not in ("neighbour_overlap", "rsa"):
            assert values[0, 2] == pytest.approx(alike, abs=1e-5), name
            assert abs(values[0, 1] - alike) > 0.05, name
        assert np.diag(values) == pytest.approx(alike, abs=1e-6), name


def test_a_rogue_dimension() -> None:
    layers = noise(300, 16, 2)
    layers[1] = layers[0].copy()
    layers[1][:, 11] += 40
    found = lw.analyze(states_of(layers, {}))
    assert found.dimensions["rogue"]["1"][0]["dimension"] == 11
    assert found["rogue_share_1"].values[1] > 0.95
    assert found["anisotropy"].values[1] > 0.9
    assert abs(found["anisotropy_standardised"].values[1]) < 0.02


def test_classes_stand_in_one_layer_and_dimension() -> None:
    layers = noise(200, 8, 3)
    classes = np.arange(200) % 2
    layers[2][:, 5] += 30 * classes
    label = ["ab"[c] for c in classes]
    found = lw.analyze(states_of(layers, {"label": label}), label="label")
    assert np.argmax(found["class_separation"].values) == 2
    assert found.dimensions["classes"]["2"][0]["dimension"] == 5


def test_every_number_is_that_of_its_function() -> None:
    rng = np.random.default_rng(3)
    sentences = [[f"w{n}" for n in rng.integers(0, 9, rng.integers(1, 7))] for _ in range(40)]
    count = sum(map(len, sentences))
    docs = np.repeat(np.arange(40), [len(s) for s in sentences])
    words = np.unique([w for s in sentences for w in s], return_inverse=True)[1]
    layers = noise(count, 6, 2)
    tags = [str(n % 3) for n in range(count)]
    found = lw.analyze(words_of(layers, sentences, {"tag": tags}), label="tag")
    x = layers[1]
    wanted = {
        "norm": shape.norms(x).mean,
        "anisotropy": shape.anisotropy(x),
        "rogue_share_2": shape.rogue_shares(x)[1][1],
        "effective_rank": shape.effective_rank(x),
        "dataset_entropy": shape.dataset_entropy(x),
        "intra_text_similarity": shape.intra_text_similarity(x, docs).mean,
        "intra_text_similarity_adjusted": shape.intra_text_similarity(x, docs).adjusted,
        "self_similarity": shape.self_similarity(x, words).mean,
        "self_similarity_adjusted": shape.self_similarity(x, words).adjusted,
        "curvature": shape.curvature(x, docs),
        "prompt_entropy": shape.prompt_entropy(x, docs),
        "class_separation": separation.class_separation(x, tags),
        "block_influence": block_influence(layers[0], x),
    }
    for name, value in wanted.items():
        assert found[name].values[1] == pytest.approx(value, abs=1e-12), name
    for measure in similarity.MEASURES:
        assert np.array_equal(found[measure.name].values, matrix(measure, layers)), measure.name
    rest = {"anisotropy_standardised", "rogue_share_1", "rogue_share_3", "intrinsic_dimension"}
    assert set(found.measures) == set(wanted) | MATRICES | rest
    assert not found.notes


def test_intrinsic_dimension() -> None:
    """Five planted dimensions in thirty; TwoNN on 1,500 rows is within a half."""
    rng = np.random.default_rng(0)
    dimension = two_nn()
    flat = rng.uniform(size=(1500, 5)) @ rng.normal(size=(5, 30))
    assert dimension(flat) == pytest.approx(5, abs=0.5)
    assert dimension(np.concatenate([flat, flat[:700]])) == pytest.approx(dimension(flat)), (
        "equal rows count once"
    )
    assert np.isnan(dimension(np.ones((100, 4))))
    assert np.isnan(dimension(np.full((100, 4), np.nan)))


def test_without_scikit_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skdim", None)
    found = lw.analyze(states_of(noise(30, 4, 2), {}))
    assert "intrinsic_dimension" not in found.measures
    assert any("pip install 'layerwise[dimension]'" in note for note in found.notes)


def test_warnings_of_the_process_are_shown_as_before() -> None:
    """scikit-dimension turns all of them off when it is imported."""
    code = """
import warnings
import numpy
from layerwise.geometry.dimension import two_nn
two_nn()(numpy.random.default_rng(0).normal(size=(40, 3)))
with warnings.catch_warnings(record=True) as caught:
    warnings.warn("of somebody else", RuntimeWarning)
print(len(caught))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_settings_of_numba_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may name a cache, and its files are pickles."""
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: cache\n")
    monkeypatch.chdir(tmp_path)
    found = lw.analyze(states_of(noise(30, 4, 2), {}))
    assert "intrinsic_dimension" not in found.measures
    assert "norm" in found.measures
    assert any("reads the file .numba_config.yaml of the current folder" in note for note in found.notes)
    with pytest.raises(RequestError, match=r"^umap uses numba, which reads the file \.numba_config\.yaml"):
        umap(0)


# --- sampling ---------------------------------------------------------------------------------------------


def test_a_sample_has_intervals_and_the_whole_has_none() -> None:
    states = states_of(noise(300, 6, 2), {})
    whole, some = lw.analyze(states), lw.analyze(states, max_rows=100, seed=4)
    assert all(one.low is None for one in whole.measures.values())
    assert (whole.rows, some.rows, some.of) == (300, 100, 300)
    slow = {"svcca", "pwcca", "procrustes"}
    assert {name for name, one in some.measures.items() if one.low is None} == slow
    low, high = some["norm"].low, some["norm"].high
    assert low is not None
    assert high is not None
    assert (low < some["norm"].values).all()
    assert (some["norm"].values < high).all()
    every = lw.analyze(states, max_rows=100, seed=4, intervals="all")
    assert all(one.low is not None for one in every.measures.values())
    assert np.array_equal(every["rsa"].values, some["rsa"].values)
    none = lw.analyze(states, max_rows=100, seed=4, intervals="none")
    assert all(one.low is None for one in none.measures.values())


def test_a_sample_of_one_text_has_no_intervals_and_says_so() -> None:
    found = lw.analyze(words_of(noise(60, 4, 1), [["a", "b"] * 15] * 2, {}), max_rows=20)
    assert found["norm"].low is None
    assert any("The sample is the first rows of a single text" in note for note in found.notes)


def parallel() -> Any:
    """Twelve pairs of texts."""
    columns = {"pair": [str(n // 2) for n in range(24)], "label": ["a", "b"] * 12}
    return states_of(noise(24, 4, 2), columns)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (
            "retrieval",
            {"pairs": "pair"},
            {f"retrieval_{d}" for d in ("cosine", "centred", "csls", "margin", "procrustes")},
        ),
        ("centred", {"pairs": "pair"}, {"retrieval_centred"}),
        ("cka", {}, {"linear_cka", "debiased_cka"}),
        ("CKA", {}, {"linear_cka", "debiased_cka"}),
        ("linear-cka", {}, {"linear_cka"}),
        ("Effective Rank", {}, {"effective_rank"}),
        ("rogue_share", {}, {"rogue_share_1", "rogue_share_2", "rogue_share_3"}),
        ("anisotropy", {}, {"anisotropy"}),
        ("class", {"label": "label"}, {"class_separation"}),
    ],
)
def test_a_word_stands_for_all_measures_that_have_it(name: str, options: Any, expected: set[str]) -> None:
    assert set(lw.analyze(parallel(), measure=name, **options).measures) == expected


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("retrieval", {}, "'retrieval' isn't available for this dataset: it needs pairs; add that, or"),
        (
            "retrieval_csls",
            {"label": "label"},
            "'retrieval_csls' isn't available for this dataset: it needs pairs;",
        ),
        ("against_rsa", {}, "'against_rsa' isn't available for this dataset: it needs against;"),
        ("class_separation", {"pairs": "pair"}, "'class_separation' isn't .*: it needs label;"),
        ("curvature", {}, "'curvature' isn't .*: it needs rows of level='word' or token; extract such"),
        (
            "self_similarity",
            {},
            "'self_similarity' isn't .*: it needs rows of level='word' or token with their",
        ),
        ("class_fisher", {}, r"'class_fisher' doesn't exist; .* first: class_separation \(needs label\), "),
        ("class_fisher", {"label": "label"}, "'class_fisher' doesn't exist; .* first: class_separation, "),
        ("linear-kca", {}, "'linear-kca' doesn't exist; choose from these, the closest first: linear_cka, "),
        ("neighbor_overlap", {}, "'neighbor_overlap' doesn't exist; .* first: neighbour_overlap, "),
        ("", {}, "'' doesn't exist"),
    ],
)
def test_a_measure_says_what_it_needs(name: str, options: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        lw.analyze(parallel(), measure=[name], **options)


def test_only_some_measures() -> None:
    events: list[lw.Progress] = []
    found = lw.analyze(states_of(noise(30, 4, 2), {}), measure=["rsa", "norm"], progress=events.append)
    assert set(found.measures) == {"rsa", "norm"}
    assert {event.stage for event in events} == {"reading the layers", "measure rsa", "measure norm"}


# --- what isn't defined -----------------------------------------------------------------------------------


def test_one_row_one_layer() -> None:
    found = lw.analyze(states_of(noise(1, 4, 1), {"label": ["a"]}), label="label")
    assert np.isfinite(found["norm"].values).all()
    assert np.isnan(found["linear_cka"].values).all()
    assert "Only 1 row: most measures need 4 or more." in found.notes
    assert any(note.startswith("Not defined for any layer:") and "linear CKA" in note for note in found.notes)
    assert any("1 class in 1 row" in note for note in found.notes)
    json.dumps(found.to_json(), allow_nan=False)


def test_bad_layers_are_named_and_the_rest_goes_on() -> None:
    layers = noise(50, 4, 5)
    layers[1][7, 2] = np.nan
    layers[2][:] = 3
    layers[3][9] = 0
    found = lw.analyze(states_of(layers, {}))
    assert "Layer 1 has values that are infinite or NaN: most measures aren't defined there." in found.notes
    assert (
        "Layer 2 is the same in every row: measures that need variance aren't defined there." in found.notes
    )
    assert "Layer 3 has rows of zeros: cosines aren't defined there." in found.notes
    cka = found["linear_cka"].values
    assert np.isnan(cka[[1, 2]]).all()
    assert np.isfinite(cka[np.ix_([0, 3, 4], [0, 3, 4])]).all()
    result = found.to_json()
    assert result["measures"]["linear_cka"]["values"][1][0] is None
    json.dumps(result, allow_nan=False)


def test_labels_that_are_missing() -> None:
    label = ["a", "b", None, ""] * 10
    numbers = [0.0, 1.0, None, float("nan")] * 10
    layers = noise(40, 4, 1)
    found = lw.analyze(states_of(layers, {"label": label}), label="label")
    assert "20 of 40 sampled rows have no label in column 'label'." in found.notes
    again = lw.analyze(states_of(layers, {"label": numbers}), label="label")
    assert "20 of 40 sampled rows have no label in column 'label'." in again.notes, "NaN is no class"
    told = np.arange(40) % 4 < 2
    wanted = separation.class_separation(layers[0][told], (np.arange(40) % 4)[told])
    assert found["class_separation"].values[0] == pytest.approx(wanted)


@pytest.mark.parametrize("label", [[None, ""] * 10, ["a"] * 20, [f"u{n}" for n in range(20)]])
def test_labels_that_tell_nothing_apart_leave_the_measure_empty(label: list[Any]) -> None:
    states = states_of(noise(20, 4, 2), {"label": label})
    found = lw.analyze(states, label="label", measure=["class_separation"], max_rows=19)
    assert found.to_json()["measures"]["class_separation"]["values"] == [None, None]
    assert any("separation isn't defined" in note for note in found.notes)
    assert "Not defined for any layer: class separation." in found.notes
    assert set(found.dimensions) == {"rogue"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "nonsense"}, "no column 'nonsense'.*there are doc, text, key"),
        ({"pairs": "nonsense"}, "no column 'nonsense'.*there are doc, text, key"),
        ({"pairs": "text"}, "no value of column 'text' is shared by exactly two texts"),
        ({"sides": "text"}, "give pairs with it"),
        ({"pairs": "text", "measure": ["class_separation"], "label": None}, "exactly two texts"),
        (
            {"measure": "class_separation"},
            r"'class_separation' isn't available for this dataset: it needs label; add that, or choose from ",
        ),
        ({"measure": ["nonsense"]}, "'nonsense' doesn't exist; choose from these, the closest first: "),
        ({"intervals": "some"}, "choose one of quick, all, none"),
        ({"max_rows": 0}, "give at least 1"),
        ({"seed": -1}, "give a whole number"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        lw.analyze(states_of(noise(10, 4, 1), {"key": list("aabbccddee")}), **options)


def test_no_rows() -> None:
    empty = pa.table({"doc": pa.array([], pa.int64()), "text": pa.array([], pa.string())})
    states = lw.LayerStates(
        {"emb": np.zeros((0, 4), np.float32)}, index=empty, texts=empty, blocks=0, level="text"
    )
    with pytest.raises(RequestError, match="no rows to analyze"):
        lw.analyze(states)


# --- against another --------------------------------------------------------------------------------------


def test_against_the_same_and_a_turned_copy() -> None:
    layers = noise(100, 6, 3)
    states = states_of(layers, {})
    changed = states_of([layers[0], turned(layers[1]), noise(100, 6, 1, seed=9)[0]], {})
    found = lw.analyze(states, against=changed, measure=[f"against_{name}" for name in MATRICES])
    assert found["against_linear_cka"].values[:2] == pytest.approx(1, abs=1e-5)
    assert found["against_linear_cka"].values[2] < 0.5
    assert found["against_procrustes"].values[:2] == pytest.approx(0, abs=1e-5)
    assert found["against_neighbour_overlap"].values[0] == 1


def test_layers_that_the_other_lacks() -> None:
    layers = noise(50, 6, 4)
    found = lw.analyze(states_of(layers, {}), against=states_of(layers[:2], {}), measure=["against_rsa"])
    assert np.isnan(found["against_rsa"].values).tolist() == [False, False, True, True]
    assert "Not defined for layer 2, 3: RSA (against the other dataset)." in found.notes


def test_against_other_texts() -> None:
    layers = noise(20, 4, 1)
    states = states_of(layers, {})
    other = states_of(layers, {}, [f"text number {n}" if n != 7 else "another" for n in range(20)])
    with pytest.raises(RequestError, match=r"row 7 has text 'another', and in the dataset 'text number 7'"):
        lw.analyze(states, against=other)
    with pytest.raises(RequestError, match="has 19 rows and the dataset 20"):
        lw.analyze(states, against=states_of(noise(19, 4, 1), {}))
    with pytest.raises(RequestError, match="level 'word' and the dataset of level 'text'"):
        lw.analyze(states, against=words_of(layers, [["a"]] * 20, {}))


def test_against_without_texts_says_so() -> None:
    layers = noise(20, 4, 2)
    table = pa.table({"doc": range(20)})
    silent = lw.LayerStates({"emb": layers[0]}, index=table, texts=table, blocks=1, level="text", pool="mean")
    found = lw.analyze(states_of(layers, {}), against=silent, measure=["against_rsa"])
    assert any(note.startswith("No texts are stored, so only the number of rows") for note in found.notes)
    deep = lw.LayerStates({"2": layers[0]}, index=table, texts=table, blocks=2, level="text", pool="mean")
    with pytest.raises(RequestError, match="holds layers 2 and the dataset emb, 1: none in common"):
        lw.analyze(states_of(layers, {}), against=deep)


# --- files and the command --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> Path:
    place = tmp_path_factory.mktemp("analyze")
    lines = [{"text": f"{text} {n}", "label": "ab"[n % 2]} for n, text in enumerate(CORPUS * 2)]
    (place / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lw.extract(place / "texts.jsonl", place / "texts.lw", model=encoder_of("bert"))
    return place


def test_the_command(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "analysis"
    argv = ["analyze", str(stored / "texts.lw"), "--label", "label", "--seed", "7"]
    assert main([*argv, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "class_separation" in printed
    assert "linear_cka with 3" in printed
    assert "32 of 32 rows, seed 7;" in printed
    result = json.loads((out / "analysis.json").read_text())
    assert result["seed"] == 7
    dataset = lw.open_dataset(stored / "texts.lw")
    assert result["dataset"]["sha256"] == dataset.sha256
    assert result["layers"] == ["emb", "1", "2", "3"]
    for one in result["measures"].values():
        assert set(one) >= {"values", "unit", "source"}
    assert result["measures"]["linear_cka"]["values"] == lw.analyze(dataset)["linear_cka"].values.tolist()
    for name in ("geometry", "linear_cka", "procrustes", "projection"):
        assert (out / f"{name}.svg").stat().st_size > 1000
        assert (out / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["analyze", str(stored / "texts.lw"), "--out", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err
    with pytest.raises(OutputError):
        lw.analyze(dataset, out=out)


def test_the_command_says_json(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["analyze", str(stored / "texts.lw"), "--against", str(stored / "texts.lw"), "--measure"]
    assert main([*argv, "against_procrustes", "--json", "--out", str(tmp_path / "a")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["measures"]["against_procrustes"]["values"] == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert main([*argv, "nonsense", "--out", str(tmp_path / "b")]) == 2
    assert "doesn't exist; choose from these, the closest first: " in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_pair_dataset(stored: Path, tmp_path: Path, encoder_of: Callable[[str], Any]) -> None:
    lines = [{"a": f"{text} {n}", "b": f"{text} {n}!"} for n, text in enumerate(CORPUS)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = lw.extract(
        tmp_path / "pairs.jsonl", tmp_path / "pairs.lw", model=encoder_of("bert"), text="a,b"
    )
    found = lw.analyze(dataset, pairs="part")
    a, b = (dataset.layer(3, rows=dataset.where(part=side)) for side in "ab")
    cosine = found["retrieval_cosine"]
    assert cosine.directions == ("a>b", "b>a")
    nearest = [int(np.argmax([x @ y / np.linalg.norm(y) for y in b])) == n for n, x in enumerate(a)]
    # Equally near texts, such as two that the tokenizer reads alike, share a hit.
    assert cosine.values[0, 3] == pytest.approx(np.mean(nearest), abs=1 / len(a))
    assert not any("sides" in note for note in found.notes), "the dataset tells the sides itself"
