"""The tokens of a few texts, layer by layer: from the rows of a token dataset, or by its model once more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise import encode
from layerwise._util.progress import SILENT, Tracker
from layerwise._util.threads import choose
from layerwise.encode.computing import computing
from layerwise.errors import LayerwiseError, RequestError
from layerwise.extraction.encoding_again import check_same, places, same_request, stored_example
from layerwise.geometry.token_paths import moves
from layerwise.page.content import fixed, hundredths
from layerwise.store import LayerDataset
from layerwise.store.described import described

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.example import Example
    from layerwise.states import F32, Layered

MOST = 64  # tokens of a text that are shown
TEXTS = 6
MAPS = 1 << 20  # numbers of all attention maps together, a byte each
_LEAST = 8  # tokens of a text that have maps in any case


def some_docs(texts: Any) -> list[int]:
    """Return the numbers of a few texts of a table, spread over it, those preferred that are shown whole."""
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
    asked: bool = False,
    track: Tracker = SILENT,
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the tokens of texts as the page shows them, and in words why there are none.

    Args:
        dataset: a dataset on disk; of one at token level the tokens are its rows, else its model encodes the
            texts once more.
        docs: numbers of texts, ascending.
        attention: with attention maps, which need the model; of all texts together they are at most `MAPS`
            numbers, so that of deep models or many texts fewer tokens have them (8 at least).
        asked: these texts were asked for, and not only the first at hand.
        track: reports the texts.

    Raises:
        RequestError: numbers of texts that aren't there; `attention` where it can't be had.
        ModelError: `attention` from a model that isn't here, or gives none.
    """
    if not isinstance(dataset, LayerDataset):
        if attention or asked:
            raise RequestError(
                "tokens and attention come from a dataset on disk, and these are rows in memory"
            )
        return [], "these are rows in memory"
    unknown = [doc for doc in docs if not 0 <= doc < dataset.text_count]
    if unknown:
        raise RequestError(f"there is no text {unknown[0]}; texts are 0 to {dataset.text_count - 1}")
    try:
        encoder = _encoder(dataset) if attention or dataset.level != "token" else None
        steps = track.each(docs, (f"text {doc}, {n} of {len(docs)}" for n, doc in enumerate(docs, 1)))
        with computing(choose().number) if encoder is not None else nullcontext():
            return [
                _one(dataset, part, doc, row, encoder, MAPS // max(1, len(docs)) if attention else 0)
                for (part, doc, row), _ in zip(places(dataset, docs), steps, strict=True)
            ], None
    except LayerwiseError as error:
        if attention:
            raise
        return [], str(error)


def _encoder(dataset: LayerDataset) -> Encoder:

    if "text" not in next(dataset.parts()).texts.column_names:
        raise RequestError("tokens come from the model once more, and the dataset holds no texts")
    made = described(dataset).manifest["model"]
    encoder = encode.load.load_encoder(made["id"], revision=made["revision"])
    check_same(encoder, made, ("weights", "tokenizer", "config"), "put that one back")
    return encoder


def _one(
    dataset: LayerDataset, part: LayerDataset, doc: int, row: int, encoder: Encoder | None, most: int
) -> dict[str, Any]:
    """The tokens of a text, with attention maps of about `most` numbers; of 0 with none."""
    text = part.texts["text"][row].as_py() if "text" in part.texts.column_names else None
    if encoder is None:
        rows = np.flatnonzero(part.index["doc"].to_numpy() == doc)
        stack = np.stack([part.layer(name, rows=rows[:MOST]) for name in part.layers])
        return _shown(doc, text, stack, part.index.take(rows), len(rows))
    example = stored_example(part, row)
    made = _as_tokens(encoder, dataset, example)
    stack = np.stack([made.layer(name, rows=slice(0, MOST)) for name in made.layers])
    found = _shown(doc, text, stack, made.index, made.rows)
    names = encoder.tokenizer.names(made.index["token_id"].to_pylist()[:MOST])
    both = zip(found["tokens"], names, found["special"], strict=True)
    found["tokens"] = [name if special else token for token, name, special in both]
    if most:
        maps = encoder.attention(example.words if example.words is not None else example.text)
        side = min(MOST, max(_LEAST, math.isqrt(most // (maps.shape[0] * maps.shape[1]))))
        found["attention"] = np.round(maps[:, :, :side, :side] * 255).astype(np.uint8)
        found["attention_layers"] = [str(block + 1) for block in range(len(maps))]
    return found


def _as_tokens(encoder: Encoder, dataset: LayerDataset, example: Example) -> Any:
    from dataclasses import replace

    settings = dataset.manifest["settings"]
    request = same_request(encoder, settings, list(dataset.layers))
    return encoder.states([example], replace(request, level="token", pool=None, special_tokens=True))


def _shown(doc: int, text: str | None, stack: F32, index: Any, count: int) -> dict[str, Any]:
    found = moves(stack)
    special = index["special"].to_pylist()[:MOST]
    names = index["text"].to_pylist()[:MOST] if "text" in index.column_names else [""] * len(special)
    return {
        "doc": doc,
        "text": text,
        "count": count,
        "tokens": ["" if lone else name for name, lone in zip(names, special, strict=True)],
        "special": special,
        "norms": found.norms,
        "moves": found.moves,
        "cosines": hundredths(found.cosines),
        "coords": fixed(found.coords),
        "attention": None,
        "attention_layers": None,
    }
