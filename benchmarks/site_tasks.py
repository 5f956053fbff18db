"""`make results`: do value vectors beat the outputs of blocks? The best of each site for tasks, by `layerwise probe`.

Rewrites the tables of docs/results.md under "Sites", one per model: `minilm`, and with `e5=FOLDER` the multilingual
model that ../shared/tools/e5_small.py makes. Names of tasks as arguments choose some of `tasks.TASKS`.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, SHARED, put
from tasks import TASKS, Record, Task, records

import layerwise as lw
from layerwise.layers import SITES, site

CHOSEN = ("sst2", "hotel", "trec", "sentence_length", "bigram_shift", "past_present", "stsb")
LAYERS = "all,value.1:,attention.1:,mlp.1:"
KINDS: tuple[str | None, ...] = (None, *SITES)


def main(arguments: list[str]) -> int:
    """Probe, and put a table per model in its place."""
    names = [name for name in arguments if "=" not in name] or list(CHOSEN)
    if not SHARED.exists():
        print(f"left out: {SHARED} isn't there", file=sys.stderr)
        return 0
    tasks = [task for task in TASKS if task.name in names]
    with tempfile.TemporaryDirectory() as folder:
        for name, model in _models(arguments, Path(folder)).items():
            results: list[tuple[Task, Record]] = []
            for task in tasks:
                start = time.perf_counter()
                results.append((task, _probe(task, model)))
                print(f"{name}, {task.name}: {time.perf_counter() - start:.0f} s", flush=True)
                _write(name, results)
    return 0


def _write(name: str, results: list[tuple[Task, Record]]) -> None:
    """Put the table of a model's tasks so far in its place: an interrupted run leaves what was measured."""
    first = results[0][1]
    words = ["e5=FOLDER" if name == "e5" else f"only={name}", *(task.name for task, _ in results)]
    command = f"python benchmarks/site_tasks.py {' '.join(words)}"
    put(f"sites_{name}", _table(results), first["versions"], first["seed"], command)


def _models(arguments: list[str], folder: Path) -> dict[str, str]:
    """Return the models by the names of their tables; `only=minilm` leaves the multilingual one out."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    models = {"minilm": "minilm"}
    tool = ROOT.parent / "shared" / "tools" / "e5_small.py"
    if given.get("only") != "minilm" and "e5" not in given and tool.exists():
        given["e5"] = str(folder / "e5")
        subprocess.run([sys.executable, str(tool), given["e5"]], check=True)
    return models | ({"e5": given["e5"]} if "e5" in given else {})


def _probe(task: Task, model: str) -> Record:
    """Return the result of a probe of all layers and sites, and of nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"{task.name}.jsonl")
        with source.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records(task))
        dataset = lw.extract(
            source, Path(folder, "dataset"), model=model, layers=LAYERS, **{"level": "text", **task.making}
        )
        split = "split" if "train" in task.files else None
        found = lw.probe(
            dataset, task=task.task, label=task.label, split=split, mix=[], quick=True, no_codelength=True
        )
    return found.to_json()


def _table(results: list[tuple[Task, Record]]) -> str:
    """Return a row per task: the best of each kind with its interval; in bold the best of all."""
    kinds = ("block outputs", *SITES)
    rows: list[tuple[str, ...]] = [("task, metric", *kinds, "value vectors against the best output")]
    for task, result in results:
        best = {kind: _best(result, kind) for kind in KINDS}
        top = max(best.values(), key=lambda candidate: candidate["score"])
        cells = [_cell(candidate, bold=candidate is top) for candidate in best.values()]
        rows.append((f"{task.name}, {result['metric']}", *cells, _verdict(best["value"], best[None])))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]])


def _best(result: Record, kind: str | None) -> Record:
    """Return the candidate of a kind with the highest score."""
    scored = [c for c in result["candidates"] if site(c["mix"]) == kind and not c["dropped"]]
    scored = scored or [c for c in result["candidates"] if site(c["mix"]) == kind]
    best: Record = max(scored, key=lambda candidate: candidate["score"])
    return best


def _cell(candidate: Record, *, bold: bool) -> str:
    score = f"{candidate['score']:.3f}"
    ends = "" if candidate["low"] is None else f" ({candidate['low']:.3f} to {candidate['high']:.3f})"
    return f"{f'**{score}**' if bold else score}{ends}, `{candidate['mix']}`"


def _verdict(value: Record, output: Record) -> str:
    """Return the difference, and its p where one of the two is the best of all candidates, which p is against."""
    difference = value["score"] - output["score"]
    words = f"{'+' if difference >= 0 else '−'}{abs(difference):.3f}"
    better, other = (value, output) if difference >= 0 else (output, value)
    if better["p_vs_best"] is None or other["p_vs_best"] is None or better["p_vs_best"] < 1:
        return words
    return f"{words}, p {other['p_vs_best']:.2g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
