"""What sites cost beside the outputs of all blocks: BERT-base shape, pooled to texts.

`all` alone runs a model without any hook of a site; with sites a copy of the model runs, which shares its weights. The
two are interleaved. An argument is the number of texts, 256 by default.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

from common import Goal, documentation, heading, interleaved, ratio, show, show_goals

import layerwise as lw
from layerwise.encode.checkpoint import find_checkpoint
from layerwise.encode.hf.saving import save_random

TEXTS, ROUNDS = 256, 5
WAYS = {
    "block outputs": "all",
    "block outputs again": "all",
    "with value": "all,value.1:",
    "with all three sites": "all,value.1:,attention.1:,mlp.1:",
    "attention.2 alone": "attention.2",
    "layer 2 alone": "2",
}


def main() -> None:
    """Measure and print."""
    number = int(sys.argv[1]) if sys.argv[1:] else TEXTS
    heading(f"sites: the layers of {number} paragraphs of documentation at text level, BERT-base shape, fp32")
    texts = documentation(number)
    with tempfile.TemporaryDirectory() as folder:
        save_random(Path(folder), find_checkpoint("minilm"))
        encoder = lw.load_encoder(folder, device="cpu")
        ways = {name: partial(encoder.encode, texts, layers) for name, layers in WAYS.items()}
        seconds = interleaved(ways, ROUNDS)
    usual = seconds["block outputs"]
    rows = [("way", "seconds", "against block outputs")]
    rows += [(name, f"{min(times):.2f}", f"{ratio(times, usual):.3f}") for name, times in seconds.items()]
    show(rows, right=(1, 2))
    show_goals(
        [
            Goal(
                "all four sites, against block outputs",
                ratio(seconds["with all three sites"], usual),
                1.3,
                " x",
                most=True,
            ),
            Goal(
                "block outputs after sites were asked for",
                ratio(seconds["block outputs again"], usual),
                1.05,
                " x",
                most=True,
            ),
            Goal(
                "attention.2 alone, against layer 2",
                ratio(seconds["attention.2 alone"], seconds["layer 2 alone"]),
                1.05,
                " x",
                most=True,
            ),
        ]
    )


if __name__ == "__main__":
    main()
