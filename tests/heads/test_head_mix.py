"""The trained mix of a head as an embedding: what its classifier sees, computed from its files in plain numpy."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from scipy.special import erf
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import layerwise as lw
from conftest import CORPUS
from layerwise import mixes, states
from layerwise.cli.main import main
from layerwise.errors import HeadError, RequestError
from layerwise.heads.layer_features import LayerFeatures

Array = np.ndarray[Any, Any]
Run = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mixes")


@pytest.fixture(scope="module")
def texts(place: Path, encoder_of: Callable[[str], Any]) -> Any:
    lines = [
        {"text": f"{text} {n}", "label": "ab"[n % 2], "n": n, "tags": ["x", "y"][: n % 3]}
        for n, text in enumerate(CORPUS * 2)
    ]
    source = place / "texts.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lw.extract(source, place / "texts.lw", model=encoder_of("bert"), dtype="float32", shard_texts=8)


@pytest.fixture(scope="module")
def pairs(place: Path, encoder_of: Callable[[str], Any]) -> Any:
    lines = [{"a": f"{x} one", "b": f"{y} two", "same": float(x == y)} for x in "uvwx" for y in "uvwx"]
    (place / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lw.extract(
        place / "pairs.jsonl", place / "pairs.lw", model=encoder_of("bert"), text="a,b", dtype="float32"
    )


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: object) -> SimpleNamespace:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return SimpleNamespace(code=code, **capsys.readouterr()._asdict())

    return call


def reference(folder: Path, layers: dict[str, Array], number: int = 0, hidden: bool = False) -> Array:
    """The input of a head's last matrix (`hidden`) or first one, from its files alone, in float64."""
    task = json.loads((folder / "head.json").read_text(encoding="utf-8"))["tasks"][number]
    tensors = {
        name.partition(".")[2]: values.astype(np.float64)
        for name, values in load_file(folder / "head.safetensors").items()
        if name.startswith(f"{number}.")
    }
    how, _, inner = task["mix"].rstrip(")").rpartition("(")
    names, *options = (part.strip() for part in inner.split(";"))
    planes = [layers[name].astype(np.float64) for name in names.split(",")]
    if "norm=layer" in options and how != "learned":
        planes = [
            (p - m) / s for p, m, s in zip(planes, tensors["norm.mean"], tensors["norm.std"], strict=True)
        ]
    if how == "mean":
        planes = [sum(planes) / len(planes)]  # type: ignore[list-item]
    if how == "concat":
        planes = [np.concatenate(planes, axis=1)]
    mixed = 0
    for plane, mean, std, weight in zip(
        planes, tensors["mean"], tensors["std"], tensors["mix.weights"], strict=True
    ):
        mixed = mixed + tensors["mix.scale"][0] * weight * (plane - mean) / std
    if hidden:
        before = mixed @ tensors["hidden.weight"] + tensors["hidden.bias"]
        return np.asarray(before * 0.5 * (1 + erf(before / np.sqrt(2))))
    return np.asarray(mixed)


def layers_of(rows: Any) -> dict[str, Array]:
    return {name: rows.layer(name) for name in rows.layers}


def logits(folder: Path, seen: Array) -> Array:
    tensors = load_file(folder / "head.safetensors")
    return np.asarray(seen @ tensors["0.weight"] + tensors["0.bias"])


@pytest.mark.parametrize("mix", ["2", "mean(1,3)", "concat(1,2; norm=layer)", "learned(all)"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_mix_of_a_head_is_what_its_classifier_sees(
    texts: Any, place: Path, mix: str, kind: str, encoder_of: Callable[[str], Any]
) -> None:
    out = place / f"{kind} {mix}.head"
    options: dict[str, Any] = {"head_type": kind, "draws": 0, "epochs": 8}
    lw.train(texts, task="classify", label="label", mix=mix, out=out, **options)
    head = lw.load_head(out, device="cpu")
    mixed = texts.mix(head)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, reference(out, layers_of(texts)), atol=1e-6, rtol=1e-6)
    seen = mixed
    if kind == "mlp":
        seen = texts.mix(head, hidden=True)
        assert seen.shape == (len(texts), 128)
        np.testing.assert_allclose(seen, reference(out, layers_of(texts), hidden=True), atol=1e-6, rtol=1e-6)
    read = texts.layer
    np.testing.assert_allclose(logits(out, seen), head.task_heads[0].scores(read, False), atol=1e-5)
    states = encoder_of("bert").encode(texts.texts["text"].to_pylist())
    np.testing.assert_allclose(states.mix(head), mixed, atol=1e-4)


def test_a_hidden_layer_that_tasks_share_and_several_tasks(texts: Any, place: Path) -> None:
    out = place / "two.head"
    lw.train(
        texts,
        tasks={"mood": "classify:label", "size": "regress:n"},
        mix={"mood": "1", "size": "3"},
        shared_hidden=8,
        epochs=4,
        out=out,
    )
    head = lw.load_head(out)
    for number, name in enumerate(("mood", "size")):
        for hidden in (False, True):
            expected = reference(out, layers_of(texts), number, hidden)
            np.testing.assert_allclose(
                texts.mix(head, task=name, hidden=hidden), expected, atol=1e-6, rtol=1e-6
            )
    with pytest.raises(RequestError) as refusal:
        texts.mix(head)
    assert str(refusal.value) == "the head has several tasks, each with its mix: mood, size; name one in task"
    with pytest.raises(RequestError, match="task='x': the head has no such task; there are mood, size"):
        texts.mix(head, task="x")


def test_a_head_of_pairs_gives_a_vector_per_pair(pairs: Any, place: Path) -> None:
    head = lw.train(pairs, task="regress", label="same", mix="mean(1,2)", out=place / "pairs.head")
    mixed = pairs.mix(head)
    assert mixed.shape == (16, 2 * pairs.width + 1)
    a, b = (pairs.mix("mean(1,2)")[side::2].astype(np.float64) for side in (0, 1))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    features = np.concatenate([cosine[:, None], np.abs(a - b), a * b], axis=1)
    tensors = load_file(place / "pairs.head" / "head.safetensors")
    np.testing.assert_allclose(mixed, (features - tensors["0.mean"]) / tensors["0.std"], atol=1e-4)
    with pytest.raises(RequestError, match="an export has a row per text"):
        lw.export(pairs, place / "x", mix=head)
    with pytest.raises(RequestError, match="a pipeline takes single texts"):
        LayerFeatures(head.encoder, mix=head).fit(["a"])


def test_memory_holds_a_block_of_rows(texts: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a few rows of a layer are read at once; parts give the same as the whole."""
    head = lw.train(texts, task="classify", label="label", mix="learned(all)", draws=0, epochs=4)
    whole = texts.mix(head)
    monkeypatch.setattr(mixes, "_BLOCK", 4 * texts.width * 3)
    sizes = []
    finite = states.Layered._finite

    def watched(self: Any, name: str, rows: Any) -> Any:
        values = finite(self, name, rows)
        sizes.append(len(values))
        return values

    monkeypatch.setattr(states.Layered, "_finite", watched)
    np.testing.assert_allclose(texts.mix(head), whole, atol=1e-6)
    assert max(sizes) == 3
    parts = np.concatenate([part.mix(head) for part in texts.parts()])
    np.testing.assert_allclose(parts, whole, atol=1e-6)


# --- export -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [False, True])
def test_export_writes_the_vectors(texts: Any, place: Path, run: Run, hidden: bool) -> None:
    out = place / "export.head"
    if not out.exists():
        lw.train(texts, task="classify", label="label", mix="mean(1:)", head_type="mlp", epochs=3, out=out)
    head = lw.load_head(out)
    expected = texts.mix(head, hidden=hidden)
    flags = ["--hidden"] if hidden else []
    for to in ("npy", "parquet"):
        file = place / f"{to}{hidden}"
        ended = run("export", texts.path, "--to", to, "--mix", out, *flags, "--out", file)
        assert (ended.code, ended.err) == (0, "")
        is_folder = to == "npy"
        values: Any = np.load(file / "mix.npy") if is_folder else pq.read_table(file)["mix"].to_pylist()
        np.testing.assert_allclose(np.asarray(values, np.float32), expected, atol=1e-6)
    lw.export(texts, place / f"python{hidden}", to="npy", mix=head, hidden=hidden)
    np.testing.assert_allclose(np.load(place / f"python{hidden}" / "mix.npy"), expected, atol=1e-6)


def test_a_name_that_is_a_mix_and_a_folder(
    texts: Any, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    lw.train(texts, task="classify", label="label", mix="1", out="2")
    for mix, expected in (("2", texts.layer("2")), ("./2", texts.mix(lw.load_head("2")))):
        out = f"out{len(mix)}"
        assert run("export", texts.path, "--to", "npy", "--mix", mix, "--out", out).code == 0
        np.testing.assert_allclose(np.load(f"{out}/mix.npy"), expected, atol=1e-6)


# --- scikit-learn ------------------------------------------------------------------------------------------------


def test_features_of_texts(texts: Any, place: Path, encoder_of: Callable[[str], Any]) -> None:
    some: dict[str, Any] = {"task": "classify", "label": "label", "epochs": 4, "draws": 0}
    heads = [
        lw.train(texts, mix="learned(all)", **some),
        lw.train(texts, mix="mean(1,2)", head_type="mlp", **some),
    ]
    strings = texts.texts["text"].to_pylist()
    for head in heads:
        features = LayerFeatures(encoder_of("bert"), mix=head)
        np.testing.assert_allclose(features.fit_transform(strings), texts.mix(head), atol=1e-4)
        assert features.transform([]).shape == (0, texts.width)
        assert len(features.get_feature_names_out()) == texts.width
    hidden = LayerFeatures(encoder_of("bert"), mix=heads[1], hidden=True).fit(strings)
    np.testing.assert_allclose(hidden.transform(strings), texts.mix(heads[1], hidden=True), atol=1e-4)
    assert hidden.get_feature_names_out()[:2].tolist() == ["hidden_dim000", "hidden_dim001"]
    assert clone(hidden).get_params()["hidden"] is True
    pipeline = make_pipeline(LayerFeatures(encoder_of("bert")), LogisticRegression())
    search = GridSearchCV(pipeline, {"layerfeatures__mix": [*heads, "3"]}, cv=2)
    search.fit(strings, texts.texts["label"].to_pylist())
    assert len(search.cv_results_["params"]) == 3


@pytest.mark.parametrize("hidden", [False, True])
def test_features_have_the_statistics_of_the_head(
    texts: Any, encoder_of: Callable[[str], Any], hidden: bool
) -> None:
    """Of its training rows, also for `norm=layer`, whichever texts are given and however they are fitted."""
    mix = "mean(1,2; norm=layer)"
    head = lw.train(texts, task="classify", label="label", mix=mix, head_type="mlp", epochs=3)
    few = texts.texts["text"].to_pylist()[:5]
    for features in (
        LayerFeatures(encoder_of("bert"), mix=head, hidden=hidden).fit_transform(few),
        LayerFeatures(encoder_of("bert"), mix=head, hidden=hidden).fit(few).transform(few),
    ):
        np.testing.assert_allclose(features, texts.mix(head, hidden=hidden)[:5], atol=1e-4)


def test_features_are_made_as_in_the_training(
    texts: Any, place: Path, encoder_of: Callable[[str], Any]
) -> None:
    """Pool, special tokens, maximum length, and pools of words are those of the head."""
    source = place / "texts.jsonl"
    options: dict[str, Any] = {"pool": "max", "special_tokens": False, "max_length": 24, "dtype": "float32"}
    other = lw.extract(source, place / "max.lw", model=encoder_of("bert"), **options)
    lw.extract(source, place / "w.lw", model=encoder_of("bert"), level="word", dtype="float32", limit=2)
    by_words = lw.pool(place / "w.lw", place / "ww.lw", level="text", pool="max")
    for dataset in (other, by_words):
        head = lw.train(dataset, task="regress", label="n", mix="2")
        strings = dataset.texts["text"].to_pylist()
        features = LayerFeatures(encoder_of("bert"), mix=head).fit_transform(strings)
        np.testing.assert_allclose(features, dataset.mix(head), atol=1e-4)
    head = lw.train(other, task="regress", label="n", mix="2")
    agreeing = LayerFeatures(
        encoder_of("bert"), mix=head, pool="max", options={"max_length": 24, "batch_tokens": 64}
    )
    agreeing.fit(["a"])
    for params, says in (
        ({"level": "word"}, "level='word' isn't what the head was trained with \\(level 'text'\\)"),
        ({"pool": "mean"}, "pool='mean' isn't what the head was trained with \\(pool 'max'\\)"),
        ({"options": {"max_length": 12}}, "max_length=12 isn't what the head was trained with"),
        ({"layers": "1:"}, "layers='1:' has no effect on the mix of a head"),
        ({"model": encoder_of("electra")}, "is a different model"),
    ):
        with pytest.raises((HeadError, RequestError), match=says):
            LayerFeatures(**{"model": encoder_of("bert"), "mix": head, **params}).fit(["a"])


# --- what is refused ----------------------------------------------------------------------------------------------


def test_rows_of_another_kind_are_refused(
    texts: Any, place: Path, encoder_of: Callable[[str], Any], run: Run
) -> None:
    head = lw.train(texts, task="classify", label="label", mix="mean(1,2)", out=place / "plain.head")
    source = place / "texts.jsonl"
    few = lw.extract(source, place / "few.lw", model=encoder_of("bert"), layers="3", limit=3)
    words = lw.extract(source, place / "words.lw", model=encoder_of("bert"), level="word", limit=3)
    pool = lw.extract(source, place / "pool.lw", model=encoder_of("bert"), pool="max", limit=3)
    other = lw.extract(source, place / "other.lw", model=encoder_of("electra"), limit=3)
    encode = encoder_of("bert").encode
    rows: list[tuple[Any, str]] = [
        (few, "lacks the layers 1, 2 of the head's mix; there are 3"),
        (words, "trained on rows of level 'text' and .* has 'word'"),
        (pool, "trained on rows of pool 'mean' and .* has 'max'"),
        (other, "is a different model"),
        (encode(["a"], "3"), "the rows lack the layers 1, 2 of the head's mix; there are 3"),
        (encode(["a"], level="word"), "trained on rows of level 'text' and these have 'word'"),
        (encode(["a"], pool="max"), "trained on rows of pool 'mean' and these have 'max'"),
        (encoder_of("electra").encode(["a"]), "is a different model"),
    ]
    for each, says in rows:
        with pytest.raises((HeadError, RequestError), match=says) as refusal:
            each.mix(head)
        assert "\n" not in str(refusal.value)
    nameless = lw.LayerStates(
        {name: np.zeros((2, 8), np.float32) for name in ("1", "2")},
        index=few.index.slice(0, 2), texts=few.texts.slice(0, 2), blocks=3, level="text", pool="mean",
    )  # fmt: skip
    with pytest.raises(HeadError, match="trained on rows of width 32 and these have 8"):
        nameless.mix(head)
    ended = run("export", few.path, "--mix", place / "plain.head", "--out", place / "no")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert not (place / "no").exists()


def test_options_that_do_not_fit_are_refused(texts: Any, place: Path, run: Run) -> None:
    head = lw.train(texts, task="classify", label="label", mix="1")
    with pytest.raises(
        RequestError, match="hidden=True: task 'label' has a linear head, without a hidden layer"
    ):
        texts.mix(head, hidden=True)
    with pytest.raises(
        RequestError, match="hidden=True is for the trained mix of a head; give a head in mix"
    ):
        texts.mix("mean(1:)", hidden=True)
    with pytest.raises(RequestError, match="task='label' is for the trained mix of a head"):
        lw.export(texts, place / "x", task="label")
    with pytest.raises(RequestError, match="stats are for mix strings"):
        texts.mix(head, stats={})
    with pytest.raises(RequestError, match="is for the trained mix of a head"):
        LayerFeatures(head.encoder, mix="1", hidden=True).fit(["a"])
    for argv, says in (
        (
            ["--mix", "learned(all)"],
            "train one with --mix learned(emb,1,2,3) and give the head in place of the mix string",
        ),
        (
            ["--mix", "mising.head"],
            "mising.head doesn't exist; a head is a folder that `layerwise train` writes",
        ),
        (["--mix", "1", "--hidden"], "--hidden is for the trained mix of a head; give a head in --mix"),
    ):
        ended = run("export", texts.path, *argv, "--out", place / "x")
        assert (ended.code, ended.out) == (2, "")
        assert says in ended.err
