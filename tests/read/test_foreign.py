"""Files that aren't text, or not what their names say."""

import bz2
import gzip
import io
import json
import lzma
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layerwise.errors import SourceError
from layerwise.read import open_corpus
from source_kinds import COMPRESSIONS

TABLE = pa.table({"text": ["a", "b"]})
CSV = b"text,label\na,b\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, content: bytes | str) -> str:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def parquet() -> bytes:
    pq.write_table(TABLE, "x.parquet")
    return Path("x.parquet").read_bytes()


def arrow(*, stream: bool = False) -> bytes:
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make("x.arrow", TABLE.schema) as writer:
        writer.write_table(TABLE)
    return Path("x.arrow").read_bytes()


def archive() -> bytes:
    with zipfile.ZipFile("x.zip", "w") as file:
        file.writestr("a.csv", CSV)
    return Path("x.zip").read_bytes()


def tar() -> bytes:
    with tarfile.open("x.tar", "w") as file:
        put("in.csv", CSV)
        file.add("in.csv")
    return Path("x.tar").read_bytes()


@pytest.mark.parametrize("format", ["txt", "csv", "tsv", "jsonl", "json", "conll", "docs"])
def test_formats_that_arent_text(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [
        (parquet(), "is Parquet, not text; give format='parquet'"),
        (arrow(), "is Arrow, not text; give format='arrow'"),
        (arrow(stream=True), "is Arrow, not text; give format='arrow'"),
        (archive(), "is a zip archive, as .xlsx and .docx are, not text; unpack it, or save"),
        (tar(), "is a tar archive, not text; unpack it"),
        (b"%PDF-1.7\n", "is a PDF document, not text; save its text"),
        (b"SQLite format 3\0", "is an SQLite database, not text; save a table of it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Excel or Word file, not text; save it as CSV"),
    ]
    for data, message in kinds:
        for content in (data, gzip.compress(data)):
            with pytest.raises(SourceError, match=f"^file {message}"):
                list(open_corpus(put("file", content), format=format))
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
            with pytest.raises(SourceError, match=f"^stdin {message}"):
                list(open_corpus("-", format=format))


def test_parquet_and_arrow_of_each_other() -> None:
    with pytest.raises(SourceError, match=r"^a\.parquet is Arrow, not Parquet; give format='arrow'$"):
        open_corpus(put("a.parquet", arrow()))
    with pytest.raises(SourceError, match=r"^a\.arrow is Parquet, not Arrow; give format='parquet'$"):
        open_corpus(put("a.arrow", parquet()))


def test_words_that_begin_as_other_formats_do() -> None:
    lines = ["PAR1 is text", "PK is text", "%PDF is text", "ARROW1 too", "SQLite format 3 is text"]
    assert [e.text for e in open_corpus(put("a.txt", "\n".join(lines)))] == lines
    for number, line in enumerate(lines):
        assert [e.text for e in open_corpus(put(f"{number}.txt", line))] == [line]


def test_compressed_twice() -> None:
    for name, content in (
        ("a.csv.gz", gzip.compress(gzip.compress(CSV))),
        ("a.csv.xz", lzma.compress(bz2.compress(CSV))),
        ("a.txt.bz2", bz2.compress(pa.compress(CSV, codec="zstd", asbytes=True))),
    ):
        with pytest.raises(SourceError, match=rf"^{name} is compressed twice, with .*; decompress it once$"):
            list(open_corpus(put(name, content)))


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_nothing_under_a_compressed_name(ending: str) -> None:
    """Zero bytes, a compressed nothing, and plain text under a name of compression."""
    none = COMPRESSIONS[ending](b"")
    for content in (b"", none):
        with pytest.raises(SourceError, match=r"is empty; its first line must name the columns"):
            open_corpus(put(f"a.csv{ending}", content))
        with pytest.raises(SourceError, match="there is no text in"):
            list(open_corpus(put(f"a.jsonl{ending}", content)))
    assert [e.text for e in open_corpus(put(f"a.csv{ending}", CSV))] == ["a"]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.xlsx", "save it as CSV"),
        ("a.XLS", "save it as CSV"),
        ("a.docx", "save its text"),
        ("a.pdf", "save its text"),
        ("a.zip", "unpack it"),
        ("a.tar.gz", "unpack it"),
    ],
)
def test_endings_of_documents_and_archives(name: str, advice: str) -> None:
    with pytest.raises(SourceError, match=rf"^{name}: files that end in \.\w+ can't be read; {advice}"):
        open_corpus(put(name, b"x"))


# --- one text format under the name of another ----------------------------------------------------------------


def test_json_under_other_names() -> None:
    lines = '{"text": "a", "n": 1}\n{"text": "b", "n": 2}\n'
    with pytest.raises(SourceError, match=r"if each line is a JSON object, give format='jsonl'$"):
        open_corpus(put("a.csv", lines))
    with pytest.raises(SourceError, match=r"if the file is one array, give format='json'$"):
        list(open_corpus(put("a.jsonl", '[{"text": "a"}, {"text": "b"}]')))
    with pytest.raises(
        SourceError, match=r"every line must be one JSON object; if the file is one array, give"
    ):
        list(open_corpus(put("b.jsonl", '[\n{"text": "a"},\n{"text": "b"}\n]\n')))
    with pytest.raises(
        SourceError, match=r"every line must be one JSON object; if the file is a table, give format='csv'"
    ):
        list(open_corpus(put("c.jsonl", CSV)))
    assert (
        len(list(open_corpus("a.csv", format="jsonl")))
        == len(list(open_corpus("b.jsonl", format="json")))
        == 2
    )


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table"])
def test_what_pandas_writes_by_default(orient: str) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"text": ["a", "b"], "n": [1, 2]})
    with pytest.raises(
        SourceError, match=r'an array of records is needed, .*; write it so \(pandas: orient="records"\)$'
    ):
        list(open_corpus(put("a.json", frame.to_json(orient=orient))))
    assert [e.text for e in open_corpus(put("a.json", frame.to_json(orient="records")))] == ["a", "b"]
    lines = frame.to_json(orient="records", lines=True)
    assert [e.text for e in open_corpus(put("a.json", lines))] == ["a", "b"]


def test_one_record_of_lists_is_a_record() -> None:
    name = put("a.json", json.dumps({"words": ["a", "b"], "tags": [1, 2]}))
    assert [e.words for e in open_corpus(name, words="words")] == [("a", "b")]


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (
            '{"text": "a"}\n{"text": "b"}\n',
            "each line is a JSON object; give format='jsonl' to read its fields",
        ),
        ("text,label\na,b\n", "the first line may name columns; give format='csv' to read them"),
        ('"text"\t"label"\na\tb\n', "the first line may name columns; give format='tsv' to read them"),
        ("one\rtwo\rthree\r", "a carriage return alone ends no line; write line ends as newlines"),
    ],
)
def test_lines_that_may_be_no_texts_are_noted(
    content: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = open_corpus(put("a.txt", content))
    assert [e.text for e in corpus] == [e.text for e in corpus] == content.rstrip("\n").split("\n")
    assert len(corpus.notices) == 1
    assert corpus.notices[0].startswith(f"a.txt is read as text, a line each, and {advice}")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    corpus = open_corpus("-")
    assert (len(list(corpus)), corpus.notices[0][:18]) == (content.count("\n") or 1, "stdin is read as t")
    corpus = open_corpus("a.txt", format="txt")  # nothing is guessed
    assert (len(list(corpus)), corpus.notices) == (content.count("\n") or 1, [])


def test_tagged_words_on_standard_input_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Ann B-PER\n\nsees O\nRome B-LOC\n")))
    corpus = open_corpus("-")
    assert len(list(corpus)) == 4
    assert "each line is a word with its tag; give format='conll' to read sentences" in corpus.notices[0]


@pytest.mark.parametrize(
    "text", ["a text, a label\nb\n", "The text\tis here\n", "{}x\n", "", "\n\n", "{not json}\n"]
)
def test_lines_of_text_are_not_noted(text: str) -> None:
    corpus = open_corpus(put("a.txt", text + "one more\n"))
    assert (len(list(corpus)) > 0, corpus.notices) == (True, [])


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.conll"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lines_that_end_with_a_carriage_return(name: str, encoding: str) -> None:
    content = "text,n\ra,1\rb,2\r" if name != "a.jsonl" else '{"text": "a"}\r{"text": "b"}\r'
    with pytest.raises(
        SourceError, match=rf"^{name} ends its lines with a carriage return alone, and a newline is needed"
    ):
        list(open_corpus(put(name, content.encode(encoding)), encoding=encoding))
