"""Say what a dataset, a head or a model is: layers, width, provenance, coverage, size."""

import argparse
from typing import Any

from layerwise import api
from layerwise.cli import flags, options
from layerwise.options import LoadOptions

HELP = "what a model, dataset or head is"
EXAMPLES = """\
  layerwise info minilm
  layerwise info reviews.lw
  layerwise info sentiment.head
  layerwise info reviews.lw --json | jq .totals
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "name",
        type=options.path,
        metavar="X",
        help="the folder of a dataset, a head or a model, minilm, or a Hugging Face id",
    )
    flags.add(parser, LoadOptions, without=("device",))
    options.json_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    found = api.info.info(
        args.name,
        **flags.values(args, LoadOptions, without=("device",)),
    )
    if args.json:
        options.print_json(found)
    else:
        rows = {"dataset": _dataset, "head": _head, "model": _model}[found["kind"]](found)
        options.say(*options.table([(name, options.visible(str(value), 200)) for name, value in rows]))
    return 0


def _dataset(found: dict[str, Any]) -> list[tuple[str, Any]]:
    totals, model = found["totals"], found["model"]
    settings = found["settings"]
    rows = [
        (
            "dataset",
            f"{found['path']} (format {found['version']}, {options.size(found['bytes'])}, {found['shards']} shards)",
        ),
        ("model", f"{model['id']} ({model['family']}, {model['blocks']} blocks, width {model['width']})"),
        ("weights", f"sha256 {model['weights']}"),
        (
            "layers",
            f"{', '.join(found['layers'])} ({options.size(found['bytes_per_layer'])} each; last {model['last_layer']})",
        ),
        (
            "rows",
            f"{totals['rows']:,} of level {found['level']}"
            + (f", pool {found['pool']}" if found["pool"] else ""),
        ),
        (
            "stored as",
            f"{found['dtype']}, computed in {settings['precision']} ({', '.join(settings['engine'].values())})",
        ),
        ("texts", f"{totals['texts']:,} of {totals['tokens']:,} tokens"),
        ("long texts", _long(settings, totals)),
        (
            "words",
            f"{totals['dropped_words']:,} dropped by the tokenizer, {totals['lost_words']:,} without a row",
        ),
        ("columns", ", ".join(found["columns"]["text"] + found["columns"]["word"]) or "none carried"),
        ("tolerance", f"{found['tolerance']['value']:.2g} · max(1, max |b|) per text and layer"),
        (
            "cost",
            f"{found['seconds']:,.1f} s, {totals['tokens'] / max(found['seconds'], 1e-9):,.0f} tokens/s",
        ),
        ("finished", found["finished"]),
        ("versions", ", ".join(f"{name} {number}" for name, number in found["versions"].items())),
    ]
    worst = max((error["max_rel"] for error in found["error"].values()), default=0.0)
    rows.insert(6, ("rounding", f"at most {worst:.2g} · max(1, max |v|) per row, measured"))
    if found.get("derived"):
        rows.insert(
            1,
            (
                "derived",
                f"from a dataset of level {found['derived']['level']} ({found['derived']['manifest'][:12]}…)",
            ),
        )
    rows += _left_out(model)
    if found["skipped"]:
        rows.append(("skipped", f"{len(found['skipped'])} bad records"))
    return rows


def _long(settings: dict[str, Any], totals: dict[str, Any]) -> str:
    if settings["long"] == "window":
        return f"{totals['windowed_texts']:,} in windows of {settings['max_length']} tokens, {settings['overlap']} shared"
    cut = f"{totals['truncated_texts']:,} cut, {totals['truncated_tokens']:,} tokens lost"
    return cut if settings["long"] == "truncate" else "none (they stop the run)"


def _head(found: dict[str, Any]) -> list[tuple[str, Any]]:
    model, made, training = found["model"], found["rows"], found["training"]
    pool = f", pool {made['pool']}" if made["pool"] else ""
    rows: list[tuple[str, Any]] = [
        ("head", f"{found['path']} (format {found['version']}, {options.size(found['tensors']['bytes'])})"),
        ("model", f"{model['id']} ({model['blocks']} blocks, width {model['width']})"),
        ("weights", f"sha256 {model['weights']}"),
        (
            "rows",
            f"of level {made['level']}{pool}"
            + (f", pairs {'-'.join(found['pairs'])}" if found["pairs"] else ""),
        ),
    ]
    for task in found["tasks"]:
        shape = "linear" if task["hidden"] is None else f"a hidden layer of {task['hidden']}"
        rows.append((f"task {task['name']}", f"{task['task']} of {task['label']} on {task['mix']}, {shape}"))
        if task["classes"]:
            rows.append(("classes", f"{len(task['classes'])}: {', '.join(task['classes'])}"))
        rows += _scores(training.get("tasks", {}).get(task["name"], {}))
    versions = found.get("versions") or {}
    rows.append(("trained", found.get("made")))
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    return rows


def _scores(made: dict[str, Any]) -> list[tuple[str, Any]]:
    rows = (
        [("trained on", f"{made['rows']:,} rows, {made['dropped']:,} without a label left out")]
        if "rows" in made
        else []
    )
    for key in ("held_out", "test"):
        if made.get(key):
            scores = ", ".join(f"{name} {value}" for name, value in made[key]["scores"].items())
            rows.append((key.replace("_", "-"), f"{made[key]['rows']:,} rows: {scores}"))
    return rows


def _model(found: dict[str, Any]) -> list[tuple[str, Any]]:
    blocks = found["blocks"]
    layers = f"emb, 1 … {blocks}" if blocks else "as loading it shows"
    rows = [
        ("model", found["id"] + (f" at {found['revision']}" if found["revision"] else "")),
        ("folder", found["folder"]),
        ("family", found["family"]),
        ("layers", f"{layers}, width {found['width']}"),
        ("positions", found["positions"] or "no limit"),
        ("pool", f"{found['default_pool']} by default"),
        ("weights", f"sha256 {found['weights']} ({options.size(found['bytes'])})"),
    ]
    return rows + _left_out(found)


def _left_out(model: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what of a model's folder is not done or not used."""
    unused = model.get("unused")
    unused = unused if isinstance(unused, dict) else {}
    named = {
        "not applied": model.get("not_applied"),
        "unused tensors": unused.get("tensors"),
        "unused files": unused.get("files"),
    }
    return [
        (what, ", ".join(map(str, several)))
        for what, several in named.items()
        if isinstance(several, list) and several
    ]
