"""Choose how texts are redacted: by presidio, by a file of spans, by a head for tags, or by a model that labels tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from layerwise import choices, encode
from layerwise._util.guarded import digest_regular
from layerwise.errors import HeadError, LayerwiseError, RequestError
from layerwise.example import Example
from layerwise.heads.answers import Answer, answers
from layerwise.heads.head import HeadData
from layerwise.heads.inputs import encode_rows, load_model
from layerwise.heads.storage import JSON, TENSORS, read_head
from layerwise.heads.text_kind import TextKind, kind_of
from layerwise.read.presidio import NAME, Presidio
from layerwise.read.redaction import (
    PersonalSpan,
    RedactionFacts,
    Redactor,
    SpanFile,
    original_span,
    redact_examples,
    redaction_name,
    whole_words,
)
from layerwise.wording import Message

_ALLOWED = "presidio, a file of spans (JSON lines), the folder of a head for tags, or of a token-classification model"
FILE = "file"
_PLACES = ("spans", "words", "tokens")  # keys of an answer whose rows have offsets


class ModelRedactor:
    """Spans by a token-classification model of transformers."""

    def __init__(self, folder: Path) -> None:
        """Load the model."""
        checkpoint = encode.checkpoint.find_checkpoint(str(folder.absolute()))
        self._model = encode.token_classifier.TokenClassifier(checkpoint)
        self.facts = RedactionFacts("model", str(folder), _sha256(*checkpoint.files.hashes().values()))

    def spans(self, examples: Sequence[Example], first: int) -> list[list[PersonalSpan]]:
        """Return the spans of each text."""
        spans_of_texts = self._model.spans([example.text for example in examples])
        return [
            whole_words(example.text, [PersonalSpan(*span) for span in spans])
            for example, spans in zip(examples, spans_of_texts, strict=True)
        ]

    def end(self) -> list[Message]:
        """Return no notices."""
        return []


class HeadRedactor:
    """Spans by a head that tags words."""

    def __init__(self, folder: Path) -> None:
        """Load the head and its model.

        Raises:
            RequestError: a head without a task of tags, or whose rows depend on more than one text.
        """
        head = read_head(folder)
        _check_tags(head, redaction_name(str(folder)))
        # Whatever the training did with long texts, none of their words may be left out.
        overlap = choices.recorded_overlap(head.rows["long"], head.rows["overlap"])
        self._head = replace(head, rows={**head.rows, "long": "window", "overlap": overlap})
        self._encoder = load_model(self._head)
        self.facts = RedactionFacts("head", str(folder), _sha256(*_head_hashes(folder)))

    def spans(self, examples: Sequence[Example], first: int) -> list[list[PersonalSpan]]:
        """Return the spans of each text."""
        rows = encode_rows(self._head, self._encoder, [Example(e.text, e.words) for e in examples])
        answers_of_texts = answers(self._head, rows)
        return [
            whole_words(
                example.text, [PersonalSpan(s["start"], s["end"], s["label"]) for s in answer["spans"]]
            )
            for example, answer in zip(examples, answers_of_texts, strict=True)
        ]

    def end(self) -> list[Message]:
        """Return no notices."""
        return []


def _check_tags(head: HeadData, name: str) -> None:
    """Raise RequestError for a head that can't tag single texts as they are."""
    if [task.task for task in head.task_heads] != ["tag"]:
        tasks = ", ".join(f"{task.name} ({task.task})" for task in head.task_heads)
        raise RequestError(
            f"{name} needs a head with one task of tags, and this one has {tasks}; give another head"
        )
    if kind_of(head) != TextKind():
        raise RequestError(
            f"{name} needs a head that was trained on single texts, and this one on pairs, or on texts with the context of "
            "their documents; give another head"
        )
    if head.rows.get("redact") is not None:
        raise RequestError(
            f"{name} needs a head that was trained on texts as they are, and those of this one were redacted; give another head"
        )


def _head_hashes(folder: Path) -> tuple[str, ...]:
    return tuple(digest_regular(folder / name) for name in (JSON, TENSORS))


def _sha256(*hashes: str) -> str:
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


@lru_cache(maxsize=4)
def _of_folder(folder: Path, stamps: tuple[tuple[str, int, int, int], ...]) -> Redactor:
    """Return a head or a model; it is loaded once per process, and again after a file of its folder changes (`stamps`)."""
    return HeadRedactor(folder) if (folder / JSON).is_file() else ModelRedactor(folder)


def _stamps(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return name, number, size and time of modification of the files of a folder."""
    files = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return tuple((name, status.st_ino, status.st_size, status.st_mtime_ns) for name, status in files)


def open_redactor(how: str | Path) -> Redactor:
    """Return what finds the spans of texts.

    Raises:
        RequestError: nothing of that kind.
        LayerwiseError: a model or a file that can't be used.
    """
    text, path = str(how), Path(how)
    if text.partition(":")[0] == NAME:
        return Presidio(text)
    if (path / JSON).is_file() or (path / "config.json").is_file():
        return _of_folder(path, _stamps(path))
    if path.is_file():
        return SpanFile(path)
    raise RequestError(f"{redaction_name(text)} is none of these: {_ALLOWED}; give one of them")


def redact_as_trained(head: HeadData, examples: Sequence[Example]) -> Sequence[Example]:
    """Return texts redacted as those of the training of a head; unchanged if these weren't, or by a file of spans.

    Raises:
        HeadError: what redacted the texts of the training can't be used here, or has changed.
    """
    entry = head.rows.get("redact")
    if entry is None or entry["kind"] == FILE:
        return examples
    redactor = _as_trained(entry["kind"], entry["how"])
    if redactor.facts.sha256 != entry.get("sha256"):
        raise HeadError(
            f"the texts of the head's training were redacted by {entry['how']}, which has changed since; restore it, or train "
            "the head again"
        )
    return redact_examples(examples, redactor)


def _as_trained(kind: str, how: str) -> Redactor:
    """Return the redactor of a training.

    Raises:
        HeadError: it can't be used here.
    """
    trained = "the head was trained on redacted texts, and others have to be redacted likewise"
    if kind != NAME and not Path(how).is_dir():
        raise HeadError(
            f"{trained}, by {how}, which is no folder here; put the folder there, or start in the folder that its path begins in"
        )
    try:
        return open_redactor(how)
    except LayerwiseError as error:
        raise HeadError(f"{trained}: {error}") from None


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


def other_redaction_notes(head: HeadData, rows: Mapping[str, Any], dataset: str) -> list[Message]:
    """Return a note if the texts of a dataset weren't redacted like those of a training.

    Args:
        head: the head.
        rows: how the rows of the dataset were made; see `describe_rows`.
        dataset: the name of the dataset.
    """
    training, texts = head.rows.get("redact"), rows.get("redact")
    if training == texts:
        return []
    return [
        Message(
            "note.redact.differs", training=_redaction(training), dataset=dataset, texts=_redaction(texts)
        )
    ]


def _redaction(entry: Mapping[str, Any] | None) -> Message:
    if entry is None:
        return Message("note.redact.as.they.are")
    return Message("note.redact.by", how=entry.get("how") or Message("note.redact.file"))
