"""A folder that `cut` writes: plain transformers and sentence-transformers give the layer of the source."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import layerwise as lw
from causal_models import CAUSAL, make_causal
from conftest import CORPUS, FAMILIES, make_model
from layerwise.cli.main import main
from reference import Plain, worst
from selection import few_of
from st_folders import encoded, make_folder

TOLERANCE = 1e-5  # as tolerance.COMPUTED["fp32"]: the same sums, on another machine perhaps in another order
TENSORFLOW = Path(__file__).parents[1] / "encode" / "tensorflow"
TEXTS = [text for text in CORPUS if text.strip() and len(text) < 90]
# Families with a norm after the last block; all of CAUSAL have one too.
NORMED = ("esm", "modernbert", "t5")
# transformers has code for a model without blocks in all families but these.
NEED_BLOCKS = ("deberta-v2", "modernbert", "mamba")
# hidden_states[0] of Mamba is the output of its first block, so that each cut ends a block too early.
SHIFTED = ("mamba",)
# hidden_states[-1] is normed in these, whatever the configuration says.
ONLY_NORMED = ("bloom",)
PACKED = [
    *(family for family, entry in FAMILIES.items() if entry[2] == "packed"),
    *(family for family, entry in CAUSAL.items() if entry[1] == "packed"),
]
# Decoders that `make test` cuts: several kinds of attention, experts, convolutions, and a norm in both places.
QUICK = ("llama", "gemma3_text", "gpt2", "opt", "deepseek_v3", "mixtral", "lfm2", "bloom")


def states_of(folder: Path) -> tuple[Any, list[list[int]]]:
    plain = Plain(folder)
    return plain, [plain.raw(text)["input_ids"] for text in TEXTS]


def last(plain: Plain, ids: list[int]) -> Any:
    with torch.no_grad():
        return plain.model(input_ids=torch.tensor([ids])).last_hidden_state[0].double().numpy()


def normed(plain: Plain, layer: Any) -> Any:
    """A layer put through the norm after the last block, found by its name."""
    modules = dict(plain.model.named_modules())
    names = ("norm", "final_norm", "final_layer_norm", "ln_f", "embedding_norm", "final_layernorm", "norm_f")
    (norm,) = [
        module
        for path, module in modules.items()
        if path.rpartition(".")[2] in (*names, "emb_layer_norm_after")
        and not path.startswith("embeddings.")
        and not any(part.isdigit() for part in path.split("."))
    ]
    with torch.no_grad():
        return norm(torch.tensor(layer, dtype=torch.float32)[None])[0].double().numpy()


def padding_changes(plain: Plain, ids: list[list[int]]) -> bool:
    """Whether a text's vectors in a padded batch with others are not those that it has alone."""
    length, pad = max(map(len, ids)), plain.tokenizer.pad_token_id
    rows = torch.tensor([row + [pad] * (length - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids])
    with torch.no_grad():
        together = plain.model(input_ids=rows, attention_mask=mask).last_hidden_state
    pairs = [(together[n, : len(row)].double().numpy(), last(plain, row)) for n, row in enumerate(ids)]
    return max(worst(got[None], alone[None]) for got, alone in pairs) > 1e-4


def check_cut(family: str, source: Path, out: Path, at: int) -> None:
    """Compare a cut with plain forwards of both models."""
    written = lw.cut(source, out, at=at, device="cpu")
    assert written.blocks == at
    (whole, ids), (cut, ids_of_cut) = states_of(source), states_of(out)
    assert ids == ids_of_cut
    has_norm = (family in CAUSAL or family in NORMED) and at < whole.model.config.num_hidden_layers
    for numbers in ids[:4]:
        expected = whole.states(numbers)[at]
        got = last(cut, numbers)
        assert worst(got[None], (normed(whole, expected) if has_norm else expected)[None]) <= TOLERANCE
        if at and family not in ONLY_NORMED:
            states = cut.states(numbers)
            assert len(states) == at + 1
            assert worst(states[-1:], expected[None]) <= TOLERANCE
    said = any("last norm" in note for note in written.notes)
    assert said == has_norm == ("last norm" in (out / "README.md").read_text())
    told = any("in a batch with padding" in note for note in written.notes)
    assert told == padding_changes(cut, ids[:4])


@pytest.mark.filterwarnings(
    "ignore:Initializing zero-element"
)  # ESM has a contact for each block, and transformers reads it
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("at", few_of([0, 2], 2))
def test_a_cut_of_every_family_ends_with_the_layer(
    family: str, at: int, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    source, out = model_folder(family), tmp_path / "out"
    if at == 0 and family in NEED_BLOCKS:
        with pytest.raises(lw.ModelError, match=rf"\({family}\) can't be cut at layer 0"):
            lw.cut(source, out, at=0, device="cpu")
        assert not list(tmp_path.iterdir())
    else:
        check_cut(family, source, out, at)


@pytest.mark.parametrize(
    "family",
    [
        family if family in QUICK else pytest.param(family, marks=pytest.mark.slow)
        for family in CAUSAL
        if family not in SHIFTED
    ],
)
def test_a_cut_of_every_decoder_ends_with_the_layer(family: str, tmp_path: Path) -> None:
    source = make_causal(family, tmp_path / "source")
    check_cut(family, source, tmp_path / "out", 1 if CAUSAL[family][1] == "packed" else 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("family", PACKED)
def test_every_cut_of_a_family_that_packs(family: str, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    source = make_causal(family, folder) if family in CAUSAL else make_model(family, folder)
    for at in range(1 if family in NEED_BLOCKS else 0, 4):
        check_cut(family, source, tmp_path / str(at), at)


def test_a_family_that_cannot_be_cut_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_causal("mamba", tmp_path / "source")
    assert main(["cut", str(source), "--at", "2", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "can't be cut" in line]
    assert "(mamba) can't be cut at layer 2" in line
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_whole_model_is_a_cut_too(
    family: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Its last layer is the normed one, as in the source."""
    check_cut(family, model_folder(family), tmp_path / "out", 3)


@pytest.mark.parametrize("family", ["modernbert", "gpt2"])
def test_a_cut_can_be_cut_again(family: str, tmp_path: Path) -> None:
    """Its last layer is the one before the norm, in all families with one."""
    folder = tmp_path / "source"
    source = make_causal(family, folder) if family in CAUSAL else make_model(family, folder)
    lw.cut(source, tmp_path / "2", at=2, device="cpu")
    whole, ids = states_of(source)
    for name, drop, at in (("1", None, 1), ("whole", None, 2), ("drop", 2, 1)):
        out = tmp_path / f"out-{name}"
        written = lw.cut(tmp_path / "2", out, at=at if drop is None else None, drop=drop, device="cpu")
        assert written.blocks == at
        assert [note.key for note in written.notes] == ["note.cut.normed.states"]
        cut, _ = states_of(out)
        for numbers in ids[:3]:
            expected = whole.states(numbers)[at]
            assert worst(cut.states(numbers)[-1:], expected[None]) <= TOLERANCE
            assert worst(last(cut, numbers)[None], normed(whole, expected)[None]) <= TOLERANCE


def test_layerwise_opens_what_it_wrote(encoder_of: Callable[[str], Any], tmp_path: Path) -> None:
    source = encoder_of("modernbert")
    lw.cut(source.home, tmp_path / "cut", at=2, device="cpu")
    cut = lw.load_encoder(tmp_path / "cut", device="cpu")
    assert cut.layers == ("emb", "1", "2")
    expected = source.encode(TEXTS, layers="emb,1,2", level="token")
    assert worst(cut.encode(TEXTS, level="token").stack(), expected.stack()) <= TOLERANCE
    source = encoder_of("bert")
    lw.cut(source.home, tmp_path / "emb", at="emb", device="cpu")
    embeddings = lw.load_encoder(tmp_path / "emb", device="cpu")
    assert embeddings.layers == ("emb",)
    assert worst(embeddings.encode(TEXTS).stack(), source.encode(TEXTS, layers="emb").stack()) <= TOLERANCE


RECIPES: list[dict[str, Any]] = [
    {"pooling": {"pooling_mode_cls_token": True}, "settings": {"max_seq_length": 9, "do_lower_case": True}},
    {"pooling": {"pooling_mode": "lasttoken"}},
    {"pooling": {"pooling_mode": "max"}, "more": ("sentence_transformers.models.Normalize",), "inner": "0_T"},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=["cls", "lasttoken", "max"])
def test_sentence_transformers_gives_the_layer_of_the_source(
    recipe: dict[str, Any], model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    source = make_folder(model_folder("roberta"), tmp_path / "source", **recipe)
    prompts = {"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query"}
    (source / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notes of the source
        written = lw.cut(source, tmp_path / "cut", at=2, device="cpu")
        encoder = lw.load_encoder(source, device="cpu")
    assert any("Normalize" in note for note in written.notes) == ("more" in recipe)
    texts = [*TEXTS, "Every LAYER of a long text " * 5]
    expected = encoder.encode(texts, layers="2", long="truncate")
    assert worst(encoded(tmp_path / "cut", texts)[None], expected.stack()) <= TOLERANCE
    named = encoder.encode(texts, layers="2", long="truncate", prompt_name="document")
    got = encoded(tmp_path / "cut", texts, prompt_name="document")
    assert worst(got[None], named.stack()) <= TOLERANCE


def test_sentence_transformers_gives_the_normed_layer(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """In families with a norm after the last block."""
    source = make_model("modernbert", tmp_path / "source")
    lw.cut(source, tmp_path / "cut", at=1, device="cpu")
    plain, ids = states_of(source)
    expected = [normed(plain, plain.states(numbers)[1]).mean(axis=0) for numbers in ids]
    assert worst(encoded(tmp_path / "cut", TEXTS)[None], np.stack(expected)[None]) <= TOLERANCE


def test_the_type_of_the_weights_stays(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(model_folder("bert"), dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "source")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "source" / name).write_bytes((model_folder("bert") / name).read_bytes())
    written = lw.cut(tmp_path / "source", tmp_path / "cut", at=1, device="cpu")
    with safe_open(tmp_path / "cut" / "model.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert sum(tensor.numel() for tensor in tensors.values()) == written.parameters
    original = model.state_dict()
    assert all(torch.equal(tensor, original[name]) for name, tensor in tensors.items())
    assert written.bytes == sum(p.stat().st_size for p in (tmp_path / "cut").rglob("*") if p.is_file())


def test_a_pooler_that_was_never_trained_is_not_written(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from transformers import BertModel

    BertModel.from_pretrained(model_folder("bert"), add_pooling_layer=False).save_pretrained(tmp_path / "no")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "no" / name).write_bytes((model_folder("bert") / name).read_bytes())
    lw.cut(tmp_path / "no", tmp_path / "cut", at=1, device="cpu")
    with safe_open(tmp_path / "cut" / "model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "pooler" in name]  # noqa: SIM118


def test_an_adapter_is_merged(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    from peft_adapters import Tuned

    tuned = Tuned(model_folder("bert"), tmp_path / "adapter", target_modules=["query", "value"], r=2)
    written = lw.cut(model_folder("bert"), tmp_path / "cut", at=2, adapter=tuned.folder, device="cpu")
    assert written.source["adapter"]["kind"] == "LORA"
    plain, ids = states_of(tmp_path / "cut")
    for numbers in ids[:3]:
        assert worst(plain.states(numbers)[-1:], tuned.states(numbers)[2:3]) <= TOLERANCE
    assert "adapter: `LORA`" in (tmp_path / "cut" / "README.md").read_text()


def test_a_checkpoint_of_tensorflow_becomes_safetensors(tmp_path: Path) -> None:
    source = tmp_path / "uncased_bert"  # the name says how Google's tokenizer reads
    shutil.copytree(TENSORFLOW / "tf1_bert", source)
    lw.cut(source, tmp_path / "cut", at=1, device="cpu")
    assert (tmp_path / "cut" / "model.safetensors").is_file()
    expected = lw.load_encoder(source, device="cpu").encode(["a b c", "A"], layers="1", level="token")
    got = lw.load_encoder(tmp_path / "cut", device="cpu").encode(["a b c", "A"], level="token", layers="1")
    assert got.index["token_id"] == expected.index["token_id"]
    assert worst(got.stack(), expected.stack()) <= TOLERANCE


@pytest.mark.parametrize(
    ("family", "name"), [("bert", "vectors"), ("modernbert", "layer"), ("gpt2", "layer")]
)
def test_the_code_of_the_card_runs(
    family: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_causal(family, tmp_path / "a") if family in CAUSAL else make_model(family, tmp_path / "a")
    (source / "inner").mkdir()
    monkeypatch.chdir(source / "inner")
    lw.cut("..", tmp_path / "cut", at=1, device="cpu")
    text = (tmp_path / "cut" / "README.md").read_text()
    assert "# a, cut at layer 1" in text, "the folder's name"
    code = text.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", str(tmp_path / "cut"))
    scope: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), scope)
    assert scope[name].shape[-1] == 32


def test_the_card_says_where_the_model_comes_from(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    source = tmp_path / "mine"
    make_model("bert", source)
    (source / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# Mine\n\nlicense: other\n")
    (source / "LICENSE.txt").write_text("All of it.")
    lw.cut(source, tmp_path / "cut", at=2, drop="1", device="cpu")
    text = (tmp_path / "cut" / "README.md").read_text()
    assert "license: mit" in text
    assert str(tmp_path) not in text, "a path of this machine is nobody's business"
    assert "# mine, cut at layer 2 without block 1" in text
    for digest in lw.load_encoder(source, device="cpu").hashes.values():
        assert digest in text
    assert (tmp_path / "cut" / "LICENSE.txt").read_text() == "All of it."
