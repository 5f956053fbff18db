"""report: what is on the page, from real datasets; results of others are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from conftest import CORPUS
from layerwise.cli.main import main
from layerwise.errors import ModelError, OutputError, RequestError
from layerwise.geometry.neighbours import nearest
from layerwise.page.backend import PageBackend, answer
from layerwise.page.content import CLIP
from layerwise.page.report import page_data
from pages import held
from planted import noise, states_of, words_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> Path:
    """Datasets of texts, of words and of tokens, with a probe and an analysis of the first."""
    place = tmp_path_factory.mktemp("report")
    lines = [
        {
            "text": f"{text} {n}",
            "label": "ab"[n % 2],
            "score": n / 7,
            "part": n % 3,
            "note": None,
            "unique": f"u{n}",
        }
        for n, text in enumerate([*CORPUS, "long " * 200] * 3)
    ]
    (place / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = [{"words": ["Every", "layer", str(n)], "tag": ["a", "b", "a"]} for n in range(20)]
    (place / "words.jsonl").write_text("".join(json.dumps(line) + "\n" for line in words))
    model = encoder_of("bert")
    dataset = lw.extract(place / "texts.jsonl", place / "texts.lw", model=model)
    lw.extract(place / "words.jsonl", place / "words.lw", model=model, words="words", level="word")
    lw.extract(place / "texts.jsonl", place / "tokens.lw", model=model, level="token")
    lw.extract(place / "texts.jsonl", place / "silent.lw", model=model, no_text=True)
    lw.probe(dataset, task="classify", label="label", mix=[], quick=True, out=place / "probe")
    lw.analyze(dataset, label="label", measure=["norm", "linear_cka"], out=place / "analysis")
    return place


def opened(place: Path, name: str) -> lw.LayerDataset:
    return lw.open_dataset(place / name)


def test_points_are_rows_of_the_dataset(place: Path) -> None:
    dataset = opened(place, "texts.lw")
    data = page_data(dataset, points=30, seed=2)
    points = data["points"]
    assert points["count"] == 30
    assert points["of"] == dataset.rows
    rows = points["row"]
    assert points["coords"].shape == (4, 30, 2)
    assert np.abs(points["coords"]).max() <= 32767
    stored = dataset.index["text"].to_pylist()
    for number, row in enumerate(rows):
        if number in points["clipped"]:
            assert len(points["texts"][number]) == CLIP
            assert points["texts"][number] == stored[row][: CLIP - 1] + "…"
        else:
            assert points["texts"][number] == stored[row]
    assert points["clipped"]
    for layer, name in enumerate(dataset.layers):
        near, cosines = nearest(dataset.layer(name, rows=rows.astype(np.int64)), 10)
        assert points["neighbours"]["points"][layer].tolist() == near.tolist()
        # int8: hundredths of a cosine
        assert points["neighbours"]["cosines"][layer] / 127 == pytest.approx(cosines, abs=0.005)


def test_columns_that_colour(place: Path) -> None:
    dataset = opened(place, "texts.lw")
    points = page_data(dataset)["points"]
    found = {one["name"]: one for one in points["columns"]}
    assert list(found) == ["label", "score", "part", "tokens", "unknown"], (
        "no column without values, or with one per row"
    )
    assert found["label"]["values"] == ["a", "b"]
    labels = [found["label"]["values"][code] for code in found["label"]["codes"]]
    assert labels == dataset.index["label"].to_pylist()
    assert found["score"]["kind"] == "number"
    assert found["score"]["values"] == pytest.approx(np.arange(51) / 7, rel=1e-6)
    assert found["part"]["kind"] == "category", "three numbers are categories"
    assert found["part"]["values"] == ["0", "1", "2"]


def test_missing_labels() -> None:
    states = states_of(noise(8, 4, 2), {"label": ["a", None, "", "b", "a", "b", "a", "b"]})
    (column,) = page_data(states)["points"]["columns"]
    assert column["codes"].tolist() == [0, 65535, 65535, 1, 0, 1, 0, 1]


def test_tokens_have_the_labels_of_their_words(
    place: Path, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    dataset = lw.extract(
        place / "words.jsonl", tmp_path / "d", model=encoder_of("bert"), words="words", level="token"
    )
    points = page_data(dataset)["points"]
    assert points["of"] == points["count"], "what is left out are special tokens, not a sample"
    (tags,) = (one for one in points["columns"] if one["name"] == "tag")
    assert tags["values"] == ["a", "b"]
    assert {code for code, text in zip(tags["codes"], points["texts"], strict=True) if text == "layer"} <= {1}


def test_numbers_among_which_one_is_infinite() -> None:
    values = [*map(str, range(59)), "inf"]
    underscores = [f"1_{n:03}" for n in range(60)]
    found = page_data(
        states_of(noise(60, 4, 1), {"n": values, "u": underscores, "nan": [float("nan"), 1.0] * 30})
    )
    numbers, few = found["points"]["columns"]
    assert numbers["values"][:3].tolist() == [0, 1, 2]
    assert np.isnan(numbers["values"][-1])
    assert few["values"] == ["1"], "NaN is no class, and a whole number is shown as one"


def test_the_label_that_was_asked_for_comes_first() -> None:
    states = states_of(noise(40, 4, 1), {"first": list("xy") * 20, "label": list("aabb") * 10})
    data = page_data(states, analysis=lw.analyze(states, label="label", measure=["norm"]))
    assert [one["name"] for one in data["points"]["columns"]] == ["label", "first"]


def test_words_stand_in_their_texts(place: Path) -> None:
    points = page_data(opened(place, "words.lw"))["points"]
    assert points["texts"][:3] == ["Every", "layer", "0"]
    whole = dict(zip(points["context"]["docs"].tolist(), points["context"]["texts"], strict=True))
    for n, text in enumerate(points["texts"]):
        start, end = points["span"][n]
        assert whole[int(points["doc"][n])][start:end] == text
    tags = next(one for one in points["columns"] if one["name"] == "tag")
    assert tags["codes"].tolist() == [0, 1, 0] * 20


def test_no_text_no_text_on_the_page(place: Path) -> None:
    data = page_data(opened(place, "silent.lw"))
    assert data["points"]["texts"] is None
    assert data["tokens"] == []
    assert "contains no texts" in data["tokens_note"]
    assert "Every layer" not in str(data)


@pytest.mark.parametrize("name", ["texts.lw", "tokens.lw"])
def test_tokens_are_those_of_the_model(place: Path, encoder_of: Callable[[str], Any], name: str) -> None:
    dataset = opened(place, name)
    (one,) = page_data(dataset, texts=[1])["tokens"]
    text = dataset.texts["text"][1].as_py()
    states = encoder_of("bert").encode([text], level="token")
    assert len(one["tokens"]) == min(64, states.rows)
    plain = [p for p, special in zip(one["tokens"], one["special"], strict=True) if not special]
    assert plain == [p for p in states.index["text"].to_pylist() if p][: len(plain)]
    stack = states.stack()[:, :64]
    # tokens.lw holds float16
    assert one["norms"] == pytest.approx(np.linalg.norm(stack, axis=2), rel=2e-3)
    assert one["moves"].shape == (3, len(one["tokens"]))
    assert one["attention"] is None


def test_attention_is_asked_for(place: Path, encoder_of: Callable[[str], Any]) -> None:
    dataset = opened(place, "texts.lw")
    (one,) = page_data(dataset, texts=[0], attention=True)["tokens"]
    wanted = encoder_of("bert").attention(dataset.texts["text"][0].as_py())
    assert one["attention"] / 255 == pytest.approx(wanted, abs=0.0021)  # uint8
    assert one["attention_layers"] == ["1", "2", "3"]
    assert one["tokens"][0] == "[CLS]"


def test_maps_have_a_bound(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three blocks of four heads are twelve maps a text."""
    monkeypatch.setattr("layerwise.page.tokens.MAPS", 2 * 12 * 18**2)
    dataset = opened(place, "texts.lw")
    both = page_data(dataset, texts=[12, 16], attention=True)["tokens"]
    assert [one["attention"].shape[2:] for one in both] == [(18, 18), (18, 18)]
    assert all(len(one["tokens"]) > 18 for one in both)
    (alone,) = page_data(dataset, texts=[12], attention=True)["tokens"]
    assert alone["attention"].shape[2:] == (25, 25)
    monkeypatch.setattr("layerwise.page.tokens.MAPS", 2)
    assert page_data(dataset, texts=[12, 16], attention=True)["tokens"][0]["attention"].shape[2:] == (8, 8)


def test_a_model_that_is_gone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*given: Any, **options: Any) -> None:
        raise ModelError("model 'x' isn't here")

    monkeypatch.setattr("layerwise.encode.load.load_without_prompts", gone)
    with pytest.warns(UserWarning, match="the page shows no tokens: model 'x' isn't here"):
        data = page_data(opened(place, "texts.lw"))
    assert data["tokens"] == []
    assert "couldn't be encoded again" in data["tokens_note"]
    with pytest.raises(ModelError):
        page_data(opened(place, "texts.lw"), attention=True)


def test_results_of_this_dataset_and_of_no_other(place: Path, tmp_path: Path) -> None:
    dataset = opened(place, "texts.lw")
    data = page_data(dataset, probe=place / "probe", analysis=str(place / "analysis"))
    assert data["probe"]["label"] == "label"
    assert set(data["analysis"]["measures"]) == {"norm", "linear_cka"}
    for name, given in {"probe": place / "probe", "analysis": place / "analysis"}.items():
        for other in ("words.lw", "tokens.lw"):
            with pytest.raises(RequestError, match=f"^{name} is of another dataset"):
                page_data(opened(place, other), **{name: given})  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="^analysis is of another dataset"):
        page_data(states_of(noise(9, 4, 2), {}), analysis=place / "analysis")
    with pytest.raises(RequestError, match="give the folder that `probe` wrote"):
        page_data(dataset, probe=tmp_path / "nothing")
    with pytest.raises(RequestError, match="contains no analysis"):
        page_data(dataset, analysis=place / "probe" / "probe.json")
    wrong: list[Any] = [{"measures": 5}, {"measures": {"norm": {"values": [1]}}, "layers": None}, [], "x"]
    for broken in wrong:
        (tmp_path / "analysis.json").write_text(json.dumps(broken))
        with pytest.raises(RequestError, match="contains no analysis, or a damaged one"):
            page_data(dataset, analysis=tmp_path)
    with pytest.raises(RequestError, match="probe can't be 3"):
        page_data(dataset, probe=3)
    with pytest.raises(RequestError, match="contains no probe"):
        page_data(dataset, probe=lw.analyze(dataset, measure=["norm"]))
    here, there = (states_of(noise(40, 4, 2, seed=n), {"y": list("ab") * 20}) for n in (0, 1))
    with pytest.raises(RequestError, match="^analysis is of another dataset"):
        page_data(there, analysis=lw.analyze(here, measure=["norm"]))
    asks: list[dict[str, Any]] = [{"attention": True}, {"texts": [0]}]
    for asked in asks:
        with pytest.raises(RequestError, match="need a dataset on disk"):
            page_data(here, **asked)
    (tmp_path / "probe.json").write_text("{")
    with pytest.raises(RequestError, match="isn't JSON"):
        page_data(dataset, probe=tmp_path)


@pytest.mark.parametrize(
    "layers", [noise(1, 4, 1), [np.full((6, 4), np.nan)], [np.zeros((2, 4))], noise(3, 1, 2)]
)
def test_hardly_anything(layers: list[Any], tmp_path: Path) -> None:
    states = states_of(layers, {})
    path = lw.report(states, tmp_path / "page.html", analysis=lw.analyze(states))
    assert path.stat().st_size > 10_000


def test_rows_in_memory(tmp_path: Path) -> None:
    states = words_of(noise(6, 4, 2), [["a", "b"]] * 3, {"tag": list("xyxyxy")})
    found = lw.probe(
        states_of(noise(40, 4, 2), {"y": list("ab") * 20}), task="classify", label="y", mix=[], quick=True
    )
    assert lw.report(states, tmp_path / "page.html").exists()
    states = states_of(noise(40, 4, 2), {"y": list("ab") * 20})
    assert lw.report(states, tmp_path / "other.html", probe=found).exists()


def test_umap_lays_the_map_out(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def flat_of(seed: int) -> Callable[[Any, Any], Any]:
        seeds.append(seed)
        return lambda rows, before: np.stack([np.arange(len(rows)), np.arange(len(rows)) ** 2], axis=1)

    monkeypatch.setattr("layerwise.page.report.by_umap", flat_of)
    out = tmp_path / "page.html"
    argv = ["report", str(place / "texts.lw"), "--umap", "--seed", "5", "--texts", "0", "--out", str(out)]
    assert main(argv) == 0
    points = held(out.read_text())[0]["points"]
    assert (points["method"], points["seed"], seeds) == ("umap", 5, [5])
    wanted, plain = (
        page_data(opened(place, "texts.lw"), umap=umap, texts=[0])["points"] for umap in (True, False)
    )
    assert plain["method"] == "pca"
    assert np.array_equal(wanted["coords"][0], wanted["coords"][3]), (
        "every layer is laid out by what was given"
    )
    assert not np.array_equal(wanted["coords"], plain["coords"])


def test_the_command(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    argv = ["report", str(place / "texts.lw"), "--out", str(out)]
    assert (
        main(
            [*argv, "--probe", str(place / "probe"), "--analysis", str(place / "analysis"), "--texts", "0,3"]
        )
        == 0
    )
    assert "open it in a browser" in capsys.readouterr().out
    assert out.read_text().startswith("<!doctype html>")
    assert main(argv) == 2
    assert "already exists" in capsys.readouterr().err
    for wrong, message in {
        "--lang=fr": "en, zh",
        "--texts=9999": "there is no text 9999; texts are 0 to 50",
        "--texts=a": "not a whole number",
        "--points=0": "give at least 1",
    }.items():
        assert main(["report", str(place / "texts.lw"), "--out", str(tmp_path / "b.html"), wrong]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "b.html").exists()
    with pytest.raises(OutputError, match="already exists"):
        lw.report(place / "texts.lw", out)


# --- explore ----------------------------------------------------------------------------------------------


def test_what_stands_behind_the_page(place: Path) -> None:
    dataset = opened(place, "texts.lw")
    explored = PageBackend(dataset, points=20)
    head = answer(explored, "head", {})
    assert head["points"]["remote"]
    assert head["points"]["coords"] is None
    assert head["points"]["texts"] is None
    part = answer(explored, "coords", {"layer": "2", "start": "5", "count": "10"})
    assert np.array_equal(part, explored.data["points"]["coords"][2, 5:15])
    texts = answer(explored, "text", {"rows": "30,2,30"})
    stored = dataset.index["text"].to_pylist()
    assert [(one["row"], one["text"]) for one in texts] == [(row, stored[row]) for row in (30, 2, 30)]
    found = answer(explored, "neighbours", {"row": "30", "layer": "2", "k": "5"})
    rows, cosines = nearest(dataset.layer("2"), 5)
    assert [one["row"] for one in found] == rows[30].tolist(), "over all rows, not only those on the map"
    assert [one["cosine"] for one in found] == pytest.approx(cosines[30], abs=1e-4)
    shown = explored.data["points"]["row"].tolist()
    assert all(one["point"] == (shown.index(one["row"]) if one["row"] in shown else None) for one in found)
    hits = answer(explored, "search", {"q": "EVERY LAYER"})
    assert hits["rows"] == [row for row, text in enumerate(stored) if "every layer" in text.lower()]
    assert hits["total"] == len(hits["rows"])
    assert [shown[point] for point in hits["points"]] == [row for row in shown if row in hits["rows"]]


def test_words_behind_the_page(place: Path) -> None:
    explored = PageBackend(opened(place, "words.lw"), points=10)
    (one,) = explored.texts([4])
    assert one == {"row": 4, "text": "layer", "context": "Every layer 1", "start": 6, "end": 11}


@pytest.mark.parametrize(
    ("what", "query", "message"),
    [
        ("coords", {"layer": "9", "start": "0", "count": "1"}, "no layer '9'; there are emb, 1"),
        ("coords", {}, "'start' is missing"),
        (
            "coords",
            {"layer": "1", "start": "-5", "count": "1"},
            "is no list of numbers; give whole numbers of 0 or more",
        ),
        ("text", {"rows": "9" * 30}, "is no list of numbers; give whole numbers of 0 or more"),
        ("text", {"rows": "a"}, "is no list of numbers"),
        ("text", {"rows": "999"}, "no row 999"),
        ("neighbours", {"row": "0", "layer": "1", "k": "0"}, "give 1 to 100"),
        ("nonsense", {}, "there is no request 'nonsense'"),
    ],
)
def test_requests_that_make_no_sense(place: Path, what: str, query: dict[str, str], message: str) -> None:
    explored = PageBackend(opened(place, "texts.lw"), points=5, texts=[])
    with pytest.raises(RequestError, match=message):
        answer(explored, what, query)
