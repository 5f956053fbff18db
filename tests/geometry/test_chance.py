"""What unrelated layers give, by drawing them; and which measures can't be told from that."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.geometry import chance, layer_pairs, shape
from layerwise.geometry.caution import FEW_ROWS
from layerwise.geometry.layer_pairs import Measure
from layerwise.geometry.separation import class_separation
from layerwise.geometry.similarity import MEASURES
from planted import noise, states_of, words_of

Rows = np.ndarray[Any, Any]
BY_NAME = {measure.name: measure for measure in MEASURES}
every_measure = pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)


def planted(rows: int, widths: tuple[int, int], seed: int = 0) -> list[Rows]:
    """Two related layers whose dimensions differ in variance, as those of a model do."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(rows, widths[0])) / np.sqrt(1 + np.arange(widths[0]))
    second = first @ rng.normal(size=widths) + rng.normal(size=(rows, widths[1])) / np.sqrt(
        1 + np.arange(widths[1])
    )
    return [first.astype(np.float32), second.astype(np.float32)]


def drawn(measure: Measure[Any], x: Rows, y: Rows, draws: int = 30) -> float:
    """The mean over random orders of the rows of y."""
    rng = np.random.default_rng(1)
    values = [
        measure.compare(measure.prepare(x), measure.prepare(y[rng.permutation(len(y))])) for _ in range(draws)
    ]
    return float(np.mean(values))


@every_measure
@pytest.mark.parametrize(("rows", "widths"), [(200, (12, 7)), (60, (40, 20)), (50, (60, 80))])
def test_the_floor_is_the_mean_over_random_orders_of_rows(
    measure: Measure[Any], rows: int, widths: tuple[int, int]
) -> None:
    layers = planted(rows, widths)
    order = np.random.default_rng(0).permutation(rows)
    floor = layer_pairs.by_chance(measure, layer_pairs.prepared(measure, layers), order)
    # Thirty orders scatter; Wachter's law is that of large matrices, and Procrustes' pairs are approximated.
    tolerance = {"procrustes": 0.1, "svcca": 0.03, "pwcca": 0.03}.get(measure.name, 0.02)
    for i, x in enumerate(layers):
        for j, y in enumerate(layers):
            assert floor[i, j] == pytest.approx(drawn(measure, x, y), abs=tolerance), (i, j)


def test_wachters_law_at_its_ends() -> None:
    assert chance.mean_correlation(50, 20, 40) == 1, "as many directions as rows"
    assert chance.mean_correlation(1, 1, 1001) == pytest.approx(math.sqrt(2 / math.pi / 1000), rel=0.1)
    assert chance.mean_correlation(384, 384, 4 * 384) == pytest.approx(0.43, abs=0.01), (
        "four rows per dimension"
    )
    # 299 of the correlations are 1 whatever the data: p + q - (n - 1).
    assert chance.mean_correlation(300, 300, 302) > 299 / 300
    squared = np.random.default_rng(0)
    x, y = (np.linalg.qr(squared.normal(size=(500, d)))[0] for d in (90, 140))
    correlations = np.linalg.svd(x.T @ y, compute_uv=False)
    # Not centred: 500 rows have the freedom of 501 centred ones.
    assert chance.mean_correlation(90, 140, 501) == pytest.approx(correlations.mean(), abs=0.01)


def test_undefined_layers_have_no_floor() -> None:
    layers = [noise(30, 4, 1)[0], np.zeros((30, 4), np.float32)]
    for measure in MEASURES:
        floor = layer_pairs.by_chance(measure, layer_pairs.prepared(measure, layers), np.arange(30))
        assert np.isfinite(floor).tolist() == [[True, False], [False, False]], measure.name


def test_measures_that_cannot_be_told_from_chance_say_so() -> None:
    """Thirty rows of forty dimensions: canonical correlations are 1 whatever the layers are."""
    analysis = lw.analyze(states_of(noise(30, 40, 3), {}))
    for name in ("svcca", "pwcca"):
        measure = analysis[name]
        assert measure.caution is not None, name
        assert measure.caution.reason == "floor", name
        assert measure.usable is not None, name
        assert not measure.usable.any(), name
        assert "unrelated layers, with rows in random order, also give" in measure.caution.text
        assert "use at least 160 rows, or debiased CKA." in measure.caution.text
        assert all(text.startswith("(") for text in measure.written()), name
    assert analysis["debiased_cka"].caution is None
    assert analysis["debiased_cka"].usable is None
    assert any(note.startswith("PWCCA: Not usable with 30 rows") for note in analysis.cautions())
    assert "Not usable" in analysis._repr_html_()
    content = analysis.to_json()["measures"]["pwcca"]
    assert content["caution"]["need"] == 160
    assert content["usable"] == [[False] * 3] * 3
    assert content["floor"] == [[1.0] * 3] * 3
    assert content["values"] == [[pytest.approx(1)] * 3] * 3, "the numbers are kept"


@pytest.mark.parametrize(
    ("rows", "reasons"),
    [
        (3, dict.fromkeys(BY_NAME, "rows")),
        (6, {"debiased_cka": "scatter", "rsa": "scatter", "neighbour_overlap": "rows", "pwcca": "floor"}),
        (11, {"neighbour_overlap": "floor"}),
        (400, dict.fromkeys(BY_NAME)),
    ],
)
def test_few_rows(rows: int, reasons: dict[str, str | None]) -> None:
    analysis = lw.analyze(states_of(noise(rows, 8, 2), {}), measure=list(reasons))
    for name, reason in reasons.items():
        caution = analysis[name].caution
        assert (caution.reason if caution else None) == reason, name
        if caution:
            assert caution.need is not None
            assert caution.need > rows, name
            assert (caution.need >= FEW_ROWS) == (reason != "rows"), name


def test_intrinsic_dimension_needs_rows() -> None:
    pytest.importorskip("skdim")
    few = lw.analyze(states_of(noise(25, 8, 2), {}), measure=["intrinsic_dimension"])["intrinsic_dimension"]
    assert few.caution is not None
    assert few.caution.text == "Not usable with so few rows (25): use at least 35."
    many = lw.analyze(states_of(noise(60, 8, 2), {}), measure=["intrinsic_dimension"])["intrinsic_dimension"]
    assert many.caution is None


def test_floors_of_single_layers() -> None:
    rng = np.random.default_rng(3)
    sentences = [[f"w{n}" for n in rng.integers(0, 9, rng.integers(3, 9))] for _ in range(60)]
    count = sum(map(len, sentences))
    layers = [layer + 0.5 for layer in noise(count, 24, 2)]
    tags = [str(n % 3) for n in range(count)]
    analysis = lw.analyze(words_of(layers, sentences, {"tag": tags}), label="tag", intervals="none")
    x = layers[1]
    random_classes = [class_separation(x, rng.permutation(tags)) for _ in range(50)]
    words = np.unique([w for s in sentences for w in s], return_inverse=True)[1]
    random_words = [shape.self_similarity(x, rng.permutation(words)) for _ in range(50)]
    wanted = {
        "anisotropy": (0, 1e-12, "evenly spread directions"),
        "anisotropy_standardised": (-1 / (count - 1), 1e-12, "unrelated rows"),
        "rogue_share_2": (1 / 24, 1e-12, "equal shares"),
        "class_separation": (np.mean(random_classes), 0.002, "random classes"),
        "self_similarity": (np.mean([s.mean for s in random_words]), 0.01, "unrelated rows"),
        "self_similarity_adjusted": (np.mean([s.adjusted for s in random_words]), 0.01, "unrelated rows"),
        "curvature": (2 * math.pi / 3, 0.05, "unrelated rows"),
    }
    for name, (value, tolerance, of) in wanted.items():
        measure = analysis[name]
        assert measure.floor is not None, name
        assert measure.floor[1] == pytest.approx(value, abs=tolerance), name
        assert measure.floor_of == of, name
    # These rows are unrelated, so texts have what random texts have.
    for name in ("intra_text_similarity", "intra_text_similarity_adjusted", "prompt_entropy"):
        measure = analysis[name]
        assert measure.floor is not None, name
        assert measure.floor == pytest.approx(measure.values, abs=0.03), name
    assert analysis["norm"].floor is None
    assert analysis["class_separation"].floor_written() == f"{2 / (count - 1):.3f}"


def test_retrieval_has_the_floor_and_the_step_of_its_pairs() -> None:
    layers = noise(40, 6, 2)
    sides = ["a", "b"] * 20
    states = states_of(layers, {"pair": [str(n // 2) for n in range(40)], "side": sides})
    measure = lw.analyze(states, pairs="pair", sides="side", measure=["retrieval"])["retrieval_cosine"]
    assert measure.floor is not None
    assert measure.floor.tolist() == [[1 / 20] * 2] * 2
    assert measure.floor_of == "random guesses"
    ab = measure.by_direction("retrieval_cosine")["retrieval_cosine:a>b"]
    assert ab.decimals <= 2, "a share of 20 texts has steps of 0.05"
    assert all(len(text) <= 4 for text in ab.written())


def test_against_has_floors_too() -> None:
    layers = noise(30, 40, 2)
    analysis = lw.analyze(states_of(layers, {}), against=states_of(layers, {}), measure=["against"])
    caution = analysis["against_pwcca"].caution
    assert caution is not None
    assert caution.reason == "floor"
    assert analysis["against_procrustes"].alike == 0
    assert analysis["against_debiased_cka"].floor is not None
    assert analysis["against_debiased_cka"].floor.tolist() == [0, 0]


def test_digits_end_where_intervals_do() -> None:
    analysis = lw.analyze(states_of(noise(400, 8, 2), {}), max_rows=60, measure=["anisotropy", "norm"])
    measure = analysis["anisotropy"]
    assert measure.low is not None
    assert measure.high is not None
    half = float(np.median(measure.high - measure.low) / 2)
    assert 10**-measure.decimals <= half < 10 * 10**-measure.decimals or measure.decimals == 3
    (column,) = {len(text.split(".")[1]) for text in measure.written()}
    assert column == measure.decimals


def test_the_terminal_marks_what_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder_of: Callable[[str], Any]
) -> None:
    states = encoder_of("bert").encode([f"text {n} of a few words" for n in range(12)])
    dataset = tmp_path / "texts.lw"
    lw.extract([f"text {n} of a few words" for n in range(12)], dataset, model=encoder_of("bert"))
    argv = [
        "analyze",
        str(dataset),
        "--measure",
        "pwcca",
        "--measure",
        "procrustes",
        "--out",
        str(tmp_path / "a"),
    ]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    header, pwcca, procrustes = out.splitlines()[:3]
    assert header.split()[-2:] == ["by", "chance"]
    assert pwcca.startswith(f"pwcca with {states.layers[-1]} ")
    assert "(1.00" in pwcca
    assert procrustes.startswith(f"procrustes with {states.layers[-1]} (distance)")
    assert "PWCCA" in err
    assert "Not usable with 12 rows of" in err
    content = json.loads((tmp_path / "a" / "analysis.json").read_text())
    assert content["measures"]["pwcca"]["caution"]["rows"] == 12
