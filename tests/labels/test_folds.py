"""Labels and cuts: what belongs together stays together."""

import numpy as np
import pytest

import layerwise as lw
from layerwise.labels.folds import holdout, split_roles, stratified_folds
from layerwise.labels.groups import group_rows
from layerwise.labels.labelled import read_labels
from planted import noise, states_of, words_of


def test_folds_hold_out_every_row_once_and_whole_groups() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 400)
    classes = rng.integers(0, 3, 400)
    folds = stratified_folds(groups, classes, 5, 1)
    assert (np.sum(folds, axis=0) == 1).all()
    for held_out in folds:
        assert not set(groups[held_out]) & set(groups[~held_out])
        assert 40 <= held_out.sum() <= 120


def test_classes_are_spread() -> None:
    classes = np.repeat([0, 1, 2], [300, 60, 10])
    for held_out in stratified_folds(np.arange(370), classes, 5, 0):
        assert np.bincount(classes[held_out]).tolist() == [60, 12, 2]


def test_a_large_group_is_not_held_out() -> None:
    groups = np.repeat(np.arange(12), [200, *[10] * 11])
    held_out = holdout(groups, None, 0.2, 0)
    assert not held_out[0]
    assert 20 <= held_out.sum() <= 40
    equal = np.repeat(np.arange(11), 10)
    assert np.array_equal(holdout(equal, None, 0.2, 0), stratified_folds(equal, None, 5, 0)[0])


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(lw.RequestError, match="3 groups of texts can't be split into 5 folds"):
        stratified_folds(np.array([0, 1, 2, 2, 2]), None, 5, 0)
    with pytest.raises(lw.RequestError, match="nothing can be held out"):
        holdout(np.zeros(5, np.int64), None, 0.2, 0)


def test_identical_texts_and_equal_groups_are_one() -> None:
    texts = ["a", "b", "a", "c", "d", "e"]
    states = states_of(noise(6, 2, 1), {"who": ["x", "y", "z", "y", None, None]}, texts)
    docs = np.arange(6)
    assert group_rows(states, docs).groups.tolist() == [0, 1, 0, 2, 3, 4]
    assert group_rows(states, docs, "who").groups.tolist() == [0, 1, 0, 1, 2, 3]
    with pytest.raises(lw.RequestError, match="no column 'nobody'"):
        group_rows(states, docs, "nobody")


def test_labels_are_read_and_missing_ones_counted() -> None:
    states = states_of(
        noise(4, 2, 1),
        {"y": ["a", "", None, "b"], "z": ["1", "2.5", "", "x"], "t": [["u"], [], None, ["u", "v"]]},
    )
    result = read_labels(states, "classify", "y")
    assert (result.rows.tolist(), result.values.tolist(), result.dropped) == ([0, 3], ["a", "b"], 2)
    several = read_labels(states, "classify", "t")
    assert several.multi
    assert several.values.tolist() == [("u",), (), ("u", "v")]
    with pytest.raises(lw.RequestError, match="holds 'x', which isn't a finite number"):
        read_labels(states, "regress", "z")
    with pytest.raises(lw.RequestError, match="task='tag' needs rows that are words"):
        read_labels(states, "tag", "y")
    with pytest.raises(
        lw.RequestError, match="there is no column 'q' in the dataset; there are doc, text, y"
    ):
        read_labels(states, "classify", "q")


def test_words_have_their_own_labels() -> None:
    states = words_of(noise(3, 2, 1), [["a", "b"], ["c"]], {"pos": ["X", None, "Y"]})
    result = read_labels(states, "classify", "pos")
    assert (result.rows.tolist(), result.docs.tolist(), result.dropped) == ([0, 2], [0, 1], 1)


def test_a_split_is_read_by_its_names() -> None:
    states = states_of(noise(4, 2, 1), {"part": ["Train", "validation", "test", None]})
    assert split_roles(states, np.arange(4), "part").tolist() == ["train", "dev", "test", ""]
    wrong = states_of(noise(2, 2, 1), {"part": ["train", "holdout"]})
    with pytest.raises(lw.RequestError, match="'holdout' isn't a part; the values are train, dev"):
        split_roles(wrong, np.arange(2), "part")
