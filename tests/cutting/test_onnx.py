"""ONNX that `cut` writes, run by onnxruntime: the layers of plain transformers, mixes, and the scores of heads."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

import layerwise as lw
from causal_models import CAUSAL, make_causal
from conftest import CORPUS, FAMILIES
from layerwise.cli.main import main
from layerwise.cutting import onnx_folder
from layerwise.cutting.graph import CutGraph, head_plan, layers_plan, mix_plan
from layerwise.cutting.plan import CutPlan
from layerwise.cutting.text_output import GRAPH_POOLS, pooled
from layerwise.encode.cut_parity import checked_model, reference_states
from layerwise.encode.cut_source import CutSource, load_cut_source
from layerwise.encode.recipe import Prompts
from layerwise.errors import RequestError
from reference import Plain, worst

TOLERANCE = 1e-4  # other kernels; as the command promises
TEXTS = [text for text in CORPUS if text.strip() and len(text) < 90]
RECORDS = [
    (f"{a} {b}", a, len(b)) for a in ("one", "two", "three") for b in ("a", "bb", "ccc", "dddd", "eeeee")
]


def run(folder: Path, texts: list[str], names: list[str] | None = None) -> tuple[list[Any], Any]:
    """What onnxruntime gives for a padded batch of texts, by the folder's own tokenizer."""
    from transformers import AutoTokenizer

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == (
        names or [o.name for o in session.get_outputs()]
    )
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, padding=True, padding_side="right", return_tensors="np"
    )
    inputs = {entry.name: tokens[entry.name].astype(np.int64) for entry in session.get_inputs()}
    return session.run(names, inputs), tokens["attention_mask"]


def test_every_layer_by_name_for_any_batch(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = model_folder("bert"), tmp_path / "out"
    command = ["cut", str(source), "--at", "2", "--to", "onnx", "--out", str(out), "--device", "cpu"]
    assert main([*command, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["outputs"] == ["emb", "1", "2"]
    assert all(value <= TOLERANCE for value in content["parity"].values())
    plain = Plain(source)
    for texts in (
        TEXTS,
        TEXTS[:1],
        ["a"],
        [TEXTS[0], "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 2],
    ):
        layers, mask = run(out, texts, ["emb", "1", "2"])
        for place, text in enumerate(texts):
            expected = plain.states(plain.raw(text)["input_ids"])[:3]
            got = np.stack([layer[place][: mask[place].sum()] for layer in layers])
            assert worst(got, expected) <= TOLERANCE
    described = json.loads((out / "layerwise.json").read_text())
    assert described["outputs"] == ["emb", "1", "2"]
    assert described["source"]["weights"] == lw.load_encoder(source, device="cpu").hashes["weights"]
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    code = code.replace("path/to/this/folder", str(out)).replace(
        '"model.onnx"', repr(str(out / "model.onnx"))
    )
    scope: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), scope)
    assert len(scope["outputs"]) == 3


def test_without_the_extra_the_line_of_pip_is_told(
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = str(model_folder("bert"))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["cut", model, "--at", "2", "--to", "onnx", "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "--to onnx needs onnxscript, which isn't installed; pip install 'layerwise[onnx]'" in line
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def source(model_folder: Callable[[str], Path]) -> CutSource:
    return load_cut_source(model_folder("bert"), device="cpu")


def graph_outputs(graph: CutGraph, source: CutSource, texts: list[str]) -> list[NDArray[np.float32]]:
    """The outputs of a graph before its export, for a padded batch."""
    rows = [source.loaded.tokenizer(text)["input_ids"] for text in texts]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    with torch.no_grad():
        return [output.numpy() for output in graph(ids, mask)]


@pytest.mark.parametrize(("family", "at", "drop"), [("gpt2", 0, ()), ("bloom", 2, ()), ("bert", 3, (1, 3))])
def test_the_layers_of_a_graph_are_those_of_the_source(
    family: str, at: int, drop: tuple[int, ...], tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    """Not put through the last norm, after which alone transformers gives the last layer of some cuts."""
    folder = make_causal(family, tmp_path / "source") if family in CAUSAL else model_folder(family)
    source, plan = load_cut_source(folder, device="cpu"), CutPlan(at, drop)
    short = checked_model(source, at, drop)
    (text, *_) = TEXTS
    outputs = graph_outputs(CutGraph(short.model, layers_plan(plan)), source, [text])
    plain = Plain(folder)
    expected = plain.states(plain.raw(text)["input_ids"])[: at + 1]
    if drop:
        expected = np.stack([expected[0], by_blocks(plain, expected[0], short.kept)])
    assert worst(np.concatenate(outputs), expected) <= TOLERANCE
    states = reference_states(source, short)[0]
    ids = source.texts.ids[0].tolist()
    assert len(states) == len(short.kept) + 1
    if not drop:
        assert worst(torch.stack(states).numpy(), plain.states(ids)[: at + 1]) <= TOLERANCE


def by_blocks(plain: Plain, embeddings: Any, numbers: tuple[int, ...]) -> Any:
    """The last layer of a BERT when only some of its blocks are called, one after the other."""
    hidden = torch.tensor(embeddings, dtype=torch.float32)[None]
    with torch.no_grad():
        for number in numbers:
            hidden = plain.model.encoder.layer[number - 1](hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    return hidden[0].double().numpy()


@pytest.mark.parametrize(
    "mix", ["2", "mean(1:)", "sum(1,3)", "max(all)", "concat(emb,2)", "weighted(1,2; 0.25,-2)"]
)
def test_a_mix_is_that_of_the_package(mix: str, source: CutSource, encoder_of: Callable[[str], Any]) -> None:
    plan = mix_plan(mix, source)
    (got,) = graph_outputs(CutGraph(source.model, plan), source, TEXTS)
    expected = encoder_of("bert").encode(TEXTS).mix(mix)
    assert worst(got[None], expected[None]) <= TOLERANCE


@pytest.mark.parametrize("pool", GRAPH_POOLS)
def test_a_pool_is_that_of_the_package(
    pool: str, source: CutSource, encoder_of: Callable[[str], Any]
) -> None:
    states = encoder_of("bert").encode(TEXTS, layers="3", level="token")
    rows = [states.layer("3")[states.where(doc=doc)] for doc in range(len(TEXTS))]
    length = max(map(len, rows))
    hidden = torch.full((len(rows), length, 32), 7.0)
    mask = torch.zeros(len(rows), length, dtype=torch.int64)
    for place, row in enumerate(rows):
        hidden[place, : len(row)], mask[place, : len(row)] = torch.from_numpy(row), 1
    expected = encoder_of("bert").encode(TEXTS, layers="3", pool=pool).layer("3")
    assert worst(pooled(hidden, mask, pool).numpy()[None], expected[None]) <= TOLERANCE


HEADS: list[dict[str, Any]] = [
    {"task": "classify", "label": "kind", "mix": "2"},
    {"task": "classify", "label": "kind", "mix": "mean(1:; norm=layer)"},
    {"task": "classify", "label": "kind", "mix": "learned(1:)"},
    {"task": "classify", "label": "kind", "mix": "2", "head_type": "mlp"},
    {"task": "regress", "label": "length", "mix": "concat(1,3)"},
]


@pytest.fixture(scope="module")
def dataset(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("heads")
    lines = [json.dumps({"text": text, "kind": kind, "length": length}) for text, kind, length in RECORDS]
    (folder / "texts.jsonl").write_text("\n".join(lines))
    return lw.extract(
        folder / "texts.jsonl", folder / "set.lw", model=str(model_folder("bert")), device="cpu"
    )


@pytest.mark.parametrize("settings", HEADS, ids=lambda s: f"{s['task']} {s['mix']} {s.get('head_type', '')}")
@pytest.mark.filterwarnings("ignore")  # with so few rows every head is told to be unsure
def test_the_scores_are_those_of_the_head(settings: dict[str, Any], dataset: Any, source: CutSource) -> None:
    head = lw.train(dataset, **settings)
    plan = head_plan(head, source)
    (got,) = graph_outputs(CutGraph(source.model, plan), source, TEXTS)
    answers = head.predict(TEXTS)
    if settings["task"] == "regress":
        expected = [answer["value"] for answer in answers]
        assert got[:, 0] == pytest.approx(expected, rel=1e-3, abs=1e-3)
    else:
        classes = head.task_heads[0].classes
        chances = np.array([[answer["probabilities"][name] for name in classes] for answer in answers])
        soft = np.exp(got - got.max(axis=1, keepdims=True))
        assert np.abs(soft / soft.sum(axis=1, keepdims=True) - chances).max() <= 1e-4


def test_rows_that_a_graph_cannot_make_are_refused(
    dataset: Any, source: CutSource, model_folder: Callable[[str], Path]
) -> None:
    for mix, why in (
        ("learned(all)", "is fitted with a head"),
        ("mean(1:; norm=layer)", "standardises layers by rows"),
        ("attention.2", "reads attention.2"),
    ):
        with pytest.raises(RequestError, match=why):
            mix_plan(mix, source)
    head = lw.train(dataset, task="classify", label="kind", mix="2")
    with pytest.raises(lw.HeadError, match="is a different model"):
        head_plan(head, load_cut_source(model_folder("electra"), device="cpu"))
    rows = dataset_rows(head)
    for changes, why in (
        ({"level": "word"}, "level 'word'"),
        ({"pool": "first"}, "pool 'first'"),
        ({"special_tokens": False}, "without special tokens"),
        ({"context": [1, 0]}, "reads rows of texts with their neighbours"),
        ({"joint": ["a", "b"]}, "reads rows of pairs of texts"),
        ({"words_pool": "first"}, r"reads rows of texts pooled from words \(first\)"),
    ):
        head.rows = {**rows, **changes}
        with pytest.raises(RequestError, match=why):
            head_plan(head, source)
    apart = replace(source, checkpoint=replace(source.checkpoint, prompts=Prompts({}, None, included=False)))
    head.rows = {**rows, "prompt": "query: "}
    assert head_plan(head, source).pool == "mean"
    with pytest.raises(RequestError, match="reads rows of texts without the tokens of their prompt"):
        head_plan(head, apart)


def test_what_a_graph_leaves_to_its_user_is_told(
    dataset: Any, source: CutSource, model_folder: Callable[[str], Path]
) -> None:
    """Prompts, lower case and redaction are done to texts, and a graph reads tokens."""
    assert not onnx_folder.graph_notes(source, mix_plan("2", source), {})
    prompts = Prompts({"query": "find: "}, "query", included=False)
    checkpoint = replace(source.checkpoint, prompts=prompts, lowercase=True)
    asking = replace(source, checkpoint=checkpoint)
    keys = [note.key for note in onnx_folder.graph_notes(asking, mix_plan("2", asking), {"mix": 0.25})]
    assert keys == ["note.cut.int8", "note.cut.prompt", "note.cut.prompt.pooled", "note.cut.lowercase"]
    head = lw.train(dataset, task="classify", label="kind", mix="2")
    head.rows = {**dataset_rows(head), "redact": {"kind": "head", "how": "x", "sha256": "0"}, "max_length": 9}
    plan = head_plan(head, source)
    assert [note.key for note in onnx_folder.graph_notes(source, plan, {})] == ["note.cut.redact"]
    assert onnx_folder.longest_text(source, plan) == 9


def dataset_rows(head: Any) -> dict[str, Any]:
    return {**head.rows, "level": "text", "pool": "mean", "special_tokens": True}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_head_as_onnx(dataset: Any, model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    head = lw.train(dataset, task="classify", label="kind", mix="mean(1,2)", out=tmp_path / "kind.head")
    written = lw.cut(
        model_folder("bert"), tmp_path / "out", to="onnx", head=str(tmp_path / "kind.head"), device="cpu"
    )
    assert written.at == "2", "no deeper than the head needs"
    (scores,), _ = run(tmp_path / "out", TEXTS, ["scores"])
    classes = json.loads((tmp_path / "out" / "layerwise.json").read_text())["classes"]["scores"]
    got = [classes[place] for place in scores.argmax(axis=1)]
    assert got == [answer["label"] for answer in head.predict(TEXTS)]


@pytest.mark.slow
def test_int8_tells_its_error(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = model_folder("bert")
    command = ["cut", str(source), "--to", "onnx", "--mix", "mean(1:3)", "--precision", "int8"]
    assert main([*command, "--out", str(tmp_path / "out"), "--device", "cpu", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    error = content["errors"]["mix"]
    assert 1e-4 < error < 0.1
    (got,), _ = run(tmp_path / "out", TEXTS, ["mix"])
    expected = lw.load_encoder(source, device="cpu").encode(TEXTS).mix("mean(1,2)")
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 3 * error
    assert sorted(path.name for path in (tmp_path / "out").glob("*.onnx*")) == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    ["roberta", "albert", "modernbert", "mpnet", "deberta-v2", "t5", "llama", "gemma2", "gpt2", "bloom"],
)
def test_families(family: str, model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    assert family in FAMILIES or family in CAUSAL
    source = model_folder(family) if family in FAMILIES else make_causal(family, tmp_path / "source")
    lw.cut(source, tmp_path / "out", at=2, to="onnx", device="cpu")
    layers, mask = run(tmp_path / "out", TEXTS, ["emb", "1", "2"])
    plain = Plain(source)
    for place, text in enumerate(TEXTS):
        expected = plain.states(plain.raw(text)["input_ids"])[:3]
        got = np.stack([layer[place][: mask[place].sum()] for layer in layers])
        assert worst(got, expected) <= TOLERANCE


@pytest.mark.slow
def test_embeddings_alone(tmp_path: Path) -> None:
    """transformers gives those of a decoder after the last norm only."""
    source = make_causal("llama", tmp_path / "source")
    lw.cut(source, tmp_path / "out", to="onnx", mix="emb", device="cpu")
    (got,), _ = run(tmp_path / "out", TEXTS, ["mix"])
    plain = Plain(source)
    expected = [plain.states(plain.raw(text)["input_ids"])[0].mean(axis=0) for text in TEXTS]
    assert worst(got[None], np.stack(expected)[None]) <= TOLERANCE


@pytest.mark.slow
def test_a_family_that_torch_does_not_export_is_refused(tmp_path: Path) -> None:
    source = make_causal("mixtral", tmp_path / "source")
    with pytest.raises(lw.ModelError, match=r"\(mixtral\) can't be exported to ONNX: torch.onnx stops with"):
        lw.cut(source, tmp_path / "out", at=2, to="onnx", device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
