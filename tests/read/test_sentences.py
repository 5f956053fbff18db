"""A source with a word per row: sentences by a column that numbers them."""

import gzip
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from layerwise.errors import RequestError, SourceError
from layerwise.read import Example, open_corpus

pd: Any = pytest.importorskip("pandas")
FILLED_DOWN = "Sentence #,Word,Tag\nSentence: 1,Ann,PER\n,sees,O\n,Rome,LOC\nSentence: 2,Yes,O\nSentence: 3,Hi,O\n,Bo,PER\n"
WORDS = [("Ann", "sees", "Rome"), ("Yes",), ("Hi", "Bo")]
TAGS = [("PER", "O", "LOC"), ("O",), ("O", "PER")]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(content: str, name: str = "a.csv") -> str:
    Path(name).write_text(content, encoding="utf-8")
    return name


def are_right(examples: list[Example], sentence: str, tags: str) -> None:
    assert [e.words for e in examples] == WORDS
    assert [e.word_columns[tags] for e in examples] == TAGS
    assert examples[0].text == "Ann sees Rome"
    assert len({e.columns[sentence] for e in examples}) == 3


def test_rows_of_a_sentence_that_stand_apart_are_told() -> None:
    name = put("n,word\n1,Ann\n1,sees\n2,Yes\n1,Rome\n2,No\n")
    corpus = open_corpus(name, sentence_id="n")
    assert (
        [e.words for e in corpus]
        == [("Ann", "sees"), ("Yes",), ("Rome",), ("No",)]
        == [e.words for e in corpus]
    )
    assert corpus.notices == [
        "a.csv, line 5: a value of 'n' comes again after other sentences, and its rows are read as a new sentence; if they "
        "aren't one, sort the rows"
    ]
    other = put("n,word\n1,Ann\n,sees\n2,Yes\n,No\n2,Oh\n", "b.csv")
    corpus = open_corpus([name, other], sentence_id="n", limit=3)
    assert len(list(corpus)) == 3
    assert len(corpus.notices) == 1
    corpus = open_corpus(other, sentence_id="n")
    assert [e.words for e in corpus] == [("Ann", "sees"), ("Yes", "No", "Oh")]
    assert not corpus.notices


def test_filled_down_and_repeated() -> None:
    examples = list(open_corpus(put(FILLED_DOWN), sentence_id="Sentence #"))
    are_right(examples, "Sentence #", "Tag")
    assert [e.line for e in examples] == [2, 5, 6]
    assert examples[2].columns == {"Sentence #": "Sentence: 3"}
    repeated = "sent_id\ttok\ttag\n1\tAnn\tPER\n1\tsees\tO\n1\tRome\tLOC\n2\tYes\tO\n3\tHi\tO\n3\tBo\tPER\n"
    are_right(list(open_corpus(put(repeated, "a.tsv"), sentence_id="sent_id", words="tok")), "sent_id", "tag")
    rows = [
        dict(zip(("sent_id", "token", "tag"), line.split("\t"), strict=True))
        for line in repeated.splitlines()[1:]
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    are_right(list(open_corpus(put(content, "a.jsonl"), sentence_id="sent_id")), "sent_id", "tag")
    examples = list(open_corpus("a.jsonl", sentence_id="sent_id", id="sent_id"))
    assert ([e.id for e in examples], examples[0].columns) == (["1", "2", "3"], {})


def test_one_bad_row_makes_the_sentence_bad() -> None:
    name = put(FILLED_DOWN.replace(",sees,O", ",sees"))
    with pytest.raises(SourceError, match="line 3: 2 cells where there are 3 columns"):
        list(open_corpus(name, sentence_id="Sentence #"))
    corpus = open_corpus(name, sentence_id="Sentence #", skip_bad=True)
    assert [e.words for e in corpus] == WORDS[1:]
    assert [bad.line for bad in corpus.skipped] == [3]


@pytest.mark.parametrize("options", [{}, {"text": "Word"}, {"words": "Word"}])
def test_without_the_option_it_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(SourceError, match="give sentence_id='Sentence #' and words='Word'"):
        open_corpus(put(FILLED_DOWN), **options)


def test_a_column_that_numbers_single_texts_is_no_reason_to_refuse() -> None:
    assert len(list(open_corpus(put("sent_id,text\n1,good\n2,bad\n3,so so\n")))) == 3
    assert len(list(open_corpus(put("sent_id,text\n1,good\n2,bad\n3,fine\n")))) == 3
    assert len(list(open_corpus(put("sent_id,text\n1,good film\n1,bad film\n")))) == 2


def test_what_doesnt_go_with_it() -> None:
    with pytest.raises(RequestError, match="text and sentence_id='n' exclude each other"):
        open_corpus(put("n,text\n1,a\n"), text="text", sentence_id="n")
    with pytest.raises(SourceError, match="no column 'k', only 'n', 'word'; name the column that numbers"):
        open_corpus(put("n,word\n1,a\n"), sentence_id="k")
    with pytest.raises(RequestError, match="needs a column of words, and none of 'n', 'w' has a usual name"):
        open_corpus(put("n,w\n1,a\n"), sentence_id="n")
    with pytest.raises(RequestError, match="sentence_id doesn't fit format 'conll'"):
        open_corpus(put("a O\n", "a.conll"), sentence_id="n")
    with pytest.raises(RequestError, match="sentence_id doesn't fit format 'txt'"):
        open_corpus(put("a\n", "a.txt"), sentence_id="n")


# --- the same words in every kind of source -------------------------------------------------------------------

ROWS = [
    {"sent_id": number, "text": word, "tag": tag}
    for number, words, tags in zip((1, 2, 3), WORDS, TAGS, strict=True)
    for word, tag in zip(words, tags, strict=True)
]
GAPS: list[dict[str, Any]] = [
    {**row, "sent_id": None if before and before["sent_id"] == row["sent_id"] else row["sent_id"]}
    for before, row in zip([None, *ROWS], ROWS, strict=False)
]


def of_jsonl(rows: list[dict[str, Any]]) -> Any:
    return put("".join(json.dumps(row) + "\n" for row in rows), "a.jsonl")


def of_json(rows: list[dict[str, Any]]) -> Any:
    return put(json.dumps(rows), "a.json")


def of_gzip(rows: list[dict[str, Any]]) -> Any:
    Path("a.jsonl.gz").write_bytes(gzip.compress(Path(of_jsonl(rows)).read_bytes()))
    return "a.jsonl.gz"


def of_parquet(rows: list[dict[str, Any]]) -> Any:
    pq.write_table(pa.Table.from_pylist(rows), "a.parquet")
    return "a.parquet"


def of_arrow(rows: list[dict[str, Any]]) -> Any:
    feather.write_feather(pa.Table.from_pylist(rows), "a.feather")
    return "a.feather"


def of_separated(rows: list[dict[str, Any]], separator: str, name: str) -> Any:
    lines = [separator.join("" if value is None else str(value) for value in row.values()) for row in rows]
    return put("\n".join([separator.join(rows[0]), *lines, ""]), name)


def in_pandas(rows: list[dict[str, Any]]) -> Any:
    return pd.DataFrame(rows)  # gaps are NaN


KINDS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "csv": lambda rows: of_separated(rows, ",", "a.csv"),
    "tsv": lambda rows: of_separated(rows, "\t", "a.tsv"),
    "jsonl": of_jsonl,
    "json": of_json,
    "gzip": of_gzip,
    "parquet": of_parquet,
    "arrow": of_arrow,
    "pandas": in_pandas,
    "polars": pl.DataFrame,
    "table": pa.Table.from_pylist,
    "stream": lambda rows: pa.Table.from_pylist(rows).to_reader(),
    "records": list,
    "records with NaN": lambda rows: [{**row, "sent_id": float(row["sent_id"] or "nan")} for row in rows],
}


@pytest.mark.parametrize("rows", [ROWS, GAPS], ids=["repeated", "gaps"])
@pytest.mark.parametrize("kind", KINDS)
def test_words_in_every_kind_of_source(kind: str, rows: list[dict[str, Any]]) -> None:
    examples = list(open_corpus(KINDS[kind](rows), sentence_id="sent_id", words="text"))
    are_right(examples, "sent_id", "tag")
    assert [float(e.columns["sent_id"]) for e in examples] == [1, 2, 3]


@pytest.mark.parametrize("rows", [ROWS, GAPS], ids=["repeated", "gaps"])
@pytest.mark.parametrize("kind", KINDS)
def test_words_in_every_kind_are_refused_as_texts(kind: str, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(
        SourceError,
        match="has a word per row, and its column 'sent_id' numbers the sentences; give sentence_id='sent_id' and words='text'",
    ):
        list(open_corpus(KINDS[kind](rows)))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json"])
def test_words_on_standard_input(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(KINDS[kind](GAPS)).read_bytes()
    for options in ({}, {"sentence_id": "sent_id", "words": "text"}):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        corpus = open_corpus("-", format=kind, **options)
        if options:
            are_right(list(corpus), "sent_id", "tag")
        else:
            with pytest.raises(SourceError, match="^stdin has a word per row"):
                list(corpus)


@pytest.mark.parametrize("kind", KINDS)
def test_numbered_texts_of_several_words_stay_texts(kind: str) -> None:
    rows = [{"sent_id": 1, "text": "Yes"}, {"sent_id": 1, "text": "a film"}, {"sent_id": 2, "text": "No"}]
    assert [e.text for e in open_corpus(KINDS[kind](rows))] == ["Yes", "a film", "No"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_advice_for_a_missing_column(kind: str) -> None:
    rows = [{"sent_id": row["sent_id"], "token": row["text"]} for row in ROWS]
    with pytest.raises(
        SourceError,
        match="no column 'text', .*; where a row is a word, give sentence_id='sent_id' and words='token'$",
    ):
        list(open_corpus(KINDS[kind](rows)))


def test_a_word_where_a_list_is_needed() -> None:
    with pytest.raises(
        SourceError, match="where a record is a word, name the column .* with sentence_id, or leave such"
    ):
        list(open_corpus([{"n": 1, "w": "Ann"}], words="w"))
    with pytest.raises(SourceError, match="or where a row is a word the column .* with sentence_id$"):
        open_corpus(pa.table({"n": [1], "w": ["Ann"]}), words="w")


def test_standard_input_is_passed_on_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of several words shows at once that rows aren't words; nothing waits for the rows below."""
    read, write = os.pipe()
    with os.fdopen(read, encoding="utf-8") as stdin, os.fdopen(write, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stdin)
        corpus = iter(open_corpus("-", format="jsonl"))
        for text in ("a film", "word"):
            stream.write(json.dumps({"sent_id": 1, "text": text}) + "\n")
            stream.flush()
            assert next(corpus).text == text
