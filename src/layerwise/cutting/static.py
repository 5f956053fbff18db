"""Write a table of token vectors of one layer, as a folder of model2vec: each token encoded alone, PCA, SIF weights.

The recipe is that of model2vec (Tulkens and van Dongen 2024), with any layer in place of the last. A text is then the mean
of its tokens' vectors, without the model.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from layerwise._util.progress import Tracker
from layerwise.array_types import F32, F64
from layerwise.cutting.card import card, source_name
from layerwise.cutting.description import described
from layerwise.cutting.folder import source_facts, steps_note, write_json
from layerwise.cutting.plan import CutPlan
from layerwise.cutting.result import CutModel
from layerwise.encode.cut_parity import checked_model
from layerwise.encode.cut_source import CutSource
from layerwise.encode.hf import reports
from layerwise.encode.taps import hidden_states
from layerwise.errors import ModelError
from layerwise.store import disk
from layerwise.wording import Message

DIMENSIONS = 256
SIF = 1e-4  # Arora et al. 2017
_BATCH = 1024  # tokens encoded at once, each with the special tokens around it
_USAGE = """\
from model2vec import StaticModel
model = StaticModel.from_pretrained("path/to/this/folder")
vectors = model.encode(["Hello, world!"])"""


def write_static(source: CutSource, plan: CutPlan, folder: Path, track: Tracker) -> CutModel:
    """Write a table of token vectors into an existing empty folder.

    Args:
        source: the model.
        plan: the layer.
        folder: where.
        track: progress over the tokens.

    Returns:
        what was written; `out` is the name of the folder.

    Raises:
        ModelError: a tokenizer that isn't of the `tokenizers` library, or a model that can't be cut there.
    """
    backend = source.loaded.backend
    if not hasattr(backend, "to_str"):
        raise ModelError(
            f"model {source.name!r}: its tokenizer ({type(source.loaded.tokenizer).__name__}) can't be written as "
            "tokenizer.json, which model2vec reads; use a model with one"
        )
    ids = sorted(backend.get_vocab().values())
    vectors = token_vectors(source, plan, np.array(ids), track)
    table = np.zeros((ids[-1] + 1, min(DIMENSIONS, vectors.shape[1])), np.float32)
    table[ids] = sif_weights(len(ids))[:, None] * principal(vectors, table.shape[1])
    tensors = {"embeddings": table}
    if len(ids) != len(table):  # numbers without a token
        tensors["mapping"] = np.arange(len(table), dtype=np.int64)
    disk.write_file(folder / "model.safetensors", save(tensors))
    disk.write_file(folder / "tokenizer.json", backend.to_str().encode())
    for name, content in _settings(source, table).items():
        write_json(folder / name, content)
    notes = (*steps_note(source), *_text_notes(source))
    disk.write_file(folder / "README.md", card(source, plan, "model2vec", _USAGE, notes).encode())
    written = CutModel(
        out=str(folder),
        to="static",
        at=plan.layer,
        dropped=(),
        blocks=0,
        width=table.shape[1],
        parameters=table.size,
        bytes=0,
        source=source_facts(source),
        parity={},
        notes=notes,
    )
    return described(written, source, folder)


@torch.inference_mode()
def token_vectors(source: CutSource, plan: CutPlan, ids: Any, track: Tracker) -> F32:
    """Return the vector of each token, encoded alone: the mean of it and the special tokens around it.

    Args:
        source, plan: the model and the layer.
        ids: the numbers of the tokens, int64 (n,).
        track: progress over the tokens.

    Returns:
        float32 (n, width)
    """
    model = checked_model(source, plan.at).model
    device = next(model.parameters()).device
    vectors = []
    with reports.without_reports():
        for batch in _framed(source, ids, track):
            inputs = {"input_ids": torch.from_numpy(batch).to(device)}
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            states = hidden_states(model(**inputs, output_hidden_states=True))
            vectors.append(states[-1].float().mean(dim=1).cpu().numpy())
    return np.concatenate(vectors)


def _framed(source: CutSource, ids: Any, track: Tracker) -> Iterator[Any]:
    """Yield batches of tokens with the special tokens that a text has around it, int64 (tokens, length)."""
    text = source.tokenizer.texts(["a"])[0]
    before, after = text.ids[: text.prefix], text.ids[len(text.ids) - text.suffix :]
    starts = range(0, len(ids), _BATCH)
    for start, _ in track.each(starts, [f"token {start:,} of {len(ids):,}" for start in starts]):
        batch = ids[start : start + _BATCH, None]
        yield np.hstack([np.tile(before, (len(batch), 1)), batch, np.tile(after, (len(batch), 1))]).astype(
            np.int64
        )


def principal(vectors: F32, dimensions: int) -> F64:
    """Return vectors (n, width) in the directions of most variance around their mean, float64 (n, dimensions).

    The sign of each direction is that of its largest component.
    """
    centred = np.asarray(vectors, np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    top = directions[:, ::-1][:, :dimensions]
    top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(top.shape[1])])
    projected: F64 = centred @ top
    return projected


def sif_weights(count: int) -> F64:
    """Return the weight of each token by its rank in the vocabulary, float64 (count,): a / (a + p).

    p is the share of the token by Zipf's law, 1 / (rank + 2) of all; a is 1e-4 (Arora et al. 2017). Vocabularies list
    tokens by frequency.
    """
    inverse = 1 / (np.arange(count) + 2)
    weights: F64 = SIF / (SIF + inverse / inverse.sum())
    return weights


def _settings(source: CutSource, table: F32) -> dict[str, Any]:
    """Return the JSON files of the folder, for model2vec and for sentence-transformers."""
    static, normalize = (
        "sentence_transformers.models.StaticEmbedding",
        "sentence_transformers.models.Normalize",
    )
    return {
        "config.json": {
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "tokenizer_name": source_name(source),
            "apply_pca": table.shape[1],
            "sif_coefficient": SIF,
            "hidden_dim": table.shape[1],
            "seq_length": 1000000,
            "normalize": True,
            "pooling": "mean",
            "embedding_dtype": "float32",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": ".", "type": static},
            {"idx": 1, "name": "1", "path": "1_Normalize", "type": normalize},
        ],
    }


def _text_notes(source: CutSource) -> list[Message]:
    """Return notes on what the source does to a text, and a table doesn't."""
    checkpoint = source.checkpoint
    prompt = checkpoint.prompts.default
    notes = [] if prompt is None else [Message("note.cut.static.prompt", prompt=repr(prompt))]
    return [*notes, Message("note.cut.lowercase")] if checkpoint.lowercase else notes
