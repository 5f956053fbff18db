"""Describe a model, a dataset, a head, a cut or small vectors: layers, width, size, and where it comes from."""

import argparse
from collections.abc import Sequence
from typing import Any

from layerwise import api
from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.cli import flags, output
from layerwise.cli.train_report import private_facts
from layerwise.options import LoadOptions
from layerwise.unknown import share_unknown

HELP = "describe a model, a dataset, a head, a cut or an export"
EXAMPLES = """\
  layerwise info minilm
  layerwise info reviews.lw
  layerwise info sentiment.head
  layerwise info minilm-onnx
  layerwise info reviews-bits/transform.safetensors
  layerwise info reviews.lw --json | jq .totals
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "name",
        type=flags.path,
        metavar="X",
        help="folder of a dataset, a head, a model, a cut or small vectors; file of a transform; or minilm, or a Hugging Face id",
    )
    flags.add(parser, LoadOptions, without=("device",))
    flags.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    facts = api.info.info(
        args.name,
        **flags.values(args, LoadOptions, without=("device",)),
    ).to_json()
    if args.json:
        output.print_json(facts)
    else:
        rows = _ROWS[facts["kind"]](facts)
        output.print_lines(*output.table([(name, output.visible(str(value), 200)) for name, value in rows]))
    return 0


def _dataset(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    totals, model = facts["totals"], facts["model"]
    settings = facts["settings"]
    rows = [
        (
            "dataset",
            f"{facts['path']} (format {facts['version']}, {output.size(facts['bytes'])}, "
            f"{facts['shards']} shard{'s' * (facts['shards'] != 1)})",
        ),
        (
            "model",
            f"{model['id']} ({_family(model)}, {count_of(model['blocks'], 'block')}, width {model['width']})",
        ),
        *_adapter(model),
        ("weights", f"sha256 {model['weights']}"),
        (
            "layers",
            f"{', '.join(facts['layers'])} ({'at most ' * bool(facts.get('widths'))}"
            f"{output.size(facts['bytes_per_layer'])} each; last {model['last_layer']})",
        ),
        *_widths(facts),
        (
            "rows",
            f"{totals['rows']:,} of level {facts['level']}"
            + (f", pool {facts['pool']}" if facts["pool"] else ""),
        ),
        (
            "stored as",
            f"{facts['dtype']}, computed in {settings['precision']} ({', '.join(settings['engine'].values())})",
        ),
        ("texts", f"{totals['texts']:,}, with {count_of(totals['tokens'], 'token')}"),
        ("unknown", share_unknown(totals["unknown"], totals["tokens"])),
        ("long texts", _long(settings, totals)),
        (
            "words",
            f"{totals['dropped_words']:,} dropped by the tokenizer, {totals['lost_words']:,} without a row",
        ),
        (
            "columns",
            ", ".join(facts["columns"]["text"] + facts["columns"]["word"]) or "none",
        ),
        *_tables(facts["tables"]),
        ("tolerance", f"{facts['tolerance']['value']:.2g} · max(1, max |b|) per text and layer"),
        ("extraction", _cost(facts)),
        ("finished", facts["finished"] or f"not known: {facts['run_problem']}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in facts["versions"].items())),
    ]
    worst = max((error["max_rel"] for error in facts["error"].values()), default=0.0)
    rows.insert(6, ("rounding", f"error of at most {worst:.2g} · max(1, max |v|) per row, measured"))
    if facts.get("derived"):
        rows.insert(
            1,
            (
                "derived",
                f"from a dataset of level {facts['derived']['level']} ({facts['derived']['manifest'][:12]}…)",
            ),
        )
    rows[5:5] = _around(settings)
    rows += _left_out(model)
    if facts["skipped"]:
        rows.append(("skipped", f"{count_of(len(facts['skipped']), 'record')} that can't be read"))
    if settings.get("redact") is not None:
        rows.append(("redacted", f"{_spans(facts.get('redacted') or {})}, {_redactor(settings['redact'])}"))
    return rows


def _spans(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in counts.items()) or "no span"


def _redactor(entry: dict[str, Any]) -> str:
    return f"by {entry.get('how') or 'a file of spans'}"


def _widths(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the sites whose vectors have another width than the layers."""
    widths = facts.get("widths") or {}
    return [("widths", ", ".join(f"{name} {width}" for name, width in widths.items()))] if widths else []


def _around(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what texts are encoded with: the other text of a pair, neighbours, and a prompt."""
    rows = []
    if settings["reading"].get("pair_encoding") == "joint":
        rows.append(("pairs", f"{' and '.join(settings['reading']['text'])}, encoded together"))
    if settings.get("context") is not None:
        rows.append(("context", _context(settings["context"])))
    if settings.get("prompt") is not None:
        rows.append(("prompt", _prompt(settings)))
    return rows


def _context(sides: Sequence[int]) -> str:
    return f"up to {sides[0]} tokens before and {sides[1]} after each text, of the same document"


def _prompt(settings: dict[str, Any]) -> str:
    pooled = "" if settings["include_prompt"] else ", not included in pools of texts"
    return f"{settings['prompt']!r} before each text, {count_of(settings['prompt_tokens'], 'token')}{pooled}"


def _tables(tables: dict[str, list[str]] | None) -> list[tuple[str, str]]:
    """Return the columns of each table."""
    if tables is None:
        return [("tables", "can't be read; run `layerwise verify`")]
    return [(f"in the {kind}", ", ".join(names)) for kind, names in tables.items()]


def _cost(facts: dict[str, Any]) -> str:
    seconds = facts["seconds"]
    if seconds is None:
        return f"not known: {facts['run_problem'] or 'not every shard was timed'}"
    return f"{seconds:,.1f} s, {facts['totals']['tokens'] / max(seconds, 1e-9):,.0f} tokens/s"


def _long(settings: dict[str, Any], totals: dict[str, Any]) -> str:
    if settings["long"] == "window":
        windows = f"windows of {settings['max_length']} tokens that overlap by {settings['overlap']}"
        return f"{totals['windowed_texts']:,}, encoded in {windows}"
    cut = f"{totals['truncated_texts']:,} truncated, {count_of(totals['truncated_tokens'], 'token')} lost"
    return cut if settings["long"] == "truncate" else "none (a long text stops extract)"


def _head(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    model, settings, training = facts["model"], facts["rows"], facts["training"]
    pool = f", pool {settings['pool']}" if settings["pool"] else ""
    rows: list[tuple[str, Any]] = [
        (
            "head",
            f"{facts['path']} (format {facts['version']}, {output.size(facts['tensors']['bytes'])})",
        ),
        ("model", f"{model['id']} ({count_of(model['blocks'], 'block')}, width {model['width']})"),
        *_adapter(model),
        ("weights", f"sha256 {model['weights']}"),
        (
            "rows",
            f"of level {settings['level']}{pool}"
            + (f", pairs {'-'.join(facts['pairs'])}" if facts["pairs"] else ""),
        ),
    ]
    if settings.get("prompt") is not None:
        rows.append(("prompt", f"{settings['prompt']!r} before each text"))
    if settings.get("context") is not None:
        rows.append(("context", _context(settings["context"])))
    if settings.get("redact") is not None:
        rows.append(("redacted", f"texts are, {_redactor(settings['redact'])}"))
    if training.get("reading"):
        options = " ".join(argument(name, value) for name, value in training["reading"].items())
        rows.append(("texts", f"read with {options}, unless another column is named"))
    if settings.get("joint") is not None:
        rows.append(("pairs", f"{' and '.join(settings['joint'])}, encoded together"))
    for task in facts["tasks"]:
        shape = "linear" if task["hidden"] is None else f"a hidden layer of {task['hidden']}"
        rows.append((f"task {task['name']}", f"{task['task']} of {task['label']} on {task['mix']}, {shape}"))
        if task["classes"]:
            rows.append(("classes", f"{len(task['classes'])}: {', '.join(task['classes'])}"))
        rows += _scores(training.get("tasks", {}).get(task["name"], {}))
    if training.get("private"):
        rows.append(("private", private_facts(training["private"])))
    versions = facts.get("versions") or {}
    rows.append(("trained", facts.get("made")))
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    return rows


def _scores(report: dict[str, Any]) -> list[tuple[str, Any]]:
    rows = (
        [
            (
                "trained on",
                f"{count_of(report['rows'], 'row')}, {count_of(report['dropped'], 'row')} without a label not used",
            )
        ]
        if "rows" in report
        else []
    )
    for key in ("held_out", "test"):
        if report.get(key):
            scores = ", ".join(
                f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
                for name, value in report[key]["scores"].items()
            )
            rows.append((key.replace("_", "-"), f"{count_of(report[key]['rows'], 'row')}: {scores}"))
    return rows


def _model(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    blocks = facts["blocks"]
    layers = f"emb, 1 … {blocks}" if blocks else "known only after loading"
    rows = [
        ("model", facts["id"] + (f" at {facts['revision']}" if facts["revision"] else "")),
        ("folder", facts["folder"]),
        *_adapter(facts),
        ("family", _family(facts)),
        ("layers", f"{layers}, width {facts['width']}"),
        ("positions", _positions(facts)),
        ("tokenizer", _tokenizer(facts["tokenizer_facts"])),
        ("pool", f"{facts['default_pool']} by default"),
        *_prompts(facts),
        ("weights", f"sha256 {facts['weights']} ({output.size(facts['bytes'])})"),
    ]
    rows += _left_out(facts)
    rows += _cut_from(facts["cut"]) if "cut" in facts else []
    rows += [(f"layer {entry['layer']}", _shown_layer(entry)) for entry in facts["structure"]]
    return rows + _refused(facts["sites_refused"])


def _positions(facts: dict[str, Any]) -> str:
    """Return how many tokens the model has positions for, and how many of a text it reads at once where these are fewer."""
    positions, most = facts["positions"], facts["max_length"]
    at_once = f", a text is read in windows of {most}" if most is not None and most != positions else ""
    return f"{positions or 'no limit'}{at_once}"


def _shown_layer(entry: dict[str, Any]) -> str:
    """Return an entry of the structure in words."""
    parts = [f"{entry['module'] or 'no module'}: width {entry['width']}"]
    if entry.get("heads"):
        groups = entry["key_value_heads"]
        grouped = f" ({groups} of keys and values)" if groups != entry["heads"] else ""
        parts.append(f"{entry['heads']} heads{grouped}")
    if entry.get("feed_forward_width"):
        activation = f" ({entry['activation']})" if entry["activation"] else ""
        parts.append(f"feed-forward {entry['feed_forward_width']}{activation}")
    if entry["parameters"] is not None:
        parts.append(f"{count_of(entry['parameters'], 'parameter')}")
    if "sites" in entry:
        widths = {"value": entry["value_width"]} if entry["value_width"] != entry["width"] else {}
        sites = [f"{name} ({widths[name]})" if name in widths else name for name in entry["sites"]]
        parts.append(f"sites {', '.join(sites) or 'none'}")
    return ", ".join(parts)


def _refused(refused: dict[str, str]) -> list[tuple[str, str]]:
    """Return why blocks offer no sites, each reason once."""
    blocks_of: dict[str, list[str]] = {}
    for number, problem in refused.items():
        blocks_of.setdefault(problem, []).append(number)
    return [
        ("no sites", problem if blocks == ["0"] else f"of blocks {', '.join(blocks)}: {problem}")
        for problem, blocks in blocks_of.items()
    ]


def _tokenizer(facts: dict[str, Any]) -> str:
    if facts.get("problem"):
        return f"can't be used: {facts['problem']}"
    missing = "" if facts["offsets"] else ", without offsets: words only of pre-split text, no spans"
    return f"{facts['class']}{missing}"


def _prompts(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    names = [
        f"{name} {text!r}" + (" (the default)" if name == facts["default_prompt"] else "")
        for name, text in facts["prompts"].items()
    ]
    pooled = "" if facts["include_prompt"] else "; not included in pools of texts"
    return [("prompts", ", ".join(names) + pooled)] if names else []


def _adapter(model: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the adapter that is merged into a model, and the base that it was trained on."""
    adapter = model.get("adapter")
    if not isinstance(adapter, dict):
        return []
    place = adapter.get("folder") or "in the model's folder"
    return [
        ("adapter", f"{adapter.get('kind')}, {place}"),
        ("its base", adapter.get("base") or "not named"),
    ]


def _family(model: dict[str, Any]) -> str:
    return f"{model['family']}, causal" if model.get("causal") else str(model["family"])


def _left_out(model: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the steps of a model folder that aren't applied, and its tensors and files that aren't used."""
    unused = model.get("unused")
    unused = unused if isinstance(unused, dict) else {}
    names = {
        "not applied": model.get("not_applied"),
        "unused tensors": unused.get("tensors"),
        "unused files": unused.get("files"),
    }
    return [
        (title, ", ".join(map(str, values)))
        for title, values in names.items()
        if isinstance(values, list) and values
    ]


def _cut(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    what = {"onnx": "ONNX", "static": "table of token vectors"}[facts["to"]]
    rows = [("cut", f"{facts['path']} ({what}, {output.size(facts['bytes'])})"), *_cut_from(facts)]
    if facts["outputs"]:
        rows.append(("outputs", ", ".join(facts["outputs"])))
    rows += [
        (f"int8 {name}", f"error of {error:.2g} of the length") for name, error in facts["errors"].items()
    ]
    width = f"{count_of(facts['blocks'], 'block')}, " if facts["to"] == "onnx" else ""
    return [
        *rows,
        (
            "width",
            f"{width}{count_of(facts['width'], 'number')} per vector, {count_of(facts['parameters'], 'parameter')}",
        ),
    ]


def _cut_from(cut: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return which model a cut is of, where it ends, and when it was made."""
    source, dropped = cut["source"], cut["dropped"]
    without = f" without blocks {', '.join(map(str, dropped))}" if dropped else ""
    return [
        ("cut from", f"{source['id']} ({source['family']}), layer {cut['at']}{without}"),
        ("its weights", f"sha256 {source['weights']}"),
        ("cut made", cut["made"]),
        ("versions", ", ".join(f"{name} {number}" for name, number in cut["versions"].items())),
    ]


def _export(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    recall = facts["recall"]
    score = (
        "not measured"
        if recall is None
        else (
            f"{recall['score']:.4f} against exact search; {count_of(recall['queries'], 'query', 'queries')}, "
            f"{count_of(recall['rows'], 'row')}"
        )
    )
    model = facts["dataset"].get("model")
    return [
        ("export", f"{facts['path']} ({facts['to']}, {output.size(facts['bytes'])})"),
        ("rows", f"{facts['rows']:,} of level {facts['level']}, {facts['bytes_per_row']:,.0f} bytes each"),
        ("numbers", f"{facts['numbers']} of {facts['dtype']}, of {facts['width']} before"),
        (f"recall@{10 if recall is None else recall['k']}", score),
        *_fitted(facts["transform"]),
        *([("dataset", facts["dataset"]["path"])] if "path" in facts["dataset"] else []),
        *(
            [("weights", f"sha256 {model['weights']}")]
            if isinstance(model, dict) and "weights" in model
            else []
        ),
        ("made", facts["made"]),
        ("versions", ", ".join(f"{name} {number}" for name, number in facts["versions"].items())),
    ]


def _transform(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("transform", f"{facts['path']} ({facts['to']})"),
        ("numbers", f"{facts['numbers']} of {facts['dtype']}, of {facts['width']} before"),
        *_fitted(facts),
    ]


def _fitted(transform: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return which vectors a transform is for, and the rows that it was fitted on."""
    pool = f", pool {transform['pool']}" if transform["pool"] else ""
    of_head = " of a head" if transform["of_head"] else ""
    split = f", with train in {transform['split']}" if transform["split"] else ""
    return [
        ("mix", f"{transform['mix']}{of_head}, level {transform['level']}{pool}"),
        ("model", transform["model"] or "not known"),
        ("fitted on", f"{count_of(transform['fitted_rows'], 'row')}{split}"),
    ]


_ROWS = {
    "dataset": _dataset,
    "head": _head,
    "model": _model,
    "cut": _cut,
    "export": _export,
    "transform": _transform,
}
