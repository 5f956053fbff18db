"""The facts on a dataset, for people."""

from collections.abc import Sequence
from typing import Any

from layerwise._util.display import count_of
from layerwise.cli import output
from layerwise.cli.facts.model import adapter_rows, family, left_out_rows
from layerwise.unknown import share_unknown


def dataset_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the facts on a dataset, with their names."""
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
            f"{model['id']} ({family(model)}, {count_of(model['blocks'], 'block')}, width {model['width']})",
        ),
        *adapter_rows(model),
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
    rows += left_out_rows(model)
    if facts["skipped"]:
        rows.append(("skipped", f"{count_of(len(facts['skipped']), 'record')} that can't be read"))
    if settings.get("redact") is not None:
        rows.append(("redacted", f"{_spans(facts.get('redacted') or {})}, {redactor(settings['redact'])}"))
    return rows


def _spans(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in counts.items()) or "no span"


def redactor(entry: dict[str, Any]) -> str:
    """Return what redacts texts, in words."""
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
        rows.append(("context", context(settings["context"])))
    if settings.get("prompt") is not None:
        rows.append(("prompt", _prompt(settings)))
    return rows


def context(sides: Sequence[int]) -> str:
    """Return how many tokens of the neighbours texts are encoded with, in words."""
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
