"""A source with a word per row: sentences by a column that numbers them."""

import json
from pathlib import Path

import pytest

from layerwise.errors import RequestError, SourceError
from layerwise.read import Example, open_corpus

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
