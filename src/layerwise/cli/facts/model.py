"""The facts on a model, for people."""

from typing import Any

from layerwise._util.display import count_of
from layerwise.cli import output
from layerwise.cli.facts.small import source_rows


def model_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the facts on a model, with their names."""
    blocks = facts["blocks"]
    layers = f"emb, 1 … {blocks}" if blocks else "known only after loading"
    rows = [
        ("model", facts["id"] + (f" at {facts['revision']}" if facts["revision"] else "")),
        ("folder", facts["folder"]),
        *adapter_rows(facts),
        ("family", family(facts)),
        ("layers", f"{layers}, width {facts['width']}"),
        ("positions", _positions(facts)),
        ("tokenizer", _tokenizer(facts["tokenizer_facts"])),
        ("pool", f"{facts['default_pool']} by default"),
        *_prompts(facts),
        ("weights", f"sha256 {facts['weights']} ({output.size(facts['bytes'])})"),
    ]
    rows += left_out_rows(facts)
    rows += source_rows(facts["cut"]) if "cut" in facts else []
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


def adapter_rows(model: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the adapter that is merged into a model, and the base that it was trained on."""
    adapter = model.get("adapter")
    if not isinstance(adapter, dict):
        return []
    place = adapter.get("folder") or "in the model's folder"
    return [
        ("adapter", f"{adapter.get('kind')}, {place}"),
        ("its base", adapter.get("base") or "not named"),
    ]


def family(model: dict[str, Any]) -> str:
    """Return the family of a model, in words."""
    return f"{model['family']}, causal" if model.get("causal") else str(model["family"])


def left_out_rows(model: dict[str, Any]) -> list[tuple[str, Any]]:
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
