"""Write every layer of the documentation strings of Python's standard library with a real model, offline.

`make demo` runs it. The corpus and the dataset are written to `build/demo/`.
"""

import json
import subprocess
import sys
from pathlib import Path

from layerwise.read.docstrings import paragraphs

FOLDER = Path("build/demo")
CORPUS = FOLDER / "docstrings.jsonl"
DATASET = FOLDER / "docstrings.lw"


def main() -> int:
    """Write the corpus if it doesn't exist, extract a dataset, and print its description."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not CORPUS.exists():
        lines = [json.dumps({"text": text, "package": package}) + "\n" for package, text in paragraphs()]
        CORPUS.write_text("".join(lines), encoding="utf-8")
    number = sum(1 for _ in CORPUS.open(encoding="utf-8"))
    print(f"{number:,} paragraphs of documentation, labelled by package: {CORPUS}", flush=True)
    for arguments in (
        ["extract", str(CORPUS), "--model", "minilm", "--out", str(DATASET)],
        ["info", str(DATASET)],
        ["verify", str(DATASET), "--sample", "8"],
    ):
        print(f"\n$ layerwise {' '.join(arguments)}", flush=True)
        code = subprocess.run([sys.executable, "-m", "layerwise", *arguments], check=False).returncode
        if code:
            return code
    command = Path(sys.executable).parent / "layerwise"
    print(f'\nNow try your own text:\n  {command} show "Any sentence"')
    print(
        f"or one layer in Python:\n  {sys.executable} -c 'import layerwise as lw; "
        f'print(lw.open_dataset("{DATASET}").layer("6"))\''
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
