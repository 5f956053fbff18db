"""Results of a word alignment, as frozen dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from layerwise._util.display import count_of
from layerwise._util.json_values import plain
from layerwise.results import NamedResult, Table
from layerwise.wording import fixed, messages_json


@dataclass(frozen=True, slots=True)
class AlignedPair:
    """The links of a sentence pair, counted from 0: `links["argmax"]["7"]` is a list of (word of a, word of b)."""

    doc: int
    a: tuple[str, ...]
    b: tuple[str, ...]
    links: Mapping[str, Mapping[str, Sequence[tuple[int, int]]]]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a line of the output has them."""
        links = {
            method: {layer: list(map(list, pairs)) for layer, pairs in of_layers.items()}
            for method, of_layers in self.links.items()
        }
        return {"doc": self.doc, "a": list(self.a), "b": list(self.b), "links": links}


@dataclass(frozen=True, slots=True)
class LayerLinks:
    """How good the links of a method at a layer are.

    Attributes:
        aer: the alignment error rate, 0 to 1; `None` without gold links.
        agreement: without gold links, the share of the links of one direction of argmax that the other has too.
        low, high: the ends of the 95% interval of the one or the other.
        precision, recall: against possible and sure gold links.
    """

    aer: float | None
    agreement: float | None
    low: float | None
    high: float | None
    precision: float | None = None
    recall: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are known with, or without, gold links."""
        if self.aer is None:
            return plain({"agreement": self.agreement, "low": self.low, "high": self.high})  # type: ignore[no-any-return]
        names = ("aer", "low", "high", "precision", "recall")
        return plain({name: getattr(self, name) for name in names})  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class AlignmentAdvice:
    """The method and the layer of the lowest AER on one half of the sentences, with the AER on the other half."""

    method: str
    layer: str
    aer: float
    low: float | None
    high: float | None
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return plain({name: getattr(self, name) for name in self.__slots__}) | {  # type: ignore[no-any-return]
            "messages": messages_json(text=self.text)
        }


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Alignment(NamedResult[Mapping[str, LayerLinks]]):
    """Word alignment at every layer: `alignment["argmax"]["7"].aer`.

    `to_pandas()` has a row per method and layer.

    Attributes:
        layers: the names of the layers.
        sentences: the number of sentence pairs.
        centred: whether the mean of each side was subtracted.
        methods: by method and layer, how good the links are.
        advice: which layer and method to use; `None` without gold links.
        pairs: the links; empty where they were written to a file.
        notes: sentences for the reader.
        provenance: model and versions.
    """

    _noun: ClassVar[str] = "method"

    layers: tuple[str, ...]
    sentences: int
    centred: bool
    methods: Mapping[str, Mapping[str, LayerLinks]]
    advice: AlignmentAdvice | None
    pairs: tuple[AlignedPair, ...]
    notes: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the scores, the advice and the notes; the links are in `pairs`, or in the file."""
        methods = {
            name: {layer: links.to_json() for layer, links in of_layers.items()}
            for name, of_layers in self.methods.items()
        }
        content: dict[str, Any] = {"methods": methods}
        if self.advice is not None:
            content["advice"] = self.advice.to_json()
        content |= {"layers": list(self.layers), "sentences": self.sentences, "centred": self.centred}
        content |= {"notes": list(self.notes), "messages": messages_json(notes=self.notes)}
        return content | plain(dict(self.provenance))  # type: ignore[no-any-return]

    @property
    def has_gold(self) -> bool:
        """Whether the links were compared with gold links."""
        return self.advice is not None or any(
            links.aer is not None for of_layers in self.methods.values() for links in of_layers.values()
        )

    def _entries(self) -> Mapping[str, Mapping[str, LayerLinks]]:
        return self.methods

    def _lines(self) -> Sequence[str]:
        centred = ", centred" if self.centred else ""
        title = f"Alignment: {count_of(self.sentences, 'sentence pair')}, {count_of(len(self.layers), 'layer')}{centred}"
        return [title, f"methods: {', '.join(self.methods)}", " ".join((*self._advice_text(), *self.notes))]

    def _advice_text(self) -> Sequence[str]:
        return () if self.advice is None else (self.advice.text,)

    def _table(self) -> Table:
        rows = [(name, layer, links) for name, each in self.methods.items() for layer, links in each.items()]
        first = {"method": [name for name, _, _ in rows], "layer": [layer for _, layer, _ in rows]}
        names = (
            ("aer", "low", "high", "precision", "recall") if self.has_gold else ("agreement", "low", "high")
        )
        return {**first, **{name: [getattr(links, name) for _, _, links in rows] for name in names}}

    def _shown_table(self) -> Table:
        name = "aer" if self.has_gold else "agreement"
        columns = {
            method: [fixed(_number(getattr(links, name))) for links in each.values()]
            for method, each in self.methods.items()
        }
        return {"layer": self.layers, **columns}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
