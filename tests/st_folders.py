"""Folders of sentence-transformers around a model, and what sentence-transformers itself makes of texts with them."""

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.encode.recipe import SETTINGS

TRANSFORMER, POOLING = "sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"
NEW = {
    TRANSFORMER: "sentence_transformers.base.modules.transformer.Transformer",
    POOLING: "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def make_folder(
    model: Path,
    folder: Path,
    *,
    settings: dict[str, Any] | None = None,
    name: str = SETTINGS[0],
    pooling: dict[str, Any] | None = None,
    more: tuple[str, ...] = (),
    inner: str = "",
    new: bool = False,
) -> Path:
    """Write a folder of sentence-transformers around a model."""
    shutil.copytree(model, folder / inner)
    kinds = [
        (TRANSFORMER, inner),
        (POOLING, "1_Pooling"),
        *((kind, f"{n}_More") for n, kind in enumerate(more, 2)),
    ]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": NEW.get(kind, kind) if new else kind}
        for n, (kind, path) in enumerate(kinds)
    ]
    write(folder / "modules.json", modules)
    if settings is not None:
        write(folder / inner / name, settings)
    config = pooling if pooling is not None else {"pooling_mode_mean_tokens": True}
    write(folder / "1_Pooling/config.json", {"word_embedding_dimension": 32, **config})
    return folder


def sentence_transformer(folder: Path) -> Any:
    """The model of a folder by sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SentenceTransformer(str(folder), device="cpu")


def encoded(folder: Path, texts: Sequence[str], **options: Any) -> NDArray[np.float32]:
    """The vectors of texts by sentence-transformers: float32 (texts, width)."""
    model = sentence_transformer(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vectors: NDArray[np.float32] = model.encode(list(texts), batch_size=2, **options)
    return vectors
