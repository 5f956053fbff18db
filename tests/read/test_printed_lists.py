"""Lists of words in a cell of a table, as programs print them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.errors import SourceError
from layerwise.read import open_corpus
from layerwise.read.printed_lists import BrokenListError, parse_list

pd: Any = pytest.importorskip("pandas")
WORDS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), min_size=1, max_size=5
)


@settings(max_examples=200, deadline=None)
@given(words=WORDS)
def test_lists_of_python_json_and_numpy(words: list[str]) -> None:
    assert parse_list(str(words)) == words
    assert parse_list(str(tuple(words))) == words
    assert parse_list(json.dumps(words)) == words
    assert parse_list(json.dumps(words, ensure_ascii=False)) == words
    assert parse_list(str(np.array(words, object))) == words
    assert parse_list(repr(np.array(words, object))) == words
    assert parse_list(str([np.str_(word) for word in words])) == words


@settings(max_examples=100, deadline=None)
@given(words=st.lists(st.text(st.sampled_from("ab,.é你-"), min_size=1, max_size=5), min_size=2, max_size=5))
def test_lists_without_quotes_as_pandas_shows_them(words: list[str]) -> None:
    words = [word for word in words if word != "..."] + ["a"] * 2
    shown = pd.Series([words]).to_string(index=False, header=False, dtype=False).strip()
    if "..." not in shown:
        assert parse_list(f"[{', '.join(words)}]") == words


@pytest.mark.parametrize("values", [[1, 2, 0], [0.5, -1.0], [True, None], []])
def test_lists_of_other_values(values: list[object]) -> None:
    assert parse_list(str(values)) == parse_list(json.dumps(values)) == values


@pytest.mark.parametrize(
    "cell", ["New York", "", "[", "[ a b ]", "[SEP]", "[sic, he said]", "(a, b)", "'a', 'b'"]
)
def test_other_cells_are_none(cell: str) -> None:
    assert parse_list(cell) is None


@pytest.mark.parametrize(
    "cell", ["['a', 'b", "['a' ... 'b']", '["a"', "['a', ['b']]", "['a', b]", "[a, b, ..., c]"]
)
def test_broken_lists(cell: str) -> None:
    with pytest.raises(BrokenListError):
        parse_list(cell)


def put(path: Path, frame: Any) -> str:
    frame.to_csv(path, index=False)
    return str(path)


def test_lists_in_a_csv(tmp_path: Path) -> None:
    words, tags = [["It's", "in", "Bonn"], ["Hi", '"there"']], [["O", "O", "LOC"], ["O", "O"]]
    frame = pd.DataFrame({"tokens": words, "tags": tags, "n": ["7", "8"], "ids": [[0, 0, 1], [0, 0]]})
    for table in (
        frame,
        frame.assign(tokens=[np.array(w, object) for w in words], tags=[json.dumps(t) for t in tags]),
    ):
        one, two = open_corpus(put(tmp_path / "a.csv", table), words="tokens")
        assert (one.words, two.words) == (tuple(words[0]), tuple(words[1]))
        assert one.word_columns == {"tags": ("O", "O", "LOC"), "ids": (0, 0, 1)}
        assert (two.word_columns["tags"], two.columns) == (("O", "O"), {"n": "8"})


def test_faulty_lists_in_a_csv(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"tokens": ["['a', 'b']", "['a', 'b", "['c']", "['d']"], "tags": ["['O', 'O']"] * 2 + ["O", "['O']"]}
    )
    name = put(tmp_path / "a.csv", frame)
    with pytest.raises(
        SourceError, match="line 3: column 'tokens' holds a printed list that can't be read .*cut off"
    ):
        list(open_corpus(name, words="tokens"))
    corpus = open_corpus(name, words="tokens", skip_bad=True)
    assert [e.text for e in corpus] == ["a b", "d"]
    assert [bad.line for bad in corpus.skipped] == [3, 4]
    assert "'tags' holds no list where the records before have one" in corpus.skipped[1].why
