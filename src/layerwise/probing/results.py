"""What a probe found, frozen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from layerwise._util.json_values import plain
from layerwise._util.notebook import html
from layerwise.errors import RequestError


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its 95% interval; the ends are `None` where one number alone was scored."""

    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate and all that is known of it.

    Attributes:
        mix: its mix string; `kind` is `layer` or `mix`; `layers` are those that it reads.
        score, low, high: in the probe's metric.
        p_vs_best: adjusted over all pairs of candidates; 1 for the best itself.
        selectivity: the task's score less that of the control task, or `None`.
        control: the score on the control task, or `None`.
        codelength: `bits`, `bits_per_label` and `compression` of the online code, or `None`.
        cost: the share of the full forward that it needs.
        bytes_per_row: its size at rest.
        scores: further metrics.
        folds: the score of each outer fit.
        C, alpha: of each outer fit: C of a classifier, alpha of a ridge regression, the other is `None`.
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
    """What to take: `best` and `cheapest` are mix strings; `differs` tells whether any two candidates do."""

    best: str
    cheapest: str
    differs: bool
    text: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Which layer, which mix, with evidence; `to_json()` is the content of probe.json."""

    task: str
    label: str
    metric: str
    rows: int
    classes: tuple[str, ...]
    design: str
    candidates: tuple[Scored, ...]
    chosen: Estimate
    baselines: Mapping[str, Estimate]
    advice: Advice
    notes: tuple[str, ...]
    seed: int
    learned: Mapping[str, Any] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, mix: str) -> Scored:
        """Return the candidate of a mix string.

        Raises:
            RequestError: naming those that there are.
        """
        known = {one.mix: one for one in self.candidates}
        if mix not in known:
            raise RequestError(f"no candidate is called {mix!r}; there are {', '.join(known)}")
        return known[mix]

    def _repr_html_(self) -> str:
        header = ("mix", self.metric, "low", "high", "p vs best", "cost")
        rows = [(c.mix, c.score, c.low, c.high, c.p_vs_best, f"{c.cost:.0%}") for c in self.candidates]
        return html(f"{self.task} {self.label}: {self.rows:,} rows", header, rows, self.advice.text)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it; numbers that aren't finite are null."""
        made = asdict(self)
        made |= made.pop("about")
        cleaned: dict[str, Any] = plain(made)
        return cleaned
