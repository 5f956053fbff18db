"""Models of transformers that label tokens: they find spans of a text, to redact them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from layerwise.encode.hf import reports
from layerwise.errors import ModelError

_STRIDE = 4  # neighbouring windows of a long text share a quarter


class TokenClassifier:
    """A folder with a token-classification model, such as one that names persons; safetensors only, without code."""

    def __init__(self, folder: Path) -> None:
        """Load model and tokenizer.

        Raises:
            ModelError: no such model, or a tokenizer without offsets.
        """
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            with reports.quiet():
                config = transformers.AutoConfig.from_pretrained(folder, **local)
                if not any("TokenClassification" in name for name in config.architectures or ()):
                    raise ModelError(
                        f"{folder} holds {', '.join(config.architectures or ('no model',))}, which labels no tokens; give a "
                        "token-classification model, or a head for tags"
                    )
                model = transformers.AutoModelForTokenClassification.from_pretrained(
                    folder, use_safetensors=True, dtype=torch.float32, **local
                )
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"can't load {folder}: {str(error).splitlines()[0]:.200}; give another folder"
            ) from None
        if not tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer of {folder} gives no offsets; give a model with a fast tokenizer"
            )
        self._model, self._tokenizer = model.eval().requires_grad_(False), tokenizer
        limit = getattr(config, "max_position_embeddings", None) or 512
        self._length = min(limit, tokenizer.model_max_length, 512)
        self._names = {number: str(name) for number, name in config.id2label.items()}

    def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int, str]]]:
        """Return start, end and kind of the spans of each text, in code points; neighbouring tokens of a kind are one span."""
        return [self._of_text(text) for text in texts]

    def _of_text(self, text: str) -> list[tuple[int, int, str]]:
        encoded = self._tokenizer(
            text,
            truncation=True,
            max_length=self._length,
            stride=self._length // _STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        spans: list[tuple[int, int, str]] = []
        for ids, mask, offsets in zip(
            encoded["input_ids"], encoded["attention_mask"], encoded["offset_mapping"], strict=True
        ):
            with torch.inference_mode(), reports.quiet():
                logits = self._model(
                    input_ids=torch.tensor([ids]), attention_mask=torch.tensor([mask])
                ).logits[0]
            spans += _joined(text, offsets, [self._names[number] for number in logits.argmax(-1).tolist()])
        return spans


def _joined(
    text: str, offsets: Sequence[tuple[int, int]], labels: Sequence[str]
) -> list[tuple[int, int, str]]:
    """Return the spans of the tokens of a window: those of one kind with nothing but blanks between them are joined."""
    spans: list[tuple[int, int, str]] = []
    for (start, end), label in zip(offsets, labels, strict=True):
        prefix, kind = (label[0], label[2:]) if label[1:2] == "-" else ("", label)
        if label == "O" or start == end:
            continue
        begins = prefix in ("B", "S", "U")
        last = spans[-1] if spans else None
        touches = last is not None and last[1] == start
        if last and last[2] == kind and not text[last[1] : start].strip() and (touches or not begins):
            spans[-1] = (last[0], end, kind)
        else:
            spans.append((start, end, kind))
    return spans
