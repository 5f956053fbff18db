"""Lists of strings: texts, or names of files."""

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.arguments import as_flags
from layerwise.errors import LayerwiseError, RequestError, SourceError
from layerwise.read import open_corpus

pd: Any = pytest.importorskip("pandas")
COLUMNS = [list, tuple, pd.Series, pl.Series, pa.array, np.array]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lines.txt").write_text("a line\nanother\n", encoding="utf-8")
    Path("plain").write_text("a line\n", encoding="utf-8")
    Path("test").mkdir()
    Path("test/doc").write_text("a document", encoding="utf-8")


def texts(source: Any, **options: Any) -> list[str]:
    return [example.text for example in open_corpus(source, **options)]


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize(
    "strings",
    [
        ["word"],
        ["good", "bad"],
        ["A quiet film.", "wonderful"],
        ["the", "test", ".", "-", "/"],
        ["", "empty"],
        ["see example.com", "*** 5.0 *** wow", "what?", "[sic]"],
        ["read README.md", "see https://example.com/a.csv now"],
        ["two\nlines.txt", "nul\0.txt", "x" * 5000],
    ],
)
def test_texts(kind: Callable[[Any], Any], strings: list[str]) -> None:
    assert texts(kind(strings)) == strings


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("names", [["lines.txt"], ["lin*.txt"], ["lines.txt", "-"], ["*.t?t"]])
def test_names(kind: Callable[[Any], Any], names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"typed\n")))
    assert texts(kind(names))[:2] == ["a line", "another"]


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["my film.csv", "b.csv"], "my film.csv"),
        (["no such.txt"], "no such.txt"),
        (["lines.txt", "b.txt"], "b.txt"),
    ],
)
def test_missing_files_are_told(names: list[str], missing: str) -> None:
    with pytest.raises(SourceError, match=f"^{missing} doesn't exist"):
        open_corpus(names)


def test_paths_are_names() -> None:
    assert texts([Path("lines.txt")]) == ["a line", "another"]
    with pytest.raises(SourceError, match="^word doesn't exist"):
        open_corpus([Path("word")])
    with pytest.raises(SourceError, match="^word doesn't exist"):
        open_corpus(["word", Path("lines.txt")])
    assert texts([Path("test")], format="docs") == texts(["test"], format="docs") == ["a document"]


def test_a_format_or_the_command_line_makes_names() -> None:
    assert texts(["plain"], format="txt") == ["a line"]
    with pytest.raises(SourceError, match="^a word doesn't exist"):
        open_corpus(["a word", "plain"], format="txt")
    with as_flags(), pytest.raises(SourceError, match="^word doesn't exist"):
        open_corpus(["word"])


@pytest.mark.parametrize(("name", "text"), [("lines.txt", "good"), ("plain", "good"), ("s3://a/b", "a film")])
def test_names_among_texts_are_refused(name: str, text: str) -> None:
    for strings in ([name, text], [text, name], [text, "-", name]):
        with pytest.raises(
            RequestError, match=rf"'{name}' names a file and '{text}' doesn't; .*records: \[\{{'text': '…'"
        ):
            open_corpus(strings)
    assert texts([{"text": name}, {"text": text}]) == [name, text]


def test_that_strings_are_texts_is_told_where_they_could_be_names() -> None:
    notice = "the strings of the list are texts, since none of them names a file"
    assert open_corpus(["good", "bad"]).notices == [notice]
    assert open_corpus(["good film", "bad"]).notices == []
    assert open_corpus(pd.Series(["good"])).notices == []


def test_a_single_string_is_a_name() -> None:
    with pytest.raises(
        SourceError, match=r"^A film doesn't exist; .*stdin; a text stands in a list: \['A film'\]$"
    ):
        open_corpus("A film")
    with (
        as_flags(),
        pytest.raises(SourceError, match="or - for stdin; a text itself comes from stdin: echo 'A film' "),
    ):
        open_corpus("A film")


@pytest.mark.parametrize(
    "source",
    [None, 5, b"a", {"a", "b"}, (text for text in ["a b"]), iter([{"text": "a"}]), np.array("a"), object()],
)
def test_other_objects_are_refused(source: Any) -> None:
    with pytest.raises(
        RequestError, match="^got a .* for a source; give a name, a list of names, texts or records"
    ):
        open_corpus(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([1, 2], "the list, row 1: 1 where a text or a record is needed"),
        (["a b", None], "the list, row 2: None where a text .*; correct it$"),
        (
            [["a", "b"]],
            r"row 1: the list \['a', 'b'\] where a text or a record .*\{'words': \[…\]\}, with words='words'$",
        ),
        ([], "there is no source"),
    ],
)
def test_lists_of_other_things(source: Any, message: str) -> None:
    with pytest.raises(LayerwiseError, match=message):
        list(open_corpus(source))
    assert texts(["a b", None], skip_bad=True) == ["a b"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_any_strings_are_texts_or_refused(strings: list[str]) -> None:
    with suppress(LayerwiseError):
        assert texts(strings) == strings
