"""bench: how fast this machine gives every layer, by several ways in one run on the same texts."""

from collections.abc import Sequence
from pathlib import Path

from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import choose
from layerwise.extraction.speed import Bench, check_request, measure_speed


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
) -> Bench:
    """Measure, in interleaved rounds, the ways to get every layer of every token into memory.

    Args:
        model: a name for `load_encoder`.
        shape: random weights in the shape of a known model instead, with minilm's tokenizer: `bert-base`.
        source: a corpus; the documentation strings of Python's standard library when left out.
        texts: how many texts, drawn by chance with a fixed seed.
        rounds: every way runs once per round; its median counts.
        device: where ours and the plain ways run.
        bf16, int8: run ours in these as well, int8 where it can be.
        progress: called with how far it has come; see `lw.Progress`.
        threads: how many all ways compute with; see `lw.extract`.
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
