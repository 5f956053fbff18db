"""Which model it is: whatever can change a vector changes a hash, and only the folder's own files are loaded."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

import layerwise as lw
from conftest import FAMILIES, SMALL, make_model, make_tokenizer
from layerwise.encode.checkpoint import find_checkpoint
from layerwise.encode.model_file_names import is_read
from layerwise.errors import DatasetError, HeadError, LayerwiseError, ModelError
from reference import Plain, worst
from selection import few_of

TEXTS = ["Every layer of every ENCODER, as data.", "a word <new> b", "It's naïve: 3.14!"]


def change(path: Path, **entries: Any) -> None:
    """Set entries of a JSON file; those that are `None` are taken out."""
    before = json.loads(path.read_text()) if path.exists() else {}
    after = {key: value for key, value in {**before, **entries}.items() if value is not None}
    path.write_text(json.dumps(after))


def hashes(folder: Path, **options: Any) -> dict[str, str]:
    return find_checkpoint(folder, **options).hashes()


def with_recipe(folder: Path) -> Path:
    """Make a folder of sentence-transformers of a model's."""
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    modules += [{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    change(folder / "1_Pooling/config.json", word_embedding_dimension=32, pooling_mode="mean")
    change(folder / "sentence_bert_config.json", max_seq_length=24, do_lower_case=True)
    change(folder / "config_sentence_transformers.json", prompts={"query": "q: "}, default_prompt_name=None)
    return folder


def with_vocabulary(folder: Path) -> Path:
    """Turn a BERT's tokenizer.json into the files that the first ones had, with an added token."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in vocabulary))
    (folder / "tokenizer.json").unlink()
    change(
        folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", backend=None, model_max_length=40
    )
    change(folder / "added_tokens.json", **{"<new>": len(vocabulary)})
    change(folder / "special_tokens_map.json", unk_token="[UNK]", mask_token="[MASK]")
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture
def folder(bert: Path, tmp_path: Path) -> Path:
    """A BERT to do things to."""
    return Path(shutil.copytree(bert, tmp_path / "model"))


# Whatever file is changed, either the vectors are those of before or a hash is another.


def changed_values(value: Any, draw: random.Random) -> Iterator[Any]:
    """Yield other values in place of one of JSON."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield draw.choice([value + 1, value * 2, 0, -1])
    elif isinstance(value, str):
        yield draw.choice([value[:-1], value + "x", value.upper(), ""])
    yield draw.choice([None, "x", 3, [], {}, [1], {"a": 1}])


def changed_jsons(value: Any, draw: random.Random) -> Iterator[Any]:
    """Yield a JSON object with one entry changed, taken out or added; of a large one only some entries."""
    if not isinstance(value, dict | list) or not value:
        yield {"x": 1}
        return
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in draw.sample(keys, min(len(keys), 4)):
        inner = value[key]
        changes = (
            changed_jsons(inner, draw)
            if isinstance(inner, dict | list) and inner
            else changed_values(inner, draw)
        )
        for other in [next(changes)]:
            copied = value.copy()
            copied[key] = other
            yield copied
    key = draw.choice(keys)
    copied = value.copy()
    del copied[key]
    yield copied


# Files that a folder may have besides, of which some change vectors, some none, and some are refused.
ADDED: dict[str, Any] = {
    "added_tokens.json": {"word": 5},
    "special_tokens_map.json": {"unk_token": "a"},
    "vocab.json": {"a": 1},
    "vocab.txt": "a\nb\n",
    "merges.txt": "a b",
    "tokenizer.model": "x",
    "chat_template.jinja": "{{x}}",
    "generation_config.json": {"top_k": 2},
    "preprocessor_config.json": {"do_lower_case": True},
    "trainer_state.json": {"epoch": 1},
    "adapter_config.json": {},
    "modeling_mine.py": "raise ValueError",
    "README.md": "# words",
    "notes.txt": "a",
    "model-extra.safetensors": "x",
    "pytorch_model.bin": "x",
    "sentence_xlnet_config.json": {"max_seq_length": 5},
    "modules.json": [{"type": "sentence_transformers.Transformer", "path": ""}],
    "config_sentence_transformers.json": {"prompts": {"query": "q: "}, "default_prompt_name": "query"},
}


def changed_files(folder: Path, draw: random.Random) -> Iterator[tuple[Path, bytes]]:
    """Yield each file of a folder with other contents, and files that weren't there."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        raw = path.read_bytes()
        if path.suffix == ".json":
            for value in changed_jsons(json.loads(raw), draw):
                yield path, json.dumps(value).encode()
        for _ in range(3):
            place = draw.randrange(len(raw))
            yield path, raw[:place] + bytes([raw[place] ^ (1 << draw.randrange(8))]) + raw[place + 1 :]
        yield path, raw + b"more\n"
        yield path, raw[: draw.randrange(len(raw))]
    for name, value in ADDED.items():
        if not (folder / name).exists():
            yield folder / name, (value if isinstance(value, str) else json.dumps(value)).encode()


def vectors(folder: Path) -> list[NDArray[np.float32]]:
    encoder = lw.load_encoder(folder, device="cpu")
    return [encoder.encode(TEXTS).stack(), encoder.encode(TEXTS, level="token").stack()]


def outcome_of(folder: Path, expected_hashes: dict[str, str], before: list[NDArray[np.float32]]) -> str:
    """Return what becomes of a model with a changed file; `silent` is the fault."""
    try:
        if hashes(folder) != expected_hashes:
            lw.load_encoder(folder, device="cpu")
            return "another"
        same = all(np.array_equal(*pair) for pair in zip(vectors(folder), before, strict=True))
    except LayerwiseError:
        return "refused"
    return "same" if same else "silent"


@pytest.mark.parametrize(
    "kind",
    few_of(["bert", "recipe", "roberta", "vocabulary"], "bert"),
)
def test_a_changed_file_changes_a_hash_or_no_vector(kind: str, tmp_path: Path) -> None:
    draw = random.Random(kind)
    # The table has room for added tokens.
    folder = make_model("roberta" if kind == "roberta" else "bert", tmp_path / "model", vocab_size=420)
    if kind == "recipe":
        with_recipe(folder)
    if kind == "vocabulary":
        with_vocabulary(folder)
    before, expected_hashes = vectors(folder), hashes(folder)
    outcomes = dict.fromkeys(("same", "another", "refused"), 0)
    for path, raw in list(changed_files(folder, draw)):
        kept = path.read_bytes() if path.exists() else None
        path.write_bytes(raw)
        outcome = outcome_of(folder, expected_hashes, before)
        outcomes[outcome] += 1
        assert outcome != "silent", f"{path.name} changed to {raw[:200]!r}"
        if kept is None:
            path.unlink()
        else:
            path.write_bytes(kept)
    assert hashes(folder) == expected_hashes
    assert min(outcomes.values()) >= 3, outcomes


# Hashes.


def as_in_the_hubs_cache(folder: Path, cache: Path) -> Path:
    """Lay a folder out as the hub's cache does: a snapshot of links to blobs."""
    snapshot, blobs = cache / "models--some--bert/snapshots" / ("c" * 40), cache / "models--some--bert/blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        shutil.copy(path, blobs / str(number))
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
    return snapshot


def test_the_same_files_are_the_same_model_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    with_recipe(folder)
    expected_hashes = hashes(folder)
    assert hashes(Path(shutil.copytree(folder, tmp_path / "elsewhere/and/deeper"))) == expected_hashes
    snapshot = as_in_the_hubs_cache(folder, tmp_path / "cache")
    assert hashes(snapshot) == expected_hashes
    (tmp_path / "link").symlink_to(snapshot)
    assert hashes(tmp_path / "link") == expected_hashes
    got, expected = (
        lw.load_encoder(model, device="cpu").encode(TEXTS).stack() for model in (snapshot, folder)
    )
    assert np.array_equal(got, expected)


def test_a_relative_folder_is_the_same_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected_hashes = hashes(folder)
    monkeypatch.chdir(folder.parent)
    checkpoint = find_checkpoint("model")
    monkeypatch.chdir("/")
    assert checkpoint.hashes() == expected_hashes


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.safetensors", "weights"),
        ("tokenizer.json", "tokenizer"),
        ("tokenizer_config.json", "tokenizer"),
        ("added_tokens.json", "tokenizer"),
        ("special_tokens_map.json", "tokenizer"),
        ("vocab.txt", "tokenizer"),
        ("spiece.model", "tokenizer"),
        ("tokenizer.model.v3", "tokenizer"),
        ("qwen.tiktoken", "tokenizer"),
        ("source.spm", "tokenizer"),
        ("config.json", "config"),
        ("modeling_mine.py", "config"),
        ("deeper/inside/code.py", "config"),
        ("modules.json", "config"),
        ("1_Pooling/config.json", "config"),
        ("sentence_bert_config.json", "config"),
        ("sentence_xlm-roberta_config.json", "config"),
        ("config_sentence_transformers.json", "config"),
        ("README.md", None),
        ("LICENSE.txt", None),
        (".gitattributes", None),
        (".git/config.json", None),
        ("onnx/model.onnx", None),
        ("trainer_state.json", None),
        ("generation_config.json", None),
        ("checkpoint-5/config.json", None),
        ("pytorch_model.bin", None),
    ],
)
def test_a_hash_for_every_kind_of_file(name: str, part: str | None, folder: Path) -> None:
    with_recipe(folder)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text("{}")
    before = hashes(folder)
    path.write_bytes(path.read_bytes() + b" ")
    after = hashes(folder)
    assert [key for key in before if before[key] != after[key]] == ([part] if part else [])


def test_all_files_of_all_tokenizers_count() -> None:
    """Those of the installed transformers: the rule of suffixes rests on that."""
    root = Path(transformers.__file__).parent
    named: set[str] = set()
    for path in [*root.glob("*.py"), *root.glob("models/*/tokenization_*.py")]:
        for names in re.findall(r"VOCAB_FILES_NAMES = (\{.*?\})", path.read_text(), re.DOTALL):
            named |= set(re.findall(r'"([\w.-]+\.\w+)"', names))
        named |= set(
            re.findall(r'^[A-Z_]+_FILE(?:_NAME)? = "([\w.-]+\.\w+)"', path.read_text(), re.MULTILINE)
        )
    assert {
        "tokenizer.json",
        "vocab.txt",
        "merges.txt",
        "spiece.model",
        "source.spm",
        "added_tokens.json",
    } <= named
    left_out = {name for name in named if not is_read(Path(name))}
    assert left_out <= {"chat_template.jinja", "audio_tokenizer_config.jinja"}, left_out


def test_with_code_of_its_own_all_files_count(folder: Path) -> None:
    (folder / "table.npz").write_bytes(b"1")
    before = hashes(folder)
    change(folder / "config.json", auto_map={"AutoModel": "mine.MyModel"})
    with_code = hashes(folder)
    (folder / "table.npz").write_bytes(b"2")
    (folder / "README.md").write_text("words")
    (folder / "LICENSE").write_text("words")
    assert hashes(folder)["config"] != with_code["config"] != before["config"]
    (folder / "table.npz").write_bytes(b"1")
    assert hashes(folder)["config"] == with_code["config"]
    for name in ("license.py", "readme_model.py", "sub/notice.py", "notice.npz", "trainer_state.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("1")
        assert hashes(folder)["config"] != with_code["config"]
        with_code = hashes(folder)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("tokenizer.model-old", b"x"),
        ("tekken.json.bak", b"x"),
        ("tokenizer.json~", b"{}"),
        ("my tiktoken.model", b"x"),
        ("tokenizer.model", None),
    ],
)
def test_what_is_only_called_like_a_vocabulary_is_refused(
    name: str, what: bytes | None, folder: Path, tmp_path: Path
) -> None:
    """Without a tokenizer.json, transformers would take it for the vocabulary, and know no word."""
    expected = lw.load_encoder(folder, device="cpu").encode(TEXTS).stack()
    kept = Path(shutil.copytree(folder, tmp_path / "with-tokenizer-json"))
    with_vocabulary(folder)
    (folder / "added_tokens.json").unlink()
    for place in (folder, kept):
        (place / name).mkdir() if what is None else (place / name).write_bytes(what)
    with pytest.raises(ModelError, match=re.escape(name)):
        lw.load_encoder(folder, device="cpu")
    if what is not None:  # beside a tokenizer.json it does no harm
        assert np.array_equal(lw.load_encoder(kept, device="cpu").encode(TEXTS).stack(), expected)


def test_two_vocabularies_of_which_either_may_be_read_are_refused(folder: Path) -> None:
    with_vocabulary(folder)
    for name in ("tekken.json", "tokenizer.model"):
        (folder / name).write_text("{}")
    with pytest.raises(ModelError, match="'tekken.json', 'tokenizer.model', and transformers reads"):
        lw.load_encoder(folder, device="cpu")


@pytest.mark.parametrize(
    "family", ["BertTokenizer", "RobertaTokenizer", "XLMRobertaTokenizer", "T5Tokenizer"]
)
def test_a_tokenizer_without_a_vocabulary_is_refused(family: str, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocabulary.model").write_bytes(b"x")
    change(folder / "tokenizer_config.json", tokenizer_class=family, backend=None)
    with pytest.raises(ModelError, match=f"its tokenizer \\({family}\\) knows no tokens but the"):
        lw.load_encoder(folder, device="cpu")


def test_names_of_any_bytes_have_a_hash(folder: Path, tmp_path: Path) -> None:
    before = hashes(folder)
    for name in (b"\xff.json", b"two\nlines.json"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("{}")
        assert hashes(folder) != before
        before = hashes(folder)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xfe.bin")).write_text("x")
    (tmp_path / "texts.txt").write_text("a\n")
    data = lw.extract(tmp_path / "texts.txt", tmp_path / "data", model=folder, device="cpu")
    assert len(data.manifest.model.unused.files) == 1


def test_a_name_of_several_lines_does_not_pass_for_several_files(tmp_path: Path) -> None:
    from layerwise.encode.model_files import _hash_files

    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    (tmp_path / "c").write_text("3")
    several = _hash_files(tmp_path, ["a", "b", "c"])
    name = f"a\n{_hash_files(tmp_path, ['b'])}  b"
    (tmp_path / name.replace("/", "")).write_text("1")
    assert _hash_files(tmp_path, [name, "c"]) != several


def test_files_that_change_after_loading_are_not_taken_for_what_was_loaded(folder: Path) -> None:
    encoder = lw.load_encoder(folder, device="cpu")
    change(folder / "tokenizer_config.json", do_lower_case=True)
    with pytest.raises(ModelError, match="have changed since they were read; load it again"):
        encoder.hashes  # noqa: B018


def test_everything_that_compares_models_compares_the_whole_model(folder: Path, tmp_path: Path) -> None:
    with_recipe(folder)
    source = tmp_path / "texts.csv"
    source.write_text("text,label\n" + "".join(f"Text {n} of them,{'ab'[n % 2]}\n" for n in range(12)))
    options: dict[str, Any] = {"model": folder, "device": "cpu"}
    lw.extract(source, tmp_path / "data", **options)
    lw.train(tmp_path / "data", task="classify", label="label", mix="3", out=tmp_path / "head")
    features = lw.LayerFeatures(str(folder), mix="3").fit(["a", "b"])
    change(folder / "sentence_bert_config.json", do_lower_case=False)
    with pytest.raises(DatasetError, match="config"):
        lw.extract(source, tmp_path / "data", **options)
    with pytest.raises(DatasetError, match="config"):
        lw.extract(source, tmp_path / "data", append=True, **options)
    lw.extract(source, tmp_path / "other", **options)
    with pytest.raises(DatasetError, match="config"):
        lw.merge([tmp_path / "data", tmp_path / "other"], tmp_path / "both")
    with pytest.raises(ModelError, match="its config differs"):
        lw.verify(tmp_path / "data", device="cpu")
    with pytest.raises(HeadError, match="is a different model \\(config"):
        lw.load_head(tmp_path / "head").predict(["a"])
    with pytest.raises(ModelError, match="isn't the model that was used in fit"):
        features.transform(["a"])
    (tmp_path / "data/shards").rename(tmp_path / "gone")
    (tmp_path / "data/shards").mkdir()
    with pytest.raises(LayerwiseError, match="config"):
        lw.repair(tmp_path / "data", source=source)


# What is not used is named.

HEADS = {
    "BertForPreTraining": ["cls.*", "pooler.*"],
    "BertForMaskedLM": ["cls.*"],
    "BertForSequenceClassification": ["classifier.*", "pooler.*"],
    "BertForTokenClassification": ["classifier.*"],
    "BertForQuestionAnswering": ["qa_outputs.*"],
}


def save_with_head(name: str, folder: Path, *, old: bool = False) -> None:
    """Write a BERT with a head as transformers does, or with the names that its first checkpoints had."""
    from safetensors.torch import load_file, save_file

    tokenizer = make_tokenizer("wordpiece")
    config = transformers.BertConfig(vocab_size=len(tokenizer), num_labels=3, **SMALL)
    torch.manual_seed(11)
    model = getattr(transformers, name)(config)
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if old:
        tensors = load_file(folder / "model.safetensors")
        renamed = {
            re.sub(
                r"LayerNorm\.bias$", "LayerNorm.beta", re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", key)
            ): value
            for key, value in tensors.items()
        }
        assert sum(key.endswith(("gamma", "beta")) for key in renamed) >= 14
        assert all(key.startswith(("bert.", "cls.", "classifier.")) for key in renamed)
        save_file(renamed, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("old", [False, True], ids=["today", "as-bert-base-uncased"])
@pytest.mark.parametrize("name", HEADS)
def test_a_fine_tuned_bert_is_exact_and_its_head_is_named(name: str, old: bool, tmp_path: Path) -> None:
    if old and name == "BertForQuestionAnswering":
        pytest.skip("never saved so")
    save_with_head(name, tmp_path / "model", old=old)
    encoder = lw.load_encoder(tmp_path / "model", device="cpu")
    plain = Plain(tmp_path / "model")
    states = encoder.encode(TEXTS, level="token")
    for doc, text in enumerate(TEXTS):
        expected = plain.states(plain.raw(text)["input_ids"])
        assert worst(states.stack()[:, states.where(doc=doc)], expected) <= 1e-5
    assert encoder.description["unused"]["tensors"] == HEADS[name]


def test_unused_files_and_tensors_stand_in_info_and_manifest(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from layerwise.cli.main import main

    for name in ("model.fp16.safetensors", "onnx/model.onnx", "tf_model.h5", "adapter_model.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    unused = {
        "tensors": ["pooler.*"],
        "files": ["adapter_model.safetensors", "model.fp16.safetensors", "onnx/model.onnx", "tf_model.h5"],
    }
    (tmp_path / "texts.txt").write_text("a\nb\n")
    data = lw.extract(tmp_path / "texts.txt", tmp_path / "data", model=folder, device="cpu")
    assert data.manifest.to_json()["model"]["unused"] == unused
    for what in (folder, tmp_path / "data"):
        assert main(["info", str(what), "--json"]) == 0
        description = json.loads(capsys.readouterr().out)
        assert (description if what == folder else description["model"])["unused"] == unused
        assert main(["info", str(what)]) == 0
        shown = capsys.readouterr().out
        assert "unused tensors  pooler.*\n" in shown
        assert f"unused files    {', '.join(unused['files'])}\n" in shown


def test_the_decoder_of_t5_is_named_and_so_are_blocks_too_many(tmp_path: Path, folder: Path) -> None:
    tokenizer = make_tokenizer("unigram", ends_only=True)
    config = transformers.AutoConfig.for_model("t5", **FAMILIES["t5"][1], vocab_size=len(tokenizer))
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    unused = lw.load_encoder(tmp_path / "t5", device="cpu").description["unused"]["tensors"]
    assert "decoder.*" in unused
    assert not any(name.startswith(("encoder", "shared")) for name in unused)
    change(folder / "config.json", num_hidden_layers=2)
    unused = lw.load_encoder(folder, device="cpu").description["unused"]["tensors"]
    assert unused == ["encoder.layer.2.*", "pooler.*"]


# Tokenizers.


def test_a_cased_vocabulary_that_is_made_lower_case_is_a_note(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    shutil.copy(bert / "model.safetensors", folder)
    shutil.copy(bert / "config.json", folder)
    words = list(json.loads((bert / "tokenizer.json").read_text())["model"]["vocab"])
    uncased = "".join(f"{word}\n" for word in words)
    (folder / "vocab.txt").write_text(uncased)
    assert lw.load_encoder(folder, device="cpu").notes == ()
    capitals = [word.upper() if word.islower() and word.upper() not in words else word for word in words]
    cased = "".join(f"{word}\n" for word in dict.fromkeys(capitals))
    (folder / "vocab.txt").write_text(cased)
    (note,) = lw.load_encoder(folder, device="cpu").notes
    assert re.search(
        r"is cased \(\d+ of \d+ entries hold capitals\).*makes texts lower case.*do_lower_case", note
    )
    change(folder / "tokenizer_config.json", do_lower_case=False)
    assert lw.load_encoder(folder, device="cpu").notes == ()


# What is loaded lies in the folder.


def pickled(folder: Path, name: str) -> None:
    """Write a pickle that leaves a mark when it is read, where weights are looked for."""
    (folder / name).write_bytes(b"cposix\nsystem\n(S'touch " + str(folder / "ran").encode() + b"'\ntR.")


@pytest.mark.parametrize(
    "name", ["adapter_model.bin", "other.safetensors", "../other.safetensors", "x.safetensors.index.json", 7]
)
def test_a_configuration_does_not_name_the_weights(name: Any, folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder.parent / "other.safetensors")
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    pickled(folder, "adapter_model.bin")
    change(folder / "config.json", transformers_weights=name)
    with pytest.raises(ModelError, match="names the file of its weights"):
        lw.load_encoder(folder, device="cpu")
    assert not (folder / "ran").exists()


def with_index(folder: Path, place: str | None = None) -> None:
    """Part the weights of a folder in two files with an index; `place` is where it says that the first tensor is."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for file, members in files.items():
        save_file({name: tensors[name] for name in members}, folder / file, {"format": "pt"})
    placed = {name: file for file, members in files.items() for name in members}
    placed[names[0]] = place or placed[names[0]]
    index = {"metadata": {"total_size": 1}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_several_files_of_weights(folder: Path, bert: Path) -> None:
    with_index(folder)
    expected = lw.load_encoder(bert, device="cpu").encode(TEXTS).stack()
    assert np.array_equal(lw.load_encoder(folder, device="cpu").encode(TEXTS).stack(), expected)
    (folder / "model-00009-of-00009.safetensors").write_bytes(b"left over")
    files = find_checkpoint(folder).files
    assert files.weights == (
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    )
    assert files.unused == ("model-00009-of-00009.safetensors",)


@pytest.mark.parametrize(
    "place", ["../other.safetensors", "pickled.bin", "sub/model.safetensors", "..", "gone.safetensors"]
)
def test_an_index_names_files_beside_it(place: str, folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder.parent / "other.safetensors")
    pickled(folder, "pickled.bin")
    with_index(folder, place)
    with pytest.raises(
        ModelError, match=r"model.safetensors.index.json names '.*', which doesn't exist|may only name files"
    ):
        lw.load_encoder(folder, device="cpu")
    assert not (folder / "ran").exists()


def test_an_index_of_pickles_names_pickles_beside_it(folder: Path) -> None:
    with_index(folder, "../other.bin")
    (folder / "model.safetensors.index.json").rename(folder / "pytorch_model.bin.index.json")
    with pytest.raises(ModelError, match="it may only name files"):
        lw.load_encoder(folder, device="cpu", allow_pickle=True)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json", "1_Pooling"]
)
def test_links_that_lead_out_are_refused(name: str, folder: Path, tmp_path: Path) -> None:
    with_recipe(folder)
    outside = tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(
        ModelError, match=r"is a link to .*outside, outside the model's folder|is a link to .*outside/config"
    ):
        lw.load_encoder(folder, device="cpu")
    (folder / name).unlink()
    outside.rename(folder / "kept")  # a link within is as good as a file
    (folder / name).symlink_to(folder / "kept")
    assert lw.load_encoder(folder, device="cpu").blocks == 3


@pytest.mark.parametrize(
    "name",
    [
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "model.safetensors",
    ],
)
@pytest.mark.parametrize("what", ["a link to nothing", "a loop", "a folder", "a pipe"])
def test_what_can_not_be_read_is_not_taken_for_missing(name: str, what: str, folder: Path) -> None:
    with_recipe(folder)
    (folder / name).unlink(missing_ok=True)
    if what == "a folder":
        (folder / name).mkdir()
    elif what == "a pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("gone" if what == "a link to nothing" else Path(name).name)
    with pytest.raises(ModelError, match=re.escape(name)):
        lw.load_encoder(folder, device="cpu")


def test_a_link_of_a_name_of_several_lines_is_one_line(folder: Path) -> None:
    (folder.parent / "outside.json").write_text("{}")
    (folder / "two\nlines.json").symlink_to(folder.parent / "outside.json")
    with pytest.raises(ModelError, match="two lines.json is a link to .*outside.json, outside"):
        lw.load_encoder(folder, device="cpu")


def test_blobs_that_lead_out_of_the_hubs_cache_are_refused(folder: Path, tmp_path: Path) -> None:
    snapshot = as_in_the_hubs_cache(folder, tmp_path / "cache")
    blob = (snapshot / "config.json").resolve()
    blob.rename(tmp_path / "stolen.json")
    blob.symlink_to(tmp_path / "stolen.json")
    with pytest.raises(ModelError, match="is a link to .*stolen.json, outside the model's folder"):
        lw.load_encoder(snapshot, device="cpu")


@pytest.mark.parametrize(
    ("file", "entries"),
    [
        ("config.json", {"configuration_files": ["config.4.0.0.json", "config./../../x.json"]}),
        ("config.json", {"configuration_files": "../config.4.0.0.json"}),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["../tokenizer.4.0.0.json"]}),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["tokenizer.4.0.0.json.old"]}),
        ("config.json", {"attn_implementation": "their/kernel"}),
        ("config.json", {"text_config": {"_attn_implementation": {"": "their/kernel:run"}}}),
        ("tokenizer_config.json", {"vocab": "vocab.txt"}),
        ("tokenizer_config.json", {"init_inputs": ["vocab.txt"]}),
        ("tokenizer_config.json", {"gguf_file": "x.gguf"}),
        ("tokenizer_config.json", {"merges_file": "OUTSIDE"}),
        ("special_tokens_map.json", {"tokenizer_file": "OUTSIDE"}),
        ("special_tokens_map.json", {"vocab_file": "vocab.txt"}),
        ("special_tokens_map.json", {"vocab": "OUTSIDE"}),
    ],
)
def test_entries_that_name_other_files_are_refused(file: str, entries: dict[str, Any], folder: Path) -> None:
    outside = folder.parent / "other.json"
    shutil.copy(folder / "tokenizer.json", outside)
    change(folder / file, **json.loads(json.dumps(entries).replace("OUTSIDE", str(outside))))
    with pytest.raises(ModelError, match=f"{file} names .* only the folder's own files are read"):
        lw.load_encoder(folder, device="cpu")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"transformers_weights": "other.safetensors"}, "config.4.0.0.json names the file of its weights"),
        (
            {"text_config": {"transformers_weights": "x.bin"}},
            "config.4.0.0.json names the file of its weights",
        ),
        ({"attn_implementation": "their/kernel"}, "config.4.0.0.json names 'their/kernel'"),
        ({"hidden_size": 10**9}, "hidden_size is 1000000000 in .*config.4.0.0.json"),
        ({"auto_map": {"AutoConfig": "../mine.MyConfig"}}, "config.4.0.0.json takes code from"),
    ],
)
def test_a_configuration_for_another_version_is_looked_at_as_well(
    entries: dict[str, Any], message: str, folder: Path
) -> None:
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    shutil.copy(folder / "config.json", folder / "config.4.0.0.json")
    change(folder / "config.json", configuration_files=["config.4.0.0.json"])
    assert lw.load_encoder(folder, device="cpu").blocks == 3
    change(folder / "config.4.0.0.json", **entries)
    with pytest.raises(ModelError, match=message):
        lw.load_encoder(folder, device="cpu", trust_remote_code="auto_map" in entries)


def test_what_old_versions_wrote_of_files_that_are_gone_is_passed_over(folder: Path, bert: Path) -> None:
    change(
        folder / "tokenizer_config.json",
        special_tokens_map_file="/home/them/.cache/special_tokens_map.json",
        tokenizer_file="/home/them/.cache/3f2a",
        vocab_file=None,
        name_or_path="old_models/bert",
    )
    expected = lw.load_encoder(bert, device="cpu").encode(TEXTS).stack()
    assert np.array_equal(lw.load_encoder(folder, device="cpu").encode(TEXTS).stack(), expected)


CODE = """
from transformers import BertConfig, BertModel

class MyConfig(BertConfig):
    model_type = "mine"

class MyModel(BertModel):
    config_class = MyConfig
"""


def test_code_that_is_run_makes_another_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    code = CODE.replace('"mine"', '"bert"') + (
        "    def forward(self, *args, **given):\n"
        "        made = super().forward(*args, **given)\n"
        "        if made.hidden_states is not None:\n"
        "            made.hidden_states = tuple(state + 1 for state in made.hidden_states)\n"
        "        return made\n"
    )
    (folder / "mine.py").write_text(code)
    change(folder / "config.json", auto_map={"AutoConfig": "mine.MyConfig", "AutoModel": "mine.MyModel"})
    without_code = lw.load_encoder(folder, device="cpu")
    (note,) = without_code.notes
    assert "brings code of its own, which isn't run" in note
    with_code = lw.load_encoder(folder, device="cpu", trust_remote_code=True)
    assert with_code.notes == ()
    assert np.abs(with_code.encode(TEXTS).stack() - without_code.encode(TEXTS).stack()).max() > 0.9
    assert with_code.hashes["config"] != without_code.hashes["config"]
    change(folder / "config.json", auto_map={"AutoModelForMaskedLM": "mine.MyModel"})  # isn't loaded
    same = [lw.load_encoder(folder, device="cpu", trust_remote_code=trusted) for trusted in (False, True)]
    assert same[0].hashes == same[1].hashes
    assert same[0].notes == ()


@pytest.mark.parametrize(
    ("reference", "loads"),
    [
        ("mine.MyModel", True),
        ("other/repo--mine.MyModel", False),
        ("OUTSIDE.MyModel", False),
        ("../mine.MyModel", False),
        ("gone.MyModel", False),
        (["mine.MyModel", None, 7], False),
    ],
)
def test_code_of_other_places_is_not_run(
    reference: Any, loads: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    (folder / "mine.py").write_text(CODE)
    shutil.copy(folder / "mine.py", tmp_path / "mine.py")
    if isinstance(reference, str):
        reference = reference.replace("OUTSIDE", str(tmp_path / "mine"))
    auto_map = {"AutoConfig": "mine.MyConfig", "AutoModel": reference}
    change(folder / "config.json", model_type="mine", auto_map=auto_map)
    if loads:
        monkeypatch.syspath_prepend(str(tmp_path / "modules"))
        assert lw.load_encoder(folder, device="cpu", trust_remote_code=True).family == "mine"
    else:
        with pytest.raises(ModelError, match="takes code from .*, which is no file of its folder"):
            lw.load_encoder(folder, device="cpu", trust_remote_code=True)
    with pytest.raises(ModelError, match="trust_remote_code=True"):
        lw.load_encoder(folder, device="cpu")


def test_entries_of_the_wrong_kind_are_one_line(folder: Path) -> None:
    for name, text in [
        ("config.json", "[]"),
        ("config.json", "[" * 100_000),
        ("config.json", json.dumps({"model_type": "bert"})[:-1] + ', "x": ' + "[" * 900 + "]" * 900 + "}"),
        ("modules.json", "[" * 100_000),
        ("tokenizer_config.json", '"x"'),
        ("special_tokens_map.json", "[1]"),
        ("config.json", json.dumps({"model_type": "bert", "hidden_size": "wide"})),
        ("config.json", json.dumps({"model_type": ["bert"]})),
        ("tokenizer.json", json.dumps({"version": "1.0", "model": 3, "added_tokens": []})),
        ("tokenizer.json", "{}"),
    ]:
        kept = (folder / name).read_text() if (folder / name).exists() else None
        (folder / name).write_text(text)
        with pytest.raises(ModelError):
            lw.load_encoder(folder, device="cpu")
        (folder / name).unlink()
        if kept is not None:
            (folder / name).write_text(kept)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"num_hidden_layers": 0}, "no layers"),
        ({"num_labels": 2**31}, "num_labels is 2147483648"),
        ({"intermediate_size": 10**6}, r"describes [\d,]+ numbers and its weights have [\d,]+ bytes"),
        (
            {"hidden_size": 400_000, "intermediate_size": 10**6},
            "describes .* so these are cut off or of another model",
        ),
        ({"quantization_config": {"quant_method": "new"}}, "weights are quantized by 'new'"),
        ({"hidden_size": 64}, "its weights have other shapes than its config.json says"),
    ],
)
def test_sizes_that_are_not_those_of_the_weights(entries: dict[str, Any], message: str, folder: Path) -> None:
    change(folder / "config.json", **entries)
    with pytest.raises(ModelError, match=message):
        lw.load_encoder(folder, device="cpu")


def test_weights_that_are_no_numbers_are_told_as_such(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight"][:] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="gives numbers that aren't finite; its weights are damaged"):
        lw.load_encoder(folder, device="cpu")


@pytest.mark.parametrize(
    ("family", "entry"),
    [("albert", "inner_group_num"), ("mobilebert", "num_feedforward_networks"), ("deberta-v2", None)],
)
def test_counts_of_parts_are_bounded(
    family: str, entry: str | None, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model_folder(family), tmp_path / "model"))
    change(folder / "config.json", **({entry: 10**6} if entry else {"num_hidden_layers": 0}))
    with pytest.raises(ModelError, match=entry or "gives no layers but emb"):
        lw.load_encoder(folder, device="cpu")


def unknown_token_gone(kind: str, folder: Path) -> None:
    """Let a tokenizer fail at what it doesn't know."""
    if kind == "map":
        with_vocabulary(folder)
        (folder / "added_tokens.json").unlink()
        change(folder / "special_tokens_map.json", unk_token=None)
        (folder / "special_tokens_map.json").write_text('{"unk_token": null}')
        return
    spec = json.loads((folder / "tokenizer.json").read_text())
    if kind == "unigram":
        spec["model"]["unk_id"] = None
    else:
        spec["model"]["unk_token"] = "[GONE]"
    (folder / "tokenizer.json").write_text(json.dumps(spec))


@pytest.mark.parametrize("kind", ["map", "wordpiece", "unigram"])
def test_a_tokenizer_that_fails_at_a_text_is_one_line(
    kind: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    family = "xlm-roberta" if kind == "unigram" else "bert"
    folder = Path(shutil.copytree(model_folder(family), tmp_path / "model"))
    unknown_token_gone(kind, folder)
    for level in ("text", "token", "word"):
        for texts in (["a", "☃ ☄"], [["a", "☃"]]):
            with pytest.raises(ModelError, match="can.t tokenise a text|unknown"):
                lw.load_encoder(folder, device="cpu").encode(texts, level=level)


@pytest.mark.parametrize("token", ["", {}, {"content": ""}])
def test_an_unknown_token_that_is_none_is_one_line(token: Any, folder: Path) -> None:
    (folder / "special_tokens_map.json").write_text(json.dumps({"unk_token": token}))
    with pytest.raises(ModelError, match="its tokenizer's unknown token '' is none of its tokens"):
        lw.load_encoder(folder, device="cpu")


def test_weights_in_further_files_are_not_loaded_unknown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers.BertConfig, "extra_files", ("head.safetensors",), raising=False)
    assert lw.load_encoder(folder, device="cpu").blocks == 3
    shutil.copy(folder / "model.safetensors", folder / "head.safetensors")
    with pytest.raises(ModelError, match=r"has weights in further files \(head.safetensors\)"):
        lw.load_encoder(folder, device="cpu")
