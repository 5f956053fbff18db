"""Parquet: types that survive, schemas that are refused, rows that are bad."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layerwise.errors import SourceError
from layerwise.read import open_corpus

DAY = datetime.datetime(2026, 11, 23, 12, 30, 1, 5)
ONE = {"a": pa.array([1, None], pa.int8())}
TYPES: dict[str, Any] = {
    "int8": pa.array([1, None], pa.int8()),
    "uint64": pa.array([2**64 - 1, None], pa.uint64()),
    "float16": pa.array([0.5, None], pa.float16()),
    "float32": pa.array([0.1, None], pa.float32()),
    "bool": pa.array([True, None]),
    "binary": pa.array([b"\xff", None]),
    "large": pa.array(["a", None], pa.large_string()),
    "view": pa.array(["a", None], pa.string_view()),
    "dictionary": pa.array(["a", None]).dictionary_encode(),
    "decimal": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(7, 2)),
    "date": pa.array([DAY.date(), None], pa.date32()),
    "time": pa.array([DAY.time(), None], pa.time64("us")),
    "time_ns": pa.array([1, None], pa.time64("ns")),
    "stamp": pa.array([DAY, None], pa.timestamp("us", "UTC")),
    "stamp_ns": pa.array([1_764_000_000_000_000_001, None], pa.timestamp("ns", "Europe/Berlin")),
    "duration": pa.array([1, None], pa.duration("ns")),
    "list": pa.array([[1, None], None], pa.list_(pa.int16())),
    "fixed": pa.array([[1, 2], None], pa.list_(pa.float32(), 2)),
    "struct": pa.array(
        [{"x": 1, "y": ["a"]}, None], pa.struct([("x", pa.int16()), ("y", pa.list_(pa.string()))])
    ),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
    "null": pa.nulls(2),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(columns: dict[str, Any], name: str = "a.parquet", **options: Any) -> str:
    pq.write_table(pa.table(columns), name, **options)
    return name


def test_rows_are_numbered_over_batches_and_groups() -> None:
    name = put({"text": [f"t{n}" for n in range(2500)], "n": range(2500)}, row_group_size=700)
    corpus = open_corpus(name)
    found = list(corpus)
    assert [(e.text, e.line, e.columns) for e in found[::999]] == [
        (f"t{n}", n + 1, {"n": n}) for n in (0, 999, 1998)
    ]
    assert (len(found), corpus.fraction, found[0].source) == (2500, 1, name)
    half = iter(open_corpus([name, put({"text": ["x"] * 2500, "n": [1] * 2500}, "b.parquet")]))
    assert next(half).text == "t0"


def test_the_fraction_counts_rows() -> None:
    corpus = open_corpus([put({"text": ["a", "b", "c"]}), put({"text": ["d"]}, "b.pq")])
    assert [corpus.fraction for _ in corpus] == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("kind", TYPES)
def test_types_convert_back_exactly(kind: str) -> None:
    name = put({"text": ["a", "b"], "c": TYPES[kind]})
    corpus = open_corpus(name)
    values = [example.columns["c"] for example in corpus]
    stored = pq.read_table(name)["c"].combine_chunks()
    assert corpus.types == {"c": pa.string() if kind == "view" else stored.type}
    assert pa.array(values, corpus.types["c"]).cast(stored.type).equals(stored)


def test_views_are_carried_as_plain_types() -> None:
    """Views (polars writes them) have no kernel for comparisons in pyarrow."""
    views = pa.array(
        [[{"s": "a", "b": b"x"}], None],
        pa.list_(pa.struct([("s", pa.string_view()), ("b", pa.binary_view())])),
    )
    corpus = open_corpus(
        pa.table({"text": ["a", "b"], "c": views, "d": pa.array(["x", "y"], pa.string_view())})
    )
    assert corpus.types == {
        "c": pa.list_(pa.struct([("s", pa.string()), ("b", pa.binary())])),
        "d": pa.string(),
    }
    values = [example.columns["c"] for example in corpus]
    assert pa.array(values, corpus.types["c"]).to_pylist() == views.to_pylist()


def test_extensions_are_carried_as_what_they_store() -> None:
    stored = pa.array([b"0123456789abcdef", None], pa.binary(16))
    corpus = open_corpus(put({"text": ["a", "b"], "u": pa.ExtensionArray.from_storage(pa.uuid(), stored)}))
    assert [e.columns["u"] for e in corpus] == [b"0123456789abcdef", None]
    assert corpus.types == {"u": pa.binary(16)}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_texts_may_be_any_kind_of_string(kind: pa.DataType) -> None:
    assert [e.text for e in open_corpus(put({"text": pa.array(["a", "b", "a"]).cast(kind)}))] == [
        "a",
        "b",
        "a",
    ]


def test_names_of_ours_and_the_id() -> None:
    corpus = open_corpus(put({"body": ["a"], "text": ["t"], "k": [7]}), text="body", id="k")
    assert corpus.types == {"source.text": pa.string()}
    assert [(e.id, e.columns) for e in corpus] == [(7, {"source.text": "t"})]
    assert len(corpus.notices) == 1


def test_words_and_their_columns() -> None:
    columns = {
        "w": [[], ["a", "b"], ["c"]],
        "tags": [None, ["X", None], None],
        "topics": [None, ["p"], ["q"]],
        "label": pa.array([None, "l", "m"]),
    }
    corpus = open_corpus(put(columns), words="w")
    assert [(e.text, dict(e.columns), dict(e.word_columns)) for e in corpus] == [
        ("", {"label": None}, {}),
        ("a b", {"topics": ["p"], "label": "l"}, {"tags": ("X", None)}),
        ("c", {"topics": ["q"], "label": "m"}, {"tags": (None,)}),
    ]
    assert corpus.types["tags"] == pa.list_(pa.field("element", pa.string()))


def test_bad_rows() -> None:
    name = put({"text": ["a", None, "c"]})
    with pytest.raises(
        SourceError, match=r"^a\.parquet, row 2: column 'text' holds null where a text is needed"
    ):
        list(open_corpus(name))
    assert [e.line for e in open_corpus(name, skip_bad=True)] == [1, 3]
    name = put({"w": [["a"], ["b", None], None]})
    with pytest.raises(SourceError, match=r"row 2: column 'w' holds null among its words"):
        list(open_corpus(name, words="w"))
    assert [e.line for e in open_corpus(name, words="w", skip_bad=True)] == [1]


def test_strings_that_arent_utf8_are_bad_rows() -> None:
    values = pa.array([b"a", b"\xff", b"c"])
    broken = pa.Array.from_buffers(pa.string(), 3, values.buffers())
    name = put({"text": broken})
    with pytest.raises(SourceError, match=r"a\.parquet, row 2: a value can't be read \(.*utf-8"):
        list(open_corpus(name))
    corpus = open_corpus(name, skip_bad=True)
    assert [(e.text, e.line) for e in corpus] == [("a", 1), ("c", 3)]
    assert [bad.line for bad in corpus.skipped] == [2]


@pytest.mark.parametrize(
    ("columns", "options", "what"),
    [
        ({"body": ["a"]}, {}, "no column 'text', only 'body'; .*with text, or a column of words with words"),
        ({"text": ["a"]}, {"words": "w"}, "no column 'w', only 'text'; .*with words"),
        ({"text": ["a"]}, {"id": "k"}, "no column 'k', only 'text'; .*with id"),
        ({"text": [1]}, {}, "column 'text' is int64 where strings are needed"),
        ({"w": ["a"]}, {"words": "w"}, "column 'w' is string where a list of strings is needed"),
        ({"w": [[1]]}, {"words": "w"}, "column 'w' is list<.*int64> where a list of strings is needed"),
    ],
)
def test_schemas_are_checked_before_anything_is_read(
    columns: dict[str, Any], options: Any, what: str
) -> None:
    with pytest.raises(SourceError, match=rf"^a\.parquet: (there is )?{what}"):
        open_corpus(put(columns), **options)


def test_two_columns_of_one_name_are_refused() -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 3, ["text", "n", "n"]), "a.parquet")
    with pytest.raises(SourceError, match=r"a\.parquet has two columns 'n'"):
        open_corpus("a.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"text,n\n" * 100])
def test_what_is_no_parquet_is_refused(content: bytes) -> None:
    Path("a.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"^a\.parquet can't be read as Parquet: [^\n]*another format$"):
        open_corpus("a.parquet")


def test_a_file_cut_short_on_the_way_is_told() -> None:
    name = put({"text": ["a" * 100] * 5000}, compression="NONE", use_dictionary=False)
    corpus = open_corpus(name)
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole[:200] + b"\xff" * (len(whole) - 4000) + whole[len(whole) - 3800 :])
    with pytest.raises(SourceError, match=r"^a\.parquet"):
        list(corpus)


def test_files_with_other_types_are_refused() -> None:
    one, two = put({"text": ["a"], "n": [1]}), put({"text": ["a"], "n": ["1"]}, "b.parquet")
    with pytest.raises(SourceError, match=r"^b\.parquet: column 'n' is string where a\.parquet has int64"):
        open_corpus([one, two])
    large = put({"n": [2], "text": pa.array(["b"], pa.large_string())}, "c.parquet")
    assert [e.text for e in open_corpus([one, large])] == ["a", "b"]
