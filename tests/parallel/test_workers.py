"""Several processes make one dataset: the same bytes as one, whatever happens to them."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import psutil
import pytest

import layerwise as lw
from killing import Killing, killed_anywhere, needs_proc
from layerwise.api.extract import extract_share
from layerwise.arguments import as_flags
from layerwise.cli.main import main
from layerwise.encode.devices import choose_device
from layerwise.errors import DatasetError, LayerwiseError, OutputError, RequestError
from layerwise.options import ExtractOptions
from layerwise.parallel import local
from layerwise.parallel.executor import SerialExecutor
from layerwise.parallel.local import ProcessExecutor
from layerwise.read.docstrings import paragraphs
from layerwise.store import DatasetWriter, check_files, disk
from layerwise.store.layout import Folder
from numbered import OPTIONS, TEXTS, shard_bytes, write_texts
from overlapping import TASKS, Overlapping
from recipes import FAULTS, Fatal, Refusing, Sharing
from stored import settings_of
from waiting import SECONDS, until
from warm import Python


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_texts(tmp_path)


@pytest.fixture
def whole(corpus: Path, model: str, tmp_path: Path) -> dict[str, bytes]:
    """What one process writes."""
    return shard_bytes(lw.extract(corpus, tmp_path / "whole", model=model, **OPTIONS).path)


def test_two_processes_write_what_one_writes(
    corpus: Path, model: str, whole: dict[str, bytes], tmp_path: Path
) -> None:
    events: list[lw.Progress] = []
    dataset = lw.extract(corpus, tmp_path / "out", model=model, workers=2, progress=events.append, **OPTIONS)
    assert shard_bytes(dataset.path) == whole
    assert check_files(dataset.path) == []
    assert (events[-1].texts, events[-1].tokens) == (len(TEXTS), dataset.manifest.totals.tokens)
    shares = [event.share or 0.0 for event in events]
    assert shares == sorted(shares)
    assert shares[-2] == pytest.approx(1.0), "the batches of both processes add up to the whole source"
    assert {event.stage for event in events} == {"loading the model", f"file {corpus}"}
    again = lw.extract(corpus, tmp_path / "out", model=model, workers=2, **OPTIONS)
    assert again.sha256 == dataset.sha256, "workers are no setting, and a finished dataset is left alone"


def survives(
    kills: int, corpus: Path, model: str, out: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extract with two processes that are killed so many times while they write."""
    monkeypatch.setattr(local, "_TRIES", 10 * kills)
    map_ = ProcessExecutor.map
    killed = Killing(out, kills)
    monkeypatch.setattr(
        ProcessExecutor, "map", lambda self, tasks, report: map_(self, killed.between(tasks), report)
    )
    lw.extract(corpus, out, model=model, workers=2, **OPTIONS)
    assert shard_bytes(out) == whole
    assert check_files(out) == []
    killed.check()


def test_of_several_gpus_each_process_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [choose_device(None, process) for process in range(5)] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ]
    assert choose_device("cuda") == "cuda", "one process alone takes the first"
    assert [choose_device(name, 1) for name in ("cpu", "cuda:0")] == ["cpu", "cuda:0"], (
        "what is named is taken"
    )


@needs_proc
@pytest.mark.usefixtures("quick_workers")
def test_killed_processes_are_started_again_and_the_bytes_are_the_same(
    corpus: Path, model: str, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survives(2, corpus, model, tmp_path / "out", whole, monkeypatch)


@pytest.mark.usefixtures("quick_workers")
def test_what_a_worker_cannot_do_is_said_once_and_in_its_words(
    corpus: Path, model: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="layer 9"):
        lw.extract(corpus, tmp_path / "out", model=model, layers="9", workers=2, **OPTIONS)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RequestError, match="workers=0 is too small"):
        lw.extract(corpus, tmp_path / "out", model=model, workers=0, **OPTIONS)
    corpus.write_text("good\n" * 4 + "bad " * 200 + "\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"text 4 .* has \d+ tokens and the limit is"):
        lw.extract(corpus, tmp_path / "long", model=model, long="error", workers=2, **OPTIONS)
    assert not list((tmp_path / "long").glob("shards/.*")), "what was under way is swept up"
    # The other process may or may not have committed the first shard by then.
    lw.extract(corpus, tmp_path / "out", model=model, workers=2, **OPTIONS)
    (tmp_path / "new" / "work").mkdir(parents=True)
    (tmp_path / "new" / "work" / "1-of-2.lock").touch()  # as a process leaves it that was killed late
    lw.extract(corpus, tmp_path / "new", model=model, **OPTIONS)
    assert lw.open_dataset(tmp_path / "out").text_count == 5


@pytest.mark.usefixtures("quick_workers")
def test_a_worker_names_arguments_as_the_user_of_its_parent_does(
    corpus: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RequestError, match="^precision 'fp16' doesn't exist"):
        lw.extract(corpus, tmp_path / "out", model=model, precision="fp16", workers=2, **OPTIONS)
    argv = ["extract", str(corpus), "--out", str(tmp_path / "out"), "--model", model, "--device", "cpu"]
    assert main([*argv, "--precision", "fp16", "--workers", "2"]) == 2
    assert "layerwise: --precision 'fp16' doesn't exist" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "name"), [(False, "max_rows=0"), (True, "--max-rows 0")])
def test_a_task_names_arguments_as_the_user_of_its_parent_does(flags: bool, name: str) -> None:
    with (
        as_flags(flags),
        ProcessExecutor(Refusing(), 1) as executor,
        pytest.raises(RequestError, match=f"^{name} is too small"),
    ):
        list(executor.map([0], lambda **_: None))


def test_a_task_that_kills_its_maker_is_tried_three_times() -> None:
    with ProcessExecutor(Fatal(False), 2) as executor:
        assert executor.description == "description"
        assert sorted(executor.map(["a", "b", "c"], lambda **_: None)) == ["a", "b", "c"]
        with pytest.raises(
            LayerwiseError, match=r"worker \d was killed by signal 9, 3 times; .*fewer workers"
        ):
            list(executor.map(["a", "die"], lambda **_: None))
    for task, fault in FAULTS.items():
        with ProcessExecutor(Fatal(False), 1) as executor, pytest.raises(RuntimeError, match=str(fault)):
            list(executor.map([task], lambda **_: None))
    with pytest.raises(LayerwiseError, match="was killed by signal 9, 3 times"):
        ProcessExecutor(Fatal(True), 1)


def test_a_fault_is_told_in_its_words_however_slow_the_source_is() -> None:
    with ProcessExecutor(Fatal(False), 1) as executor:

        def tasks() -> Iterator[str]:
            yield "fail"
            until(lambda: not executor._messages.empty(), "the fault")
            yield "a"
            yield "b"

        with pytest.raises(RuntimeError, match="a fault of ours"):
            list(executor.map(tasks(), lambda **_: None))


def test_each_process_has_its_share_of_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, share in ((2, "2 2"), (3, "1 1"), (6, "1 1")):
        with ProcessExecutor(Sharing(False), count, threads=5) as executor:
            assert executor.description == share, f"{count} processes with 5 threads"
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)  # tests have one
    with ProcessExecutor(Sharing(False), 2) as executor:
        assert executor.description == "2 2", "as of one process, the environment says how many"


def test_a_shard_that_got_lost_is_told_and_no_dataset_is_made_of_the_others(
    corpus: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    map_ = SerialExecutor.map
    monkeypatch.setattr(
        SerialExecutor, "map", lambda self, tasks, report: map_(self, list(tasks)[:-1], report)
    )
    with pytest.raises(DatasetError, match="1 of 15 shards are missing; start the same command again"):
        lw.extract(corpus, tmp_path / "out", model=model, **OPTIONS)
    monkeypatch.undo()
    assert lw.extract(corpus, tmp_path / "out", model=model, **OPTIONS).text_count == len(TEXTS)


@pytest.mark.usefixtures("quick_workers")
@pytest.mark.parametrize(
    ("precision", "level"),
    [
        ("fp32", "token"),
        pytest.param("bf16", "text", marks=pytest.mark.slow),
        pytest.param("int8", "token", marks=pytest.mark.slow),
    ],
)
def test_a_real_model_gives_the_same_bytes_by_two_threads_and_by_two_processes_of_one(
    precision: Any, level: Any, python: Python, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, threads, processes = tmp_path / "texts.txt", tmp_path / "threads", tmp_path / "processes"
    source.write_text(
        "\n".join(" ".join(text.split()) for _, text in itertools.islice(paragraphs(), 0, 1200, 10))
    )
    how = f"--precision {precision} --level {level} --shard-texts 30 --device cpu".split()
    command = python("-m", "layerwise", "extract", str(source), "--out", str(threads), *how)
    made = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True)
    if precision == "int8" and "VNNI" in made.stderr:
        pytest.skip("this processor has no VNNI")
    assert made.returncode == 0, made.stderr
    options: dict[str, Any] = {"precision": precision, "level": level, "shard_texts": 30, "device": "cpu"}
    lw.extract(source, processes, workers=2, **options)
    assert len(shard_bytes(threads)) == 12
    assert shard_bytes(threads) == shard_bytes(processes)


def test_a_process_prepares_the_next_task_and_commits_the_last_while_it_makes_one() -> None:
    with ProcessExecutor(Overlapping(), 1) as executor:
        assert sorted(executor.map(TASKS, lambda **_: None)) == sorted(TASKS)


BESIDE = {"a": "b", "y": "z"}  # task that is made: task that is prepared meanwhile


class Steps(Fatal):
    """Takes each task through its steps, and notes when they end."""

    def __init__(self) -> None:
        super().__init__(False)
        self.seen: list[str] = []
        self.next_made = threading.Event()

    def prepare(self, task: Any) -> Any:
        """Note it."""
        self.seen.append(f"prepare {task}")
        return task

    def make(self, task: Any, report: Any) -> Any:
        """Take as long as the next task is prepared."""
        if task in BESIDE:
            until(
                lambda: f"prepare {BESIDE[task]}" in self.seen, f"{BESIDE[task]} to be prepared beside {task}"
            )
        if task == "bad":
            raise LayerwiseError("a task that can't be made")
        self.seen.append(f"make {task}")
        if task == "b":
            self.next_made.set()
        return task

    def commit(self, task: Any) -> Any:
        """Take as long as the next task is made."""
        if task == "a":
            assert self.next_made.wait(SECONDS), "b isn't made while a is committed"
        self.seen.append(f"commit {task}")
        if task == "full":
            raise OutputError("the disk is full")
        return task


def test_one_process_prepares_the_next_task_and_commits_the_last_while_it_makes_one() -> None:
    def tasks() -> Iterator[str]:
        yield from "ab"
        raise LayerwiseError("the source ends in a fault")

    steps = Steps()
    with SerialExecutor(steps) as executor:
        made = executor.map(tasks(), lambda **_: None)
        assert [next(made), next(made)] == ["a", "b"], "what stands before a fault is made"
        with pytest.raises(LayerwiseError, match="ends in a fault"):
            next(made)
    assert steps.seen == ["prepare a", "prepare b", "make a", "make b", "commit a", "commit b"]


def test_one_process_reads_the_next_task_while_it_makes_one() -> None:
    steps = Steps()

    def tasks() -> Iterator[str]:
        yield "first"
        until(lambda: "make first" in steps.seen, "the first to be made while the next is asked for")
        yield "second"

    assert list(SerialExecutor(steps).map(tasks(), lambda **_: None)) == ["first", "second"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal of POSIX")
def test_one_that_waits_for_its_source_can_be_interrupted(model: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "layerwise", "extract", "-", "--model", model, "--device", "cpu"]
    command += ["--shard-texts", "1", "--out", str(tmp_path / "out")]
    # Where the tests run in the background, SIGINT may be ignored, and would be by the child.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("one\ntwo\nthree\n")
        process.stdin.flush()  # and nothing more: the end doesn't come
        until(lambda: (tmp_path / "out" / "work" / "00000.json").exists(), "the first shard")
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(SECONDS) == 130
            assert "interrupted; run the same command again" in process.stderr.read()
        finally:
            process.kill()


def test_what_was_made_before_a_fault_is_committed() -> None:
    steps = Steps()
    made = SerialExecutor(steps).map(["x", "bad", "y"], lambda **_: None)
    assert next(made) == "x"
    with pytest.raises(LayerwiseError, match="can't be made"):
        next(made)
    assert "make y" not in steps.seen
    steps = Steps()
    made = SerialExecutor(steps).map(["x", "full", "y", "z"], lambda **_: None)
    assert next(made) == "x"
    with pytest.raises(OutputError, match="disk is full"):
        list(made)
    assert "make z" not in steps.seen, "no work is done for a disk that is full"


def test_one_that_is_closed_has_nothing_under_way_any_more() -> None:
    steps = Steps()
    executor = SerialExecutor(steps)
    made = executor.map(["x", "y", "z", "w"], lambda **_: None)
    assert next(made) == "x"
    executor.close()
    assert steps.seen[-1] == "commit y", "what was made is committed, and waited for"
    assert "make z" not in steps.seen
    assert list(made) == []


def test_a_second_worker_of_one_index_touches_nothing(corpus: Path, model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = Folder(out)
    with DatasetWriter(out, settings_of(), share=(0, 2)):
        part, loose = disk.aside(folder.shard(0, "tensors")), folder.shard(2, "index")
        for path in (part, loose):
            path.write_bytes(b"of the first")
        for settings in (settings_of(), settings_of("int8")):
            with pytest.raises(DatasetError, match="another process with worker index 0 of 2"):
                DatasetWriter(out, settings, share=(0, 2))
        assert part.exists(), "a file that the first is writing"
        assert loose.exists(), "a file of a shard that the first is about to commit"


def test_processes_end_with_their_parent(corpus: Path, model: str, tmp_path: Path) -> None:
    script = (
        "import layerwise as lw, sys\n"
        "lw.extract(sys.argv[1], sys.argv[2], model=sys.argv[3], workers=2, shard_texts=1, device='cpu')\n"
    )
    texts = ["word " * 60, *(f"text {n}" for n in range(50_000))]
    corpus.write_text("\n".join(texts), encoding="utf-8")
    out = tmp_path / "out"
    parent = psutil.Popen([sys.executable, "-c", script, str(corpus), str(out), model])

    def writing() -> list[Any]:
        """Those of its processes that hold the lock of a share."""
        there = parent.children(recursive=True)
        return [one for one in there if any(path.endswith("-of-2.lock") for path, *_ in one.open_files())]

    def committed() -> int:
        return len(list((out / "work").glob("0*.json")))

    try:
        until(lambda: len(writing()) == 2, "two processes that hold the locks of their shares")
        before = committed()
        until(lambda: committed() > before + 3, "a few shards by both")
        workers = parent.children(recursive=True)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not any(map(there, workers)), "the end of the processes")
    # One whose first thread has ended is a zombie while its other threads, and so its files, are still there.
    until(lambda: all(map(free, (out / "work").glob("*-of-2.lock"))), "the locks to be free")
    made = committed()
    assert 3 < made < len(texts), "killed in the middle"
    corpus.write_text("\n".join(texts[: made + 100]), encoding="utf-8")
    assert lw.extract(corpus, out, model=model, shard_texts=1, device="cpu").text_count == made + 100
    assert check_files(out) == []


def free(path: Path) -> bool:
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    lock.release()
    return True


def there(process: Any) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def shares(corpus: Path, out: Path, model: str, order: list[int]) -> list[dict[str, Any]]:
    return [
        extract_share(corpus, out, (i, len(order)), ExtractOptions(model=model, **OPTIONS)) for i in order
    ]


def test_workers_in_any_order_write_what_one_writes(
    corpus: Path, model: str, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = shares(corpus, out, model, [2, 0, 1])
    assert [one["shards"] for one in found] == [5, 5, 5]
    assert {(one["of_shards"], one["of_texts"]) for one in found} == {(15, len(TEXTS))}
    with pytest.raises(DatasetError, match="is unfinished"):
        lw.open_dataset(out)
    dataset = lw.finish(out)
    assert shard_bytes(out) == whole
    assert check_files(out) == []
    assert not (out / "work").exists()
    assert lw.finish(out).sha256 == dataset.sha256
    assert lw.extract(corpus, out, model=model, **OPTIONS).sha256 == dataset.sha256


def test_one_process_goes_on_where_workers_stopped(
    corpus: Path, model: str, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    extract_share(corpus, out, (1, 3), ExtractOptions(model=model, **OPTIONS))
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    lw.extract(corpus, out, model=model, **OPTIONS)
    assert shard_bytes(out) == whole
    assert {n: (out / "shards" / n).stat().st_mtime_ns for n in kept} == kept, "not made twice"


def test_finish_names_what_is_missing(corpus: Path, model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="doesn't exist; give the folder"):
        lw.finish(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("layerwise.store.DatasetWriter.end_share", lambda *_: None)
        extract_share(corpus, out, (0, 3), ExtractOptions(model=model, **OPTIONS))
    with pytest.raises(DatasetError, match="isn't ready: no worker has read the whole source"):
        lw.finish(out)
    extract_share(corpus, out, (0, 3), ExtractOptions(model=model, **OPTIONS))
    says = r"10 of 15 shards are missing \(1, 2, 4, 5, 7, 8, 10, 11, 13, 14\); run again worker 1, 2 of 3"
    with pytest.raises(DatasetError, match=says):
        lw.finish(out)
    corpus.write_text("".join(corpus.read_text().splitlines(keepends=True)[:30]), encoding="utf-8")
    extract_share(corpus, out, (1, 3), ExtractOptions(model=model, **OPTIONS))
    with pytest.raises(
        DatasetError, match="didn't read the same source: worker 0 read 60 texts and worker 1"
    ):
        lw.finish(out)


def test_a_share_that_is_in_work_is_refused_and_so_is_all_of_it(
    corpus: Path, model: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    extract_share(corpus, out, (0, 2), ExtractOptions(model=model, **OPTIONS))
    (out / "work" / "1-of-2.lock").touch()
    with filelock.FileLock(out / "work" / "1-of-2.lock"):
        with pytest.raises(DatasetError, match="in use: another process with worker index 1 of 2"):
            extract_share(corpus, out, (1, 2), ExtractOptions(model=model, **OPTIONS))
        with pytest.raises(DatasetError, match="in use: worker 1 of 2 is writing it"):
            lw.extract(corpus, out, model=model, **OPTIONS)
        with pytest.raises(DatasetError, match="in use: worker 1 of 2 is writing it"):
            lw.finish(out)
        for other in ((0, 3), (0, 12)):
            with pytest.raises(DatasetError, match="in use: worker 1 of 2 is writing it"):
                extract_share(corpus, out, other, ExtractOptions(model=model, **OPTIONS))
        extract_share(
            corpus, out, (0, 2), ExtractOptions(model=model, **OPTIONS)
        )  # the others aren't in its way
    extract_share(corpus, out, (1, 2), ExtractOptions(model=model, **OPTIONS))
    assert lw.finish(out).text_count == len(TEXTS)


def test_others_are_not_kept_waiting_while_a_share_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.store import staging

    take_up, seen = staging.take_up, []

    def looked(folder: Folder, *given: Any) -> Any:
        with filelock.FileLock(folder.lock, timeout=0):
            seen.append(True)
        return take_up(folder, *given)

    monkeypatch.setattr(staging, "take_up", looked)
    with DatasetWriter(tmp_path / "out", settings_of(), share=(0, 2)):
        assert seen == [True], "the lock of all is free meanwhile"


def test_another_number_of_workers_over_a_source_that_grew(corpus: Path, model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shares(corpus, out, model, [0, 1, 2])
    corpus.write_text(corpus.read_text() + "one more\n", encoding="utf-8")
    shares(corpus, out, model, [0, 1])
    assert lw.finish(out).text_count == len(TEXTS) + 1
    assert check_files(out) == []


@pytest.mark.parametrize(
    ("share", "says"),
    [
        ((2, 2), "worker_index=2 doesn't fit num_workers=2; it must be 0 to 1"),
        ((-1, 3), "worker_index=-1 doesn't fit num_workers=3; it must be 0 to 2"),
        ((0, 0), "num_workers=0 is too small; give at least 1"),
    ],
)
def test_a_worker_that_does_not_exist(
    corpus: Path, share: tuple[int, int], says: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=says):
        extract_share(corpus, tmp_path / "out", share, ExtractOptions())


def test_shares_with_other_settings_are_refused(corpus: Path, model: str, tmp_path: Path) -> None:
    extract_share(corpus, tmp_path / "out", (0, 2), ExtractOptions(model=model, **OPTIONS))
    with pytest.raises(DatasetError, match="made with other settings: dtype"):
        extract_share(corpus, tmp_path / "out", (1, 2), ExtractOptions(model=model, dtype="int8", **OPTIONS))


def test_a_full_disk_stops_a_share_and_nothing_is_lost(
    corpus: Path, model: str, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerwise.store import tensors

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    extract_share(corpus, out, (0, 2), ExtractOptions(model=model, **OPTIONS))
    with monkeypatch.context() as patch:
        patch.setattr(tensors, "_reserve", full)
        with pytest.raises(
            OutputError, match="No space left on device; what was committed is kept; free some"
        ):
            extract_share(corpus, out, (1, 2), ExtractOptions(model=model, **OPTIONS))
    extract_share(corpus, out, (1, 2), ExtractOptions(model=model, **OPTIONS))
    lw.finish(out)
    assert shard_bytes(out) == whole


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_shares_killed_fifty_times_give_the_same_bytes(python: Python, model: str, tmp_path: Path) -> None:
    """Each of two workers is killed by SIGKILL at random points of its work, and started again."""
    assert killed_anywhere(python(), model, tmp_path, "shares") >= 50


@pytest.mark.slow
@needs_proc
@pytest.mark.usefixtures("quick_workers")
def test_processes_killed_fifty_times_give_the_same_bytes(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "many.txt"
    source.write_text("".join(f"text {n}\n" for n in range(4000)), encoding="utf-8")
    whole = shard_bytes(lw.extract(source, tmp_path / "whole", model=model, **OPTIONS).path)
    survives(50, source, model, tmp_path / "out", whole, monkeypatch)
