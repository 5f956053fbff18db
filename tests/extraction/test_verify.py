"""verify: rows against plain transformers, and what it says when it can't compare."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from conftest import CORPUS
from layerwise.errors import DatasetError, ModelError, RequestError
from layerwise.store.layout import to_json
from selection import few_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps({"text": text, "n": n}) + "\n" for n, text in enumerate(CORPUS)), encoding="utf-8"
    )
    return path


def doctor(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest and sign it anew, as someone would who means it."""
    import hashlib

    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    data = to_json(manifest)
    (folder / "manifest.json").write_bytes(data)
    (folder / "manifest.json.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  manifest.json\n")


@pytest.mark.parametrize("family", few_of(["bert", "roberta", "convbert", "t5", "modernbert"], "bert", "t5"))
@pytest.mark.parametrize(
    "options", [{"level": "token"}, {"level": "word"}, {"pool": "max", "max_length": 20}]
)
def test_what_was_extracted_is_verified(
    family: str, options: dict[str, Any], model_folder: Callable[[str], Path], source: Path, tmp_path: Path
) -> None:
    lw.extract(source, tmp_path / "out", model=model_folder(family), device="cpu", **options)
    found = lw.verify(tmp_path / "out", device="cpu")
    assert found.ok, found.problems
    assert found.texts == len(CORPUS)
    assert found.parity is not None
    assert found.tolerance is not None
    assert all(p.max_rel <= found.tolerance and p.cosine > 0.999 for p in found.parity.values())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_each_type_is_within_its_own_tolerance(
    dtype: str, encoder_of: Callable[[str], Any], source: Path, tmp_path: Path
) -> None:
    lw.extract(source, tmp_path / "out", model=encoder_of("bert"), dtype=dtype)
    found = lw.verify(tmp_path / "out", device="cpu")
    assert found.ok, found.problems


def test_rows_that_another_computation_gave_are_found(
    encoder_of: Callable[[str], Any], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.store.tensors import TensorWriter

    put = TensorWriter.put

    def shifted(self: TensorWriter, layer: str, rows: Any, values: Any) -> None:
        put(self, layer, rows, values + (0.01 if layer == "2" else 0))

    monkeypatch.setattr(TensorWriter, "put", shifted)
    lw.extract(source, tmp_path / "out", model=encoder_of("bert"))
    found = lw.verify(tmp_path / "out", device="cpu")
    assert not found.ok
    assert [problem.file for problem in found.problems] == ["layer 2"]
    assert "out of the tolerance" in found.problems[0].what


def test_a_changed_byte_is_found_before_any_row_is_compared(
    encoder_of: Callable[[str], Any], source: Path, tmp_path: Path
) -> None:
    lw.extract(source, tmp_path / "out", model=encoder_of("bert"))
    file = tmp_path / "out/shards/00000.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    found = lw.verify(tmp_path / "out")
    assert not found.ok
    assert found.parity is None
    assert found.problems[0].file == "shards/00000.safetensors"


def test_without_texts_it_needs_the_source(
    encoder_of: Callable[[str], Any], source: Path, tmp_path: Path
) -> None:
    lw.extract(source, tmp_path / "out", model=encoder_of("bert"), no_text=True)
    found = lw.verify(tmp_path / "out", device="cpu")
    assert found.ok
    assert found.parity is None
    assert "give source to compare" in str(found.note)
    with_source = lw.verify(tmp_path / "out", source=source, device="cpu")
    assert with_source.ok
    assert with_source.parity is not None


def test_without_texts_it_reads_each_source_in_its_own_way(
    encoder_of: Callable[[str], Any], source: Path, tmp_path: Path
) -> None:
    from layerwise.api.pool import pool

    table = tmp_path / "table.csv"
    table.write_text("body\nin a table\nand more\n", encoding="utf-8")
    given: dict[str, Any] = {"model": encoder_of("bert"), "no_text": True, "level": "token"}
    lw.extract(source, tmp_path / "out", limit=3, **given)
    lw.extract(table, tmp_path / "out", text="body", append=True, **given)
    pool(tmp_path / "out", tmp_path / "pooled", level="text", pool="mean")
    for name in ("out", "pooled"):
        found = lw.verify(tmp_path / name, source=[source, table], device="cpu")
        assert found.ok, name
        assert found.parity is not None
        with pytest.raises(
            RequestError, match=r"names 1 .* came from 2: .*table.csv'; give the present path"
        ):
            lw.verify(tmp_path / name, source=table, device="cpu")


def test_another_source_is_found(encoder_of: Callable[[str], Any], source: Path, tmp_path: Path) -> None:
    lw.extract(source, tmp_path / "out", model=encoder_of("bert"), no_text=True)
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({"text": f"other {n}"}) + "\n" for n in range(len(CORPUS))))
    assert not lw.verify(tmp_path / "out", source=other, device="cpu").ok
    other.write_text('{"text": "one"}\n')
    with pytest.raises(DatasetError, match="gives fewer texts"):
        lw.verify(tmp_path / "out", source=other, device="cpu")


def test_another_model_is_refused_and_a_moved_one_can_be_named(
    model_folder: Callable[[str], Path], source: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model_folder("bert"), tmp_path / "model"))
    lw.extract(source, tmp_path / "out", model=folder, device="cpu")
    folder.rename(tmp_path / "moved")
    with pytest.raises(ModelError):
        lw.verify(tmp_path / "out", device="cpu")
    assert lw.verify(tmp_path / "out", model=tmp_path / "moved", device="cpu").ok
    with pytest.raises(ModelError, match="isn't the one of the dataset: its weights differ"):
        lw.verify(tmp_path / "out", model=model_folder("electra"), device="cpu")


def test_the_sample_is_drawn_by_a_seed(
    encoder_of: Callable[[str], Any], source: Path, tmp_path: Path
) -> None:
    lw.extract(source, tmp_path / "out", model=encoder_of("bert"))
    one, same = (lw.verify(tmp_path / "out", sample=3, seed=1, device="cpu") for _ in range(2))
    assert one == same
    assert one.texts == 3
    assert lw.verify(tmp_path / "out", sample=0).parity is None


def test_the_tolerance_follows_from_precision_and_type_whatever_the_manifest_says(
    encoder_of: Callable[[str], Any], source: Path, tmp_path: Path
) -> None:
    lw.extract(source, tmp_path / "out", model=encoder_of("bert"))
    doctor(tmp_path / "out", lambda manifest: manifest["tolerance"].update(value=1e-9))
    found = lw.verify(tmp_path / "out", device="cpu")
    assert found.ok
    assert found.tolerance == 1e-5 + 2.0**-11


@pytest.mark.parametrize("more", [{"value": 1e3}, {"layers": {"2": 0.5}}])
def test_rows_that_are_wrong_are_found_whatever_the_manifest_allows(
    more: dict[str, Any],
    encoder_of: Callable[[str], Any],
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from layerwise.store.tensors import TensorWriter

    put = TensorWriter.put

    def shifted(self: TensorWriter, layer: str, rows: Any, values: Any) -> None:
        put(self, layer, rows, values + (0.01 if layer == "2" else 0))

    monkeypatch.setattr(TensorWriter, "put", shifted)
    lw.extract(source, tmp_path / "out", model=encoder_of("bert"))
    doctor(tmp_path / "out", lambda manifest: manifest["tolerance"].update(more))
    found = lw.verify(tmp_path / "out", device="cpu")
    assert [problem.file for problem in found.problems] == ["manifest.json", "layer 2"]
    assert "states a tolerance of" in found.problems[0].what


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1, "1", None])
def test_a_tolerance_that_is_none_is_a_problem(
    value: Any, encoder_of: Callable[[str], Any], source: Path, tmp_path: Path
) -> None:
    import hashlib

    lw.extract(source, tmp_path / "out", model=encoder_of("bert"), limit=2)
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tolerance"]["value"] = value
    path.write_text(json.dumps(manifest))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name("manifest.json.sha256").write_text(f"{digest}  manifest.json\n")
    found = lw.verify(tmp_path / "out", sample=0)
    assert [problem.file for problem in found.problems] == ["manifest.json"]
    assert found.note is not None
    assert "no row was compared" in found.note


def test_what_was_pooled_is_held_to_the_rounding_of_both(
    encoder_of: Callable[[str], Any], source: Path, tmp_path: Path
) -> None:
    lw.extract(source, tmp_path / "token", model=encoder_of("bert"), level="token")
    lw.pool(tmp_path / "token", tmp_path / "text", level="text", dtype="int8")
    found = lw.verify(tmp_path / "text", device="cpu")
    assert found.ok, found.problems
    assert found.tolerance == pytest.approx(1e-5 + 2.0**-11 + 1 / 254)


def test_without_a_sample_it_is_said_that_no_row_was_compared(
    encoder_of: Callable[[str], Any], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from layerwise.cli.main import main

    lw.extract(source, tmp_path / "out", model=encoder_of("bert"), limit=2)
    assert main(["verify", str(tmp_path / "out"), "--sample", "0", "--quiet"]) == 0
    assert capsys.readouterr().out == "ok: all files are unchanged; no row was compared\n"
    assert main(["verify", str(tmp_path / "out"), "--sample", "0", "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["compared"], found["parity"]) == (True, 0, None)
    assert (
        main(["verify", str(tmp_path / "out"), "--sample", "1", "--quiet", "--device", "cpu", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["compared"] == 1
    with pytest.raises(RequestError, match="sample=-1 is too small; give at least 0"):
        lw.verify(tmp_path / "out", sample=-1)
    with pytest.raises(RequestError, match="seed=-1 is too small; give at least 0"):
        lw.verify(tmp_path / "out", seed=-1)


def test_parity_is_what_numpy_says() -> None:
    from layerwise.extraction.parity import parity

    got, expected = np.array([[1.0, 2.0]], np.float32), np.array([[1.0, 4.0]], np.float32)
    found = parity(got, expected)
    assert (found.max_abs, found.max_rel) == (2.0, 0.5)
    assert found.cosine == pytest.approx(9 / (5**0.5 * 17**0.5))
