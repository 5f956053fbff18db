"""Results of this checkout against those of another, value by value: what a change of the code must leave alone.

Three corpora of ../shared/data (classes of texts, tags of words, numbers of pairs) go through both checkouts with the
same Python: vectors, heads and their predictions are compared bit by bit, results number by number. Names that were
changed on purpose are given as `--renamed OLD=NEW`; what says when, how long and with which versions is passed over.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common import ROOT, SHARED, heading

# What no two runs have in common, and the hashes of files that hold it.
PASSED_OVER = {
    "made",
    "finished",
    "seconds",
    "versions",
    "dataset",
    "sha256",
    "version",
    "tensors",
    "machine",
    "path",
}
ROWS = 400
CORPORA: dict[str, tuple[str, list[str], list[str]]] = {
    "sst2": ("sst2/dev.csv", [], ["--task", "classify", "--label", "label"]),
    "wnut17": ("wnut17/emerging.dev.conll", ["--columns", "token,tag", "--words", "token", "--level", "word"],
               ["--task", "tag", "--label", "tag"]),
    "stsb": ("stsb_en/stsb-en-dev.csv", ["--columns", "a,b,score", "--text", "a,b"],
             ["--task", "regress", "--label", "score"]),
}  # fmt: skip
MIXES = ("mean:1:", "learned:all")


def main() -> int:
    """Compare; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--renamed", nargs="*", default=[], metavar="OLD=NEW")
    parser.add_argument("--rows", type=int, default=ROWS, help="texts of each corpus")
    parser.add_argument("--only", nargs="+", choices=list(CORPORA), default=list(CORPORA))
    args = parser.parse_args()
    heading("Results of two checkouts")
    names = dict(pair.split("=") for pair in args.renamed)
    differences = 0
    with tempfile.TemporaryDirectory(prefix="same-") as folder:
        for corpus in args.only:
            before, now = (
                _run(source / "src", corpus, args.rows, Path(folder) / corpus / which)
                for which, source in (("before", args.before.resolve()), ("now", ROOT))
            )
            for name in sorted({*before, *now}):
                found = list(_different(before.get(name), now.get(name), name, names))
                differences += len(found)
                print(f"{corpus}: {name}: {f'{len(found)} differ' if found else 'the same'}")
                for line in found[:10]:
                    print(f"    {line}")
    print(f"{differences} values differ" if differences else "nothing differs")
    return 1 if differences else 0


def _run(source: Path, corpus: str, rows: int, out: Path) -> dict[str, Any]:
    """Return all that one checkout makes of a corpus: bytes of vectors and weights, content of results."""
    out.mkdir(parents=True)
    file, reading, task = CORPORA[corpus]
    texts, dataset = SHARED / file, out / "rows.lw"

    def layerwise(*arguments: str) -> str:
        command = [sys.executable, "-m", "layerwise", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "2"}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    layerwise("extract", str(texts), *reading, "--limit", str(rows), "--out", str(dataset))
    layerwise("probe", str(dataset), *task, "--quick", "--out", str(out / "probe"))
    layerwise("analyze", str(dataset), "--out", str(out / "analysis"))
    made: dict[str, Any] = {
        "vectors": b"".join(file.read_bytes() for file in sorted((dataset / "shards").glob("*.safetensors"))),
        "probe.json": json.loads((out / "probe" / "probe.json").read_text()),
        "analysis.json": json.loads((out / "analysis" / "analysis.json").read_text()),
    }
    for mix in MIXES:
        head = out / f"{mix}.head"
        layerwise("train", str(dataset), *task, "--mix", mix, "--draws", "3", "--out", str(head))
        lines = layerwise("predict", str(head), str(texts), *reading[: -2 if "--level" in reading else None])
        made[f"head {mix}: weights"] = (head / "head.safetensors").read_bytes()
        made[f"head {mix}: head.json"] = json.loads((head / "head.json").read_text())
        made[f"head {mix}: predictions"] = [json.loads(line) for line in lines.splitlines()]
    return made


def _different(before: Any, now: Any, where: str, names: Mapping[str, str]) -> Iterator[str]:
    """Yield what differs between two values of JSON, with its place."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        before = {names.get(name, name): value for name, value in before.items()}
        for name in sorted({*before, *now} - PASSED_OVER):
            yield from _different(before.get(name), now.get(name), f"{where}.{name}", names)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _different(one, other, f"{where}[{number}]", names)
    elif before != now:
        shown = (f"{len(v):,} bytes" if isinstance(v, bytes) else f"{v!r:.60}" for v in (before, now))
        yield f"{where}: {' became '.join(shown)}"


if __name__ == "__main__":
    sys.exit(main())
