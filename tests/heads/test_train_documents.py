"""Documents in a training: which rows are held out, and what is told and stored of the choice."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from layerwise.cli.main import main
from layerwise.heads.fit import fit_heads
from layerwise.heads.layer_importance import _sample_texts
from layerwise.labels.plan import SplitPlan, TaskSpec, make_plan
from layerwise.mixes import parse_mix
from layerwise.options import TrainOptions
from layerwise.states import LayerStates
from planted import leaking_documents


def notes_of(head: Any) -> list[str]:
    """The notes of a training, without that on the few held-out rows of a small corpus."""
    return [note for note in head.training["notes"] if "can't tell how good a head is" not in note]


def planned(rows: LayerStates, **options: Any) -> tuple[SplitPlan, float]:
    """The plan of a training, and the accuracy on the rows that it holds out."""
    plan = make_plan(rows, [TaskSpec("y", "classify", "y", parse_mix("emb", 0))], **options)
    _, records, _ = fit_heads(rows, plan, TrainOptions())
    return plan, records["y"]["held_out"]["scores"]["accuracy"]


def test_a_document_that_leaks_the_label_is_no_help() -> None:
    rows, label, document = leaking_documents()
    by_text, by_document = [], []
    for seed in range(8):
        plan, score = planned(rows, seed=seed)
        assert plan.grouping.column == "document"
        assert not set(document[plan.held_out]) & set(document[plan.train])
        by_document.append(score)
        by_text.append(planned(rows, seed=seed, groups="doc")[1])
        scaler = StandardScaler().fit(rows.layer("emb")[plan.train])
        x = scaler.transform(rows.layer("emb"))
        scores = [
            LogisticRegression(C=C, max_iter=2000)
            .fit(x[plan.train], label[plan.train])
            .score(x[plan.held_out], label[plan.held_out])
            for C in (1e-4, 1e-2, 1, 10)
        ]
        assert min(scores) - 0.15 <= score <= max(scores) + 0.15
    assert np.mean(by_text) > 0.95
    assert abs(np.mean(by_document) - 0.5) < 0.2


@pytest.fixture
def words(encoder_of: Callable[[str], Any], tmp_path: Path) -> Callable[[Sequence[str]], lw.LayerDataset]:
    """Extract CoNLL files whose text is given, in order."""

    def call(contents: Sequence[str]) -> lw.LayerDataset:
        files = [tmp_path / f"{number}.conll" for number in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_text(content, encoding="utf-8")
        return lw.extract(files, tmp_path / "words.lw", model=encoder_of("bert"), level="word")

    return call


def sentences(count: int, first: int = 0) -> str:
    return "".join(f"Every O\nlayer B\nof O\nx{number} I\n\n" for number in range(first, first + count))


def test_the_head_says_what_was_kept_together(
    words: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = words(["".join(f"-DOCSTART- O\n\n{sentences(3, 3 * n)}" for n in range(12))])
    out = tmp_path / "words.head"
    command = ["train", str(dataset.path), "--task", "tag", "--label", "tag", "--out", str(out), "--mix", "1"]
    assert main(command) == 0
    told = (
        "12 documents (column 'document') are each on one side of every split that layerwise makes; "
        "--groups doc splits by text instead"
    )
    assert told in capsys.readouterr().err
    assert json.loads((out / "head.json").read_text(encoding="utf-8"))["training"]["groups"] == "document"
    head = lw.train(dataset, task="tag", label="tag", mix="1", groups="doc")
    assert (head.training["groups"], notes_of(head)) == ("doc", [])


def test_few_documents_and_files_are_told(words: Any) -> None:
    head = lw.train(
        words(["".join(f"# newdoc id = d{n}\n{sentences(4, 4 * n)}" for n in range(4))]),
        task="tag",
        label="tag",
        mix="1",
    )
    assert head.training["groups"] is None
    [note] = notes_of(head)
    assert note.startswith(
        "4 documents (column 'document') are fewer than 10, so they aren't kept together: texts of one"
    )


def test_files_are_documents(words: Any) -> None:
    head = lw.train(words([sentences(3, 3 * n) for n in range(10)]), task="tag", label="tag", mix="1")
    assert head.training["groups"] == "source"
    [note] = notes_of(head)
    assert note.startswith(
        "10 files (taken for documents, column 'source') are each on one side of every split"
    )


def test_a_learned_mix_is_explained_by_a_sample_of_texts() -> None:
    """A sample of whole documents would hold few of them, and maybe no held-out one."""
    rows, _, document = leaking_documents()
    plan, _ = planned(rows)
    sample = _sample_texts(plan.grouping.texts, plan.train | plan.held_out, 60, 0)
    assert len(sample) == 60
    assert plan.held_out[sample].any()
    assert len(set(document[sample])) > 15
