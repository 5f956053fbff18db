"""Extracting to disk at text level against encoding in memory: BERT-base shape, the same texts.

To disk: the source is read, rows become float16, the shard is synced, hashed and renamed, and the
manifest written. In memory: the texts are in a list, the rows stay float32. Loading the model is left out.
"""

import itertools
import statistics
import tempfile
from pathlib import Path

from common import Goal, documentation, heading, interleaved, ratio, show, show_goals, write_jsonl

import layerwise as lw
from layerwise.encode import hf
from layerwise.encode.checkpoint import find_checkpoint

TEXTS, ROUNDS = 512, 5


def main() -> None:
    """Measure and print."""
    heading(f"disk: lw.extract against encoder.encode, text level, {TEXTS} texts, random BERT-base weights")
    texts = documentation(TEXTS)
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as name:
        folder = Path(name)
        source = write_jsonl(folder / "texts.jsonl", texts)
        hf.save_random(folder / "model", find_checkpoint("minilm"))
        encoder = lw.load_encoder(folder / "model")
        fresh = (folder / f"{number}.lw" for number in itertools.count())
        memory, disk = "in memory: encoder.encode", "to disk: lw.extract"
        seconds = interleaved(
            {
                memory: lambda: encoder.encode(texts, level="text"),
                disk: lambda: lw.extract(source, next(fresh), model=encoder, level="text"),
            },
            ROUNDS,
        )
    rows = [("way", "texts/s", "seconds, median", "fastest", "slowest")]
    for way, taken in seconds.items():
        middle = statistics.median(taken)
        rows.append(
            (way, f"{len(texts) / middle:,.1f}", f"{middle:.2f}", f"{min(taken):.2f}", f"{max(taken):.2f}")
        )
    show(rows, right=(1, 2, 3, 4))
    print(f"{ROUNDS} interleaved rounds; the goal's ratio is the median of the rounds' own ratios")
    show_goals([Goal("speed to disk against in memory", ratio(seconds[memory], seconds[disk]), 0.95, " x")])


if __name__ == "__main__":
    main()
