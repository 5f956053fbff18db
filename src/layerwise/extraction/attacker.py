"""What someone who holds a dataset and its model knows: the table of token embeddings; and the tokens of its texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from layerwise.arguments import argument
from layerwise.array_types import F32, I64
from layerwise.errors import RequestError
from layerwise.extraction.stored_model import load_stored_model, stored_request
from layerwise.extraction.stored_texts import has_texts, stored_examples
from layerwise.extraction.verify import consecutive, examples_of
from layerwise.states import Layered
from layerwise.store import LayerDataset


def table_and_tokens(
    dataset: Layered, source: str | Path | Sequence[str | Path] | None, docs: I64
) -> tuple[F32, pa.Table, I64]:
    """Return the embedding table of a dataset's model, the tokens of some of its texts, and the special tokens.

    Args:
        dataset: on disk.
        source: the texts that it was made from, if it stores none; nothing of them is stored.
        docs: the numbers of the texts, ascending.

    Returns:
        float32 (V, d); an index of level token with `doc`, `token_id`, `word` and `special`; int64 (m,).

    Raises:
        RequestError: rows in memory, whose model isn't known, or no texts.
        ModelError: the model can't be found, or has changed.
    """
    if not isinstance(dataset, LayerDataset):
        raise RequestError(
            "leakage is measured with the model's own table of embeddings, and rows in memory name no model; give a "
            "dataset on disk"
        )
    if source is None and not has_texts(dataset):
        raise RequestError(
            f"the dataset stores no texts to compare with what is recovered; give those that it was made from in "
            f"{argument('source')}; nothing of them is stored"
        )
    numbers = docs.tolist()
    if source is None:
        examples, only = stored_examples(dataset, numbers)
    else:
        examples, only = consecutive(examples_of(dataset, source, numbers))
    encoder = load_stored_model(dataset, remedy="put the model of the dataset back where it was")
    request = stored_request(encoder, dataset.manifest.settings, "emb", level="token")
    index = encoder.plan(examples, request, only=only).index
    index = index.set_column(
        index.column_names.index("doc"), "doc", pa.array(docs[index["doc"].to_numpy()], pa.int64())
    )
    ids, special = index["token_id"].to_numpy(), index["special"].to_numpy()
    return encoder.token_table(), index, np.unique(ids[special]).astype(np.int64)
