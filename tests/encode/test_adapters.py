"""Adapters of peft: merged into their base, with the layers that peft computes beside it."""

import importlib.util
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import layerwise as lw
from causal_models import make_causal
from conftest import make_model
from layerwise.cli.main import main
from layerwise.errors import ModelError, RequestError
from reference import worst
from tensorflow_writer import as_google, write_bundle

peft_adapters = pytest.importorskip("peft_adapters", reason="peft isn't installed")
Tuned = peft_adapters.Tuned

TEXTS = ["Every layer of every encoder, as data.", "a", "", "The first layers know where a word stands."]
# The merged weights are rounded once more than those of base and adapter, which are applied one after the other.
TOLERANCE = 1e-5
LINEAR = ["query", "key", "value", "dense"]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "attention": ("LORA", {"target_modules": ["query", "value"], "r": 4}),
    "all-linear": ("LORA", {"target_modules": "all-linear", "r": 4, "lora_alpha": 16}),
    "rank-1": ("LORA", {"target_modules": ["query"], "r": 1}),
    "dora": ("LORA", {"target_modules": ["query", "value"], "r": 4, "use_dora": True}),
    "dora-all-linear": ("LORA", {"target_modules": LINEAR, "r": 1, "use_dora": True, "bias": "lora_only"}),
    "rslora": ("LORA", {"target_modules": LINEAR, "r": 4, "use_rslora": True}),
    "all-biases": ("LORA", {"target_modules": ["query"], "r": 4, "bias": "all"}),
    "biases-of-lora": ("LORA", {"target_modules": LINEAR, "r": 4, "bias": "lora_only"}),
    "bias-in-lora": ("LORA", {"target_modules": ["query", "value"], "r": 4, "lora_bias": True}),
    "one-layer": (
        "LORA",
        {"target_modules": ["query"], "layers_to_transform": [1], "layers_pattern": "layer"},
    ),
    "by-pattern": ("LORA", {"target_modules": r".*layer\.[02]\.attention\.self\.(query|key)"}),
    "ranks": (
        "LORA",
        {
            "target_modules": LINEAR,
            "rank_pattern": {"layer.0.attention.self.query": 2, "value": 5},
            "alpha_pattern": {"layer.1.attention.self.key": 3},
        },
    ),
    "excluded": ("LORA", {"target_modules": LINEAR, "exclude_modules": ["layer.0.attention.self.query"]}),
    "pissa": ("LORA", {"target_modules": ["query"], "r": 2, "init_lora_weights": "pissa"}),
    "embeddings": ("LORA", {"target_modules": ["word_embeddings", "query"], "r": 2}),
    "whole-modules": ("LORA", {"target_modules": ["query"], "modules_to_save": ["word_embeddings", "value"]}),
    "new-tokens": (
        "LORA",
        {"target_modules": ["query"], "trainable_token_indices": {"word_embeddings": [5, 9]}},
    ),
    "adalora": ("ADALORA", {"target_modules": ["query", "value"], "total_step": 10}),
    "ia3": (
        "IA3",
        {"target_modules": ["key", "value", "output.dense"], "feedforward_modules": ["output.dense"]},
    ),
    "loha": ("LOHA", {"target_modules": LINEAR, "r": 2}),
    "lokr": ("LOKR", {"target_modules": LINEAR, "r": 2}),
    "oft": ("OFT", {"target_modules": ["query", "value"], "oft_block_size": 4, "r": 0}),
    "hra": ("HRA", {"target_modules": ["query"], "r": 2}),
    "vera": ("VERA", {"target_modules": ["query", "value"], "r": 4}),
    "norms": ("LN_TUNING", {"target_modules": ["LayerNorm"]}),
}


@pytest.fixture
def base(model_folder: Callable[[str], Path]) -> Path:
    return model_folder("bert")


def off(encoder: Any, tuned: Any) -> float:
    """How far the layers of texts are off those that peft gives unmerged, at most."""
    return float(tuned.off(encoder, TEXTS))


@pytest.mark.parametrize("name", KINDS)
def test_a_merged_adapter_gives_the_layers_of_peft(
    name: str, base: Path, encoder_of: Callable[[str], Any], tmp_path: Path
) -> None:
    kind, settings = KINDS[name]
    task = "SEQ_CLS" if name in ("attention", "dora", "all-linear", "ranks", "by-pattern") else None
    tuned = Tuned(base, tmp_path / "adapter", kind, task, **settings)
    assert off(encoder_of("bert"), tuned) > 1e-3, "the adapter changes nothing"
    encoder = lw.load_encoder(base, adapter=tmp_path / "adapter", device="cpu")
    assert off(encoder, tuned) <= TOLERANCE
    assert encoder.description["adapter"]["kind"] == kind


CAUSAL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {"target_modules": ["q_proj", "v_proj"], "r": 4}),
        ("llama", {"target_modules": "all-linear", "r": 1, "use_dora": True}),
        ("llama", {"target_modules": CAUSAL_LINEAR, "modules_to_save": ["lm_head", "embed_tokens"]}),
        ("llama", {"target_modules": r"model\.layers\.[01]\.self_attn\.q_proj"}),
        ("llama", {"target_modules": ["q_proj"], "layers_to_transform": 1}),
        ("qwen3", {"target_modules": CAUSAL_LINEAR, "use_rslora": True}),
        ("gpt2", {"target_modules": ["c_attn"], "r": 4, "fan_in_fan_out": True}),
    ],
    ids=["attention", "dora", "whole-modules", "by-pattern", "one-layer", "qwen3", "gpt2"],
)
def test_adapters_of_causal_models(family: str, settings: dict[str, Any], tmp_path: Path) -> None:
    base = make_causal(family, tmp_path / "base")
    tuned = Tuned(base, tmp_path / "adapter", "LORA", "CAUSAL_LM", **settings)
    assert off(lw.load_encoder(base, device="cpu"), tuned) > 1e-3
    assert off(lw.load_encoder(base, adapter=str(tmp_path / "adapter"), device="cpu"), tuned) <= TOLERANCE


@pytest.mark.parametrize(
    ("family", "task", "targets"),
    [
        ("roberta", "TOKEN_CLS", ["query", "value"]),
        ("roberta", "SEQ_CLS", ["query", "dense"]),  # without a pooler, which the encoder alone has
        ("distilbert", "SEQ_CLS", ["q_lin", "v_lin"]),
        ("modernbert", "SEQ_CLS", ["Wqkv", "Wo"]),
        ("deberta-v2", "TOKEN_CLS", ["query_proj", "value_proj"]),
        ("esm", "SEQ_CLS", ["query", "value"]),
        ("t5", "SEQ_2_SEQ_LM", ["q", "v"]),
    ],
)
def test_adapters_of_other_families(
    family: str, task: str, targets: list[str], model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    base = model_folder(family)
    if family == "t5":  # the tiny model has no decoder
        base = tmp_path / "whole"
        shutil.copytree(model_folder(family), base)
        import transformers

        torch.manual_seed(5)
        config = transformers.AutoConfig.from_pretrained(base)
        config.is_encoder_decoder, config.decoder_start_token_id = True, 0
        transformers.T5ForConditionalGeneration(config).save_pretrained(base)
    tuned = Tuned(base, tmp_path / "adapter", "LORA", task, target_modules=targets)
    encoder = lw.load_encoder(base, adapter=tmp_path / "adapter", device="cpu")
    assert off(encoder, tuned) <= TOLERANCE
    dropped = [name for name in encoder.description["unused"]["tensors"] if name.startswith("adapter: ")]
    assert dropped, "an adapter of a model with a head or decoder, of which nothing was dropped"
    assert any("of a head or decoder" in note for note in encoder.notes)


@pytest.mark.parametrize(
    ("kind", "settings", "task"),
    [
        ("LORA", {"target_modules": ["query"], "trainable_token_indices": [*range(5, 60)]}, "SEQ_CLS"),
        ("TRAINABLE_TOKENS", {"token_indices": [*range(5, 60)]}, "SEQ_CLS"),
        ("LORA", {"target_modules": ["query"], "modules_to_save": ["word_embeddings", "pooler"]}, "SEQ_CLS"),
        # One tensor for all modules, and a head: no name tells where the encoder is.
        ("UNILORA", {"target_modules": ["query", "value"]}, "SEQ_CLS"),
        ("VBLORA", {"target_modules": ["query"], "vector_length": 8, "num_vectors": 4}, "SEQ_CLS"),
    ],
    ids=["lora-and-tokens", "tokens", "embeddings-and-pooler", "shared", "shared-vectors"],
)
def test_what_is_tuned_beside_a_head(
    kind: str, settings: dict[str, Any], task: str, base: Path, tmp_path: Path
) -> None:
    tuned = Tuned(base, tmp_path / "adapter", kind, task, **settings)
    encoder = lw.load_encoder(base, adapter=tmp_path / "adapter", device="cpu")
    assert off(encoder, tuned) <= TOLERANCE
    assert off(lw.load_encoder(base, device="cpu"), tuned) > 1e-3
    stored = any("classifier" in name for name in load_file(tuned.folder / "adapter_model.safetensors"))
    unused = encoder.description["unused"]["tensors"]
    assert any(name.startswith("adapter: classifier") for name in unused) == stored


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj"], "trainable_token_indices": [*range(5, 200)]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    ],
    ids=["tokens", "whole", "lora"],
)
def test_embeddings_that_are_the_output_too(settings: dict[str, Any], tmp_path: Path) -> None:
    base = make_causal("llama", tmp_path / "base", tie_word_embeddings=True)
    tuned = Tuned(base, tmp_path / "adapter", "LORA", "CAUSAL_LM", **settings)
    assert off(lw.load_encoder(base, adapter=tmp_path / "adapter", device="cpu"), tuned) <= TOLERANCE
    assert off(lw.load_encoder(base, device="cpu"), tuned) > 1e-3


def test_a_part_that_peft_cannot_merge_is_refused_as_such(tmp_path: Path) -> None:
    """A bias for modules that have none."""
    base = make_causal("llama", tmp_path / "base")
    Tuned(base, tmp_path / "adapter", "BEFT", "CAUSAL_LM", target_modules=["q_proj"])
    refused(
        "is of the kind BEFT, which can't be merged into its base .*has no bias", base, tmp_path / "adapter"
    )


@pytest.fixture
def tuned(base: Path, tmp_path: Path) -> Any:
    return Tuned(base, tmp_path / "adapter", "LORA", "SEQ_CLS", target_modules=["query", "value"], r=4)


def both_in_one(base: Path, adapter: Path, folder: Path) -> Path:
    shutil.copytree(base, folder)
    for path in adapter.glob("adapter_*"):
        shutil.copy(path, folder)
    return folder


def test_an_adapter_names_its_base_or_has_it_beside_it_or_in_its_folder(
    tuned: Any, base: Path, tmp_path: Path
) -> None:
    named = lw.load_encoder(tuned.folder, device="cpu")
    beside = lw.load_encoder(base, adapter=tuned.folder, device="cpu")
    whole = both_in_one(base, tuned.folder, tmp_path / "whole")
    change(whole, base_model_name_or_path="nowhere/at-all")
    inside = lw.load_encoder(whole, device="cpu")
    expected = named.encode(TEXTS, level="token").stack()
    for encoder in (named, beside, inside):
        assert np.array_equal(encoder.encode(TEXTS, level="token").stack(), expected)
        assert off(encoder, tuned) <= TOLERANCE
    assert named.hashes == beside.hashes
    plain = lw.load_encoder(base, device="cpu")
    assert {key: named.hashes[key] == plain.hashes[key] for key in plain.hashes} == {
        "weights": False,
        "tokenizer": True,
        "config": True,
    }
    assert [encoder.description["adapter"]["folder"] for encoder in (named, beside, inside)] == [
        None,
        str(tuned.folder),
        None,
    ]
    assert "adapter_model.safetensors" not in inside.description["unused"]["files"]


def test_a_base_of_tensorflow_or_in_a_pickle_with_its_adapter(tuned: Any, base: Path, tmp_path: Path) -> None:
    google, pickled = tmp_path / "google", tmp_path / "pickled"
    weights = load_file(base / "model.safetensors")
    for folder in (google, pickled):
        shutil.copytree(base, folder)
        (folder / "model.safetensors").unlink()
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    write_bundle(google / "bert_model.ckpt", as_google(arrays, "bert"))
    torch.save(weights, pickled / "pytorch_model.bin")
    assert off(lw.load_encoder(google, adapter=tuned.folder, device="cpu"), tuned) <= TOLERANCE
    change(tuned.folder, base_model_name_or_path="nowhere/at-all")
    whole = [
        both_in_one(folder, tuned.folder, tmp_path / f"both-{folder.name}") for folder in (google, pickled)
    ]
    assert off(lw.load_encoder(whole[0], device="cpu"), tuned) <= TOLERANCE
    refused("has its weights in a pickle", whole[1])
    assert off(lw.load_encoder(whole[1], device="cpu", allow_pickle=True), tuned) <= TOLERANCE


def change(folder: Path, **entries: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_weights_and_configuration_of_an_adapter_are_part_of_the_identity(
    tuned: Any, base: Path, tmp_path: Path
) -> None:
    before = lw.load_encoder(base, adapter=tuned.folder, device="cpu").hashes
    change(tuned.folder, lora_alpha=17)
    other = lw.load_encoder(base, adapter=tuned.folder, device="cpu").hashes
    assert other["weights"] != before["weights"]
    path = tuned.folder / "adapter_model.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(path).items()}, path)
    third = lw.load_encoder(base, adapter=tuned.folder, device="cpu").hashes
    assert len({hashes["weights"] for hashes in (before, other, third)}) == 3
    encoder = lw.load_encoder(base, adapter=tuned.folder, device="cpu")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelError, match="have changed since they were read"):
        _ = encoder.hashes


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions_use_the_merged_weights(
    precision: str, tuned: Any, base: Path, tmp_path: Path
) -> None:
    from layerwise.encode import int8
    from layerwise.tolerance import COMPUTED

    if precision == "int8" and int8.refusal() is not None:
        pytest.skip("this processor has no int8 products")
    encoder = lw.load_encoder(base, adapter=tuned.folder, device="cpu", precision=precision)
    tuned.model.merge_and_unload().save_pretrained(tmp_path / "merged")
    for path in base.glob("token*"):
        shutil.copy(path, tmp_path / "merged")
    merged = lw.load_encoder(tmp_path / "merged", device="cpu", precision=precision)
    # peft adds the parts of a product in another order here, so that a few weights round to the next number.
    states = encoder.encode(TEXTS).stack()
    assert worst(states, merged.encode(TEXTS).stack()) <= COMPUTED[precision] / 4
    exact = lw.load_encoder(base, adapter=tuned.folder, device="cpu").encode(TEXTS).stack()
    assert worst(states, exact) <= COMPUTED[precision]


def test_random_weights_have_no_adapter(tuned: Any, base: Path) -> None:
    plain = lw.load_encoder(base, random=3, device="cpu").encode(TEXTS).stack()
    assert np.array_equal(lw.load_encoder(tuned.folder, random=3, device="cpu").encode(TEXTS).stack(), plain)


def test_recipe_of_sentence_transformers_with_an_adapter(tuned: Any, base: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from st_folders import make_folder, write

    folder = make_folder(base, tmp_path / "st", pooling={"pooling_mode": "max"})
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    for path in tuned.folder.glob("adapter_*"):
        shutil.copy(path, folder)
    encoder = lw.load_encoder(folder, device="cpu")
    assert encoder.default_pool == "max"
    model = SentenceTransformer(str(folder), device="cpu")
    theirs = model.encode(TEXTS, normalize_embeddings=False)
    assert np.abs(encoder.encode(TEXTS, -1).layer(-1) - theirs).max() <= 1e-5 * max(1, np.abs(theirs).max())
    before = encoder.hashes
    write(folder / "1_Pooling/config.json", {"word_embedding_dimension": 32, "pooling_mode": "mean"})
    assert lw.load_encoder(folder, device="cpu").hashes != before


def test_a_recipe_with_the_transformer_in_a_folder_of_its_own(tuned: Any, base: Path, tmp_path: Path) -> None:
    home = tmp_path / "st/0_Transformer"
    both_in_one(base, tuned.folder, home)
    modules = [{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "st/modules.json").write_text(json.dumps(modules))
    assert off(lw.load_encoder(tmp_path / "st", device="cpu"), tuned) <= TOLERANCE
    (home / "model.safetensors").unlink()
    refused("0_Transformer holds an adapter .LORA. without its base; give the base in", tmp_path / "st")


# What is refused, in one line.


def refused(message: str, model: Path | str, adapter: Path | str | None = None, **options: Any) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        lw.load_encoder(model, adapter=adapter, device="cpu", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("PROMPT_TUNING", {"num_virtual_tokens": 3}),
        ("PREFIX_TUNING", {"num_virtual_tokens": 3}),
        ("P_TUNING", {"num_virtual_tokens": 3, "encoder_hidden_size": 8}),
    ],
)
def test_kinds_without_weights_are_refused_by_name(
    kind: str, settings: dict[str, Any], base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Tuned(base, tmp_path / "adapter", kind, "SEQ_CLS", **settings)
    for model, adapter in ((base, tmp_path / "adapter"), (tmp_path / "adapter", None)):
        refused(f"is of the kind {kind}, which puts learned .* it can't be merged", model, adapter)
    capsys.readouterr()
    assert main(["show", "a", "--model", str(base), "--adapter", str(tmp_path / "adapter")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert kind in error


def test_an_adapter_that_depends_on_the_text_is_refused(base: Path, tmp_path: Path) -> None:
    """IA3 on embeddings, activated LoRA: peft has no merged weights for them."""
    tuned = Tuned(base, tmp_path / "adapter", target_modules=["query"])
    change(tuned.folder, alora_invocation_tokens=[5])
    refused("is of the kind LORA, which can't be merged into its base", base, tuned.folder)


def test_a_base_that_is_missing_or_no_base(tuned: Any, base: Path, tmp_path: Path) -> None:
    change(tuned.folder, base_model_name_or_path=str(tmp_path / "gone/away/far"))
    refused(
        r"is an adapter \(LORA\) of the base '.*far', which can't be used: .*give the base in", tuned.folder
    )
    change(tuned.folder, base_model_name_or_path=None)
    refused("names no base; give the base in", tuned.folder)
    assert lw.load_encoder(base, adapter=tuned.folder, device="cpu").blocks == 3
    change(tuned.folder, base_model_name_or_path=str(tuned.folder))
    refused("which can't be used", tuned.folder)
    change(tuned.folder, base_model_name_or_path=str(base))
    refused("has an adapter .LORA. already, and one is merged", tuned.folder, tuned.folder)
    refused("'.*gone' doesn't exist; give the folder that holds adapter_config.json", base, tmp_path / "gone")
    refused("holds no adapter_config.json, so it is no adapter of peft", base, base)


@pytest.mark.parametrize("entry", ["peft_type", "base_model_name_or_path"])
def test_an_adapter_of_a_name_of_several_lines_is_one_line(entry: str, tuned: Any) -> None:
    change(tuned.folder, **{entry: "two\nlines"})
    refused(r"two(\\n| )lines", tuned.folder)


def test_a_base_of_another_shape(tuned: Any, tmp_path: Path) -> None:
    wide = make_model("bert", tmp_path / "wide", hidden_size=64)
    refused(
        r"lora_A.* of the shape \(4, 32\), and its base needs \(4, 64\), so it was trained on another",
        wide,
        tuned.folder,
    )
    shallow = make_model("bert", tmp_path / "shallow", num_hidden_layers=2)
    refused(
        "changes 'bert.encoder.layer.2.*', which its base doesn't have; give the model", shallow, tuned.folder
    )
    deep = make_model("bert", tmp_path / "deep", num_hidden_layers=4)
    refused("its weights lack .*layer.3", deep, tuned.folder)
    other = make_model("distilbert", tmp_path / "other")
    refused("changes .*which its base doesn't have|modules that its base doesn't have", other, tuned.folder)


def test_tokens_added_to_the_vocabulary_are_named(base: Path, tmp_path: Path) -> None:
    tuned = Tuned(base, tmp_path / "adapter", target_modules=["query"])
    path, table = tuned.folder / "adapter_model.safetensors", "embeddings.word_embeddings.weight"
    entries = load_file(base / "model.safetensors")[table]
    more = torch.cat([entries, entries[:3]])
    save_file({**load_file(path), f"base_model.model.{table}": more}, path)
    sizes = f"with {len(more)} entries and its base has {len(entries)}"
    refused(f"an embedding table of its own {sizes}, so tokens were added", base, tuned.folder)


@pytest.mark.parametrize("here", [True, False])
def test_a_relative_base_is_seen_from_here_or_from_the_adapter(
    here: bool, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "else/where"
    elsewhere.mkdir(parents=True)
    shutil.copytree(base, home / "base")
    tuned = Tuned(base, home / "base/lora", "LORA", "SEQ_CLS", target_modules=["query"])
    # There is a folder '..' everywhere, mostly without a model.
    named = "base" if here else ".."
    change(tuned.folder, base_model_name_or_path=named)
    monkeypatch.chdir(home if here else elsewhere)
    assert off(lw.load_encoder(tuned.folder, device="cpu"), tuned) <= TOLERANCE


def test_the_folders_of_adapters_within_a_folder_are_named(tuned: Any, base: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(tuned.folder, tmp_path / "several" / name)
    refused(
        "holds no adapter_config.json, .*give one of its folders, first, second", base, tmp_path / "several"
    )


def test_modules_that_do_not_exist(tuned: Any, base: Path) -> None:
    change(tuned.folder, target_modules=["nothing"])
    refused("changes modules that its base doesn't have .*nothing", base, tuned.folder)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"peft_type": "NEWEST"}, "is of the kind 'NEWEST', which peft .* doesn't know"),
        ({"peft_type": None}, "has no peft_type, so peft didn't write it"),
        ({"peft_type": ["LORA"]}, "has no peft_type"),
        ({"use_newest": True}, "has the entry 'use_newest', which peft .* doesn't know"),
        ({"layer_replication": [[0, 2], [1, 3]]}, "has layer_replication"),
        ({"megatron_config": {"a": 1}, "megatron_core": "os"}, "has megatron_config"),
        ({"r": "four"}, "can't be loaded"),
        ({"r": 0}, "can't be loaded"),
        ({"r": 8}, "has '.*' of the shape"),
        ({"peft_type": "LORA\nLORA"}, "doesn't know"),
    ],
)
def test_a_configuration_that_does_not_fit(
    entries: dict[str, Any], message: str, tuned: Any, base: Path
) -> None:
    change(tuned.folder, **entries)
    refused(message, base, tuned.folder)


def test_damaged_files(tuned: Any, base: Path, tmp_path: Path) -> None:
    path = tuned.folder / "adapter_model.safetensors"
    whole, tensors = path.read_bytes(), {name: tensor.clone() for name, tensor in load_file(path).items()}
    name = next(name for name in tensors if "lora_B" in name)
    path.write_bytes(whole[:-100])
    refused("adapter_model.safetensors can't be read", base, tuned.folder)
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, path)
    refused(f"its weights lack '{name}'", base, tuned.folder)
    save_file({**tensors, name: tensors[name] * float("nan")}, path)
    refused(f"the tensor '{name}' holds numbers that are infinite or NaN", base, tuned.folder)
    save_file({**tensors, name: tensors[name].int()}, path)
    refused(f"the tensor '{name}' holds no floating-point numbers", base, tuned.folder)
    save_file({**tensors, "base_model.model.bert.encoder.more": tensors[name].clone()}, path)
    refused("changes 'bert.encoder.more', which its base doesn't have", base, tuned.folder)
    path.unlink()
    refused("holds no adapter_model.safetensors", base, tuned.folder)
    torch.save(tensors, tuned.folder / "adapter_model.bin")
    refused("has its weights in a pickle", base, tuned.folder)
    pickled = lw.load_encoder(base, adapter=tuned.folder, device="cpu", allow_pickle=True)
    assert off(pickled, tuned) <= TOLERANCE
    path.write_bytes(whole)
    (tuned.folder / "adapter_config.json").write_text("{")
    refused("can't be loaded|isn't valid JSON", base, tuned.folder)


def test_a_pickle_that_is_allowed_runs_no_code(tuned: Any, base: Path) -> None:
    (tuned.folder / "adapter_model.safetensors").unlink()
    mark = tuned.folder / "ran"
    (tuned.folder / "adapter_model.bin").write_bytes(
        b"cposix\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    )
    refused("adapter_model.bin can't be read", base, tuned.folder, allow_pickle=True)
    assert not mark.exists()


def test_another_tokenizer_in_the_folder_of_an_adapter_is_a_note(tuned: Any, base: Path) -> None:
    shutil.copy(base / "tokenizer.json", tuned.folder)
    spec = json.loads((base / "tokenizer.json").read_text())
    (tuned.folder / "tokenizer.json").write_text(json.dumps({**spec, "truncation": {"max_length": 9}}))
    encoder = lw.load_encoder(base, adapter=tuned.folder, device="cpu")
    assert not any("tokenizer" in note for note in encoder.notes)
    (tuned.folder / "tokenizer.json").write_text(json.dumps({**spec, "normalizer": None}))
    encoder = lw.load_encoder(base, adapter=tuned.folder, device="cpu")
    assert any("another tokenizer than its base" in note for note in encoder.notes)


def test_without_peft_the_error_names_the_extra(
    tuned: Any, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else find(name, *rest)
    )
    refused(r"needs an extra package; run: pip install 'layerwise\[peft\]'", base, tuned.folder)


def test_peft_is_imported_only_for_adapters(base: Path) -> None:
    code = (
        "import sys, layerwise as lw\n"
        f"lw.load_encoder({str(base)!r}, device='cpu')\n"
        "assert 'peft' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# What is made with an adapter uses it again.


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    rows = (f"text {n} of them {'good' if n % 2 else 'bad'},{'ab'[n % 2]}\n" for n in range(16))
    path.write_text("text,label\n" + "".join(rows))
    return path


@pytest.mark.parametrize("way", ["beside", "named"])
def test_a_dataset_and_a_head_use_their_adapter_again(
    way: str, tuned: Any, base: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(base), "--adapter", str(tuned.folder)]
    model = model if way == "beside" else ["--model", str(tuned.folder)]
    out, head = str(tmp_path / "data"), str(tmp_path / "head")
    command = ["extract", str(source), "--out", out, "--device", "cpu", "--dtype", "float32", *model]
    assert main([*command, "--shard-texts", "8"]) == 0
    data = lw.open_dataset(out)
    merged = lw.load_encoder(base, adapter=tuned.folder, device="cpu")
    texts = data.texts["text"].to_pylist()
    assert worst(data.stack(), merged.encode(texts).stack()) <= TOLERANCE
    entry = data.manifest.to_json()["model"]["adapter"]
    assert entry["kind"] == "LORA"
    assert entry["base"] == str(base)
    assert entry["folder"] == (str(tuned.folder) if way == "beside" else None)
    assert main([*command, "--shard-texts", "8"]) == 0, "the same command does nothing"
    capsys.readouterr()
    # The adapter of the dataset is taken where none is given.
    more = tmp_path / "more.csv"
    more.write_text("text,label\nnew,a\n")
    again = [
        "extract",
        str(more),
        "--append",
        "--out",
        out,
        "--device",
        "cpu",
        "--dtype",
        "float32",
        *model[:2],
    ]
    assert main([*again, "--shard-texts", "8"]) == 0
    grown = lw.open_dataset(out)
    assert grown.rows == 17
    assert worst(grown.stack()[:, 16:], merged.encode(["new"]).stack()) <= TOLERANCE
    check = lw.verify(out, device="cpu", sample=5)
    assert (check.ok, check.texts) == (True, 5)
    (tmp_path / "data/shards/00000.safetensors").write_bytes(b"")
    assert lw.repair(out).changed == ()
    lw.train(out, task="classify", label="label", mix="3", out=head)
    assert json.loads((tmp_path / "head/head.json").read_text())["model"]["adapter"] == entry
    capsys.readouterr()
    assert main(["predict", head, str(source), "--device", "cpu"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = lw.load_head(head).predict_rows(lw.open_dataset(out))[:16]
    for got, expected in zip(answers, rows, strict=True):
        assert got["label"] == expected["label"]
        assert got["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)
    evaluation = lw.evaluate(head, source, device="cpu")
    assert evaluation.to_json()
    for name in (out, head, tuned.folder):
        assert main(["info", str(name)]) == 0
        shown = capsys.readouterr().out
        assert "adapter" in shown
        assert "LORA" in shown
        assert str(base) in shown
    assert main(["info", str(base), "--adapter", str(tuned.folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["adapter"] == {**entry, "folder": str(tuned.folder)}
    assert facts["weights"] == merged.hashes["weights"]


def test_an_adapter_that_has_moved_is_named_again(
    tuned: Any, base: Path, source: Path, tmp_path: Path
) -> None:
    data = lw.extract(source, tmp_path / "data", model=base, adapter=tuned.folder, device="cpu")
    head = lw.train(data, task="classify", label="label", mix="3", out=tmp_path / "head")
    shutil.move(tuned.folder, tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="adapter"):
        lw.verify(data.path)
    with pytest.raises(ModelError, match="adapter"):
        lw.load_head(tmp_path / "head").predict(["a"])
    assert lw.verify(data.path, adapter=tmp_path / "elsewhere", device="cpu").ok
    answer = lw.load_head(tmp_path / "head", adapter=tmp_path / "elsewhere", device="cpu").predict(["a"])
    assert answer[0]["label"] in head.task_heads[0].classes
    assert (
        lw.load_head(tmp_path / "head", model=tmp_path / "elsewhere", device="cpu").predict(["a"]) == answer
    )
    # Another adapter, or none, is another model.
    change(tmp_path / "elsewhere", lora_alpha=3)
    with pytest.raises(ModelError, match="its weights differs"):
        lw.verify(data.path, adapter=tmp_path / "elsewhere", device="cpu")
    with pytest.raises(RequestError, match="has no effect on a model that is loaded"):
        lw.extract(source, tmp_path / "b", model=lw.load_encoder(base, device="cpu"), adapter="x")


def test_workers_and_pickled_encoders_load_the_adapter(
    tuned: Any, base: Path, source: Path, tmp_path: Path
) -> None:
    encoder = lw.load_encoder(base, adapter=tuned.folder, device="cpu")
    travelled = pickle.loads(pickle.dumps(encoder))
    assert travelled.hashes == encoder.hashes
    assert np.array_equal(travelled.encode(TEXTS).stack(), encoder.encode(TEXTS).stack())


def test_adapter_and_base_on_the_hub(tuned: Any, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {("user/adapter", "v2"): tuned.folder, ("user/base", "v1"): base}
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, revision=None, **_: str(folders[name, revision]),
    )
    expected = lw.load_encoder(base, adapter=tuned.folder, device="cpu").encode(TEXTS).stack()
    change(tuned.folder, base_model_name_or_path="user/base", revision="v1")
    encoder = lw.load_encoder("user/adapter", revision="v2", device="cpu")
    assert np.array_equal(encoder.encode(TEXTS).stack(), expected)
    assert encoder.description["adapter"]["base_revision"] == "v1"


def test_loading_an_adapter_leaves_the_random_numbers_of_the_user(tuned: Any, base: Path) -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    lw.load_encoder(base, adapter=tuned.folder, device="cpu")
    assert torch.equal(torch.rand(3), expected)
