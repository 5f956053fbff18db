"""Texts given in Python: every container of texts gives the same, tables and mappings are refused by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import layerwise as lw
from layerwise.errors import RequestError
from layerwise.texts import listed

TEXTS = ["Every layer of every encoder, as data.", "a", ""]
WORDS = [["Every", "layer"], ["of"], []]
CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": iter,
    "sequence by its items": lambda texts: _Items(texts),
    "dictionary's values": lambda texts: dict(enumerate(texts)).values(),
    "numpy objects": lambda texts: _objects(texts),
    "pandas series": pd.Series,
    "pandas series, other index": lambda texts: pd.Series(texts, index=range(5, 5 + len(texts))),
    "pandas series, an index of names": lambda texts: pd.Series(
        texts, index=["columns", "shape", "texts", "layers", "schema", "dtype"][: len(texts)]
    ),
    "polars series": pl.Series,
    "arrow array": pa.array,
    "arrow chunks": lambda texts: pa.chunked_array([texts[:1], texts[1:]]),
}
OF_STRINGS: dict[str, Callable[[list[str]], Any]] = {
    "numpy strings": np.array,
    "pandas strings": lambda texts: pd.Series(texts, dtype="string"),
    "pandas categories": lambda texts: pd.Series(texts, dtype="category"),
    "pandas index": pd.Index,
    "arrow dictionary": lambda texts: pa.array(texts).dictionary_encode(),
    "large arrow strings": lambda texts: pa.array(texts, pa.large_string()),
}


class _Items:
    """As `torch.utils.data.Subset`: a length and items, and no more."""

    def __init__(self, items: list[Any]) -> None:
        self._kept = items

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, number: int) -> Any:
        return self._kept[number]


class _Column:
    """As a column of Spark: it says that it can be gone through, and can't."""

    def __iter__(self) -> Any:
        raise TypeError("a column isn't iterable")

    def __repr__(self) -> str:
        return "Column<text>"


def _objects(items: list[Any]) -> Any:
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made


@pytest.mark.parametrize("container", [*CONTAINERS, *OF_STRINGS])
def test_texts_in_any_container(container: str) -> None:
    assert listed((CONTAINERS | OF_STRINGS)[container](TEXTS)) == TEXTS


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=6))
def test_any_texts_in_any_container(texts: list[str]) -> None:
    for name, container in CONTAINERS.items():
        assert listed(container(texts)) == texts, name


@pytest.mark.parametrize("container", CONTAINERS)
def test_words_in_any_container(container: str) -> None:
    assert [list(words) for words in listed(CONTAINERS[container](WORDS))] == WORDS


def test_words_as_arrays() -> None:
    assert listed([np.array(["a", "b"]), pa.array(["c"])]) == [["a", "b"], ["c"]]


def test_a_column_of_our_own_tables(encoder_of: Callable[[str], Any]) -> None:
    encoder = encoder_of("bert")
    states = encoder.encode(TEXTS)
    again = encoder.encode(states.texts["text"])
    np.testing.assert_array_equal(again.stack(), states.stack())


COLUMNS = {"text": ["one", "two"], "label": ["x", "y"]}
TABLES: dict[str, Any] = {
    "dictionary": COLUMNS,
    "pandas": pd.DataFrame(COLUMNS),
    "polars": pl.DataFrame(COLUMNS),
    "lazy polars": pl.DataFrame(COLUMNS).lazy(),
    "arrow table": pa.table(COLUMNS),
    "arrow batch": pa.RecordBatch.from_pydict(COLUMNS),
    "arrow reader": pa.table(COLUMNS).to_reader(),
    "structured array": np.array([("one", "x")], dtype=[("text", "U3"), ("label", "U1")]),
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.filterwarnings("ignore::polars.exceptions.PerformanceWarning")
def test_tables_are_refused_and_their_columns_named(kind: str, encoder_of: Callable[[str], Any]) -> None:
    given = TABLES[kind]
    for use in (encoder_of("bert").encode, lw.LayerFeatures(encoder_of("bert")).fit):
        with pytest.raises(RequestError, match=r"columns text, label; pass one of them, such as \['text'\]"):
            use(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("one text", "got one string for a list of texts; put it in a list"),
        ({"a", "b"}, "a set for texts, which has no order"),
        (np.array([["a", "b"], ["c", "d"]]), r"array of shape \(2, 2\) for texts; give one column"),
        (np.array("a"), r"array of shape \(\)"),
        (7, "got 7 for texts; give a list"),
        (None, "got None for texts"),
        ({}, "got an empty mapping"),
        ({"id": "a text"}.items(), "a dict_items for texts, which has names beside its texts"),
        (_Column(), "got Column<text> for texts; give a list"),
        (b"text", "got one bytes object"),
    ],
)
def test_what_is_no_list_of_texts(given: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        listed(given)


def test_records_are_refused_and_their_columns_named(encoder_of: Callable[[str], Any]) -> None:
    said = r"text 0 is a record, with the columns label, sentence; pass one of them, such as \[record\['sentence'\] for"
    with pytest.raises(RequestError, match=said):
        encoder_of("bert").encode([{"label": "x", "sentence": "one"}])
    with pytest.raises(RequestError, match="text 1 is dict; give a string"):
        encoder_of("bert").encode(["one", {}])


def test_a_dataset_is_refused_and_its_texts_named(encoder_of: Callable[[str], Any]) -> None:
    states = encoder_of("bert").encode(TEXTS)
    with pytest.raises(RequestError, match=r"dataset\.texts\['text'\]"):
        listed(states)


def test_a_missing_text_is_named_by_its_number(encoder_of: Callable[[str], Any]) -> None:
    with pytest.raises(RequestError, match="text 1 is NoneType"):
        encoder_of("bert").encode(pd.Series(["a", None], dtype=object))
