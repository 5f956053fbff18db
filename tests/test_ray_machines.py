"""A Ray cluster that loses machines: several of them, made on this one, each with a core to give."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from layerwise.cluster.ray import Ray
from layerwise.errors import LayerwiseError
from layerwise.store import check_files

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")
OPTIONS: dict[str, Any] = {"shard_texts": 4, "device": "cpu"}


class Machines:
    """A cluster whose machines come and go; the first has no core to give and stays."""

    def __init__(self, ray: Any) -> None:
        from ray.cluster_utils import Cluster

        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
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
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"text number {n} {'word ' * (n % 13)}\n" for n in range(100)), encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


def when_there_are(shards: int, out: Path, then: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        while len(list((out / "work").glob("0*.json"))) < shards:
            time.sleep(0.05)
        then()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tasks come slowly, so that machines are lost in the middle."""
    map_ = Ray.map

    def slow(self: Ray, tasks: Any, report: Any) -> Iterator[Any]:
        def one_by_one() -> Iterator[Any]:
            for task in tasks:
                time.sleep(0.3)
                yield task

        yield from map_(self, one_by_one(), report)

    monkeypatch.setattr(Ray, "map", slow)


@pytest.mark.usefixtures("slowed")
def test_the_others_do_what_a_machine_had_in_hand_that_is_gone_for_good(
    machines: Machines, corpus: Path, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model, out = str(model_folder("bert")), tmp_path / "out"
    whole = contents(lw.extract(corpus, tmp_path / "whole", model=model, **OPTIONS).path)
    machines.add()
    lost = machines.add()
    machines.begin()
    thread = when_there_are(4, out, lambda: machines.lose(lost))
    lw.extract(corpus, out, model=model, workers=2, cluster="ray", **OPTIONS)
    assert not thread.is_alive(), "the machine was lost before the end"
    assert contents(out) == whole
    assert check_files(out) == []


@pytest.mark.usefixtures("slowed")
def test_a_cluster_that_loses_all_machines_is_waited_for_and_not_for_ever(
    machines: Machines,
    corpus: Path,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, out = str(model_folder("bert")), tmp_path / "out"
    whole = contents(lw.extract(corpus, tmp_path / "whole", model=model, **OPTIONS).path)
    first, second = machines.add(), machines.add()
    machines.begin()
    when_there_are(4, out, lambda: machines.lose(first))
    gone = when_there_are(12, out, lambda: machines.lose(second))
    monkeypatch.setattr("layerwise.cluster.ray._PATIENCE", 15.0)
    with pytest.raises(LayerwiseError, match="minutes no worker was ready: the cluster has no room"):
        lw.extract(corpus, out, model=model, workers=1, cluster="ray", **OPTIONS)
    assert not gone.is_alive(), "both machines made shards before they were lost, or the second all of them"
    machines.add()
    lw.extract(corpus, out, model=model, workers=1, cluster="ray", **OPTIONS)
    assert contents(out) == whole
    assert check_files(out) == []
