"""Frozen results of a probe."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from layerwise._util.display import count_of, interval, number, text
from layerwise._util.json_values import plain
from layerwise.layers import short_mix
from layerwise.probing.home_and_abroad import Transfer
from layerwise.results import Estimate, NamedResult, Table
from layerwise.wording import Message, joined, messages_json


@dataclass(frozen=True, slots=True, repr=False)
class CandidateResult:
    """All results of one candidate.

    Attributes:
        mix: its mix string; `kind` is `layer` or `mix`; `layers` are the layers that it reads.
        score, low, high: in the probe's metric.
        p_vs_best: p-value of the difference from the best candidate, adjusted for the choice of the best; 1 for itself.
        selectivity: the task's score minus that of the control task, or `None`.
        control: the score on the control task, or `None`.
        codelength: `bits`, `bits_per_label` and `compression` of the online code, or `None`.
        cost: the share of the full forward pass that it needs.
        bytes_per_row: its stored size.
        parameters: how many numbers its classifier or regression trains: weights, biases, and weights of layers.
        tokens_per_s: about how many tokens per second a head on it reads; `None` where unknown (`ProbeResult.with_speed`).
        scores: further metrics by name.
        folds: the score of each outer fit.
        C, alpha: the regularisation of each outer fit: C for a classifier, alpha for ridge; the other is `None`.
        dropped: whether the coarse pass ruled it out; its score is then that of the coarse pass.
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
    dropped: bool = False
    parameters: int | None = None
    tokens_per_s: float | None = None

    def __repr__(self) -> str:
        score = f"{number(self.score)}{interval(self.low, self.high)}"
        evidence = (
            f"p vs best {number(self.p_vs_best)}, cost {self.cost:.0%}, {self.bytes_per_row:,} bytes per row"
        )
        scores = ", ".join(f"{name} {number(value)}" for name, value in self.scores.items())
        return text([f"CandidateResult: {self.kind} {self.mix}, score {score}", evidence, scores])


@dataclass(frozen=True, slots=True)
class MlpResult:
    """The mix that inner folds choose, under a network with one hidden layer (`head_type="mlp"`).

    Attributes:
        mixes: the mix of each outer fit; those of the first repeat of a cross-validation.
        hidden: the width of the hidden layer.
        parameters: how many numbers the network on the most frequent of `mixes` trains.
        epochs: the number of epochs of each outer fit.
        score, low, high: of the network.
        linear: the score of the linear classifier on the same mixes and folds.
        difference: the network's score minus that of the linear classifier, with its paired 95% interval.
    """

    mixes: tuple[str, ...]
    hidden: int
    parameters: int
    epochs: tuple[int, ...]
    score: float
    low: float | None
    high: float | None
    linear: Estimate
    difference: Estimate


@dataclass(frozen=True, slots=True)
class CumulativeScore:
    """The score of the learned mix of the layers up to `layer`, and `gain`, what it adds to the mix before."""

    layer: str
    mix: str
    score: float
    low: float | None
    high: float | None
    gain: float | None


@dataclass(frozen=True, slots=True)
class ExpectedLayer:
    """The layer at which the label is resolved (Tenney et al. 2019).

    Attributes:
        value: the mean of the layers, weighted by what each adds to the score; `None` where all layers together aren't shown
            to score higher than the first one.
        low, high: the ends of its 95% interval, which may lie beyond the layers.
        gain: what all layers add to the first one, with its interval.
        cumulative: the scores that `value` is computed from.
    """

    value: float | None
    low: float | None
    high: float | None
    gain: Estimate
    cumulative: tuple[CumulativeScore, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """The advice of a probe.

    `best` and `cheapest` are mix strings; `differs`: whether any candidate differs significantly from the best;
    `recommended`: whether the best is shown to beat the majority class (or the mean); if not, the text recommends none;
    `needs_model`: whether it is also shown to beat the bag of words and the word vectors, as far as these were scored.
    `messages`: the sentences of the advice, which `Message.in_language` says in other languages.
    """

    best: str
    cheapest: str
    differs: bool
    messages: tuple[Message, ...]
    recommended: bool = True
    needs_model: bool = True

    @property
    def text(self) -> str:
        """The advice in English."""
        return joined(self.messages, "en")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as `probe.json` holds them."""
        names = ("best", "cheapest", "differs", "recommended", "needs_model", "text")
        fields = {name: getattr(self, name) for name in names}
        return fields | {"messages": messages_json(text=self.messages)}


@dataclass(frozen=True, slots=True, repr=False)
class ProbeResult(NamedResult[CandidateResult]):
    """Scores of all layers and mixes, with evidence and advice; returned by `lw.probe`.

    `result["6"]` is the candidate with this mix string, `result.candidates` are all. `to_pandas()` has a row per
    candidate: `mix`, `kind`, `score`, `low`, `high`, `p_vs_best`, `selectivity`, `control`, `bits`,
    `bits_per_label`, `compression`, `cost`, `bytes_per_row`, `parameters`, `tokens_per_s`; see `CandidateResult`.

    Attributes:
        task, label, metric, rows: the task, its column, the metric of all scores, and the number of rows used.
        classes: the names of the classes; none for `regress`.
        design: a description of the folds.
        candidates: single layers and mixes, in order of depth.
        chosen: the score of the candidates that the inner folds choose, on texts that weren't used for the choice.
        baselines: scores to compare with, by name.
        advice: which mix to use.
        notes: sentences for the reader: what was left out, and why.
        seed: the seed of folds and samples.
        groups: the column whose equal values are never split between training and test, the user's or that of documents;
            `None` where only texts are kept together.
        learned: the layer weights of the learned mix and their importance, or `None`.
        mlp: the best mix under a small network, or `None`.
        vectors: the coverage of the static word vectors, or `None`.
        expected_layer: the layer at which the label is resolved, or `None`.
        transfer: with a split, whether the layer that is best on held-out rows of training is best on the test rows.
        centre: the column whose groups were centred, or `None`.
        provenance: versions, date, and the dataset.
    """

    _noun: ClassVar[str] = "candidate"

    task: str
    label: str
    metric: str
    rows: int
    classes: tuple[str, ...]
    design: Message
    candidates: tuple[CandidateResult, ...]
    chosen: Estimate
    baselines: Mapping[str, Estimate]
    advice: Advice
    notes: tuple[Message, ...]
    seed: int
    groups: str | None = None
    learned: Mapping[str, Any] | None = None
    mlp: MlpResult | None = None
    vectors: Mapping[str, Any] | None = None
    expected_layer: ExpectedLayer | None = None
    transfer: Transfer | None = None
    centre: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content of probe.json; numbers that aren't finite are null."""
        values = asdict(self) | {"advice": self.advice.to_json()}
        values |= values.pop("provenance")
        values["messages"] = messages_json(design=self.design, notes=self.notes)
        if self.transfer is not None:
            values["transfer"]["messages"] = messages_json(text=self.transfer.text)
        cleaned: dict[str, Any] = plain(values)
        return cleaned

    def with_speed(self, tokens_per_s: float | None) -> "ProbeResult":
        """Return the result with `tokens_per_s` of each candidate, from that of extraction, which goes to the deepest layer.

        The time is taken to be in proportion to the blocks of the forward pass. A candidate that needs no block has no
        estimate.
        """
        if tokens_per_s is None:
            return self
        deepest = max(candidate.cost for candidate in self.candidates)
        candidates = tuple(
            replace(c, tokens_per_s=round(tokens_per_s * deepest / c.cost, 1) if c.cost else None)
            for c in self.candidates
        )
        return replace(self, candidates=candidates)

    def _entries(self) -> Mapping[str, CandidateResult]:
        return {candidate.mix: candidate for candidate in self.candidates}

    def _lines(self) -> Sequence[str]:
        return [
            f"ProbeResult: {self.task} {self.label}: {count_of(self.rows, 'row')}, {self.design}",
            f"best {self._scored(self.advice.best)}",
            f"cheapest {self._scored(self.advice.cheapest)}",
            self.advice.text,
        ]

    def _scored(self, mix: str) -> str:
        candidate = self[mix]
        return f"{short_mix(mix)}: {self.metric} {number(candidate.score)}{interval(candidate.low, candidate.high)}"

    def _table(self) -> Table:
        names = ("mix", "kind", "score", "low", "high", "p_vs_best", "selectivity", "control")
        columns = {name: [getattr(candidate, name) for candidate in self.candidates] for name in names}
        for name in ("bits", "bits_per_label", "compression"):
            columns[name] = [(candidate.codelength or {}).get(name) for candidate in self.candidates]
        return columns | {
            "cost": [candidate.cost for candidate in self.candidates],
            "bytes_per_row": [candidate.bytes_per_row for candidate in self.candidates],
            "parameters": [candidate.parameters for candidate in self.candidates],
            "tokens_per_s": [candidate.tokens_per_s for candidate in self.candidates],
        }

    def _note(self) -> str:
        return self.advice.text

    def _shown_table(self) -> Table:
        table = self._table()
        return {
            "mix": [short_mix(mix) for mix in table["mix"]],
            self.metric: table["score"],
            **{name: table[name] for name in ("low", "high", "p_vs_best", "cost")},
        }
