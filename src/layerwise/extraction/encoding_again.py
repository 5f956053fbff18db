"""The texts of a dataset, to be encoded once more: in the same way, by the same model or one like it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layerwise import choices
from layerwise.errors import ModelError
from layerwise.example import Example
from layerwise.store import LayerDataset

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.request import Request
    from layerwise.layers import LayerSpec


def places(dataset: LayerDataset, docs: Sequence[int]) -> Iterator[tuple[LayerDataset, int, int]]:
    """Yield the part that holds each text, its number, and its row among the part's texts; `docs` ascend."""
    begin = 0
    left = list(reversed(docs))
    for part in dataset.parts():
        end = begin + part.text_count
        while left and left[-1] < end:
            yield part, left[-1], left[-1] - begin
            left.pop()
        begin = end


def stored_example(part: LayerDataset, row: int) -> Example:
    """Return a text as it was read, from its row among the texts of a part."""
    text = part.texts.slice(row, 1).to_pylist()[0]
    words = text.get("words")
    return Example(text["text"], tuple(words) if words is not None else None)


def same_request(encoder: Encoder, settings: Mapping[str, Any], layers: LayerSpec | None = None) -> Request:
    """Return the request that made a dataset, perhaps of other layers."""
    return encoder.request(
        settings["layers"] if layers is None else layers,
        settings["level"],
        settings["pool"],
        special_tokens=settings["special_tokens"],
        long=settings["long"],
        max_length=settings["max_length"],
        overlap=choices.recorded_overlap(settings),
    )


def check_same(encoder: Encoder, hashes: Mapping[str, Any], of: Sequence[str], remedy: str) -> None:
    """Raise ModelError where some parts of an encoder aren't those of a dataset, by their hashes."""
    for part in of:
        if encoder.hashes[part] != hashes[part]:
            name = encoder.checkpoint.name
            raise ModelError(f"model {name!r} isn't the one of the dataset: its {part} differs; {remedy}")
