"""Documents in the probe: a corpus whose documents leak the label, and what is told of them."""

from typing import Any

import numpy as np
import pytest
from probes import probe
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise.probing.problem import gather
from layerwise.probing.run import FOLDS, ProbeRun
from layerwise.states import LayerStates
from planted import leaking_documents, states_of


def scores_of(rows: LayerStates, **options: Any) -> tuple[float, Any]:
    result = probe(rows, "classify", "y", mixes=[], quick=True, **options)
    return result["emb"].score, result


def test_a_document_that_leaks_the_label_is_no_help() -> None:
    rows, label, document = leaking_documents()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    by_text = cross_val_score(
        classifier, rows.layer("emb"), label, cv=KFold(5, shuffle=True, random_state=0)
    ).mean()
    by_document = cross_val_score(
        classifier, rows.layer("emb"), label, groups=document, cv=GroupKFold(5)
    ).mean()
    assert by_text > 0.95
    assert abs(by_document - 0.5) < 0.15
    split_by_text, text_result = scores_of(rows, groups="doc")
    kept_together, result = scores_of(rows)
    assert split_by_text == pytest.approx(by_text, abs=0.03)
    assert abs(kept_together - 0.5) < 0.15
    assert (result.groups, text_result.groups) == ("document", "doc")
    assert result.to_json()["groups"] == "document"
    assert result.notes[0].startswith("24 documents (column 'document') are each on one side of every split")
    assert not any("document" in note for note in text_result.notes)


def test_no_document_is_in_training_and_test() -> None:
    rows, _, document = leaking_documents()
    problem = gather(rows, "classify", "y", groups=None, split=None, folds=FOLDS, max_rows=20_000, seed=0)
    design = ProbeRun(rows, problem, 2, 0).design
    for outer in design.outers:
        train = np.flatnonzero(design.fits.train[outer.fit])
        assert not set(document[train]) & set(document[outer.test])
        for fit, held_out in outer.inner:
            assert not set(document[design.fits.train[fit]]) & set(document[held_out])
    before: set[int] = set()
    for block in design.orders[0]:
        assert not before & set(document[block.rows])
        before |= set(document[block.rows])


def test_few_documents_are_told() -> None:
    rows, label, document = leaking_documents()
    few = states_of([rows.layer("emb")], {"y": label.astype(str), "document": (document // 4).astype(str)})
    score, result = scores_of(few)
    assert result.groups is None
    assert score > 0.95
    assert result.notes[0].startswith(
        "6 documents (column 'document') are fewer than 10, so they aren't kept together"
    )


def test_large_documents_are_sampled_by_texts() -> None:
    """Whole documents would leave too few of them for folds."""
    rows, _, document = leaking_documents()
    problem = gather(rows, "classify", "y", groups=None, split=None, folds=FOLDS, max_rows=40, seed=0)
    assert len(problem.labelled) == 40
    assert len(set(document[problem.labelled.rows])) > 15
    assert problem.group_column == "document"


def test_classes_of_too_few_documents_are_left_out() -> None:
    rows, label, document = leaking_documents()
    named = np.where(document < 3, "rare", label.astype(str))
    _, result = scores_of(states_of([rows.layer("emb")], {"y": named, "document": document}))
    assert result.classes == ("0", "1")
    assert (
        "Classes with fewer documents than the 5 folds were left out, with their rows: 'rare' (36)."
        in result.notes
    )


def test_a_users_split_is_resampled_by_document() -> None:
    rows, label, document = leaking_documents()
    part = np.where(document < 10, "train", np.where(document < 12, "dev", "test"))
    columns = {"y": label.astype(str), "part": part}
    by_document = states_of([rows.layer("emb")], {**columns, "document": document})
    _, result = scores_of(by_document, split="part")
    _, by_text = scores_of(by_document, split="part", groups="doc")
    assert (result.groups, by_text.notes) == ("document", ())
    assert result.notes == (
        "Intervals treat documents (column 'document') as independent, not single texts; groups='doc' treats texts as "
        "independent.",
    )
    assert result["emb"].score == by_text["emb"].score
    widths = [each["emb"].high - each["emb"].low for each in (result, by_text)]
    assert widths[0] > 2 * widths[1], "12 documents of 12 alike texts tell less than 144 texts"


def test_a_users_split_that_divides_documents_is_told() -> None:
    rows, label, document = leaking_documents()
    part = np.where(np.arange(len(label)) % 2, "train", "test")
    columns = {"y": label.astype(str), "part": part, "document": document}
    _, result = scores_of(states_of([rows.layer("emb")], columns), split="part")
    assert (
        "144 test rows are in the training part as well (the same text, or the same document)"
        in result.notes[1]
    )
