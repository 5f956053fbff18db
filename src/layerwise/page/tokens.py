"""The tokens of a few texts, layer by layer: from the rows of a token dataset, else by encoding the texts again."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise._util.progress import SILENT, Tracker
from layerwise._util.threads import choose
from layerwise.arguments import argument
from layerwise.encode.computing import computing
from layerwise.errors import LayerwiseError, RequestError
from layerwise.extraction.stored_model import load_stored_model, stored_request
from layerwise.extraction.stored_texts import has_texts, neighbours, places
from layerwise.geometry.token_paths import moves
from layerwise.layers import along_depth
from layerwise.page.content import fixed, hundredths
from layerwise.store import LayerDataset
from layerwise.wording import Message, reason

if TYPE_CHECKING:
    from layerwise.array_types import F32
    from layerwise.encode.encoder import Encoder
    from layerwise.example import Example
    from layerwise.states import Layered

MOST = 64  # most tokens of a text that are shown
TEXTS = 6
MAPS = 1 << 20  # most numbers in all attention maps together, a byte each
_LEAST = 8  # fewest tokens of a text in its maps, even where MAPS allows fewer


def some_docs(texts: Any) -> list[int]:
    """Return the numbers of a few texts of a table, ascending and evenly spaced.

    If the table has texts short enough to show whole, only these are chosen.
    """
    docs = texts["doc"].to_numpy()
    tokens = texts["tokens"].to_numpy() if "tokens" in texts.column_names else np.full(len(docs), MOST)
    short = docs[(tokens > 3) & (tokens <= MOST)]
    chosen = short if len(short) else docs
    return sorted(
        {int(chosen[n]) for n in np.linspace(0, len(chosen) - 1, min(TEXTS, len(chosen))).round().astype(int)}
    )


def tokens_of(
    dataset: Layered,
    docs: Sequence[int],
    *,
    attention: bool,
    requested: bool = False,
    track: Tracker = SILENT,
) -> tuple[list[dict[str, Any]], Message | None]:
    """Return the tokens of texts as the page shows them, and the reason if there are none.

    Args:
        dataset: a dataset on disk; at token level its rows are the tokens, else its model encodes the texts
            again.
        docs: numbers of texts, ascending.
        attention: include attention maps, which need the model; the maps of all texts together have at most
            `MAPS` numbers, so for deep models or many texts they cover fewer tokens (at least 8).
        requested: whether the user chose these texts, so that an error is raised if there can be no tokens.
        track: progress of the texts.

    Raises:
        RequestError: numbers of texts that don't exist; `attention` where it isn't available.
        ModelError: `attention` from a model that isn't available, or that has no attention maps.
    """
    if not isinstance(dataset, LayerDataset):
        if attention or requested:
            raise RequestError(
                "tokens and attention need a dataset on disk, and these are rows in memory; leave them out, or give a dataset"
            )
        return [], Message("note.tokens.memory")
    settings = dataset.manifest.settings
    if attention and (settings.context is not None or settings.reading.joint):
        raise RequestError(
            f"attention maps are those of a single text by itself, and these texts were encoded with others; leave "
            f"{argument('attention', True)} out"
        )
    unknown = [doc for doc in docs if not 0 <= doc < dataset.text_count]
    if unknown:
        raise RequestError(f"there is no text {unknown[0]}; texts are 0 to {dataset.text_count - 1}")
    try:
        encoder = _encoder(dataset) if attention or dataset.level != "token" else None
        steps = track.each(docs, (f"text {doc}, {n} of {len(docs)}" for n, doc in enumerate(docs, 1)))
        with computing(choose().number) if encoder is not None else nullcontext():
            return [
                _text_entry(dataset, part, doc, row, encoder, MAPS // max(1, len(docs)) if attention else 0)
                for (part, doc, row), _ in zip(places(dataset, docs), steps, strict=True)
            ], None
    except LayerwiseError as error:
        if attention:
            raise
        why = reason(error)
        if isinstance(why, Message):
            return [], why
        warnings.warn(f"the page shows no tokens: {why}", stacklevel=2)
        return [], Message("note.tokens.failed")


def _encoder(dataset: LayerDataset) -> Encoder:
    if not has_texts(dataset):
        raise RequestError(Message("note.tokens.no.texts"))
    return load_stored_model(dataset, remedy="restore the model of the dataset")


def _text_entry(
    dataset: LayerDataset, part: LayerDataset, doc: int, row: int, encoder: Encoder | None, most: int
) -> dict[str, Any]:
    """Return the tokens of a text, with attention maps of about `most` numbers; without maps if `most` is 0."""
    text = part.texts["text"][row].as_py() if "text" in part.texts.column_names else None
    if encoder is None:
        rows = np.flatnonzero(part.index["doc"].to_numpy() == doc)
        layers = along_depth(part.layers)
        stack = np.stack([part.layer(name, rows=rows[:MOST]) for name in layers])
        return _token_entry(doc, text, layers, stack, part.index.take(rows), len(rows)) | _cut_off(part, row)
    texts, place = neighbours(part, row)
    example = texts[place]
    states = _as_tokens(encoder, dataset, texts, place)
    stack = np.stack([states.layer(name, rows=slice(0, MOST)) for name in states.layers])
    entry = _token_entry(doc, text, states.layers, stack, states.index, states.rows) | _cut_off(part, row)
    names = encoder.tokenizer.names(states.index["token_id"].to_pylist()[:MOST])
    both = zip(entry["tokens"], names, entry["special"], strict=True)
    entry["tokens"] = [name if special else token for token, name, special in both]
    if most:
        text_or_words = example.words if example.words is not None else example.text
        maps = encoder.attention(text_or_words, prompt=dataset.manifest.settings.prompt or "")
        blocks = np.flatnonzero(~np.isnan(maps[:, 0, 0, 0]))
        maps = maps[blocks]
        side = min(MOST, max(_LEAST, math.isqrt(most // (maps.shape[0] * maps.shape[1]))))
        entry["attention"] = np.round(maps[:, :, :side, :side] * 255).astype(np.uint8)
        entry["attention_layers"] = [str(block + 1) for block in blocks]
    return entry


def _as_tokens(encoder: Encoder, dataset: LayerDataset, texts: Sequence[Example], place: int) -> Any:
    request = stored_request(encoder, dataset.manifest.settings, list(along_depth(dataset.layers)))
    request = replace(request, level="token", pool=None, special_tokens=True)
    return encoder.states(texts, request, only=[place])


def _cut_off(part: LayerDataset, row: int) -> dict[str, int]:
    """Return how many tokens of a text were cut off, as the model never read them."""
    return {
        "truncated": part.texts["truncated"][row].as_py() if "truncated" in part.texts.column_names else 0
    }


def _token_entry(
    doc: int, text: str | None, layers: Sequence[str], stack: F32, index: Any, count: int
) -> dict[str, Any]:
    paths = moves(stack)
    reach = float(np.abs(paths.plane.coords).max(initial=0))
    special = index["special"].to_pylist()[:MOST]
    names = index["text"].to_pylist()[:MOST] if "text" in index.column_names else [""] * len(special)
    return {
        "doc": doc,
        "text": text,
        "count": count,
        "layers": list(layers),
        "tokens": ["" if lone else name for name, lone in zip(names, special, strict=True)],
        "special": special,
        "unknown": [count > 0 for count in index["unknown"].fill_null(0).to_pylist()[:MOST]]
        if "unknown" in index.column_names
        else None,
        "norms": paths.norms,
        "moves": paths.moves,
        "cosines": hundredths(paths.cosines),
        "coords": fixed(paths.plane.coords / (reach or 1)),
        "reach": reach,
        "shares": {"steps": paths.plane.steps, "distances": paths.plane.distances},
        "attention": None,
        "attention_layers": None,
    }
