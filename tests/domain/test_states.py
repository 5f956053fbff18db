import sys
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.array_types import F32
from layerwise.errors import RequestError
from layerwise.row_selection import Rows, matches, select_rows
from layerwise.states import LayerStates


def words() -> LayerStates:
    """Five words of two texts, layers emb, 1 and 3 of a model of 3 blocks, width 2."""
    vectors = {
        name: np.arange(10, dtype=np.float32).reshape(5, 2) + 100 * k
        for k, name in enumerate(["emb", "1", "3"])
    }
    index = pa.table(
        {
            "doc": [7, 7, 7, 9, 9],
            "text": ["the", "bank", "pays", "bank", "run"],
            "tag": ["D", "N", "V", "N", "N"],
        }
    )
    texts = pa.table(
        {
            "doc": [7, 8, 9],
            "text": ["the bank pays", "", "bank run"],
            "label": [1, 0, None],
            "topics": pa.array([["money", "verb"], [], ["money"]], pa.list_(pa.string())),
        }
    )
    return LayerStates(vectors, index=index, texts=texts, blocks=3, level="word", pool="mean")


def test_states_say_what_they_hold() -> None:
    states = words()
    assert states.layers == ("emb", "1", "3")
    assert (states.level, states.pool, states.width, states.blocks) == ("word", "mean", 2, 3)
    assert len(states) == states.rows == states.index.num_rows == 5
    assert states.texts.num_rows == 3
    assert repr(states) == "<LayerStates 5 rows × 3 layers (emb, 1, 3) × 2, level word, pool mean>"
    assert list(states.parts()) == [states]


@pytest.mark.parametrize(
    ("spec", "first"), [("emb", 0), (0, 0), ("1", 100), (-1, 200), ("-1", 200), (np.int64(3), 200)]
)
def test_a_layer_is_asked_for_by_name_or_number_of_the_model(spec: Any, first: float) -> None:
    values = words().layer(spec)
    assert values.dtype == np.float32
    assert values.shape == (5, 2)
    assert values[0, 0] == first


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("2", "isn't stored"),
        (-2, "isn't stored"),
        (4, "doesn't exist"),
        ("all", "3 layers where one"),
        (True, "no layer"),
        (1.5, "no layer"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(spec: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        words().layer(spec)


def test_a_layer_is_the_callers_own() -> None:
    states = words()
    for rows in (None, slice(1, 3), [0, 1]):
        states.layer("1", rows)[...] = -1
    states.stack()[...] = -1
    states.mix("sum(all)")[...] = -1
    assert states.layer("1")[0, 0] == 100


@pytest.mark.parametrize(
    ("rows", "numbers"),
    [
        (None, [0, 1, 2, 3, 4]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -2), [4, 2, 0]),
        (slice(3, 99), [3, 4]),
        (slice(3, 1), []),
        ([True, False, False, True, False], [0, 3]),
        (np.array([4, 0, 0, -1]), [4, 0, 0, 4]),
        ((2,), [2]),
        ([], []),
        (pa.array([1, 2]), [1, 2]),
    ],
)
def test_rows_are_selected_as_numpy_does(rows: Any, numbers: list[int]) -> None:
    np.testing.assert_array_equal(words().layer("3", rows)[:, 0], 200 + 2 * np.array(numbers, int))
    np.testing.assert_array_equal(words().layer("3", rows, raw=True), words().layer("3")[numbers])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([5], "row 5 doesn't exist; there are 5"),
        ([0, -6], "row -6 doesn't exist"),
        ([True, False], "a mask of 2 doesn't fit 5 rows"),
        (3, "an array of int64 with shape"),
        ([0.5], "an array of float64"),
        (["a"], "rows can't be"),
        ([[0, 1]], "shape"),
    ],
)
def test_rows_that_are_not_there_are_refused(rows: Any, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        words().layer("3", rows)


@given(st.integers(0, 12), st.slices(12))
@settings(deadline=None)
def test_slices_mean_what_they_mean_in_python(count: int, chosen: slice) -> None:
    rows = select_rows(chosen, count)
    got = list(range(count)[rows]) if isinstance(rows, slice) else rows.tolist()
    assert got == list(range(count))[chosen]


def test_stack_and_mix_take_layer_strings() -> None:
    states = words()
    assert states.stack().shape == (3, 5, 2)
    np.testing.assert_array_equal(states.stack("3,emb")[1], states.layer("emb"))
    np.testing.assert_allclose(states.mix("mean(1,3)"), (states.layer(1) + states.layer(3)) / 2)
    assert states.mix("concat:all").shape == (5, 6)
    with pytest.raises(RequestError, match="isn't stored; there are emb, 1, 3"):
        states.mix("mean(-2:)")


@pytest.mark.parametrize(
    ("conditions", "numbers"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"text": "bank"}, [1, 3]),
        ({"text": ["bank", "run"]}, [1, 3, 4]),
        ({"text": {"the", "run"}, "doc": 9}, [4]),
        ({"tag": "N", "label": 1}, [1]),
        ({"label": "1"}, [0, 1, 2]),
        ({"label": None}, [3, 4]),
        ({"label": [None, 1]}, [0, 1, 2, 3, 4]),
        ({"label": 0}, []),
        ({"topics": "money"}, [0, 1, 2, 3, 4]),
        ({"topics": ["verb", "noun"]}, [0, 1, 2]),
        ({"text": "nowhere"}, []),
        ({"text": []}, []),
    ],
)
def test_where_finds_rows_by_the_index_and_by_the_texts(
    conditions: dict[str, Any], numbers: list[int]
) -> None:
    got = words().where(**conditions)
    assert got.dtype == np.int64
    assert got.tolist() == numbers


def test_where_refuses_unknown_columns_and_values_of_another_kind() -> None:
    with pytest.raises(RequestError, match="no column 'labl'; there are doc, text, tag, label, topics"):
        words().where(labl=1)
    with pytest.raises(RequestError, match="column 'label' holds int64 and can't be compared with 'pos'"):
        words().where(label="pos")
    with pytest.raises(RequestError, match="column 'label' holds int64"):
        words().where(label=object())


@pytest.mark.parametrize(
    ("column", "wanted", "found"),
    [
        (pa.array(["a", "b", "a"]).dictionary_encode(), "a", [True, False, True]),
        (pa.nulls(2), "a", [False, False]),
        (pa.nulls(2), None, [True, True]),
        (pa.array([True, None]), True, [True, False]),
        (pa.array([0.5, 1.0]), 1, [False, True]),
        (pa.array([0.1], pa.float32()), 0.1, [True]),
        (pa.array([["x"], [], ["y", "x"]], pa.large_list(pa.string())), "x", [True, False, True]),
        (
            pa.chunked_array([pa.array([["x"]]), pa.array([[], ["y"], ["x"]])]),
            "x",
            [True, False, False, True],
        ),
        (pa.chunked_array([], pa.string()), "x", []),
    ],
)
def test_values_are_compared_in_the_type_of_the_column(column: Any, wanted: Any, found: list[bool]) -> None:
    assert matches("c", column, wanted).tolist() == found


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        ({}, "give one that is"),
        ({"9": np.zeros((5, 2))}, "layers \\['9'\\] aren't among"),
        ({"1": np.zeros((5, 2)), "2": np.zeros((4, 2))}, "all must have the same"),
        ({"1": np.zeros(5)}, "all must have the same"),
        ({"1": np.zeros((4, 2))}, "the index has 5 rows for 4 vectors"),
    ],
)
def test_states_that_do_not_fit_together_are_refused(vectors: dict[str, F32], says: str) -> None:
    states = words()
    with pytest.raises(RequestError, match=says):
        LayerStates(vectors, index=states.index, texts=states.texts, blocks=3, level="word")


def test_no_rows_are_rows_too() -> None:
    empty: Rows = None
    states = LayerStates(
        {"emb": np.zeros((0, 4), np.float32)},
        index=pa.table({"doc": pa.array([], pa.int64())}),
        texts=words().texts,
        blocks=1,
        level="token",
    )
    assert states.layer("emb", empty).shape == (0, 4)
    assert states.where(label=1).tolist() == []
    assert repr(states) == "<LayerStates 0 rows × 1 layer (emb) × 4, level token>"


@pytest.mark.parametrize(
    "rows", [None, slice(1, 4), slice(None, None, -2), [4, 0], [True, False, False, True, False]]
)
def test_a_layer_becomes_a_data_frame(rows: Rows) -> None:
    states = words()
    values, index = (
        states.layer("3", rows),
        states.index.take(np.arange(5)[slice(None) if rows is None else rows]),
    )
    frame = states.to_pandas("3", rows)
    assert frame.columns.tolist() == ["doc", "text", "tag", "dim0", "dim1"]
    assert frame["text"].tolist() == index["text"].to_pylist()
    assert (frame[["dim0", "dim1"]].dtypes == np.float32).all()
    np.testing.assert_array_equal(frame[["dim0", "dim1"]].to_numpy(), values)
    polar = states.to_polars("3", rows)
    assert polar.columns == frame.columns.tolist()
    assert polar["doc"].to_list() == index["doc"].to_pylist()
    np.testing.assert_array_equal(polar.select("dim0", "dim1").to_numpy(), values)
    tensor = states.to_torch(-1, rows)
    np.testing.assert_array_equal(tensor.numpy(), values)
    tensor.zero_()
    assert states.layer("3")[0, 0] == 200, "the tensor is a copy"


def test_dimensions_have_names_of_their_own() -> None:
    index = pa.table({"doc": [0, 0], "dim03": ["mine", "too"]})
    vectors = {"emb": np.zeros((2, 11), np.float32)}
    states = LayerStates(vectors, index=index, texts=index.slice(0, 1), blocks=1, level="token")
    names = ["doc", "source.dim03", *(f"dim{number:02}" for number in range(11))]
    assert states.to_pandas("emb").columns.tolist() == names == states.to_polars("emb").columns
    assert states.to_pandas("emb", []).shape == (0, 13) == states.to_polars("emb", slice(0, 0)).shape
    with pytest.raises(RequestError, match="isn't stored"):
        states.to_pandas("1")
    described = pa.Table.from_pandas(pd.DataFrame({"doc": [0, 0], "key": ["x", "y"]}).set_index("key"))
    states = LayerStates(vectors, index=described, texts=index.slice(0, 1), blocks=1, level="token")
    assert states.to_pandas("emb").columns.tolist()[:2] == ["doc", "key"]
    assert len(states.to_pandas("emb")) == 2


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    convert = words().to_pandas if library == "pandas" else words().to_polars
    with pytest.raises(
        RequestError, match=rf"{library}, which isn't installed; pip install 'layerwise\[{library}\]'"
    ):
        convert("1")
