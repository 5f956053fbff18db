"""`make results`: tuning minilm end to end, beside heads on its layers; rewrites its parts of docs/results.md.

First what each way scores on the same test rows after the same training rows, and what it costs: every command in a
process of its own, with one thread. Then which layers the tuning has changed: the layers before and after, compared by
`analyze --against`, and the score of each by `probe --quick`. With names of tasks as arguments, only those.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import SHARED, put
from paired import Counts, Paired, counts_of_texts
from safetensors.numpy import load_file
from tuning_runs import BUILD, DESIGNS, MINILM, SEEDS, Cost, Design, answers_of, layerwise, tune

from layerwise._util.versions import versions
from layerwise.figures.markdown import table
from layerwise.layers import short_mix

LAST = "6"
MEASURE = "against_debiased_cka"


@dataclass(frozen=True)
class Way:
    """A way from labelled texts to answers: the counts of the test texts per seed, and the cost of one seed.

    The cost is that of everything: starting Python, loading the model, training, and the answers for the test texts.
    """

    name: str
    seeds: list[Counts]
    trained: int
    cost: Cost
    note: str = ""


def main(names: Sequence[str]) -> int:
    """Run, print, and put the tables in their places."""
    unknown = set(names) - {design.name for design in DESIGNS}
    if unknown:
        print(f"no task {sorted(unknown)}; there are {[design.name for design in DESIGNS]}", file=sys.stderr)
        return 2
    if not SHARED.exists():
        print(f"left out: {SHARED} isn't there", file=sys.stderr)
        return 0
    for design in DESIGNS:
        if not names or design.name in names:
            for part, text in (("tuning", costs_part), ("moved", moved_part)):
                told = text(design, BUILD)
                print(told, end="\n\n", flush=True)
                put(
                    f"{part}-{design.name}",
                    told,
                    versions(),
                    command=f"python benchmarks/tuning.py {design.name}",
                )
    return 0


def costs_part(design: Design, folder: Path, model: str = MINILM) -> str:
    """Return the table of one task: heads and tuning, with scores and costs."""
    sources = design.sources(folder)
    ways = [*_heads(design, sources, folder, model), _tuned(design, sources, folder, model)]
    paired = Paired(len(ways[0].seeds[0]))
    rows = [_row(way, ways[-1], paired) for way in ways]
    counts = [sum(1 for _ in sources[part].open(encoding="utf-8")) for part in ("train", "test")]
    said = f"{counts[0]:,} training and {counts[1]:,} test rows, {design.epochs} epochs, {design.metric}."
    notes = " ".join(way.note for way in ways if way.note)
    header = (
        "way",
        design.metric,
        "95% interval",
        "against tuned",
        "95% interval",
        "trained numbers",
        "processor s",
        "peak MB",
    )
    return f"**{design.title}**: {said}\n\n{table(header, rows)}\n\n{notes}".strip()


def _heads(design: Design, sources: Mapping[str, Path], folder: Path, model: str) -> Iterator[Way]:
    """Yield heads on frozen layers: on the last one, and on the mix that `probe` advised from the training rows."""
    with sources["test"].open(encoding="utf-8") as lines:
        gold = [json.loads(line)[design.label] for line in lines]
    dataset, probe = folder / f"{design.name}.lw", folder / f"{design.name}-probe"
    _, extracting = layerwise(
        folder, f"{design.name}-extract",
        "extract", sources["train"], "--model", model, *design.level, "--out", dataset,
    )  # fmt: skip
    printed, probing = layerwise(
        folder, f"{design.name}-probe-cost",
        "probe", dataset, *design.kind, "--quick", "--no-codelength", "--out", probe, "--json",
    )  # fmt: skip
    advised = short_mix(json.loads(printed)["advice"]["best"])
    for name, mix, before in (
        (f"head on {LAST}", ["--mix", LAST], extracting),
        (f"head on {advised}, which `probe` advised", ["--mix-from", probe], extracting + probing),
    ):
        kept = f"{design.name}-{'advised' if before != extracting else 'last'}"
        head = folder / f"{kept}.head"
        _, fitting = layerwise(
            folder, f"{kept}-train", "train", dataset, *design.kind, *mix, "--out", head, "--json"
        )
        answers, applying = layerwise(
            folder, f"{kept}-predict",
            "predict", head, sources["test"], "--model", model, *design.words,
            "--to", "conll" if design.tags else "jsonl",
        )  # fmt: skip
        yield Way(
            name,
            [counts_of_texts(gold, answers_of(design, answers))],
            _numbers(head),
            before + fitting + applying,
        )


def _numbers(head: Path) -> int:
    """Return how many numbers a head has trained: the weights and biases of its classifier, and of its mix."""
    sizes = {name: array.size for name, array in load_file(head / "head.safetensors").items()}
    learned = sizes["0.mix.weights"] + 1 if sizes["0.mix.weights"] > 1 else 0
    return int(sizes["0.weight"] + sizes["0.bias"] + learned)


def _tuned(design: Design, sources: Mapping[str, Path], folder: Path, model: str) -> Way:
    """Return the tuned models of all seeds; the cost is the mean of their seconds, and the largest peak."""
    seeds, lenient, costs, parameters = [], [], [], 0
    for seed in SEEDS:
        tuned, parameters, cost = tune(design, sources["both"], folder, seed, model)
        answers = json.loads((tuned / "test.json").read_text(encoding="utf-8"))
        seeds.append(counts_of_texts(answers["gold"], answers["predicted"]))
        lenient.append(counts_of_texts(answers["gold"], answers["predicted"], lenient=True))
        costs.append(cost)
    cost = Cost(sum(cost.seconds for cost in costs) / len(costs), max(cost.peak for cost in costs))
    paired = Paired(len(seeds[0]))
    scores = ", ".join(f"{score:.3f}" for score in paired.scores(seeds))
    note = f"The tuned models of seeds {', '.join(map(str, SEEDS))} score {scores}."
    if design.tags:
        note += f" With spans that may begin with I, their mean is {paired.mean(lenient):.3f}."
    return Way("tuned end to end", seeds, parameters, cost, note)


def _row(way: Way, tuned: Way, paired: Paired) -> list[str]:
    mean = paired.mean(way.seeds)
    against = ["–", "–"]
    if way is not tuned:
        difference = mean - paired.mean(tuned.seeds)
        against = [f"{difference:+.3f}", interval(paired.interval(way.seeds, tuned.seeds), "+")]
    return [
        way.name,
        f"{mean:.3f}",
        interval(paired.interval(way.seeds)),
        *against,
        f"{way.trained:,}",
        f"{way.cost.seconds:,.0f}",
        f"{way.cost.peak:,.0f}",
    ]


def moved_part(design: Design, folder: Path, model: str = MINILM) -> str:
    """Return the table of the layers of one task, before and after the tuning with the first seed."""
    sources = design.sources(folder)
    tuned, _, _ = tune(design, sources["both"], folder, SEEDS[0], model)
    scores = {}
    for when, which in (("before", model), ("after", str(tuned))):
        dataset = folder / f"{design.name}-{when}.lw"
        layerwise(
            folder, f"{dataset.stem}-extract",
            "extract", sources["both"], "--model", which, *design.level, "--pool", "mean", "--out", dataset,
        )  # fmt: skip
        printed, _ = layerwise(
            folder, f"{dataset.stem}-probe",
            "probe", dataset, *design.kind, "--split", "split", "--quick", "--no-codelength",
            "--mix", LAST, "--out", folder / f"{dataset.stem}-probe", "--json",
        )  # fmt: skip
        scores[when] = {candidate["mix"]: candidate for candidate in json.loads(printed)["candidates"]}
    printed, _ = layerwise(
        folder, f"{design.name}-against",
        "analyze", folder / f"{design.name}-before.lw", "--against", folder / f"{design.name}-after.lw",
        "--measure", MEASURE, "--out", folder / f"{design.name}-against", "--json",
    )  # fmt: skip
    return f"**{design.title}**\n\n{moved_table(json.loads(printed), scores, design.metric)}"


def moved_table(analysis: Mapping[str, Any], scores: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """Return the table of layers: how alike they are before and after, and what each scores."""
    measure = analysis["measures"][MEASURE]
    ends: Sequence[Any] = [None] * len(analysis["layers"])
    if measure.get("low"):
        ends = list(zip(measure["low"], measure["high"], strict=True))
    rows = []
    for layer, value, end in zip(analysis["layers"], measure["values"], ends, strict=True):
        said = [_scored(scores[when].get(layer)) for when in ("before", "after")]
        rows.append([layer, f"{value:.3f}", interval(end) if end else "–", *said])
    header = ("layer", "CKA before, after", "95% interval", f"{metric} before", f"{metric} after")
    return table(header, rows)


def _scored(candidate: Mapping[str, Any] | None) -> str:
    if candidate is None:
        return "–"
    said = f"{candidate['score']:.3f}"
    return (
        said
        if candidate.get("low") is None
        else f"{said} ({candidate['low']:.3f} to {candidate['high']:.3f})"
    )


def interval(ends: tuple[float, float], sign: str = "") -> str:
    """Return an interval as text."""
    return f"{ends[0]:{sign}.3f} to {ends[1]:{sign}.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
