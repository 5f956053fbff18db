"""Messages for files that aren't what they seem: the first fault is told, with the option that mends it."""

import json
from pathlib import Path
from typing import Any

import pytest

from layerwise.errors import RequestError, SourceError
from layerwise.read import open_corpus

TAGGED = "Ann B-PER\nsees O\nRome B-LOC\n\nYes O\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, content: str | bytes) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


TABLE = 'id\ttext\tlabel\n1\t"A good, long film"\tpos\n2\tsad\tneg\n'


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.jsonl", "a.json", "a.conll"])
def test_a_wide_encoding_is_named(name: str, encoding: str, skip_bad: bool) -> None:
    content = json.dumps([{"text": "a film"}] * 5) if name == "a.json" else TABLE
    with pytest.raises(SourceError, match=rf"^{name} is {encoding}, not utf-8; give encoding='{encoding}'$"):
        list(open_corpus(put(name, content.encode(encoding)), skip_bad=skip_bad))


def test_a_wide_encoding_of_a_document() -> None:
    put("docs/a.txt", "plain")
    put("docs/b.txt", TABLE.encode("utf-16"))
    with pytest.raises(SourceError, match="b.txt, line 1: it is utf-16, not utf-8; give encoding='utf-16'"):
        list(open_corpus("docs", format="docs"))
    corpus = open_corpus("docs", format="docs", skip_bad=True)
    assert ([e.text for e in corpus], len(corpus.skipped)) == (["plain"], 1)


def test_zeros_in_text_are_text() -> None:
    assert [e.text for e in open_corpus(put("a.txt", "a\0b\n" * 20))] == ["a\0b"] * 20


def test_a_folder_names_format() -> None:
    put("folder/a.csv", "text\nhi\n")
    with pytest.raises(
        SourceError, match=r"folder is a folder; format='docs' reads .*, a glob such as folder/\*\.csv names"
    ):
        open_corpus("folder")


@pytest.mark.parametrize("name", ["train.txt", "eng.train", "testa", "train.data"])
@pytest.mark.parametrize(
    ("content", "options"),
    [
        (TAGGED, {}),
        (TAGGED.replace(" ", "\t"), {}),
        (
            "-DOCSTART- -X- -X- O\n\nAnn NN I-NP B-PER\nsees VB O O\n",
            {"columns": ["token", "pos", "chunk", "tag"]},
        ),
        ("# text = Hi\n" + "".join(f"{n}\tHi{n}{chr(9)}{chr(9).join('_' * 8)}\n" for n in (1, 2, 3)), {}),
    ],
)
def test_conll_under_another_ending(name: str, content: str, options: dict[str, Any]) -> None:
    corpus = open_corpus(put(name, content), **options)
    assert corpus.format == "conll"
    assert next(iter(corpus)).words
    assert corpus.notices[0] == (
        f"{name} is read as conll, since each of its lines is a word with its tag; give format='txt' to make each line a text"
    )
    corpus = open_corpus(name, format="txt")
    assert (next(iter(corpus)).text, corpus.notices) == (content.splitlines()[0], [])


@pytest.mark.parametrize(
    "content", ["a b\nc d\ne f\n", "one\ntwo\n", "", "Ann O\nsees the O\nRome O\n", "I O\n"]
)
def test_lines_of_text_stay_lines(content: str) -> None:
    assert open_corpus(put("a.txt", content)).format == "txt"


def test_conll_named_as_a_table() -> None:
    with pytest.raises(
        SourceError, match="no column 'text', .*; if each line is a word with its tag, give format='conll'"
    ):
        open_corpus(put("a.tsv", TAGGED.replace(" ", "\t")))


# --- several columns as one text -----------------------------------------------------------------------------


def test_columns_are_joined() -> None:
    name = put("a.jsonl", '{"t": "A", "d": "long"}\n{"t": "B", "d": ""}\n{"t": null, "d": "C", "n": 1}\n')
    for text in ("t,d", ["t", "d"]):
        corpus = open_corpus(name, text=text, join=". ")
        assert [e.text for e in corpus] == ["A. long", "B", "C"]
        assert (corpus.paired, corpus.notices, corpus.text) == (False, [], "t,d")
        assert corpus.further_options == {"join": ". "}
    examples = list(open_corpus(put("a.csv", "a,b,c,label\n1,2,3,x\n"), text="c,a,b", join=""))
    assert [(e.text, e.columns) for e in examples] == [("312", {"label": "x"})]


def test_two_columns_say_that_they_make_pairs() -> None:
    name = put("a.csv", "title,description\nA,B\n")
    corpus = open_corpus(name, text="title,description")
    assert corpus.notices == [
        "text='title,description' names two columns, so each record makes a pair: two rows; "
        "give join to make one text of them"
    ]
    with pytest.raises(RequestError, match="names 3; join makes one text of several columns"):
        open_corpus(put("b.csv", "a,b,c\n1,2,3\n"), text="a,b,c")


@pytest.mark.parametrize("text", [None, "a", "a,a", "a,", ["a"]])
def test_join_needs_several_columns(text: Any) -> None:
    with pytest.raises(RequestError, match="join joins two or more different columns, and text names"):
        open_corpus(put("a.csv", "a,b,text\n1,2,3\n"), text=text, join=" ")


def test_join_doesnt_go_with_words() -> None:
    with pytest.raises(RequestError, match="join doesn't fit format 'conll'"):
        open_corpus(put("a.conll", "a O\n"), join=" ")
    with pytest.raises(RequestError):
        open_corpus(put("a.csv", "a,b\n1,2\n"), words="a", join=" ")
    with pytest.raises(SourceError, match="no column 'z', only 'a', 'b'"):
        open_corpus("a.csv", text="a,z", join=" ")
