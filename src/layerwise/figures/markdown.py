"""`probe.md`: the advice and the tables of a probe, readable as plain text and as rendered Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from layerwise._util.display import score_digits
from layerwise.figures.display_names import coded, number, short_mix, words

ResultJson = Mapping[str, Any]
Cell = Callable[[ResultJson], str]
_NONE = "–"
# Characters that end a line, can't be encoded, or reverse the direction of text.
_UNFIT = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
_CODE = re.compile(r"[\w(),:;.=+ -]+", re.ASCII)


def probe_markdown(result: ResultJson) -> str:
    """Return `probe.md` from the content of `probe.json`: advice first, then tables, then how to read them.

    Columns without any value are left out. Labels, mixes and notes are escaped, so that nothing in them is
    interpreted as Markdown or HTML.
    """
    legend = "\n".join(f"- {line}" for line in _legend(result))
    title = f"# Which layer for {escape(result['label'])}"
    parts = [title, probe_body(result, "##"), "## How to read this", legend, _provenance(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def probe_body(result: ResultJson, heading: str) -> str:
    """Return the advice and the tables of a probe, each table under a heading of the level `heading` (`##`)."""
    parts = [
        escape(result["advice"]["text"]),
        _setting(result),
        f"{heading} Candidates",
        _candidates(result),
        _chosen(result),
        *_under(f"{heading} Baselines", _baselines(result)),
        *_under(f"{heading} The learned mix, layer by layer", _learned(result)),
        *_under(f"{heading} Notes", _notes(result)),
    ]
    return "\n\n".join(part for part in parts if part)


def escape(text: Any) -> str:
    """Return text as one line of Markdown that renders unchanged, also in a table."""
    line = _UNFIT.sub(lambda c: " " if c[0] in "\n\r\t" else coded(c[0]), str(text)).strip()
    # Some characters mean something anywhere, `_` only at the edge of a word, others only at the start of the line.
    line = re.sub(r"([\\`*\[\]|~$])", r"\\\1", line)
    line = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", line)
    line = re.sub(r"^([-+#=])", r"\\\1", line)
    line = re.sub(r"^(\d+)([.)])", r"\1\\\2", line)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left_columns: int = 1) -> str:
    """Return a Markdown table of escaped cells; columns after the first `left_columns` are aligned right."""
    columns = [i for i, cells in enumerate(zip(*rows, strict=True)) if i == 0 or set(cells) - {_NONE, ""}]
    lines = [[header[i] for i in columns], ["---" if i < left_columns else "---:" for i in columns]]
    lines += [[row[i] for i in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _under(heading: str, parts: list[str]) -> list[str]:
    return [heading, *parts] if parts else []


def _setting(result: ResultJson) -> str:
    rows = number(result.get("rows"))
    facts = [
        f"task {escape(result['task'])}",
        f"metric {escape(words(result['metric']))}",
        f"{rows:,.0f} rows" if rows is not None else "",
        escape(result.get("design") or ""),
    ]
    line = "; ".join(fact for fact in facts if fact)
    return f"{line[0].upper()}{line[1:].rstrip('.')}."


def _candidates(result: ResultJson) -> str:
    advice, metric = result["advice"], result["metric"]
    marks = {"best": advice.get("best"), "cheapest": advice.get("cheapest")}
    digits = _digits(result)
    further = dict.fromkeys(name for c in result["candidates"] for name in c.get("scores") or {})
    columns: dict[str, Cell] = {
        "mix": lambda c: _mix(c["mix"]),
        "": lambda c: ", ".join(mark for mark, mix in marks.items() if mix == c["mix"]),
        escape(words(metric)): lambda c: _fixed(c.get("score"), digits),
        "95% interval": lambda c: _interval(c, digits),
        "p vs best": lambda c: _NONE if c["mix"] == advice.get("best") else _p(c.get("p_vs_best")),
        **{escape(words(n)): _further(n, digits) for n in further if n != metric},
        "control" if metric == "accuracy" else "control accuracy": lambda c: _fixed(c.get("control"), digits),
        "selectivity": lambda c: _fixed(c.get("selectivity"), digits),
        "bits": lambda c: _whole((c.get("codelength") or {}).get("bits")),
        "compression": lambda c: _formatted((c.get("codelength") or {}).get("compression"), "{:.2f}×"),
        "cost": lambda c: _formatted(c.get("cost"), "{:.0%}"),
        "bytes per row": lambda c: _whole(c.get("bytes_per_row")),
    }
    rows = [[cell(candidate) for cell in columns.values()] for candidate in result["candidates"]]
    return table(list(columns), rows, left_columns=2)


def _digits(result: ResultJson) -> int:
    """Return the digits of all scores of a probe, as many as the intervals of the candidates support."""
    ends = [(number(c.get("low")), number(c.get("high"))) for c in result["candidates"]]
    return score_digits(ends, number(result.get("rows")))


def _further(name: str, digits: int) -> Cell:
    return lambda candidate: _fixed(_value((candidate.get("scores") or {}).get(name), "score"), digits)


def _chosen(result: ResultJson) -> str:
    chosen = result.get("chosen") or {}
    if number(chosen.get("score")) is None:
        return ""
    digits = _digits(result)
    interval = _interval(chosen, digits)
    within = f" (95% interval {interval})" if interval != _NONE else ""
    return f"Following the advice scores {_fixed(chosen['score'], digits)}{within}: the score of `chosen`."


def _baselines(result: ResultJson) -> list[str]:
    baselines = result.get("baselines") or {}
    header, digits = ["baseline", escape(words(result["metric"])), "95% interval"], _digits(result)
    rows = [
        [escape(words(name)), _fixed(_value(value, "score"), digits), _interval(value, digits)]
        for name, value in baselines.items()
        if value is not None
    ]
    return [table(header, rows)] if rows else []


def _learned(result: ResultJson) -> list[str]:
    """Return what each layer adds to the learned mix, the greatest loss first, and then the weights."""
    learned = result.get("learned") or {}
    without = learned.get("left_out") or {}
    losses = {layer: _value(scores, "difference") for layer, scores in without.items()}
    digits = score_digits((number(_value(x, "low")), number(_value(x, "high"))) for x in losses.values())
    metric = escape(words(learned.get("metric") or "score"))
    columns = {
        f"loss of {metric} without it": (losses, digits),
        f"{metric} without it": (without, digits),
        "weight": (learned.get("weights") or {}, 2),
        "share of logit variance": (learned.get("logit_variance") or {}, 2),
    }
    layers = dict.fromkeys(
        [*(learned.get("order") or []), *(name for values, _ in columns.values() for name in values)]
    )
    if not layers:
        return []
    rows = [
        [escape(layer), *(_with_interval(values.get(layer), places) for values, places in columns.values())]
        for layer in layers
    ]
    with_all = _fixed(learned.get("score"), digits)
    sentences = [
        *map(escape, learned.get("summary") or []),
        f"With all layers {_mix(learned.get('mix') or 'the mix')} scores {metric} {with_all} on the same rows."
        if with_all != _NONE
        else "",
        escape(learned.get("caution") or ""),
    ]
    return [" ".join(filter(None, sentences)), table(["layer", *columns], rows)]


def _notes(result: ResultJson) -> list[str]:
    notes = result.get("notes") or []
    return ["\n".join(f"- {escape(note)}" for note in notes)] if notes else []


def _legend(result: ResultJson) -> Iterable[str]:
    candidates = result["candidates"]
    yield (
        "The interval is of one score. Whether two candidates differ is tested by p vs best: it compares "
        "them on the same rows, so intervals may overlap where p is small."
    )
    if _any(candidates, "p_vs_best"):
        yield (
            "p vs best is adjusted over all pairs, because the best was picked. A p above .05 doesn't mean "
            "that two are equal."
        )
    if result["advice"].get("cheapest"):
        yield (
            "The cheapest is the one of least cost whose paired loss against the best is under one standard "
            "error of that difference: a rule of thumb, not a test."
        )
    if _any(candidates, "selectivity"):
        yield (
            "Selectivity is the accuracy (of tags: that of single words) minus the accuracy on a control task, one "
            "random label per word type (Hewitt and Liang 2019): what the layer contributes, and not the classifier."
        )
    if _any(candidates, "codelength"):
        yield (
            "Bits is the length of the labels in an online code, compression how many times shorter that is "
            "than a uniform code (Voita and Titov 2020): fewer bits, and more compression, is better."
        )
    if _any(candidates, "cost"):
        yield "Cost is the share of the model's forward that the deepest layer of the mix needs."
    if _any(candidates, "bytes_per_row"):
        yield "Bytes per row is the size of a row's stored layers."
    if number((result.get("chosen") or {}).get("score")) is not None:
        yield (
            "`chosen` is the candidate picked on inner folds (or the dev part) and scored on rows that weren't used "
            "to pick it; the best of the table was picked on the rows that score it, so its score is too "
            "high on average."
        )
    if result.get("learned"):
        yield (
            "Of the learned mix: what the score loses when it is fitted without the layer, with intervals from "
            "resampling the texts that score it, which hold for all layers at once; what it then scores; its softmax "
            "weights; each layer's share of the variance of the logits. Intervals of weights and shares come from "
            "refits on resampled texts. The weights single out a layer if its weight is greater than every other, "
            "by half of an equal share or more, in 95% of the fits."
        )


def _provenance(result: ResultJson) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items())
    seed = result.get("seed")
    facts = [str(result.get("made") or ""), f"seed {seed}" if seed is not None else "", versions]
    return escape("; ".join(fact for fact in facts if fact))


def _any(candidates: Sequence[ResultJson], key: str) -> bool:
    return any(candidate.get(key) is not None for candidate in candidates)


def _mix(mix: str) -> str:
    short = short_mix(mix)
    return f"`{short}`" if _CODE.fullmatch(short) else escape(short)


def _value(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, Mapping) else item


def _interval(item: Any, digits: int) -> str:
    low, high = number(_value(item, "low")), number(_value(item, "high"))
    if not isinstance(item, Mapping) or low is None or high is None:
        return _NONE
    return f"{_fixed(low, digits)} to {_fixed(high, digits)}"


def _with_interval(item: Any, digits: int) -> str:
    interval = _interval(item, digits)
    return _fixed(_value(item, "value"), digits) + (f" ({interval})" if interval != _NONE else "")


def _fixed(value: Any, digits: int) -> str:
    return _formatted(value, f"{{:z.{digits}f}}")


def _formatted(value: Any, form: str) -> str:
    finite = number(value)
    return _NONE if finite is None else form.format(finite).replace("-", "−")


def _whole(value: Any) -> str:
    return _formatted(value, "{:,.0f}")


def _p(value: Any) -> str:
    p = number(value)
    return "< 0.001" if p is not None and p < 0.001 else _fixed(p, 3)
