"""Links in the folders of others: nothing is written through them, and the lock isn't taken through one."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.errors import OutputError
from layerwise.store import DatasetWriter, disk
from layerwise.store.layout import Folder
from layerwise.store.locks import lock_of
from stored import SETTINGS

OPTIONS: dict[str, Any] = {"shard_texts": 2, "device": "cpu"}
KEPT = "somebody's own"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("one\ntwo\nthree\nfour\n")
    return path


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that a link points to."""
    path = tmp_path / "victim"
    path.write_text(KEPT)
    return path


@pytest.fixture
def model(model_folder: Callable[[str], Path]) -> str:
    return str(model_folder("bert"))


def stopped(corpus: Path, out: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extract until the last shard is to be committed."""

    def full(event: str, path: Path) -> None:
        if path.name == "00001.json":
            raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "reached", full)
        with pytest.raises(OutputError):
            lw.extract(corpus, out, model=model, **OPTIONS)


@pytest.mark.parametrize(
    "name", ["work/.settings.json.part", ".manifest.json.part", ".manifest.json.sha256.part"]
)
@pytest.mark.parametrize("there", [True, False])
def test_what_stands_where_a_file_is_written_is_replaced(
    name: str, there: bool, corpus: Path, victim: Path, model: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "work").mkdir(parents=True)
    if not there:
        victim.unlink()
    (out / name).symlink_to(victim)
    dataset = lw.extract(corpus, out, model=model, **OPTIONS)
    assert dataset.rows == 4
    assert victim.exists() == there
    assert not there or victim.read_text() == KEPT


def test_every_file_of_a_dataset_is_new(
    corpus: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links stand beforehand wherever anything is written, in all folders and under all names."""
    opened: list[Path] = []

    def planted(inner: Callable[[Path], Any], path: Path) -> Any:
        target = tmp_path / f"victim {len(opened)}"
        target.write_text(KEPT)
        path.symlink_to(target)
        opened.append(target)
        return inner(path)

    for name in ("create", "create_unbuffered"):
        monkeypatch.setattr(disk, name, partial(planted, getattr(disk, name)))
    one = lw.extract(corpus, tmp_path / "one", model=model, **OPTIONS)
    lw.merge([one.path, one.path], tmp_path / "both")
    lw.export(one, tmp_path / "arrays", to="npy")
    lw.export(one, tmp_path / "rows.parquet")
    lw.report(one, tmp_path / "page.html", texts=[])
    assert len(opened) > 15
    assert {target.read_text() for target in opened} == {KEPT}


@pytest.mark.parametrize("inner", ["work", "shards"])
def test_a_folder_of_a_dataset_that_is_a_link_is_refused(
    inner: str, corpus: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    stopped(corpus, out, model, monkeypatch)
    (out / inner).rename(elsewhere)
    (out / inner).symlink_to(elsewhere)
    before = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
    with pytest.raises(OutputError, match=f"{out / inner} is a link, and nothing is written through it; put"):
        lw.extract(corpus, out, model=model, **OPTIONS)
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == before
    (out / inner).unlink()
    elsewhere.rename(out / inner)
    assert lw.extract(corpus, out, model=model, **OPTIONS).rows == 4


def test_the_folder_of_a_dataset_may_be_a_link(corpus: Path, model: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    assert lw.extract(corpus, tmp_path / "out", model=model, **OPTIONS).rows == 4


@pytest.mark.parametrize("there", [True, False])
def test_a_lock_that_is_a_link_is_refused(
    there: bool, corpus: Path, victim: Path, model: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if not there:
        victim.unlink()
    (out / ".lock").symlink_to(victim)
    with pytest.raises(OutputError, match=r"can't write .*\.lock: .*symbolic links; .*remove the link"):
        lw.extract(corpus, out, model=model, **OPTIONS)
    assert victim.exists() == there
    assert not there or victim.read_text() == KEPT


@pytest.mark.usefixtures("quick_workers")
def test_the_lock_of_a_worker_that_is_a_link_is_refused(
    corpus: Path, victim: Path, model: str, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "out")
    folder.work.mkdir(parents=True)
    folder.share_lock((0, 2)).symlink_to(victim)
    with pytest.raises(OutputError, match=r"0-of-2\.lock: .*symbolic links; .*remove the link"):
        lw.extract(corpus, folder.root, model=model, workers=2, **OPTIONS)
    assert victim.read_text() == KEPT


def test_filelock_itself_follows_no_link(victim: Path, tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        lock_of(tmp_path / "lock").acquire(timeout=0)
    assert victim.read_text() == KEPT


@pytest.mark.parametrize("folder", [True, False])
def test_what_is_written_aside_is_no_link(folder: bool, victim: Path, tmp_path: Path) -> None:
    target = tmp_path / "others" if folder else victim
    if folder:
        target.mkdir()
        (target / "kept").write_text(KEPT)
    (tmp_path / ".new.part").symlink_to(target)
    with disk.new(tmp_path / "new") as part:
        part.mkdir()
        disk.write_synced(part / "inner", b"ours")
    assert (tmp_path / "new" / "inner").read_bytes() == b"ours"
    assert not (tmp_path / "new").is_symlink()
    assert (target / "kept" if folder else target).read_text() == KEPT


def test_a_pipe_is_no_place_to_write_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".file.part")
    disk.write_file(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours"


def test_a_shard_is_written_to_a_file_of_its_own(victim: Path, tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "out", SETTINGS) as writer:
        aside = disk.aside(Folder(tmp_path / "out").shard(0, "tensors"), private=True)
        aside.symlink_to(victim)
        shard = writer.begin(("emb",), 1, 2, "float32")
        shard.put("emb", np.zeros(1, np.int64), np.zeros((1, 2), np.float32))
        shard.abandon()
    assert victim.read_text() == KEPT
