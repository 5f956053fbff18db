"""Datasets of pairs that are encoded together, and the heads on them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from joint_models import joining
from layerwise.cli.main import main
from layerwise.errors import DatasetError, HeadError, RequestError
from layerwise.labels.groups import group_rows

Extract = Callable[..., lw.LayerDataset]
RECORDS: list[dict[str, Any]] = [
    {
        "a": f"The first layers know {'more ' * (n % 3)}",
        "b": f"word {n % 4} stands",
        "score": n / 7,
        "label": "xy"[n % 2],
    }
    for n in range(16)
]


def jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def joining_model(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny BERT whose tokenizer joins pairs."""
    return str(joining("bert", model_folder("bert"), tmp_path_factory.mktemp("pairs") / "bert"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return jsonl(tmp_path / "pairs.jsonl", RECORDS)


@pytest.fixture
def extract(joining_model: str) -> Extract:
    """`lw.extract` of joint pairs by a tiny model, in shards of 5 pairs."""

    def call(source: Any, out: Path, **more: Any) -> lw.LayerDataset:
        options = {
            "model": joining_model,
            "device": "cpu",
            "text": "a,b",
            "pair_encoding": "joint",
            "shard_texts": 5,
        }
        return lw.extract(source, out, **{"dtype": "float32", **options, **more})

    return call


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*argv: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return (code, *capsys.readouterr())

    return call


def test_a_pair_is_one_row(extract: Extract, source: Path, tmp_path: Path) -> None:
    joint = extract(source, tmp_path / "joint")
    separate = extract(source, tmp_path / "separate", pair_encoding="separate")
    assert (joint.rows, separate.rows) == (16, 32)
    assert joint.texts["text"].to_pylist() == [f"{r['a']}\n{r['b']}" for r in RECORDS]
    assert joint.texts["score"].to_pylist() == [r["score"] for r in RECORDS]
    assert "part" not in joint.texts.column_names
    stored = json.loads((tmp_path / "joint/manifest.json").read_text())["settings"]["reading"]
    assert (stored["pair_encoding"], stored["text"]) == ("joint", ["a", "b"])
    reading = json.loads((tmp_path / "separate/manifest.json").read_text())["settings"]["reading"]
    assert "pair_encoding" not in reading
    assert not [note for note in joint.manifest.notices if "two rows" in note]


@pytest.mark.parametrize("level", ["token", "word", "text"])
def test_verify_repair_and_hidden_texts(level: str, extract: Extract, source: Path, tmp_path: Path) -> None:
    data = extract(source, tmp_path / "data", level=level)
    verified = lw.verify(data.path, device="cpu")
    assert (verified.ok, verified.texts) == (True, 16)
    path = tmp_path / "data/shards/00001.safetensors"
    before = path.read_bytes()
    path.write_bytes(before[:-8] + b"\1" * 8)
    repaired = lw.repair(data.path)
    assert (repaired.shards, repaired.changed) == ((1,), ())
    assert path.read_bytes() == before
    hidden = extract(source, tmp_path / "hidden", level=level, no_text=True)
    np.testing.assert_array_equal(hidden.stack(), data.stack())
    assert "text" not in hidden.texts.column_names
    if level != "text":
        assert hidden.index["part"].to_pylist() == data.index["part"].to_pylist()
    assert lw.verify(hidden.path, source=source, device="cpu").texts == 16


@pytest.mark.parametrize("pool", ["mean", "max", "sum", "first", "last", "first_last", "cls", "eos"])
def test_pooled_tokens_are_the_pairs(pool: str, extract: Extract, source: Path, tmp_path: Path) -> None:
    tokens = extract(source, tmp_path / "tokens", level="token")
    options = (True, False) if pool in ("mean", "max", "sum") else (True,)
    for number, special in enumerate(options):
        pooled = lw.pool(tokens, tmp_path / f"pooled{number}", pool=pool, special_tokens=special)
        direct = extract(source, tmp_path / f"direct{number}", pool=pool, special_tokens=special)
        assert np.abs(pooled.stack() - direct.stack()).max() <= 1e-5
        assert pooled.texts["pair_start"].to_pylist() == direct.texts["pair_start"].to_pylist()


def test_pooled_tokens_are_the_words_of_both_texts(extract: Extract, source: Path, tmp_path: Path) -> None:
    tokens = extract(source, tmp_path / "tokens", level="token")
    pooled = lw.pool(tokens, tmp_path / "pooled", level="word")
    direct = extract(source, tmp_path / "direct", level="word")
    assert np.abs(pooled.stack() - direct.stack()).max() <= 1e-5
    for name in ("start", "end", "text", "part", "word"):
        assert pooled.index[name].to_pylist() == direct.index[name].to_pylist(), name


def test_pairs_that_share_a_text_stay_together(extract: Extract, source: Path, tmp_path: Path) -> None:
    data = extract(source, tmp_path / "data")
    groups = group_rows(data, data.index["doc"].to_numpy()).groups
    for first, one in enumerate(RECORDS):
        for second, other in enumerate(RECORDS):
            if one["a"] == other["a"] or one["b"] == other["b"]:
                assert groups[first] == groups[second]


def test_added_and_merged_pairs(extract: Extract, source: Path, tmp_path: Path) -> None:
    data = extract(source, tmp_path / "data")
    more = jsonl(tmp_path / "more.jsonl", RECORDS[:3])
    grown = extract(more, tmp_path / "data", append=True)
    np.testing.assert_allclose(grown.stack()[:, 16:], grown.stack()[:, :3], atol=1e-6)
    separate = extract(source, tmp_path / "separate", pair_encoding="separate")
    with pytest.raises(DatasetError, match="pair_encoding is"):
        extract(
            jsonl(tmp_path / "other.jsonl", RECORDS), tmp_path / "data", pair_encoding="separate", append=True
        )
    with pytest.raises(DatasetError, match="made with different settings"):
        lw.merge([data, separate], tmp_path / "merged")
    assert lw.merge([data, data], tmp_path / "twice").rows == 38


def test_heads_join_pairs_as_in_their_training(
    extract: Extract, source: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    data = extract(source, tmp_path / "data")
    head = lw.train(data, task="regress", label="score", mix="mean(1,3)", out=tmp_path / "score.head")
    assert (head.rows["joint"], head.pairs) == (["a", "b"], None)
    expected = head.task_heads[0].scores(data.layer, False)[:, 0]
    by_source = [answer["value"] for answer in lw.predict(head, source).to_json()]
    pairs = [(record["a"], record["b"]) for record in RECORDS]
    in_python = [answer["value"] for answer in lw.load_head(tmp_path / "score.head").predict(pairs)]
    for values in (by_source, in_python):
        np.testing.assert_allclose(values, expected, atol=1e-4)
    assert [answer["doc"] for answer in head.predict(pairs)] == list(range(16))
    renamed = jsonl(
        tmp_path / "renamed.jsonl", [{"x": r["a"], "y": r["b"], "score": r["score"]} for r in RECORDS]
    )
    values = [answer["value"] for answer in lw.predict(head, renamed, text="x,y", keep=["y"]).to_json()]
    np.testing.assert_allclose(values, expected, atol=1e-4)
    assert lw.predict(head, renamed, text="x,y", keep=["y"]).to_json()[3]["y"] == RECORDS[3]["b"]
    scores = [head.evaluate(given).tasks["score"].scores["r2"].score for given in (source, data)]
    assert math.isclose(*scores, abs_tol=1e-4)
    code, out, _ = run("predict", tmp_path / "score.head", source, "--quiet")
    assert code == 0
    np.testing.assert_allclose([json.loads(line)["value"] for line in out.splitlines()], expected, atol=1e-4)
    code, out, err = run("predict", tmp_path / "score.head", source, "--quiet", "--text", "a")
    assert (code, len(err.splitlines())) == (2, 1), err
    assert "--pair-encoding joint needs the two columns of a pair, and --text a is one column" in err
    with pytest.raises(RequestError, match="the head takes pairs of strings"):
        head.predict(["a single text"])
    separate = extract(source, tmp_path / "separate", pair_encoding="separate")
    with pytest.raises(HeadError, match=r"trained on rows of joint \['a', 'b'\] and .* has None"):
        head.evaluate(separate)
    other = lw.train(separate, task="regress", label="score", mix="3", out=tmp_path / "other.head")
    with pytest.raises(HeadError, match="trained on rows of joint None"):
        other.evaluate(data)
    with pytest.raises(RequestError, match="encoded together"):
        head.predict(pairs, heads=[other])
    assert "a and b, encoded together" in run("info", tmp_path / "score.head")[1]
    assert "a and b, encoded together" in run("info", data.path)[1]


def test_an_empty_text_of_a_pair_is_told(extract: Extract, source: Path, tmp_path: Path) -> None:
    head = lw.train(
        extract(source, tmp_path / "data"), task="classify", label="label", mix="3", out=tmp_path / "x.head"
    )
    answers = head.predict([("a", "b"), ("", "b"), ("a", " ")])
    assert [answer.get("empty", False) for answer in answers] == [False, True, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--text", "a"],
            "--pair-encoding joint needs the two columns of a pair, and --text a is one column",
        ),
        (
            [],
            "--pair-encoding joint needs the two columns of a pair, and --text isn't given; name them in --text a,b",
        ),
        (["--text", "a,b", "--join", " "], "--join makes another thing of it; leave one of them out"),
        (["--words", "a"], "--words makes another thing of it; leave one of them out"),
        (["--text", "a,c"], "there is no column 'c', only 'a', 'b', 'score', 'label'"),
        (["--text", "a,b", "--context", "4"], "has no column 'document'"),
        (
            ["--text", "a,b", "--document", "label", "--context", "4"],
            "pairs of texts have no neighbours; name one",
        ),
        (["--text", "a,b", "--max-length", "8"], "tokens in both texts and the limit is 8"),
    ],
)
def test_pairs_that_cannot_be_joined_are_refused(
    options: list[str],
    message: str,
    source: Path,
    model: str,
    tmp_path: Path,
    run: Callable[..., tuple[int, str, str]],
) -> None:
    command = [
        "extract",
        source,
        "--out",
        tmp_path / "out",
        "--model",
        model,
        "--quiet",
        "--pair-encoding",
        "joint",
    ]
    code, out, err = run(*command, *options)
    errors = [line for line in err.splitlines() if "note:" not in line]
    assert (code, out, len(errors)) == (2, "", 1), err
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("level", ["token", "word"])
def test_answers_for_rows_say_their_text(level: str, extract: Extract, source: Path, tmp_path: Path) -> None:
    data = extract(source, tmp_path / "data", level=level)
    head = lw.train(data, task="classify", label="label", mix="3", out=tmp_path / "x.head")
    (answer,) = head.predict([("The first", "last word")])
    key = "tokens" if level == "token" else "words"
    texts = {"a": "The first", "b": "last word"}
    assert {row["part"] for row in answer[key]} == {"a", "b"}
    read = [texts[row["part"]][row["start"] : row["end"]] for row in answer[key]]
    assert "".join(read) == "Thefirstlastword"


def test_the_map_of_the_page_shows_rows_of_pairs(extract: Extract, source: Path, tmp_path: Path) -> None:
    from layerwise.geometry.sample import pick
    from layerwise.page.content import facts, texts_of

    data = extract(source, tmp_path / "data", level="word")
    assert facts(data)["pair"] == ["a", "b"]
    shown = texts_of(pick(data, np.arange(data.rows)))
    assert shown["texts"] == data.index["text"].to_pylist()
    assert (shown["context"], shown["span"]) == (None, None)
