"""A Ray cluster that loses machines: several of them, made on this one, each with a core to give."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from killing import slowly
from layerwise.errors import LayerwiseError
from layerwise.parallel.ray import RayExecutor
from layerwise.store import check_files
from numbered import OPTIONS, shard_bytes, write_texts
from waiting import until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")


class Machines:
    """A cluster whose machines come and go; the first has no core to give and stays."""

    def __init__(self, ray: Any) -> None:
        from ray.cluster_utils import Cluster

        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        soon = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
        head = {"num_cpus": 0, "_system_config": soon}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self._ray = ray
        self.begin: Any = lambda: ray.init(
            address=self._cluster.address,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": path}},
        )

    def add(self) -> Any:
        """Add a machine."""
        return self._cluster.add_node(num_cpus=1)

    def lose(self, machine: Any) -> None:
        """Let a machine go, with all that runs on it."""
        self._cluster.remove_node(machine, allow_graceful=False)

    def close(self) -> None:
        """Let all go."""
        self._ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture
def machines() -> Iterator[Machines]:
    """A cluster without machines that work."""
    made = Machines(pytest.importorskip("ray", reason="needs layerwise[ray]"))
    yield made
    made.close()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_texts(tmp_path, [f"text number {n} {'word ' * (n % 13)}" for n in range(100)])


def once_there_are(shards: int, out: Path, then: Callable[[], None]) -> threading.Thread:
    """Do something in a thread of its own as soon as there are so many shards."""

    def run() -> None:
        until(lambda: len(list((out / "work").glob("0*.json"))) >= shards, f"{shards} shards")
        then()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def slow(monkeypatch: pytest.MonkeyPatch, thread: threading.Thread) -> None:
    """Let the tasks come slowly, and the last only when a thread has ended."""
    map_ = RayExecutor.map

    def map_slowly(self: RayExecutor, tasks: Any, report: Any) -> Iterator[Any]:
        coming = slowly(tasks, 0.3, lambda: not thread.is_alive(), "the loss of a machine")
        yield from map_(self, coming, report)

    monkeypatch.setattr(RayExecutor, "map", map_slowly)


@pytest.mark.slow
def test_the_others_do_what_a_machine_had_in_hand_that_is_gone_for_good(
    machines: Machines,
    corpus: Path,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    whole = shard_bytes(lw.extract(corpus, tmp_path / "whole", model=model, **OPTIONS).path)
    machines.add()
    lost = machines.add()
    machines.begin()
    thread = once_there_are(4, out, lambda: machines.lose(lost))
    slow(monkeypatch, thread)
    lw.extract(corpus, out, model=model, workers=2, cluster="ray", **OPTIONS)
    assert not thread.is_alive(), "the machine was lost before the end"
    assert shard_bytes(out) == whole
    assert check_files(out) == []


@pytest.mark.slow
def test_a_cluster_that_loses_all_machines_is_waited_for_and_not_for_ever(
    machines: Machines,
    corpus: Path,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    whole = shard_bytes(lw.extract(corpus, tmp_path / "whole", model=model, **OPTIONS).path)
    first, second = machines.add(), machines.add()
    machines.begin()

    def lose_the_last() -> None:
        # Only now: a worker may need long to be ready, wherever it is started.
        monkeypatch.setattr("layerwise.parallel.ray._PATIENCE", 5.0)
        machines.lose(second)

    once_there_are(4, out, lambda: machines.lose(first))
    gone = once_there_are(12, out, lose_the_last)
    with monkeypatch.context() as patch:
        slow(patch, gone)
        with pytest.raises(LayerwiseError, match="minutes no worker was ready: the cluster has no room"):
            lw.extract(corpus, out, model=model, workers=1, cluster="ray", **OPTIONS)
    assert not gone.is_alive(), "both machines made shards before they were lost, or the second all of them"
    monkeypatch.undo()
    machines.add()
    lw.extract(corpus, out, model=model, workers=1, cluster="ray", **OPTIONS)
    assert shard_bytes(out) == whole
    assert check_files(out) == []
