"""Rows in memory whose labels stand where the test put them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layerwise.states import LayerStates


def states_of(
    layers: Sequence[NDArray[Any]],
    columns: Mapping[str, Sequence[Any] | NDArray[Any]],
    texts: Sequence[str] | None = None,
) -> LayerStates:
    """Text-level states with layers emb, 1, … as given, and carried columns."""
    count = len(layers[0])
    said = list(texts) if texts is not None else [f"text number {number}" for number in range(count)]
    about = {"doc": list(range(count)), "text": said, **{name: list(v) for name, v in columns.items()}}
    names = ["emb", *map(str, range(1, len(layers)))]
    table = pa.table(about)
    vectors = {name: np.asarray(v, np.float32) for name, v in zip(names, layers, strict=True)}
    return LayerStates(vectors, index=table, texts=table, blocks=len(layers) - 1, level="text", pool="mean")


def noise(rows: int, width: int, layers: int, seed: int = 0) -> list[NDArray[np.float32]]:
    """Layers of random numbers, of different sizes."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(rows, width)) * (1 + 3 * n) + n).astype(np.float32) for n in range(layers)]


def words_of(
    layers: Sequence[NDArray[Any]],
    sentences: Sequence[Sequence[str]],
    columns: Mapping[str, Sequence[Any] | NDArray[Any]],
) -> LayerStates:
    """Word-level states: a row per word of `sentences`, and columns with a value per word."""
    docs = [doc for doc, words in enumerate(sentences) for _ in words]
    flat = [word for words in sentences for word in words]
    index = pa.table({"doc": docs, "text": flat, **{name: list(v) for name, v in columns.items()}})
    texts = pa.table({"doc": list(range(len(sentences))), "text": [" ".join(w) for w in sentences]})
    names = ["emb", *map(str, range(1, len(layers)))]
    vectors = {name: np.asarray(v, np.float32) for name, v in zip(names, layers, strict=True)}
    return LayerStates(vectors, index=index, texts=texts, blocks=len(layers) - 1, level="word", pool="mean")


def leaking_documents(seed: int = 3) -> tuple[LayerStates, NDArray[Any], NDArray[Any]]:
    """24 documents of 12 texts, whose vectors tell their document and nothing else; a document has one label.

    Returns the rows, with the columns `y` and `document`, and per row its label and the number of its document.
    """
    documents, texts, width = 24, 12, 48
    rng = np.random.default_rng(seed)
    document = np.repeat(np.arange(documents), texts)
    label = rng.permutation(np.arange(documents) % 2)[document]
    vectors = 2 * rng.normal(size=(documents, width))[document] + rng.normal(size=(len(document), width))
    order = rng.permutation(len(document))
    document, label, vectors = document[order], label[order], vectors[order]
    names = [f"news {number}" for number in document]
    return states_of([vectors], {"y": label.astype(str), "document": names}), label, document
