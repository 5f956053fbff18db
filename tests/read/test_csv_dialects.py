"""CSV of every dialect, read as Python's csv reads it in strict mode, and pandas."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from layerwise.errors import SourceError
from layerwise.read import open_corpus

pd: Any = pytest.importorskip("pandas")
SEPARATORS = st.sampled_from([",", ";", "|", "\t", " "])
CELLS = st.text(st.sampled_from("ab\"'\n;,|\t é你"), max_size=6)
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(content: str, name: str, **options: Any) -> list[tuple[str, str]]:
    Path(name).write_bytes(content.encode())
    corpus = open_corpus(name, columns=["text", "n"], **options)
    try:
        return [(example.text, example.columns["n"]) for example in corpus]
    except SourceError as error:
        if "there is no text" in str(error):
            return []
        raise


@settings(max_examples=150, deadline=None)
@given(
    rows=ROWS,
    separator=SEPARATORS,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_python_writes(rows: list[tuple[str, str]], separator: str, quoting: Any, end: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=end).writerows(rows)
    assert read(file.getvalue(), "a.csv", separator=separator) == rows


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, separator=SEPARATORS)
def test_what_pandas_writes(rows: list[tuple[str, str]], separator: str) -> None:
    content = pd.DataFrame(rows).to_csv(None, sep=separator, index=False, header=False)
    assert read(content, "a.csv", separator=separator) == rows


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6).filter(
        lambda rows: not any({"\n", "\t"} <= set(cell) for row in rows for cell in row)
    )
)
def test_tsv_of_pandas(rows: list[tuple[str, str]]) -> None:
    # A cell with line ends and tabs may look like two rows without quotes.
    content = pd.DataFrame(rows, columns=["text", "n"]).to_csv(None, sep="\t", index=False)
    Path("a.tsv").write_bytes(content.encode())
    assert [(example.text, example.columns["n"]) for example in open_corpus("a.tsv")] == rows


@settings(max_examples=400, deadline=None)
@given(
    content=st.lists(st.sampled_from(["a", "b", '"', "\n", "\r\n", *",;|\t "]), max_size=30).map("".join),
    separator=SEPARATORS,
)
def test_any_text_is_read_or_refused_as_in_strict_mode(content: str, separator: str) -> None:
    try:
        rows = [
            row
            for row in csv.reader(io.StringIO(content, newline=""), delimiter=separator, strict=True)
            if row
        ]
    except csv.Error:
        with pytest.raises(SourceError, match=r"a\.csv, line \d+: (a quoted cell|1 cells|\d+ cells)"):
            read(content, "a.csv", separator=separator)
        return
    blank = [row for row in rows if len(row) == 1 and not row[0].strip()]
    rows = [row for row in rows if row not in blank]
    if any(len(row) != 2 for row in rows):
        with pytest.raises(SourceError, match=r"cells where there are 2 columns"):
            read(content, "a.csv", separator=separator)
        return
    expected = [tuple(row) for row in rows]
    assert read(content, "a.csv", separator=separator) == expected
    assume(rows and not blank)  # pandas pads a row of one blank cell, which we skip
    frame = pd.read_csv(
        io.StringIO(content), sep=separator, header=None, names=["a", "b"], dtype=str, keep_default_na=False
    )
    assert [tuple(row) for row in frame.itertuples(index=False)] == expected


@settings(max_examples=200, deadline=None)
@given(content=st.text(st.sampled_from('ab",\n'), max_size=40))
def test_after_a_bad_record_the_reader_goes_on(content: str) -> None:
    """No line that is a record by itself is lost, and each bad record is listed with its line."""
    Path("a.csv").write_bytes(content.encode())
    corpus = open_corpus("a.csv", columns=["text", "n"], skip_bad=True)
    try:
        lines = [example.line for example in corpus]
    except SourceError:
        return
    bad = [record.line for record in corpus.skipped]
    assert not set(lines) & set(bad)
    for number, line in enumerate(content.split("\n"), 1):
        if '"' not in line and line.count(",") == 1 and '"' not in content:
            assert number in lines
