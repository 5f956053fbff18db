"""Frozen results of a probe."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from layerwise._util.json_values import plain
from layerwise._util.notebook import html
from layerwise.errors import RequestError


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with the ends of its 95% interval; the ends are `None` if there is only one score."""

    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """All results of one candidate.

    Attributes:
        mix: its mix string; `kind` is `layer` or `mix`; `layers` are the layers that it reads.
        score, low, high: in the probe's metric.
        p_vs_best: p-value of the difference from the best candidate, adjusted over all pairs; 1 for the best itself.
        selectivity: the task's score minus that of the control task, or `None`.
        control: the score on the control task, or `None`.
        codelength: `bits`, `bits_per_label` and `compression` of the online code, or `None`.
        cost: the share of the full forward pass that it needs.
        bytes_per_row: its stored size.
        scores: further metrics by name.
        folds: the score of each outer fit.
        C, alpha: the regularisation of each outer fit: C for a classifier, alpha for ridge; the other is `None`.
    """

    mix: str
    kind: str
    layers: tuple[str, ...]
    score: float
    low: float | None
    high: float | None
    p_vs_best: float | None
    selectivity: float | None
    control: float | None
    codelength: Mapping[str, float] | None
    cost: float
    bytes_per_row: int
    scores: Mapping[str, float]
    folds: tuple[float, ...]
    C: tuple[float | None, ...] | None = None
    alpha: tuple[float | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """`best` and `cheapest` are mix strings; `differs`: whether any two candidates differ significantly."""

    best: str
    cheapest: str
    differs: bool
    text: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Scores of all layers and mixes, with evidence and advice; `to_json()` is the content of probe.json."""

    task: str
    label: str
    metric: str
    rows: int
    classes: tuple[str, ...]
    design: str
    candidates: tuple[CandidateResult, ...]
    chosen: Estimate
    baselines: Mapping[str, Estimate]
    advice: Advice
    notes: tuple[str, ...]
    seed: int
    learned: Mapping[str, Any] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, mix: str) -> CandidateResult:
        """Return the candidate with this mix string.

        Raises:
            RequestError: no candidate has it; the message lists the existing ones.
        """
        by_mix = {candidate.mix: candidate for candidate in self.candidates}
        if mix not in by_mix:
            raise RequestError(f"no candidate is called {mix!r}; there are {', '.join(by_mix)}")
        return by_mix[mix]

    def _repr_html_(self) -> str:
        header = ("mix", self.metric, "low", "high", "p vs best", "cost")
        rows = [
            (
                candidate.mix,
                candidate.score,
                candidate.low,
                candidate.high,
                candidate.p_vs_best,
                f"{candidate.cost:.0%}",
            )
            for candidate in self.candidates
        ]
        return html(f"{self.task} {self.label}: {self.rows:,} rows", header, rows, self.advice.text)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; numbers that aren't finite are null."""
        values = asdict(self)
        values |= values.pop("about")
        cleaned: dict[str, Any] = plain(values)
        return cleaned
