"""Where the time of an encoding goes: every share of it, in fp32, bf16 and int8; BERT-base shape, text level.

A clock stands around every part; the time of a part within another counts for the inner one only. Seconds are
those of the whole `lw.extract`, from reading the source to the committed shard, the model loaded before.
"""

import functools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import documentation, finish, heading, show, write_jsonl
from history import Figure
from torch import nn

import layerwise as lw
from layerwise.encode import attention, engine, int8, linear
from layerwise.encode.checkpoint import find_checkpoint
from layerwise.encode.encoder import Encoder
from layerwise.encode.hf import saving
from layerwise.encode.linear import PackedLinear
from layerwise.extraction.shard_maker import ShardMaker
from layerwise.store.shard import ShardWriter

TEXTS, ROUNDS = 512, 3
PRECISIONS = ("fp32", "bf16", "int8")


class Clock:
    """Adds up what each part took, without what other parts took within it; for one thing at a time, as one shard is."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._within: list[float] = []
        self._closed = False

    def around(self, part: str, run: Callable[..., Any], *, closed: bool = False) -> Callable[..., Any]:
        """Return `run` with the clock around it; of one that is `closed`, all that is within counts for it."""

        @functools.wraps(run)
        def timed(*args: Any, **more: Any) -> Any:
            if self._closed:
                return run(*args, **more)
            start = time.perf_counter()
            self._within.append(0.0)
            self._closed = closed
            try:
                return run(*args, **more)
            finally:
                self._closed = False
                taken = time.perf_counter() - start
                self.seconds[part] += taken - self._within.pop()
                if self._within:
                    self._within[-1] += taken

        return timed


def watch(clock: Clock) -> None:
    """Put the clock around what all models share; before they are loaded."""
    attention.packed_attention = clock.around("attention", attention.packed_attention)
    setattr(int8._InputCodes, "encode", clock.around("inputs to codes", int8._InputCodes.encode))
    setattr(int8._Weights, "times", clock.around("products", int8._Weights.times))
    run = engine.Engine.run

    def with_layers(self: Any, sequences: Any, batch: Any, wanted: Any, on_layer: Any) -> None:
        run(self, sequences, batch, wanted, clock.around("pooling and copying out", on_layer))

    setattr(engine.Engine, "run", clock.around("batches and the rest of the forward", with_layers))
    setattr(Encoder, "plan", clock.around("tokenising, rows and tables", Encoder.plan))
    measured = clock.around("error against fp32, once per dataset", ShardMaker._measured, closed=True)
    setattr(ShardMaker, "_measured", measured)
    setattr(ShardWriter, "put", clock.around("conversion to float16 and writing", ShardWriter.put))
    setattr(ShardWriter, "commit", clock.around("sync, hash, tables, record", ShardWriter.commit))


def watch_model(clock: Clock, encoder: Encoder) -> None:
    """Put the clock around the modules of a model."""
    for module in encoder._engine._model.modules():
        part = _part(module)
        if part is not None:
            module.forward = clock.around(part, module.forward)


def _part(module: nn.Module) -> str | None:
    if isinstance(module, PackedLinear | nn.Linear):
        return "products"
    if isinstance(module, nn.LayerNorm):
        return "layer norm"
    if isinstance(module, nn.Embedding):
        return "embeddings"
    if isinstance(module, int8.FeedForward):
        return "channels beside"
    if type(module).__name__ in ("BertSelfOutput", "BertOutput"):  # without the product and the norm in them
        return "residual sums"
    return None


def main() -> None:
    """Measure and print."""
    heading(f"shares: where the time goes, {TEXTS} texts to disk at text level, random BERT-base weights")
    clock = Clock()
    watch(clock)
    found: dict[str, list[dict[str, float]]] = {precision: [] for precision in PRECISIONS}
    with tempfile.TemporaryDirectory(prefix="layerwise-bench-") as name:
        folder = Path(name)
        source = write_jsonl(folder / "texts.jsonl", documentation(TEXTS))
        saving.save_random(folder / "model", find_checkpoint("minilm"))
        encoders = {p: lw.load_encoder(folder / "model", precision=p) for p in PRECISIONS}
        for encoder in encoders.values():
            watch_model(clock, encoder)
            encoder.encode(["One text, so that everything is loaded."])
        whole = clock.around("everything else", lw.extract)
        ceilings = dict.fromkeys(PRECISIONS, 0.0)
        for number in range(ROUNDS):
            for precision, encoder in encoders.items():
                measure = int8.ceiling if precision == "int8" else linear.ceiling
                ceilings[precision] = max(ceilings[precision], measure(precision, "cpu"))
                clock.seconds.clear()
                made = whole(source, folder / f"{precision}-{number}.lw", model=encoder)
                found[precision].append(dict(clock.seconds))
        flop = made.manifest.totals.tokens * _flop_per_token(encoders["fp32"])
    parts = sorted({part for runs in found.values() for run in runs for part in run})
    middle = {
        p: {part: statistics.median(run.get(part, 0.0) for run in runs) for part in parts}
        for p, runs in found.items()
    }
    parts.sort(key=lambda part: -middle["fp32"][part])
    rows = [("part", *(f"{p}: seconds, share" for p in PRECISIONS))]
    sums = {p: sum(middle[p].values()) for p in PRECISIONS}
    for part in parts:
        rows.append((part, *(f"{middle[p][part]:6.2f} {middle[p][part] / sums[p]:5.1%}" for p in PRECISIONS)))
    rows.append(("all", *(f"{sums[p]:6.2f}       " for p in PRECISIONS)))
    show(rows, right=(1, 2, 3))
    figures = [Figure(f"{p}, all parts", sums[p], " s", most=True) for p in PRECISIONS]
    for precision, ceiling in ceilings.items():
        rate = flop / 1e9 / middle[precision]["products"]
        print(
            f"{precision}: products run at {rate:,.0f} GFLOP/s, {rate / ceiling:.0%} of the ceiling ({ceiling:,.0f})"
        )
        figures.append(Figure(f"{precision}, products, share of the ceiling", rate / ceiling))
    finish(figures)


def _flop_per_token(encoder: Encoder) -> int:
    linears = (m for m in encoder._engine._model.modules() if isinstance(m, PackedLinear))
    return sum(2 * one.in_features * one.out_features for one in linears)


if __name__ == "__main__":
    main()
