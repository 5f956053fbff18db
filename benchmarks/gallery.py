"""`make gallery`: six pages of `lw.report` with pictures, in `docs/gallery`.

With names of pages as arguments, only those. Pages of the corpora in ../shared/data show no texts, as these corpora aren't
part of the project; without ../shared these pages are left out. The multilingual model is made by ../shared/tools/e5_small.py,
unless --model names a folder. Pictures need Chromium.
"""

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT, SHARED, put
from languages import markdown
from screenshots import opened, picture

import layerwise as lw
from layerwise._util.versions import versions
from layerwise.read.docstrings import paragraphs

GALLERY = ROOT / "docs" / "gallery"
EXAMPLES = ROOT / "examples"
E5 = "multilingual-e5-small"
PACKAGES = ("asyncio", "ctypes", "datetime", "email", "random", "tkinter", "unittest", "zipfile")
PER_PACKAGE, PAIRS, TRANSLATIONS = 40, 200, 120
MOST_BYTES = 900_000
# Sentences of ours and their translations, for the links of words.
GERMAN = (
    ("the train arrives at eight o'clock", "der Zug kommt um acht Uhr an"),
    ("I have never seen such a big fish", "ich habe noch nie einen so großen Fisch gesehen"),
    ("the children are playing in the garden", "die Kinder spielen im Garten"),
    ("yesterday it rained all day long", "gestern hat es den ganzen Tag geregnet"),
    ("she reads the newspaper every morning", "sie liest jeden Morgen die Zeitung"),
    ("the old bridge was closed last winter", "die alte Brücke wurde letzten Winter gesperrt"),
    ("we would like to pay with a card", "wir möchten mit Karte bezahlen"),
    ("nobody knows where the key is", "niemand weiß, wo der Schlüssel ist"),
)
Report = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """A page of the gallery.

    `make` writes the dataset and its results into the current folder, and returns the arguments of `lw.report`. `section` is
    the part of the page that the picture shows, from its top to `high` pixels; `layer` is the position of the map's slider.
    """

    make: Callable[[], Report]
    texts: str
    section: str
    high: int
    layer: int | None = None


def sentiment() -> Report:
    """Return a page of reviews, with what their vectors give away beside the scores."""
    dataset = lw.extract([EXAMPLES / "reviews.csv", EXAMPLES / "reviews_test.csv"], "reviews.lw")
    mixes = ["mean(1:)", "concat(all)", "learned(all)"]
    probe = lw.probe(dataset, task="classify", label="label", mix=mixes, quick=True)
    analysis = lw.analyze(dataset, label="label", measure=[*GEOMETRY, *SIMILARITY, "leakage"])
    return {"dataset": dataset, "probe": probe, "analysis": analysis, "attention": True, "texts": range(3)}


def names() -> Report:
    """Return a page of words with tags of names."""
    dataset = lw.extract(EXAMPLES / "names.conll", "names.lw", words="token", level="word")
    probe = lw.probe(dataset, task="tag", label="tag", mix=["mean(1:)", "concat(-4:)"], quick=True)
    analysis = lw.analyze(dataset, label="tag", measure=[*GEOMETRY, "self_similarity", *SIMILARITY])
    return {"dataset": dataset, "probe": probe, "analysis": analysis, "texts": range(3)}


def topics() -> Report:
    """Return a page of paragraphs of documentation, by the package that they are from."""
    dataset = lw.extract(list(documentation()), "documentation.lw")
    probe = lw.probe(dataset, task="classify", label="package", mix=["mean(1:)", "concat(-4:)"], quick=True)
    analysis = lw.analyze(dataset, label="package", measure=[*GEOMETRY, *SIMILARITY])
    return {"dataset": dataset, "probe": probe, "analysis": analysis, "texts": range(3)}


def documentation() -> Iterator[Mapping[str, str]]:
    """Yield paragraphs of the standard library, as many of each package."""
    draw = random.Random(0)
    by_package: dict[str, list[str]] = {package: [] for package in PACKAGES}
    for package, text in paragraphs():
        if package in by_package:
            by_package[package].append(text)
    for package, texts in by_package.items():
        for text in draw.sample(texts, min(PER_PACKAGE, len(texts))):
            yield {"text": text, "package": package}


def similarity() -> Report:
    """Return a page of pairs of sentences, with the similarity that people gave; without their texts."""
    with (SHARED / "stsb_en" / "stsb-en-dev.csv").open(encoding="utf-8", newline="") as file:
        rows = random.Random(0).sample(list(csv.reader(file)), PAIRS)
    pairs = [{"a": a, "b": b, "similarity": float(score)} for a, b, score in rows]
    dataset = lw.extract(pairs, "pairs.lw", text=["a", "b"], no_text=True, keep=["similarity"])
    probe = lw.probe(
        dataset, task="regress", label="similarity", metric="spearman", mix=["concat(-4:)"], quick=True
    )
    analysis = lw.analyze(dataset, pairs="part", measure=[*GEOMETRY[:3], *SIMILARITY, "retrieval_cosine"])
    return {"dataset": dataset, "probe": probe, "analysis": analysis}


def languages() -> Report:
    """Return a page of translations in three languages, without their texts; links of words are of our own sentences."""
    encoder = lw.load_encoder(E5)
    dataset = lw.extract(
        list(translations()),
        "translations.lw",
        model=encoder,
        prompt="",
        no_text=True,
        keep=["pair", "language"],
    )
    wanted = ["retrieval_cosine", "retrieval_centred", "language_probe", "anisotropy", "linear_cka"]
    analysis = lw.analyze(dataset, label="language", pairs="pair", sides="language", measure=wanted)
    links = lw.align([a for a, _ in GERMAN], [b for _, b in GERMAN], model=encoder)
    return {"dataset": dataset, "analysis": analysis, "links": links}


def translations() -> Iterator[Mapping[str, str]]:
    """Yield sentences of Tatoeba in German and Chinese, each with its English translation."""
    for language in ("deu", "cmn"):
        for side in (language, "eng"):
            path = SHARED / "tatoeba" / f"{language}-eng.{side}"
            for number, text in enumerate(path.read_text(encoding="utf-8").splitlines()[:TRANSLATIONS]):
                yield {"text": text, "pair": f"{language}{number}", "language": side}


def chinese() -> Report:
    """Return a page of Chinese reviews, in Chinese."""
    sources = [EXAMPLES / "zh" / "reviews.csv", EXAMPLES / "zh" / "reviews_test.csv"]
    dataset = lw.extract(sources, "reviews-zh.lw", model=E5, prompt="")
    probe = lw.probe(dataset, task="classify", label="label", mix=["mean(1:)", "concat(-4:)"], quick=True)
    analysis = lw.analyze(dataset, label="label", measure=[*GEOMETRY, *SIMILARITY])
    return {"dataset": dataset, "probe": probe, "analysis": analysis, "lang": "zh", "texts": range(3)}


GEOMETRY = ("norm", "anisotropy", "effective_rank", "class_separation")
SIMILARITY = ("linear_cka", "neighbour_overlap")
PAGES = {
    "sentiment": Page(sentiment, "200 reviews of ours", "probe", 560),
    "names": Page(names, "100 sentences of ours, by word", "map", 700, 3),
    "topics": Page(topics, "paragraphs of the documentation of Python", "map", 700, 6),
    "similarity": Page(similarity, f"{PAIRS} pairs of STS-B (not shown)", "probe", 560),
    "languages": Page(languages, f"2 × {TRANSLATIONS} pairs of Tatoeba (not shown)", "directions", 520),
    "chinese": Page(chinese, "160 Chinese reviews of ours", "probe", 560),
}
OF_E5 = ("languages", "chinese")
OF_SHARED = (*OF_E5, "similarity")


def main(chosen: Sequence[str], model: str | None) -> int:
    """Write the pages and their pictures."""
    unknown = set(chosen) - set(PAGES)
    if unknown:
        print(f"no page {sorted(unknown)}; there are {list(PAGES)}", file=sys.stderr)
        return 2
    GALLERY.mkdir(exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as place, chdir(place):
        for name in chosen or PAGES:
            if name in OF_SHARED and not SHARED.exists():
                print(f"{name} is left out: {SHARED} isn't there", file=sys.stderr)
                continue
            if name in OF_E5 and not Path(E5).exists():
                multilingual(model)
            rows.append(write(name, PAGES[name]))
            print(" | ".join(rows[-1]), flush=True)
    if len(rows) == len(PAGES):
        table = markdown(("page", "texts", "model", "rows", "kB"), rows)
        put("gallery", table, versions(), command="make gallery", path=GALLERY / "index.md")
    return 0


def multilingual(model: str | None) -> None:
    """Put the multilingual model into the current folder: pages name a model as it was given, here without folders."""
    if model is not None:
        Path(E5).symlink_to(Path(model).resolve())
    else:
        tool = ROOT.parent / "shared" / "tools" / "e5_small.py"
        subprocess.run([sys.executable, str(tool), E5], check=True)


def write(name: str, page: Page) -> tuple[str, ...]:
    """Write a page and its picture, and return its row of the table."""
    start = time.perf_counter()
    report = page.make()
    target = GALLERY / f"{name}.html"
    target.unlink(missing_ok=True)
    lw.report(out=target, **report)
    size = target.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{target} has {size:,} bytes, more than {MOST_BYTES:,}")
    shoot(target, page)
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    dataset = report["dataset"]
    model = dataset.manifest.model.id
    return name, page.texts, model, f"{dataset.rows:,}", f"{size / 1000:.0f}"


def shoot(target: Path, page: Page) -> None:
    """Write the picture of a page beside it."""
    with opened(target) as tab:
        if page.layer is not None:
            tab.locator("#layer").fill(str(page.layer))
        target.with_suffix(".png").write_bytes(picture(tab, f"#{page.section}", page.high))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", help=f"of {', '.join(PAGES)}")
    parser.add_argument("--model", help="folder of the multilingual model")
    arguments = parser.parse_args()
    sys.exit(main(arguments.pages, arguments.model))
