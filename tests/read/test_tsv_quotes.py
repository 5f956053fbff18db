"""Which quotes of a TSV file are text, and which are taken off."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.read import open_corpus, tsv

TAKEN = "a.tsv: the quotes around cells are taken off, since "
EXCEL = f"{TAKEN}each cell with a comma or a quote has them, and no other"
KEPT = "the quotes around a cell are kept as text; if the file is quoted as CSV is, give format='csv' and separator="
CELLS = st.text(st.sampled_from("ab, \"'\n;é你"), max_size=6)
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def excel(rows: Sequence[tuple[str, ...]], *, end: str = "\r\n") -> str:
    """Write rows as Excel's "Text (Tab delimited)" and "Unicode Text"."""

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\t\n\r') else text

    return "".join("\t".join(map(cell, row)) + end for row in rows)


def plain(rows: Sequence[tuple[str, ...]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def read(content: str | bytes, **options: Any) -> tuple[list[tuple[str, str]], list[str]]:
    Path("a.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    corpus = open_corpus("a.tsv", **options)
    rows = [(example.text, example.columns["n"]) for example in corpus]
    assert [(example.text, example.columns["n"]) for example in corpus] == rows
    return rows, corpus.notices


ROWS = [
    ("A good, long film", "1,5"),
    ('said "hi"', "2"),
    ('"x", he said', "3"),
    ("two\nlines", "4"),
    ("plain", ""),
]


def test_what_excel_writes() -> None:
    content = excel([("text", "n"), *ROWS])
    assert read(content) == (ROWS, [EXCEL])
    assert read(content.encode("utf-16"), encoding="utf-16") == (ROWS, [EXCEL])
    assert read(excel(ROWS), columns=["text", "n"]) == (ROWS, [EXCEL])
    # The name of a column may have a comma, too.
    assert read(excel([("text", "n", "a, b"), *[(*row, "") for row in ROWS]])) == (ROWS, [EXCEL])


@settings(max_examples=150, deadline=None)
@given(rows=TABLES)
def test_tables_of_excel(rows: list[tuple[str, str]]) -> None:
    read_rows, notices = read(excel([("text", "n"), *rows]))
    assert (read_rows, notices) in ((rows, [EXCEL]), (rows, []))


@pytest.mark.parametrize(
    "others",
    [
        [("no, thanks", "b")],  # a comma without quotes
        [('5" disk', "b")],  # a quote without quotes
        [('"open', "b")],
        [('"x" he "y"', "b")],
        [('"needless"', "b"), ("bare", "c")],
        [("bare", "no, thanks"), ("bare", "c")],
    ],
)
def test_quotes_are_text_where_other_cells_contradict(others: list[tuple[str, str]]) -> None:
    rows = [('"Yes, we can"', "a"), *others]
    for order in (rows, rows[::-1]):
        content = plain([("text", "n"), *order])
        read_rows, notices = read(content)
        assert (read_rows, len(notices)) == (order, 1)
        assert KEPT in notices[0]


def test_a_far_row_contradicts() -> None:
    rows = [('"Yes, we can"', "a"), *[("plain", "b")] * 5000]
    assert read(plain([("text", "n"), *rows])) == ([("Yes, we can", "a"), *rows[1:]], [EXCEL])
    rows.append(("no, thanks", "c"))
    assert read(plain([("text", "n"), *rows]))[0] == rows


def test_very_long_files_are_decided_by_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsv, "_LONGEST_SCAN", 1000)
    rows = [('"Yes, we can"', "a"), *[("plain", "b")] * 5000, ("no, thanks", "c")]
    assert read(plain([("text", "n"), *rows])) == ([("Yes, we can", "a"), *rows[1:]], [EXCEL])


def test_a_column_of_quoted_cells() -> None:
    """R without a header: all strings have quotes, and the numbers none."""
    file = io.StringIO()
    rows = [("so, so", 1.5), ("good", 2), ('"sic"', 3)]
    csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    expected = [(text, str(n)) for text, n in rows]
    assert read(file.getvalue(), columns=["text", "n"]) == (
        expected,
        [f"{TAKEN}all cells of a column have them"],
    )


def test_one_cell_is_no_rule() -> None:
    assert read('text\tn\n"good"\t1\n')[0] == [('"good"', "1")]


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(*[st.text(st.sampled_from('a, "'), max_size=5)] * 2), min_size=1, max_size=6))
def test_no_quotes_vanish_in_silence(rows: list[tuple[str, str]]) -> None:
    rows = [row for row in rows if any(row)]
    if not rows:
        return
    read_rows, notices = read(plain([("text", "n"), *rows]))
    for (text, n), (text_before, n_before) in zip(read_rows, rows, strict=True):
        for cell, before in ((text, text_before), (n, n_before)):
            doubled = before[1:-1].replace('""', '"')
            assert cell == before or (cell == doubled and ('""' in before or notices[0].startswith(TAKEN)))


def test_standard_input_keeps_quotes_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(excel([("text", "n"), *ROWS]).encode())))
    corpus = open_corpus("-", format="tsv")
    assert [example.text for example in corpus][:2] == ['"A good, long film"', 'said "hi"']
    assert corpus.notices == [f"stdin, line 2: {KEPT}'\\\\t'"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(excel([("text", "n"), *ROWS]).encode())))
    corpus = open_corpus("-", format="csv", separator=r"\t")
    assert [(example.text, example.columns["n"]) for example in corpus] == ROWS


def test_a_text_in_quotes_that_pandas_writes_is_no_reason_for_a_note() -> None:
    assert read('text\tn\n"""Yes"""\t1\nno, thanks\t2\n') == ([('"Yes"', "1"), ("no, thanks", "2")], [])
