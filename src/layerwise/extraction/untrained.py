"""Encoding the texts of a dataset by untrained models of the same architecture, to see what the weights add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from layerwise._util.progress import SILENT, Tracker, counted
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.extraction.stored_model import load_stored_model, stored_request
from layerwise.extraction.stored_texts import has_texts, stored_examples
from layerwise.store import LayerDataset

if TYPE_CHECKING:
    from layerwise.array_types import I64
    from layerwise.encode.encoder import Encoder
    from layerwise.states import Layered, LayerStates

SEEDS = 3


class Untrained:
    """A model of the same architecture as a dataset's, with random weights; it encodes the same texts."""

    def __init__(self, dataset: LayerDataset, seed: int) -> None:
        self._dataset, self._seed = dataset, seed

    def __call__(self, layers: Sequence[str], docs: I64, track: Tracker = SILENT) -> LayerStates:
        """Return some layers of some texts, in memory; `docs` are their numbers, ascending."""
        encoder = _load(self._dataset, self._seed)
        request = stored_request(encoder, self._dataset.manifest.settings, list(layers))
        examples, only = stored_examples(self._dataset, docs.tolist())
        return encoder.states(examples, request, only=only, on_batch=counted(track, len(only)))


def untrained(dataset: Layered, seed: int) -> list[Untrained]:
    """Return models with random weights, of `SEEDS` seeds.

    Raises:
        RequestError: rows in memory, rows pooled from words, or texts that aren't stored.
        ModelError: a model that doesn't exist any more, another one under its name, or one with code of its own.
    """
    if not isinstance(dataset, LayerDataset):
        raise RequestError(
            f"{argument('random_model', True)} encodes the texts again, so it needs a dataset on disk, which records the "
            "model and the settings; these are rows in memory"
        )
    derived = dataset.manifest.derived
    if derived is not None and derived.level == "word":
        raise RequestError(
            f"{argument('random_model', True)} can't pool words to texts again; probe a dataset that `extract` made, "
            "or leave it out"
        )
    if not has_texts(dataset):
        raise RequestError(
            f"{argument('random_model', True)} encodes the texts again, and this dataset holds none; leave it out, or "
            f"extract without {argument('no_text', True)}"
        )
    _load(dataset, seed)  # before anything takes long
    return [Untrained(dataset, seed + number) for number in range(SEEDS)]


def _load(dataset: LayerDataset, seed: int) -> Encoder:
    leave_out = f"leave {argument('random_model', True)} out"
    return load_stored_model(
        dataset,
        remedy=f"restore that model, or {leave_out}",
        code_remedy=leave_out,
        hashes=("tokenizer", "config"),
        random=seed,
    )
