"""Manifests and records that were changed and signed anew, so that all hashes fit: found, and refused in one line."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from conftest import CORPUS
from hostile import poke, sign
from layerwise.api.extract import extract_share
from layerwise.api.finish import finish
from layerwise.cli.main import main
from layerwise.errors import DatasetError, LayerwiseError, RequestError
from layerwise.heads.head import Fitted, apply
from layerwise.options import ExtractOptions

MISSING = object()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, model_folder: Callable[[str], Path]) -> Path:
    """A dataset of three shards, and what is appended to it."""
    folder = tmp_path_factory.mktemp("doctored")
    for name, texts in {"texts.txt": CORPUS[:9], "more.txt": CORPUS[9:12]}.items():
        (folder / name).write_text("\n".join(text.replace("\n", " ") or "x" for text in texts))
    lw.extract(
        folder / "texts.txt",
        folder / "made",
        model=model_folder("bert"),
        device="cpu",
        shard_texts=3,
        dtype="float32",
    )
    return folder


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "made", tmp_path / "out"))


def extracted(out: Path, made: Path, source: str = "texts.txt", *, append: bool = False) -> Any:
    model = json.loads((out / "manifest.json").read_text())["model"]["id"]
    return lw.extract(
        made / source, out, model=model, device="cpu", shard_texts=3, dtype="float32", append=append
    )


def appended(out: Path, made: Path) -> Any:
    return extracted(out, made, "more.txt", append=True)


def merged(out: Path, made: Path) -> Any:
    return lw.merge([out, out], out.parent / "both")


def pooled(out: Path, made: Path) -> Any:
    return lw.pool(out, out.parent / "pooled")


def repaired(out: Path, made: Path) -> Any:
    return lw.repair(out, device="cpu")


def refused(verb: Callable[[Path, Path], Any], out: Path, made: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        verb(out, made)
    return str(caught.value)


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """What sets an entry of a manifest or a record, by its path."""

    def change(entries: Any) -> None:
        *above, last = path.split(".")
        for name in above:
            entries = entries[int(name)] if isinstance(entries, list) else entries[name]
        if value is MISSING:
            del entries[last]
        else:
            entries[last] = value

    return change


OTHER = "0" * 64
TWICE = [
    ("pool", "cls", "settings.pool is 'mean' and pool is 'cls'"),
    ("settings.pool", "max", "settings.pool is 'max' and pool is 'mean'"),
    ("settings.level", "word", "settings.level is 'word' and level is 'text'"),
    ("settings.dtype", "int8", "settings.dtype is 'int8' and dtype is 'float32'"),
    ("settings.layers", ["emb"], "settings.layers is ['emb'] and layers is"),
    ("settings.model.weights", OTHER, "settings.model.weights is '000"),
    ("settings.model", MISSING, "settings.model is None"),
    ("blocks", 12, "model.blocks is 3 and blocks is 12"),
    ("model.width", 64, "model.width is 64 and width is 32"),
    (
        "derived",
        {"manifest": OTHER, "level": "token", "pool": None},
        "settings.derived is None and derived is {",
    ),
    ("settings.merged", 5, "settings.merged is 5"),
    ("merged", [{}], "merged.0.manifest is None"),
    ("sources", None, "sources is None"),
    ("sources", MISSING, "sources is None"),
    ("sources", [], "its sources have 0 shards in all, and there are 3"),
    ("sources.0.shards", 2, "its sources have 2 shards in all, and there are 3"),
]


def put_all(path: str, value: Any) -> Callable[[list[Any]], None]:
    """What sets an entry of every record."""

    def change(records: list[Any]) -> None:
        for record in records:
            put(path, value)(record)

    return change


@pytest.mark.parametrize(("path", "value", "what"), TWICE)
def test_a_manifest_that_contradicts_itself(path: str, value: Any, what: str, out: Path, made: Path) -> None:
    sign(out, put(path, value))
    (problem,) = lw.verify(out, sample=0).problems
    assert problem.file == "manifest.json"
    assert what in problem.what
    for verb in (extracted, appended, merged, pooled, repaired):
        assert what in refused(verb, out, made)


def test_what_was_derived_from_nothing_is_shown(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sign(out, put("derived", None))
    assert main(["info", str(out)]) == 0
    assert "from a dataset of level" not in capsys.readouterr().out


def test_a_model_of_other_blocks_is_found(out: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["blocks"] = manifest["model"]["blocks"] = 12

    sign(out, change)
    assert lw.verify(out, sample=0).ok  # without the model nobody can know
    (problem,) = lw.verify(out, device="cpu", sample=2).problems
    assert (problem.file, problem.what) == ("manifest.json", "blocks is 12, and the model has 3")


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (
            "totals.texts",
            10**15,
            "totals.texts is 1000000000000000 where the records of the shards come to 9",
        ),
        ("totals.rows", 0, "totals.rows is 0 where"),
        ("totals.tokens", True, "totals.tokens is True"),
        ("totals", 5, "totals is 5"),
        ("error.2", {"max_abs": 0.0, "max_rel": 9.0}, "error.2 is {'max_abs': 0.0, 'max_rel': 9.0} where"),
        ("error", {}, "error.emb is None where"),
    ],
)
def test_sums_that_are_none_of_the_records(path: str, value: Any, what: str, out: Path) -> None:
    sign(out, put(path, value))
    problems = lw.verify(out, sample=0).problems
    assert problems[0].file == "manifest.json"
    assert what in problems[0].what


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("counts.windows", 1e308, "counts.windows is"),
        ("counts.windows", -1, "counts.windows is"),
        ("counts.windows", 1 << 53, "windows comes to"),
        ("seconds", 1e308, "seconds is 1e+308"),
        ("int8_error", {"emb": {"max_rel": 1e308, "cosine": 1.0}}, "int8_error.emb.max_rel is"),
        ("error", {}, "error.emb is None"),
    ],
)
def test_records_that_cannot_be_summed(path: str, value: Any, what: str, out: Path, made: Path) -> None:
    sign(out, records=put_all(path, value))
    (problem,) = lw.verify(out, sample=0).problems
    assert problem.file.startswith("shards-")
    assert what in problem.what
    for verb in (merged, appended):
        assert what in refused(verb, out, made)


@pytest.mark.parametrize(("path", "value"), [("int8_error", None), ("int8_error", {}), ("seconds", None)])
def test_records_that_say_nothing(path: str, value: Any, out: Path, made: Path) -> None:
    sign(out, records=put_all(path, value))
    assert appended(out, made).text_count == 12


MIXES = ["sum(all)", "mean(1,2)", "weighted(1,2; 3,4)", "max(1,2; norm=layer)", "concat(1,2; norm=layer)"]


@pytest.mark.filterwarnings("ignore:mix .* standardised:UserWarning")
@pytest.mark.parametrize("value", [3e38, -3e38])
def test_finite_numbers_that_mixed_are_infinite(value: float, out: Path, tmp_path: Path) -> None:
    """Nothing infinite is made of them in silence: what is given is finite, or refused."""
    for layer in ("1", "2"):
        poke(out, layer, 4, value)
    dataset = lw.open_dataset(out)
    said = []
    for mix in MIXES:
        for give in (partial(dataset.mix, mix), partial(exported, dataset, tmp_path / "x", mix)):
            try:
                assert np.isfinite(give()).all()
            except RequestError as error:
                said.append(str(error))
    assert len(said) >= 4
    assert all("exceeds float32 (3.4e+38); leave out the rows" in one for one in said)
    assert not (tmp_path / "x").exists()


def exported(dataset: Any, path: Path, mix: str) -> Any:
    lw.export(dataset, path, to="npy", mix=mix)
    values = np.load(path / "mix.npy")
    shutil.rmtree(path)
    return values


def test_scores_that_are_infinite() -> None:
    large = np.full((2, 2), 3e38, np.float32)
    head = Fitted(np.ones(1, np.float32), 1.0, None, large, np.zeros(2, np.float32), 0, 0.0)
    rows = np.array([[[1e-3, 0], [1, 1], [0, 0]]], np.float32)
    with pytest.raises(LayerwiseError, match="the scores of row 1 of 3 are beyond float32"):
        apply(head, rows)
    assert np.isfinite(apply(head, rows[:, [0, 2]])).all()


ENDS = [
    ({"shards": 1 << 53}, f"shards is {1 << 53}"),
    ({"shards": 1_000_001}, "shards is 1000001"),
    (
        {"description": {"layers": ["1"], "level": "text", "pool": "mean", "blocks": -1}},
        "description.blocks is -1",
    ),
    ({"description": []}, "description is []"),
]


@pytest.mark.parametrize(("changes", "what"), ENDS)
def test_ends_that_make_no_sense(
    changes: dict[str, Any], what: str, made: Path, out: Path, tmp_path: Path
) -> None:
    """What a worker leaves is refused before as many numbers as it says are counted."""
    model = lw.open_dataset(out).manifest.model.id
    for index in range(2):
        extract_share(
            made / "texts.txt", tmp_path / "two", (index, 2), ExtractOptions(model=model, shard_texts=3)
        )
    for path in (tmp_path / "two" / "work").glob("*.end.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DatasetError) as caught:
        finish(tmp_path / "two")
    assert f"0-of-2.end.json is damaged: {what}" in str(caught.value)
