"""A GPU at text level, BERT-base with random weights in bf16: the model alone, what it spends its time on, and to disk.

The model alone: texts are tokenised beforehand; rows of all layers arrive in the host's memory. The share is that of
the measured ceiling of a matrix product, for the products of the linear layers. To disk: `layerwise extract` with
several workers on the one GPU; the difference of two runs of unlike size, so that starting isn't counted.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from common import Goal, documentation, heading, show, show_goals, write_jsonl

import layerwise as lw
from layerwise.encode import linear
from layerwise.encode.checkpoint import find_checkpoint
from layerwise.encode.encoder import Encoder, examples_of_texts
from layerwise.encode.gather import Memory
from layerwise.encode.hf import saving
from layerwise.encode.plain_loop import PlainLoop
from layerwise.encode.shard_plan import PlannedShard

ROUNDS = 5
TEXTS, TIMES = 7_000, 3
BUDGETS = (16_384, 32_768, 65_536)
WORKERS = (1, 4)
# The first that fits: kernels of attention are built of the same parts as those of products.
KINDS = {
    "attention": ("flash", "fmha", "attention"),
    "products of the linear layers": ("nvjet", "gemm", "cutlass", "cublas", "splitK"),
    "layer norm": ("layer_norm",),
    "GELU": ("Gelu",),
    "pooling": ("EmbeddingBag", "embedding_bag", "direct_copy"),
    "residual sums": ("CUDAFunctor_add",),
    "copies to and from the host": ("Memcpy",),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-disk", action="store_true", help="leave out what goes to disk")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no CUDA GPU here")
    heading(f"gpu: text level on {torch.cuda.get_device_name(0)}")
    ceiling = linear.ceiling("bf16", "cuda")
    print(f"ceiling of a bf16 product: {ceiling / 1e3:,.0f} TFLOP/s")
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as name:
        folder = Path(name)
        saving.save_random(folder / "model", find_checkpoint("minilm"))
        flop = PlainLoop(find_checkpoint(folder / "model"), "cuda").flop_per_token()
        best = alone(lw.load_encoder(folder / "model", device="cuda", precision="bf16"), flop / 1e9 / ceiling)
        torch.cuda.empty_cache()
        if not args.no_disk:
            to_disk(folder, flop / 1e9 / ceiling)
    show_goals([Goal("share of the ceiling, the model alone", best, 0.5)])


def alone(encoder: Encoder, share: float) -> float:
    """Print the speed of each size of batch, and the kernels of the fastest; return its share of the ceiling."""
    examples = examples_of_texts(documentation(TEXTS) * TIMES)
    rows, found = [("batch of tokens", "tokens/s", "of ceiling")], {}
    for budget in BUDGETS:
        shard = encoder.plan(examples, encoder.request(batch_tokens=budget))
        speed = shard.counts["tokens"] / statistics.median(ran(encoder, shard) for _ in range(ROUNDS))
        found[speed] = shard
        rows.append((f"{budget:,}", f"{speed:,.0f}", f"{speed * share:.0%}"))
    show(rows, right=(0, 1, 2))
    kernels(encoder, found[max(found)])
    return max(found) * share


def ran(encoder: Encoder, shard: PlannedShard) -> float:
    """Return the seconds that the model takes."""
    into = Memory(shard.request.layers, shard.rows, encoder.width)
    torch.cuda.synchronize()
    start = time.perf_counter()
    encoder.run(shard, into)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def kernels(encoder: Encoder, shard: PlannedShard) -> None:
    """Print what the GPU does."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        seconds = ran(encoder, shard)
    parts: dict[str, float] = defaultdict(float)
    for event in seen.key_averages():
        kind = next((k for k, marks in KINDS.items() if any(mark in event.key for mark in marks)), "all else")
        parts[kind] += event.self_device_time_total / 1e3
    busy = sum(parts.values())
    rows = [("kernels", "ms", "share")]
    rows += [
        (kind, f"{ms:,.1f}", f"{ms / busy:.1%}") for kind, ms in sorted(parts.items(), key=lambda p: -p[1])
    ]
    show(rows, right=(1, 2))
    print(f"{busy:,.0f} ms of kernels and copies in {seconds * 1e3:,.0f} ms")


def to_disk(folder: Path, share: float) -> None:
    """Print how fast datasets are made."""
    rows = [("workers on the GPU", "tokens/s", "texts/s", "of ceiling")]
    texts = documentation(TEXTS)
    sources = [write_jsonl(folder / f"{times}.jsonl", texts * times) for times in (2, 12)]
    for workers in WORKERS:
        seconds, tokens = [], []
        for source in sources:
            out = source.with_suffix(f".{workers}.lw")
            command = f"-m layerwise extract {source} --out {out} --model {folder / 'model'} --precision bf16"
            start = time.perf_counter()
            made = subprocess.run(
                [sys.executable, *command.split(), "--device", "cuda", "--workers", str(workers), "--json"],
                check=True,
                capture_output=True,
                text=True,
            )
            seconds.append(time.perf_counter() - start)
            tokens.append(json.loads(made.stdout)["tokens"])
        took = seconds[1] - seconds[0]
        speed = (tokens[1] - tokens[0]) / took
        rows.append((str(workers), f"{speed:,.0f}", f"{10 * len(texts) / took:,.0f}", f"{speed * share:.1%}"))
    show(rows, right=(0, 1, 2, 3))


if __name__ == "__main__":
    main()
