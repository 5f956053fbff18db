"""Headers that lack names: row names as R and pandas write them, and empty cells."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from layerwise.errors import SourceError
from layerwise.read import open_corpus

pd: Any = pytest.importorskip("pandas")
FRAME = pd.DataFrame({"text": ["A good, long film", 'said "no"', "two\nlines"], "label": ["a", "b", "a"]})
EXPECTED = list(FRAME.itertuples(index=False, name=None))
NOTE = (
    "the header has no name for 1 of 3 columns, the first as R and pandas write row names; called 'row' here"
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(content: str, name: str) -> str:
    Path(name).write_text(content, encoding="utf-8", newline="")
    return name


def written_by_r(frame: Any, separator: str, names: list[str], corner: str | None) -> str:
    """Write a data frame as R's write.table does; `corner` is the name above the row names (write.csv: "")."""
    file = io.StringIO()
    # R doubles quotes in write.csv, and with qmethod="double" in write.table.
    writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow([*([] if corner is None else [corner]), *frame.columns])
    writer.writerows([name, *row] for name, row in zip(names, frame.itertuples(index=False), strict=True))
    return file.getvalue()


@pytest.mark.parametrize(
    "names", [["1", "2", "3"], ["7", "2", "40"], ["0", "1", "2"]], ids=["all", "a sample", "pandas"]
)
@pytest.mark.parametrize("corner", [None, ""])
@pytest.mark.parametrize(
    ("name", "separator", "options"),
    [
        ("a.csv", ",", {}),
        ("a.csv", ";", {"separator": ";"}),
        ("a.tsv", "\t", {}),
        ("a.csv", " ", {"separator": " "}),
    ],
)
def test_row_names_of_r(
    name: str, separator: str, options: dict[str, str], corner: str | None, names: list[str]
) -> None:
    corpus = open_corpus(put(written_by_r(FRAME, separator, names, corner), name), **options)
    assert [(e.text, e.columns["label"]) for e in corpus] == EXPECTED
    assert [e.columns["row"] for e in corpus] == names
    assert corpus.notices == [f"{name}: {NOTE}"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_the_index_of_pandas(name: str) -> None:
    separator = "," if name == "a.csv" else "\t"
    for label in (None, False):
        # In TSV without a name for the index, a cell over two lines may be two rows.
        frame = FRAME.replace("\n", " ", regex=True) if separator == "\t" else FRAME
        corpus = open_corpus(put(frame.to_csv(None, sep=separator, index_label=label), name))
        assert [(e.text, e.columns["label"]) for e in corpus] == list(
            frame.itertuples(index=False, name=None)
        )
        assert [e.columns["row"] for e in corpus] == ["0", "1", "2"]
    examples = list(open_corpus(put("text,label\n1,only,a\n", "a.csv"), id="row"))
    assert [(e.text, e.id) for e in examples] == [("only", "1")]


@pytest.mark.parametrize(
    "rows",
    [
        ["hello, world,a", "no, thanks,b"],  # commas without quotes
        ["doc_a,good,a", "doc_b,bad,b"],
        ["1,good,a", "1,bad,b"],
        ["1,good,a", "two,bad,b"],
        ["5,000 people,a"],
        ["1,good,a", "2,bad"],
    ],
)
def test_what_may_be_no_row_name_is_refused(rows: list[str]) -> None:
    with pytest.raises(
        SourceError,
        match=r"line 2: 3 cells where there are 2 columns .*if each row begins with its name, as R writes it, name that",
    ):
        list(open_corpus(put("\n".join(["text,label", *rows, ""]), "a.csv")))


def test_other_columns_without_a_name() -> None:
    corpus = open_corpus(put("text,label,,\na,b,c,\n", "a.csv"))
    assert [dict(e.columns) for e in corpus] == [{"label": "b", "column_3": "c", "column_4": ""}]
    assert corpus.notices == [
        "a.csv: the header has no name for 2 of 4 columns; called 'column_3', 'column_4' here"
    ]
    corpus = open_corpus(put(",row,text\n1,2,a\n", "b.csv"))
    assert [dict(e.columns) for e in corpus] == [{"row_": "1", "row": "2"}]


def test_files_with_and_without_row_names_differ() -> None:
    put("text,label\n1,a,b\n2,c,d\n", "a.csv")
    put("text,label\na,b\n", "b.csv")
    with pytest.raises(SourceError, match="^b.csv has other columns than a.csv"):
        open_corpus(["a.csv", "b.csv"])
    assert len(list(open_corpus(["a.csv", put(",text,label\n1,a,b\n", "c.csv")]))) == 3
