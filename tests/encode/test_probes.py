"""What a model derives from ids, lengths and what it did before, and the comparisons at load that must see it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwise as lw
from conftest import CORPUS, FAMILIES, SMALL, make_model, make_tokenizer
from layerwise.encode import first_block, model_state
from layerwise.encode.engine import Engine
from layerwise.encode.load import load_plain_encoder
from layerwise.errors import ModelError
from reference import Plain, off

TOLERANCE = 1e-5
SPECIAL_INSIDE = [
    "fill up with [PAD] and [PAD] [PAD] where a text is short",
    "[PAD] the first layers know",
    "say [MASK] aloud and [MASK] again",
    "[CLS] [SEP] [UNK] every layer of every encoder",
    "the last know more than it says [PAD]",
    "every layer of every encoder, as data.",
]


@pytest.mark.parametrize(
    "family", ["bert", "roberta", "xlm-roberta", "camembert", "esm", "mpnet", "modernbert"]
)
def test_special_tokens_within_a_text(
    family: str, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    assert off(encoder_of(family), Plain(model_folder(family)), SPECIAL_INSIDE) <= TOLERANCE


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_a_tokenizer_whose_padding_is_not_the_models(family: str, tmp_path: Path) -> None:
    # A token of usual texts, which the model passes over when it counts positions.
    usual = [number for text in CORPUS for number in make_tokenizer(FAMILIES[family][0])(text)["input_ids"]]
    padding = next(number for number in usual if 4 < number < 60)
    folder = make_model(family, tmp_path / "model", pad_token_id=padding)
    encoder, plain = lw.load_encoder(folder), Plain(folder)
    texts = [text for text in CORPUS if len(plain.raw(text)["input_ids"]) <= encoder.position_limit]
    assert encoder.engine["packing"] == "packed"
    assert off(encoder, plain, texts) <= TOLERANCE
    assert any(f"padding is token 0 and the model's is {padding}" in note for note in encoder.notes)


LONG = "0123456789 " * 4


def test_a_short_text_does_not_change_how_a_long_one_is_taken(
    model_folder: Callable[[str], Path], encoder_of: Callable[[str], Any]
) -> None:
    encoder, plain = encoder_of("big_bird"), Plain(model_folder("big_bird"))
    assert 28 < len(plain.raw(LONG)["input_ids"]) < 80
    assert off(encoder, plain, ["a", LONG, "every layer", LONG + " a"]) <= TOLERANCE
    # The same afterwards, and by the reference of `verify`.
    assert off(encoder, plain, [LONG]) <= TOLERANCE
    reference = load_plain_encoder(model_folder("big_bird"))
    assert off(reference, plain, [LONG, "a", LONG]) <= TOLERANCE


def test_verify_sees_a_long_text_that_was_taken_as_a_short_one(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, texts = model_folder("big_bird"), tmp_path / "texts.txt"
    texts.write_text(f"{LONG}\n" * 3)
    lw.extract(texts, tmp_path / "right", model=folder, level="token")
    assert lw.verify(tmp_path / "right").ok
    monkeypatch.setattr(model_state, "snapshot", lambda model: lambda: False)
    lw.extract(texts, tmp_path / "wrong", model=folder, level="token")
    monkeypatch.undo()
    assert not lw.verify(tmp_path / "wrong").ok


def test_a_forward_leaves_the_model_as_it_was(model_folder: Callable[[str], Path]) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(model_folder("big_bird")).eval()
    restore = model_state.snapshot(model)
    model(input_ids=torch.tensor([[2, 5, 3]]))
    assert model.encoder.layer[0].attention_type == "original_full"
    assert restore()
    assert model.encoder.layer[0].attention_type == "block_sparse"
    assert type(model.encoder.layer[0].attention.self).__name__ == "BigBirdBlockSparseAttention"
    assert not restore(), "nothing has changed since"


@pytest.mark.parametrize(
    ("family", "of_tokens", "packing"),
    [
        # Right for texts without padding: the others go alone.
        ("roberta", lambda ids: np.arange(len(ids)) + 1, "packed"),
        # Right for short texts, wrong for long ones.
        ("bert", lambda ids: np.minimum(np.arange(len(ids)), 60), "padded"),
        # Right for all but a text of a single token between its special ones.
        ("bert", lambda ids: np.arange(len(ids)) + (len(ids) == 3), "padded"),
    ],
)
def test_positions_that_are_wrong_are_seen_at_load(
    family: str,
    of_tokens: Callable[[Any], Any],
    packing: str,
    model_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        Engine, "_positions", lambda self, ids, batch: np.concatenate([of_tokens(row) for row in ids])
    )
    encoder = lw.load_encoder(model_folder(family))
    assert encoder.engine["packing"] == packing
    assert off(encoder, Plain(model_folder(family)), SPECIAL_INSIDE) <= TOLERANCE


def test_positions_are_compared_up_to_the_greatest_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond what goes through all blocks."""
    folder = make_model("bert", tmp_path / "long", max_position_embeddings=1500)
    tokenizer = make_tokenizer("wordpiece")
    tokenizer.model_max_length = 1500
    tokenizer.save_pretrained(folder)
    assert lw.load_encoder(folder).engine["packing"] == "packed"
    monkeypatch.setattr(
        Engine,
        "_positions",
        lambda self, ids, batch: np.concatenate([np.minimum(np.arange(len(row)), 1400) for row in ids]),
    )
    assert lw.load_encoder(folder).engine["packing"] == "padded"


def test_neighbours_of_equal_length_are_compared(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.encode import attention

    split = attention._split

    def mixed(x: torch.Tensor, texts: int, tokens: int) -> torch.Tensor:
        return split(x, texts, tokens).flip(0)

    monkeypatch.setattr(attention, "_split", mixed)
    assert lw.load_encoder(model_folder("bert")).engine["packing"] == "padded"


def test_what_enters_is_compared_by_name_shape_and_number() -> None:
    place = first_block.Place(0, 1, 2, 2, 5)
    whole = torch.arange(10.0).reshape(1, 5, 2)
    alone = {"0": whole[:, 2:4], "attention_mask": torch.ones(1)}
    assert first_block.same_inputs(alone, {"0": whole}, place, 1e-6)
    assert not first_block.same_inputs(alone, {"0": whole + 1}, place, 1e-6)
    assert not first_block.same_inputs(alone, {"0": whole, "band_mask": torch.ones(1)}, place, 1e-6)
    assert not first_block.same_inputs(alone, {"0": whole[:, :4]}, place, 1e-6)


def config_of(folder: Path, **changed: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_a_tokenizer_with_tokens_beyond_the_embedding_table_is_refused(tmp_path: Path) -> None:
    folder = make_model("bert", tmp_path / "model")
    tokenizer = make_tokenizer("wordpiece")
    entries = len(tokenizer)
    assert lw.load_encoder(make_model("bert", tmp_path / "larger", vocab_size=entries + 64)).blocks == 3
    tokenizer.add_tokens(["layerwise", "layerwisely"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError) as caught:
        lw.load_encoder(folder)
    assert f"{entries + 2} tokens, up to number {entries + 1}" in str(caught.value)
    assert f"embedding table {entries} entries" in str(caught.value)


@pytest.mark.parametrize("family", ["bert", "roberta", "roformer"])
def test_a_maximum_length_beyond_the_table_of_positions_is_refused(family: str, tmp_path: Path) -> None:
    folder = make_model(family, tmp_path / "model")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 1000}))
    with pytest.raises(ModelError) as caught:
        lw.load_encoder(folder)
    assert "its tokenizer allows 1000 tokens and its table of positions has 80 entries" in str(caught.value)


def test_the_number_of_positions_goes_by_the_table_under_any_name(tmp_path: Path) -> None:
    """A configuration may call it what it likes."""
    folder = make_model("bert", tmp_path / "model")
    config_of(folder, n_positions=4000, n_ctx=4000, seq_length=4000)
    tokenizer = make_tokenizer("wordpiece")
    tokenizer.model_max_length = int(1e30)
    tokenizer.save_pretrained(folder)
    assert lw.load_encoder(folder).position_limit == SMALL["max_position_embeddings"]


def test_a_mask_of_the_models_own_number(tmp_path: Path) -> None:
    """ESM scales a row by the share of masks in it, whatever token the tokenizer takes for one."""
    mask = make_tokenizer("wordpiece")(CORPUS[0])["input_ids"][3]
    folder = make_model("esm", tmp_path / "model", mask_token_id=mask)
    encoder, plain = lw.load_encoder(folder), Plain(folder)
    assert any(mask in plain.raw(text)["input_ids"] for text in SPECIAL_INSIDE)
    assert off(encoder, plain, SPECIAL_INSIDE) <= TOLERANCE
    assert any(f"mask is token 4 and the model's is {mask}" in note for note in encoder.notes)


def test_a_table_of_positions_with_entries_in_reserve(tmp_path: Path) -> None:
    """Nystromformer's begins at the third."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(
        "nystromformer", **{**SMALL, "num_landmarks": 80, "segment_means_seq_len": 80, "vocab_size": 400}
    )
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizer = make_tokenizer("wordpiece")
    tokenizer.model_max_length = 82
    tokenizer.save_pretrained(tmp_path)
    encoder = lw.load_encoder(tmp_path)
    assert encoder.position_limit == 80
    assert encoder.encode(["word " * 200], "1").rows == 1


@pytest.mark.parametrize("text", ["a", "0123456789 " * 2])
def test_attention_of_a_model_that_changes_with_its_texts(
    text: str, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    encoder = encoder_of("big_bird")
    encoder.encode(["a", LONG])
    maps = encoder.attention(text)
    model = Plain(model_folder("big_bird")).model
    ids = torch.tensor([encoder.encode([text], level="token").index["token_id"].to_pylist()])
    with torch.no_grad():
        model(input_ids=ids)  # it becomes what it is for such a text
        want = np.stack(
            [block[0].numpy() for block in model(input_ids=ids, output_attentions=True).attentions]
        )
    np.testing.assert_allclose(maps, want, atol=1e-6)


def test_attention_to_parts_of_a_text_is_no_map(encoder_of: Callable[[str], Any]) -> None:
    with pytest.raises(ModelError, match="gives no attention maps"):
        encoder_of("big_bird").attention(LONG)


def test_a_text_with_nothing_but_special_tokens_is_too_little(tmp_path: Path) -> None:
    folder = make_model("bert", tmp_path / "model")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 2}))
    with pytest.raises(ModelError, match="takes 2 tokens at once, and 2 of a text are special"):
        lw.load_encoder(folder)


def test_a_local_encoder_is_no_decoder(tmp_path: Path) -> None:
    """What stands first sees a few tokens and not the end of the text."""
    folder = make_model("modernbert", tmp_path / "model", local_attention=4, global_attn_every_n_layers=99)
    assert lw.load_encoder(folder).blocks == 3


def test_a_model_without_blocks_is_refused_by_name(tmp_path: Path) -> None:
    folder = make_model("roberta", tmp_path / "model")
    config_of(folder, num_hidden_layers=0)
    with pytest.raises(ModelError, match="gives no layers but emb, and its weights have encoder"):
        lw.load_encoder(folder)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_weights_of_more_blocks_than_the_config_names_are_told(family: str, tmp_path: Path) -> None:
    folder = make_model(family, tmp_path / "model")
    stored = lw.load_encoder(folder).blocks
    assert not [note for note in lw.load_encoder(folder).notes if "blocks" in note]
    config_of(folder, num_hidden_layers=stored - 1)
    (note,) = [note for note in lw.load_encoder(folder).notes if "blocks" in note]
    assert f"have {stored} blocks, and its config.json names {stored - 1}" in note
