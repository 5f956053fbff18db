"""What a client asks of a model, and what it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from layerwise.layers import LayerSpec
from layerwise.serving.work import Work
from layerwise.states import LayerStates
from layerwise.transforms import Codes

T = TypeVar("T")
Spans = Sequence[Sequence[tuple[int, int]]]


@dataclass(frozen=True, kw_only=True)
class EncodeAsk:
    """How texts are encoded: the options of `Encoder.encode`, or of a mix.

    Attributes:
        layers: the layers; the last one where neither they nor a mix are given.
        mix: a mix string.
        level, pool, spans, special_tokens, prompt_name: as in `Encoder.encode`.
        truncate: whether a text that is too long is cut; otherwise it goes through the model in windows.
        keep_end: whether a text that is cut loses its beginning; None for what the tokenizer does.
    """

    layers: LayerSpec | None = None
    mix: str | None = None
    level: str = "text"
    pool: str | None = None
    spans: Spans | None = None
    special_tokens: bool = True
    prompt_name: str | None = None
    truncate: bool = False
    keep_end: bool | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request took: its tokens, those that were cut off, and the numbers of the texts that lost some."""

    tokens: int
    truncated_tokens: int
    truncated_texts: Sequence[int]


@dataclass(frozen=True)
class Vectors:
    """The vectors of a mix, (rows, width), float32 or what a transform makes of it; `states` describe the rows."""

    values: Codes
    states: LayerStates
    usage: Usage
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class LayerVectors:
    """The vectors of layers."""

    states: LayerStates
    usage: Usage


@dataclass(frozen=True)
class HeadAnswers:
    """An answer per text, as in the JSON lines of `layerwise predict`."""

    answers: Sequence[dict[str, Any]]
    usage: Usage


@dataclass(eq=False)
class Ticket(Generic[T]):
    """An admitted request: its answer comes later.

    Attributes:
        work: what was admitted.
        finish: makes the answer from the states of the request's views; raises LayerwiseError.
        abandon: drops what is left of the request.
        release: frees the room that was reserved for the answer, after it was sent; idempotent.
    """

    work: Work
    finish: Callable[[Sequence[LayerStates]], T]
    abandon: Callable[[], None]
    release: Callable[[], None]

    def result(self, seconds: float | None = None) -> T:
        """Wait for the answer, and return it.

        Raises:
            LayerwiseError: the request can't be carried out.
            TimeoutError: there is no answer after so many seconds.
        """
        try:
            return self.finish(self.work.future.result(seconds))
        finally:
            self.release()


def usage_of(states: LayerStates) -> Usage:
    """Return what the texts of some states took."""
    texts = states.texts
    cut = texts["truncated"].to_numpy()
    docs = texts["doc"].to_numpy()[cut > 0].tolist()
    return Usage(int(texts["tokens"].to_numpy().sum()), int(cut.sum()), docs)
