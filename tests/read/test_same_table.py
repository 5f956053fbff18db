"""One table in every format, compression and container, as other programs write it, gives the same texts and columns."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.read import open_corpus
from selection import few_of
from source_kinds import FILES, OBJECTS

pd: Any = pytest.importorskip("pandas")
KINDS = {**FILES, **OBJECTS}
SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs shared/")
ROWS = [
    ("A good, long film; really", "pos", 1),
    ('He said "no"\nand left', "neg", -2),
    ("", "", 3),
    ('"quoted"', "pos", 4),
    ('"one", "two"', "neg", 5),
    ("tab\tin it", "NA", 6),
    ("two\r\nlines", " blanks ", 7),
    ("你好，世界！", "中", 8),
    ("it's 5\" wide, \\n", "a\\b", 9),
    ("[1, 2]", "{}", 10),
    ("😀 é e\u0301 \u2028 \x85", "#1", 11),
    ("'single'", "=1+1", 12),
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(kind: str, frame: Any) -> list[tuple[str, ...]]:
    """Write a table as a kind of source, and return what is read, numbers as text."""
    source = KINDS[kind](frame, Path())
    text, *others = frame.columns
    corpus = open_corpus(source.data, text=text, **source.options)
    examples = list(corpus)
    for example in examples:
        assert {*example.columns} - {"row"} == {*others}
    return [(example.text, *(str(example.columns[name]) for name in others)) for example in examples]


def expected(frame: Any) -> list[tuple[str, ...]]:
    return [tuple(map(str, row)) for row in frame.itertuples(index=False)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_odd_cells(kind: str) -> None:
    frame = pd.DataFrame(ROWS, columns=["text", "label", "n"])
    assert read(kind, frame) == expected(frame)


CELLS = st.text(st.sampled_from("ab,;\"' \n\\|é你N1"), max_size=8)
WHOLE = [kind for kind in KINDS if not kind.endswith((".gz", ".bz2", ".xz"))]
# A kind of each reader and of each writer that has habits of its own; random tables are read in many more.
OFTEN = (
    "csv of Excel",
    "csv of R, write.csv2",
    "Unicode text of Excel",
    "blanks of R, write.table",
    "parquet of dictionaries",
    "jsonl.zst",
    "json",
    "arrow, a stream",
    "save_to_disk",
    "datasets",
    "pandas",
    "polars",
)
STRICT = [kind for kind in WHOLE if any(word in kind for word in ("csv", "tsv", "text", "blanks"))]


@pytest.mark.parametrize(
    "kind", [*STRICT, "jsonl of pandas and datasets", "parquet of dictionaries", "pandas"]
)
def test_random_tables(kind: str) -> None:
    @settings(max_examples=40, deadline=None, database=None)
    @given(rows=st.lists(st.tuples(CELLS, CELLS, st.integers(0, 9)), min_size=1, max_size=6))
    def check(rows: list[tuple[str, str, int]]) -> None:
        frame = pd.DataFrame(rows, columns=["text", "label", "n"])
        assert read(kind, frame) == expected(frame)

    check()


@needs_shared
@pytest.mark.parametrize("kind", few_of(WHOLE, *OFTEN))
def test_questions(kind: str) -> None:
    frame = pd.read_csv(SHARED / "trec6" / "train.csv", dtype=str, keep_default_na=False)
    assert len(frame) == 5452
    assert read(kind, frame) == expected(frame)


@needs_shared
@pytest.mark.parametrize("kind", few_of(WHOLE, *OFTEN))
def test_hotel_reviews(kind: str) -> None:
    path = SHARED / "chnsenticorp_hotel" / "ChnSentiCorp_htl_all.csv"
    frame = pd.read_csv(path, keep_default_na=False)[["review", "label"]]
    assert (len(frame), str(frame["label"].dtype)) == (7766, "int64")
    assert read(kind, frame) == expected(frame)
