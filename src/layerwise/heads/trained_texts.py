"""Whether a head is scored on the texts that it was trained on.

A head records the number of the texts of its dataset, and a sum of their hashes. The sum of several hashes names no single text,
and it is the same for a dataset, for the file that it was extracted from, and for these texts in another order. Where a dataset
stores no texts, its own hash takes the place of the sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from layerwise.arguments import argument
from layerwise.states import Layered
from layerwise.store.result_provenance import fingerprint
from layerwise.wording import Message

_BYTES = 16  # of the hash of a text


class TextsDigest:
    """The number of texts, and the sum of their BLAKE2b hashes modulo 2**128, collected part by part."""

    def __init__(self) -> None:
        self.texts = 0
        self._sum = 0

    def add(self, rows: Layered) -> TextsDigest:
        """Add all texts of a dataset or of states in memory, and return the digest."""
        for part in rows.parts():
            self.texts += part.texts.num_rows
            if "text" not in part.texts.column_names:
                self._sum = int(fingerprint(rows)[: 2 * _BYTES], 16)
                continue
            for text in part.texts["text"].to_pylist():
                self._sum += int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_BYTES).digest())
        return self

    def to_json(self) -> dict[str, Any]:
        """Return the record of the digest."""
        return {"number": self.texts, "sum": f"{self._sum % (1 << 8 * _BYTES):0{2 * _BYTES}x}"}


def trained_note(training: Mapping[str, Any], texts: TextsDigest) -> list[Message]:
    """Return a note if texts are those of the dataset that a head was trained on.

    Args:
        training: the record of the head's training.
        texts: of the texts that the head is scored on.
    """
    if training.get("texts") != texts.to_json():
        return []
    if training.get("split"):
        return [Message("note.trained.split", n=texts.texts, option=argument("split", training["split"]))]
    return [Message("note.trained", n=texts.texts)]
