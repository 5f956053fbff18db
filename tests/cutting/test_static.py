"""A static table of token vectors, opened by model2vec and by sentence-transformers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from model2vec import StaticModel

import layerwise as lw
from causal_models import make_causal
from conftest import make_model
from layerwise.cli.main import main
from layerwise.cutting.static import principal, sif_weights
from reference import Plain
from st_folders import encoded, make_folder

TEXTS = ["Every layer of every encoder, as data.", "the first layers", "a"]


@pytest.fixture(scope="module")
def static(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("static") / "out"
    written = lw.cut(model_folder("bert"), out, at=2, static=True, device="cpu")
    assert (written.to, written.at, written.width) == ("static", "2", 32)
    return out


def test_the_vectors_are_those_of_tokens_alone(static: Path, model_folder: Callable[[str], Path]) -> None:
    """All 32 directions are kept, so products of centred vectors stay what they were."""
    model = StaticModel.from_pretrained(static)
    plain = Plain(model_folder("bert"))
    cls, sep = plain.tokenizer.cls_token_id, plain.tokenizer.sep_token_id
    count = len(plain.tokenizer)
    with torch.no_grad():
        alone = [plain.states([cls, token, sep])[2].mean(axis=0) for token in range(count)]
    centred = np.array(alone) - np.mean(alone, axis=0)
    ranks = np.arange(2, count + 2)
    share = (1 / ranks) / sum(1 / ranks)
    vectors = model.embedding / (1e-4 / (1e-4 + share))[:, None]
    assert np.abs(vectors @ vectors.T - centred @ centred.T).max() <= 1e-4 * np.abs(centred @ centred.T).max()
    variances = vectors.var(axis=0)
    assert (np.diff(variances) <= 1e-5).all(), "directions of more variance come first"


@pytest.mark.parametrize(("family", "at"), [("gpt2", 0), ("bloom", 2)])
def test_the_layer_is_not_put_through_the_last_norm(family: str, at: int, tmp_path: Path) -> None:
    """transformers gives the last layer of these cuts after the norm only."""
    source = make_causal(family, tmp_path / "source")
    lw.cut(source, tmp_path / "out", at=at, static=True, device="cpu")
    vectors, plain = StaticModel.from_pretrained(tmp_path / "out").embedding, Plain(source)
    assert plain.raw("a")["input_ids"] == plain.raw("a")["input_ids"][:1], "no special tokens around a text"
    alone = np.concatenate([plain.states([token])[at] for token in range(len(plain.tokenizer))])
    centred = alone - alone.mean(axis=0)
    vectors = vectors / sif_weights(len(vectors))[:, None]
    assert np.abs(vectors @ vectors.T - centred @ centred.T).max() <= 1e-4 * np.abs(centred @ centred.T).max()


def test_a_family_whose_cut_has_another_layer_is_refused_by_name(tmp_path: Path) -> None:
    source = make_causal("mamba", tmp_path / "source")
    with pytest.raises(lw.ModelError, match=r"\(mamba\) can't be cut at layer 1"):
        lw.cut(source, tmp_path / "out", at=1, static=True, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_a_table_leaves_to_its_user_is_told(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    source = make_folder(model_folder("bert"), tmp_path / "source", settings={"do_lower_case": True})
    prompts = {"prompts": {"query": "find: "}, "default_prompt_name": "query"}
    (source / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    written = lw.cut(source, tmp_path / "out", at=1, static=True, device="cpu")
    assert [note.key for note in written.notes] == ["note.cut.static.prompt", "note.cut.lowercase"]
    assert "ake each text lower case" in (tmp_path / "out" / "README.md").read_text()


def test_a_text_is_the_mean_of_its_tokens(static: Path, model_folder: Callable[[str], Path]) -> None:
    model, plain = StaticModel.from_pretrained(static), Plain(model_folder("bert"))
    got = model.encode(TEXTS)
    for text, vector in zip(TEXTS, got, strict=True):
        ids = plain.tokenizer(text, add_special_tokens=False)["input_ids"]
        mean = model.embedding[ids].mean(axis=0)
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert np.abs(encoded(static, TEXTS) - got).max() <= 1e-6, "sentence-transformers opens it too"


def test_another_kind_of_tokenizer_and_a_final_norm(tmp_path: Path) -> None:
    source = make_model("modernbert", tmp_path / "source")
    lw.cut(source, tmp_path / "out", at=1, static=True, device="cpu")
    assert StaticModel.from_pretrained(tmp_path / "out").encode(TEXTS).shape == (3, 32)


def test_the_dimensions_are_reduced() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 20)) + 5
    reduced = principal(flat.astype(np.float32), 3)
    assert reduced.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)
    centred = flat - flat.mean(axis=0)
    assert np.linalg.norm(reduced) == pytest.approx(np.linalg.norm(centred), rel=1e-5)
    assert principal(flat.astype(np.float32), 2).shape == (500, 2)


def test_frequent_tokens_weigh_less() -> None:
    weights = sif_weights(1000)
    assert (np.diff(weights) > 0).all()
    share = (1 / 2) / sum(1 / (rank + 2) for rank in range(1000))
    assert weights[0] == pytest.approx(1e-4 / (1e-4 + share))


def test_the_command(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["cut", str(model_folder("bert")), "--at", "emb", "--static", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "vectors of 32 numbers for the tokens of" in capsys.readouterr().out
    assert "from model2vec import StaticModel" in (tmp_path / "out" / "README.md").read_text()
