"""Sources and datasets on an object store: a real S3 server on loopback (moto's), with faults of its own."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise import place as placing
from layerwise.errors import DatasetError, OutputError, RequestError, SourceError
from layerwise.join import making
from layerwise.join.extract import extract_share
from layerwise.place import place
from layerwise.store import DatasetWriter, check_files, disk

pytest.importorskip("s3fs", reason="needs layerwise[s3]")
pytest.importorskip("moto", reason="needs moto[server]")
TEXTS = [f"text number {n} " + "word " * (n % 13) for n in range(26)]
OPTIONS: dict[str, Any] = {"shard_texts": 5, "device": "cpu"}


class Faulty:
    """Passes requests on to a server, counts what is got, and can answer with faults instead.

    Attributes:
        faults: what is done with the requests to come: `403`, `500`, `503`, `cut` (half of the body), `slow`,
            `never` (no answer till `given_up` is set), `late` (it is done, and said to have failed), `pass`.
        got: method, path and bytes of the body of every answer.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.faults: Iterator[str] = iter(())
        self.given_up = threading.Event()
        self.got: list[tuple[str, str, int]] = []

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        fault = next(self.faults, "pass")
        if fault == "never":
            self.given_up.wait(60)
            fault = "500"
        if fault in ("500", "503", "403"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(f"{fault} Fault", [("Content-Type", "application/xml"), ("Content-Length", "0")])
            return [b""]
        if fault == "slow":
            time.sleep(0.3)
        late = fault == "late" and environ["REQUEST_METHOD"] == "PUT"
        body = b"".join(self.app(environ, (lambda *_: None) if late else start))
        self.got.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], len(body)))
        if late:
            start("500 Fault", [("Content-Type", "application/xml"), ("Content-Length", "0")])
            return [b""]
        return [body[: len(body) // 2]] if fault == "cut" and environ["REQUEST_METHOD"] == "GET" else [body]


@pytest.fixture(scope="module")
def server() -> Iterator[Faulty]:
    """A server with the bucket `bucket`, to which the environment points."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: Any) -> None:
            pass

    app = Faulty(DomainDispatcherApplication(create_backend_app))
    running = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{running.server_port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        place("s3://bucket/x").fs.mkdir("bucket")  # type: ignore[attr-defined]
        yield app
    running.shutdown()
    thread.join()


@pytest.fixture
def bucket(server: Faulty, request: pytest.FixtureRequest) -> str:
    """A part of the bucket for one test, with the corpus in it."""
    server.faults, server.got = iter(()), []
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    place(f"s3://bucket/{name}/texts.txt").write_text("".join(text + "\n" for text in TEXTS))
    server.got = []
    return f"s3://bucket/{name}"


@pytest.fixture
def model(model_folder: Callable[[str], Path]) -> str:
    return str(model_folder("bert"))


@pytest.fixture
def whole(bucket: str, model: str, tmp_path: Path) -> dict[str, bytes]:
    """What is written to a disk."""
    return contents(lw.extract(f"{bucket}/texts.txt", tmp_path / "whole", model=model, **OPTIONS).path)


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "shards").iterdir(), key=str)}


def test_it_holds_what_a_disk_holds(bucket: str, model: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    dataset = lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    assert contents(dataset.path) == whole
    assert str(dataset.path) == f"{bucket}/out"
    assert check_files(f"{bucket}/out") == []
    local = lw.open_dataset(tmp_path / "whole")
    assert np.array_equal(dataset.layer("2"), local.layer("2"))
    assert np.array_equal(dataset.layer("emb", rows=[20, 3, 11]), local.layer("emb", rows=[20, 3, 11]))
    assert dataset.texts.equals(local.texts)
    assert [part.layer("1").shape for part in dataset.parts()] == [
        part.layer("1").shape for part in local.parts()
    ]
    again = lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    assert again.sha256 == dataset.sha256
    assert lw.verify(f"{bucket}/out", device="cpu").ok
    with pytest.raises(DatasetError, match="made with other settings: dtype"):
        lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, dtype="int8", **OPTIONS)


def test_a_layer_is_read_without_the_others(bucket: str, model: str, server: Faulty) -> None:
    lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, dtype="float32", **OPTIONS)
    dataset = lw.open_dataset(f"{bucket}/out")
    server.got = []
    sizes = [part.layer("1").nbytes for part in dataset.parts()]
    fetched = [size for method, path, size in server.got if method == "GET" and path.endswith(".safetensors")]
    assert set(sizes) <= set(fetched), f"each shard's layer takes {sizes} bytes, and {fetched} were fetched"
    headers = [size for size in fetched if size not in sizes]
    assert len(fetched) == 2 * len(sizes), "a header and a layer of each shard"
    assert max(headers) <= 1 << 14, f"headers of {headers} bytes"


def test_globs_and_folders_are_sources(bucket: str, model: str) -> None:
    place(f"{bucket}/docs/b/two.txt").write_text("the second")
    place(f"{bucket}/docs/a.txt").write_text("the first")
    dataset = lw.extract(f"{bucket}/docs", f"{bucket}/d", model=model, format="docs")
    assert dataset.texts.select(["id", "text"]).to_pylist() == [
        {"id": "a.txt", "text": "the first"},
        {"id": "b/two.txt", "text": "the second"},
    ]
    dataset = lw.extract(f"{bucket}/docs/*.txt", f"{bucket}/g", model=model)
    assert dataset.texts["text"].to_pylist() == ["the first"]
    for name, says in (
        ("docs", "is a folder; --format docs reads"),
        ("nothing", "doesn't exist; name a file"),
        ("docs/*.csv", "doesn't exist; name a file"),
    ):
        with pytest.raises(SourceError, match=says):
            lw.extract(f"{bucket}/{name}", f"{bucket}/x", model=model)


class Killed(BaseException):
    """Stands for whatever ends a process."""


def test_killed_before_every_put_it_goes_on_to_the_same_bytes(
    bucket: str, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = lw.load_encoder(model, device="cpu")
    whole = contents(
        lw.extract(f"{bucket}/texts.txt", tmp_path / "whole", model=encoder, shard_texts=13).path
    )
    puts = 0

    def reached(event: str, path: Path) -> None:
        nonlocal puts
        puts += event == "rename"
        if puts == die_at:
            raise Killed

    for die_at in range(1, 60):
        puts = 0
        with monkeypatch.context() as patch:
            patch.setattr(disk, "reached", reached)
            try:
                lw.extract(f"{bucket}/texts.txt", f"{bucket}/{die_at}", model=encoder, shard_texts=13)
            except Killed:
                pass
            else:
                break
        with pytest.raises(DatasetError):
            lw.open_dataset(f"{bucket}/{die_at}")
        dataset = lw.extract(f"{bucket}/texts.txt", f"{bucket}/{die_at}", model=encoder, shard_texts=13)
        assert contents(dataset.path) == whole, f"killed at put {die_at}"
        assert check_files(str(dataset.path)) == []
    assert die_at > 10, "killed at many points"


def test_workers_and_a_duplicate_of_one_are_harmless(
    bucket: str, model: str, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"{bucket}/texts.txt", f"{bucket}/out"
    for share in ((1, 2), (0, 2)):
        extract_share(source, out, share, model=model, **OPTIONS)
    before = {str(path): path.stat().st_mtime for path in place(f"{out}/work").iterdir()}
    with monkeypatch.context() as patch:  # another job that saw the folder before the first had committed
        patch.setattr("layerwise.store.work.take_up", lambda *_: {})
        extract_share(source, out, (1, 2), model=model, **OPTIONS)
    after = {str(path): path.stat().st_mtime for path in place(f"{out}/work").iterdir()}
    kept = [name for name in before if name.endswith(("1.json", "3.json", "5.json"))]
    assert [after[name] for name in kept] == [before[name] for name in kept], "records are put once"
    assert contents(lw.finish(out).path) == whole
    assert check_files(out) == []


def test_a_duplicate_that_starts_or_fails_in_between_takes_nothing_away(
    bucket: str, model: str, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"{bucket}/texts.txt", f"{bucket}/out"
    encoder = lw.load_encoder(model, device="cpu")

    def reached(event: str, path: Path) -> None:
        if path.name != "00005.json":
            return
        monkeypatch.setattr(disk, "reached", dies)  # the files of the last shard are put, its record isn't
        with pytest.raises(Killed):
            extract_share(source, out, (1, 2), model=encoder, shard_texts=5)
        monkeypatch.setattr(disk, "reached", lambda *_: None)

    def dies(event: str, path: Path) -> None:
        if event == "rename" and path.name == "00005.texts.parquet":
            raise Killed

    monkeypatch.setattr(disk, "reached", reached)
    extract_share(source, out, (1, 2), model=encoder, shard_texts=5)
    extract_share(source, out, (0, 2), model=encoder, shard_texts=5)
    assert contents(lw.finish(out).path) == whole
    assert check_files(out) == []


def test_of_a_duplicate_with_other_bytes_files_and_record_stand_together(
    bucket: str, model: str, model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"{bucket}/texts.txt", f"{bucket}/out"
    extract_share(source, out, (0, 2), model=model, **OPTIONS)
    first = records_of(out)
    extract_share(source, out, (1, 2), model=model, **OPTIONS)
    with monkeypatch.context() as patch:  # as if it had begun before the first one was through
        patch.setattr("layerwise.store.work.take_up", lambda *_: {})
        patch.setattr("layerwise.store.work.check_settings", lambda *_: None)
        extract_share(source, out, (0, 2), model=model_folder("electra"), **OPTIONS)
    assert all(records_of(out)[name] != record for name, record in first.items()), "the last one's stand"
    assert check_files(lw.finish(out).path) == []


def test_files_of_two_that_are_mixed_up_are_told(
    bucket: str, model: str, model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = f"{bucket}/texts.txt", f"{bucket}/out"
    extract_share(source, out, (0, 2), model=model, **OPTIONS)
    rename = disk.rename

    def late(source: Path, target: Path) -> None:
        rename(source, target)
        if target.name == "00000.index.parquet":
            target.write_bytes(b"of a third one")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "rename", late)
        patch.setattr("layerwise.store.work.take_up", lambda *_: {})
        patch.setattr("layerwise.store.work.check_settings", lambda *_: None)
        says = "shard 0 of .* was written twice at the same time, in different ways; remove .*work/00000.json and"
        with pytest.raises(DatasetError, match=says):
            extract_share(source, out, (0, 2), model=model_folder("electra"), **OPTIONS)
    place(f"{out}/work/00000.json").unlink()
    for index in (0, 1):
        extract_share(source, out, (index, 2), model=model, **OPTIONS)
    assert check_files(lw.finish(out).path) == []


def records_of(out: str) -> dict[str, bytes]:
    """The commit records of unfinished work."""
    return {path.name: path.read_bytes() for path in place(f"{out}/work").glob("0*.json")}


def test_two_appends_at_a_time(
    bucket: str, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = f"{bucket}/out"
    given: dict[str, Any] = {"model": model, "shard_texts": 20, "device": "cpu"}
    lw.extract(f"{bucket}/texts.txt", out, **given)
    for name in "bc":
        (tmp_path / f"{name}.txt").write_text(f"{name} one\n{name} two\n")
    b, c = tmp_path / "b.txt", tmp_path / "c.txt"
    make = making.ShardMaker.make

    def meanwhile(self: Any, *args: Any) -> Any:
        monkeypatch.setattr(making.ShardMaker, "make", make)
        with pytest.raises(DatasetError, match=f"an unfinished --append of {b} stands in"):
            lw.extract(c, out, append=True, **given)
        lw.extract(b, out, append=True, **given)
        raise KeyboardInterrupt

    monkeypatch.setattr(making.ShardMaker, "make", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        lw.extract(b, out, append=True, **given)
    assert check_files(out) == [], "what another finished stays whole when this one ends"
    assert lw.open_dataset(out).texts["text"].to_pylist() == [*TEXTS, "b one", "b two"]
    lw.extract(b, out, append=True, **given)
    assert lw.extract(c, out, append=True, **given).text_count == len(TEXTS) + 4


def test_a_finish_that_another_was_faster_with_is_refused(
    bucket: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{bucket}/out"
    given: dict[str, Any] = {"model": model, "shard_texts": 10, "device": "cpu"}
    lw.extract(f"{bucket}/texts.txt", out, limit=20, **given)
    finish = DatasetWriter.finish

    def late(self: DatasetWriter, manifest: Any) -> Any:
        monkeypatch.setattr(DatasetWriter, "finish", finish)
        lw.extract(f"{bucket}/texts.txt", out, append=True, **given)
        return finish(self, manifest)

    monkeypatch.setattr(DatasetWriter, "finish", late)
    with pytest.raises(DatasetError, match="was changed by another process; start the same command again"):
        lw.extract(f"{bucket}/texts.txt", out, append=True, **given)
    assert lw.extract(f"{bucket}/texts.txt", out, append=True, **given).text_count == len(TEXTS)
    assert check_files(out) == []


def test_processes_write_what_one_writes_and_leave_nothing_here(
    bucket: str, model: str, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "room"))
    out = place(f"{bucket}/out")
    dataset = lw.extract(f"{bucket}/texts.txt", str(out), model=model, workers=2, **OPTIONS)
    assert contents(dataset.path) == whole
    assert check_files(str(out)) == []
    here = [path for path in (tmp_path / "room").rglob("*") if path.is_file()]
    assert here == [], "parts of shards"


def test_at_most_two_shards_stand_here_at_a_time(
    bucket: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "room"))
    seen: list[set[str]] = []

    def reached(event: str, path: Path) -> None:
        names = (file.name for file in (tmp_path / "room").rglob(".0*.part"))
        seen.append({name[1:6] for name in names})

    monkeypatch.setattr(disk, "reached", reached)
    lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    assert set().union(*seen) == {f"{shard:05d}" for shard in range(6)}, "shards pass through here"
    assert max(map(len, seen)) <= 2, "one that is made, and one that is put"


def test_actors_of_ray_write_the_same(bucket: str, model: str, whole: dict[str, bytes]) -> None:
    pytest.importorskip("ray", reason="needs layerwise[ray]")
    # In a process of its own: its cluster is started, and gone, with it.
    command = f"-m layerwise extract {bucket}/texts.txt --out {bucket}/out --model {model} --cluster ray --workers 2"
    how = ["--device", "cpu", "--shard-texts", "5"]
    made = subprocess.run([sys.executable, *command.split(), *how], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert contents(lw.open_dataset(f"{bucket}/out").path) == whole
    assert check_files(f"{bucket}/out") == []


def repeated(*faults: str) -> Iterator[str]:
    while True:
        yield from faults


@pytest.mark.parametrize("fault", ["500", "503", "cut", "slow", "late"])
def test_a_store_that_stumbles_is_asked_again(
    bucket: str, model: str, whole: dict[str, bytes], server: Faulty, fault: str
) -> None:
    server.faults = repeated("pass", "pass", "pass", fault)
    dataset = lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    layer = dataset.layer("3")
    server.faults = iter(())
    assert contents(dataset.path) == whole
    assert np.array_equal(layer, lw.open_dataset(f"{bucket}/out").layer("3"))
    assert check_files(f"{bucket}/out") == []


def test_a_store_that_never_answers_is_asked_again(
    bucket: str, model: str, whole: dict[str, bytes], server: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = placing._options("s3")
    patience = {**given, "config_kwargs": {**given["config_kwargs"], "read_timeout": 0.5}}
    monkeypatch.setattr(placing, "_options", lambda kind: patience)
    faults = [*["pass"] * 7, "never"] * 4
    server.faults = iter(faults)
    try:
        dataset = lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
        assert next(server.faults, None) is None, "not all requests were left without an answer"
    finally:
        server.given_up.set()
    server.faults = iter(())
    assert contents(dataset.path) == whole
    assert check_files(f"{bucket}/out") == []


@pytest.mark.parametrize("fault", ["403", "503"])
def test_a_store_that_stays_down_is_told_and_nothing_is_half_committed(
    bucket: str,
    model: str,
    whole: dict[str, bytes],
    server: Faulty,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    puts = 0

    def reached(event: str, path: Path) -> None:
        nonlocal puts
        puts += event == "rename"
        if puts == 7:
            server.faults = repeated(fault)

    given = placing._options("s3")
    hasty = {**given, "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 2}}}
    monkeypatch.setattr(placing, "_options", lambda kind: hasty)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "reached", reached)
        with pytest.raises(OutputError, match=r"can't write s3://.*; what was committed is kept"):
            lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS)
    server.faults = iter(())
    records = sorted(path.name for path in place(f"{bucket}/out/work").iterdir() if path.stem.isdigit())
    assert records == ["00000.json"], "one shard was whole"
    assert contents(lw.extract(f"{bucket}/texts.txt", f"{bucket}/out", model=model, **OPTIONS).path) == whole


def test_shards_are_added_merged_and_mended(bucket: str, model: str, server: Faulty) -> None:
    source, more = place(f"{bucket}/texts.txt"), f"{bucket}/more.txt"
    place(more).write_text("one more\nand another\n")
    first = lw.extract(str(source), f"{bucket}/a", model=model, **OPTIONS)
    added = lw.extract(more, f"{bucket}/a", model=model, append=True, **OPTIONS)
    assert (first.text_count, added.text_count) == (26, 28)
    other = lw.extract(more, f"{bucket}/b", model=model, **OPTIONS)
    merged = lw.merge([f"{bucket}/a", other], f"{bucket}/c")
    assert merged.texts["text"].to_pylist() == [*TEXTS, *["one more", "and another"] * 2]
    damaged = merged.path / "shards" / "00002.safetensors"
    good = damaged.read_bytes()
    damaged.write_bytes(good[:-1] + b"x")
    assert [problem.file for problem in check_files(f"{bucket}/c")] == ["shards/00002.safetensors"]
    assert lw.repair(f"{bucket}/c").shards == (2,)
    assert damaged.read_bytes() == good
    assert check_files(f"{bucket}/c") == []
    place(f"{bucket}/last.txt").write_text("the last\n")
    tables = sum(path.stat().st_size for path in (merged.path / "shards").glob("*.texts.parquet"))
    server.got.clear()
    grown = lw.extract(f"{bucket}/last.txt", f"{bucket}/c", model=model, append=True, **OPTIONS)
    fetched = [
        size for method, path, size in server.got if method == "GET" and path.endswith(".texts.parquet")
    ]
    assert 0 < sum(fetched) < tables, "the types of columns, and no rows"
    assert grown.texts["text"].to_pylist() == [*merged.texts["text"].to_pylist(), "the last"]


def test_what_is_missing_is_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match=r"s3://.*/nothing doesn't exist; a dataset is the folder"):
        lw.open_dataset(f"{bucket}/nothing")
    with pytest.raises(RequestError, match="foo://x/y can't be used: .*; take a path, or s3://"):
        lw.open_dataset("foo://x/y")
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(RequestError, match=r"run: pip install 'layerwise\[s3\]'"):
        lw.open_dataset(f"{bucket}/out")
