"""Extracting to disk at text level against encoding in memory, the same texts, for several models and precisions.

To disk: the source is read, rows become float16, shards are synced, hashed and renamed, the manifest is written,
and the error of int8 is measured, once per dataset. In memory: the texts are in a list, the rows stay float32.
Loading the model is left out. The slower the model, the less the rest weighs; minilm is the hardest.
"""

import itertools
import statistics
import tempfile
from pathlib import Path
from typing import Any

from common import Goal, documentation, heading, interleaved, ratio, show, show_goals, write_jsonl

import layerwise as lw
from layerwise.encode.checkpoint import find_checkpoint
from layerwise.encode.hf import saving

ROUNDS = 3
# What, its precision, and how many texts; a shard has 2,048.
WAYS = (
    ("BERT-base", "fp32", 1024),
    ("BERT-base", "bf16", 2048),
    ("BERT-base", "int8", 4096),
    ("BERT-base", "int8", 7000),
    ("minilm", "fp32", 6144),
    ("minilm", "bf16", 6144),
    ("minilm", "int8", 6144),
)


def main() -> None:
    """Measure and print."""
    heading("disk: lw.extract against encoder.encode, text level; BERT-base with random weights")
    rows: list[tuple[str, ...]] = [
        ("model", "precision", "texts", "in memory, texts/s", "to disk, texts/s", "ratio")
    ]
    goals = []
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as name:
        saving.save_random(Path(name) / "BERT-base", find_checkpoint("minilm"))
        for model, precision, count in WAYS:
            path = model if model == "minilm" else Path(name) / model
            encoder = lw.load_encoder(path, device="cpu", precision=precision)
            memory, disk = measured(encoder, documentation(count), Path(name))
            speeds = (f"{count / statistics.median(seconds):,.1f}" for seconds in (memory, disk))
            share = ratio(memory, disk)
            rows.append((model, precision, f"{count:,}", *speeds, f"{share:.3f}"))
            what = f"{model}, {precision}, {count:,} texts: speed to disk against in memory"
            goals.append(Goal(what, share, 0.95, " x"))
    show(rows, right=(2, 3, 4, 5))
    print(f"{ROUNDS} interleaved rounds; the ratio is the median of the rounds' own ratios")
    show_goals(goals)


def measured(encoder: Any, texts: list[str], folder: Path) -> tuple[list[float], list[float]]:
    """Return the seconds of each round, in memory and to disk."""
    source = write_jsonl(folder / "texts.jsonl", texts)
    fresh = (folder / f"{encoder.precision}-{len(texts)}-{number}.lw" for number in itertools.count())
    ways = {
        "memory": lambda: encoder.encode(texts, level="text"),
        "disk": lambda: lw.extract(source, next(fresh), model=encoder, level="text"),
    }
    seconds = interleaved(ways, ROUNDS)
    return seconds["memory"], seconds["disk"]


if __name__ == "__main__":
    main()
