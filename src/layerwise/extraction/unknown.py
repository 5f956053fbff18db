"""Notes of tokens that a model doesn't know: of a sample of the texts before the work, and of a finished dataset."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.example import Example
from layerwise.unknown import unknown_note

if TYPE_CHECKING:
    from layerwise.extraction.shard_maker import WorkerDescription
    from layerwise.store.manifest import Manifest

_LOG = logging.getLogger("layerwise")
_TEXTS, _CHARACTERS = 256, 65_536  # of a sample: it is tokenised in a few milliseconds
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile("[\u3041-\u30ff]")
_CHINESE = (
    0.3  # the share of ideographs among the characters of Chinese texts, digits and Latin names included
)
_MODELS = "bert-base-chinese or intfloat/multilingual-e5-small"


def sample_of(examples: Sequence[Example]) -> Iterator[Example]:
    """Yield a sample of texts, evenly spaced: at least one, and no more after 65,536 characters."""
    characters = 0
    for example in examples[:: -(-len(examples) // _TEXTS) or 1]:
        yield example
        characters += len(example.text)
        if characters >= _CHARACTERS:
            return


def tell_unknown_of_sample(worker: WorkerDescription, sample: Sequence[Example]) -> bool:
    """Log a note if more than one token in ten of a sample is unknown to the model; return whether it is so."""
    remedy = _remedy(worker.settings.word_split)
    if is_chinese([example.text for example in sample]):
        remedy = (
            f"choose a model that reads Chinese, such as {_MODELS} ({argument('model')}); where the hub can't be reached, its "
            "downloaded folder, or a mirror of the hub in the variable HF_ENDPOINT"
        )
    note = unknown_note(*worker.unknown, str(worker.model.id), remedy)
    if note is not None:
        _LOG.warning("in a sample of %s, %s", count_of(len(sample), "text"), note)
    return note is not None


def tell_unknown(manifest: Manifest) -> None:
    """Log a note if more than one token in ten of a dataset is unknown to its model."""
    remedy = _remedy(manifest.settings.word_split)
    note = unknown_note(manifest.totals.unknown, manifest.totals.tokens, manifest.model.id, remedy)
    if note is not None:
        _LOG.warning("%s", note)


def is_chinese(texts: Sequence[str]) -> bool:
    """Return whether texts are mostly Chinese: ideographs, and no kana among them as in Japanese."""
    joined = "".join("".join(texts).split())
    ideographs = len(_IDEOGRAPH.findall(joined))
    return ideographs > _CHINESE * len(joined) and len(_KANA.findall(joined)) < ideographs / 10


def _remedy(word_split: str | None) -> str:
    if word_split == "chars":
        return (
            f"choose a model of such sequences ({argument('model')}); if its tokenizer needs blanks between letters, give them "
            f"apart, as by {argument('words', 'sequence')}"
        )
    return f"choose a model that was made for their language or script ({argument('model')})"
