"""Every layer of 256 paragraphs of documentation on BERT-base shape: the plain ways against layerwise.

The same as `layerwise bench --shape bert-base`, with the goals beside it.
"""

from common import Goal, heading, show, show_goals

from layerwise.api.bench import bench
from layerwise.extraction import speed as by

TEXTS, ROUNDS = 256, 3


def main() -> None:
    """Measure and print."""
    heading(
        f"speed: layerwise bench --shape bert-base --texts {TEXTS} --rounds {ROUNDS}", "sentence-transformers"
    )
    found = bench(shape="bert-base", texts=TEXTS, rounds=ROUNDS)
    print(f"{found.texts} texts, {found.tokens:,} tokens, median of {found.rounds} interleaved rounds")
    rows = [("way", "tokens/s", "against loop", "of ceiling")]
    rows += [
        (way, f"{s.tokens_per_s:,.0f}", f"{s.against_loop:.2f}", f"{s.of_ceiling:.0%}")
        for way, s in found.ways.items()
    ]
    show(rows, right=(1, 2, 3))
    ways = {way: speed.tokens_per_s for way, speed in found.ways.items()}
    print("\nwhat the measured ceiling of a matrix product allows, were all else free:")
    bounds = [("precision", "GFLOP/s", "tokens/s", "against loop", "against padded")]
    for precision, ceiling in found.ceilings.items():
        most = ceiling * 1e9 / found.flop_per_token
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
    print(f"the model's products need {found.flop_per_token / 1e6:,.0f} MFLOP per token")
    for name, why in found.left_out.items():
        print(f"{name} left out: {why}")
    int8 = []
    if by.INT8 in ways:
        int8 = [
            Goal("int8 against the loop", ways[by.INT8] / ways[by.LOOP], 13, " x"),
            Goal("int8 against padded batches", ways[by.INT8] / ways[by.PADDED], 36, " x"),
        ]
    show_goals(
        [
            Goal("fp32 against the loop", ways[by.FP32] / ways[by.LOOP], 4.2, " x"),
            Goal("fp32 against padded batches", ways[by.FP32] / ways[by.PADDED], 11, " x"),
            Goal("bf16 against the loop", ways[by.BF16] / ways[by.LOOP], 8.5, " x"),
            *int8,
            Goal("fp32, share of its ceiling", found.ways[by.FP32].of_ceiling, 0.8),
            Goal("bf16, share of its ceiling", found.ways[by.BF16].of_ceiling, 0.8),
            Goal("layer 1 against all 12", ways[by.FIRST_LAYER] / ways[by.FP32], 7, " x"),
        ]
    )


if __name__ == "__main__":
    main()
