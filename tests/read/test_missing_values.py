"""A missing value is null in every column of every container: None, NaN, pandas' NA and NaT; a missing text is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layerwise.errors import SourceError
from layerwise.read import open_corpus

pd: Any = pytest.importorskip("pandas")
NAN = float("nan")
TEXTS = ["one", "two", "three", "four"]
COLUMNS: dict[str, list[Any]] = {
    "name": ["x", None, "", "y"],
    "class": [1, None, 2, None],
    "share": [0.5, None, None, 1.0],
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def records(missing: Any) -> list[dict[str, Any]]:
    """The rows of COLUMNS with this value for those that are missing."""
    return [
        {"text": text, **{n: missing if v[row] is None else v[row] for n, v in COLUMNS.items()}}
        for row, text in enumerate(TEXTS)
    ]


def lines(missing: Any) -> str:
    content = "".join(json.dumps(row) + "\n" for row in records(missing))
    Path("rows.jsonl").write_text(content)
    return "rows.jsonl"


def array(missing: Any) -> str:
    Path("rows.json").write_text(json.dumps(records(missing)))
    return "rows.json"


def parquet(table: pa.Table) -> str:
    pq.write_table(table, "rows.parquet")
    return "rows.parquet"


def nan_table() -> pa.Table:
    """A table whose columns of numbers hold NaN, not null."""
    numbers = {n: pa.array([NAN if x is None else float(x) for x in COLUMNS[n]]) for n in ("class", "share")}
    return pa.table({"text": TEXTS, "name": COLUMNS["name"], **numbers})


SOURCES: dict[str, Callable[[], Any]] = {
    "records of None": lambda: records(None),
    "records of NaN": lambda: records(NAN),
    "records of numpy's NaN": lambda: records(np.float64("nan")),
    "records of pandas' NA": lambda: records(pd.NA),
    "records of pandas' NaT": lambda: records(pd.NaT),
    "pandas": lambda: pd.DataFrame(records(None)),
    "pandas of objects": lambda: pd.DataFrame(records(NAN), dtype=object).astype({"text": str}),
    "records of pandas": lambda: pd.DataFrame(records(None)).to_dict("records"),
    "nullable pandas": lambda: pd.DataFrame(records(None)).convert_dtypes(),
    "polars": lambda: pl.DataFrame(records(None)),
    "polars of NaN": lambda: pl.from_arrow(nan_table()),
    "arrow of NaN": nan_table,
    "parquet": lambda: parquet(pa.Table.from_pylist(records(None))),
    "parquet of NaN": lambda: parquet(nan_table()),
    "lines of null": lambda: lines(None),
    "lines of NaN": lambda: lines(NAN),
    "an array of NaN": lambda: array(NAN),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_missing_is_null(kind: str) -> None:
    examples = list(open_corpus(SOURCES[kind]()))
    assert [example.text for example in examples] == TEXTS
    for name, values in COLUMNS.items():
        assert [example.columns[name] for example in examples] == values, name


@pytest.mark.parametrize("missing", [None, NAN, pd.NA])
@pytest.mark.parametrize("words", [True, False])
def test_what_is_missing_in_lists_is_null(missing: Any, words: bool) -> None:
    rows = [{"w": ["a", "b"], "tags": ["X", missing], "score": [0.5, missing]}, {"w": ["c"], "tags": missing}]
    if not words:
        rows = [{"text": " ".join(row.pop("w")), **row} for row in rows]
    first, second = open_corpus(rows, words="w" if words else None)
    columns = {**first.columns, **first.word_columns}
    assert [list(columns[name]) for name in ("tags", "score")] == [["X", None], [0.5, None]]
    assert [*{**second.columns, **second.word_columns}.values()] in ([None], [(None,)])


@pytest.mark.parametrize("missing", [None, NAN, pd.NA])
def test_a_missing_text_is_told(missing: Any) -> None:
    rows = [{"text": "one"}, {"text": missing}, {"text": ""}]
    with pytest.raises(
        SourceError,
        match=r"^the list, row 2: column 'text' holds null where a text is needed; give it a text, or leave "
        r"such records out with skip_bad=True$",
    ):
        list(open_corpus(rows))
    corpus = open_corpus(rows, skip_bad=True)
    assert [example.text for example in corpus] == ["one", ""]
    assert [bad.line for bad in corpus.skipped] == [2]
    joined = open_corpus([{**row, "title": "T"} for row in rows], text=["title", "text"], join=": ")
    assert [example.text for example in joined] == ["T: one", "T", "T"]


def test_two_columns_of_text_are_a_pair_and_told() -> None:
    Path("items.csv").write_text("title,description\na,b\nc,d\n")
    corpus = open_corpus("items.csv", text="title,description")
    assert len(list(corpus)) == 4
    (note,) = corpus.notices
    assert "two rows" in note
    assert "give join" in note
    joined = open_corpus("items.csv", text="title,description", join=" ")
    assert [example.text for example in joined] == ["a b", "c d"]
    assert joined.notices == []
