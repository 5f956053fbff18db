"""Which rows stay on the same side of a split: texts, a column of the user's, documents."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from layerwise.labels.folds import holdout, stratified_folds
from layerwise.labels.groups import Division, Grouping, group_rows, leak_note
from layerwise.states import LayerStates
from planted import noise, states_of, words_of


def states(
    columns: Mapping[str, Sequence[Any] | NDArray[Any]], texts: Sequence[str] | None = None
) -> LayerStates:
    return states_of(noise(len(next(iter(columns.values()))), 2, 1), columns, texts)


def grouped(rows: LayerStates, column: str | None = None, **division: Any) -> Grouping:
    return group_rows(rows, np.arange(rows.rows), column, Division(**division))


def documents(count: int, each: int = 4) -> list[str]:
    return [f"d{number % count}" for number in range(count * each)]


def test_ten_documents_stay_together() -> None:
    names = np.array(documents(10))
    grouping = grouped(states({"document": names}))
    assert (grouping.column, grouping.unit) == ("document", "document")
    assert grouping.notes == (
        "10 documents (column 'document') are each on one side of every split that layerwise makes; "
        "groups='doc' splits by text instead.",
    )
    expected = np.unique(names, return_inverse=True)[1]
    assert GroupKFold(10).get_n_splits(groups=grouping.groups) == len(set(grouping.groups.tolist()))
    assert np.array_equal(grouping.groups[:, None] == grouping.groups, expected[:, None] == expected)
    for held_out in [*stratified_folds(grouping.groups, None, 5, 3), holdout(grouping.groups, None, 0.2, 1)]:
        assert not set(names[held_out]) & set(names[~held_out])


def test_fewer_documents_are_told() -> None:
    for count in (2, 9):
        grouping = grouped(states({"document": documents(count)}))
        assert grouping.column is None
        assert len(set(grouping.groups.tolist())) == 4 * count, "every text is a group"
        [note] = grouping.notes
        assert note.startswith(
            f"{count} documents (column 'document') are fewer than 10, so they aren't kept together"
        )
        assert "texts of one document are on both sides of a split" in note
    assert grouped(states({"document": documents(9)}), automatic=False).notes == (), (
        "the user's split divides them"
    )
    assert grouped(states({"document": documents(1)})).notes == (), "nothing else is there to be scored on"


def test_documents_of_a_single_text_keep_nothing_together() -> None:
    grouping = grouped(states({"document": documents(30, 1)}))
    assert (grouping.column, grouping.notes) == (None, ())


@pytest.mark.parametrize("missing", [None, "", float("nan")])
@pytest.mark.parametrize("column", [None, "document"])
def test_rows_without_a_document_are_alone(missing: Any, column: str | None) -> None:
    values = [missing, *range(11), missing, *range(11)]
    if missing == "":
        values = ["" if value == "" else str(value) for value in values]
    grouping = grouped(states({"document": values}), column)
    assert grouping.column == "document"
    assert grouping.groups.tolist() == [0, *range(1, 12), 12, *range(1, 12)]


def test_a_column_of_lists_is_no_document() -> None:
    assert grouped(states({"document": [["a", "b"]] * 24})).column is None


def test_words_have_the_document_of_their_text() -> None:
    sentences = [["a", f"b{number}", "c"] for number in range(30)]
    rows = words_of(noise(90, 2, 1), sentences, {})
    named = rows.texts.append_column("document", [[f"d{number // 3}" for number in range(30)]])
    layers = {"emb": rows.layer("emb")}
    rows = LayerStates(layers, index=rows.index, texts=named, blocks=0, level="word", pool="mean")
    grouping = group_rows(rows, rows.index["doc"].to_numpy())
    assert grouping.groups.tolist() == np.repeat(np.arange(10), 9).tolist()
    assert len(set(grouping.texts.tolist())) == 30


def files(names: Sequence[str], line: int | None = 1) -> LayerStates:
    return states({"source": names, "line": [line] * len(names)})


def test_ten_files_of_several_texts_are_documents() -> None:
    grouping = grouped(files(documents(10)))
    assert grouping.column == "source"
    assert grouping.notes[0].startswith(
        "10 files (taken for documents, column 'source') are each on one side"
    )
    assert len(set(grouping.groups.tolist())) == 10
    for rows in (
        files(documents(9)),
        files(documents(40, 1)),
        files(documents(10), None),  # a file is one text
        files([f"data-{name[1:]:0>5}-of-00010.arrow" for name in documents(10)]),  # a table, cut for storage
    ):
        assert (grouped(rows).column, grouped(rows).notes) == (None, ())


def test_a_column_of_documents_comes_before_files() -> None:
    rows = states({"source": documents(12), "line": [1] * 48, "document": documents(4, 12)})
    assert grouped(rows).column is None
    assert grouped(rows).notes[0].startswith("4 documents (column 'document') are fewer than 10")


def test_a_column_that_is_named_is_used() -> None:
    rows = states({"document": documents(12), "author": documents(3, 16)})
    assert len(set(grouped(rows, "author").groups.tolist())) == 3
    assert (grouped(rows, "author").column, grouped(rows, "author").notes) == ("author", ())
    assert len(set(grouped(rows, "doc").groups.tolist())) == 48, "every text alone"


def test_documents_with_an_identical_text_are_joined() -> None:
    names = documents(24)
    texts = [f"text {number}" for number in range(96)]
    texts[1] = texts[0]
    grouping = grouped(states({"document": names}, texts))
    assert len(set(grouping.groups.tolist())) == 23
    assert grouping.groups[0] == grouping.groups[1]


def test_short_texts_of_many_documents_join_nothing() -> None:
    names = documents(20)
    texts = ["Yes." if number < 20 else f"text {number}" for number in range(80)]
    grouping = grouped(states({"document": names}, texts))
    assert len(set(grouping.groups.tolist())) == 20
    assert grouping.notes[1] == (
        "20 rows have a text that is in several documents, and may be on both sides of a split."
    )


def test_documents_that_are_the_classes_are_not_kept_together() -> None:
    """A file per language: with whole files held out, no class would be in training and test."""
    rows = files(documents(12))
    by_file = np.array(documents(12), object)
    grouping = grouped(rows, labels=[by_file])
    assert grouping.column is None
    assert "because fewer than two classes are in 2 or more of them" in grouping.notes[0]
    mixed = np.array(["ab"[number % 2] for number in range(48)], object)
    assert grouped(rows, labels=[mixed]).column == "source"
    assert grouped(rows, labels=[mixed], groups_per_class=7).column is None
    assert grouped(rows, labels=[mixed, by_file]).column is None
    few = np.array([None if number > 30 else label for number, label in enumerate(mixed)], object)
    assert grouped(rows, labels=[few]).column == "source"


def test_every_part_of_a_split_needs_ten_documents() -> None:
    names = np.array(documents(20))
    test = np.isin(names, [f"d{number}" for number in range(9)])
    assert grouped(states({"document": names}), parts=[~test, test], automatic=False).column is None
    test = np.isin(names, [f"d{number}" for number in range(10)])
    grouping = grouped(states({"document": names}), parts=[~test, test], automatic=False)
    assert grouping.column == "document"
    assert grouping.notes == (
        "Intervals treat documents (column 'document') as independent, not single texts; groups='doc' treats texts as "
        "independent.",
    )


def test_a_users_split_that_divides_documents_is_told() -> None:
    names = documents(4, 5)
    texts = ["same" if number in (0, 19) else f"text {number}" for number in range(20)]
    rows = states({"document": names}, texts)
    test = np.array([name == "d0" for name in names])
    assert leak_note(grouped(rows, "doc"), test, ~test) == (
        "1 test row is in the training part as well (the same text, or the same group): your split was kept, so the "
        "test scores may be too high."
    ), "not those of other texts of the document, though an identical text joins them"
    assert leak_note(grouped(rows, "document"), test, ~test).startswith("1 test row is")  # type: ignore[union-attr]
    test[4] = False
    note = leak_note(grouped(rows), test, ~test)
    assert note is not None
    assert note.startswith(
        "4 test rows are in the training part as well (the same text, or the same document)"
    )
    assert (
        leak_note(
            grouped(states({"document": names})), test | (np.arange(20) == 4), ~test & (np.arange(20) != 4)
        )
        is None
    )
