"""Models whose weights TensorFlow wrote: equal to those of PyTorch, and to what TensorFlow itself computes."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import layerwise as lw
from conftest import CORPUS, SHARED
from layerwise.cli.main import main
from layerwise.encode.tensorflow.bundle import Bundle
from layerwise.encode.tensorflow.folder import lowercases
from layerwise.errors import ModelError
from tensorflow_writer import GRAPH, VALUE, as_google, google_name, object_graph, write_bundle

FIXTURES = Path(__file__).parent / "tensorflow"
TINY = SHARED / "fixtures/tf_checkpoint_tiny"
TEXTS = ["all work and no play", "makes jack a dulls"]  # the token ids of `states.npz`
SIZES = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("max_position_embeddings", "type_vocab_size", "hidden_act"),
)


def weights_of(folder: Path) -> dict[str, Any]:
    return dict(load_file(folder / "model.safetensors"))


def as_folder_of_google(folder: Path, out: Path) -> Path:
    """A folder with configuration and vocabulary as Google releases them, for a model of transformers."""
    out.mkdir()
    config = json.loads((folder / "config.json").read_text())
    (out / "bert_config.json").write_text(json.dumps({key: config[key] for key in SIZES}))
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (out / "vocab.txt").write_text(
        "".join(f"{token}\n" for token in sorted(vocab, key=vocab.get)), encoding="utf-8"
    )
    return out


def as_transformers(folder: Path, out: Path) -> Path:
    """A folder with configuration and tokenizer of transformers, without weights."""
    shutil.copytree(folder, out)
    (out / "model.safetensors").unlink()
    return out


def states(folder: Path, texts: Any = CORPUS) -> Any:
    return lw.load_encoder(folder, device="cpu").encode(texts, level="token").stack()


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        lw.load_encoder(folder, device="cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.fixture
def bert(model_folder: Callable[[str], Path]) -> Path:
    return model_folder("bert")


@pytest.fixture
def google(bert: Path, tmp_path: Path) -> Path:
    return as_folder_of_google(bert, tmp_path / "uncased_L-3_H-32_A-4")


# --- what TensorFlow wrote -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reference", "unused"),
    [
        ("tf1_bert", "bert", ["*/adam_m", "cls/*", "global_step", "pooler.*"]),
        ("tf2_bert", "bert", ["pooler.*", "step"]),
        ("saved_bert", "bert", ["pooler.*"]),
        ("h5_bert", "bert", ["pooler.*"]),
        ("h5_sharded", "bert", ["pooler.*"]),
        ("h5_masked", "h5_masked", ["mlm___cls/*"]),
        ("h5_albert", "h5_albert", ["pooler.*"]),
        ("h5_electra", "h5_electra", []),
    ],
)
def test_states_are_those_of_tensorflow(name: str, reference: str, unused: list[str]) -> None:
    if name.startswith("h5"):
        pytest.importorskip("h5py")
    encoder = lw.load_encoder(FIXTURES / name, device="cpu")
    got = encoder.encode(TEXTS, level="token").stack()
    expected = np.load(FIXTURES / "states.npz")[reference].reshape(got.shape)
    assert np.abs(got - expected).max() < 2e-6  # float32 of two libraries; numbers up to 4
    assert encoder.description["unused"]["tensors"] == unused
    assert encoder.notes == ()


@pytest.mark.skipif(not TINY.exists(), reason="shared/ is absent")
def test_the_139_tensors_of_a_real_checkpoint() -> None:
    bundle = Bundle(TINY / "bert_model.ckpt.index")
    assert len(bundle.entries) == 139
    for name in bundle.entries:
        bundle.check(name)
    encoder = lw.load_encoder(TINY, device="cpu")
    assert (encoder.layers, encoder.width) == (("emb", "1", "2"), 4)
    assert encoder.description["unused"]["tensors"] == [
        "*/adam_m",
        "*/adam_v",
        "cls/*",
        "global_step",
        "pooler.*",
    ]
    assert encoder.encode(["jack makes work"], level="token").index["text"].to_pylist()[1:-1] == [
        "jack",
        "makes",
        "work",
    ]


# --- equal to PyTorch, at every layer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shards": 3},
        {"order": ">"},
        {"shards": 2, "order": ">", "snappy": True},
        {"sliced": ["bert/embeddings/word_embeddings", "bert/encoder/layer_1/output/dense/kernel"]},
    ],
)
def test_bert_of_tensorflow_1(options: dict[str, Any], bert: Path, google: Path) -> None:
    tensors = as_google(weights_of(bert), "bert")
    slots = {f"{name}/adam_v": value for name, value in tensors.items()}
    further = {"global_step": np.array(7, np.int64), "cls/seq_relationship/output_bias": np.zeros(2, "f4")}
    write_bundle(google / "bert_model.ckpt", {**tensors, **slots, **further}, **options)
    assert np.array_equal(states(google), states(bert))


@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_other_types_become_float32(dtype: str, bert: Path, google: Path) -> None:
    tensors = {name: value.astype(dtype) for name, value in as_google(weights_of(bert), "bert").items()}
    write_bundle(google / "bert_model.ckpt", tensors, order=">")
    assert np.abs(states(google) - states(bert)).max() < (1e-6 if dtype == "f8" else 2e-2)


@pytest.mark.parametrize("family", ["albert", "electra"])
def test_other_families(family: str, model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = as_transformers(model_folder(family), tmp_path / "model")
    tensors = as_google(weights_of(model_folder(family)), family)
    heads = {"generator_predictions/output_bias": np.zeros(3, "f4")}
    heads |= {f"generator/{name}": value * 9 for name, value in tensors.items() if family == "electra"}
    heads = {name.replace("generator/electra/", "generator/"): value for name, value in heads.items()}
    write_bundle(folder / "model.ckpt-best", {**tensors, **heads})
    assert np.array_equal(states(folder), states(model_folder(family)))
    unused = lw.load_encoder(folder, device="cpu").description["unused"]["tensors"]
    assert ("generator/*" in unused) == (family == "electra")


def test_a_generator_alone_is_named(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = as_transformers(model_folder("electra"), tmp_path / "model")
    tensors = as_google(weights_of(model_folder("electra")), "electra")
    write_bundle(
        folder / "x", {f"generator/{name.removeprefix('electra/')}": t for name, t in tensors.items()}
    )
    assert "it holds no tensors of electra; it holds generator/*" in refused(folder)


def tf2_keys(name: str) -> tuple[str, str]:
    """Key and name of a tensor in TensorFlow's own model of BERT, by its name in transformers."""
    *module, tensor = name.split(".")
    last = {
        "weight": "gamma" if module[-1] == "LayerNorm" else "kernel",
        "bias": "beta" if module[-1] == "LayerNorm" else "bias",
    }[tensor]
    embeddings = {"word_embeddings": 0, "position_embeddings": 1, "token_type_embeddings": 2}
    if module[-1] in embeddings:
        number = embeddings[module[-1]]
        return f"layer_with_weights-{number}/embeddings", [
            "word_embeddings",
            "position_embedding",
            "type_embeddings",
        ][number] + "/embeddings"
    if module[0] == "embeddings":
        return f"layer_with_weights-3/{last}", f"embeddings/layer_norm/{last}"
    if module[0] == "pooler":
        return f"layer_with_weights-7/{last}", f"pooler_transform/{last}"
    key, inner = {
        "attention.self.query": ("_attention_layer/_query_dense", "self_attention/query"),
        "attention.self.key": ("_attention_layer/_key_dense", "self_attention/key"),
        "attention.self.value": ("_attention_layer/_value_dense", "self_attention/value"),
        "attention.output.dense": ("_attention_output_dense", "self_attention/attention_output"),
        "attention.output.LayerNorm": ("_attention_layer_norm", "self_attention_layer_norm"),
        "intermediate.dense": ("_intermediate_dense", "intermediate"),
        "output.dense": ("_output_dense", "output"),
        "output.LayerNorm": ("_output_layer_norm", "output_layer_norm"),
    }[".".join(module[3:])]
    number = int(module[2])
    return f"layer_with_weights-{number + 4}/{key}/{last}", f"transformer/layer_{number}/{inner}/{last}"


def tf2_tensors(bert: Path, *, by_name: bool) -> dict[str, Any]:
    """Tensors by the keys of TensorFlow 2, with heads apart; by names of an object graph, or by numbered keys."""
    tensors: dict[str, Any] = {}
    names = {}
    for number, (name, value) in enumerate(weights_of(bert).items()):
        key, inner = tf2_keys(name)
        if key.endswith("kernel"):
            value = np.ascontiguousarray(value.T)
            if "attention_output" in inner:
                value = value.reshape(4, 8, 32)
            elif "self_attention/" in inner:
                value = value.reshape(32, 4, 8)
        elif "self_attention/" in inner and "output" not in inner:
            value = value.reshape(4, 8)
        full = f"variables/{number}{VALUE}" if by_name else f"model/{key}{VALUE}"
        tensors[full] = value
        names[full] = inner
    tensors[f"save_counter{VALUE}"] = np.array(1, np.int64)
    tensors[f"model/layer_with_weights-0/x/.OPTIMIZER_SLOT/optimizer/m{VALUE}"] = np.zeros(3, "f4")
    return {**tensors, GRAPH: object_graph(names)} if by_name else tensors


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_bert_of_tensorflow_2(by_name: bool, order: str, bert: Path, google: Path) -> None:
    (google / "variables").mkdir()
    write_bundle(
        google / "variables" / "variables", tf2_tensors(bert, by_name=by_name), shards=2, order=order
    )
    assert np.array_equal(states(google), states(bert))
    unused = lw.load_encoder(google, device="cpu").description["unused"]["tensors"]
    assert unused == ["*/.OPTIMIZER_SLOT/*", "pooler.*", "save_counter"]


# --- folders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("uncased_L-12_H-768_A-12", True),
        ("wwm_uncased_L-24_H-1024_A-16", True),
        ("multilingual_L-12_H-768_A-12", True),
        ("chinese_L-12_H-768_A-12", True),
        ("cased_L-24_H-1024_A-16", False),
        ("wwm_cased_L-24_H-1024_A-16", False),
        ("multi_cased_L-12_H-768_A-12", False),
        ("mine", True),
    ],
)
def test_casing_is_that_of_the_name(name: str, lower: bool) -> None:
    assert lowercases(name) is lower


def test_casing_is_part_of_the_model(bert: Path, google: Path, tmp_path: Path) -> None:
    write_bundle(google / "bert_model.ckpt", as_google(weights_of(bert), "bert"))
    with (google / "vocab.txt").open(encoding="utf-8") as file:
        assert "[CLS]\n" in set(file)
    lower = lw.load_encoder(google, device="cpu")
    cased = lw.load_encoder(Path(shutil.copytree(google, tmp_path / "cased_L-3_H-32_A-4")), device="cpu")
    assert np.array_equal(lower.encode(["WORD"]).stack(), lower.encode(["word"]).stack())
    assert not np.array_equal(cased.encode(["WORD"]).stack(), cased.encode(["word"]).stack())
    assert {name: lower.hashes[name] == cased.hashes[name] for name in lower.hashes} == {
        "weights": True,
        "tokenizer": False,
        "config": True,
    }


def test_the_tokenizers_own_settings_come_first(bert: Path, google: Path) -> None:
    write_bundle(google / "bert_model.ckpt", as_google(weights_of(bert), "bert"))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (google / "tokenizer_config.json").write_text(json.dumps(settings))
    encoder = lw.load_encoder(google, device="cpu")  # its name says uncased
    assert encoder.checkpoint.do_lower_case is None
    assert not np.array_equal(encoder.encode(["WORD"]).stack(), encoder.encode(["word"]).stack())


def test_every_file_is_part_of_the_model(bert: Path, google: Path) -> None:
    write_bundle(google / "bert_model.ckpt", as_google(weights_of(bert), "bert"), shards=2)
    before = lw.load_encoder(google, device="cpu")
    assert before.checkpoint.files.weights == (
        "bert_model.ckpt.data-00000-of-00002",
        "bert_model.ckpt.data-00001-of-00002",
        "bert_model.ckpt.index",
    )
    assert before.checkpoint.files.config == ("bert_config.json",)
    first = before.hashes["weights"]
    tensors = as_google({name: value * 2 for name, value in weights_of(bert).items()}, "bert")
    write_bundle(google / "bert_model.ckpt", tensors, shards=2)
    assert lw.load_encoder(google, device="cpu").hashes["weights"] != first


def test_safetensors_come_first(bert: Path, google: Path) -> None:
    write_bundle(google / "bert_model.ckpt", {"nothing": np.zeros(3, "f4")})
    shutil.copy(bert / "model.safetensors", google)
    shutil.copy(bert / "config.json", google)
    encoder = lw.load_encoder(google, device="cpu")
    assert encoder.checkpoint.files.weights == ("model.safetensors",)
    assert "bert_model.ckpt.index" in encoder.description["unused"]["files"]


def test_a_whole_job_on_googles_folder(
    bert: Path, google: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(google / "bert_model.ckpt", as_google(weights_of(bert), "bert"))
    assert main(["info", str(google), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["family"], facts["blocks"], facts["width"]) == ("model", "bert", 3, 32)
    (tmp_path / "texts.txt").write_text("a text\nanother one\n")
    out = tmp_path / "out"
    assert (
        main(
            [
                "extract",
                str(tmp_path / "texts.txt"),
                "--out",
                str(out),
                "--model",
                str(google),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["verify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]


def unlink(name: str) -> Callable[..., None]:
    return lambda folder, tensors: (folder / name).unlink()


def changed(**changes: Any) -> Callable[..., None]:
    """What writes a checkpoint in which tensors are others, or missing (None); names have `_` for `/`."""

    def change(folder: Path, tensors: dict[str, Any]) -> None:
        others = {name: changes.pop(name.replace("/", "_"), value) for name, value in tensors.items()}
        further = {re.sub("_(?!\\d)", "/", name): value for name, value in changes.items()}
        write(folder, {name: value for name, value in {**others, **further}.items() if value is not None})

    return change


def longer(vocabulary: Path) -> None:
    vocabulary.write_text(vocabulary.read_text(encoding="utf-8") + "more\n", encoding="utf-8")


def write(folder: Path, tensors: dict[str, Any]) -> None:
    write_bundle(folder / "bert_model.ckpt", tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            unlink("bert_model.ckpt.data-00000-of-00001"),
            "data-00000-of-00001, which belongs to bert_model.ckpt.index, is missing",
        ),
        (
            unlink("bert_model.ckpt.index"),
            "bert_model.ckpt.index, which belongs to bert_model.ckpt.data-00000-of-00001, is missing",
        ),
        (unlink("bert_config.json"), "its weights are of TensorFlow: put the configuration beside them"),
        (unlink("vocab.txt"), "holds no tokenizer"),
        (lambda f, t: longer(f / "vocab.txt"), "aren't of one model"),
        (
            lambda f, t: shutil.copy(f / "bert_config.json", f / "albert_config.json"),
            "several configurations",
        ),
        (lambda f, t: write_bundle(f / "x-20", t), "several checkpoints (bert_model.ckpt.index, x-20.index)"),
        (changed(bert_encoder_layer_1_output_dense_kernel=None), "lack encoder.layer.1.output.dense.weight"),
        (
            changed(bert_encoder_layer_3_output_dense_bias=np.zeros(32, "f4")),
            "it holds 'bert/encoder/layer_3/output/dense/bias', which the model of its configuration doesn't have",
        ),
        (
            changed(bert_encoder_layer_1_output_dense_bias=np.zeros(31, "f4")),
            "has the shape [31], and the model needs [32]",
        ),
        (changed(bert_encoder_layer_1_output_dense_bias=np.zeros(32, "i4")), "no floating-point numbers"),
        (changed(module_bert_pooler_dense_bias=np.ones(32, "f4")), "it holds pooler.dense.bias twice"),
        (lambda f, t: write(f, {"x/y": np.zeros(3000, "f4")}), "so these are cut off"),
        (
            lambda f, t: write(f, {f"x/{n}": np.zeros(3000, "f4") for n in range(30)}),
            "it holds no tensors of bert; it holds x/*",
        ),
    ],
)
def test_folders_that_are_not_right(change: Any, message: str, bert: Path, google: Path) -> None:
    tensors = as_google(weights_of(bert), "bert")
    write_bundle(google / "bert_model.ckpt", tensors)
    change(google, tensors)
    assert message in refused(google)


def test_the_place_of_a_checkpoint_is_its_folder(bert: Path, google: Path) -> None:
    """Google's own code takes the beginning of the names of the files; archives hold a folder."""
    write(google, as_google(weights_of(bert), "bert"))
    assert lw.load_encoder(google, device="cpu").family == "bert"
    with pytest.raises(
        ModelError, match="is the beginning of the names of .* files; give the folder that holds"
    ):
        lw.load_encoder(google / "bert_model.ckpt", device="cpu")
    with pytest.raises(ModelError, match=f"holds no config.json.*; give one of its folders, .*{google.name}"):
        lw.load_encoder(google.parent, device="cpu")


def test_a_vocabulary_that_is_too_small_is_a_note(bert: Path, google: Path) -> None:
    write(google, as_google(weights_of(bert), "bert"))
    assert not any("embedding table" in note for note in lw.load_encoder(google, device="cpu").notes)
    entries = (google / "vocab.txt").read_text(encoding="utf-8").splitlines()
    (google / "vocab.txt").write_text("\n".join(entries[:-3]), encoding="utf-8")
    (note,) = (n for n in lw.load_encoder(google, device="cpu").notes if "embedding table" in n)
    assert f"has {len(entries) - 3} tokens and its embedding table {len(entries)} entries" in note


def test_a_bad_checkpoint_is_one_line_of_the_command(
    google: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(google / "bert_model.ckpt", {"x/y": np.zeros(3000, "f4")})
    assert main(["show", "text", "--model", str(google)]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert len(streams.err.strip().splitlines()) == 1


@pytest.mark.parametrize("safe", [True, False])
def test_the_hub_is_asked_for_tensorflow_only_without_safetensors(
    safe: bool, bert: Path, google: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(google / "bert_model.ckpt", as_google(weights_of(bert), "bert"))
    asked: list[list[str]] = []

    def download(name: str, *, allow_patterns: list[str], **_: Any) -> str:
        asked.append(allow_patterns)
        return str(bert if safe else google)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    encoder = lw.load_encoder("user/multi_cased_L-3_H-32_A-4", device="cpu")
    assert ["*.index" in patterns for patterns in asked] == ([False] if safe else [False, True])
    assert encoder.checkpoint.do_lower_case is (None if safe else False)  # by the name on the hub


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("flax_model.msgpack", "a file of Flax"),
        ("model.gguf", "a file of llama.cpp"),
        ("model.onnx", "a file of ONNX"),
        ("model.keras", "an archive of Keras"),
        ("model.weights.h5", "a file of Keras"),
        ("saved_model.pb", "a SavedModel of TensorFlow without its variables"),
    ],
)
def test_other_files_are_refused_by_name(file: str, kind: str, bert: Path, tmp_path: Path) -> None:
    folder = as_transformers(bert, tmp_path / "model")
    (folder / file).write_bytes(b"x" * 3000)
    message = refused(folder)
    assert f"has its weights in {file!r}, {kind}, which isn't read" in message
    assert "holds no" not in message


def test_a_model_that_is_not_of_a_known_family(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = as_transformers(model_folder("roberta"), tmp_path / "model")
    write_bundle(folder / "model.ckpt", {"roberta/x": np.zeros(40_000, "f4")})
    assert "weights of TensorFlow are read for bert, albert, electra, and this is 'roberta'" in refused(
        folder
    )


def test_sharded_h5_names_files_of_its_folder(bert: Path, tmp_path: Path) -> None:
    folder = as_transformers(bert, tmp_path / "model")
    for shard in ("../x.h5", "gone.h5", "x.bin"):
        (folder / "tf_model.h5.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
        assert f"tf_model.h5.index.json names {shard!r}" in refused(folder)


def test_h5_that_is_none(bert: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    folder = as_transformers(bert, tmp_path / "model")
    (folder / "tf_model.h5").write_bytes(b"x" * 200_000)
    assert "tf_model.h5 is no HDF5 file, or damaged" in refused(folder)


def test_h5_without_h5py_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    assert "pip install 'layerwise[tensorflow]'" in refused(FIXTURES / "h5_bert")


def test_h5_data_that_are_not_plain(bert: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    folder = as_transformers(bert, tmp_path / "model")
    for settings in (
        {"compression": "gzip"},
        {"chunks": (1000,), "maxshape": (None,)},
        {"external": [("x.raw", 0, 4000)]},
    ):
        with h5py.File(folder / "tf_model.h5", "w") as file:
            file["pad"] = np.zeros(100_000, "f4")
            shape = (10**12,) if "chunks" in settings else (1000,)
            file.create_dataset("bert/x", shape, "f4", **settings)
        assert "'bert/x'" in refused(folder)


def test_names_of_the_writer_are_googles(bert: Path) -> None:
    assert (
        google_name("encoder.layer.0.attention.self.query.weight", "bert")
        == "bert/encoder/layer_0/attention/self/query/kernel"
    )
    assert google_name("embeddings.LayerNorm.weight", "bert") == "bert/embeddings/LayerNorm/gamma"
    assert torch.from_numpy(weights_of(bert)["pooler.dense.weight"]).shape == (32, 32)
