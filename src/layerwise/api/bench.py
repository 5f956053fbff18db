"""bench: the speed of several ways to get every layer, in one run on the same texts."""

from collections.abc import Sequence
from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import choose
from layerwise.extraction.speed import Benchmark, check_request, measure_speed


def bench(
    *,
    model: str | Path = "minilm",
    shape: str | None = None,
    source: str | Path | Sequence[str | Path] | None = None,
    texts: int = 256,
    rounds: int = 3,
    device: str | None = None,
    bf16: bool = True,
    int8: bool = True,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Benchmark:
    """Measure, in interleaved rounds, the ways to get every layer of every token into memory.

    Args:
        model: a name for `load_encoder`.
        shape: `bert-base`, `llama-base` or `qwen3-base`, each of 12 blocks and width 768: random weights in this shape
            instead of a model, with minilm's tokenizer.
        source: a corpus; the documentation strings of Python's standard library by default.
        texts: the number of texts, sampled with a fixed seed.
        rounds: the number of rounds; every way runs once per round, and its median counts.
        device: where layerwise and the plain ways run; see `load_encoder`.
        bf16, int8: run layerwise in these precisions as well, int8 only if the machine supports it.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with, for all ways; see `lw.extract`.

    Returns:
        tokens per second of each way, beside those of the plain loop and the ceiling of the machine.

    Raises:
        RequestError: options that can't be combined, or no text in the source.
        ModelError: a model that can't be found or loaded.
    """
    choose(threads)
    check_request(model, shape, texts, rounds)
    with tracking(progress) as track:
        return measure_speed(
            model,
            shape,
            source,
            texts,
            rounds,
            device=device,
            bf16=bf16,
            int8=int8,
            threads=threads,
            track=track,
        )
