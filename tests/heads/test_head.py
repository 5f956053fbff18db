"""Heads on disk: what is written is what is read, and nothing hostile gets through."""

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from layerwise.cli.main import main
from layerwise.errors import HeadError
from layerwise.heads.head import Fitted, HeadData, TaskHead
from layerwise.heads.storage import (
    JSON,
    TENSORS,
    describe_head,
    from_tensors,
    read_head,
    to_tensors,
    write_head,
)
from layerwise.mixes import LayerStats, parse_mix

WIDTH = 4
MODEL = {
    "id": "a model",
    "revision": None,
    "family": "bert",
    "blocks": 3,
    "width": WIDTH,
    **{part: hashlib.sha256(part.encode()).hexdigest() for part in ("weights", "tokenizer", "config")},
}
ROWS = {
    "level": "word",
    "pool": "mean",
    "special_tokens": True,
    "long": "window",
    "max_length": 80,
    "overlap": 20,
    "precision": "fp32",
    "prompt": None,
    "word_split": None,
    "words_pool": None,
}


def task_of(
    name: str, mix: str, classes: tuple[str, ...], hidden: int | None = None, task: str = "classify"
) -> TaskHead:
    chance = np.random.default_rng(len(name))
    parsed = parse_mix(mix, 3)
    planes = len(parsed.layers) if parsed.how == "learned" else 1
    inputs, outputs = parsed.out_width(WIDTH), len(classes) or 1

    def numbers(*shape: int) -> Any:
        return chance.standard_normal(shape).astype(np.float32)

    def stats(width: int) -> LayerStats:
        return LayerStats(chance.standard_normal(width), chance.random(width) + 0.5)

    norms = {name: stats(WIDTH) for name in parsed.layers} if parsed.norm else None
    fitted = Fitted(
        mix_weights=np.full(planes, 1 / planes, np.float32),
        scale=1.5 if planes > 1 else 1.0,
        hidden=(numbers(inputs, hidden), numbers(hidden)) if hidden else None,
        weight=numbers(hidden or inputs, outputs),
        bias=numbers(outputs),
        epochs=3,
        dev_loss=0.5,
    )
    return TaskHead(
        name=name,
        task=task,
        label=f"column {name}",
        mix=parsed,
        classes=classes,
        multi=False,
        label_separator=None,
        norms=norms,
        stats=tuple(stats(inputs) for _ in range(planes)),
        fitted=fitted,
    )


def head_of(*tasks: TaskHead) -> HeadData:
    about = {"versions": {"layerwise": "0"}, "made": "today"}
    return HeadData(MODEL, ROWS, None, tasks, {"seed": 0, "score": float("nan")}, about)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    head = head_of(
        task_of("one", "mean(1:; norm=layer)", ("a", "b", "ç\n")),
        task_of("two", "learned(all)", ("x", "y"), hidden=5),
        task_of("three", "concat(1,3)", (), task="regress"),
        task_of("tags", "2", ("O", "B-X", "I-X"), task="tag"),
    )
    write_head(head, tmp_path / "a.head")
    return tmp_path / "a.head"


def test_what_is_written_is_read(folder: Path) -> None:
    head = read_head(folder)
    x = {
        name: np.random.default_rng(n).random((6, WIDTH), np.float32)
        for n, name in enumerate(("emb", *"123"))
    }
    names = [
        ("one", "mean(1:; norm=layer)", ("a", "b", "ç\n"), None, "classify"),
        ("two", "learned(all)", ("x", "y"), 5, "classify"),
        ("three", "concat(1,3)", (), None, "regress"),
        ("tags", "2", ("O", "B-X", "I-X"), None, "tag"),
    ]
    for result, (name, mix, classes, hidden, task) in zip(head.task_heads, names, strict=True):
        expected = task_of(name, mix, classes, hidden, task)
        assert (result.name, result.mix, result.classes, result.task) == (name, expected.mix, classes, task)
        scores = result.scores(x.__getitem__, False)
        assert np.array_equal(scores, expected.scores(x.__getitem__, False))
        assert scores.shape == (6, len(classes) or 1)
    assert head.layers == ("emb", "1", "2", "3")
    assert head.training == {"seed": 0, "score": None}
    assert describe_head(folder)["made"] == "today"
    assert sorted(path.name for path in folder.iterdir()) == [JSON, TENSORS]


def test_scores_by_hand() -> None:
    """A learned mix with a hidden layer: standardise, mix, scale, hidden, GELU, out."""
    task = task_of("two", "learned(1,3)", ("x", "y"), hidden=5)
    x = {name: np.random.default_rng(int(name)).random((6, WIDTH), np.float32) for name in "13"}
    mixed = np.zeros((6, WIDTH))
    for place, name in enumerate("13"):
        known = task.stats[place]
        mixed += 1.5 * task.fitted.mix_weights[place] * (x[name] - known.mean) / known.std
    assert task.fitted.hidden is not None
    inner = mixed @ task.fitted.hidden[0] + task.fitted.hidden[1]
    from scipy.stats import norm

    expected = (inner * norm.cdf(inner)) @ task.fitted.weight + task.fitted.bias
    assert task.scores(x.__getitem__, False) == pytest.approx(expected, abs=1e-5)


def test_tensors_and_back() -> None:
    task = task_of("one", "mean(1:; norm=layer)", ("a", "b"))
    fitted, stats, norms = from_tensors(to_tensors(task), task.mix, "gelu")
    assert np.array_equal(fitted.weight, task.fitted.weight)
    assert np.array_equal(stats[0].std, task.stats[0].std)
    assert norms is not None
    assert list(norms) == ["1", "2", "3"]


def test_the_same_head_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_head(read_head(folder), tmp_path / "again")
    for name in (JSON, TENSORS):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


# --- hostile folders --------------------------------------------------------------------------------------


def refused(folder: Path) -> str:
    with pytest.raises(HeadError) as caught:
        read_head(folder)
    message = str(caught.value)
    assert len(message) < 700
    return message


def change(folder: Path, edit: Callable[[Any], Any]) -> None:
    value = json.loads((folder / JSON).read_text())
    edit(value)
    (folder / JSON).write_text(json.dumps(value))


def put_tensors(folder: Path, data: bytes) -> None:
    """Replace the tensors, and make head.json agree with their hash."""
    (folder / TENSORS).write_bytes(data)
    sums = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    change(folder, lambda value: value.update(tensors=sums))


def refused_as_damaged(folder: Path, path: str, value: Any) -> str:
    """Change an entry of `head.json`; return the message, which says that the head is damaged."""

    def edit(whole: Any) -> None:
        *keys, last = (int(key) if key.isdecimal() else key for key in path.split("."))
        for key in keys:
            whole = whole[key]
        whole[last] = value

    change(folder, edit)
    message = refused(folder)
    assert "damaged" in message or "doesn't have the hash that head.json holds" in message
    return message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model", None),
        ("model.blocks", -1),
        ("model.blocks", 10**12),
        ("model.width", 0),
        ("model.width", True),
        ("model.weights", "no hash"),
        ("model.id", 3),
        ("rows", []),
        ("rows.level", "span"),
        ("rows.level", ["word"]),
        ("rows.pool", "median"),
        ("rows.pool", None),
        ("rows.precision", "fp8"),
        ("rows.long", {}),
        ("rows.max_length", 1.5),
        ("rows.words_pool", 7),
        ("rows.words_pool", "mean"),
        ("pairs", ["a"]),
        ("pairs", ["a", "b"]),
        ("tasks", []),
        ("tasks", {}),
        ("tasks.0", None),
        ("tasks.0.name", "two"),
        ("tasks.0.task", "guess"),
        ("tasks.0.task", "regress"),
        ("tasks.0.mix", "mean(9)"),
        ("tasks.0.mix", "mean(1:)"),
        ("tasks.0.mix", "concat(all)"),
        ("tasks.0.mix", 5),
        ("tasks.0.classes", ["a", "a", "b"]),
        ("tasks.0.classes", ["a"]),
        ("tasks.0.classes", ["a", "b"]),
        ("tasks.0.classes", {"a": 1, "b": 2, "c": 3}),
        ("tasks.0.multi", 1),
        ("tasks.0.hidden", 5),
        ("tasks.0.hidden", 10**30),
        ("tasks.1.hidden", 6),
        ("tasks.1.activation", "exec"),
        ("tasks.3.multi", True),
        ("tasks.3.classes", ["I-X", "I-Y", "I-Z"]),
        ("tasks.3.classes", ["O", "B-X", "sad"]),
        ("tensors.sha256", "0" * 64),
        ("tensors.bytes", 3),
        ("tensors", None),
        ("training", None),
        ("version", 0),
        ("version", "1"),
        ("version", True),
        ("training", {"tasks": 5}),
        ("training", {"tasks": {"label": 5}}),
        ("versions", 5),
    ],
)
def test_entries_that_make_no_sense(folder: Path, path: str, value: Any) -> None:
    assert "restore" in refused_as_damaged(folder, path, value)


def test_another_format_and_a_newer_version(folder: Path) -> None:
    change(folder, lambda value: value.update(version=3))
    assert "format version 3, this layerwise reads 2; update layerwise" in refused(folder)
    change(folder, lambda value: value.update(version=1))
    assert "format version 1, of an older layerwise, and this one reads 2; train the head again" in refused(
        folder
    )
    change(folder, lambda value: value.update(format="layerwise"))
    assert "doesn't describe a layerwise head" in refused(folder)


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"[]", b"\xff\xfe", pickle.dumps({"format": 1})])
def test_what_is_no_json(folder: Path, data: bytes) -> None:
    (folder / JSON).write_bytes(data)
    assert "head" in refused(folder)


def test_tensors_that_changed(folder: Path) -> None:
    data = bytearray((folder / TENSORS).read_bytes())
    data[-1] ^= 1
    (folder / TENSORS).write_bytes(bytes(data))
    assert "doesn't have the hash that head.json holds" in refused(folder)
    (folder / TENSORS).unlink()
    assert "can't read" in refused(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pickle.dumps([1, 2, 3]),
        struct.pack("<Q", 1 << 60),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 8) + b"[[[[[[[[",
    ],
)
def test_what_are_no_tensors(folder: Path, data: bytes) -> None:
    put_tensors(folder, data)
    assert "head.safetensors is damaged" in refused(folder)


@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "type", "nan", "inf"])
def test_tensors_of_other_shapes(folder: Path, fault: str) -> None:
    arrays = load_file(folder / TENSORS)
    weight = arrays["0.weight"]
    if fault == "missing":
        del arrays["0.weight"]
    elif fault == "extra":
        arrays["9.weight"] = weight
    elif fault in ("nan", "inf"):
        weight[0, 0] = float(fault)
    else:
        arrays["0.weight"] = weight[:2].copy() if fault == "shape" else weight.astype(np.float64)
    put_tensors(folder, save(arrays))
    message = refused(folder)
    assert "tensor '9.weight'" in message if fault == "extra" else "tensor '0.weight'" in message


def test_what_is_no_head(tmp_path: Path) -> None:
    assert "doesn't exist; a head is a folder that `layerwise train` writes" in refused(tmp_path / "no")
    assert "holds no head.json" in refused(tmp_path)
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(tmp_path / "file")


def test_another_model_is_refused() -> None:
    head = head_of(task_of("one", "2", ("a", "b")))
    hashes = {part: str(MODEL[part]) for part in ("weights", "tokenizer", "config")}
    head.check_model(hashes, "the same, elsewhere")
    for part in hashes:
        with pytest.raises(
            HeadError,
            match=f"trained on 'a model' \\({part} .*a different model .*give the same model in model",
        ):
            head.check_model({**hashes, part: "0" * 64}, "other")


def test_info_shows_no_head_whose_tensors_are_gone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(folder)]) == 0
    (folder / TENSORS).unlink()
    assert main(["info", str(folder)]) == 2
    assert "can't read" in capsys.readouterr().err


def test_very_many_tasks_are_refused_and_many_read_at_once(tmp_path: Path) -> None:
    tasks = [task_of(f"t{number}", "2", ("a", "b")) for number in range(1_000)]
    write_head(head_of(*tasks), tmp_path / "many")
    assert len(read_head(tmp_path / "many").tasks) == 1_000

    def more(value: Any) -> None:
        value["tasks"].append({**value["tasks"][0], "name": "one more"})

    change(tmp_path / "many", more)
    assert "tasks is" in refused(tmp_path / "many")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.blocks", 1_001),
        ("model.width", 1_000_001),
        ("rows.max_length", 1.5),
        ("rows", None),
        ("model", []),
        ("tasks", {}),
        ("tasks", [[]]),
        ("tasks.0.mix", "mean(" + "1," * 40_000 + "1)"),
        ("tasks.0.label_separator", 3),
        ("tasks.0.label_separator", ""),
        ("made", 5),
        ("versions", {"torch": None}),
        ("pairs", ["a"]),
        ("training", {"tasks": {"one": {"rows": "many"}}}),
        ("training", {"tasks": {"one": {"held_out": {"rows": 3}}}}),
        ("training", {"tasks": {"one": {"test": {"rows": 3, "scores": {"accuracy": "high"}}}}}),
    ],
)
def test_entries_of_other_types(folder: Path, path: str, value: Any) -> None:
    assert "restore" in refused_as_damaged(folder, path, value)


def test_tensors_that_head_json_speaks_of_are_compared_with_the_file_before_it_is_read(folder: Path) -> None:
    change(folder, lambda value: value["tasks"][1].update(hidden=1 << 24))
    size = (folder / TENSORS).stat().st_size
    assert f"it has {size:,} bytes and the tensors in head.json need" in refused(folder)


def test_a_file_of_terabytes_is_not_read(folder: Path) -> None:
    with (folder / TENSORS).open("r+b") as file:
        file.truncate(1 << 40)
    change(folder, lambda value: value["tensors"].update(bytes=1 << 40))
    assert "at most 4,294,967,296 are read" in refused(folder)


@pytest.mark.parametrize("name", [JSON, TENSORS])
def test_a_pipe_in_the_place_of_a_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "holds no head.json" in refused(folder) if name == JSON else "it is a pipe" in refused(folder)


@pytest.mark.parametrize("json", [b'{"format": NaN}', b'{"format": 1, "format": 2}', b" " * ((1 << 26) + 1)])
def test_json_that_is_not_ours(folder: Path, json: bytes) -> None:
    (folder / JSON).write_bytes(json)
    assert "it holds no JSON" in refused(folder)
