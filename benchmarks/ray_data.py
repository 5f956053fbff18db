"""Who feeds the workers of `--cluster ray`: the process that commands, which reads the source, or Ray Data?

Actors that only take their texts, count them and sum their bytes, so that nothing but the feeding is measured. Ray Data
hands out batches of as many texts as a shard has at most. It doesn't know where a shard begins that closes after so
many characters, nor the number of a text's line; ours does both in that time.
"""

import hashlib
import json
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import documentation, finish, heading, interleaved, show
from history import Figure

TEXTS, FILES = 500_000, 5
WORKERS = 2
ROUNDS = 3


class Taker:
    """A recipe, and its maker, that only takes what it is given."""

    def start(self, index: int, count: int) -> "Taker":
        """Be the maker."""
        return self

    def describe(self) -> str:
        """Say what all say."""
        return "taker"

    def prepare(self, task: Any) -> Any:
        """Leave it as it is."""
        return task

    def make(self, texts: list[str], report: Callable[..., None]) -> tuple[int, str]:
        """Return how many there are, and a digest."""
        return _taken(texts)

    def commit(self, made: Any) -> Any:
        """Leave it as it is."""
        return made

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Do the same for Ray Data."""
        texts, digest = _taken(list(batch["text"]))
        return {"texts": [texts], "digest": [digest]}


def _taken(texts: list[str]) -> tuple[int, str]:
    return len(texts), hashlib.sha256("\n".join(texts).encode()).hexdigest()


def main() -> int:
    """Measure and print."""
    try:
        import ray
        import ray.data
    except ImportError:
        print("needs Ray Data; run: pip install 'ray[data]'", file=sys.stderr)
        return 2
    from layerwise.parallel.ray import RayExecutor
    from layerwise.read import open_corpus
    from layerwise.read.shards import CHARACTERS, shards
    from layerwise.read.shards import TEXTS as TOGETHER

    heading(f"ray_data: {TEXTS:,} texts of JSONL to {WORKERS} actors that do nothing", "ray")
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as folder:
        lines = "".join(json.dumps({"text": text, "label": "a"}) + "\n" for text in documentation(1_000))
        sources = [Path(folder) / f"{number}.jsonl" for number in range(FILES)]
        for source in sources:
            source.write_text(lines * (TEXTS // FILES // 1_000), encoding="utf-8")
        here = str(Path(__file__).parent)
        # A core for each actor, and one for what reads in Ray Data.
        ray.init(
            num_cpus=WORKERS + 1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": here}},
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        with RayExecutor(Taker(), WORKERS) as executor:

            def ours() -> int:
                cut = shards(open_corpus(sources).records(), TOGETHER, CHARACTERS["text"])
                tasks = ([example.text for example in shard] for shard in cut)
                return sum(texts for texts, _ in executor.map(tasks, lambda **_: None))

            def theirs() -> int:
                pool = ray.data.ActorPoolStrategy(size=WORKERS)
                data = ray.data.read_json([*map(str, sources)], lines=True)
                taken = data.map_batches(Taker, batch_size=TOGETHER, compute=pool).take_all()
                return sum(row["texts"] for row in taken)

            assert ours() == TEXTS
            own = interleaved({"ours": ours}, ROUNDS)["ours"]
        assert theirs() == TEXTS
        other = interleaved({"theirs": theirs}, ROUNDS)["theirs"]
        ray.shutdown()
    rows = [("who reads", "seconds", "texts/s")]
    for name, seconds in (("layerwise, in the process that commands", own), ("Ray Data", other)):
        median = statistics.median(seconds)
        rows.append((name, f"{median:.2f}", f"{TEXTS / median:,.0f}"))
    show(rows, right=(1, 2))
    finish([Figure("texts/s against Ray Data", statistics.median(other) / statistics.median(own), " x")])
    return 0


if __name__ == "__main__":
    sys.exit(main())
