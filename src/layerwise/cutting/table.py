"""What a model costs when it is cut at each layer, measured on this machine, beside the scores of a probe."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from layerwise._util.display import interval, number
from layerwise._util.progress import Tracker
from layerwise._util.versions import versions
from layerwise.arguments import argument
from layerwise.cutting.folder import source_facts
from layerwise.encode.cut_model import short_model, stored_size
from layerwise.encode.cut_parity import check_parity
from layerwise.encode.cut_source import CutSource
from layerwise.encode.encoder import Encoder
from layerwise.errors import ModelError, RequestError
from layerwise.layers import layer_names
from layerwise.read.docstrings import paragraphs
from layerwise.results import NamedResult, Table
from layerwise.store.stored_result import result_content
from layerwise.wording import Message, messages_json

TEXTS, ROUNDS = 256, 3


@dataclass(frozen=True, slots=True)
class CutCost:
    """What a model costs that ends at a layer.

    Attributes:
        layer: the layer.
        blocks, parameters: the number of its blocks, and of the numbers of its weights.
        bytes: the size of weights and tokenizer on disk.
        tokens_per_s: the median speed of encoding texts up to this layer.
        score, low, high: the score of the layer in the probe, with its interval; `None` without a probe.
        coarse: whether the probe ruled the layer out in its coarse pass, from which the score then is.
    """

    layer: str
    blocks: int
    parameters: int
    bytes: int
    tokens_per_s: float
    score: float | None = None
    low: float | None = None
    high: float | None = None
    coarse: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class CutTable(NamedResult[CutCost]):
    """What a model costs when it is cut at each layer; returned by `lw.cut` with `table`.

    `table["4"]` is the row of a layer. `to_pandas()` has a row per layer: the attributes of `CutCost`.

    Attributes:
        source: name, revision, and hashes of the model.
        rows: the cost of each cut.
        texts, tokens, rounds: what the speed was measured on; the median round counts.
        device: where.
        label, metric: those of the probe; `None` without one.
        notes: what the user should know.
        versions: of the packages.
    """

    _noun: ClassVar[str] = "layer"

    source: Mapping[str, Any]
    rows: tuple[CutCost, ...]
    texts: int
    tokens: int
    rounds: int
    device: str
    label: str | None = None
    metric: str | None = None
    notes: tuple[Message, ...] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        values = {
            name: getattr(self, name) for name in ("texts", "tokens", "rounds", "device", "label", "metric")
        }
        values |= {"source": dict(self.source), "versions": dict(self.versions), "notes": list(self.notes)}
        rows = [asdict(row) for row in self.rows]
        return {**values, "rows": rows, "messages": messages_json(notes=self.notes)}

    def _entries(self) -> Mapping[str, CutCost]:
        return {row.layer: row for row in self.rows}

    def _lines(self) -> Sequence[str]:
        first, last = self.rows[0], self.rows[-1]
        return [
            f"CutTable: {self.source['id']}: {len(self.rows)} layers, {self.tokens:,} tokens, median of {self.rounds} rounds",
            *(
                f"layer {row.layer}: {row.parameters:,} parameters, {row.tokens_per_s:,.0f} tokens/s"
                + (
                    f", {self.metric} {number(row.score)}{interval(row.low, row.high)}"
                    if row.score is not None
                    else ""
                )
                for row in (first, last)
            ),
        ]

    def _table(self) -> Table:
        names = CutCost.__slots__
        return {name: [getattr(row, name) for row in self.rows] for name in names}


def cut_table(source: CutSource, encoder: Encoder, probe: Any, track: Tracker) -> CutTable:
    """Measure what a model costs when it is cut at each layer.

    Args:
        source, encoder: the same model, to be cut and to be measured.
        probe: a result of `lw.probe` on the model's rows, or its folder; `None` for no scores.
        track: progress over rounds and layers.

    Raises:
        RequestError: a probe of another model, or with no layer of it.
    """
    content = None if probe is None else _probe_of(probe, source)
    scores = {} if content is None else _scores(content)
    texts = random.Random(0).sample([text for _, text in paragraphs()], TEXTS)
    sizes, notes = _sizes(source)
    tokens = int(encoder.encode(texts, layers="emb", prompt="").texts["tokens"].to_numpy().sum())
    seconds = _seconds(encoder, list(sizes), texts, track)
    tokenizer = sum(
        (source.checkpoint.files.root / name).stat().st_size for name in source.checkpoint.files.tokenizer
    )
    rows = [
        CutCost(
            layer,
            layer_names(source.blocks).index(layer),
            parameters,
            size + tokenizer,
            round(tokens / seconds[layer], 1),
            **scores.get(layer, {}),
        )
        for layer, (parameters, size) in sizes.items()
    ]
    return CutTable(
        source_facts(source),
        tuple(rows),
        len(texts),
        tokens,
        ROUNDS,
        encoder.device,
        None if content is None else str(content["label"]),
        None if content is None else str(content["metric"]),
        notes,
        versions(),
    )


def _sizes(source: CutSource) -> tuple[dict[str, tuple[int, int]], tuple[Message, ...]]:
    """Return parameters and bytes of each cut by its layer, and a note on layers at which the model can't be cut."""
    sizes, left_out = {}, []
    for at, layer in enumerate(layer_names(source.blocks)):
        try:
            short = short_model(source, at)
            check_parity(source, short, short.model)
            sizes[layer] = stored_size(short, source)
        except ModelError:
            left_out.append(layer)
    return sizes, (Message("note.cut.table.left", layers=left_out),) if left_out else ()


def _seconds(
    encoder: Encoder, layers: Sequence[str], texts: Sequence[str], track: Tracker
) -> dict[str, float]:
    """Return the median seconds of encoding texts up to each layer, in interleaved rounds."""
    encoder.encode(texts[:8], prompt="")
    seconds: dict[str, list[float]] = {layer: [] for layer in layers}
    for _, step in track.each(range(ROUNDS), ["round"] * ROUNDS):
        for layer, _ in step.each(layers, [f"layer {layer}" for layer in layers]):
            start = time.perf_counter()
            encoder.encode(texts, layers=layer, prompt="")
            seconds[layer].append(time.perf_counter() - start)
    return {layer: statistics.median(times) for layer, times in seconds.items()}


def _probe_of(probe: Any, source: CutSource) -> dict[str, Any]:
    """Return the content of a probe, after checking that it is of this model."""
    content = result_content(probe, "probe", "probe")
    dataset = content.get("dataset")
    model = (dataset if isinstance(dataset, dict) else {}).get("model")
    weights = model.get("weights") if isinstance(model, dict) else None
    if weights is not None and weights != source.hashes["weights"]:
        raise RequestError(
            f"{argument('probe')} is of another model than {source.name!r}; give a probe of rows of this one"
        )
    return content


def _scores(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the score of each single layer by its name.

    Raises:
        RequestError: no single layer was scored.
    """
    scores = {
        str(candidate["mix"]): {
            **{name: candidate.get(name) for name in ("score", "low", "high")},
            "coarse": bool(candidate.get("dropped")),
        }
        for candidate in content["candidates"]
        if candidate.get("kind") == "layer"
    }
    if not scores:
        raise RequestError(
            f"{argument('probe')} scored no single layer; probe a dataset with the layers of this model"
        )
    return scores
