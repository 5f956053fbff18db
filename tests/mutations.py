"""Files of datasets, heads, models and sources, changed by chance: each is right, or refused in one line.

A case is a subject and a seed. To repeat one alone, with its traceback:

    python tests/mutations.py dataset 123

and many, from a seed on: `python tests/mutations.py dataset 1000 --count 5000`.
"""

import argparse
import atexit
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import layerwise as lw
from conftest import CORPUS, make_model
from hostile import raw_records, sign
from layerwise.api.extract import extract_share
from layerwise.api.info import info
from layerwise.encode.load import load_encoder
from layerwise.errors import LayerwiseError
from layerwise.options import ExtractOptions
from layerwise.read import open_corpus
from layerwise.store.layout import Folder
from layerwise.store.verify import check_files

SUBJECTS = ("dataset", "head", "model", "source", "work")
SECONDS = 60  # that a case may take on a machine that does much else; most take some hundredths
MEBIBYTES = 700  # by which the memory of the process may grow in a case
LONGEST = 2_000  # characters of a message
TEXTS = [text.replace("\n", " ").replace("\x00", "") for text in CORPUS[:12]]
Answer = Any
Question = Callable[[Path], Answer]


class WrongError(AssertionError):
    """An answer that is neither right nor refused."""


# --- what is changed -----------------------------------------------------------------------------------------


@cache
def home() -> Path:
    """Where everything is made, once a process."""
    folder = Path(tempfile.mkdtemp(prefix="layerwise-mutations-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def model(family: str) -> Path:
    """A tiny model; that of sentence-transformers lies in a folder of theirs."""
    if family != "recipe":
        return make_model(family, home() / f"model-{family}")
    folder = home() / "model-recipe"
    shutil.copytree(model("bert"), folder)
    (folder / "1_Pooling").mkdir()
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    listed = [
        {"idx": int(n), "name": n, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, path, kind in modules
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 30, "do_lower_case": true}')
    pooling = {
        "word_embedding_dimension": 32,
        "pooling_mode_cls_token": False,
        "pooling_mode_max_tokens": True,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


@cache
def encoder(family: str = "bert") -> Any:
    return load_encoder(model(family), device="cpu")


@cache
def sources() -> dict[str, Path]:
    """A source of each format."""
    folder = home() / "sources"
    folder.mkdir()
    records: list[dict[str, Any]] = [
        {"text": text, "label": ("good", "bad")[n % 2], "n": n, "share": n / 7, "many": ["a", "b"][: n % 3]}
        for n, text in enumerate(TEXTS)
    ]
    cells = [[r["text"].replace("\t", " "), str(r["label"]), str(r["n"])] for r in records]
    words = [text.split() or ["empty"] for text in TEXTS]
    tags = [
        [("O", "B-X", "I-X", "B-Y")[n % 4] if n % 4 != 2 else "I-X" for n in range(len(w))] for w in words
    ]
    rows = {
        "a.jsonl": "".join(json.dumps(record) + "\n" for record in records),
        "a.csv": "text,label,n\n"
        + "".join(f'"{t.replace(chr(34), chr(34) * 2)}",{b},{n}\n' for t, b, n in cells),
        "a.tsv": "text\tlabel\tn\n" + "".join("\t".join(row) + "\n" for row in cells),
        "a.txt": "\n".join(TEXTS) + "\n",
        "a.conll": "\n".join(
            "".join(f"{w} {t}\n" for w, t in zip(*sentence, strict=True))
            for sentence in zip(words, tags, strict=True)
        ),
        "a.conllu": "\n".join(
            "# sent\n" + "".join(f"{n}\t{w}" + "\t_" * 8 + "\n" for n, w in enumerate(ws, 1)) for ws in words
        ),
    }
    for name, text in rows.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "wide.txt").write_text("\n".join(TEXTS), encoding="utf-16")
    table = {name: [record[name] for record in records] for name in records[0]}
    pq.write_table(_table(table), folder / "a.parquet")
    pq.write_table(
        _table({**table, "words": words, "tags": tags}), folder / "words.parquet", row_group_size=5
    )
    return {path.name: path for path in sorted(folder.iterdir())}


def _table(columns: dict[str, Any]) -> Any:
    import pyarrow as pa

    return pa.table(columns)


@cache
def datasets() -> dict[str, Path]:
    """Datasets of several levels and stored types, in several shards."""
    files, folder = sources(), home() / "datasets"
    folder.mkdir()
    made = partial(lw.extract, model=encoder(), shard_texts=5)
    made(files["a.jsonl"], folder / "text")
    made(files["a.csv"], folder / "full", dtype="float32", pool="cls")
    made(files["a.jsonl"], folder / "token", level="token", dtype="bfloat16")
    made(files["a.conll"], folder / "word", level="word", dtype="int8")
    made(files["a.jsonl"], folder / "silent", no_text=True)
    lw.pool(folder / "token", folder / "pooled", level="text")
    lw.merge([folder / "text", folder / "text"], folder / "merged")
    return {path.name: path for path in sorted(folder.iterdir())}


@cache
def heads() -> dict[str, Path]:
    """Heads of several kinds."""
    sets, folder = datasets(), home() / "heads"
    folder.mkdir()
    lw.train(sets["text"], task="classify", label="label", mix="mean(all)", out=folder / "classify")
    lw.train(sets["text"], task="regress", label="share", mix="mean(all; norm=layer)", out=folder / "regress")
    lw.train(sets["word"], task="tag", label="tag", mix="2", out=folder / "tag")
    two = {"one": "classify:label", "two": "classify:many"}
    lw.train(sets["text"], tasks=two, mix="learned(all)", epochs=2, draws=0, out=folder / "several")
    return {path.name: path for path in sorted(folder.iterdir())}


@cache
def work() -> dict[str, Path]:
    """What two workers leave for `finish`."""
    folder = home() / "work"
    for index in range(2):
        extract_share(
            sources()["a.jsonl"],
            folder / "two",
            (index, 2),
            ExtractOptions(model=encoder(), shard_texts=3),
        )
    return {"two": folder / "two"}


# --- what is asked ---------------------------------------------------------------------------------------------


def arrays(layered: Any) -> Answer:
    return {name: layered.layer(name) for name in layered.layers}


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers are equal, NaN included."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return bool(one == other) or repr(one) == repr(other)


def about(path: Path) -> Answer:
    """What `info` says, without what no hash covers: what was measured in a run."""
    measured = ("seconds", "finished", "run_problem")
    facts = {
        name: value for name, value in info(path).items() if name not in ("path", "id", "folder", *measured)
    }
    if isinstance(facts.get("totals"), dict):
        facts["totals"] = {name: value for name, value in facts["totals"].items() if name != "seconds"}
    return facts


def finished(path: Path) -> Answer:
    found = lw.finish(path)
    return [arrays(found), found.texts.to_pylist(), found.index.to_pylist()]


def pooled(path: Path) -> Answer:
    found = lw.pool(path, path.parent / "pool", level="text")
    return [arrays(found), found.texts.to_pylist()]


def merged(path: Path) -> Answer:
    found = lw.merge([path, path], path.parent / "merge")
    return [arrays(found), found.index.to_pylist()]


def trained(path: Path) -> Answer:
    return lw.train(path, task="classify", label="label").training["tasks"]


def exported(path: Path) -> Answer:
    lw.export(path, path.parent / "x.parquet")
    return hashlib.sha256((path.parent / "x.parquet").read_bytes()).hexdigest()


def mixed(path: Path) -> Answer:
    return lw.open_dataset(path).mix("mean(all)")


def matched(path: Path) -> Answer:
    dataset = lw.open_dataset(path)
    return [dataset.where(doc=[0, 3]), dataset.where(label="good"), repr(dataset).replace(str(path), "")]


def analyzed(path: Path) -> Answer:
    return lw.analyze(path, measure=["norm", "linear_cka"]).to_json()["measures"]


def evaluated(head: str, path: Path) -> Answer:
    return lw.load_head(heads()[head]).evaluate(path).to_json()


def shown(path: Path) -> Answer:
    lw.report(path, path.parent / "page.html")
    return None


def predicted(path: Path) -> Answer:
    head = lw.load_head(path)
    rows = lw.open_dataset(datasets()["word" if path.name == "tag" else "text"])
    return [head.predict_rows(rows), head.classes, head.mixes]


def encoded(path: Path) -> Answer:
    loaded = load_encoder(path, device="cpu")
    return [{**loaded.hashes, "pool": loaded.default_pool}, arrays(loaded.encode(TEXTS[:4]))]


def read(path: Path, skip_bad: bool = False) -> Answer:
    corpus = open_corpus(path, skip_bad=skip_bad, words="words" if path.name == "words.parquet" else None)
    return [(e.text, e.words, dict(e.columns), dict(e.word_columns)) for e in corpus]


QUESTIONS: dict[str, list[tuple[int, Question]]] = {
    "dataset": [
        (8, lambda path: arrays(lw.open_dataset(path))),
        (8, lambda path: [lw.open_dataset(path).index.to_pylist(), lw.open_dataset(path).texts.to_pylist()]),
        (8, about),
        (6, mixed),
        (4, matched),
        (4, pooled),
        (4, merged),
        (4, exported),
        (2, trained),
        (2, analyzed),
        (2, partial(evaluated, "classify")),
        (1, shown),
    ],
    "head": [(3, predicted), (2, about)],
    "model": [(4, encoded), (1, about)],
    "source": [(3, read), (1, partial(read, skip_bad=True))],
    "work": [(1, finished)],
}
# Questions, by number, that are refused even where nothing was changed: pooling what has a row per text, labels that
# aren't there, rows of another level or pool than those of the head, and a text file in another encoding.
REFUSED = {
    ("dataset", "full"): {5, 10},
    ("dataset", "merged"): {5},
    ("dataset", "pooled"): {5},
    ("dataset", "silent"): {4, 5, 8, 10},
    ("dataset", "text"): {5},
    ("dataset", "token"): {10},
    ("dataset", "word"): {4, 8, 10},
    ("source", "wide.txt"): {0, 1},
}


# --- how it is changed -------------------------------------------------------------------------------------------


def values(chance: random.Random) -> Any:
    """Return a value that an entry shouldn't have."""
    deep: Any = 1
    for _ in range(chance.choice([10, 200])):
        deep = [deep] if chance.random() < 0.5 else {"a": deep}
    odd = [
        None,
        True,
        False,
        "",
        "x",
        "../../etc/passwd",
        "\ud800",
        "a\nb",
        "x" * 100_000,
        [],
        {},
        [None],
        [[]],
        deep,
    ]
    odd += [0, 1, -1, 3, 1.5, -0.0, 1e308, 10**8, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**30, -(10**30)]
    odd += [float("nan"), float("inf"), float("-inf"), [0] * 10_000, {str(n): n for n in range(5_000)}]
    return chance.choice(odd)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every entry."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def edit(value: Any, chance: random.Random) -> str:
    """Change one entry of a JSON value in its place; returns what was done."""
    found = list(places(value))
    if not found:
        return "nothing"
    path = chance.choice(found)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    last, where = path[-1], ".".join(map(str, path))
    kind = chance.choice(["delete", "other", "other", "other", "swap", "rename", "twice"])
    if kind == "delete" or (kind in ("rename", "twice") and isinstance(inner, list)):
        del inner[last]
        return f"delete {where}"
    if kind == "other":
        inner[last] = values(chance)
        return f"{where} = {str(inner[last])[:40]!r}"
    if kind == "swap":
        other = value
        there = chance.choice(found)
        for key in there:
            other = other[key]
        inner[last] = json.loads(json.dumps(other))
        return f"{where} = that of {'.'.join(map(str, there))}"
    if kind == "twice":
        inner[f"{TWICE}{last}"] = values(chance)
        return f"{where} twice"
    inner[f"{last}x"] = inner.pop(last)
    return f"rename {where}"


TWICE = "twice of "  # is cut off the name when the value is written


def written(value: Any) -> bytes:
    return json.dumps(value).replace(TWICE, "").encode("utf-8", "surrogatepass")


def change_json(path: Path, chance: random.Random) -> str:
    value = json.loads(path.read_bytes())
    what = edit(value, chance)
    path.write_bytes(written(value))
    return f"{path.name}: {what}"


def change_header(path: Path, chance: random.Random) -> str:
    """Change the header of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    value = json.loads(data[8 : 8 + length])
    what = edit(value, chance)
    text = written(value)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    return f"{path.name} header: {what}"


def change_bytes(path: Path, chance: random.Random) -> str:
    """Change some bytes of a file."""
    data = bytearray(path.read_bytes())
    start = chance.randrange(len(data) + 1)
    end = min(len(data), start + chance.choice([1, 1, 1, 2, 8, 100, 5_000]))
    kind = chance.choice(
        ["flip", "flip", "random", "delete", "insert", "repeat", "zero", "cut", "empty", "text"]
    )
    if kind == "flip" and start < len(data):
        data[start] ^= 1 << chance.randrange(8)
    elif kind == "random":
        data[start:end] = chance.randbytes(end - start)
    elif kind == "delete":
        del data[start:end]
    elif kind == "insert":
        data[start:start] = chance.randbytes(end - start)
    elif kind == "repeat":
        data[start:start] = data[start:end] * chance.choice([1, 50])
    elif kind == "zero":
        data[start:end] = bytes(end - start)
    elif kind == "cut":
        del data[start:]
    elif kind == "text":
        odd = [
            b"\xff",
            b"\x00",
            b'"',
            b"\n",
            b"\r",
            b"\t",
            b",",
            b"\xe2\x80\xa8",
            b"\xed\xa0\x80",
            b"{",
            b"NaN",
            b"\\ud800",
        ]
        data[start:start] = chance.choice(odd)
    else:
        data.clear()
    path.write_bytes(data)
    return f"{path.name}: {kind} {start}-{end}"


def change_kind(path: Path, chance: random.Random) -> str:
    """Put something else in the place of a file: another file, a pipe, a folder, nothing."""
    kind = chance.choice(["swap", "swap", "swap", "remove", "pipe", "folder", "device"])
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    if kind == "swap" and others:
        other = chance.choice(others)
        mine, its = path.read_bytes(), other.read_bytes()
        path.write_bytes(its)
        other.write_bytes(mine)
        return f"{path.name} and {other.name} swapped"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    return f"{path.name}: {kind}"


def change_records(folder: Path, chance: random.Random) -> str:
    """Change the record of a shard, and sign the dataset."""
    (path,) = folder.glob("shards-*.parquet")
    table = pq.ParquetFile(path).read()
    records = [json.loads(record) for record in table["record"].to_pylist()]
    what = edit(records, chance)
    manifest = json.loads(Folder(folder).manifest.read_bytes())
    counts = [record if isinstance(record, dict) else {} for record in records]
    counts = [
        {n: r[n] if type(r.get(n)) is int and abs(r[n]) < 2**63 else 0 for n in ("rows", "texts")}
        for r in counts
    ]
    try:
        raw_records(counts)
    except (OverflowError, ValueError):
        return "nothing"
    columns = {
        **counts_of(counts),
        "record": [written(record).decode("utf-8", "replace") for record in records],
    }
    pq.write_table(_table(columns), path)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    path.rename(folder / f"shards-{digest[:12]}.parquet")
    entry = {
        "name": f"shards-{digest[:12]}.parquet",
        "count": len(records),
        "bytes": len(data),
        "sha256": digest,
    }
    manifest["shards"] = entry
    resign(folder, json.dumps(manifest).encode())
    return f"records: {what}"


def counts_of(counts: list[dict[str, int]]) -> dict[str, list[int]]:
    return {name: [count[name] for count in counts] for name in ("rows", "texts")}


def resign(folder: Path, data: bytes) -> None:
    Folder(folder).manifest.write_bytes(data)
    Folder(folder).checksum.write_text(f"{hashlib.sha256(data).hexdigest()}  manifest.json\n")


def change(subject: str, folder: Path, chance: random.Random) -> tuple[str, bool]:
    """Change something in a folder, or a file; returns what, and whether it was signed, so that it is to be believed."""
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    if subject == "dataset" and chance.random() < 0.2:
        return change_records(folder, chance), True
    described = [path for path in files if path.suffix == ".json"]
    path = chance.choice(described if described and chance.random() < 0.3 else files)
    if folder.is_dir() and chance.random() < 0.1:
        return change_kind(path, chance), False
    if path.suffix == ".json" and chance.random() < 0.8:
        what = change_json(path, chance)
    elif path.suffix == ".safetensors" and chance.random() < 0.3:
        what = change_header(path, chance)
    else:
        what = change_bytes(path, chance)
    if subject == "dataset" and chance.random() < 0.6:
        return f"{what}, signed", signed(folder, path)
    return what, False


def signed(folder: Path, path: Path) -> bool:
    """Sign what was changed, where that can be done."""
    if path.name == "manifest.json":
        resign(folder, path.read_bytes())
        return True
    if path.parent.name == "shards":
        sign(folder)
        return True
    return False


# --- what comes of it ----------------------------------------------------------------------------------------------

BASES: dict[str, Callable[[], dict[str, Path]]] = {
    "dataset": datasets,
    "head": heads,
    "model": lambda: {family: model(family) for family in ("bert", "roberta", "t5", "recipe")},
    "source": sources,
    "work": work,
}


@cache
def right(subject: str, name: str, number: int) -> Answer:
    """The answer to a question about what nobody has changed; an error is one, too."""
    with tempfile.TemporaryDirectory(dir=home()) as place:
        copied = Path(place) / BASES[subject]()[name].name
        copy(BASES[subject]()[name], copied)
        try:
            return QUESTIONS[subject][number][1](copied)
        except LayerwiseError as error:
            return str(error).replace(place, "")


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


@contextmanager
def bounded() -> Iterator[None]:
    """Stop a case that takes much too long, and find one that takes much memory."""

    def stop(*_: Any) -> None:
        raise WrongError(f"more than {SECONDS} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    if grown > MEBIBYTES:
        raise WrongError(f"{grown} MiB")


def case(subject: str, seed: int) -> str:
    """Change something by chance and ask something; returns what was done and what came of it.

    Raises:
        Exception: neither the answer that is right nor a LayerwiseError of one line.
    """
    chance = random.Random(f"{subject} {seed}")
    name = chance.choice(sorted(BASES[subject]()))
    weights = [weight for weight, _ in QUESTIONS[subject]]
    number = chance.choices(range(len(weights)), weights)[0]
    wanted = right(subject, name, number)
    with tempfile.TemporaryDirectory(dir=home()) as place:
        copied = Path(place) / BASES[subject]()[name].name
        copy(BASES[subject]()[name], copied)
        what, believed = change(subject, copied, chance)
        done = f"{subject} {seed}: {name}, question {number}, {what}"
        try:
            with bounded():
                return f"{done}: {outcome(subject, copied, number, wanted, believed)}"
        except BaseException as error:
            error.add_note(f"{done}; repeat it with: python tests/mutations.py {subject} {seed}")
            raise


def unchanged(subject: str, name: str, number: int) -> str:
    """Ask a question about a copy in which nothing is changed; returns what came of it."""
    wanted = right(subject, name, number)
    with tempfile.TemporaryDirectory(dir=home()) as place:
        copied = Path(place) / BASES[subject]()[name].name
        copy(BASES[subject]()[name], copied)
        with bounded():
            return outcome(subject, copied, number, wanted, believed=False)


def outcome(subject: str, path: Path, number: int, wanted: Answer, believed: bool) -> str:
    """Ask a question about what was changed; returns what came of it, when that is fine."""
    try:
        found = QUESTIONS[subject][number][1](path)
    except LayerwiseError as error:
        message = str(error)
        if "\n" in message or len(message) > LONGEST:
            raise WrongError(f"a message of {len(message)} characters: {message[:500]!r}") from error
        return f"refused: {message}"
    if same(found, wanted):
        return "right"
    if subject == "dataset" and not believed:
        problems = check_files(path)
        if not problems:
            raise WrongError("another answer, and verify says nothing")
        return f"verify: {problems[0].file} {problems[0].what}"
    if subject == "model" and number == 0 and found[0] == wanted[0]:
        raise WrongError("other vectors, and the same hashes")
    return "another answer"


def main() -> int:
    """Repeat a case, or try many; print what goes wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("seed", type=int)
    parser.add_argument("--count", type=int, default=1)
    args = parser.parse_args()
    warnings.simplefilter("error")
    wrong = 0
    for seed in range(args.seed, args.seed + args.count):
        try:
            said = case(args.subject, seed)
            if args.count == 1:
                print(said)
        except Exception:
            wrong += 1
            print(traceback.format_exc(), file=sys.stderr)
    print(f"{wrong} of {args.count} went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
