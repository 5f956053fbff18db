"""Every layer of a real model, and two heads trained on its layers, offline: the sentiment of a text, the names in it.

`make demo` runs it. All that it writes is in `build/demo/`. The commands run in this process, as they would each in a
process of its own, which would load the same libraries again.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from layerwise.cli.main import main as layerwise
from layerwise.read.docstrings import paragraphs

EXAMPLES = Path(__file__).parent
FOLDER = Path("build/demo")
CORPUS = FOLDER / "docstrings.jsonl"
DATASET = FOLDER / "docstrings.lw"
NEW_TEXTS = (
    "A wonderful evening in Prague: the orchestra played Johannes Brahms as if he were new.",
    "The flight to Madrid was late, and the Red Cross office was closed.",
)


class CommandFailedError(Exception):
    """A command of the demo returned an exit code other than 0."""


def main() -> int:
    """Run the three parts; the exit code of the first command that fails, else 0."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        all_layers()
        train("sentiment", "reviews.csv", ["--level", "text"], "classify", "label")
        train(
            "names",
            "names.conll",
            ["--words", "token", "--level", "word"],
            "tag",
            "tag",
            ["--max-rows", "300"],
        )
        predict()
    except CommandFailedError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    command = Path(sys.executable).parent / "layerwise"
    print(f'\nNow try your own text:\n  {command} show "Any sentence"')
    print(
        f"or one layer in Python:\n  {sys.executable} -c 'import layerwise as lw; "
        f'print(lw.open_dataset("{DATASET}").layer("6"))\''
    )
    return 0


def all_layers() -> None:
    """Write the corpus of documentation if it doesn't exist, and every layer of it."""
    if not CORPUS.exists():
        lines = [json.dumps({"text": text, "package": package}) + "\n" for package, text in paragraphs()]
        CORPUS.write_text("".join(lines), encoding="utf-8")
    number = sum(1 for _ in CORPUS.open(encoding="utf-8"))
    print(f"{number:,} paragraphs of documentation, labelled by package: {CORPUS}", flush=True)
    run("extract", CORPUS, "--model", "minilm", "--out", DATASET)
    run("info", DATASET)
    run("verify", DATASET, "--sample", "8")


def train(name: str, source: str, reading: list[str], task: str, label: str, few: Sequence[str] = ()) -> None:
    """Compare the layers for one task, train a head on the one that the comparison advises, and score it.

    Args:
        name: the name of the head.
        source: the corpus in `examples/`; the texts that score the head are in a file beside it.
        reading: options of `extract`.
        task, label: options of `probe` and `train`.
        few: options that limit the rows of `probe`.
    """
    dataset, probe, head = (FOLDER / f"{name}.{ending}" for ending in ("lw", "probe", "head"))
    for folder in (
        dataset,
        probe,
        head,
    ):  # the corpora are small, and may have been edited since the last run
        shutil.rmtree(folder, ignore_errors=True)
    labels = ("--task", task, "--label", label)
    test = Path(source).with_stem(f"{Path(source).stem}_test")
    print(f"\n--- {name}: which layer, and how well does it work?", flush=True)
    run("extract", EXAMPLES / source, *reading, "--out", dataset)
    run("probe", dataset, *labels, *few, "--quick", "--mix", "mean:1:", "--out", probe)
    run("train", dataset, *labels, "--mix-from", probe, "--out", head)
    run("evaluate", head, EXAMPLES / test)


def predict() -> None:
    """Apply both heads to new texts, in one forward."""
    print("\n--- both heads on new texts", flush=True)
    new = FOLDER / "new.txt"
    new.write_text("".join(text + "\n" for text in NEW_TEXTS), encoding="utf-8")
    run("predict", FOLDER / "sentiment.head", new, "--head", FOLDER / "names.head")


def run(*arguments: str | Path) -> None:
    """Print a command and run it."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ layerwise {shlex.join(words)}", flush=True)
    code = layerwise(words)
    if code:
        raise CommandFailedError(f"`layerwise {words[0]}` ended with exit code {code}")


if __name__ == "__main__":
    sys.exit(main())
