"""`make results`: one multilingual model across languages: retrieval, word alignment, transfer, names and reviews.

Rewrites its parts of docs/results.md, after every model run with what is measured so far. With names of parts as arguments
(retrieval, alignment, transfer, names, reviews), only those; --rows N takes fewer rows for transfer. The model is
multilingual-e5-small, made from a 4-bit copy by ../shared/tools/e5_small.py, unless --model names a folder; the texts are
those of ../shared/data. Without ../shared nothing is done.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from common import SHARED, put
from tasks import FIGURES, TASKS, Record, Task, records

import layerwise as lw
from layerwise.encode.encoder import Encoder
from layerwise.probing.results import ProbeResult
from layerwise.wording import fixed

LANGUAGES = ("deu", "fra", "cmn", "jpn")
PROMPT = "query: "
TITLES = {
    "retrieval": "Retrieval of translations, foreign to English: Tatoeba, 1,000 pairs for each language",
    "alignment": "Word alignment ([sentences and methods](reference/alignment.md))",
    "transfer": "Transfer between SST-2 (en) and Chinese hotel reviews (zh), {rows:,} rows to train on, and as many to test "
    "where there are (1,821 of SST-2)",
    "names": "Chinese names (UNER, 800 sentences to train on), beside minilm, which reads most Chinese as unknown tokens",
    "reviews": "2,000 Chinese hotel reviews, beside minilm, which reads most Chinese as unknown tokens",
}
PARTS = tuple(TITLES)
ROWS = 2000  # of each part of each language, for transfer
NAMES, REVIEWS = "uner_chinese", "hotel"
TASK_TEXTS = {NAMES: 800, REVIEWS: 2000}  # to train on


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(rows: Sequence[Record], count: int) -> list[Record]:
    """Return rows at even distances, from the first to the last part: a corpus may be sorted by its labels."""
    return [rows[number * len(rows) // count] for number in range(count)]


def parallel() -> Iterator[dict[str, Any]]:
    """Yield the sentences of Tatoeba: a pair has the same value of `pair`."""
    for language in LANGUAGES:
        for side in (language, "eng"):
            lines = (SHARED / "tatoeba" / f"{language}-eng.{side}").read_text(encoding="utf-8").splitlines()
            for number, text in enumerate(lines):
                yield {"text": text, "pair": f"{language}{number}", "language": side}


def retrieval(encoder: Encoder, folder: Path) -> Iterator[str]:
    """Yield a table of each variant, foreign to English, without and with the prompt, and the advice."""
    tables = []
    for prompt in ("", PROMPT):
        dataset = lw.extract(
            list(parallel()), folder / f"tatoeba{len(prompt)}", model=encoder, pool="mean", prompt=prompt
        )
        chosen = ["retrieval", "language_probe"] if not prompt else ["cosine", "centred"]
        out = folder / f"analysis{len(prompt)}"
        analysis = lw.analyze(dataset, pairs="pair", sides="language", measure=chosen, out=out)
        rows = [
            (name.replace(">", " → "), *map(fixed, measure.values.tolist()))
            for name, measure in analysis.each_direction().items()
            if name.endswith(">eng") or ":" not in name
        ]
        title = f"With the prompt `{PROMPT}`:" if prompt else "Without a prompt:"
        tables.append(f"{title}\n\n{markdown(('accuracy', *analysis.layers), rows)}")
        if analysis.retrieval is not None and not prompt:
            tables.append(str(analysis.retrieval.text))
            shutil.copy(out / "retrieval_cosine.svg", FIGURES / "tatoeba.svg")
            tables.append("![Retrieval by cosine in each direction and layer](figures/tatoeba.svg)")
        yield "\n\n".join(tables)


def alignment(encoder: Encoder, folder: Path) -> Iterator[str]:
    """Yield a table of AER, by method and layer, raw and centred, and the advice."""
    rows, advice = [], []
    data = SHARED / "word_alignment"
    for name in ("enfr", "zhen"):
        for centre in (False, True):
            result = lw.align(
                data / f"{name}.src-tgt", model=encoder, gold=data / f"{name}.gold", gold_base=1, centre=centre,
                method=["argmax", "itermax", "match", "softmax"], out=folder / f"{name}{centre}",
            )  # fmt: skip
            for method, of_layers in result.methods.items():
                rates = [fixed(100 * (links.aer or 0), 1) for links in of_layers.values()]
                rows.append((f"{name}, {method}{', centred' if centre else ''}", *rates))
            advice.append(
                f"{name}{', centred' if centre else ''}: {result.advice.text if result.advice else '–'}"
            )
            yield "\n\n".join([markdown(("AER, percent", *result.layers), rows), *advice])


def reviews(count: int) -> Iterator[dict[str, Any]]:
    """Yield English film reviews and Chinese hotel reviews, `count` of each part, with labels of the same names."""
    for part, file in (("train", "train"), ("test", "test")):
        with (SHARED / "sst2" / f"{file}.csv").open(encoding="utf-8", newline="") as source:
            for row in islice(csv.DictReader(source), count):
                yield {"text": row["text"], "label": row["label"], "language": "en", "part": part}
    with (SHARED / "chnsenticorp_hotel/ChnSentiCorp_htl_all.csv").open(
        encoding="utf-8", newline=""
    ) as source:
        rows = list(csv.DictReader(source))
    for number, row in enumerate(spread(rows, 2 * count)):  # in turn for training and testing
        label = {"1": "positive", "0": "negative"}[row["label"]]
        part = "test" if number % 2 else "train"
        yield {"text": row["review"], "label": label, "language": "zh", "part": part}


def transfer(encoder: Encoder, folder: Path, *, count: int = ROWS) -> Iterator[str]:
    """Yield a table of accuracy by layer and mix: trained on one language, tested on both, raw and centred."""
    ways = [("en", "zh"), ("zh", "zh"), ("zh", "en"), ("en", "en")]
    rows = [
        row
        | {
            f"{source}-{target}": row["part"]
            if row["language"] == {"train": source, "test": target}[row["part"]]
            else ""
            for source, target in ways
        }
        for row in reviews(count)
    ]
    dataset = lw.extract(rows, folder / "reviews", model=encoder, pool="mean", prompt="")
    table, sentences = {}, []
    for source, target in ways:
        for centre in (None, "language") if source != target else (None,):
            result = lw.probe(
                dataset, task="classify", label="label", split=f"{source}-{target}", centre=centre,
                quick=True, no_codelength=True,
            )  # fmt: skip
            name = f"{source} → {target}{', centred' if centre else ''}"
            table[name] = {
                c.mix: f"{fixed(c.score)} ({fixed(c.low or 0)} to {fixed(c.high or 0)})"
                for c in result.candidates
            }
            sentences.append(f"{name}: {result.transfer.text if result.transfer else '–'}")
            mixes = list(next(iter(table.values())))
            lines = [(mix, *(column[mix] for column in table.values())) for mix in mixes]
            yield "\n\n".join([markdown(("mix", *table), lines), *sentences])


def single_task(name: str, encoder: Encoder, folder: Path) -> Iterator[str]:
    """Yield the scores of single layers for a task of `tasks.TASKS`, of this model, and then of minilm too."""
    (task,) = (task for task in TASKS if task.name == name)
    layers = ["emb", *map(str, range(1, encoder.blocks + 1))]
    rows: list[tuple[str, ...]] = []
    advice: list[str] = []
    source = folder / f"{name}.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in some_records(task))
    for title, model in (("e5-small", encoder), ("minilm", lw.load_encoder("minilm"))):
        result = single_layers(task, source, model, folder / f"{name}-{title}")
        scores = {candidate.mix: fixed(candidate.score) for candidate in result.candidates}
        rows.append((f"{title}, {result.metric}", *(scores.get(layer, "–") for layer in layers)))
        advice.append(f"{title}, {result.rows:,} rows: {result.advice.text}")
        if model is encoder:
            shutil.copy(folder / f"{name}-{title}.probe" / "probe.svg", FIGURES / f"{name}_e5.svg")
            advice.append(f"![Scores of {name} along the layers of e5-small](figures/{name}_e5.svg)")
        yield "\n\n".join([markdown(("model", *layers), rows), *advice])


def some_records(task: Task) -> Iterator[Record]:
    """Yield the rows of a task: some of those that train, and all others."""
    rows = list(records(task))
    training = [row for row in rows if row["split"] in ("", "train")]
    yield from spread(training, TASK_TEXTS[task.name])
    yield from (row for row in rows if row["split"] not in ("", "train"))


def single_layers(task: Task, source: Path, model: Encoder, folder: Path) -> ProbeResult:
    """Return the probe of all layers of a model without mixes; its files are in the folder with `.probe` after its name."""
    making: dict[str, Any] = {"level": "text", "prompt": "", **task.making}
    if task.task == "tag":  # without words there is no control task, which would take most of the time
        making |= {"no_text": True, "keep": [task.label, "split"]}
    dataset = lw.extract(source, folder, model=model, **making)
    return lw.probe(
        dataset, task=task.task, label=task.label, split="split" if "train" in task.files else None, mix=[],
        quick=True, no_codelength=True, out=folder.with_name(f"{folder.name}.probe"),
    )  # fmt: skip


def main(names: list[str], model: str | None, count: int) -> int:
    """Write the tables of some parts, or of all; `count` is the number of rows of transfer."""
    unknown = set(names) - set(PARTS)
    if unknown:
        print(f"no part {sorted(unknown)}; there are {list(PARTS)}", file=sys.stderr)
        return 2
    if not SHARED.exists():
        print(f"left out: {SHARED} isn't there", file=sys.stderr)
        return 0
    makers: dict[str, Callable[[Encoder, Path], Iterator[str]]] = {
        "retrieval": retrieval,
        "alignment": alignment,
        "transfer": partial(transfer, count=count),
        "names": partial(single_task, NAMES),
        "reviews": partial(single_task, REVIEWS),
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if model is None:
            tool = SHARED.parent / "tools" / "e5_small.py"
            subprocess.run([sys.executable, str(tool), str(folder / "e5")], check=True)
        encoder = lw.load_encoder(model or folder / "e5")
        versions = lw.env()
        shown = {name: str(versions[name]) for name in ("layerwise", "torch", "transformers")}
        for name in names or PARTS:
            start = time.perf_counter()
            for text in makers[name](encoder, folder):
                whole = f"**{TITLES[name].format(rows=count)}**\n\n{text}"
                fewer = f" --rows {count}" if name == "transfer" and count != ROWS else ""
                put(f"languages-{name}", whole, shown, 0, f"python benchmarks/languages.py {name}{fewer}")
                print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--model", help="folder of the model")
    parser.add_argument(
        "--rows", type=int, default=ROWS, help="rows of each part of each language in transfer"
    )
    arguments = parser.parse_args()
    sys.exit(main(arguments.parts, arguments.model, arguments.rows))
