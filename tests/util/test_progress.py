"""Progress: what events say, how they are shown, and that every long verb gives them."""

import contextlib
import inspect
import io
import json
import os
import pty
import shutil
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwise as lw
from conftest import make_model
from layerwise._util import threads
from layerwise._util.progress import Callback, Progress, Tracker, tracking
from layerwise.api.bench import bench
from layerwise.api.explore import served
from layerwise.api.extract import extract_share
from layerwise.api.show import show
from layerwise.cli.main import _parser, main
from layerwise.cli.progress import ProgressDisplay
from layerwise.errors import RequestError
from layerwise.heads.evaluate import evaluate
from layerwise.heads.inputs import open_source
from layerwise.heads.predict import predict_source
from layerwise.heads.text_kind import TextKind
from layerwise.options import ExtractOptions, PageOptions
from layerwise.parallel.local import ProcessExecutor
from layerwise.parallel.ray import RayExecutor
from planted import noise, states_of, words_of
from selection import few_of

pytestmark = pytest.mark.usefixtures("quick_ceilings", "quick_workers")

Events = list[Progress]
Call = Callable[..., Any]
COMPUTES = (
    *("extract", "probe", "train", "evaluate", "analyze", "report", "explore", "pool", "verify", "repair"),
    "predict",
    "align",
)
COPIES = ("merge", "finish", "export")
LONG_COMMANDS = (*COMPUTES, *COPIES, "bench")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# ---- events


def test_an_event_is_a_line_for_people() -> None:
    found = Progress("candidate mean(1:)", 8, 13, "folds 1 to 25 of 25, C 4 of 6", 0.379, 723.0)
    assert str(found) == (
        "37% · 12 min 3 s left · candidate mean(1:), 8 of 13 · folds 1 to 25 of 25, C 4 of 6"
    )
    found = Progress("file a.csv", 1, 3, "", 0.25, 30.0, 1000, 30000, 100.0, 3000.0)
    assert str(found) == ("25% · 30 s left · file a.csv, 1 of 3 · 1,000 texts · 100 texts/s · 3,000 tokens/s")
    assert str(Progress("file stdin", 1, 1, texts=5, tokens=9)) == "file stdin, 1 of 1 · 5 texts"
    assert str(Progress("scores", share=0.999, seconds_left=3700)) == "99% · 1 h 1 min left · scores"
    assert lw.Progress is Progress


def test_nested_steps_share_a_call_by_their_weights() -> None:
    events: Events = []
    clock = Clock()
    with tracking(events.append, clock) as track:
        first, second = track.split(3, 1)
        for name, step in first.each("ab", ("task a", "task b")):
            clock.now += 6
            step.report(0.5, f"half of {name}")
        for _, step in second.each(range(2), ("round 1 of 2", "round 2 of 2")):
            step.report(0.5)
    seen = [(e.stage, e.number, e.of, e.detail, e.share) for e in events]
    assert seen == [
        ("task a", 1, 2, "", 0.0),
        ("task a", 1, 2, "half of a", 0.1875),
        ("task b", 2, 2, "", 0.375),
        ("task b", 2, 2, "half of b", 0.5625),
        ("round 1 of 2", 1, 2, "", 0.75),
        ("round 1 of 2", 1, 2, "", 0.8125),
        ("round 2 of 2", 2, 2, "", 0.875),
        ("round 2 of 2", 2, 2, "", 0.9375),
        ("round 2 of 2", 2, 2, "", 1.0),
    ]
    assert events[0].seconds_left is None
    assert events[1].seconds_left == pytest.approx(6 * 0.8125 / 0.1875)
    assert events[3].seconds_left == pytest.approx(12 * 0.4375 / 0.5625)
    assert events[-1].seconds_left == 0


def test_steps_within_a_stage_are_its_detail() -> None:
    events: Events = []
    with tracking(events.append) as track:
        stage = track.named("weights of learned(all)")
        for _, step in stage.each("xy", ("without layer 1", "without layer 2")):
            step.report(0.0, "C 1 of 9")
    assert [e.detail for e in events][1:3] == ["without layer 1", "without layer 1, C 1 of 9"]
    assert {e.stage for e in events} == {"weights of learned(all)"}


def test_rates_and_time_left_count_from_the_first_batch_and_without_what_was_there() -> None:
    events: Events = []
    clock = Clock()
    with tracking(events.append, clock) as call:
        track = call.named("file a.csv", 1, 3)
        clock.now += 30  # a model was loaded
        track.skip(0.4)  # from an earlier run
        track.report(0.5, texts=10, tokens=100)
        clock.now += 2
        track.report(0.6, texts=20, tokens=200)
    assert str(events[2]) == ("60% · 8 s left · file a.csv, 1 of 3 · 30 texts · 10 texts/s · 100 tokens/s")


def test_a_share_never_falls_and_is_unknown_where_nobody_knows() -> None:
    events: Events = []
    with tracking(events.append) as track:
        track.report(0.8)
        track.report(0.2)
        track.unknown().report(0.5)
        track.report(None)
    assert [e.share for e in events] == [0.8, 0.8, None, None, 1.0]


def test_events_of_several_threads_come_one_at_a_time_in_order() -> None:
    events: Events = []
    inside = threading.Lock()

    def callback(event: Progress) -> None:
        assert inside.acquire(blocking=False), "two threads are in the callback"
        events.append(event)
        inside.release()

    with tracking(callback) as track:
        parts = track.named("threads").split(*[1.0] * 4)
        several = [threading.Thread(target=_reports, args=(part,)) for part in parts]
        for one in several:
            one.start()
        for one in several:
            one.join()
    assert len(events) == 1 + 4 * 200 + 1
    assert events[-1].texts == 800
    fits(events)


def _reports(part: Tracker) -> None:
    for n in range(200):
        part.report(n / 200, texts=1, tokens=3)


# ---- shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(share: float, left: float | None = None) -> Progress:
    return Progress("measure rsa", 3, 17, "repeat 2 of 6", share, left)


def test_a_log_gets_a_line_a_minute_and_none_before() -> None:
    log, clock = io.StringIO(), Clock()
    display = ProgressDisplay(log, clock=clock)
    for second in range(1, 181):
        clock.now += 1
        display(event(second / 200, 200.0 - second))
    assert log.getvalue().splitlines() == [
        "layerwise: 30% · 2 min 20 s left · measure rsa, 3 of 17 · repeat 2 of 6",
        "layerwise: 60% · 1 min 20 s left · measure rsa, 3 of 17 · repeat 2 of 6",
        "layerwise: 90% · 20 s left · measure rsa, 3 of 17 · repeat 2 of 6",
    ]
    short = io.StringIO()
    with ProgressDisplay(short, clock=clock) as display:
        display(event(0.0))
        clock.now += 59
        display(event(0.9))
    assert short.getvalue() == ""


def test_a_minute_without_an_event_gets_its_line_too() -> None:
    log, clock = io.StringIO(), Clock()
    display = ProgressDisplay(log, clock=clock)
    clock.now += 1
    display(event(0.5, 100.0))
    clock.now += 60
    display.tick()
    display.tick()
    assert log.getvalue() == "layerwise: 50% · 40 s left · measure rsa, 3 of 17 · repeat 2 of 6\n"


def test_somebody_looks_whether_a_line_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerwise.cli.progress._POLL", 0.001)
    clock, written = Clock(), threading.Event()

    class Log(io.StringIO):
        def write(self, text: str) -> int:
            written.set()
            return super().write(text)

    with ProgressDisplay(Log(), clock=clock) as display:
        display(event(0.5))
        clock.now += 61
        assert written.wait(60)


def test_a_terminal_gets_one_line_redrawn_twice_a_second_at_most_and_wiped() -> None:
    screen, clock = Terminal(), Clock()
    with ProgressDisplay(screen, clock=clock) as display:
        display(event(0.1))
        for _ in range(4):
            clock.now += 0.25
            display(event(0.5))
    drawn = screen.getvalue().split("\r")
    assert [line.partition(" ")[0] for line in drawn[1:4]] == ["10%", "50%", "50%"]
    assert drawn[4].strip() == "", "wiped"
    assert drawn[4] == " " * len(drawn[3])
    assert drawn[5:] == [""]
    assert "\n" not in screen.getvalue()


def test_a_line_fits_the_terminal() -> None:
    screen = Terminal()
    with ProgressDisplay(screen) as display:
        display(Progress("file " + "天气" * 40 + "\n\x1b[2J", 1, 2, "", 0.5))
    line = screen.getvalue().split("\r")[1]
    assert line.startswith("50% · file 天气")
    assert line.endswith("…")
    assert len(line) + sum(c in "天气" for c in line) <= 79
    assert "\x1b" not in screen.getvalue()


def test_a_warning_stands_where_the_line_stood() -> None:
    screen = Terminal()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: screen.write(f"note: {message}\n")  # type: ignore[assignment]
        with ProgressDisplay(screen) as display:
            display(event(0.1))
            warnings.warn("careful", UserWarning, stacklevel=1)
            assert screen.getvalue().endswith(" \rnote: careful\n")
            display(event(0.2))


def test_a_stream_that_fails_is_no_fault() -> None:
    tried: list[str] = []

    class Gone(Terminal):
        def write(self, text: str) -> int:
            tried.append(text)
            raise OSError("gone")

    with ProgressDisplay(Gone()) as display:
        display(event(0.1))
    assert "10%" in tried[0]


class Pseudoterminal(io.TextIOWrapper):
    """A terminal of the system, whose other end is read as it is written to: it would block when full."""

    def __init__(self) -> None:
        self._inner, outer = pty.openpty()
        os.set_blocking(self._inner, False)
        self.seen = b""
        super().__init__(io.FileIO(outer, "w"))

    def write(self, text: str) -> int:
        count = super().write(text)
        self.flush()
        with contextlib.suppress(BlockingIOError):
            while True:
                self.seen += os.read(self._inner, 1 << 16)
        return count

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._inner)

    @property
    def shown(self) -> str:
        """All that was written so far."""
        return self.seen.decode()


def test_a_command_on_a_terminal(
    texts: lw.LayerDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Pseudoterminal()
    with screen, monkeypatch.context() as patch:
        patch.setattr("layerwise.cli.progress.REDRAWN", 0)
        patch.setattr(sys, "stderr", screen)
        _check_terminal(screen, texts, tmp_path, capsys)


def _check_terminal(
    screen: Pseudoterminal, texts: lw.LayerDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["analyze", str(texts.path), "--measure", "norm", "--measure", "rsa", "--max-rows", "20"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    shown = screen.shown
    assert "measure rsa, 2 of 2 · repeat 1 of 5" in shown
    assert "drawing the figures" in shown
    assert shown.endswith(" \r"), "the line is wiped"
    assert main([*command, "--out", str(tmp_path / "b"), "--quiet"]) == 0
    assert screen.shown == shown, "--quiet shows nothing"
    capsys.readouterr()
    assert main([*command, "--out", str(tmp_path / "c"), "--json"]) == 0
    json.loads(capsys.readouterr().out)
    assert screen.shown != shown, "--json is of stdout; progress is on stderr"


def test_a_command_in_a_log(
    texts: lw.LayerDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("layerwise.cli.progress.LOGGED", 0)
    command = ["analyze", str(texts.path), "--measure", "norm"]
    assert main([*command, "--out", str(tmp_path / "a"), "--json"]) == 0
    found = capsys.readouterr()
    json.loads(found.out)
    assert all(line.startswith("layerwise: ") for line in found.err.splitlines())
    assert "measure norm, 1 of 1" in found.err
    assert main([*command, "--out", str(tmp_path / "b"), "--json", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_every_long_command_can_be_quiet_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for name in LONG_COMMANDS:
        with pytest.raises(SystemExit):
            _parser().parse_args([name, "-h"])
        text = capsys.readouterr().out
        assert "--quiet" in text, name
        assert "show no progress on stderr" in text, name
        assert ("--threads N" in text) == (name not in COPIES), name
    with pytest.raises(SystemExit):
        _parser().parse_args(["show", "-h"])
    assert "--threads N" in capsys.readouterr().out


# ---- the verbs


def fits(events: Events) -> None:
    """Check what holds of the events of every call."""
    shares = [event.share for event in events if event.share is not None]
    assert shares == sorted(shares), "the share never falls"
    assert shares[-1] == events[-1].share == 1.0
    assert events[-1].seconds_left == 0
    for one in events:
        assert one.stage, one
        assert (one.number is None) == (one.of is None), one
        assert one.number is None or 1 <= one.number <= (one.of or 0), one
        assert one.seconds_left is None or one.seconds_left >= 0, one


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("progress")


@pytest.fixture(scope="module")
def model(place: Path) -> str:
    return str(make_model("bert", place / "model", num_hidden_layers=2))


@pytest.fixture(scope="module")
def source(place: Path) -> list[str]:
    """Two files of 20 labelled texts each."""
    paths = []
    for name in "ab":
        lines = [
            {"text": f"Every layer {name} of text {n} as data", "y": "pn"[n % 2], "z": n} for n in range(20)
        ]
        paths.append(place / f"{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def tokens(place: Path, model: str, source: list[str]) -> lw.LayerDataset:
    return lw.extract(source, place / "tokens.lw", model=model, level="token", shard_texts=8, device="cpu")


@pytest.fixture(scope="module")
def texts(place: Path, model: str, source: list[str]) -> lw.LayerDataset:
    return lw.extract(source, place / "texts.lw", model=model, shard_texts=8, device="cpu")


@pytest.fixture(scope="module")
def head(place: Path, texts: lw.LayerDataset) -> lw.Head:
    return lw.train(texts, task="classify", label="y", mix="1", out=place / "y.head")


def damaged(dataset: lw.LayerDataset, to: Path) -> Path:
    """Copy a dataset, and change a byte of a shard."""
    shutil.copytree(dataset.path, to)
    file = to / "shards" / "00001.safetensors"
    changed = bytearray(file.read_bytes())
    changed[-1] ^= 1
    file.write_bytes(bytes(changed))
    return to


def shared(source: list[str], out: Path, model: str) -> Path:
    """Write the shards of two workers."""
    for index in range(2):
        extract_share(source, out, (index, 2), ExtractOptions(model=model, shard_texts=8, device="cpu"))
    return out


@pytest.fixture
def calls(
    tmp_path: Path,
    model: str,
    source: list[str],
    tokens: lw.LayerDataset,
    texts: lw.LayerDataset,
    head: lw.Head,
) -> dict[str, Call]:
    """Every long verb on something small, to be called with progress (and threads); results go to `out`."""
    out = tmp_path / "out"
    half: dict[str, Any] = {"model": model, "device": "cpu", "shard_texts": 8}
    words = [f"Every layer {n} of data" for n in range(5)]
    corpus = open_source(TextKind(), source)
    damaged(texts, tmp_path / "damaged.lw")
    shared(source, tmp_path / "shared.lw", model)
    return {
        "extract": lambda **o: lw.extract(source, out, **half, **o),
        "probe": lambda **o: lw.probe(
            texts, task="classify", label="y", out=out, quick=True, random_model=True, **o
        ),
        "train": lambda **o: lw.train(texts, task="classify", label="y", mix="learned(all)", out=out, **o),
        "train two": lambda **o: lw.train(
            texts, tasks={"y": "classify:y", "z": "regress:z"}, shared_hidden=4, epochs=3, out=out, **o
        ),
        "analyze": lambda **o: lw.analyze(texts, out=out, label="y", max_rows=20, **o),
        "report": lambda **o: lw.report(texts, out, **o),
        "explore": lambda **o: lw.explore(texts, **o),
        "served": lambda **o: served(texts, PageOptions(), **o),
        "pool": lambda **o: lw.pool(tokens, out, **o),
        "merge": lambda **o: lw.merge([texts, texts], out, **o),
        "verify": lambda **o: lw.verify(texts.path, sample=4, device="cpu", **o),
        "repair": lambda **o: lw.repair(tmp_path / "damaged.lw", device="cpu", **o),
        "finish": lambda **o: lw.finish(tmp_path / "shared.lw", **o),
        "export": lambda **o: lw.export(texts, out, to="npy", **o),
        "export parquet": lambda **o: lw.export(texts, out, **o),
        "export small": lambda **o: lw.export(texts, out, to="binary", mix="1", **o),
        "predict": lambda **o: lw.predict(head, source, **o),
        "head predict": lambda **o: head.predict(words, **o),
        "predict source": lambda **o: list(predict_source(head, corpus, **o)),
        "evaluate": lambda **o: head.evaluate(source, **o),
        "evaluate rows": lambda **o: head.evaluate(texts, **o),
        "bench": lambda **o: bench(
            model=model, source=source, texts=4, rounds=2, bf16=False, int8=False, device="cpu", **o
        ),
    }


NAMES = (
    *("extract", "probe", "train", "train two", "analyze", "report", "explore", "served", "pool", "merge"),
    *("verify", "repair", "finish", "export", "export parquet", "export small", "predict", "head predict"),
    "predict source",
    *("evaluate", "evaluate rows", "bench"),
)


# Each of the others computes for a second or less.
SHORT = [name for name in NAMES if name not in ("analyze", "probe", "bench")]


@pytest.mark.parametrize("name", few_of(NAMES, *SHORT))
def test_every_long_verb_tells_how_far_it_has_come(name: str, calls: dict[str, Call]) -> None:
    events: Events = []
    used: set[int] = set()

    def callback(event: Progress) -> None:
        events.append(event)
        used.update((threads.choose().number, torch.get_num_threads()))

    copies = name.split()[0] in COPIES
    calls[name](progress=callback, **({} if copies else {"threads": 3}))
    fits(events)
    assert len(events) > 2
    steps = [
        event for event in events if event.number is not None or " of " in f"{event.stage} {event.detail}"
    ]
    assert steps, "which of how many"
    assert copies or 3 in used, "what --threads says holds while it computes"


@pytest.mark.parametrize("name", few_of(NAMES, *SHORT))
def test_what_a_callback_raises_ends_the_verb_and_leaves_nothing_that_looks_finished(
    name: str, calls: dict[str, Call], tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def callback(event: Progress) -> None:
        if event.share is not None and event.share > 0.3:
            raise StopError

    with pytest.raises(StopError):
        calls[name](progress=callback)
    out = tmp_path / "out"
    assert not out.exists() or not (out / "manifest.json").exists()
    if name not in ("extract", "pool", "merge"):  # these go on where they stopped
        assert not out.exists()
    for one in ("repair", "finish"):
        if name == one:
            calls[name]()


@pytest.mark.parametrize("name", [name for name in NAMES if name.split()[0] not in COPIES])
def test_a_wrong_number_of_threads_is_told_before_anything_is_done(
    name: str, calls: dict[str, Call], tmp_path: Path
) -> None:
    events: Events = []
    with pytest.raises(RequestError, match="threads=0 is out of range"):
        calls[name](threads=0, progress=events.append)
    assert not events
    assert not (tmp_path / "out").exists()


def test_every_long_verb_takes_progress_and_threads() -> None:
    others: dict[str, Call] = {
        "Head.predict": lw.Head.predict,
        "Head.evaluate": lw.Head.evaluate,
        "predict_source": predict_source,
        "evaluate_head": evaluate,
        "served": served,
        "extract_share": extract_share,
        "bench": bench,
        "cut": lw.cut,
    }
    computing = {name: getattr(lw, name) for name in COMPUTES} | others
    for name, verb in (computing | {name: getattr(lw, name) for name in COPIES}).items():
        given = inspect.signature(verb).parameters
        assert given["progress"].default is None, name
        assert given["progress"].annotation in ("Callback | None", Callback | None), name
        assert given["progress"].kind is inspect.Parameter.KEYWORD_ONLY, name
        if name not in COPIES:
            assert given["threads"].default is None, name
            assert given["threads"].annotation in ("int | None", int | None), name
        assert "tell" not in given, name
    assert inspect.signature(show).parameters["threads"].default is None
    public = {name for name in lw.__all__ if inspect.isfunction(getattr(lw, name))}
    quick = {
        "bench",
        "cut",
        "show",
        "info",
        "env",
        "load_encoder",
        "load_head",
        "load_transform",
        "open_dataset",
    }  # or looked at above
    assert public == {*COMPUTES, *COPIES, *quick}, "a new verb?"


def test_extract_names_the_file_and_counts_texts_and_tokens(
    model: str, source: list[str], tmp_path: Path
) -> None:
    events: Events = []
    dataset = lw.extract(
        source, tmp_path / "out", model=model, shard_texts=4, device="cpu", progress=events.append
    )
    files = {(event.stage, event.number, event.of) for event in events if event.number}
    assert files == {(f"file {path}", n, 2) for n, path in enumerate(source, 1)}
    totals = dataset.manifest.totals
    assert (events[-1].texts, events[-1].tokens) == (40, totals.tokens)
    again: Events = []
    lw.extract(source, tmp_path / "out", model=model, shard_texts=4, device="cpu", progress=again.append)
    fits(again)
    assert again[-1].texts is None, "nothing was encoded"


def test_what_an_interrupted_extract_made_counts_as_done(
    model: str, source: list[str], tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def callback(event: Progress) -> None:
        if event.share is not None and event.share > 0.6:
            raise StopError

    options: dict[str, Any] = {"model": model, "shard_texts": 4, "device": "cpu"}
    with pytest.raises(StopError):
        lw.extract(source, tmp_path / "out", progress=callback, **options)
    events: Events = []
    lw.extract(source, tmp_path / "out", progress=events.append, **options)
    fits(events)
    first = next(event for event in events if event.texts)
    assert first.share is not None
    assert first.share > 0.3
    assert (events[-1].texts or 40) < 40


def test_events_come_from_the_processes_of_workers_and_what_a_callback_raises_ends_them(
    model: str, source: list[str], tmp_path: Path
) -> None:
    events: Events = []

    def callback(event: Progress) -> None:
        events.append(event)
        if (event.share or 0.0) > 0.5:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        lw.extract(
            source, tmp_path / "a", model=model, workers=2, shard_texts=4, device="cpu", progress=callback
        )
    assert events[-1].texts
    assert events[-1].tokens
    assert not (tmp_path / "a" / "manifest.json").exists()


def test_workers_share_the_threads(
    model: str, source: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def init(self: Any, recipe: Any, count: int, threads: int | None = None) -> None:
        given.append((count, threads))
        raise RequestError("enough")

    several: list[tuple[Any, dict[str, Any]]] = [(ProcessExecutor, {}), (RayExecutor, {"cluster": "ray"})]
    for executor, options in several:
        monkeypatch.setattr(executor, "__init__", init)
        with pytest.raises(RequestError, match="enough"):
            lw.extract(source, tmp_path / "a", model=model, workers=2, threads=4, device="cpu", **options)
    assert given == [(2, 4), (2, 4)]


def test_from_a_pipe_the_share_is_unknown_until_the_end(
    head: lw.Head, source: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = b"".join(Path(path).read_bytes() for path in source)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    events: Events = []
    corpus = open_source(TextKind(), "-", format="jsonl")
    assert len(list(predict_source(head, corpus, progress=events.append))) == 40
    assert [event.share for event in events[:-1]] == [None] * (len(events) - 1)
    assert (events[-1].share, events[-1].texts, events[-1].stage) == (1.0, 40, "file stdin")


def test_predictions_hold_no_threads_while_the_caller_has_its_turn(head: lw.Head, source: list[str]) -> None:
    before = threads.choose().number
    for found in predict_source(head, open_source(TextKind(), source), threads=before + 3):
        assert threads.choose().number == before, found.doc


def test_probe_names_candidate_fold_and_C() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    layers = noise(200, 6, 3)
    layers[2][:, 0] += 20 * y
    events: Events = []
    lw.probe(states_of(layers, {"y": y.astype(str)}), task="classify", label="y", progress=events.append)
    fits(events)
    candidates = list(dict.fromkeys(event.stage for event in events if event.stage.startswith("candidate ")))
    of = {event.of for event in events if event.stage.startswith("candidate ")}
    assert of == {len(candidates)}
    assert candidates[:4] == ["candidate emb", "candidate 1", "candidate 2", "candidate mean(1:)"]
    own = [event.detail for event in events if event.stage == "candidate emb"]
    assert "folds 1 to 25 of 25, C 1 of 6" in own
    stages = {event.stage: event.detail for event in events}
    assert "baselines" in stages
    weights = [event.detail for event in events if event.stage == "weights of learned(all)"]
    assert any(detail.startswith("resamples 1 to 20 of 20, C ") for detail in weights)
    assert any(detail.startswith("without layer emb, C ") for detail in weights)


def test_probe_of_words_names_the_control_task() -> None:
    words = [[f"w{n % 7}", f"w{n % 5}", "x"] for n in range(40)]
    y = ["ab"[n % 2] for n in range(120)]
    events: Events = []
    lw.probe(
        words_of(noise(120, 4, 2), words, {"y": y}), task="classify", label="y", mix=[], quick=True,
        progress=events.append,
    )  # fmt: skip
    fits(events)
    assert any(event.detail.startswith("control task, fold") for event in events)
    assert any(event.stage == "baselines" and event.detail == "fold 5 of 5" for event in events)


def test_probe_of_random_models_counts_their_texts(texts: lw.LayerDataset) -> None:
    events: Events = []
    lw.probe(texts, task="classify", label="y", mix=[], quick=True, random_model=True, progress=events.append)
    models = [event for event in events if event.stage == "random model"]
    assert {(event.number, event.of) for event in models} == {(1, 3), (2, 3), (3, 3)}
    assert any(event.detail == "encoding 40 texts" for event in models)
    assert events[-1].texts == 120


def test_the_time_left_of_a_probe_goes_by_what_candidates_cost() -> None:
    """A clock that runs as fits do by the table in docs/explanation/performance.md shows a time left that is about right."""
    from layerwise.probing.candidates import candidates, time_of

    several = {one.name: time_of(one) for one in candidates(states_of(noise(20, 4, 7), {}), None)}
    seconds = {
        "emb": 2.7,
        "6": 17.7,
        "mean(1:)": 9.2,
        "concat(-4:)": 43.6,
        "concat(all)": 99.1,
        "learned(all)": 111,
    }
    for name, measured in seconds.items():
        assert 0.5 < several[name] * 9 / measured < 2, name


def test_train_names_task_C_and_refits(texts: lw.LayerDataset) -> None:
    events: Events = []
    lw.train(texts, task="classify", label="y", mix="learned(all)", draws=3, progress=events.append)
    assert {event.stage for event in events} == {"reading the layers", "all rows", "task y"}
    details = [event.detail for event in events]
    assert "C 1 of 3, epoch 0 of at most 200" in details
    assert any(detail.startswith("weights, resample 3 of 3, epoch ") for detail in details)
    assert any(detail.startswith("weights, without layer emb, epoch ") for detail in details)
    linear: Events = []
    lw.train(texts, task="classify", label="y", mix="1", progress=linear.append)
    assert any(event.detail.startswith("C 2 of ") for event in linear)


# ---- threads on the command line


def test_threads_go_to_the_tokenizer_unless_the_user_said_otherwise(
    texts: lw.LayerDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    seen: list[tuple[str | None, int]] = []

    def callback(self: ProgressDisplay, event: Progress) -> None:
        seen.append((os.environ.get("RAYON_NUM_THREADS"), threads.choose().number))

    monkeypatch.setattr(ProgressDisplay, "__call__", callback)
    command = ["analyze", str(texts.path), "--measure", "norm", "--threads", "3"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    assert set(seen) == {("3", 3)}
    assert "RAYON_NUM_THREADS" not in os.environ
    monkeypatch.setenv("RAYON_NUM_THREADS", "7")
    seen.clear()
    assert main([*command, "--out", str(tmp_path / "b")]) == 0
    assert set(seen) == {("7", 3)}


def test_wrong_threads_are_refused_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", "nothing.csv", "--out", str(tmp_path / "a"), "--threads", "0"]) == 2
    assert capsys.readouterr().err.startswith("layerwise: --threads 0 is out of range")


def test_env_says_how_many_threads_and_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)  # tests have one
    assert main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["threads"] == "5 (OMP_NUM_THREADS)"
