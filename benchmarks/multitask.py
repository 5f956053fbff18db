"""`make results`: coarse and fine classes of TREC, with a hidden layer for each and with one for both.

Rewrites its table in docs/results.md. The mix is the default of `train`. A head of two tasks is trained by
`lw.train(tasks=…, shared_hidden=N)`; the heads of one task have a hidden layer of the same width, or none.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, put, show
from paired import Counts, Paired, counts_of_texts
from tasks import TASKS, records

import layerwise as lw
from layerwise._util.versions import versions
from layerwise.figures.markdown import table

TARGETS = ("coarse", "fine")
FEW = 500
WIDTHS = (64,)
SEEDS = (0, 1, 2)
MODEL = "minilm"
Record = Mapping[str, Any]
Gold = Mapping[str, Sequence[str]]
"""The right labels of the test texts, by task."""
Answers = dict[str, list[Counts]]
"""The counts of the test texts, by task and seed."""


@dataclass(frozen=True)
class Trained:
    """Heads of one design, a list of them per seed, what they have trained, and the processor seconds of a seed."""

    seeds: list[list[lw.Head]]
    parameters: int
    seconds: float


def main() -> int:
    """Train, print, and put the table in its place."""
    if not SHARED.exists():
        print(f"left out: {SHARED} isn't there", file=sys.stderr)
        return 0
    trec = next(task for task in TASKS if task.name == "trec")
    rows = list(multitask_rows(list(records(trec)), FEW, WIDTHS))
    show(rows, right=range(2, len(rows[0])))
    text = table(rows[0], rows[1:], left_columns=2)
    put("multitask", text, versions(), command="python benchmarks/multitask.py")
    return 0


def multitask_rows(corpus: Sequence[Record], few: int, widths: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table, from the heads of `few` and of all training rows."""
    train = [record for record in corpus if record["split"] == "train"]
    test = [record for record in corpus if record["split"] == "test"]
    yield ("training rows", "heads", *_columns())
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "rows.jsonl")
        source.write_text("".join(json.dumps(record) + "\n" for record in test), encoding="utf-8")
        tested = lw.extract(source, Path(folder, "test.lw"), model=MODEL, level="text", threads=1)
        gold = {target: [record[target] for record in test] for target in TARGETS}
        for count in (few, len(train)):
            # Each of the first rows of a random order, so that the larger set holds the smaller one.
            order = np.random.default_rng(0).permutation(len(train))[:count]
            source.write_text("".join(json.dumps(train[i]) + "\n" for i in order), encoding="utf-8")
            dataset = lw.extract(source, Path(folder, f"{count}.lw"), model=MODEL, level="text", threads=1)
            yield from _designs(dataset, tested, gold, widths)


def _columns() -> list[str]:
    scores = [
        column
        for target in TARGETS
        for column in (target, "95% interval", "together − alone", "95% interval")
    ]
    return [*scores, "trained numbers", "processor s"]


def _designs(
    dataset: lw.LayerDataset, tested: lw.LayerDataset, gold: Gold, widths: Sequence[int]
) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one number of training rows: linear heads, and each width alone and together."""
    designs = {"linear, one for each": _alone(dataset, SEEDS[:1])}
    for width in widths:
        designs[f"{width} units for each"] = _alone(dataset, SEEDS, head_type="mlp", hidden=width)
        designs[f"{width} units for both"] = _together(dataset, width)
    alone: Answers | None = None
    for name, trained in designs.items():
        answers = _answers(trained, tested, gold)
        compared = alone if name.endswith("for both") else None
        alone = answers
        yield f"{len(dataset.texts):,}", name, *_scores(answers, compared), *_cost(trained)


def _alone(dataset: lw.LayerDataset, seeds: Sequence[int], **options: Any) -> Trained:
    """Train a head per task."""

    def heads(seed: int) -> list[lw.Head]:
        tasks = [{target: f"classify:{target}"} for target in TARGETS]
        return [lw.train(dataset, tasks=task, seed=seed, threads=1, **options) for task in tasks]

    return _timed(heads, seeds)


def _together(dataset: lw.LayerDataset, width: int) -> Trained:
    """Train one head of both tasks."""
    tasks = {target: f"classify:{target}" for target in TARGETS}
    return _timed(
        lambda seed: [lw.train(dataset, tasks=tasks, shared_hidden=width, seed=seed, threads=1)], SEEDS
    )


def _timed(heads: Any, seeds: Sequence[int]) -> Trained:
    start = time.process_time()
    trained = [heads(seed) for seed in seeds]
    seconds = (time.process_time() - start) / len(seeds)
    return Trained(trained, _parameters(trained[0]), seconds)


def _parameters(heads: Sequence[lw.Head]) -> int:
    """Return how many numbers the heads have trained; a hidden layer that tasks share counts once."""
    weights: dict[bytes, int] = {}
    for head in heads:
        for task in head.task_heads:
            hidden = task.fitted.hidden or ()
            for array in (*hidden, task.fitted.weight, task.fitted.bias):
                weights[np.asarray(array).tobytes()] = int(np.size(array))
    return sum(weights.values())


def _answers(trained: Trained, tested: lw.LayerDataset, gold: Gold) -> Answers:
    """Return the counts of the test texts, by task and seed."""
    answers: Answers = {target: [] for target in TARGETS}
    for heads in trained.seeds:
        lines = [head.predict_rows(tested) for head in heads]
        for number, target in enumerate(TARGETS):
            # A head of one task answers without the name of the task.
            said = lines[number] if len(heads) > 1 else [line[target] for line in lines[0]]
            answers[target].append(counts_of_texts(gold[target], [line["label"] for line in said]))
    return answers


def _scores(answers: Answers, alone: Answers | None) -> Iterator[str]:
    for target, counts in answers.items():
        paired = Paired(len(counts[0]))
        yield f"{paired.mean(counts):.3f}"
        yield _interval(paired.interval(counts))
        if alone is None:
            yield from ("–", "–")
        else:
            yield f"{paired.mean(counts) - paired.mean(alone[target]):+.3f}"
            yield _interval(paired.interval(counts, alone[target]), "+")


def _cost(trained: Trained) -> tuple[str, str]:
    return f"{trained.parameters:,}", f"{trained.seconds:.1f}"


def _interval(ends: tuple[float, float], sign: str = "") -> str:
    return f"{ends[0]:{sign}.3f} to {ends[1]:{sign}.3f}"


if __name__ == "__main__":
    sys.exit(main())
