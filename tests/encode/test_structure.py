"""The structure of a model, against what its configuration and `named_parameters` say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from causal_models import make_causal
from conftest import make_model
from layerwise.cli.main import main


def _parameters(folder: Path, module: str) -> int:
    """The number of parameters below a module, by their names in plain transformers."""
    from transformers import AutoModel

    named = AutoModel.from_pretrained(folder).named_parameters()
    return sum(tensor.numel() for name, tensor in named if name.startswith(f"{module}."))


BLOCK = {"width": 32, "heads": 4, "key_value_heads": 4, "value_width": 32, "feed_forward_width": 64}
SITES = ["value", "attention", "mlp"]


@pytest.mark.parametrize(
    ("family", "embeddings", "second", "block"),
    [
        ("bert", "embeddings", "encoder.layer.1", {**BLOCK, "activation": "gelu"}),
        ("distilbert", "embeddings", "transformer.layer.1", {**BLOCK, "activation": "gelu"}),
        ("modernbert", "embeddings", "layers.1", {**BLOCK, "activation": "gelu"}),
        (
            "qwen3",
            "embed_tokens",
            "layers.1",
            {**BLOCK, "activation": "silu", "key_value_heads": 2, "value_width": 16},
        ),
        ("gpt2", "drop", "h.1", {**BLOCK, "activation": "gelu_new", "feed_forward_width": 128}),
    ],
)
def test_structure_of_families(
    family: str, embeddings: str, second: str, block: dict[str, Any], tmp_path: Path
) -> None:
    make = make_causal if family in ("qwen3", "gpt2") else make_model
    folder = make(family, tmp_path / family)
    facts = lw.info(folder)
    entries = facts["structure"]
    assert [entry["layer"] for entry in entries] == ["emb", "1", "2", "3"]
    assert entries[0]["module"] == embeddings
    assert entries[2] == {
        "layer": "2",
        "module": second,
        "parameters": _parameters(folder, second),
        **block,
        "sites": SITES,
    }
    assert facts["sites_refused"] == {}
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.sites == tuple(f"{site}.{entry['layer']}" for entry in entries[1:] for site in SITES)


def test_families_without_sites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_causal("gpt_neox", tmp_path / "x")
    facts = lw.info(folder)
    assert [entry.get("sites") for entry in facts["structure"]] == [None, [], [], []]
    assert list(facts["sites_refused"]) == ["1", "2", "3"]
    assert main(["info", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "of blocks 1, 2, 3: no module gives what attention adds" in shown


def test_it_is_printed(capsys: pytest.CaptureFixture[str], model_folder: Callable[[str], Path]) -> None:
    folder = str(model_folder("bert"))
    assert main(["info", folder]) == 0
    shown = capsys.readouterr().out
    (line,) = (line for line in shown.splitlines() if line.startswith("layer 3 "))
    assert "encoder.layer.2: width 32, 4 heads, feed-forward 64 (gelu)" in line
    assert line.endswith("sites value, attention, mlp")
    assert main(["info", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["structure"] == lw.info(folder)["structure"]
