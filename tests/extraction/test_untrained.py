"""Random weights: the same architecture, untrained, as what a score has to beat."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwise as lw
from layerwise.cli.main import main

Folder = Callable[[str], Path]
WORDS = ["layer", "model", "text", "words", "data", "every", "encoder", "first", "last", "sentence"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """60 texts of a few words, of which the first says the label."""
    chance = np.random.default_rng(0)
    path = tmp_path / "texts.jsonl"
    lines = []
    for number in range(60):
        words = [WORDS[number % 2], *chance.choice(WORDS[2:], 4)]
        tags = ["B-X" if place == 0 and number % 2 else "O" for place in range(5)]
        lines.append({"words": words, "label": "odd" if number % 2 else "even", "tag": tags})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("family", ["bert", "t5", "modernbert"])
def test_every_layer_is_what_transformers_begins_with(family: str, model_folder: Folder) -> None:
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer

    folder = model_folder(family)
    before = torch.random.get_rng_state()
    encoder = lw.load_encoder(folder, device="cpu", random=5)
    assert torch.equal(before, torch.random.get_rng_state()), "loading drew from the global generator"
    maker = AutoModelForTextEncoding if family == "t5" else AutoModel
    torch.manual_seed(5)
    model = maker.from_config(AutoConfig.from_pretrained(folder)).eval()
    inputs = AutoTokenizer.from_pretrained(folder)("every layer of every encoder", return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        wanted = model(**inputs, output_hidden_states=True).hidden_states
    states = encoder.encode(["every layer of every encoder"], level="token")
    for name, layer in zip(states.layers, wanted, strict=True):
        np.testing.assert_allclose(states.layer(name), layer[0], atol=1e-5, err_msg=f"layer {name}")


def test_it_is_another_model_than_the_trained_one_and_travels(model_folder: Folder) -> None:
    folder = model_folder("bert")
    trained, first, again, other = (
        lw.load_encoder(folder, device="cpu", random=seed) for seed in (None, 1, 1, 2)
    )
    weights = [encoder.hashes["weights"] for encoder in (trained, first, again, other)]
    assert weights[1] == weights[2], "the same seed is the same model"
    assert len(set(weights)) == 3, "trained, seed 1 and seed 2 are three models"
    assert first.hashes["tokenizer"] == trained.hashes["tokenizer"]
    assert (first.description["random"], "random" in trained.description) == (1, False)
    assert "random weights" in repr(first)
    text = ["every layer"]
    moved = pickle.loads(pickle.dumps(first)).encode(text)
    np.testing.assert_array_equal(moved.layer(-1), first.encode(text).layer(-1))
    assert np.abs(other.encode(text).layer(-1) - first.encode(text).layer(-1)).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "task", "label"),
    [
        ("text", "classify", "label"),
        pytest.param("word", "tag", "tag", marks=pytest.mark.slow),
        pytest.param("token", "classify", "label", marks=pytest.mark.slow),
    ],
)
def test_the_baseline_is_a_probe_of_datasets_with_random_weights(
    level: str, task: str, label: str, source: Path, model_folder: Folder, tmp_path: Path
) -> None:
    folder = model_folder("bert")
    how: dict[str, Any] = {"words": "words", "level": level, "dtype": "float32", "shard_texts": 25}
    lw.extract(source, tmp_path / "d", model=folder, device="cpu", **how)
    # Only some texts are looked at, so that rows have to be found among those that are encoded again.
    asked: dict[str, Any] = {
        "mix": [],
        "quick": True,
        "seed": 3,
        "max_rows": 50 if level == "text" else 200,
    }
    found = lw.probe(tmp_path / "d", task=task, label=label, random_model=True, **asked)
    scores = []
    for seed in (3, 4, 5):
        encoder = lw.load_encoder(folder, device="cpu", random=seed)
        dataset = lw.extract(source, tmp_path / f"random{seed}", model=encoder, **how)
        scores.append(lw.probe(dataset, task=task, label=label, **asked)[found.advice.best].score)
    got = found.baselines["random_model"]
    assert got.score == pytest.approx(np.mean(scores), abs=1e-6), f"seeds one by one gave {scores}"
    assert (got.low, got.high) == pytest.approx((min(scores), max(scores)), abs=1e-6)
    assert any("random weights, 3 seeds" in note for note in found.notes)


def test_the_two_texts_of_a_pair_are_found_again(model_folder: Folder, tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    lines = ["a\tb\tscore"]
    for _ in range(40):
        first, second = (chance.choice(WORDS, 4) for _ in range(2))
        lines.append(f"{' '.join(first)}\t{' '.join(second)}\t{len({*first} & {*second})}")
    source = tmp_path / "pairs.tsv"
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = model_folder("bert")
    how: dict[str, Any] = {"text": ("a", "b"), "dtype": "float32"}
    lw.extract(source, tmp_path / "d", model=folder, device="cpu", **how)
    asked: dict[str, Any] = {"mix": [], "quick": True, "max_rows": 30}
    found = lw.probe(tmp_path / "d", task="regress", label="score", random_model=True, **asked)
    encoder = lw.load_encoder(folder, device="cpu", random=0)
    dataset = lw.extract(source, tmp_path / "random", model=encoder, **how)
    alone = lw.probe(dataset, task="regress", label="score", **asked)[found.advice.best].score
    got = found.baselines["random_model"]
    assert got.low is not None
    assert got.high is not None
    assert got.low - 1e-6 <= alone <= got.high + 1e-6, f"seed 0 alone gave {alone}"


def test_what_cannot_be_encoded_again_is_refused_before_the_work(
    source: Path, model_folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(model_folder("bert"), tmp_path / "model")
    lw.extract(
        source, tmp_path / "bare", model=folder, words="words", no_text=True, keep=["label"], device="cpu"
    )
    command = ["probe", str(tmp_path / "bare"), "--task", "classify", "--label", "label", "--random-model"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "this dataset holds none" in capsys.readouterr().err
    lw.extract(source, tmp_path / "words", model=folder, words="words", level="word", device="cpu")
    lw.pool(tmp_path / "words", tmp_path / "pooled", level="text", pool="mean")
    command[1] = str(tmp_path / "pooled")
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "can't pool words" in capsys.readouterr().err
    states = lw.load_encoder(folder, device="cpu").encode(["a text"])
    with pytest.raises(lw.LayerwiseError, match="rows in memory"):
        lw.probe(states, task="classify", label="label", random_model=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    command[1] = str(tmp_path / "words")
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "its config differs; restore that model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dataset_of_random_weights_is_verified(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("one text\nanother text\n")
    encoder = lw.load_encoder(model_folder("bert"), device="cpu", random=3)
    dataset = lw.extract(source, tmp_path / "random", model=encoder)
    checked = lw.verify(dataset)
    assert checked.ok, checked.problems
    assert checked.texts == 2, checked.note
