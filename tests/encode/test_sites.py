"""Sites of blocks, against hooks on plain transformers, which name the modules of each family."""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import layerwise as lw
from causal_models import CAUSAL, make_causal
from conftest import CORPUS, make_model
from layerwise.encode import int8
from layerwise.encode.load import load_plain_encoder
from layerwise.errors import RequestError
from layerwise.example import Example
from reference import Plain, worst
from selection import few_of

# fp32: rounding of the same sums in another order; see `tolerance.COMPUTED`.
TOLERANCE = 1e-5
TEXTS = [text for text in CORPUS if 0 < len(text) < 90]
SITES = ("value", "attention", "mlp")
Modules = dict[str, tuple[nn.Module, int]]


def _bert(model: Any, block: int) -> Modules:
    layer = model.encoder.layer[block]
    return {**_bert_outputs(layer), "value": (layer.attention.self.value, 32)}


def _bert_outputs(layer: Any) -> Modules:
    return {"attention": (layer.attention.output.dense, 32), "mlp": (layer.output.dense, 32)}


def _albert(model: Any, block: int) -> Modules:
    """All blocks are one module, which is called once for each."""
    layer = model.encoder.albert_layer_groups[0].albert_layers[0]
    return {
        "value": (layer.attention.value, 32),
        "attention": (layer.attention.dense, 32),
        "mlp": (layer.ffn_output, 32),
    }


def _mpnet(model: Any, block: int) -> Modules:
    layer = model.encoder.layer[block]
    return {
        "value": (layer.attention.attn.v, 32),
        "attention": (layer.attention.attn.o, 32),
        "mlp": (layer.output.dense, 32),
    }


def _deberta(model: Any, block: int) -> Modules:
    layer = model.encoder.layer[block]
    return {**_bert_outputs(layer), "value": (layer.attention.self.value_proj, 32)}


def _t5(model: Any, block: int) -> Modules:
    attention, feed_forward = model.encoder.block[block].layer
    return {
        "value": (attention.SelfAttention.v, 32),
        "attention": (attention.SelfAttention.o, 32),
        "mlp": (feed_forward.DenseReluDense.wo, 32),
    }


def _distilbert(model: Any, block: int) -> Modules:
    layer = model.transformer.layer[block]
    value, attention = layer.attention.v_lin, layer.attention.out_lin
    return {"value": (value, 32), "attention": (attention, 32), "mlp": (layer.ffn, 32)}


def _modernbert(model: Any, block: int) -> Modules:
    layer = model.layers[block]
    return {"value": (layer.attn.Wqkv, 32), "attention": (layer.attn, 32), "mlp": (layer.mlp, 32)}


def _llama(model: Any, block: int) -> Modules:
    layer = model.layers[block]
    return {
        "value": (layer.self_attn.v_proj, 16),
        "attention": (layer.self_attn, 32),
        "mlp": (layer.mlp, 32),
    }


def _normed(model: Any, block: int) -> Modules:
    """A norm follows each sublayer before it is added."""
    layer = model.layers[block]
    attention, mlp = layer.post_attention_layernorm, layer.post_feedforward_layernorm
    return {"value": (layer.self_attn.v_proj, 16), "attention": (attention, 32), "mlp": (mlp, 32)}


def _phi3(model: Any, block: int) -> Modules:
    layer = model.layers[block]
    return {**_llama_without_value(layer), "value": (layer.self_attn.qkv_proj, 16)}


def _llama_without_value(layer: Any) -> Modules:
    return {"attention": (layer.self_attn, 32), "mlp": (layer.mlp, 32)}


def _gpt2(model: Any, block: int) -> Modules:
    layer = model.h[block]
    return {"value": (layer.attn.c_attn, 32), "attention": (layer.attn, 32), "mlp": (layer.mlp, 32)}


MODULES: dict[str, Callable[[Any, int], Modules]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie"), _bert),
    **dict.fromkeys(("esm", "roformer"), _bert),
    "albert": _albert,
    "mpnet": _mpnet,
    "deberta-v2": _deberta,
    "t5": _t5,
    "distilbert": _distilbert,
    "modernbert": _modernbert,
    **dict.fromkeys(("llama", "qwen2", "qwen3", "mistral", "smollm3", "mixtral", "qwen3_moe"), _llama),
    **dict.fromkeys(("gemma2", "gemma3_text", "olmo2"), _normed),
    "phi3": _phi3,
    "gpt2": _gpt2,
}
# Families whose own attention runs in padded batches.
PADDED = ("mpnet", "deberta-v2", "t5", "roformer")


class Hooked(Plain):
    """Plain transformers with a hook on each module of a site."""

    def __init__(self, folder: Path, family: str) -> None:
        super().__init__(folder)
        self.outputs: dict[str, NDArray[Any]] = {}
        self.blocks: dict[tuple[str, nn.Module], list[int]] = {}
        self.calls: dict[tuple[str, nn.Module], int] = {}
        for block in range(3):
            for site, (module, width) in MODULES[family](self.model, block).items():
                if (site, module) not in self.blocks:
                    module.register_forward_hook(functools.partial(self._keep, site, width))
                self.blocks.setdefault((site, module), []).append(block + 1)

    def _keep(self, site: str, width: int, module: nn.Module, inputs: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        call = self.calls.get((site, module), 0)
        self.calls[site, module] = call + 1
        blocks = self.blocks[site, module]
        block = blocks[call % len(blocks)]
        self.outputs[f"{site}.{block}"] = hidden[0, :, -width:].double().numpy()

    def sites(self, ids: list[int]) -> dict[str, NDArray[Any]]:
        """All sites of one sequence of token numbers: (tokens, width of the site) each."""
        with torch.no_grad():
            self.model(input_ids=torch.tensor([ids]))
        return dict(self.outputs)


def make(family: str, folder: Path) -> Path:
    return (make_causal if family in CAUSAL else make_model)(family, folder)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return functools.cache(lambda family: make(family, tmp_path_factory.mktemp(f"model-{family}")))


@pytest.fixture(scope="module")
def loaded(folder_of: Callable[[str], Path]) -> Callable[[str], Any]:
    return functools.cache(lambda family: lw.load_encoder(folder_of(family), device="cpu"))


@pytest.mark.parametrize("family", few_of(MODULES, *list(MODULES)[::2]))
def test_sites_are_those_of_hooks_on_plain_transformers(
    family: str, loaded: Callable[[str], Any], folder_of: Callable[[str], Path]
) -> None:
    encoder, hooked = loaded(family), Hooked(folder_of(family), family)
    order = random.Random(0).sample(TEXTS, len(TEXTS))
    names = [f"{site}.{block}" for site in SITES for block in (1, 2, 3)]
    states = encoder.encode(order, ["all", *names], level="token", batch_tokens=150)
    assert encoder.engine["packing"] == ("padded" if family in PADDED else "packed")
    for doc in range(len(order)):
        rows = states.where(doc=doc)
        ids = states.index["token_id"].take(rows).to_pylist()
        expected = hooked.sites(ids)
        assert sorted(expected) == sorted(names)
        for name in names:
            got = states.layer(name, rows)
            assert got.shape == expected[name].shape
            error = worst(got[None], expected[name][None])
            assert error <= TOLERANCE, f"{family}: {name} of {order[doc]!r} is off by {error:.1e}"
        assert worst(states.stack()[:, rows], hooked.states(ids)) <= TOLERANCE


@pytest.mark.parametrize("family", ["bert", "llama", "modernbert"])
def test_the_plain_encoder_finds_the_same_sites(
    family: str, loaded: Callable[[str], Any], folder_of: Callable[[str], Path]
) -> None:
    encoder, plain = loaded(family), load_plain_encoder(folder_of(family), device="cpu")
    assert plain.sites == encoder.sites
    got, expected = (one.encode(TEXTS[:4], "all,value.1:,attention.2,mlp.-1") for one in (encoder, plain))
    assert got.layers == expected.layers
    assert got.widths == expected.widths
    for name in got.layers:
        assert worst(got.layer(name)[None], expected.layer(name)[None]) <= TOLERANCE


def test_a_site_needs_no_block_after_it(loaded: Callable[[str], Any]) -> None:
    encoder = loaded("bert")
    encoder.encode(["a"], "attention.2")
    copied = encoder._engine.sited().model
    calls: list[str] = []
    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: calls.append(name))
        for name, module in copied.named_modules()
        if name.endswith((".dense", ".value"))
    ]
    encoder.encode(["a"], "attention.2")
    for handle in handles:
        handle.remove()
    assert "encoder.layer.1.attention.self.value" in calls
    assert [name for name in calls if name.startswith(("encoder.layer.1.output", "encoder.layer.2"))] == []


def test_layers_without_sites_run_without_their_hooks(folder_of: Callable[[str], Path]) -> None:
    encoder = lw.load_encoder(folder_of("bert"), device="cpu")
    encoder.encode(TEXTS[:3], "all")
    assert encoder._engine._sited is None


def test_layers_beside_sites_have_the_same_bits(loaded: Callable[[str], Any]) -> None:
    encoder = loaded("llama")
    alone = encoder.encode(TEXTS, "all").stack()
    beside = encoder.encode(TEXTS, "all,value.1:,mlp.2").stack("all")
    assert np.array_equal(alone, beside)


@pytest.mark.parametrize("level", ["token", "word", "text"])
def test_long_texts_and_pools(level: str, loaded: Callable[[str], Any]) -> None:
    """The rows of a text in several windows: those of its tokens, pooled."""
    encoder = loaded("llama")
    texts = ["word " * 60, TEXTS[0]]
    rows = encoder.encode(texts, "value.2,attention.3", level=level, max_length=32)
    tokens = encoder.encode(texts, "value.2,attention.3", level="token", max_length=32)
    assert rows.widths == {"value.2": 16, "attention.3": 32}
    if level == "text":
        for name in rows.layers:
            means = np.stack([tokens.layer(name, tokens.where(doc=doc)).mean(0) for doc in (0, 1)])
            np.testing.assert_allclose(rows.layer(name), means, atol=1e-5)


def test_texts_leave_after_the_block_of_their_last_site(loaded: Callable[[str], Any]) -> None:
    encoder = loaded("llama")
    texts = [TEXTS[0], TEXTS[1]]
    request = encoder.request("all,attention.1:,mlp.1:", "token")
    sequences = encoder.plan([Example(text) for text in texts], request).plan.sequences
    expected = encoder.encode(texts, request.layers, level="token")
    needed = {0: frozenset({"attention.1"}), 1: frozenset({"attention.1", "mlp.3", 2})}
    (batch,) = encoder._engine.batches(sequences, 1000)
    ordered = batch.by_depth(np.array([{0: 1, 1: 3}[window] for window in batch.windows.tolist()]))
    windows = ordered.windows.tolist()
    got: dict[Any, Any] = {}
    layers = [needed[window] for window in windows]
    encoder._engine.run(
        sequences, ordered, layers, lambda key, hidden: got.update({key: hidden.numpy().copy()})
    )
    assert encoder._engine.leaves
    assert windows == [1, 0]
    first = expected.where(doc=1)
    for key in needed[1]:
        assert worst(got[key][None, : len(first)], expected.layer(str(key), first)[None]) <= TOLERANCE
    both = [*first, *expected.where(doc=0)]
    assert (
        worst(got["attention.1"][None, : len(both)], expected.layer("attention.1", both)[None]) <= TOLERANCE
    )
    assert len(got["mlp.3"]) == len(first), "the other text has left"


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions(precision: str, folder_of: Callable[[str], Path], minilm: Any) -> None:
    """Sums of a block hold whatever the precision; the rows are near those of fp32."""
    if precision == "int8" and (refusal := int8.refusal()) is not None:
        pytest.skip(f"int8 {refusal}")
    encoder = lw.load_encoder("minilm", device="cpu", precision=precision)
    assert encoder.sites == minilm.sites
    names = "value.6,attention.3,mlp.1"
    got, exact = (one.encode(TEXTS[:5], names) for one in (encoder, minilm))
    for name in got.layers:
        cosines = (got.layer(name) * exact.layer(name)).sum(1) / (
            np.linalg.norm(got.layer(name), axis=1) * np.linalg.norm(exact.layer(name), axis=1)
        )
        assert cosines.min() > 0.98


@pytest.mark.parametrize(
    ("family", "spec", "why"),
    [
        ("gpt_neox", "attention.2", "no module gives what attention adds"),
        ("gpt_oss", "value.1:", "no module gives the value vectors"),
        ("mobilebert", "mlp.-1", "isn't the block's output"),
        ("squeezebert", "all,mlp.1", "its layers aren't the outputs of modules"),
    ],
)
def test_families_without_sites_say_why(
    family: str, spec: str, why: str, loaded: Callable[[str], Any]
) -> None:
    encoder = loaded(family)
    assert encoder.sites == ()
    encoder.encode(["a"], "all")
    with pytest.raises(RequestError) as caught:
        encoder.encode(["a"], spec)
    message = str(caught.value)
    assert why in message
    assert "it offers no sites; there are the layers emb, 1, 2, 3" in message
    assert "\n" not in message


def test_blocks_of_another_kind_offer_no_site(loaded: Callable[[str], Any]) -> None:
    encoder = loaded("lfm2")
    assert encoder.sites == ("value.2", "attention.2", "mlp.2")
    with pytest.raises(RequestError, match=r"in block 1 of .*its sites are value\.2, attention\.2, mlp\.2"):
        encoder.encode(["a"], "attention.1")
    assert encoder.encode(["a"], "attention.2").layers == ("attention.2",)
