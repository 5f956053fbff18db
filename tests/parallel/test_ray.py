"""Workers as actors of a real Ray cluster on this machine: the same bytes as one process, whoever is lost."""

import itertools
import os
import pickle
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from killing import Killing, needs_proc
from layerwise.arguments import as_flags
from layerwise.encode.int8 import available
from layerwise.errors import LayerwiseError, RequestError
from layerwise.parallel.cluster import gpu_share_of, share_of
from layerwise.parallel.ray import RayExecutor
from layerwise.read.docstrings import paragraphs
from layerwise.store import check_files
from numbered import OPTIONS, TEXTS, shard_bytes, write_texts
from overlapping import TASKS, Overlapping
from recipes import Exiting, Paths, Refusing, Sharing

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of this machine, with two cores to give."""
    ray: Any = pytest.importorskip("ray", reason="needs layerwise[ray]")
    monkey = pytest.MonkeyPatch()
    monkey.delenv("OMP_NUM_THREADS", raising=False)  # Ray leaves it alone where it is set
    path = os.pathsep.join(
        [str(Path(__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": path}},  # so that actors find this file
    )
    yield ray
    ray.shutdown()
    monkey.undo()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_texts(tmp_path)


@pytest.fixture
def whole(corpus: Path, model: str, tmp_path: Path) -> dict[str, bytes]:
    return shard_bytes(lw.extract(corpus, tmp_path / "whole", model=model, **OPTIONS).path)


def test_actors_write_what_one_process_writes(
    cluster: Any, corpus: Path, model: str, whole: dict[str, bytes], tmp_path: Path
) -> None:
    events: list[lw.Progress] = []
    dataset = lw.extract(
        corpus, tmp_path / "out", model=model, workers=2, cluster="ray", progress=events.append, **OPTIONS
    )
    assert shard_bytes(dataset.path) == whole
    assert check_files(dataset.path) == []
    assert (events[-1].texts, events[-1].tokens) == (len(TEXTS), dataset.manifest.totals.tokens)
    assert events[-1].share == 1
    assert cluster.is_initialized(), "a cluster that isn't ours goes on"
    with pytest.raises(RequestError, match="layer 9"):
        lw.extract(corpus, tmp_path / "x", model=model, layers="9", cluster="ray", **OPTIONS)
    with pytest.raises(RequestError, match="workers=3 is more than the cluster's 2 cores"):
        lw.extract(corpus, tmp_path / "x", model=model, workers=3, cluster="ray", **OPTIONS)
    with pytest.raises(RequestError, match="cluster 'spark' doesn't exist; choose one of ray"):
        lw.extract(corpus, tmp_path / "x", model=model, cluster="spark", **OPTIONS)


def survives(
    kills: int, corpus: Path, model: str, out: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, map_ = Killing(out, kills), RayExecutor.map
    monkeypatch.setattr(
        RayExecutor, "map", lambda self, tasks, report: map_(self, killed.between(tasks), report)
    )
    monkeypatch.setattr("layerwise.parallel.ray._TRIES", 1000)
    dataset = lw.extract(corpus, out, model=model, workers=2, cluster="ray", **OPTIONS)
    assert shard_bytes(dataset.path) == whole
    assert check_files(dataset.path) == []
    killed.check()


@pytest.mark.slow
@needs_proc
def test_actors_that_are_killed_are_started_again(
    cluster: Any,
    corpus: Path,
    model: str,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    survives(2, corpus, model, tmp_path / "out", whole, monkeypatch)


@pytest.mark.slow
@needs_proc
def test_actors_killed_fifty_times_give_the_same_bytes(
    cluster: Any, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "many.txt"
    source.write_text("".join(f"text {n}\n" for n in range(4000)), encoding="utf-8")
    whole = shard_bytes(lw.extract(source, tmp_path / "whole", model=model, **OPTIONS).path)
    survives(50, source, model, tmp_path / "out", whole, monkeypatch)


@pytest.mark.parametrize(
    ("cores", "count", "each"),
    [
        ([2], 2, 1),
        ([16], 3, 5),
        ([3, 3], 3, 1),
        ([4, 16], 2, 8),
        ([4, 16], 3, 5),
        ([8, 8], 2, 8),
        ([2], 5, 1),
    ],
)
def test_every_worker_fits_a_machine(cores: list[int], count: int, each: int) -> None:
    assert share_of(cores, count) == each


@pytest.mark.parametrize(
    ("gpus", "count", "on_each"), [(1, 1, 1), (1, 4, 4), (2, 3, 2), (4, 4, 1), (8, 3, 1), (3, 7, 3)]
)
def test_workers_share_gpus_so_that_all_fit(gpus: int, count: int, on_each: int) -> None:
    share = gpu_share_of(gpus, count)
    assert share == 1 / on_each, "a worker without a share sees no GPU"
    assert gpus * on_each >= count
    assert gpu_share_of(0, count) == 0


@pytest.mark.slow
def test_a_task_that_kills_its_actor_is_tried_again_and_told(cluster: Any) -> None:
    reported: list[int] = []
    with RayExecutor(Exiting(), 1) as executor:
        assert executor.description == "description"
        assert sorted(executor.map("abc", lambda texts: reported.append(texts))) == ["a", "b", "c"]
        assert reported == [1, 1, 1]
        with pytest.raises(LayerwiseError, match="a worker was lost 4 times with the same shard"):
            list(executor.map(["die"], lambda **_: None))


@pytest.mark.parametrize(("flags", "name"), [(False, "max_rows=0"), (True, "--max-rows 0")])
def test_an_actor_names_arguments_as_the_user_of_its_parent_does(
    cluster: Any, flags: bool, name: str
) -> None:
    with (
        as_flags(flags),
        RayExecutor(Refusing(), 1) as executor,
        pytest.raises(RequestError, match=f"^{name} is too small"),
    ):
        list(executor.map([0], lambda **_: None))


def test_actors_import_nothing_from_the_current_folder(cluster: Any) -> None:
    with RayExecutor(Paths(), 1) as executor:
        assert executor.description, "it imports from somewhere"
        assert not {"", str(Path.cwd())} & set(executor.description)


def test_an_actor_prepares_the_next_task_and_commits_the_last_while_it_makes_one(cluster: Any) -> None:
    with RayExecutor(Overlapping(), 1) as executor:
        assert sorted(executor.map(TASKS, lambda **_: None)) == sorted(TASKS)


@pytest.mark.skipif(not available(), reason="needs VNNI instructions")
def test_a_real_model_in_int8_gives_the_same_bytes_by_two_threads_and_by_two_actors_of_one(
    cluster: Any, tmp_path: Path
) -> None:
    source = tmp_path / "texts.txt"
    texts = (" ".join(text.split()) for _, text in itertools.islice(paragraphs(), 0, 1200, 10))
    source.write_text("\n".join(texts), encoding="utf-8")
    options: dict[str, Any] = {"precision": "int8", "shard_texts": 30, "device": "cpu"}
    alone = lw.extract(source, tmp_path / "alone", **options)
    made = lw.extract(source, tmp_path / "ray", cluster="ray", workers=2, **options)
    assert len(shard_bytes(alone.path)) == 12
    assert shard_bytes(made.path) == shard_bytes(alone.path)
    assert made.manifest.tolerance == alone.manifest.tolerance, "int8's error is measured the same way"


@pytest.mark.slow
def test_each_actor_has_its_share_of_the_cores(cluster: Any) -> None:
    for count, share in ((1, "2 2"), (2, "1 1")):
        with RayExecutor(Sharing(), count) as executor:
            assert executor.description == share, f"{count} actors on 2 cores"
    with RayExecutor(Sharing(), 1, threads=1) as executor:
        assert executor.description == "1 1", "all share the threads"


@pytest.mark.slow
def test_what_comes_back_is_records_and_no_vectors(
    cluster: Any, corpus: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[Any] = []
    get = cluster.get

    def seen(reference: Any) -> Any:
        got.append(get(reference))
        return got[-1]

    monkeypatch.setattr(cluster, "get", seen)
    dataset = lw.extract(
        corpus, tmp_path / "out", model=model, cluster="ray", level="token", dtype="float32", **OPTIONS
    )
    sizes = [len(pickle.dumps(one)) for one in got]
    assert len(got) == 1 + 15, "what the worker says of itself, and a record of each shard"
    assert sum(sizes) < dataset.manifest.totals.bytes / 4
    assert max(sizes) < 10_000


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["OutOfMemoryError", "ActorUnavailableError"])
def test_a_worker_that_is_lost_in_another_way_is_replaced(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    get, calls = cluster.get, 0
    given = ("gone", None) if fault == "ActorUnavailableError" else ("gone",)

    def failing(reference: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise getattr(cluster.exceptions, fault)(*given)
        return get(reference)

    monkeypatch.setattr(cluster, "get", failing)
    with RayExecutor(Exiting(), 1) as executor:
        assert sorted(set(executor.map("abcdefgh", lambda **_: None))) == list("abcdefgh")
    assert calls > 1 + 8 + 1, "another was made ready and did what was lost"


@pytest.mark.slow
def test_a_worker_that_never_gets_ready_is_told(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LayerwiseError, match="a worker was lost 4 times before it was ready"):
        RayExecutor(Exiting(at_once=True), 1)


def test_a_cluster_that_cannot_be_reached_is_told(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # What Ray raises for RAY_ADDRESS=ray://127.0.0.1:1, after half a minute.
    def init(**_: Any) -> None:
        raise ConnectionError("ray client connection timeout")

    monkeypatch.setattr(cluster, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "init", init)
    with pytest.raises(RequestError, match="no Ray cluster is available: ray client .*; check RAY_ADDRESS"):
        RayExecutor(Exiting(), 1)


def test_an_address_at_which_nobody_listens_is_told(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    says = rf"no Ray cluster at RAY_ADDRESS=127.0.0.1:{port} \(Connection refused\); start it, or unset"
    with pytest.raises(RequestError, match=says):
        RayExecutor(Exiting(), 1)


def test_a_cluster_that_is_gone_is_told_and_not_waited_for(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerwise.parallel.ray._CHECK_SECONDS", 0.2)
    with RayExecutor(Exiting(), 1) as executor:
        # As it looks when the raylet of the only machine is killed.
        nodes = [{**node, "Alive": False} for node in cluster.nodes()]
        monkeypatch.setattr(cluster, "nodes", lambda: nodes)
        with pytest.raises(LayerwiseError, match="the Ray cluster and all its machines are gone"):
            list(executor.map(["sleep"], lambda **_: None))


def test_without_ray_it_says_what_to_install(
    corpus: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RequestError, match=r"run: pip install 'layerwise\[ray\]'"):
        lw.extract(corpus, tmp_path / "out", model=model, cluster="ray", **OPTIONS)
