"""The table of a probe on a terminal: scores of candidates and what they cost, then choosing the highest and baselines."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from layerwise._util.display import COLUMNS, score_digits, width
from layerwise.cli import output
from layerwise.layers import short_mix
from layerwise.wording import baseline_name, fixed, name_of, percent, phrase, text_in

CandidateJson = dict[str, Any]


class _TableColumn(NamedTuple):
    """A column: its header, and a cell per row."""

    header: str
    cells: Sequence[str]
    is_right: bool = True


def probe_table(result: dict[str, Any], lang: str) -> list[str]:
    """Return the lines of the tables.

    Scores and costs are in one table where it isn't wider than a terminal, else in two, so that nothing is left out. Columns
    without any value are left out.

    Args:
        result: the content of probe.json, in the language.
        lang: the language of the words.
    """
    table = _ProbeTable(result, lang)
    scores, costs = table.scores(), table.costs()
    whole = _lines([*scores, *costs[1:]])
    if max(map(width, whole)) <= COLUMNS:
        return [*whole, *table.others()]
    return [*_lines(scores), *table.others(), "", *_lines(costs)]


class _ProbeTable:
    """The cells of a probe's tables."""

    def __init__(self, result: dict[str, Any], lang: str) -> None:
        self._result, self._lang = result, lang
        self._say = partial(phrase, lang)
        candidates = result["candidates"]
        self._digits = score_digits(((c["low"], c["high"]) for c in candidates), result["rows"])
        self._rows: list[CandidateJson] = list(candidates)

    def scores(self) -> list[_TableColumn]:
        """Return the columns of scores, the names first."""
        say, metric = self._say, self._result["metric"]
        return [
            self._names(),
            _TableColumn(self._metric(metric), [self._score(row["score"]) for row in self._rows]),
            _TableColumn(say("markdown.interval"), [self._ends(row) for row in self._rows], is_right=False),
            self._column("markdown.p", self._p),
            *([] if metric == "macro_f1" else [self._macro()]),
            self._column("markdown.compression", _compression),
        ]

    def costs(self) -> list[_TableColumn]:
        """Return the columns of costs, the names first."""
        return [
            self._names(),
            self._column("markdown.cost", lambda row: percent(row["cost"])),
            self._column("markdown.parameters", lambda row: _whole(row.get("parameters"))),
            self._column("markdown.speed", lambda row: _whole(row.get("tokens_per_s"))),
        ]

    def others(self) -> list[str]:
        """Return the lines of choosing the highest, and of the baselines."""
        chosen = self._result["chosen"]
        rows = [(self._say("probe.chosen"), self._score(chosen["score"]), self._ends(chosen))]
        for name, baseline in self._result["baselines"].items():
            shown_name = text_in(baseline_name(name, self._result["task"]), self._lang)
            label = self._say("terminal.baseline", name=shown_name)
            rows.append((label, self._score(baseline["score"]), self._ends(baseline)))
        return ["", *output.table(rows, right=(1,))]

    def _names(self) -> _TableColumn:
        names = [output.visible(short_mix(row["mix"]), 36) for row in self._rows]
        return _TableColumn(self._say("markdown.mix"), names, is_right=False)

    def _column(self, key: str, cell: Callable[[CandidateJson], str]) -> _TableColumn:
        return _TableColumn(self._say(key), [cell(row) for row in self._rows])

    def _macro(self) -> _TableColumn:
        values = [(row.get("scores") or {}).get("macro_f1") for row in self._rows]
        return _TableColumn(self._metric("macro_f1"), [self._score(value) for value in values])

    def _metric(self, name: str) -> str:
        return text_in(name_of("metric", name), self._lang)

    def _score(self, value: float | None) -> str:
        return "" if value is None else fixed(value, self._digits)

    def _ends(self, estimate: CandidateJson) -> str:
        if estimate["low"] is None:
            return ""
        ends = {name: fixed(estimate[name], self._digits) for name in ("low", "high")}
        return self._say("markdown.interval.to", **ends)

    def _p(self, row: CandidateJson) -> str:
        if row["mix"] == self._result["advice"]["best"]:
            return self._say("markdown.best")
        p = row.get("p_vs_best")
        return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _lines(columns: Sequence[_TableColumn]) -> list[str]:
    """Return the lines of a table without empty columns."""
    kept = [column for column in columns if any(column.cells)]
    rows = zip(*(column.cells for column in kept), strict=True)
    return output.table(
        [[column.header for column in kept], *rows],
        right=[index for index, column in enumerate(kept) if column.is_right],
    )


def _compression(row: CandidateJson) -> str:
    length = row.get("codelength")
    return f"{length['compression']:.2f}" if length else ""


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
