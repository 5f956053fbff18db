"""Choose how texts are redacted: by presidio, by a file of spans, by a head for tags, or by a model that labels tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from layerwise import encode
from layerwise.arguments import argument
from layerwise.errors import HeadError, RequestError
from layerwise.example import Example
from layerwise.heads.answers import Answer, answers
from layerwise.heads.head import HeadData
from layerwise.heads.inputs import encode_rows, load_model
from layerwise.heads.storage import JSON, TENSORS, read_head
from layerwise.read.presidio import NAME, Presidio
from layerwise.read.redaction import (
    PersonalSpan,
    RedactionFacts,
    Redactor,
    SpanFile,
    apart,
    original_span,
    redact_examples,
)
from layerwise.wording import Message

_ALLOWED = "presidio, a file of spans (JSON lines), the folder of a head for tags, or of a token-classification model"
FILE = "file"
_PLACES = ("spans", "words", "tokens")  # keys of an answer whose rows have offsets


class ModelRedactor:
    """Spans by a token-classification model of transformers."""

    def __init__(self, folder: Path) -> None:
        """Load the model."""
        self._model = encode.token_classifier.TokenClassifier(folder)
        self.facts = RedactionFacts("model", str(folder), _sha256(sorted(folder.glob("*.safetensors"))))

    def spans(self, examples: Sequence[Example], first: int) -> list[list[PersonalSpan]]:
        """Return the spans of each text."""
        spans_of_texts = self._model.spans([example.text for example in examples])
        return [apart([PersonalSpan(*span) for span in spans]) for spans in spans_of_texts]

    def end(self) -> list[Message]:
        """Return no notices."""
        return []


class HeadRedactor:
    """Spans by a head that tags words."""

    def __init__(self, folder: Path) -> None:
        """Load the head and its model.

        Raises:
            RequestError: a head without a task of tags.
        """
        self._head = read_head(folder)
        if [task.task for task in self._head.task_heads] != ["tag"]:
            raise RequestError(
                f"{argument('redact', str(folder))} needs a head with one task of tags, and this one has "
                f"{', '.join(f'{task.name} ({task.task})' for task in self._head.task_heads)}; give another head"
            )
        self._encoder = load_model(self._head)
        self.facts = RedactionFacts("head", str(folder), _sha256([folder / TENSORS]))

    def spans(self, examples: Sequence[Example], first: int) -> list[list[PersonalSpan]]:
        """Return the spans of each text."""
        rows = encode_rows(self._head, self._encoder, [Example(e.text, e.words) for e in examples])
        answers_of_texts = answers(self._head, rows)
        return [
            apart([PersonalSpan(s["start"], s["end"], s["label"]) for s in answer["spans"]])
            for answer in answers_of_texts
        ]

    def end(self) -> list[Message]:
        """Return no notices."""
        return []


def _sha256(files: Sequence[Path]) -> str:
    state = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                state.update(block)
    return state.hexdigest()


@lru_cache(maxsize=4)
def _loaded(how: str) -> Redactor | None:
    """Return presidio or a model, loaded once per process; `None` for anything else."""
    if how.partition(":")[0] == NAME:
        return Presidio(how)
    if (Path(how) / JSON).is_file():
        return HeadRedactor(Path(how))
    return ModelRedactor(Path(how)) if (Path(how) / "config.json").is_file() else None


def open_redactor(how: str | Path) -> Redactor:
    """Return what finds the spans of texts.

    Raises:
        RequestError: nothing of that kind.
        LayerwiseError: a model or a file that can't be used.
    """
    text = str(how)
    redactor = _loaded(text)
    if redactor is not None:
        return redactor
    if Path(text).is_file():
        return SpanFile(text)
    raise RequestError(f"{argument('redact', text)} is none of these: {_ALLOWED}; give one of them")


def redact_as_trained(head: HeadData, examples: Sequence[Example]) -> Sequence[Example]:
    """Return texts redacted as those of the training of a head; unchanged if these weren't, or by a file of spans.

    Raises:
        HeadError: what redacted the texts of the training has changed.
        LayerwiseError: it can't be loaded.
    """
    entry = head.rows.get("redact")
    if entry is None or entry["kind"] == FILE:
        return examples
    redactor = open_redactor(entry["how"])
    if redactor.facts.sha256 != entry.get("sha256"):
        raise HeadError(
            f"the texts of the head's training were redacted by {entry['how']}, which has changed since; restore it, or train "
            "the head again"
        )
    return redact_examples(examples, redactor)


def in_original(answer: Answer, example: Example) -> Answer:
    """Return the answer of a task with offsets in the text before it was redacted; the text of spans stays redacted.

    Args:
        answer: for the redacted text.
        example: the redacted text.
    """
    if not example.replaced:
        return answer
    moved = {key: [_moved(row, example) for row in answer[key]] for key in _PLACES if key in answer}
    return {**answer, **moved}


def _moved(row: Answer, example: Example) -> Answer:
    if row["start"] is None:
        return row
    start, end = original_span(example, row["start"], row["end"])
    return {**row, "start": start, "end": end}


def redaction_notes(head: HeadData) -> list[Message]:
    """Return a note if the texts of a training were redacted by a file of spans, which no other text has."""
    entry = head.rows.get("redact")
    return [Message("note.redact.predict")] if entry is not None and entry["kind"] == FILE else []
