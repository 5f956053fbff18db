"""Word alignment against simalign's own code: the same model, layer, methods and sentences, on one thread of the CPU.

simalign needs an environment of its own, as it has other versions of what it uses:

    python -m venv ENV && ENV/bin/pip install simalign networkx
    python benchmarks/word_alignment.py MODEL --python ENV/bin/python

MODEL is a folder, such as the one that shared/tools/e5_small.py writes. The sentences are those of ../shared/data. AER of
both by each method; processor seconds of argmax at one layer of both, and of all layers against the deepest one of ours
alone. Every round runs each way once, so that the ratios hold on a busy machine, and only they do.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
from common import SHARED, Goal, heading, ratio, show, show_goals

import layerwise as lw
from layerwise.geometry.word_alignment.gold_score import counts, error_rate
from layerwise.read.gold_links import read_gold
from layerwise.read.parallel_texts import open_parallel

METHODS = {"argmax": "inter", "itermax": "itermax", "match": "mwmf"}
LETTERS = {"argmax": "a", "itermax": "i", "match": "m"}
LAYER = 7
DATA = SHARED / "word_alignment"
# Runs in simalign's environment: aligns the sentence pairs of each line of stdin, and prints links and processor seconds.
THEIRS = """
import json, sys, time
from simalign import SentenceAligner
model, methods, layer = sys.argv[1:4]
aligner = SentenceAligner(model=model, token_type="bpe", matching_methods=methods, device="cpu", layer=int(layer))
for line in sys.stdin:
    pairs = json.loads(line)
    start = time.process_time()
    links = [aligner.get_word_aligns(a, b) for a, b in pairs]
    print(json.dumps({"seconds": time.process_time() - start, "links": links}), flush=True)
"""
Pairs = list[tuple[list[str], list[str]]]


class Simalign:
    """A process of simalign with its model loaded; a context that ends it."""

    def __init__(self, python: str, model: str, methods: str) -> None:
        command = [python, "-c", THEIRS, model, methods, str(LAYER)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def align(self, pairs: Pairs) -> dict[str, Any]:
        """Return the processor seconds and the links of sentence pairs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(pairs) + "\n")
        self._process.stdin.flush()
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        return result


def processor_seconds(run: Callable[[], Any]) -> float:
    """Return the processor seconds that this process takes to run a function."""
    start = time.process_time()
    run()
    return time.process_time() - start


def rounds_of(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each way tells per round, after one run of each that doesn't count.

    Every round runs each way once, every second round backwards.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            seconds[name].append(ways[name]())
    return seconds


def pairs_of(name: str) -> Pairs:
    """Return the sentence pairs of a set, as lists of words."""
    return [(list(pair.a), list(pair.b)) for pair in open_parallel(DATA / f"{name}.src-tgt")]


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
        "--sentences", nargs="*", default=["enfr", "zhen"], help="sets of sentences that are scored"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="match is slow in simalign")
    parser.add_argument("--pairs", type=int, default=200, help="pairs of enfr that are timed")
    arguments = parser.parse_args()
    heading("word alignment, against simalign")
    encoder = lw.load_encoder(arguments.model, device="cpu")
    rows, goals = [("sentences", "method", "AER of simalign", "AER of layerwise")], []
    letters = "".join(LETTERS[method] for method in arguments.methods)
    for name in arguments.sentences:
        pairs = pairs_of(name)
        gold = read_gold(DATA / f"{name}.gold", 1)
        sizes = [(len(a), len(b)) for a, b in pairs]
        with Simalign(arguments.python, arguments.model, letters) as theirs:
            their_links = theirs.align(pairs)["links"]
        ours = lw.align(
            DATA / f"{name}.src-tgt", model=encoder, layers=LAYER, method=arguments.methods,
            gold=DATA / f"{name}.gold", gold_base=1,
        )  # fmt: skip
        for method in arguments.methods:
            their_rate = rate_of([links[METHODS[method]] for links in their_links], gold, sizes)
            our_rate = 100 * float(ours[method][str(LAYER)].aer or 0)
            rows.append((name, method, f"{their_rate:.2f}", f"{our_rate:.2f}"))
            print(*rows[-1], flush=True)
            goals.append(Goal(f"{name}, {method}: difference", abs(our_rate - their_rate), 0.3, most=True))
    show(rows, right=(2, 3))
    timed = pairs_of("enfr")[: arguments.pairs]
    a, b = map(list, zip(*timed, strict=True))
    with Simalign(arguments.python, arguments.model, "a") as theirs:
        ways: dict[str, Callable[[], float]] = {
            "simalign, one layer": lambda: float(theirs.align(timed)["seconds"])
        }
        for name, layers in (("one layer", str(LAYER)), ("deepest layer", "-1"), ("all layers", "all")):
            align = partial(lw.align, a, b, model=encoder, layers=layers, threads=1)
            ways[name] = partial(processor_seconds, align)
        seconds = rounds_of(ways, arguments.rounds)
    times = [(name, f"{statistics.median(taken):.2f}") for name, taken in seconds.items()]
    show([("way", "processor seconds"), *times])
    goals.append(
        Goal(
            "times as fast as simalign", ratio(seconds["simalign, one layer"], seconds["one layer"]), 5, " x"
        )
    )
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
