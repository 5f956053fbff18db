"""Plain text and docs: line ends, encodings, and bytes that are none."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.errors import SourceError
from layerwise.read import Skipped, open_corpus
from layerwise.read.file import File
from layerwise.read.lines import read_lines

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "utf-7"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def texts(raw: bytes, encoding: str = "utf-8") -> list[str]:
    Path("a.txt").write_bytes(raw)
    return [example.text for example in open_corpus("a.txt", encoding=encoding)]


def test_a_line_ends_at_newlines_only() -> None:
    odd = "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\rj"
    assert texts(f"{odd}\nnext\r\nlast".encode()) == [odd, "next", "last"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\n\nb", ["a", "", "", "b"]),
        (b"\n", [""]),
        (b"\r\n", [""]),
        (b"a\r\r\nb\r", ["a\r", "b\r"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b" a \n\t", [" a ", "\t"]),
        (b"a\0b\n", ["a\0b"]),
    ],
)
def test_lines(raw: bytes, expected: list[str]) -> None:
    assert texts(raw) == expected


def test_lines_have_numbers_and_a_source() -> None:
    texts(b"a\n\nb\n")
    assert [(e.line, e.source, e.id, e.words) for e in open_corpus("a.txt")][2] == (3, "a.txt", None, None)


def test_a_line_of_megabytes_is_one_text() -> None:
    long = "wörter " * 500_000
    assert texts(f"{long}\nnext".encode()) == [long, "next"]


@pytest.mark.parametrize("encoding", [*ENCODINGS, "utf-32-be", "UTF16", "big5", "shift_jis", "cp037"])
def test_other_encodings(encoding: str) -> None:
    lines = ["hello", "", "中文" if "cp" not in encoding else "abc", "end"]
    assert texts("\r\n".join(lines).encode(encoding), encoding) == lines


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\r\n\ufeff", codec="utf-8"))),
    encoding=st.sampled_from(ENCODINGS),
)
def test_joining_and_reading_are_inverse(
    lines: list[str], encoding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "joined.txt"
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    read = list(read_lines(File(path, "joined.txt", "joined.txt"), encoding))
    assert [line.text[:-1] for line in read] == lines
    assert all(line.wrong is None for line in read)


def test_newline_bytes_inside_other_characters_end_no_line() -> None:
    tricky = "\u0a0a\u0a00\u0d0a\u000d\u0a0d ÿ \U00010a0a"
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        assert texts(f"{tricky}\n{tricky}".encode(encoding), encoding) == [tricky, tricky]


@pytest.mark.parametrize("size", [65535, 65536, 65537])
def test_lines_longer_than_what_is_read_at_once(size: int) -> None:
    lines = ["x" * (size // 2), "y" * size, "z"]
    assert texts("\n".join(lines).encode("utf-16"), "utf-16") == lines


@pytest.mark.parametrize("bom", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_the_mark_says_the_byte_order(bom: bytes) -> None:
    codec = "utf-16-le" if bom == codecs.BOM_UTF16_LE else "utf-16-be"
    assert texts(bom + "a\n\nb".encode(codec), "utf-16") == ["a", "", "b"]


def test_bytes_that_arent_text_are_refused_by_place() -> None:
    with pytest.raises(
        SourceError,
        match=r"^a\.txt, line 2: byte 4 of the line \(0xe9\) isn't utf-8; .*with encoding, such as cp1252, gb18030",
    ):
        texts("one\ncafé\n".encode("latin-1"))
    assert texts("one\ncafé\n".encode("latin-1"), "latin-1") == ["one", "café"]
    with pytest.raises(SourceError, match=r"line 2: byte 3 of the line \(0x00\) isn't utf-16"):
        texts(codecs.BOM_UTF16_LE + "a\nb\ud800c\n".encode("utf-16-le", "surrogatepass"), "utf-16")
    with pytest.raises(SourceError, match=r"line 1: byte 3 of the line"):
        texts(b"ab\xff", "gb18030")


def test_bad_lines_are_passed_over() -> None:
    Path("a.txt").write_bytes(b"one\n\xff\xfe\nthree\n\xc3")
    corpus = open_corpus("a.txt", skip_bad=True)
    assert [(e.text, e.line) for e in corpus] == [("one", 1), ("three", 3)]
    assert [bad.line for bad in corpus.skipped] == [2, 4]


@pytest.fixture
def folder() -> str:
    for name in ("b.txt", "a/z.md", "a.txt", "a/.hidden", ".git/config", "a/b/c"):
        path = Path("docs", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{name}\r\nsecond\n".encode())
    return "docs"


def test_docs_of_a_folder(folder: str) -> None:
    found = list(open_corpus(folder, format="docs"))
    assert [e.id for e in found] == ["a.txt", "a/b/c", "a/z.md", "b.txt"]
    assert {(e.source, e.line) for e in found} == {("docs", None)}
    assert found[0].text == "a.txt\r\nsecond\n"
    assert [e.columns for e in found] == [{"folder": name} for name in ("docs", "b", "a", "docs")]
    assert [e.source for e in open_corpus("docs/", format="docs", limit=1)] == ["docs/"]


def test_docs_of_globs_and_files(folder: str) -> None:
    found = list(open_corpus(["docs/*.txt", "docs/a/z.md"], format="docs"))
    assert [(e.id, e.source) for e in found] == [(p, p) for p in ("docs/a.txt", "docs/b.txt", "docs/a/z.md")]
    assert [e.columns["folder"] for e in found] == ["docs", "docs", "a"]


def test_a_folder_that_the_path_does_not_name(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that depends on the working directory would differ between the workers of one dataset."""
    monkeypatch.chdir("docs")
    for sources in ("a.txt", "./a.txt", "*.txt"):
        assert "folder" not in next(iter(open_corpus(sources, format="docs"))).columns
    assert [e.columns for e in open_corpus(".", format="docs")] == [{}, {"folder": "b"}, {"folder": "a"}, {}]
    monkeypatch.chdir("a")
    assert [e.columns for e in open_corpus("../b.txt", format="docs")] == [{}]
    assert [e.columns for e in open_corpus("../a/z.md", format="docs")] == [{"folder": "a"}]


def test_docs_keep_empty_files_and_drop_marks() -> None:
    Path("docs").mkdir()
    Path("docs/a").write_bytes(b"")
    Path("docs/b").write_bytes(codecs.BOM_UTF8 + b"hi")
    corpus = open_corpus("docs", format="docs")
    assert [e.text for e in corpus] == ["", "hi"]
    assert corpus.fraction == 1


def test_docs_that_arent_text_are_refused_by_file_and_line(folder: str) -> None:
    Path("docs/a/b/c").write_bytes(b"fine\nnot \xff\n")
    corpus = open_corpus(folder, format="docs")
    with pytest.raises(SourceError, match=r"docs/a/b/c, line 2: byte 5 of the line \(0xff\) isn't utf-8"):
        list(corpus)
    corpus = open_corpus(folder, format="docs", skip_bad=True)
    assert [e.id for e in corpus] == ["a.txt", "a/z.md", "b.txt"]
    assert [type(bad) for bad in corpus.skipped] == [Skipped]


def test_an_empty_folder_is_refused() -> None:
    Path("docs/.git").mkdir(parents=True)
    with pytest.raises(SourceError, match="folder docs holds no files"):
        open_corpus("docs", format="docs")
