"""`make results`: which layer for eleven tasks, by `layerwise probe`; rewrites their parts of docs/results.md.

With names of tasks as arguments, only those. The corpora are those of ../shared/data; without them nothing
is done. Datasets are made in a temporary folder, of about 3 GB at most.
"""

import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import ROOT, SHARED, put

import layerwise as lw
from layerwise.figures.markdown import probe_body
from layerwise.read import open_corpus

Record = dict[str, Any]
FIGURES = ROOT / "docs" / "figures"


@dataclass(frozen=True)
class Task:
    """A corpus and what is asked of it.

    `files` are those of each part of its split (`train`, `dev`, `test`), or of none (""); `reading`
    goes to `open_corpus`, `making` goes to `extract` and `task`, `label` to `probe`.
    """

    name: str
    files: Mapping[str, str]
    task: str
    label: str
    reading: Mapping[str, Any] = field(default_factory=dict)
    making: Mapping[str, Any] = field(default_factory=dict)


def _xprobe(name: str) -> Task:
    """Return a probing task of the SentEval kind; its makers' training part isn't at hand, so `va` trains."""
    files = {"train": f"xprobe_en/{name}/va.txt", "test": f"xprobe_en/{name}/te.txt"}
    reading = {"format": "tsv", "columns": ("text", "label")}
    return Task(name, files, "classify", "label", reading)


WORDS = {"words": "words", "level": "word"}
TASKS = (
    Task("sst2", {p: f"sst2/{p}.csv" for p in ("train", "dev", "test")}, "classify", "label"),
    Task(
        "hotel",
        {"": "chnsenticorp_hotel/ChnSentiCorp_htl_all.csv"},
        "classify",
        "label",
        {"text": "review"},
    ),
    Task("trec", {p: f"trec6/{p}.csv" for p in ("train", "test")}, "classify", "coarse"),
    Task("banking77", {p: f"banking77/{p}.csv" for p in ("train", "test")}, "classify", "category"),
    Task(
        "wnut17",
        {
            "train": "wnut17/wnut17train.conll",
            "dev": "wnut17/emerging.dev.conll",
            "test": "wnut17/emerging.test.annotated",
        },
        "tag",
        "tag",
        {"format": "conll"},
        WORDS,
    ),
    Task(
        "uner_chinese",
        {p: f"uner_chinese_gsd/zh_gsd-ud-{p}.iob2" for p in ("train", "dev", "test")},
        "tag",
        "tag",
        {"format": "conll", "columns": ("number", "token", "tag", "other", "annotator")},
        WORDS,
    ),
    Task(
        "ud_english_ewt",
        {
            "train": "ud_english_ewt/en_ewt-ud-train.rebuilt.conllu",
            "dev": "ud_english_ewt/en_ewt-ud-dev.conllu",
            "test": "ud_english_ewt/en_ewt-ud-test.conllu",
        },
        "classify",
        "upos",
        {"format": "conll"},
        WORDS,
    ),
    _xprobe("sentence_length"),
    _xprobe("bigram_shift"),
    _xprobe("past_present"),
    Task(
        "stsb",
        {p: f"stsb_en/stsb-en-{p}.csv" for p in ("train", "dev", "test")},
        "regress",
        "score",
        {"columns": ("text", "second", "score")},
        {"text": ("text", "second")},
    ),
)


def main(names: list[str]) -> int:
    """Probe, and put every task's tables in their place."""
    unknown = set(names) - {task.name for task in TASKS}
    if unknown:
        print(f"no task {sorted(unknown)}; there are {[task.name for task in TASKS]}", file=sys.stderr)
        return 2
    if not SHARED.exists():
        print(f"left out: {SHARED} isn't there", file=sys.stderr)
        return 0
    FIGURES.mkdir(exist_ok=True)
    for task in TASKS:
        if not names or task.name in names:
            start = time.perf_counter()
            _probe(task)
            print(f"{task.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return 0


def _probe(task: Task) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"{task.name}.jsonl")
        with source.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records(task))
        dataset = lw.extract(source, Path(folder, "dataset"), **{"level": "text", **task.making})
        split = "split" if "train" in task.files else None
        out = Path(folder, "probe")
        found = lw.probe(dataset, task=task.task, label=task.label, split=split, random_model=True, out=out)
        shutil.copy(out / "probe.svg", FIGURES / f"{task.name}.svg")
    result = found.to_json()
    figure = f"![Scores of {task.name} along the layers](figures/{task.name}.svg)"
    command = f"python benchmarks/tasks.py {task.name}"
    # Names of tables are bold: a heading would end the element `details` around them.
    body = re.sub("^#### (.*)$", r"**\1**", probe_body(result, "####"), flags=re.MULTILINE)
    put(task.name, f"{body}\n\n{figure}", result["versions"], result["seed"], command)


def records(task: Task) -> Iterator[Record]:
    """Yield every row of a task's corpus: its text or its words, its columns, and its part of the split."""
    for part, name in task.files.items():
        for example in open_corpus(SHARED / name, **task.reading):
            said = {"text": example.text} if example.words is None else {"words": example.words}
            yield {**said, **example.columns, **example.word_columns, "split": part}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
