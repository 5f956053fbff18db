"""Advice which layer and variant finds translations: chosen on one half of the pairs, scored on the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerwise._util.json_values import plain
from layerwise.array_types import F64, I64
from layerwise.wording import Message, fixed, messages_json, some

_LEAST = 4  # pairs that can be halved
_LISTED = 12  # directions in the text


@dataclass(frozen=True, slots=True)
class RetrievalChoice:
    """A variant and a layer, with the accuracy on the pairs that they weren't chosen on, and that of the deepest layer.

    Attributes:
        variant, layer: the choice.
        score: the accuracy on the other half of the pairs.
        last: the accuracy of the same variant at the deepest layer, on the same pairs.
    """

    variant: str
    layer: str
    score: float
    last: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return plain({name: getattr(self, name) for name in self.__slots__})  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class RetrievalAdvice:
    """Which variant and layer to use: for each direction, and for all together.

    Attributes:
        overall: the choice for the mean of all directions.
        directions: the choice for each direction.
        text: both in sentences.
    """

    overall: RetrievalChoice
    directions: Mapping[str, RetrievalChoice]
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        directions = {name: choice.to_json() for name, choice in self.directions.items()}
        return {
            "overall": self.overall.to_json(),
            "directions": directions,
            "text": self.text,
            "messages": messages_json(text=self.text),
        }


def advise(
    hits: Mapping[str, Sequence[F64]], directions: Sequence[str], layers: Sequence[str], seed: int
) -> RetrievalAdvice | None:
    """Return the advice for the directions with four pairs or more and an accuracy; `None` without any.

    Args:
        hits: for each variant and direction whether each pair was found, float64 (layers, pairs).
        directions, layers: their names.
        seed: the seed of the halves.
    """
    variants = tuple(hits)
    sizes = [of.shape[1] for of in next(iter(hits.values()), ())]
    rng = np.random.default_rng(seed)
    halves = {
        place: np.array_split(rng.permutation(size), 2) for place, size in enumerate(sizes) if size >= _LEAST
    }
    if not halves:
        return None
    # (directions, variants, layers) on each half.
    chosen_on, scored_on = (
        np.stack([_means(hits, place, half[number]) for place, half in halves.items()]) for number in (0, 1)
    )
    defined = np.flatnonzero(~np.isnan(chosen_on).all(axis=(1, 2)))
    chosen_on, scored_on = chosen_on[defined], scored_on[defined]
    if not len(defined) or np.isnan(chosen_on.sum(axis=0)).all():
        return None
    names = [directions[list(halves)[number]] for number in defined.tolist()]
    each = {
        name: _choice(of_choosing, of_scoring, variants, layers)
        for name, of_choosing, of_scoring in zip(names, chosen_on, scored_on, strict=True)
    }
    overall = _choice(chosen_on.mean(axis=0), scored_on.mean(axis=0), variants, layers)
    return RetrievalAdvice(overall, each, _text(overall, each, layers[-1]))


def _means(hits: Mapping[str, Sequence[F64]], direction: int, pairs: I64) -> F64:
    return np.stack([of[direction][:, pairs].mean(axis=1) for of in hits.values()])


def _choice(
    chosen_on: F64, scored_on: F64, variants: Sequence[str], layers: Sequence[str]
) -> RetrievalChoice:
    place = np.unravel_index(np.nanargmax(chosen_on), chosen_on.shape)
    variant, layer = int(place[0]), int(place[1])
    scores = scored_on[variant]
    return RetrievalChoice(variants[variant], layers[layer], float(scores[layer]), float(scores[-1]))


def _text(overall: RetrievalChoice, each: Mapping[str, RetrievalChoice], last: str) -> str:
    """Return the choice for all directions, how the deepest layer compares, and the choice for each direction."""
    variant = Message(f"retrieval.{overall.variant}")
    text = Message("retrieval.advice", variant=variant, layer=overall.layer, score=fixed(overall.score))
    if overall.layer != last:
        text = Message("retrieval.advice.last", advice=text, layer=last, score=fixed(overall.last))
    choices = [
        Message(
            "retrieval.choice",
            direction=name.replace(">", " → "),
            variant=Message(f"retrieval.{choice.variant}"),
            layer=choice.layer,
            score=fixed(choice.score),
        )
        for name, choice in each.items()
    ]
    return Message("retrieval.advice.each", advice=text, choices=some(choices, _LISTED))
