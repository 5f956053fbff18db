"""CSV and TSV: quotes, cells over several lines, headers, and rows that don't fit."""

import csv
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.errors import RequestError, SourceError
from layerwise.read import Example, csv_rows, open_corpus

pd: Any = pytest.importorskip("pandas")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(content: str | bytes, name: str = "a.csv", **options: Any) -> list[Example]:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(open_corpus(name, **options))


def pairs(content: str | bytes, name: str = "a.csv", **options: Any) -> list[tuple[str, int | None]]:
    return [(example.text, example.line) for example in read(content, name, **options)]


def test_cells_stay_strings() -> None:
    [one, two] = read("n,text,label\n007,hi,1.0\n,,\n")
    assert (one.text, one.columns, one.line, one.id) == ("hi", {"n": "007", "label": "1.0"}, 2, None)
    assert (two.text, two.columns) == ("", {"n": "", "label": ""})


def test_quotes_and_cells_over_lines() -> None:
    content = 'text,n\r\n"a ""b"", c",1\r\n\r\n"one\ntwo\r\n\nthree\u2028",2\r\nlast,3'
    assert pairs(content) == [('a "b", c', 2), ("one\ntwo\r\n\nthree\u2028", 4), ("last", 8)]
    assert pairs('text\n5" disk\n') == [('5" disk', 2)]


def test_a_header_over_two_lines_and_a_mark() -> None:
    assert pairs('\ufefftext,"long\nname"\nhi,1\n') == [("hi", 3)]


def test_blank_lines_are_passed_over() -> None:
    for name, sep in (("a.csv", ","), ("a.tsv", "\t")):
        assert pairs(f"text{sep}n\n\na{sep}1\n   \n\nb{sep}2\n\n", name) == [("a", 3), ("b", 6)]
        assert pairs("text\n\na\n  \n", name) == [("a", 3), ("  ", 4)]


def test_a_cell_of_megabytes() -> None:
    long = "wörter, " * 400_000
    assert pairs(f'text,n\n"{long}",1\n') == [(long, 2)]
    assert pairs(f"text\tn\n{long}\t1\n", "a.tsv") == [(long, 2)]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))), min_size=1
    )
)
def test_what_csv_writes_is_read(rows: list[tuple[str, str]]) -> None:
    with Path("h.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "n"), *rows])
    assert [(e.text, e.columns["n"]) for e in open_corpus("h.csv")] == rows


def test_a_quote_that_opens_in_silence_is_told_with_its_line() -> None:
    content = 'text,label\nok,x\n"fine here,pos\nworse,neg\n"so la la",mid\nend,x\n'
    with pytest.raises(
        SourceError, match=r"^a\.csv, line 3: a quoted cell opens here, .* on line 5, comes 'so la"
    ):
        read(content)
    corpus = open_corpus("a.csv", skip_bad=True)
    assert [e.text for e in corpus] == ["ok", "worse", "so la la", "end"]
    assert [bad.line for bad in corpus.skipped] == [3]
    # The cell that is at fault may open on another line than the record, and after other cells.
    with pytest.raises(
        SourceError, match=r"^a\.csv, line 3: a quoted cell opens here, .* on line 3, comes 'x"
    ):
        read('text,n\n"two\nlines","a"x\n')
    with pytest.raises(SourceError, match=r"^a\.csv, line 2: a quoted cell opens here, .* comes ' ,1"):
        read('text,n\n"a" ,1\n')


def test_very_many_open_quotes_take_no_time_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "_REREAD", 1000)
    content = "text\tn\n" + '"open\t1\n' * 400 + '"two\nlines"\t2\n'
    corpus = open_corpus(put("many.tsv", content), skip_bad=True)
    assert [e.text for e in corpus] == ['"open'] * 400 + ['lines"']
    assert [bad.line for bad in corpus.skipped] == [402]


def put(name: str, content: str) -> str:
    Path(name).write_bytes(content.encode())
    return name


def test_tsv_with_quotes_and_without() -> None:
    content = (
        'text\tn\n"said ""hi"" twice"\t1\n5" disk\t2\n"open\t3\n"quoted"\t4\n""\t5\n"x" he "y"\t6\n"a\ttab"\t7\n'
        '"two\nlines ""and"" more"\t8\nlast\t"of\ntwo"\n'
    )
    assert [(e.text, e.columns["n"], e.line) for e in read(content, "a.tsv")] == [
        ('said "hi" twice', "1", 2),
        ('5" disk', "2", 3),
        ('"open', "3", 4),
        ('"quoted"', "4", 5),
        ("", "5", 6),
        ('"x" he "y"', "6", 7),
        ("a\ttab", "7", 8),
        ('two\nlines "and" more', "8", 9),
        ("last", "of\ntwo", 11),
    ]
    # A header with quotes: every string has them, as R writes it.
    content = '"text"\t"n"\n"a, b"\t1\n"c\nd"\t2\n'
    assert [(e.text, e.columns) for e in read(content, "a.tsv")] == [
        ("a, b", {"n": "1"}),
        ("c\nd", {"n": "2"}),
    ]


@pytest.mark.parametrize("separator", [";", "|", "\t", r"\t", "¦"])
def test_other_separators(separator: str) -> None:
    sep = separator.replace(r"\t", "\t")
    content = f'text{sep}n\n"a{sep}b"{sep}1\nc, d{sep}2\n'
    assert pairs(content, separator=separator) == [(f"a{sep}b", 2), ("c, d", 3)]


@pytest.mark.parametrize("separator", ["", ";;", '"', "\n"])
def test_what_is_no_separator(separator: str) -> None:
    with pytest.raises(RequestError, match="is no separator of cells; give one character"):
        read("text\n", separator=separator)


@pytest.mark.parametrize(
    ("name", "header", "advice"),
    [
        ("a.csv", "id;text;label", r"semicolons, give separator=';'"),
        ("a.csv", "text\tlabel", r"tabs, give separator='\\\\t'"),
        ("a.tsv", "text,label", "commas, give format='csv'$"),
        ("a.tsv", "x|text", r"bars, give format='csv' and separator='\|'"),
    ],
)
def test_a_header_with_another_separator_names_it(name: str, header: str, advice: str) -> None:
    with pytest.raises(
        SourceError, match=f"^{name}: the header is one column, .*no column 'text'; .*{advice}"
    ):
        read(f"{header}\n1\n", name)


@pytest.mark.parametrize("line", ["sep=;", "sep=,", "SEP=|"])
def test_a_line_that_tells_excel_the_separator(line: str) -> None:
    with pytest.raises(
        SourceError, match=r"'(sep|SEP)=.?', names no column 'text': .*Excel the separator; take it off"
    ):
        read(f"{line}\ntext;n\na;1\n")


def test_backslashes_before_quotes_are_told() -> None:
    """R's write.table escapes quotes so by default."""
    with pytest.raises(
        SourceError, match=r"line 2: .*double the quotes in it, which have backslashes before them"
    ):
        read('"text","n"\n"he said \\"no\\"",1\n')


def test_separator_and_na_go_with_tables() -> None:
    with pytest.raises(RequestError, match="separator doesn't fit format 'tsv': only CSV"):
        read("text\n", "a.tsv", separator=";")
    with pytest.raises(RequestError, match="na doesn't fit format 'txt'"):
        read("text\n", "a.txt", na=["NA"])


def test_a_file_without_header_names_columns() -> None:
    with pytest.raises(
        SourceError,
        match=r"no column 'text', .*; if the file has no header, name all its columns with columns$",
    ):
        read("a film,1\nanother,0\n")


def test_missing_cells_are_told_or_noted() -> None:
    content = '"","text","label"\n"1","good","pos"\n"2",NA,"neg"\n"3","bad",NA\n"4","NA",NA\n'
    corpus = open_corpus(put("a.csv", content))
    assert [e.text for e in corpus] == [e.text for e in corpus] == ["good", "NA", "bad", "NA"]
    assert corpus.notices[1:] == [  # the first is about the column without a name
        "cells that hold 'NA': 2 in 'text', 2 in 'label'; R, pandas or SQL write it for a missing value; "
        "if it is missing, give na='NA'"
    ], "counted once in two passes"
    corpus = open_corpus("a.csv", na="NA")
    assert [(e.text, e.columns["label"]) for e in corpus] == [
        ("good", "pos"),
        ("", "neg"),
        ("bad", ""),
        ("", ""),
    ]
    assert corpus.notices[1:] == ["cells that hold 'NA': 2 in 'text', 2 in 'label'; they are read as missing"]
    assert [e.columns["label"] for e in read(content, na=["NA", "neg"])] == ["pos", "", "", ""]


def test_missing_cells_are_counted_as_pandas_counts_them() -> None:
    random = Random(0)
    cells = [[random.choice(["NA", "NaN", "a", ""]) for _ in range(3)] for _ in range(300)]
    put("a.csv", "text,b,c\n" + "".join(",".join(row) + "\n" for row in cells))
    frame = pd.read_csv("a.csv", keep_default_na=False)
    corpus = open_corpus("a.csv", na=["NA", "NaN"], limit=250)
    assert len(list(corpus)) == 250
    first = frame.head(250)
    for value in ("NA", "NaN"):
        counts = (first == value).sum()
        (note,) = (note for note in corpus.notices if repr(value) in note)
        assert {f"{count} in {name!r}" in note for name, count in counts.items()} == {True}
    assert len(corpus.notices) == 2


def test_tsv_has_no_quotes() -> None:
    content = 'text\tn\n"a\t1\nb "c"\t"2"\r\n\t\n'
    found = read(content, "a.tsv")
    assert [(e.text, e.columns["n"], e.line) for e in found] == [
        ('"a', "1", 2),
        ('b "c"', '"2"', 3),
        ("", "", 4),
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_without_a_header_the_columns_are_named(name: str) -> None:
    sep = "," if name == "a.csv" else "\t"
    content = f"text{sep}n\nhi{sep}1\n"
    found = read(content, name, columns=["text", "n"])
    assert [(e.text, e.columns, e.line) for e in found] == [("text", {"n": "n"}, 1), ("hi", {"n": "1"}, 2)]
    assert pairs(content, name, columns="n,text") == [("n", 1), ("1", 2)]
    with pytest.raises(SourceError, match=rf"{name}, line 1: 2 cells where there are 1 columns"):
        read(content, name, columns=["text"])
    with pytest.raises(SourceError, match=r"no column 'text', only 'a', 'b'"):
        read(content, name, columns=["a", "b"])


@pytest.mark.parametrize(("name", "sep"), [("a.csv", ","), ("a.tsv", "\t")])
def test_rows_that_dont_fit(name: str, sep: str) -> None:
    content = f"text{sep}n\na{sep}1\nb\nc{sep}2{sep}3\nd{sep}4\n"
    with pytest.raises(
        SourceError, match=rf"^{name}, line 3: 1 cells where there are 2 columns \('text', 'n'\)"
    ):
        read(content, name)
    corpus = open_corpus(name, skip_bad=True)
    assert [e.text for e in corpus] == ["a", "d"]
    assert [(bad.line, bad.why[:7]) for bad in corpus.skipped] == [(3, "1 cells"), (4, "3 cells")]


def test_an_open_quote_is_told_and_swallows_nothing_silently() -> None:
    content = 'text,n\nfine,1\na,"2\nb,3\nc,4\n'
    with pytest.raises(
        SourceError, match=r"a\.csv, line 3: a quoted cell isn't closed up to the last line, 5"
    ):
        read(content)
    assert pairs(content, skip_bad=True) == [("fine", 2), ("b", 4), ("c", 5)]
    with pytest.raises(SourceError, match=r"line 1: a quoted cell isn't closed"):
        read('"text,n\na,1\n')


def test_a_lone_carriage_return_outside_quotes_is_told() -> None:
    with pytest.raises(
        SourceError, match=r"a\.csv, line 2: broken CSV \(new-line character seen in unquoted field\)"
    ):
        read("text,n\na\rb,1\nc,2\n")
    assert pairs("text,n\na\rb,1\nc,2\n", skip_bad=True) == [("c", 3)]
    assert pairs('text,n\n"a\rb",1\n') == [("a\rb", 2)]


def test_undecodable_rows() -> None:
    content = b'text,n\n"a\n\xff",1\nb,2\n\xfe,3\n'
    with pytest.raises(
        SourceError, match=r"a\.csv, line 2: line 3: byte 1 of the line \(0xff\).*with encoding"
    ):
        read(content)
    assert pairs(content, skip_bad=True) == [("b", 4)]
    assert [bad.line for bad in _skipped("a.csv")] == [2, 5]
    with pytest.raises(SourceError, match=r"a\.tsv, line 2: byte 3 of the line \(0xff\)"):
        read(b"text\tn\na\t\xff\n", "a.tsv")
    assert pairs("text,n\nübel,1\n".encode("utf-16"), encoding="utf-16") == [("übel", 2)]


def _skipped(name: str) -> Any:
    corpus = open_corpus(name, skip_bad=True)
    list(corpus)
    return corpus.skipped


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", r"a\.csv is empty; its first line must name the columns, or columns$"),
        (b"\n\n", r"a\.csv is empty"),
        (b"text,n,n\n", r"a\.csv, line 1: the header names 'n' twice"),
        (b"text,\xff\n", r"a\.csv, line 1: byte 6 of the line"),
        (
            b"review,label\nx,1\n",
            r"a\.csv: there is no column 'text', only 'review', 'label'; .*with text, or a column of words with words",
        ),
    ],
)
def test_headers_are_checked_before_anything_is_read(content: bytes, what: str) -> None:
    Path("a.csv").write_bytes(content)
    with pytest.raises(SourceError, match=f"^{what}"):
        open_corpus("a.csv", skip_bad=True)


def test_words_and_id_columns_are_checked() -> None:
    Path("a.csv").write_text("text,n\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"no column 'w', only 'text', 'n'; .*with words"):
        open_corpus("a.csv", words="w")
    with pytest.raises(SourceError, match=r"no column 'k', only 'text', 'n'; .*with id"):
        open_corpus("a.csv", id="k")


def test_files_with_other_columns_are_refused() -> None:
    Path("a.csv").write_text("text,n\na,1\n", encoding="utf-8")
    Path("b.csv").write_text("n,text\n2,b\n", encoding="utf-8")
    Path("c.csv").write_text("text,m\nc,3\n", encoding="utf-8")
    assert [(e.text, e.columns) for e in open_corpus(["a.csv", "b.csv"])] == [
        ("a", {"n": "1"}),
        ("b", {"n": "2"}),
    ]
    with pytest.raises(
        SourceError, match=r"^c\.csv has other columns than a\.csv \(missing: 'n'; additional: 'm'\)"
    ):
        open_corpus(["a.csv", "b.csv", "c.csv"])


def test_words_are_split_at_whitespace() -> None:
    [one, two] = read("words,id,tags\n Hello \u3000 world ,x,A B\n,y,\n", words="words", id="id")
    assert (one.text, one.words, one.id, one.columns) == (
        "Hello world",
        ("Hello", "world"),
        "x",
        {"tags": "A B"},
    )
    assert (two.text, two.words, two.word_columns) == ("", (), {})
