"""`probe.md`: the advice and the tables of a probe, readable as plain text and as rendered Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from layerwise._util.display import score_digits
from layerwise.figures.display_names import coded, named, number
from layerwise.layers import short_mix
from layerwise.wording import baseline_name, fixed, in_language, joined, phrase, text_in

ResultJson = Mapping[str, Any]
Cell = Callable[[ResultJson], str]
Say = Callable[..., str]
"""(key of the catalogue, its values) -> the text in the language of the file."""
_NONE = "–"
# Columns of candidates, and the sentences that explain them.
_EXPLAINED = {
    "selectivity": "selectivity",
    "codelength": "codelength",
    "cost": "cost",
    "parameters": "parameters",
    "tokens_per_s": "speed",
    "bytes_per_row": "bytes",
}
# Characters that end a line, can't be encoded, or reverse the direction of text.
_UNFIT = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
_CODE = re.compile(r"[\w(),:;.=+ -]+", re.ASCII)


def probe_markdown(result: ResultJson, lang: str = "en") -> str:
    """Return `probe.md` from the content of `probe.json`: advice first, then tables, then how to read them.

    Columns without any value are left out. Labels, mixes and notes are escaped, so that nothing in them is
    interpreted as Markdown or HTML.
    """
    say = partial(phrase, lang)
    legend = "\n".join(f"- {say(key)}" for key in _legend(result))
    title = f"# {say('markdown.title', label=escape(result['label']))}"
    reading = f"## {say('markdown.reading')}"
    parts = [title, probe_body(result, "##", lang), reading, legend, _provenance(result, say)]
    return "\n\n".join(part for part in parts if part) + "\n"


def probe_body(result: ResultJson, heading: str, lang: str = "en") -> str:
    """Return the advice and the tables of a probe, each table under a heading of the level `heading` (`##`)."""
    result, say = in_language(result, lang), partial(phrase, lang)
    parts = [
        escape(result["advice"]["text"]),
        *([escape(result["transfer"]["text"])] if result.get("transfer") else []),
        _setting(result, say, lang),
        f"{heading} {say('markdown.candidates')}",
        _candidates(result, say, lang),
        _chosen(result, say),
        *_under(f"{heading} {say('markdown.baselines')}", _baselines(result, say, lang)),
        *_under(f"{heading} {say('markdown.learned')}", _learned(result, say, lang)),
        *_under(f"{heading} {say('markdown.cumulative')}", _cumulative(result, say, lang)),
        *_under(f"{heading} {say('markdown.notes')}", _notes(result)),
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


def _setting(result: ResultJson, say: Say, lang: str) -> str:
    rows = number(result.get("rows"))
    facts = [
        say("markdown.task", task=escape(result["task"])),
        say("markdown.metric", metric=escape(named("metric", result["metric"], lang))),
        say("markdown.rows", n=int(rows)) if rows is not None else "",
        escape(result.get("design") or ""),
    ]
    line = say("comma").join(fact for fact in facts if fact)
    return say("markdown.facts", facts=f"{line[0].upper()}{line[1:].rstrip('.')}")


def _candidates(result: ResultJson, say: Say, lang: str) -> str:
    advice, metric = result["advice"], result["metric"]
    marks = {"markdown.best": advice.get("best"), "markdown.cheapest": advice.get("cheapest")}
    digits = _digits(result)
    further = dict.fromkeys(name for c in result["candidates"] for name in c.get("scores") or {})
    columns: dict[str, Cell] = {
        say("markdown.mix"): lambda c: _mix(c["mix"]),
        "": lambda c: say("comma.list").join(say(mark) for mark, mix in marks.items() if mix == c["mix"]),
        escape(named("metric", metric, lang)): lambda c: _fixed(c.get("score"), digits),
        say("markdown.interval"): lambda c: _interval(c, say, digits),
        say("markdown.p"): lambda c: _NONE if c["mix"] == advice.get("best") else _p(c.get("p_vs_best")),
        **{escape(named("metric", n, lang)): _further(n, digits) for n in further if n != metric},
        say("markdown.control" if metric == "accuracy" else "markdown.control.accuracy"): lambda c: _fixed(
            c.get("control"), digits
        ),
        say("markdown.selectivity"): lambda c: _fixed(c.get("selectivity"), digits),
        say("markdown.bits"): lambda c: _whole((c.get("codelength") or {}).get("bits")),
        say("markdown.compression"): lambda c: _formatted(
            (c.get("codelength") or {}).get("compression"), "{:.2f}×"
        ),
        say("markdown.cost"): lambda c: _formatted(c.get("cost"), "{:.0%}"),
        say("markdown.parameters"): lambda c: _whole(c.get("parameters")),
        say("markdown.speed"): lambda c: _whole(c.get("tokens_per_s")),
        say("markdown.bytes"): lambda c: _whole(c.get("bytes_per_row")),
    }
    rows = [[cell(candidate) for cell in columns.values()] for candidate in result["candidates"]]
    return table(list(columns), rows, left_columns=2)


def _digits(result: ResultJson) -> int:
    """Return the digits of all scores of a probe, as many as the intervals of the candidates support."""
    ends = [(number(c.get("low")), number(c.get("high"))) for c in result["candidates"]]
    return score_digits(ends, number(result.get("rows")))


def _further(name: str, digits: int) -> Cell:
    return lambda candidate: _fixed(_value((candidate.get("scores") or {}).get(name), "score"), digits)


def _chosen(result: ResultJson, say: Say) -> str:
    chosen = result.get("chosen") or {}
    if number(chosen.get("score")) is None:
        return ""
    digits = _digits(result)
    score, interval = _fixed(chosen["score"], digits), _interval(chosen, say, digits)
    if interval == _NONE:
        return say("markdown.chosen", score=score)
    return say("markdown.chosen.interval", score=score, interval=interval)


def _baselines(result: ResultJson, say: Say, lang: str) -> list[str]:
    baselines = result.get("baselines") or {}
    metric, digits = escape(named("metric", result["metric"], lang)), _digits(result)
    header = [say("markdown.baseline"), metric, say("markdown.interval")]
    rows = [
        [
            escape(text_in(baseline_name(name, result.get("task")), lang)),
            _fixed(_value(value, "score"), digits),
            _interval(value, say, digits),
        ]
        for name, value in baselines.items()
        if value is not None
    ]
    return [table(header, rows)] if rows else []


def _learned(result: ResultJson, say: Say, lang: str) -> list[str]:
    """Return what each layer adds to the learned mix, the greatest loss first, and then the weights."""
    learned = result.get("learned") or {}
    without = learned.get("left_out") or {}
    losses = {layer: _value(scores, "difference") for layer, scores in without.items()}
    ends = [(number(_value(x, "low")), number(_value(x, "high"))) for x in losses.values()]
    digits = score_digits(ends, number(result.get("rows")))
    metric = (
        escape(named("metric", learned["metric"], lang)) if learned.get("metric") else say("markdown.score")
    )
    columns = {
        say("markdown.loss", metric=metric): (losses, digits),
        say("markdown.without", metric=metric): (without, digits),
        say("markdown.weight"): (learned.get("weights") or {}, 2),
        say("markdown.variance"): (learned.get("logit_variance") or {}, 2),
    }
    layers = dict.fromkeys(
        [*(learned.get("order") or []), *(name for values, _ in columns.values() for name in values)]
    )
    if not layers:
        return []
    rows = [
        [
            escape(layer),
            *(_with_interval(values.get(layer), say, places) for values, places in columns.values()),
        ]
        for layer in layers
    ]
    with_all, of_candidate = (
        _fixed(score, _digits(result)) for score in (learned.get("score"), _learned_score(result))
    )
    differs = with_all != of_candidate and _NONE not in (with_all, of_candidate)
    mix = _mix(learned["mix"]) if learned.get("mix") else say("markdown.the.mix")
    sentences = [
        *map(escape, learned.get("summary") or []),
        say("markdown.all.layers", mix=mix, metric=metric, score=with_all) if with_all != _NONE else "",
        say("learned.two.scores", score=of_candidate, here=with_all) if differs else "",
        escape(learned.get("caution") or ""),
    ]
    text = joined([sentence for sentence in sentences if sentence], lang)
    return [text, table([say("markdown.layer"), *columns], rows)]


def _cumulative(result: ResultJson, say: Say, lang: str) -> list[str]:
    """Return the scores of the learned mixes of the layers up to each one, from which the expected layer is computed."""
    scores = (result.get("expected_layer") or {}).get("cumulative") or []
    if not scores:
        return []
    digits = score_digits((number(score.get("low")), number(score.get("high"))) for score in scores)
    metric = escape(named("metric", result["metric"], lang))
    header = [say("markdown.up.to"), metric, say("markdown.interval"), say("markdown.gain")]
    rows = [
        [
            escape(score["layer"]),
            _fixed(score.get("score"), digits),
            _interval(score, say, digits),
            _fixed(score.get("gain"), digits),
        ]
        for score in scores
    ]
    return [table(header, rows)]


def _learned_score(result: ResultJson) -> Any:
    """Return the score that the learned mix has as a candidate."""
    mix = (result.get("learned") or {}).get("mix")
    return next(
        (candidate.get("score") for candidate in result["candidates"] if candidate["mix"] == mix), None
    )


def _notes(result: ResultJson) -> list[str]:
    notes = result.get("notes") or []
    return ["\n".join(f"- {escape(note)}" for note in notes)] if notes else []


def _legend(result: ResultJson) -> Iterable[str]:
    """Yield the keys of the sentences that explain what the tables show."""
    candidates = result["candidates"]
    yield "markdown.read.interval"
    if _any(candidates, "p_vs_best"):
        yield "markdown.read.p"
    if result["advice"].get("cheapest"):
        yield "markdown.read.cheapest"
    for column, name in _EXPLAINED.items():
        if _any(candidates, column):
            yield f"markdown.read.{name}"
    if number((result.get("chosen") or {}).get("score")) is not None:
        yield "markdown.read.chosen"
    if result.get("learned"):
        yield "markdown.read.learned"
    if result.get("expected_layer"):
        yield "markdown.read.cumulative"
    if result.get("mlp"):
        yield "markdown.read.mlp"


def _provenance(result: ResultJson, say: Say) -> str:
    versions = say("comma.list").join(
        f"{name} {version}" for name, version in (result.get("versions") or {}).items()
    )
    seed = result.get("seed")
    facts = [
        str(result.get("made") or ""),
        say("markdown.seed", seed=str(seed)) if seed is not None else "",
        versions,
    ]
    return escape(say("comma").join(fact for fact in facts if fact))


def _any(candidates: Sequence[ResultJson], key: str) -> bool:
    return any(candidate.get(key) is not None for candidate in candidates)


def _mix(mix: str) -> str:
    short = short_mix(mix)
    return f"`{short}`" if _CODE.fullmatch(short) else escape(short)


def _value(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, Mapping) else item


def _interval(item: Any, say: Say, digits: int) -> str:
    low, high = number(_value(item, "low")), number(_value(item, "high"))
    if not isinstance(item, Mapping) or low is None or high is None:
        return _NONE
    return say("markdown.interval.to", low=_fixed(low, digits), high=_fixed(high, digits))


def _with_interval(item: Any, say: Say, digits: int) -> str:
    interval = _interval(item, say, digits)
    return _fixed(_value(item, "value"), digits) + (say("aside", words=interval) if interval != _NONE else "")


def _fixed(value: Any, digits: int) -> str:
    finite = number(value)
    return _NONE if finite is None else fixed(finite, digits)


def _formatted(value: Any, form: str) -> str:
    finite = number(value)
    return _NONE if finite is None else form.format(finite).replace("-", "−")


def _whole(value: Any) -> str:
    return _formatted(value, "{:,.0f}")


def _p(value: Any) -> str:
    p = number(value)
    return "< 0.001" if p is not None and p < 0.001 else _fixed(p, 3)
