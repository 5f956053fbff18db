"""Parallel texts: two files, one with `|||`, two columns, lists; and what doesn't fit is refused with its line."""

import gzip
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest

from layerwise.errors import RequestError, SourceError
from layerwise.read.parallel_texts import counted, open_parallel, word_count

A, B = ["the  house .", "", "a cat\u00a0sat"], ["das Haus .", "nichts", "eine Katze saß"]
WORDS = [
    (("the", "house", "."), ("das", "Haus", ".")),
    ((), ("nichts",)),
    (("a", "cat", "sat"), ("eine", "Katze", "saß")),
]


def sides(*args: Any, **options: Any) -> list[tuple[Any, Any]]:
    texts = open_parallel(*args, **options)
    read = [(pair.a, pair.b) for pair in texts]
    assert [(pair.a, pair.b) for pair in texts] == read  # a second pass
    assert counted(texts) == len(read)
    return read


def written(folder: Path) -> tuple[Path, Path]:
    a, b = folder / "x.en", folder / "x.de"
    a.write_text("\n".join(A) + "\n", encoding="utf-8")
    b.write_text("\r\n".join(B), encoding="utf-8")
    return a, b


def test_two_files_of_any_ending(tmp_path: Path) -> None:
    a, b = written(tmp_path)
    assert sides(str(a), b) == WORDS
    assert sides(a, b, raw=True) == list(zip(A, B, strict=True))
    packed = tmp_path / "x.txt.gz"
    packed.write_bytes(gzip.compress(b.read_bytes()))
    assert sides(a, packed) == WORDS
    latin = [tmp_path / "latin.en", tmp_path / "latin.de"]
    for file, lines in zip(latin, (A, B), strict=True):
        file.write_bytes("\n".join(lines).encode("cp1252"))
    assert sides(*latin, encoding="cp1252") == WORDS


def test_one_file_with_both_sides(tmp_path: Path) -> None:
    joined = tmp_path / "pairs.src-tgt"
    lines = [f"{a}  ||| {b}" for a, b in zip(A, B, strict=True)]
    joined.write_text("\n".join(lines), encoding="utf-8")
    assert sides(joined) == sides(lines) == WORDS
    assert [pair.place for pair in open_parallel(joined)][2] == f"{joined}, line 3"


def test_two_columns_of_a_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": range(3), "en": A, "de": B})
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_json(tmp_path / "x.jsonl", orient="records", lines=True)
    for table in (tmp_path / "x.csv", tmp_path / "x.jsonl", frame):
        assert sides(table, text="en,de") == sides(table, text=["en", "de"]) == WORDS
    split = [{"en": list(a), "de": list(b)} for a, b in WORDS]
    assert sides(split, text="en,de") == WORDS


def test_lists_in_memory() -> None:
    assert sides(A, B) == sides([list(a) for a, _ in WORDS], [b for _, b in WORDS]) == WORDS
    assert sides(list(zip(A, B, strict=True))) == WORDS


def test_stdin_is_read_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, b = written(tmp_path)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO("\n".join(A).encode())))
    assert sides("-", b) == WORDS


@pytest.mark.parametrize(
    ("lines", "message"), [(2, "x.de has 3 lines and .*x.en 2"), (5, "en has 5 .*de 3;")]
)
def test_files_of_different_lengths_are_refused(tmp_path: Path, lines: int, message: str) -> None:
    a, b = written(tmp_path)
    a.write_text("\n".join([A[0], *A, "more"][:lines]), encoding="utf-8")
    with pytest.raises(SourceError, match=message):
        counted(open_parallel(a, b))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no separator", r"line 2 has \|\|\| 0 times"),
        ("a ||| b ||| c", r"line 2 has \|\|\| 2 times, and needs it o"),
    ],
)
def test_a_line_without_its_two_sides_is_refused(tmp_path: Path, line: str, message: str) -> None:
    joined = tmp_path / "x"
    joined.write_text(f"a ||| b\n{line}\n")
    with pytest.raises(SourceError, match=message):
        counted(open_parallel(joined))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    a, b = written(tmp_path)
    table = tmp_path / "x.csv"
    table.write_text("en,de\na,b\n")
    with pytest.raises(RequestError, match="isn't a file of lines; name its two columns with text='a,b'"):
        open_parallel(table, b)
    with pytest.raises(RequestError, match="text 'en' doesn't name two columns"):
        open_parallel(table, text="en")
    with pytest.raises(RequestError, match="there are two files; leave one out"):
        open_parallel(a, b, text="en,de")
    with pytest.raises(SourceError, match=r"x.csv, line 2: there is no column 'fr'; there are 'en', 'de'"):
        counted(open_parallel(table, text="en,fr"))
    with pytest.raises(SourceError, match="doesn't exist"):
        open_parallel("nowhere.en", b)
    with pytest.raises(RequestError, match="encoding='punycode' is no encoding of text files"):
        open_parallel(a, b, encoding="punycode")
    with pytest.raises(SourceError, match="text 1: side [ab] is 7; give a string, or a list of words"):
        counted(open_parallel(["a", 7], ["b", "c"]))
    with pytest.raises(SourceError, match=r"text 0 is \('a', 'b', 'c'\); give a string with \|\|\| between"):
        counted(open_parallel([("a", "b", "c")]))
    with pytest.raises(SourceError, match="the list a has 2 lines and the list b 1; line n"):
        counted(open_parallel(["a", "b"], ["c"]))
    with pytest.raises(RequestError, match="raw=True splits strings, and side [ab] of text 0 is a list"):
        counted(open_parallel([["a"]], ["b"], raw=True))
    a.write_bytes(b"fine\n\xff\n")
    with pytest.raises(SourceError, match=r"x.en, line 2: byte 1 of the line \(0xff\) isn't utf-8"):
        counted(open_parallel(a, b))
    a.write_bytes(b"one\rtwo\rthree\r")
    with pytest.raises(
        SourceError, match="x.en ends its lines with a carriage return alone, and a newline is"
    ):
        counted(open_parallel(a, b))
    a.write_bytes(b"")
    with pytest.raises(SourceError, match="there is no sentence pair"):
        counted(open_parallel(a))


def test_words_are_counted_as_they_will_be_aligned() -> None:
    assert word_count(("don't", ".")) == 2
    assert word_count("don't 土卫六.") == 7
