"""Labels of every type across every pair of formats: what one program writes and another writes is one class."""

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pytest

import layerwise as lw
from conftest import SHARED
from layerwise.errors import RequestError
from layerwise.labels.labelled import read_labels
from layerwise.labels.unknown import match_classes
from selection import few_of

COUNT = 24
KINDS = [number % 2 for number in range(COUNT)]
TEXTS = [f"{'warm bright' if kind else 'cold dark'} day {number}" for number, kind in enumerate(KINDS)]


def frame(labels: Any) -> pd.DataFrame:
    return pd.DataFrame({"text": TEXTS, "label": labels})


def gap(values: list[Any]) -> list[Any]:
    """The values with the last one missing."""
    return [*values[:-1], None]


TYPES: dict[str, pd.DataFrame] = {
    "int": frame(KINDS),
    "int with a gap": frame(pd.Series(gap(KINDS))),
    "nullable int with a gap": frame(pd.array(gap(KINDS), dtype="Int64")),
    "float": frame([kind + 0.5 for kind in KINDS]),
    "float32": frame(np.array([kind + 0.1 for kind in KINDS], np.float32)),
    "bool": frame([bool(kind) for kind in KINDS]),
    "bool with a gap": frame(pd.array(gap([bool(kind) for kind in KINDS]), dtype="boolean")),
    "string": frame(["pos" if kind else "neg" for kind in KINDS]),
    "string with blanks": frame(
        [f"{'pos' if kind else 'neg'}{' ' * (n % 3)}" for n, kind in enumerate(KINDS)]
    ),
    "string with a gap": frame(gap(["pos" if kind else "neg" for kind in KINDS])),
    "category": frame(pd.Categorical(["pos" if kind else "neg" for kind in KINDS])),
    "category of ints": frame(pd.Categorical(KINDS)),
}
SAVED: Mapping[str, Callable[[pd.DataFrame, Path], Any]] = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "json": lambda table, path: table.to_json(path, orient="records"),
    "parquet": lambda table, path: table.to_parquet(path, index=False),
    "arrow": lambda table, path: _write_arrow(pa.Table.from_pandas(table, preserve_index=False), path),
    "feather": lambda table, path: feather.write_feather(table, str(path)),
}
IN_MEMORY: Mapping[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda table: table,
    "polars": lambda table: pl.from_pandas(table),
    "pyarrow": lambda table: pa.Table.from_pandas(table, preserve_index=False),
    "records": lambda table: [
        {name: None if pd.isna(value) else value for name, value in record.items()}
        for record in table.to_dict("records")
    ],
}


def _write_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def source_of(table: pd.DataFrame, format: str, folder: Path) -> Any:
    if format in IN_MEMORY:
        return IN_MEMORY[format](table)
    path = folder / f"rows.{format}"
    SAVED[format](table, path)
    return path


OFTEN = ("int with a gap", "float", "bool", "string with blanks", "category")


@pytest.mark.parametrize("kind", few_of(TYPES, *OFTEN))
def test_labels_of_a_type_across_formats(kind: str, encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    table, formats = TYPES[kind], [*SAVED, *IN_MEMORY]
    sources, labels = {}, {}
    for format in formats:
        sources[format] = source_of(table, format, tmp_path)
        dataset = lw.extract(sources[format], tmp_path / f"{format}.lw", model=encoder_of("bert"), layers="1")
        labels[format] = read_labels(dataset, "classify", "label")
    kept = COUNT - ("gap" in kind)
    for first, second in itertools.product(formats, formats):
        classes = sorted(set(labels[first].values))
        gold, unknown = match_classes(labels[second].values, classes)
        assert gold.tolist() == labels[first].values.tolist(), f"{first} and {second}"
        assert len(classes) == 2
        assert len(gold) == kept
        assert not unknown
    head = lw.train(tmp_path / "csv.lw", task="classify", label="label", mix="1")
    scores = {format: head.evaluate(sources[format])["label"] for format in formats}
    for format, score in scores.items():
        assert score.rows == kept, format
        assert score.scores["accuracy"].score == 1, format
        assert list(score.per_label) == list(head.classes["label"]), format


def test_a_dataset_is_evaluated_with_labels_of_another_type(
    encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    """A training file with 1.0 and 0.0 (a column that had a gap), a test file with 1 and 0."""
    encoder = encoder_of("bert")
    train = lw.extract(
        source_of(TYPES["int with a gap"], "csv", tmp_path), tmp_path / "train.lw", model=encoder, layers="1"
    )
    test = lw.extract(
        source_of(TYPES["int"], "parquet", tmp_path), tmp_path / "test.lw", model=encoder, layers="1"
    )
    head = lw.train(train, task="classify", label="label", mix="1", out=tmp_path / "head")
    assert head.classes["label"] == ("0", "1")
    assert lw.load_head(tmp_path / "head").evaluate(test)["label"].scores["accuracy"].score == 1


def test_labels_that_a_head_has_never_seen(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    dataset = lw.extract(TYPES["string"], tmp_path / "rows.lw", model=encoder_of("bert"), layers="1")
    head = lw.train(dataset, task="classify", label="label", mix="1")
    labels = ["mixed", "mixed ", *TYPES["string"]["label"][2:]]
    result = head.evaluate(frame(labels))["label"]
    assert result.unknown_labels == {"mixed": 2}
    assert "never seen 'mixed' (2 rows)" in " ".join(result.notes)
    assert "'mixed' = 'mixed '" in " ".join(result.notes)
    assert result.scores["accuracy"].score == pytest.approx((COUNT - 2) / COUNT)
    with pytest.raises(
        RequestError, match="has seen none of the labels in column 'label': '1', '2'; it knows 'neg'"
    ):
        head.evaluate(frame([1 + kind for kind in KINDS]))


def test_training_tells_what_it_merges(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    labels = [("pos" if kind else "neg") + " " * (number == 3) for number, kind in enumerate(KINDS)]
    dataset = lw.extract(frame(labels), tmp_path / "rows.lw", model=encoder_of("bert"), layers="1")
    head = lw.train(dataset, task="classify", label="label", mix="1")
    assert head.classes["label"] == ("neg", "pos")
    assert head.training["notes"][0] == "These spellings are one class each: 'pos' = 'pos '."
    probed = lw.probe(dataset, task="classify", label="label", mix=[], quick=True)
    assert probed.classes == ("neg", "pos")
    assert "These spellings are one class each: 'pos' = 'pos '." in probed.notes
    analysis = lw.analyze(dataset, label="label", measure=["class_separation"])
    assert "These spellings are one class each: 'pos' = 'pos '." in analysis.notes
    clean = lw.extract(TYPES["string"], tmp_path / "clean.lw", model=encoder_of("bert"), layers="1")
    expected = lw.analyze(clean, label="label", measure=["class_separation"])
    assert np.allclose(analysis["class_separation"].values, expected["class_separation"].values)


@pytest.mark.skipif(not (SHARED / "cases").exists(), reason="shared/ is absent")
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("tr_float.csv", "te_int.csv"),
        ("tr_float.parquet", "te_int.jsonl"),
        ("tr_float.csv", "te_int.jsonl"),
        ("tr_trail.csv", "te_trail.csv"),
    ],
)
def test_the_cases(train: str, test: str, tmp_path: Path) -> None:
    cases = SHARED / "cases"
    dataset = lw.extract(cases / train, tmp_path / "train.lw")
    head = lw.train(dataset, task="classify", label="label")
    assert len(head.classes["label"]) == 2
    assert head.evaluate(cases / test)["label"].scores["accuracy"].score == 1


def test_records_with_labels_of_several_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        json.dumps({"text": "a", "label": 1}) + "\n" + json.dumps({"text": "b", "label": "1"}) + "\n"
    )
    with pytest.raises(lw.LayerwiseError, match="changes its type"):
        lw.extract(path, tmp_path / "rows.lw")
