"""Blocks that are left out: plain loops over the blocks that stay, and the score of a label without them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import layerwise as lw
from conftest import CORPUS
from layerwise.cli.main import main
from layerwise.heads.solve import CS
from layerwise.probing.design import DesignBuilder, crossed
from reference import Plain, worst

TOLERANCE = 1e-5
TEXTS = [text for text in CORPUS if text.strip() and len(text) < 90]
RECORDS = [
    (f"{a} {b}", kind) for a, kind in (("one", "x"), ("two", "y"), ("three", "x")) for b in "abcdefghij"
]


def by_loop(plain: Plain, ids: list[int], blocks: list[int]) -> Any:
    """The last hidden state of a BERT when only some of its blocks are called, one after the other."""
    with torch.no_grad():
        hidden = plain.model.embeddings(torch.tensor([ids]))
        for number in blocks:
            hidden = plain.model.encoder.layer[number - 1](hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    return hidden[0].double().numpy()


@pytest.mark.parametrize(("at", "drop", "kept"), [(None, "2", [1, 3]), (2, "1", [2]), (3, [1, -1], [2])])
def test_the_blocks_that_stay_are_called_in_order(
    at: Any, drop: Any, kept: list[int], model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    written = lw.cut(model_folder("bert"), tmp_path / "out", at=at, drop=drop, device="cpu")
    assert written.blocks == len(kept)
    assert set(written.dropped) == {1, 2, 3} - set(kept) - {n for n in (3,) if at == 2}
    whole, short = Plain(model_folder("bert")), Plain(tmp_path / "out")
    for text in TEXTS:
        ids = whole.raw(text)["input_ids"]
        assert worst(short.states(ids)[-1:], by_loop(whole, ids, kept)[None]) <= TOLERANCE


def test_blocks_may_be_counted_from_the_end(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["cut", str(model_folder("bert")), "--drop", "-1,1", "--out", str(tmp_path / "out")]
    assert main([*command, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dropped"] == [1, 3]


def test_all_blocks_may_be_left_out(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    written = lw.cut(model_folder("bert"), tmp_path / "out", drop="1:", device="cpu")
    assert (written.at, written.blocks) == ("3", 0)
    whole, short = Plain(model_folder("bert")), Plain(tmp_path / "out")
    ids = whole.raw(TEXTS[0])["input_ids"]
    with torch.no_grad():
        got = short.model(input_ids=torch.tensor([ids])).last_hidden_state[0].double().numpy()
    assert worst(got[None], whole.states(ids)[:1]) <= TOLERANCE


@pytest.mark.parametrize(
    ("family", "drop", "why"),
    [
        ("albert", "2", "block 2 can't be left out, because its blocks share their weights"),
        ("t5", "1", "the shorter model has no encoder.block.0.layer.0.SelfAttention.relative_attention_bias"),
        ("modernbert", "1", "the shorter model has no place for layers.0.attn_norm.weight"),
    ],
)
def test_a_family_that_needs_a_block_is_refused_by_name(
    family: str, drop: str, why: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(lw.ModelError, match=rf"\({family}\)") as caught:
        lw.cut(model_folder(family), tmp_path / "out", drop=drop, device="cpu")
    assert why in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def probed(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, and a probe of it."""
    folder = tmp_path_factory.mktemp("probed")
    lines = [json.dumps({"text": text, "kind": kind, "letter": letter_of(text)}) for text, kind in RECORDS]
    (folder / "texts.jsonl").write_text("\n".join(lines))
    dataset = lw.extract(
        folder / "texts.jsonl", folder / "set.lw", model=str(model_folder("bert")), layers="2,3", device="cpu"
    )
    for task, label, name in (("classify", "kind", "probe"), ("regress", "letter", "probe-letter")):
        lw.probe(dataset, task=task, label=label, out=folder / name, quick=True, no_codelength=True, mix=[])
    return folder


def letter_of(text: str) -> int:
    """The place in the alphabet of the letter that a text ends with."""
    return ord(text[-1]) - ord("a")


def score_by_scikit_learn(vectors: NDArray[np.float32], numbers: NDArray[np.float64]) -> float:
    """R² of a ridge regression, whose alpha is chosen on the inner folds of each outer fold of a quick probe."""
    rows = np.arange(len(numbers))
    design = crossed(DesignBuilder(rows, numbers.astype(np.float32), 1, spread=False), 1, 5, 0, [])
    scores = []
    for outer in design.outers:
        train = np.flatnonzero(design.fits.train[outer.fit])
        inner = [
            (np.flatnonzero(~np.isin(train, h)), np.flatnonzero(np.isin(train, h))) for _, h in outer.inner
        ]
        search = GridSearchCV(
            make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1 / C for C in CS]}, cv=inner
        )
        search.fit(vectors[train], numbers[train])
        scores.append(search.score(vectors[outer.test], numbers[outer.test]))
    return float(np.mean(scores))


def test_the_score_is_that_of_transformers_and_scikit_learn(
    probed: Path, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """The other blocks are called one after the other, a text per forward, and their mean is the row."""
    written = lw.cut(
        model_folder("bert"), tmp_path / "out", drop="2", probe=probed / "probe-letter", device="cpu"
    )
    plain = Plain(model_folder("bert"))
    ids = [plain.raw(text)["input_ids"] for text, _ in RECORDS]
    numbers = np.array([letter_of(text) for text, _ in RECORDS], np.float64)
    whole, without, other = (
        score_by_scikit_learn(
            np.stack([by_loop(plain, row, kept).mean(axis=0) for row in ids]).astype(np.float32), numbers
        )
        for kept in ([1, 2, 3], [1, 3], [2, 3])
    )
    assert written.score is not None
    assert written.score.rows == len(RECORDS)
    assert written.score.whole.score == pytest.approx(whole, abs=1e-4)
    assert written.score.without.score == pytest.approx(without, abs=1e-4)
    assert min(abs(without - whole), abs(without - other)) > 0.01, "another block would give another score"


def test_the_score_is_that_of_a_probe_of_the_shorter_model(
    probed: Path, model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["cut", str(model_folder("bert")), "--drop", "1,2", "--probe", str(probed / "probe")]
    assert main([*command, "--out", str(out), "--device", "cpu", "--json"]) == 0
    score = json.loads(capsys.readouterr().out)["score"]
    assert score["rows"] == len(RECORDS)
    # The same by the public verbs alone.
    for model, layer, got in ((out, "1", score["without"]), (model_folder("bert"), "3", score["whole"])):
        again = lw.extract(
            probed / "texts.jsonl",
            tmp_path / f"{layer}.lw",
            model=str(model),
            layers=layer,
            dtype="float32",
            device="cpu",
        )
        expected = lw.probe(
            again, task="classify", label="kind", quick=True, no_codelength=True, mix=[], seed=0
        )[layer]
        assert got["score"] == pytest.approx(expected.score, abs=1e-6)
        assert got["low"] <= got["score"] <= got["high"]


def test_the_command_says_both_scores(
    probed: Path, model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["cut", str(model_folder("bert")), "--drop", "2", "--probe", str(probed / "probe")]
    assert main([*command, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert "kind, accuracy on 30 rows that were encoded anew: " in line
    assert ", with all blocks " in line


@pytest.mark.slow
def test_rows_of_words_are_matched(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """Special tokens are rows of token level, and no rows of a probe."""
    words = [(["one", word, "two"], ["A", "B", "A"]) for word in "abcdefghijklmnop"]
    lines = [json.dumps({"words": list(text), "tag": tags}) for text, tags in words]
    (tmp_path / "words.jsonl").write_text("\n".join(lines))
    dataset = lw.extract(
        tmp_path / "words.jsonl",
        tmp_path / "set.lw",
        model=str(model_folder("bert")),
        words="words",
        level="word",
        pool="first",
        device="cpu",
    )
    lw.probe(
        dataset, task="classify", label="tag", out=tmp_path / "probe", quick=True, no_codelength=True, mix=[]
    )
    written = lw.cut(model_folder("bert"), tmp_path / "out", drop=[3], probe=tmp_path / "probe", device="cpu")
    assert written.score is not None
    assert written.score.rows == 3 * len(words)
    assert written.score.whole.score > 0.9, "the middle word is another one in each text, and its tag too"


def refused(probe: Any, model: Path, tmp_path: Path) -> str:
    with pytest.raises(lw.RequestError) as caught:
        lw.cut(model, tmp_path / "refused", drop="2", probe=probe, device="cpu")
    assert not (tmp_path / "refused").exists()
    return str(caught.value)


def test_probes_that_cannot_be_asked_again(
    probed: Path, model_folder: Callable[[str], Path], encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    bert = model_folder("bert")
    assert "is another one; cut that model" in refused(probed / "probe", model_folder("electra"), tmp_path)
    content = json.loads((probed / "probe" / "probe.json").read_text())
    memory = {**content, "dataset": {"sha256": "0"}}
    assert "rows in memory, which can't be encoded again" in refused(memory, bert, tmp_path)
    changed = {**content, "dataset": {**content["dataset"], "sha256": "0"}}
    assert "before it was changed" in refused(changed, bert, tmp_path)
    gone = {**content, "dataset": {**content["dataset"], "path": str(tmp_path / "gone")}}
    assert "can't be opened" in refused(gone, bert, tmp_path)
    assert "give the folder that `probe` wrote" in refused(tmp_path / "none", bert, tmp_path)
    other = {**content, "classes": ["x"]}
    assert "has no class 'y'" in refused(other, bert, tmp_path)


def test_a_dataset_without_texts_is_refused(
    probed: Path, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    bert = str(model_folder("bert"))
    dataset = lw.extract(
        probed / "texts.jsonl", tmp_path / "set.lw", model=bert, no_text=True, keep=["kind"], device="cpu"
    )
    lw.probe(
        dataset, task="classify", label="kind", out=tmp_path / "probe", quick=True, no_codelength=True, mix=[]
    )
    assert "stores no texts to encode again" in refused(tmp_path / "probe", Path(bert), tmp_path)


@pytest.mark.slow
def test_labels_of_a_file_are_joined_again(
    probed: Path, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    labels = np.array([kind for _, kind in RECORDS])
    (tmp_path / "labels.csv").write_text("mine\n" + "\n".join(labels) + "\n")
    lw.probe(
        probed / "set.lw",
        task="classify",
        labels_from=str(tmp_path / "labels.csv"),
        out=tmp_path / "probe",
        quick=True,
        no_codelength=True,
        mix=[],
    )
    written = lw.cut(model_folder("bert"), tmp_path / "out", drop="2", probe=tmp_path / "probe", device="cpu")
    assert written.score is not None
    assert written.score.label == "mine"
