"""How often the advice of `probe` changes with the seed of its folds, on the same rows: the table in docs/explanation/probe.md.

Ten seeds on the first 1,000 questions of TREC, 1,000 sentences of SST-2 and 100 of WNUT-17 (about 2,000 words) of
../shared/data, each encoded by minilm once: how many seeds advise the mix that most seeds advise, and by how much the
scores of the advised mixes differ. Candidates are the single layers and `mean(1:)`. By default probes are `--quick`;
`--full` takes five repeats. The row of a corpus is printed as soon as it is done.
"""

import argparse
import json
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path

from common import SHARED, heading
from tasks import TASKS

import layerwise as lw
from layerwise.cli.output import table
from layerwise.read import open_corpus

_SEEDS = 10
_LIMITS = {"trec": 1000, "sst2": 1000, "wnut17": 100}
_MIXES = ("mean(1:)",)


def row_of(name: str, folder: Path, quick: bool) -> tuple[str, ...]:
    """Return the cells of one corpus."""
    task = next(task for task in TASKS if task.name == name)
    source = folder / f"{name}.jsonl"
    with open(source, "w", encoding="utf-8") as file:
        for example in islice(open_corpus(SHARED / task.files["train"], **task.reading), _LIMITS[name]):
            text = {"text": example.text} if example.words is None else {"words": example.words}
            record = {**text, **example.columns, **example.word_columns}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    dataset = lw.extract(source, folder / f"{name}.lw", **{"level": "text", **task.making})
    results = [
        lw.probe(
            dataset,
            task=task.task,
            label=task.label,
            mix=list(_MIXES),
            quick=quick,
            no_codelength=True,
            seed=seed,
        )
        for seed in range(_SEEDS)
    ]
    best = Counter(result.advice.best for result in results)
    cheapest = Counter(result.advice.cheapest for result in results)
    scores = [result[best.most_common(1)[0][0]].score for result in results]
    differs = sum(result.advice.differs for result in results)
    worse = [
        sum((c.p_vs_best or 0.0) < 0.05 for c in r.candidates if c.mix != r.advice.best) for r in results
    ]
    return (
        name,
        f"{len(best)}: " + ", ".join(f"{mix} {count}" for mix, count in best.most_common()),
        f"{len(cheapest)}: " + ", ".join(f"{mix} {count}" for mix, count in cheapest.most_common()),
        f"{differs} of {_SEEDS}",
        f"{min(worse)} to {max(worse)}",
        f"{min(scores):.3f} to {max(scores):.3f}",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="five repeats, the default of probe")
    parser.add_argument("corpus", nargs="*", default=list(_LIMITS))
    args = parser.parse_args()
    heading(f"Advice of probe for {_SEEDS} seeds, {'5 × 5 folds' if args.full else '--quick'}")
    cells: list[tuple[str, ...]] = [
        ("corpus", "best", "cheapest", "differs", "candidates worse", "score of the best")
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in args.corpus:
            cells.append(row_of(name, Path(folder), not args.full))
            print(*table([cells[0], cells[-1]]), sep="\n", flush=True)


if __name__ == "__main__":
    main()
