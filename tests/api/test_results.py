"""What verbs return: a short text, a table in a notebook, a data frame, JSON."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.extraction.speed import Speed
from layerwise.results import Result
from planted import noise, states_of

CLASSES = [
    *(
        lw.Alignment,
        lw.Analysis,
        lw.Benchmark,
        lw.Evaluation,
        lw.Export,
        lw.Facts,
        lw.Overview,
        lw.ProbeResult,
        lw.Repair,
        lw.Verification,
    )
]


@pytest.fixture(scope="module")
def results(encoder_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    place = tmp_path_factory.mktemp("results")
    lines = [{"text": f"text number {n}", "label": "ab"[n % 2], "<y>": "xy"[n % 2]} for n in range(24)]
    (place / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = lw.extract(place / "texts.jsonl", place / "texts.lw", model=encoder_of("bert"), shard_texts=8)
    head = lw.train(dataset, task="classify", label="<y>", mix="1", out=place / "y.head")
    speeds = {name: Speed(1000.0, 2.0, 0.5) for name in ("loop", "layerwise fp32", "a", "b", "c")}
    states = states_of(noise(40, 4, 2), {"<y>": list("ab") * 20})
    return {
        "probe": lw.probe(states, task="classify", label="<y>", mix=["mean(all)"], quick=True),
        "alignment": lw.align(["<b>a</b> text"], ["a text"], model=encoder_of("bert"), gold=["1-1 0-0"]),
        "analysis": lw.analyze(states, measure=["norm", "rsa"], max_rows=20),
        "evaluation": head.evaluate(dataset),
        "verification": lw.verify(dataset, sample=2, device="cpu"),
        "unread": lw.verify(dataset, sample=0),
        "repair": lw.repair(dataset, device="cpu"),
        "export": lw.export(dataset, place / "npy", to="npy"),
        "small": lw.export(dataset, place / "small", to="pca:3", mix="2"),
        "dataset": lw.info(dataset),
        "head": lw.info(place / "y.head"),
        "environment": lw.env(),
        "overview": lw.show("Hello <b>world</b>", model=encoder_of("bert").checkpoint.folder, level="token"),
        "benchmark": lw.Benchmark(
            "minilm", 2, 9, 3, speeds, {"fp32": 100.0}, 1e6, {"flair": "not installed"}
        ),
    }


def each(results: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return iter(results.items())


def test_results_are_exported_and_frozen(results: Mapping[str, Any]) -> None:
    assert {type(result) for result in results.values()} == set(CLASSES)
    for name, result in each(results):
        assert isinstance(result, Result)
        field = dataclasses.fields(type(result))[0].name  # type: ignore[arg-type]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, field, None)
        assert result == results[name]


def test_the_text_of_a_result_is_short(results: Mapping[str, Any]) -> None:
    for name, result in each(results):
        lines = repr(result).splitlines()
        assert 1 <= len(lines) <= 5, name
        assert all(len(line) <= 100 for line in lines), name
        assert lines[0].strip(), name
    assert repr(results["probe"]).startswith("ProbeResult: classify <y>: 40 rows")
    assert repr(results["verification"]).startswith("Verification: ok, texts compared: 2, tolerance ")
    assert "no row was compared" in repr(results["unread"])
    assert "24 rows × 4 layers × 32, level text, pool mean, stored as float16" in repr(results["dataset"])
    assert "<y>: classify of <y> on 1" in repr(results["head"])
    assert repr(results["repair"]) == "Repair: every shard is as it was written"
    assert "and 1 lines more" not in repr(results["benchmark"])


def test_a_notebook_shows_a_table_in_which_nothing_is_run(results: Mapping[str, Any]) -> None:
    for name, result in each(results):
        shown = result._repr_html_()
        assert "<table>" in shown, name
        assert "<b>world" not in shown
        assert "<y>" not in shown


def test_results_become_data_frames(results: Mapping[str, Any]) -> None:
    frames = {name: result.to_pandas() for name, result in each(results)}
    probe = frames["probe"]
    assert probe["mix"].tolist() == ["emb", "1", "mean(all)"]
    assert probe["score"].tolist() == [candidate.score for candidate in results["probe"].candidates]
    assert {"low", "high", "p_vs_best", "compression", "cost", "bytes_per_row"} <= set(probe.columns)
    analysis = frames["analysis"]
    assert analysis["layer"].tolist() == ["emb", "1"]
    np.testing.assert_array_equal(analysis["norm"], results["analysis"]["norm"].values)
    matrix = results["analysis"].to_pandas("rsa").set_index("layer")
    np.testing.assert_array_equal(matrix.to_numpy(), results["analysis"]["rsa"].values)
    assert results["analysis"].to_pandas("norm").columns.tolist() == [
        "layer",
        "value",
        "low",
        "high",
        "floor",
    ]
    with pytest.raises(lw.RequestError, match="no measure is called 'x'; there are norm, rsa"):
        results["analysis"].to_pandas("x")
    assert frames["alignment"].columns.tolist() == [
        *("method", "layer", "aer", "low", "high", "precision", "recall")
    ]
    assert frames["alignment"]["layer"].tolist() == ["emb", "1", "2", "3"]
    assert frames["verification"]["layer"].tolist() == ["emb", "1", "2", "3"]
    assert frames["verification"].columns.tolist() == ["layer", "max_abs", "max_rel", "cosine"]
    assert len(frames["unread"]) == len(frames["repair"]) == 0
    assert frames["repair"].columns.tolist() == ["shard", "changed"]
    assert frames["export"]["name"].tolist() == ["out"]
    small = dict(zip(frames["small"]["name"], frames["small"]["value"], strict=True))
    assert (small["to"], small["numbers"], small["recall_rows"]) == ("pca:3", 3, 24)
    assert frames["evaluation"].columns.tolist() == [
        *("name", "task", "label", "rows", "metric", "score", "low", "high")
    ]
    confusion = results["evaluation"].confusion.to_pandas()
    assert confusion.columns.tolist() == ["label", "predicted", "rows"]
    assert confusion["rows"].sum() == 24
    classes = results["evaluation"]["<y>"].to_pandas()
    assert classes["label"].tolist() == ["x", "y"]
    assert frames["benchmark"]["tokens_per_s"].tolist() == [1000.0] * 5
    overview = frames["overview"]
    assert overview.columns.tolist()[:5] == ["layer", "text", "unknown", "norm", "dim00"]
    assert len(overview) == len(results["overview"])
    assert frames["environment"].columns.tolist() == ["name", "value"]


def test_names_are_looked_up_listed_and_found(results: Mapping[str, Any]) -> None:
    for name, entries in {"probe": ["emb", "1", "mean(all)"], "analysis": ["norm", "rsa"]}.items():
        result = results[name]
        assert list(result) == entries
        assert len(result) == len(entries)
        assert entries[0] in result
        assert "nonsense" not in result
        assert [result[entry] for entry in result]
        with pytest.raises(lw.RequestError, match=r"is called 'nonsense'; there are "):
            result["nonsense"]
        for entry in result:
            assert len(repr(result[entry]).splitlines()) <= 5
    assert list(results["evaluation"]) == ["<y>"]
    accuracy = results["evaluation"]["<y>"].scores["accuracy"]
    assert 0 <= accuracy.low <= accuracy.score <= accuracy.high <= 1


def test_an_overview_is_a_sequence_of_vectors(results: Mapping[str, Any]) -> None:
    overview = results["overview"]
    assert overview[-1] == list(overview)[-1] == overview.rows[-1]
    assert overview[-1].layer == "3"


def test_facts_are_read_like_a_dict(results: Mapping[str, Any], tmp_path: Path) -> None:
    facts = results["dataset"]
    assert facts["kind"] == "dataset"
    assert results["head"]["kind"] == "head"
    assert facts == dict(facts) == facts.to_json()
    assert "layers" in facts
    assert facts.get("nonsense") is None
    with pytest.raises(KeyError):
        facts["nonsense"]
    assert results["environment"]["layerwise"] == lw.__version__


def test_json_is_what_commands_print(results: Mapping[str, Any]) -> None:
    for name, result in each(results):
        content = result.to_json()
        assert json.loads(json.dumps(content)) == content or name in ("probe", "analysis"), name
    assert list(results["verification"].to_json()) == ["ok", "problems", "compared", "parity", "note"]
    assert list(results["evaluation"].to_json()) == [
        *("rows", "scores", "unknown_labels", "per_label", "confusion", "task", "label", "dropped", "notes")
    ]


def test_a_dataset_is_taken_open_or_by_its_folder(results: Mapping[str, Any]) -> None:
    dataset = lw.open_dataset(results["dataset"]["path"])
    assert lw.info(dataset) == lw.info(dataset.path)
    assert lw.finish(dataset).sha256 == lw.finish(dataset.path).sha256


def test_a_dataset_becomes_a_data_frame_part_by_part(results: Mapping[str, Any]) -> None:
    dataset = lw.open_dataset(results["dataset"]["path"])
    frame = dataset.to_pandas("2")
    assert frame.columns.tolist() == [
        *dataset.index.column_names,
        *(f"dim{n:02}" for n in range(dataset.width)),
    ]
    assert frame["label"].tolist() == dataset.index["label"].to_pylist()
    np.testing.assert_array_equal(
        frame.to_numpy()[:, -dataset.width :].astype(np.float32), dataset.layer("2")
    )
    parts = [part.to_polars("2") for part in dataset.parts()]
    assert len(parts) == 3
    assert [doc for part in parts for doc in part["doc"]] == frame["doc"].tolist()
    chosen = dataset.where(label="a")
    assert set(dataset.to_pandas("2", rows=chosen)["label"]) == {"a"}
    np.testing.assert_array_equal(dataset.to_torch("2", rows=chosen).numpy(), dataset.layer("2", rows=chosen))
