"""Word alignment against simalign's own code: the same model, layer, methods and sentences, on the CPU.

simalign needs an environment of its own, as it has other versions of what it uses:

    python -m venv ENV && ENV/bin/pip install simalign networkx
    python benchmarks/word_alignment.py MODEL --python ENV/bin/python

MODEL is a folder, such as the one that shared/tools/e5_small.py writes. The sentences are those of ../shared/data. AER of
both by each method; seconds of argmax at one layer of both, and of all layers against the deepest one of ours alone.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from typing import Any

import numpy as np
from common import SHARED, Goal, heading, interleaved, ratio, show, show_goals

import layerwise as lw
from layerwise.geometry.word_alignment.gold_score import counts, error_rate
from layerwise.read.gold_links import read_gold
from layerwise.read.parallel_texts import open_parallel

METHODS = {"argmax": "inter", "itermax": "itermax", "match": "mwmf"}
LETTERS = {"argmax": "a", "itermax": "i", "match": "m"}
LAYER = 7
# Runs in simalign's environment: aligns, and prints the links and the seconds without loading.
THEIRS = """
import json, sys, time
from simalign import SentenceAligner
model, methods, layer, source = sys.argv[1:5]
pairs = json.loads(open(source, encoding="utf-8").read())
aligner = SentenceAligner(model=model, token_type="bpe", matching_methods=methods, device="cpu", layer=int(layer))
aligner.get_word_aligns(*pairs[0])
start = time.perf_counter()
links = [aligner.get_word_aligns(a, b) for a, b in pairs]
print(json.dumps({"seconds": time.perf_counter() - start, "links": links}))
"""


def simalign(python: str, model: str, methods: str, pairs: list[Any]) -> dict[str, Any]:
    """Return the seconds and the links of simalign."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as source:
        json.dump(pairs, source)
        source.flush()
        command = [python, "-c", THEIRS, model, methods, str(LAYER), source.name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rate_of(links: list[Any], gold: list[Any], sizes: list[tuple[int, int]]) -> float:
    """Return the AER of links, in percent, by the package's own scorer."""
    sums = np.zeros(4, np.int64)
    for pairs, of_pair, size in zip(links, gold, sizes, strict=True):
        mask = np.zeros((1, *size), bool)
        for a, b in pairs:
            mask[0, a, b] = True
        sums += counts(mask, of_pair.sure, of_pair.possible)[0]
    return 100 * float(error_rate(sums))


def main() -> None:
    """Compare error rates, then speeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="folder of a multilingual model")
    parser.add_argument("--python", required=True, help="Python of simalign's environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--sentences", nargs="+", default=["enfr", "zhen"], help="sets of sentences that are scored"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="match is slow in simalign")
    parser.add_argument("--pairs", type=int, default=200, help="sentence pairs that are timed")
    arguments = parser.parse_args()
    heading("word alignment, against simalign")
    encoder = lw.load_encoder(arguments.model, device="cpu")
    data = SHARED / "word_alignment"
    rows, goals = [("sentences", "method", "AER of simalign", "AER of layerwise")], []
    letters = "".join(LETTERS[method] for method in arguments.methods)
    for name in arguments.sentences:
        pairs = [(list(pair.a), list(pair.b)) for pair in open_parallel(data / f"{name}.src-tgt")]
        gold = read_gold(data / f"{name}.gold", 1)
        sizes = [(len(a), len(b)) for a, b in pairs]
        theirs = simalign(arguments.python, arguments.model, letters, pairs)
        ours = lw.align(
            data / f"{name}.src-tgt", model=encoder, layers=LAYER, method=arguments.methods,
            gold=data / f"{name}.gold", gold_base=1,
        )  # fmt: skip
        for method in arguments.methods:
            their_rate = rate_of([links[METHODS[method]] for links in theirs["links"]], gold, sizes)
            our_rate = 100 * float(ours[method][str(LAYER)].aer or 0)
            rows.append((name, method, f"{their_rate:.2f}", f"{our_rate:.2f}"))
            print(*rows[-1], flush=True)
            goals.append(Goal(f"{name}, {method}: difference", abs(our_rate - their_rate), 0.3, most=True))
    show(rows, right=(2, 3))
    timed = pairs[: arguments.pairs]
    a, b = [pair[0] for pair in timed], [pair[1] for pair in timed]
    ways = {
        "one layer": lambda: lw.align(a, b, model=encoder, layers=LAYER),
        "deepest layer": lambda: lw.align(a, b, model=encoder, layers=-1),
        "all layers": lambda: lw.align(a, b, model=encoder),
    }
    seconds = interleaved(ways, arguments.rounds)
    theirs_seconds = [
        simalign(arguments.python, arguments.model, "a", timed)["seconds"] for _ in range(arguments.rounds)
    ]
    show(
        [
            ("way", "seconds"),
            ("simalign, one layer", f"{statistics.median(theirs_seconds):.2f}"),
            *((name, f"{statistics.median(taken):.2f}") for name, taken in seconds.items()),
        ]
    )
    goals.append(Goal("times as fast as simalign", ratio(theirs_seconds, seconds["one layer"]), 5, " x"))
    goals.append(
        Goal(
            "all layers by the deepest one",
            ratio(seconds["all layers"], seconds["deepest layer"]),
            1.5,
            " x",
            most=True,
        )
    )
    show_goals(goals)


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s")
