"""Models of transformers that label tokens: they find spans of a text, to redact them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers

from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.hf import reports
from layerwise.encode.limits import max_length, position_table
from layerwise.errors import ModelError

_STRIDE = 4  # neighbouring windows of a long text share a quarter
_LONGEST = 512  # tokens of a window
_OUTSIDE = "O"
_BEGINS = ("B", "S", "U")
_Labelling = tuple[int, int, str]


class TokenClassifier:
    """A folder with a token-classification model, such as one that names persons; safetensors only, without code."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Load model and tokenizer.

        Raises:
            ModelError: no such model, one whose weights lack a part, labels without "O", or a tokenizer without offsets.
        """
        folder = checkpoint.folder
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            with reports.quiet():
                config = transformers.AutoConfig.from_pretrained(folder, **local)
                if not any("TokenClassification" in name for name in config.architectures or ()):
                    raise ModelError(
                        f"{folder} holds {', '.join(config.architectures or ('no model',))}, which labels no tokens; give a "
                        "token-classification model, or a head for tags"
                    )
                model, info = transformers.AutoModelForTokenClassification.from_pretrained(
                    folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **local
                )
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"can't load {folder}: {str(error).splitlines()[0]:.200}; give another folder"
            ) from None
        if info["missing_keys"]:
            raise ModelError(
                f"the weights of {folder} lack {min(info['missing_keys'])}, which would be filled with random numbers; give the "
                "folder of a trained model"
            )
        if not tokenizer.is_fast:
            raise ModelError(
                f"the tokenizer of {folder} gives no offsets; give a model with a fast tokenizer"
            )
        self._names = {number: str(name) for number, name in config.id2label.items()}
        if _OUTSIDE not in self._names.values():
            raise ModelError(
                f"{folder} has the labels {', '.join(self._names.values()):.100}, and none is {_OUTSIDE!r}, the label of tokens "
                "without a kind; name its labels in id2label of its config.json"
            )
        self._folder, self._tokenizer = folder, tokenizer
        self._model = model.eval().requires_grad_(False)
        self._length = min(max_length(checkpoint, config, tokenizer, position_table(model)), _LONGEST)

    def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int, str]]]:
        """Return start, end and kind of the spans of each text, in code points; neighbouring tokens of a kind are one span.

        Those of neighbouring windows of a long text may overlap.

        Raises:
            ModelError: numbers that aren't finite.
        """
        return [self._of_text(text) for text in texts]

    def _of_text(self, text: str) -> list[_Labelling]:
        if not text.strip():
            return []
        encoded = self._tokenizer(
            text,
            truncation=True,
            max_length=self._length,
            stride=self._length // _STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        spans: list[_Labelling] = []
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            spans += _joined(text, offsets, self._labels(ids))
        return spans

    def _labels(self, ids: list[int]) -> list[str]:
        """Return the label of each token of a window."""
        numbers = torch.tensor([ids])
        with torch.inference_mode(), reports.without_reports():
            logits = self._model(input_ids=numbers, attention_mask=torch.ones_like(numbers)).logits[0]
        if logits.isnan().any():
            raise ModelError(
                f"{self._folder} gives numbers that aren't finite, so it finds nothing; give another model"
            )
        return [self._names[number] for number in logits.argmax(-1).tolist()]


def _joined(text: str, offsets: Sequence[tuple[int, int]], labels: Sequence[str]) -> list[_Labelling]:
    """Return the spans of a window: tokens of one kind that follow each other are joined, up to one that begins a span."""
    spans: list[_Labelling] = []
    joins = False
    for start, end, label in _without_blanks(text, offsets, labels):
        prefix, kind = (label[0], label[2:]) if label[1:2] == "-" else ("", label)
        if joins and prefix not in _BEGINS and spans[-1][2] == kind:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]), kind)
        elif label != _OUTSIDE:
            spans.append((start, end, kind))
        joins = label != _OUTSIDE
    return spans


def _without_blanks(
    text: str, offsets: Sequence[tuple[int, int]], labels: Sequence[str]
) -> Iterator[_Labelling]:
    """Yield tokens without the blanks around them, and without those that are blank, or special."""
    for (start, end), label in zip(offsets, labels, strict=True):
        token = text[start:end]
        begin = start + len(token) - len(token.lstrip())
        if token.strip():
            yield begin, begin + len(token.strip()), label
