"""`make results`: one multilingual model across languages: retrieval, word alignment, transfer, names and reviews.

Rewrites its parts of docs/results.md. With names of parts as arguments (retrieval, alignment, transfer, tasks), only
those. The model is multilingual-e5-small, made from a 4-bit copy by ../shared/tools/e5_small.py, unless --model names a
folder; the texts are those of ../shared/data. Without ../shared nothing is done.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common import SHARED, put
from tasks import TASKS, records

import layerwise as lw
from layerwise.encode.encoder import Encoder
from layerwise.wording import fixed

LANGUAGES = ("deu", "fra", "cmn", "jpn")
PROMPT = "query: "
TITLES = {
    "retrieval": "Retrieval of translations, foreign to English: Tatoeba, 1,000 pairs for each language",
    "alignment": "Word alignment ([sentences and methods](reference/alignment.md))",
    "transfer": "Transfer between SST-2 (en) and Chinese hotel reviews (zh), 2,000 rows to train on and as many to test",
    "tasks": "Chinese hotel reviews and Chinese names (UNER), beside minilm, which reads most Chinese as unknown tokens",
}
PARTS = tuple(TITLES)
TRANSFER_ROWS = 2000  # of each part of each language


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parallel() -> Iterator[dict[str, Any]]:
    """Yield the sentences of Tatoeba: a pair has the same value of `pair`."""
    for language in LANGUAGES:
        for side in (language, "eng"):
            lines = (SHARED / "tatoeba" / f"{language}-eng.{side}").read_text(encoding="utf-8").splitlines()
            for number, text in enumerate(lines):
                yield {"text": text, "pair": f"{language}{number}", "language": side}


def retrieval(encoder: Encoder, folder: Path) -> str:
    """Return a table of each variant, foreign to English, without and with the prompt, and the advice."""
    tables = []
    for prompt in ("", PROMPT):
        dataset = lw.extract(
            list(parallel()), folder / f"tatoeba{len(prompt)}", model=encoder, pool="mean", prompt=prompt
        )
        chosen = ["retrieval", "language_probe"] if not prompt else ["cosine", "centred"]
        analysis = lw.analyze(dataset, pairs="pair", sides="language", measure=chosen)
        rows = [
            (name.replace(">", " → "), *map(fixed, measure.values.tolist()))
            for name, measure in analysis.each_direction().items()
            if name.endswith(">eng") or ":" not in name
        ]
        title = f"With the prompt `{PROMPT}`:" if prompt else "Without a prompt:"
        tables.append(f"{title}\n\n{markdown(('accuracy', *analysis.layers), rows)}")
        if analysis.retrieval is not None and not prompt:
            tables.append(str(analysis.retrieval.text))
    return "\n\n".join(tables)


def alignment(encoder: Encoder, folder: Path) -> str:
    """Return a table of AER, by method and layer, raw and centred, and the advice."""
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
    return "\n\n".join([markdown(("AER, percent", *result.layers), rows), *advice])


def reviews() -> Iterator[dict[str, Any]]:
    """Yield English film reviews and Chinese hotel reviews, with labels of the same names, in parts."""
    for part, file in (("train", "train"), ("test", "test")):
        with (SHARED / "sst2" / f"{file}.csv").open(encoding="utf-8", newline="") as source:
            for number, row in enumerate(csv.DictReader(source)):
                if number < TRANSFER_ROWS:
                    yield {"text": row["text"], "label": row["label"], "language": "en", "part": part}
    with (SHARED / "chnsenticorp_hotel/ChnSentiCorp_htl_all.csv").open(
        encoding="utf-8", newline=""
    ) as source:
        rows = list(csv.DictReader(source))
    # The file is sorted by label: every third row, in turn for training and testing.
    for number, row in enumerate(rows[:: max(1, len(rows) // (2 * TRANSFER_ROWS))][: 2 * TRANSFER_ROWS]):
        label = {"1": "positive", "0": "negative"}[row["label"]]
        part = "test" if number % 2 else "train"
        yield {"text": row["review"], "label": label, "language": "zh", "part": part}


def transfer(encoder: Encoder, folder: Path) -> str:
    """Return a table of accuracy by layer and mix: trained on one language, tested on both, raw and centred."""
    ways = [("en", "zh"), ("zh", "zh"), ("zh", "en"), ("en", "en")]
    rows = [
        row
        | {
            f"{source}-{target}": row["part"]
            if row["language"] == {"train": source, "test": target}[row["part"]]
            else ""
            for source, target in ways
        }
        for row in reviews()
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
    return "\n\n".join([markdown(("mix", *table), lines), *sentences])


def tasks(encoder: Encoder, folder: Path) -> str:
    """Return the scores of single layers for hotel reviews and Chinese names, of this model and of minilm."""
    rows, layers = [], ["emb", *map(str, range(1, encoder.blocks + 1))]
    for task in TASKS:
        if task.name not in ("hotel", "uner_chinese"):
            continue
        source = folder / f"{task.name}.jsonl"
        with source.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records(task))
        for name, model in (("e5-small", encoder), ("minilm", lw.load_encoder("minilm"))):
            making = {"level": "text", "prompt": "", **task.making}
            dataset = lw.extract(source, folder / f"{task.name}-{name}", model=model, **making)
            split = "split" if "train" in task.files else None
            result = lw.probe(
                dataset,
                task=task.task,
                label=task.label,
                split=split,
                mix=["concat(-4:)"],
                quick=True,
                no_codelength=True,
            )
            scores = {candidate.mix: fixed(candidate.score) for candidate in result.candidates}
            cells = [scores.get(layer, "–") for layer in [*layers, "concat(-4:)"]]
            rows.append((f"{task.name}, {result.metric}, {name}", *cells))
    return markdown(("task", *layers, "concat(-4:)"), rows)


def main(names: list[str], model: str | None) -> int:
    """Write the tables of some parts, or of all."""
    unknown = set(names) - set(PARTS)
    if unknown:
        print(f"no part {sorted(unknown)}; there are {list(PARTS)}", file=sys.stderr)
        return 2
    if not SHARED.exists():
        print(f"left out: {SHARED} isn't there", file=sys.stderr)
        return 0
    makers = {"retrieval": retrieval, "alignment": alignment, "transfer": transfer, "tasks": tasks}
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
            text = makers[name](encoder, folder)
            put(
                f"languages-{name}",
                f"**{TITLES[name]}**\n\n{text}",
                shown,
                0,
                f"python benchmarks/languages.py {name}",
            )
            print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--model", help="folder of the model")
    arguments = parser.parse_args()
    sys.exit(main(arguments.parts, arguments.model))
