"""Every layer of 256 paragraphs of documentation on models of 12 blocks and width 768: the plain ways against layerwise.

The same as `layerwise bench --shape bert-base` (`llama-base`, `qwen3-base`), with the goals beside it. Further arguments
are the shapes to measure, all by default, and `texts=N`.
"""

import sys

from common import Goal, heading, show, show_goals

from layerwise.api.bench import bench
from layerwise.extraction import speed as by

SHAPES = tuple(by.SHAPES)
TEXTS, ROUNDS = 256, 3


def main() -> None:
    """Measure and print."""
    chosen = [shape for shape in SHAPES if shape in sys.argv[1:]] or list(SHAPES)
    sizes = [argument.removeprefix("texts=") for argument in sys.argv[1:] if argument.startswith("texts=")]
    number = int(sizes[0]) if sizes else TEXTS
    heading(
        f"speed: layerwise bench --shape {'|'.join(chosen)} --texts {number} --rounds {ROUNDS}",
        "sentence-transformers",
    )
    goals = [goal for shape in chosen for goal in measure(shape, number)]
    show_goals(goals)


def measure(shape: str, texts: int) -> list[Goal]:
    """Measure and print the ways for one shape; return their goals, which are those of BERT for all shapes."""
    benchmark = bench(shape=shape, texts=texts, rounds=ROUNDS)
    print(
        f"{shape}: {benchmark.texts} texts, {benchmark.tokens:,} tokens, median of {benchmark.rounds} interleaved rounds"
    )
    rows = [("way", "tokens/s", "against loop", "against padded", "of ceiling")]
    ways = {way: speed.tokens_per_s for way, speed in benchmark.ways.items()}
    rows += [
        (
            way,
            f"{s.tokens_per_s:,.0f}",
            f"{s.against_loop:.2f}",
            f"{s.tokens_per_s / ways[by.PADDED]:.2f}",
            f"{s.of_ceiling:.0%}",
        )
        for way, s in benchmark.ways.items()
    ]
    show(rows, right=(1, 2, 3, 4))
    print("\nwhat the measured ceiling of a matrix product allows, were all else free:")
    bounds = [("precision", "GFLOP/s", "tokens/s", "against loop", "against padded")]
    for precision, ceiling in benchmark.ceilings.items():
        most = ceiling * 1e9 / benchmark.flop_per_token
        bounds.append(
            (
                precision,
                f"{ceiling:,.0f}",
                f"{most:,.0f}",
                f"{most / ways[by.LOOP]:.2f}",
                f"{most / ways[by.PADDED]:.2f}",
            )
        )
    show(bounds, right=(1, 2, 3, 4))
    print(f"the model's products need {benchmark.flop_per_token / 1e6:,.0f} MFLOP per token")
    for name, why in benchmark.left_out.items():
        print(f"{name} left out: {why}")
    print(flush=True)
    of_shape = "" if shape == "bert-base" else f"{shape}: "
    int8 = []
    if by.INT8 in ways:
        int8 = [
            Goal(f"{of_shape}int8 against the loop", ways[by.INT8] / ways[by.LOOP], 13, " x"),
            Goal(f"{of_shape}int8 against padded batches", ways[by.INT8] / ways[by.PADDED], 36, " x"),
        ]
    return [
        Goal(f"{of_shape}fp32 against the loop", ways[by.FP32] / ways[by.LOOP], 4.2, " x"),
        Goal(f"{of_shape}fp32 against padded batches", ways[by.FP32] / ways[by.PADDED], 11, " x"),
        Goal(f"{of_shape}bf16 against the loop", ways[by.BF16] / ways[by.LOOP], 8.5, " x"),
        *int8,
        Goal(f"{of_shape}fp32, share of its ceiling", benchmark.ways[by.FP32].of_ceiling, 0.8),
        Goal(f"{of_shape}bf16, share of its ceiling", benchmark.ways[by.BF16].of_ceiling, 0.8),
        Goal(f"{of_shape}layer 1 against all 12", ways[by.FIRST_LAYER] / ways[by.FP32], 7, " x"),
    ]


if __name__ == "__main__":
    main()
