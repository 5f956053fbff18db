"""Used by several threads, in forked children and as pickles: what comes out is what comes out alone."""

import copyreg
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import layerwise as lw
from conftest import FAMILIES, make_model
from layerwise._util import threads
from layerwise._util.locks import Shared, new_lock
from layerwise._util.openmp import _WAITING as WAITING
from layerwise._util.openmp import Waits
from layerwise._util.quota import cpu_quota
from layerwise._util.silence import silenced
from layerwise.encode import forwards
from layerwise.encode.batches import Sequences, batches
from layerwise.encode.gather import Memory
from layerwise.encode.load import load_encoder, load_plain_encoder
from layerwise.errors import ModelError, RequestError
from layerwise.heads.gradient import fit
from layerwise.heads.loop_tasks import LoopOptions, LoopTask
from layerwise.probing.batched_solver import Solver
from layerwise.probing.fits import Fits
from reference import Plain, worst
from selection import few_of

TEXTS = [
    "The river bank was flooded.",
    "The bank lends money to farmers.",
    "a",
    "Every layer of every encoder, as data.",
    "word " * 70,
    "The first layers know where a word stands; the last know more than it says.",
]
ASKED = ("all", "emb", "-1", "1,3", "2")
Call = Callable[[], Any]


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Calls that compute with two threads each, as on a machine with two free processors."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def head(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> lw.Head:
    folder = tmp_path_factory.mktemp("head")
    lines = [f"text,label\n{''.join(f'{text},{n % 2}' + chr(10) for n, text in enumerate(short()))}"]
    (folder / "rows.csv").write_text(lines[0], encoding="utf-8")
    dataset = lw.extract(
        folder / "rows.csv", folder / "rows.lw", model=str(model_folder("bert")), device="cpu"
    )
    return lw.train(dataset, task="classify", label="label", mix="mean(1:)", out=folder / "label.head")


def short() -> list[str]:
    return [text.replace(",", " ").strip() for text in TEXTS if len(text) < 100] * 6


def result(call: Call) -> bytes:
    """What a call gives, to the bit."""
    made = call()
    if isinstance(made, np.ndarray):
        return made.tobytes()
    return pickle.dumps(made)


def together(calls: list[Call], workers: int = 8) -> list[bytes]:
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(result, calls))


def encodes(encoder: Any, count: int) -> list[Call]:
    """Calls for different texts, layers, levels and pools."""
    made: list[Call] = []
    for number in range(count):
        texts = [TEXTS[(number + k) % len(TEXTS)] for k in range(1 + number % 3)]
        level, pool = [("text", "mean"), ("word", "max"), ("token", None), ("text", "first")][number % 4]
        layers = ASKED[number % len(ASKED)]
        made.append(partial(lambda *given: encoder.encode(*given).stack(), texts, layers, level, pool))
    return made


def test_eight_threads_do_what_one_does(
    encoder_of: Callable[[str], Any], head: lw.Head, two_threads: None
) -> None:
    encoder = encoder_of("bert")
    features = lw.LayerFeatures(encoder, mix="sum(1,3; norm=layer)").fit(TEXTS)
    calls = encodes(encoder, 110)
    for number in range(30):
        text = TEXTS[number % len(TEXTS)]
        calls.append(partial(head.predict, [text, TEXTS[(number + 1) % len(TEXTS)]]))
        calls.append(partial(features.transform, [text]))
        calls.append(partial(encoder.attention, text))
    order = np.random.default_rng(0).permutation(len(calls))
    calls = [calls[place] for place in order]
    assert len(calls) == 200
    alone = [result(call) for call in calls]
    found = together(calls)
    wrong = [place for place, (a, b) in enumerate(zip(found, alone, strict=True)) if a != b]
    assert not wrong, (
        f"{len(wrong)} of {len(calls)} calls gave something else than alone, the first: {wrong[:5]}"
    )


@pytest.mark.parametrize("family", few_of(FAMILIES, "bert", "roberta", "deberta-v2", "t5", "modernbert"))
def test_every_family_in_four_threads(
    family: str, encoder_of: Callable[[str], Any], two_threads: None
) -> None:
    encoder = encoder_of(family)
    calls = encodes(encoder, 24)
    alone = [result(call) for call in calls]
    assert together(calls, 4) == alone


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions(precision: str, model_folder: Callable[[str], Path], two_threads: None) -> None:
    try:
        encoder = load_encoder(model_folder("bert"), device="cpu", precision=precision)
    except RequestError as error:
        pytest.skip(str(error))
    calls = encodes(encoder, 40)
    alone = [result(call) for call in calls]
    assert together(calls, 4) == alone


def test_plain_forwards(model_folder: Callable[[str], Path]) -> None:
    encoder = load_plain_encoder(model_folder("bert"), device="cpu")
    calls = encodes(encoder, 16)
    alone = [result(call) for call in calls]
    assert together(calls, 4) == alone


def test_a_head_is_loaded_once_however_many_threads_ask(
    head: lw.Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []
    fresh = pickle.loads(pickle.dumps(head))

    def load(*given: Any, **options: Any) -> Any:
        loads.append(1)
        return head.encoder

    monkeypatch.setattr(fresh, "_encoder", None)
    monkeypatch.setattr("layerwise.heads.predict.load_model", load)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(fresh.predict, [["a bank"]] * 16))
    assert len(loads) == 1
    assert all(answer == answers[0] for answer in answers)


def test_a_dataset_is_read_by_several_threads(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(short()), encoding="utf-8")
    made = lw.extract(
        tmp_path / "texts.txt", tmp_path / "out", model=str(model_folder("bert")), shard_texts=3, device="cpu"
    )
    dataset = lw.open_dataset(made.path)
    rows = np.array([17, 3, 3, 0, 9])
    calls: list[Call] = [partial(dataset.layer, str(n % 4), rows=rows if n % 2 else None) for n in range(80)]
    alone = [result(partial(lw.open_dataset(made.path).layer, *c.args, **c.keywords)) for c in calls]  # type: ignore[attr-defined]
    assert together(calls) == alone


def test_random_weights_are_those_of_their_seed_whoever_draws_beside(
    model_folder: Callable[[str], Path],
) -> None:
    def weights(seed: int) -> bytes:
        return bytes(load_encoder(model_folder("bert"), device="cpu", random=seed).encode(TEXTS).stack())

    seeds = [0, 1, 2, 3] * 4
    alone = {seed: weights(seed) for seed in set(seeds)}
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(weights, seeds)) == [alone[seed] for seed in seeds]


def test_attention_maps_leave_the_model_alone(
    encoder_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While maps are drawn the model has the attention that it always has."""
    encoder = encoder_of("bert")
    model = encoder._engine._model
    before, seen = model.config._attn_implementation, []
    maps = forwards.attention_maps

    def drawn(copied: Any, *given: Any) -> Any:
        seen.append((model.config._attn_implementation, copied.config._attn_implementation))
        return maps(copied, *given)

    monkeypatch.setattr(forwards, "attention_maps", drawn)
    encoder.attention("The bank lends money.")
    assert seen == [(before, "eager")]
    shared = dict(encoder._engine._eager.named_parameters())
    assert all(shared[name] is parameter for name, parameter in model.named_parameters()), (
        "weights are copied"
    )


# A layer that doesn't arrive


def test_a_layer_that_does_not_arrive_is_an_error(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(model_folder("bert"), device="cpu")
    stack: Any = encoder._engine._model.encoder
    monkeypatch.setattr(stack, "layer", stack.layer[:2])
    assert encoder.encode(["a"], "2").layer(2).shape == (1, 32)
    with pytest.raises(ModelError, match=r"without layer 3, which was requested"):
        encoder.encode(["a"], "1,3")


def test_rows_that_nothing_wrote_are_an_error() -> None:
    memory = Memory(("1", "2"), 3, 4)
    memory.put("1", np.array([0, 1, 2]), np.zeros((3, 4), np.float32))
    memory.put("2", np.array([0, 2]), np.zeros((2, 4), np.float32))
    with pytest.raises(ModelError, match=r"1 of 3 rows of layer 2 didn't arrive"):
        _ = memory.layers
    memory.put("2", np.array([1]), np.ones((1, 4), np.float32))
    assert memory.layers["2"][:, 0].tolist() == [0, 1, 0]


# Texts of one batch that want different layers


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_of_a_batch_want_different_layers(
    family: str, encoder_of: Callable[[str], Any], model_folder: Callable[[str], Path]
) -> None:
    """Each as plain transformers gives it, within 1e-5; where texts may leave, the rest of the forward is smaller."""
    encoder, plain = encoder_of(family), Plain(model_folder(family))
    engine = encoder._engine
    assert engine.leaves == (FAMILIES[family][2] == "packed"), engine.packing
    ids = [np.array(plain.raw(text)["input_ids"]) for text in TEXTS]
    types = [np.zeros_like(one) for one in ids] if encoder.tokenizer.takes_types else None
    sequences = Sequences(ids, types)
    asked = [frozenset(s) for s in ({1}, {0, 3}, {0}, {2, 3}, {1, 2}, {3})]
    sizes: dict[int, list[int]] = {}
    budget = 10_000 if engine.packing != "even" else 1
    for batch in batches(sequences.lengths(), budget, engine.packing):
        batch = batch.by_depth(np.array([max(asked[w]) for w in batch.windows]))
        found: dict[int, torch.Tensor] = {}
        engine.run(sequences, batch, [asked[w] for w in batch.windows], found.__setitem__)
        for layer, hidden in found.items():
            sizes.setdefault(layer, []).append(len(hidden))
        for window, begin in zip(batch.windows.tolist(), engine.begins(batch).tolist(), strict=True):
            want = plain.states(ids[window].tolist())
            for layer in asked[window]:
                got = found[layer][begin : begin + len(ids[window])].numpy()
                assert worst(got[None], want[layer][None]) < 1e-5, (window, layer)
    if engine.leaves:
        staying = [sum(len(i) for i, a in zip(ids, asked, strict=True) if max(a) >= n) for n in range(4)]
        assert [sizes[n][0] for n in (1, 2, 3)] == staying[1:]


def test_a_batch_in_another_order_is_refused(encoder_of: Callable[[str], Any]) -> None:
    engine = encoder_of("bert")._engine
    sequences = Sequences([np.array([2, 7, 3]), np.array([2, 7, 8, 3])], [np.zeros(3, int), np.zeros(4, int)])
    (batch,) = batches(sequences.lengths(), 100, "packed")
    with pytest.raises(ValueError, match="the deepest ones first"):
        engine.run(sequences, batch, [frozenset({1}), frozenset({2})], lambda layer, hidden: None)


# Forked children


FORKED = """
import os, sys, warnings
import numpy as np
import layerwise as lw
from layerwise._util import threads

warnings.simplefilter("ignore")
encoder = lw.load_encoder(sys.argv[1], device="cpu")
texts = ["The river bank was flooded.", "word " * 60] * 8
alone = encoder.encode(texts).stack()
encoder.attention("a bank")
x = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
from layerwise.probing.batched_solver import Solver
Solver(x)
child = os.fork()
if not child:
    try:
        # Heads that are 8 wide are summed in another order by another number of threads.
        same = np.allclose(encoder.encode(texts).stack(), alone, atol=1e-5)
        encoder.attention("a bank")
        with threads.limited() as number:
            Solver(x)
        (np.ones((500, 500)) @ np.ones((500, 500))).sum()
        try:
            threads.choose(2)
        except lw.RequestError as error:
            told = "spawn" in str(error)
        print(same, number, told, flush=True)
    finally:
        os._exit(0)
_, status = os.waitpid(child, 0)
print(status, np.array_equal(encoder.encode(texts).stack(), alone), threads.choose().number)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_computes_with_one_thread(model_folder: Callable[[str], Path]) -> None:
    """With the parent's pool of threads gone, whoever waits for it waits for ever: the limit is for that."""
    ran = subprocess.run(
        [sys.executable, "-c", FORKED, str(model_folder("bert"))],
        env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.stdout.split("\n")[:2] == ["True 1 True", "0 True 2"], ran.stderr


def test_a_gpu_in_a_forked_child_is_refused(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(model_folder("bert"), device="cpu")
    monkeypatch.setattr("torch.cuda._is_in_bad_fork", lambda: True)
    assert encoder.encode(["a"]).rows == 1, "a processor is no trouble"
    encoder.device = "cuda:0"
    for call in (lambda: encoder.encode(["a"]), lambda: encoder.attention("a")):
        with pytest.raises(ModelError, match=r"can't run on cuda:0 in a process that was forked; .* spawn"):
            call()


def test_a_lock_is_open_in_a_forked_child() -> None:
    lock = new_lock()
    with lock:
        child = os.fork()
        if not child:
            with lock:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_who_forks_within_a_block_goes_on_in_the_child() -> None:
    """What was on is off in the child and can be on again; leaving the parent's block does no harm there."""
    seen: list[str] = []

    def on() -> Callable[[], None]:
        seen.append("on")
        return lambda: seen.append("off")

    shared, lock = Shared(on), new_lock()
    with shared.enabled(), lock:
        child = os.fork()
    if not child:
        with shared.enabled(), lock:
            pass
        os._exit(0 if seen == ["on", "off", "on", "off"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert seen == ["on", "off"]


INTERRUPTED = """
import signal, threading
from layerwise._util.locks import Shared, new_lock

lock, shared = new_lock(), Shared(lambda: (lambda: None))
ends = threading.Event()

def contend():
    while not ends.is_set():
        with lock, shared.enabled():
            pass

def interrupt(*_):
    raise KeyboardInterrupt

others = [threading.Thread(target=contend) for _ in range(2)]
for other in others:
    other.start()
signal.signal(signal.SIGALRM, interrupt)
interrupts = 0
while interrupts < 300:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while True:
            with lock, shared.enabled():
                pass
    except KeyboardInterrupt:
        interrupts += 1
signal.setitimer(signal.ITIMER_REAL, 0)
ends.set()
for other in others:
    other.join(60)
print(interrupts, any(other.is_alive() for other in others), lock.acquire(timeout=60))
"""


def test_an_interrupt_leaves_no_lock_held() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.stdout.split() == ["300", "False", "True"], ran.stderr


def test_a_child_forked_while_another_thread_is_quiet_shows_warnings() -> None:
    inside, leave = threading.Event(), threading.Event()

    def quiet() -> None:
        with silenced():
            inside.set()
            leave.wait(300)

    before = list(warnings.filters)
    thread = threading.Thread(target=quiet)
    thread.start()
    assert inside.wait(300)
    child = os.fork()
    if not child:
        os._exit(0 if warnings.filters == before else 1)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert warnings.filters == before


# Pickles


@pytest.fixture(scope="module")
def pickled_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are a pickle."""
    from safetensors.torch import load_file

    folder = make_model("bert", tmp_path_factory.mktemp("pickled"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_what_was_allowed_travels_with_an_encoder(pickled_weights: Path) -> None:
    with pytest.raises(ModelError, match="allow_pickle=True"):
        load_encoder(pickled_weights, device="cpu")
    encoder = load_encoder(pickled_weights, device="cpu", allow_pickle=True)
    again = pickle.loads(pickle.dumps(encoder))
    assert again.loading == encoder.loading
    assert np.array_equal(again.encode(TEXTS).stack(), encoder.encode(TEXTS).stack())


def test_how_an_encoder_was_loaded_reaches_the_other_process(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(model_folder("bert"), device="cpu", trust_remote_code=True)
    given: dict[str, Any] = {}

    def load(model: str, **options: Any) -> None:
        given.update(options, model=model)

    function, arguments, *_ = cast(tuple[Any, ...], copyreg.dispatch_table[type(encoder)](encoder))
    monkeypatch.setattr("layerwise.encode.load.load_encoder", load)
    monkeypatch.setattr("layerwise.encode.load._KEPT", 0)
    function(*pickle.loads(pickle.dumps(arguments)))
    assert given == {
        "model": str(model_folder("bert").resolve()),
        "revision": None,
        "device": "cpu",
        "precision": "fp32",
        "allow_pickle": False,
        "trust_remote_code": True,
        "adapter": None,
        "random": None,
    }


@pytest.mark.slow
def test_a_search_in_two_processes_over_a_model_that_was_allowed(pickled_weights: Path) -> None:
    encoder = load_encoder(pickled_weights, device="cpu", allow_pickle=True)
    texts, labels = short(), [n % 2 for n in range(len(short()))]
    model = make_pipeline(lw.LayerFeatures(encoder), LogisticRegression())
    search = GridSearchCV(model, {"layerfeatures__mix": ["1", "mean(1:)"]}, n_jobs=2, cv=2).fit(texts, labels)
    one = GridSearchCV(model, {"layerfeatures__mix": ["1", "mean(1:)"]}, cv=2).fit(texts, labels)
    assert search.best_params_ == one.best_params_
    assert search.cv_results_["mean_test_score"] == pytest.approx(one.cv_results_["mean_test_score"])


def test_plain_encoders_do_not_travel(model_folder: Callable[[str], Path]) -> None:
    with pytest.raises(TypeError, match="doesn't travel"):
        pickle.dumps(load_plain_encoder(model_folder("bert"), device="cpu"))


# How many threads a call has, and how they wait


def group(root: Path, listing: str, **files: str) -> Path:
    """A machine whose control groups are `files`, and whose process is in `listing`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(listing)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("listing", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n", "cpu.max": "max 1"}, 0.5),
        ("0::/a/b\n", {"a/b/cpu.max": "20000 10000\n", "a/cpu.max": "800000 100000\n"}, 2.0),
        ("0::/../sibling\n", {"cpu.max": "100000 100000\n"}, None),
        ("0::/host/only\n", {"cpu.max": "100000 100000\n"}, 1.0),
        ("4:cpu,cpuacct:/job\n0::/\n",
         {"cpu,cpuacct/job/cpu.cfs_quota_us": "30000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "10000\n"}, 3.0),
        ("4:cpuacct,cpu:/host/id\n", {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ("4:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, None),
        ("7:memory:/job\n", {"memory/job/cpu.max": "1 1\n"}, None),
        ("garbage\n0::\n", {"cpu.max": "nonsense\n"}, None),
    ],
)  # fmt: skip
def test_the_quota_of_a_container(
    listing: str, files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    assert cpu_quota(group(tmp_path, listing, **files)) == quota


def test_what_the_machine_grants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    free = group(tmp_path / "free", "0::/\n", **{"cpu.max": "max 100000"})
    assert threads.granted(free) == threads.Threads(6, "the affinity mask")
    some = group(tmp_path / "some", "0::/\n", **{"cpu.max": "250000 100000"})
    assert threads.granted(some) == threads.Threads(3, "the quota of the container (2.5 processors)")
    little = group(tmp_path / "little", "0::/\n", **{"cpu.max": "10000 100000"})
    assert threads.granted(little).number == 1
    assert threads.granted(tmp_path / "nothing") == threads.Threads(6, "the affinity mask")


def test_who_decides_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "granted", lambda: threads.Threads(4, "the machine"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert threads.choose() == threads.Threads(4, "the machine")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert threads.choose() == threads.Threads(3, "torch"), "torch.set_num_threads(3) is the caller's wish"
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert threads.choose() == threads.Threads(3, "torch"), (
        "whatever the environment was when torch was loaded"
    )
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10**6)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.setenv("MKL_NUM_THREADS", "6,2")
    assert threads.choose() == threads.Threads(6, "MKL_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    assert threads.choose() == threads.Threads(6, "MKL_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads.choose() == threads.Threads(5, "OMP_NUM_THREADS")
    assert threads.choose(2) == threads.Threads(2, "threads")
    with threads.computing(2):
        assert threads.choose() == threads.Threads(2, "the call around it")
        assert threads.choose(1).number == 1
    assert threads.choose().number == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "99999999999")
    assert threads.choose().number == max(64, 4 * (os.cpu_count() or 1))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2", 10**6])
def test_a_number_that_is_none(wrong: Any) -> None:
    with pytest.raises(RequestError, match=r"threads=.* is out of range; give a whole number from 1 to"):
        threads.choose(wrong)


def test_a_call_leaves_everything_as_it_was(encoder_of: Callable[[str], Any]) -> None:
    from threadpoolctl import threadpool_info

    def state() -> Any:
        pools = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
        return dict(os.environ), torch.get_num_threads(), torch.get_num_interop_threads(), pools

    encoder, before = encoder_of("bert"), state()
    with threads.limited(3) as number:
        assert (number, torch.get_num_threads()) == (3, 3)
        blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert set(blas) == {1}
        encoder.encode(["a"])
        with threads.limited(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 3
    assert state() == before
    with pytest.raises(ZeroDivisionError), threads.limited(3):
        _ = 1 / 0
    assert state() == before


def test_a_call_that_torch_is_imported_in_limits_it_too() -> None:
    code = """
from layerwise._util import threads
with threads.limited(1):
    import torch
    with threads.computing():
        print(torch.get_num_threads())
print(torch.get_num_threads())
"""
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1", "2"]


def blas() -> list[int]:
    from threadpoolctl import threadpool_info

    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_calls_side_by_side_leave_everything_as_it_was() -> None:
    def call(number: int) -> int:
        with threads.limited(1 + number % 3):
            torch.ones(200, 200) @ torch.ones(200, 200)
            return torch.get_num_threads()

    before = blas(), torch.get_num_threads()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(60))) == [1 + number % 3 for number in range(60)]
    assert (blas(), torch.get_num_threads()) == before


BLAS = """
import threading
import numpy, torch
from threadpoolctl import threadpool_info, threadpool_limits
from layerwise._util import threads

def blas():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

def elsewhere(call):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(call()))
    thread.start()
    thread.join()
    return seen[0]

def verb():
    with threads.limited():
        return blas()

before = blas()
# The one that begins first ends first, in another thread.
second, ended = threading.Event(), threading.Event()
def first():
    with threads.limited():
        second.wait(60)
    ended.set()
thread = threading.Thread(target=first)
thread.start()
while blas() != {1}:
    pass
with threads.limited():
    second.set()
    ended.wait(60)
    assert blas() == {1}
thread.join()
assert blas() == before, (blas(), before)
assert verb() == {1}
assert elsewhere(verb) == {1}, "a verb in a thread after one in another"
assert blas() == before
def own():
    with threadpool_limits(1):
        return blas()
assert elsewhere(own) == {1}, "the caller's own limits work afterwards"
assert blas() == before
print(sorted(before))
"""


def test_one_thread_of_blas_in_whatever_thread_a_verb_runs() -> None:
    """Of threads only the first that sets OpenBLAS's number is heard by threadpoolctl."""
    env = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
    env["OPENBLAS_NUM_THREADS"] = "2"
    ran = subprocess.run([sys.executable, "-c", BLAS], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_threads_that_the_runtime_binds_to_a_processor_each_are_counted_all_the_same() -> None:
    code = (
        "from layerwise._util import threads; a = threads.choose().number; import torch; torch.ones(300, 300) @ "
        "torch.ones(300, 300); print(a, threads.choose().number)"
    )
    env = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
    env["OMP_PROC_BIND"] = "close"
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    before, after = map(int, ran.stdout.split())
    assert after == before == len(os.sched_getaffinity(0))


# What else is the whole process's


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torchs_default_type_is_the_callers(dtype: torch.dtype, encoder_of: Callable[[str], Any]) -> None:
    """transformers changes it too, while another thread loads a model."""
    encoder = encoder_of("bert")
    rows = encoder.encode([*short(), "word " * 200])
    labels = np.arange(rows.rows) % 2
    x = rows.layer(1)

    def work() -> list[np.ndarray]:
        fitted = lw.LayerFeatures(encoder, mix="mean(1:)").fit(short()).transform(["word " * 200])
        fits = Fits(np.ones((1, len(x)), bool), labels[None], np.zeros(1, np.int64), 2, np.zeros(1, np.int64))
        task = LoopTask("a", "classify", x[None], labels, 2, np.ones(len(x), bool), None, False, 8)
        heads = fit([task], np.zeros(len(x), bool), LoopOptions(epochs=2))
        return [fitted, Solver(x).at(fits, 2).values, heads[0].weight]

    wanted = work()
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = work()
    finally:
        torch.set_default_dtype(before)
    for got, want in zip(found, wanted, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_a_pickled_encoder_of_a_relative_folder(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = model_folder("bert")
    monkeypatch.chdir(folder.parent)
    encoder = load_encoder(folder.name, device="cpu")
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(again.encode(["a"]).stack(), encoder.encode(["a"]).stack())


def test_sets_of_layers_are_one_for_each_window(encoder_of: Callable[[str], Any]) -> None:
    engine = encoder_of("bert")._engine
    sequences = Sequences([np.array([2, 7, 3]), np.array([2, 7, 8, 3])], [np.zeros(3, int), np.zeros(4, int)])
    (batch,) = batches(sequences.lengths(), 100, "packed")
    for wanted in ([frozenset({1})], [], [frozenset({1}), frozenset()]):
        with pytest.raises(ValueError, match="sets of layers for 2 windows; give each window one"):
            engine.run(sequences, batch, wanted, lambda layer, hidden: None)


# How long threads wait for each other


PARKED = """
import os, sys, time
before = dict(os.environ)
if sys.argv[1] == "torch first":
    import torch
    torch.ones(300, 300) @ torch.ones(300, 300)
import layerwise as lw
from layerwise._util import openmp, threads
import torch

def reaches(more):
    end = time.monotonic() + 120
    while (now := len(os.listdir("/proc/self/task")) - alone) != more and time.monotonic() < end:
        time.sleep(0.01)
    return now

share = 0.0
openmp.Waits.share = lambda self: share
torch.ones(300, 300) @ torch.ones(300, 300)
alone = len(os.listdir("/proc/self/task"))
with threads.computing(2):
    calm = reaches(1)
    share = 0.5
    busy = reaches(2 + int(sys.argv[2]))
    share = 0.0
    calm_again = reaches(1)
print(calm, busy, calm_again, dict(os.environ) == before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
@pytest.mark.parametrize("order", ["torch first", "torch later"])
def test_a_team_of_more_threads_than_processors_is_parked_while_the_process_waits(order: str) -> None:
    """libgomp doesn't spin where it has more threads than processors; `make bench-load` shows what that saves."""
    env = {name: value for name, value in os.environ.items() if name not in (*threads.VARIABLES, *WAITING)}
    team = len(os.sched_getaffinity(0))  # and the thread that it belongs to
    ran = subprocess.run(
        [sys.executable, "-c", PARKED, order, str(team)], env=env, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["1", str(2 + team), "1", "True"]


def test_waits_are_those_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    half, all_of_it = 500_000_000, 1_000_000_000
    accounts = iter(
        [
            {"1": (0, 0), "2": (0, 5)},
            {"1": (half, 300_000_000), "2": (half, 200_000_005), "3": (0, 9)},
            {"1": (half, 300_000_000)},
            {"1": (half + all_of_it, 300_000_000 + 2 * half), "4": (0, 0)},
            {"1": (half + 2 * all_of_it, 300_000_000 + 4 * half), "4": (all_of_it, all_of_it)},
            {},
        ]
    )
    clock = iter([10.0, 11.0, 13.0, 14.0, 15.0, 16.0])
    monkeypatch.setattr("layerwise._util.openmp.Waits._read", staticmethod(lambda: next(accounts)))
    monkeypatch.setattr("layerwise._util.openmp.time.monotonic", lambda: next(clock))
    waits = Waits(processors=2)
    assert waits.share() == pytest.approx(0.5)
    assert waits.share() == 0.0
    assert waits.share() == pytest.approx(1.0), (
        "it waited though a processor was to be had: another process had it"
    )
    assert waits.share() == 0.0, "it had both processors, and waited for itself"
    assert waits.share() == 1.0, "where nothing tells, threads sleep"


MKL = """
import ctypes, sys, torch
from layerwise._util import threads
library = ctypes.CDLL(torch.__path__[0] + "/lib/libtorch_cpu.so")
if not hasattr(library, "MKL_Set_Num_Threads_Local"):
    sys.exit("this torch has no MKL")
def own():
    number = library.MKL_Set_Num_Threads_Local(0)
    library.MKL_Set_Num_Threads_Local(number)
    return number
with threads.computing(library.MKL_Get_Max_Threads()):
    same = own()
with threads.computing(7):
    other = own()
print(same, other, own())
"""


def test_mkl_has_a_number_of_its_own_only_where_it_must() -> None:
    """With one, attention takes half as long again (`scaled_dot_product_attention`, torch 2.13)."""
    ran = subprocess.run([sys.executable, "-c", MKL], capture_output=True, text=True, check=False)
    if "no MKL" in ran.stderr:
        pytest.skip("this torch has no MKL")
    assert ran.stdout.split() == ["0", "7", "0"], ran.stderr


def test_who_chose_how_to_wait_is_left_alone() -> None:
    code = "import threading, torch; from layerwise._util import threads\n"
    code += "with threads.computing(2): print(threading.active_count())"
    env = {**os.environ, "OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "10"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1"]


def test_work_is_spread_over_threads_that_compute_alone() -> None:
    begun = set()

    def compute(number: int) -> tuple[int, int, int]:
        begun.add(number)
        return number, torch.get_num_threads(), threading.get_ident()

    with threads.limited(2):
        results = threads.spread(compute, range(40))
        assert [number for number, _, _ in results] == list(range(40)), "the results are in order"
        assert {count for _, count, _ in results} == {1}
        assert threading.get_ident() not in {thread for _, _, thread in results}
    with threads.limited(4):
        assert {count for _, count, _ in threads.spread(compute, range(2))} == {2}, (
            "two threads are left over"
        )
        (alone,) = threads.spread(compute, [0])
        assert alone[1:] == (4, threading.get_ident()), "nothing to spread"
    assert threads.current() == 1


def test_spread_work_that_nobody_waits_for_is_left_undone() -> None:
    begun: list[int] = []
    more = threading.Event()

    def compute(number: int) -> int:
        begun.append(number)
        if number > 1:
            more.wait(10)
        return number

    with threads.limited(2):
        results = threads.spread_in_turn(compute, range(100))
        assert next(results) == 0
        threading.Timer(0.2, more.set).start()
        results.close()
    assert len(begun) < 10, "closing stops what hasn't begun"
