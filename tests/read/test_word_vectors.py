"""Static word vectors: the text formats of word2vec, GloVe and fastText, and files that aren't one of them."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import layerwise as lw
from layerwise.read.word_vectors import word_vector_reader
from layerwise.word_vectors import WordVectors

GLOVE = "the 0.5 -1 2e-3\ncat 1 2 3\nThe 7 8 9\n. . . 4 4 4\nnaïve 0 0 1\n"
WORD2VEC = (
    "4 3\nthe 0.5 -1 2e-3 \ncat 1 2 3 \nThe 7 8 9 \nnaïve 0 0 1 \n"  # both programs end lines with a blank
)
WORDS = {"the", "The", "cat", "naïve", "dog", "."}


def read(path: Path, words: set[str] = WORDS) -> WordVectors:
    return word_vector_reader(path)(words)


@pytest.mark.parametrize("content", [GLOVE, WORD2VEC, "\ufeff" + WORD2VEC, WORD2VEC.replace("\n", "\r\n")])
@pytest.mark.parametrize("compressed", [False, True])
def test_vectors_are_those_of_a_plain_reading(tmp_path: Path, content: str, compressed: bool) -> None:
    path = tmp_path / ("v.txt.gz" if compressed else "v.txt")
    path.write_bytes(gzip.compress(content.encode()) if compressed else content.encode())
    vectors = read(path)
    lines = [
        line.rsplit(maxsplit=3) for line in content.lstrip("\ufeff").splitlines() if len(line.split()) > 3
    ]
    expected = {word: np.array(numbers, np.float32) for word, *numbers in lines if word in WORDS}
    assert set(vectors.rows) == set(expected) == {"the", "The", "cat", "naïve"}
    for word, numbers in expected.items():
        assert vectors.vectors[vectors.rows[word]].tolist() == numbers.tolist()
    assert vectors.width == 3
    assert vectors.total == len(lines)
    assert vectors.announced == (None if content == GLOVE else 4)
    assert vectors.repeated == 0


def test_the_first_vector_of_a_word_counts_and_others_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("7 2\ncat 1 2\ncat 3 4\ndog 5 6\nrat 1 1\nrat 1 1\n")
    vectors = read(path, {"cat", "dog"})
    assert vectors.vectors[vectors.rows["cat"]].tolist() == [1, 2]
    assert (vectors.repeated, vectors.total, vectors.announced) == (1, 5, 7), "rat isn't a word of the rows"


def test_words_with_other_blanks_and_no_word_at_all(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("a\u00a0b 1 2\n 3 4\nc\u2028d 5 6\n\n", encoding="utf-8")
    vectors = read(path, {"a\u00a0b", "c\u2028d", "a", "d"})
    assert set(vectors.rows) == {"a\u00a0b", "c\u2028d"}, "only a blank parts words from numbers"
    assert vectors.total == 3


def test_only_the_words_of_the_rows_are_parsed(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("cat 1 2\ndog x y\n")
    assert set(read(path, {"cat"}).rows) == {"cat"}
    assert read(path, {"bird"}).vectors.shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"10 300\n", "has a header, and no vector after it"),
        (b"10 0\ncat 1\n", "has a header, and no vector after it"),
        (b"cat 1 2\ndog 1\n", "has 1 numbers on line 2, and line 1 has 2"),
        (b"cat 1 2\ndog 1 2 3\n", "has 3 numbers on line 2, and line 1 has 2"),
        (b"2 3\ncat 1 2\n", "has 2 numbers on line 2, and the header says 3"),
        (b"cat 1 2\ndog 1 two\n", "has 'two' on line 2, which is no number"),
        (b"cat 1 2\ndog 1 nan\n", "has a number on line 2 that isn't finite in float32"),
        (b"cat 1 1e39\n", "has a number on line 1 that isn't finite"),
        (b"cat,1,2\n", "has no numbers on line 1, after 'cat,1,2'"),
        (b"cat\t1\t2\n", "has no numbers on line 1"),
        (b"2 2\ncat \x9f\x01\x80? \x00\x00\x02@\n", "which is no number; the binary format isn't read"),
        (b"PK\x03\x04 rest", "zip"),
        ("cat 1 2\n".encode("utf-16"), "word vectors need UTF-8"),
    ],
)
def test_other_files_are_refused_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(content)
    with pytest.raises(lw.LayerwiseError, match=message) as error:
        read(path, {"cat", "dog"})
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("vectors"), "the parameter"


def test_a_missing_file_and_an_endless_line_are_refused(tmp_path: Path) -> None:
    with pytest.raises(lw.LayerwiseError, match="can't be read: No such file"):
        read(tmp_path / "none.txt")
    path = tmp_path / "v.txt"
    path.write_bytes(b"cat 1 2\n" + b"9" * (1 << 22) + b"\n")
    with pytest.raises(lw.LayerwiseError, match="has a line 2 of more than 4,194,304 bytes"):
        read(path)
