"""Replace spans of texts by their kind, such as `[PERSON]`, before anything else sees the texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from layerwise.arguments import argument
from layerwise.errors import RequestError, SourceError
from layerwise.example import Example
from layerwise.read.corpus import Corpus
from layerwise.wording import Message

_BATCH = 64  # records whose spans are looked for at once
_LABEL = re.compile(r"[\w .:/-]{1,60}")


class PersonalSpan(NamedTuple):
    """A span of a text to replace: code points from `start` up to `end`, and its kind."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class RedactionFacts:
    """How texts are redacted, for records: `kind` is presidio, file, head or model; `how` names it, `sha256` its content."""

    kind: str
    how: str | None = None
    sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields, without those that are `None`."""
        fields = {"kind": self.kind, "how": self.how, "sha256": self.sha256}
        return {name: value for name, value in fields.items() if value is not None}


class Redactor(Protocol):
    """Finds the spans of texts that are to be replaced."""

    @property
    def facts(self) -> RedactionFacts:
        """What it is, for records."""

    def spans(self, examples: Sequence[Example], first: int) -> list[list[PersonalSpan]]:
        """Return the spans of each text, in order and without overlap; `first` is the number of the first text."""

    def end(self) -> list[Message]:
        """Return notices after the last text."""


def redacted(example: Example, spans: Sequence[PersonalSpan]) -> Example:
    """Return a text with its spans replaced by `[KIND]`; of pre-split words each word that a span touches."""
    if not spans:
        return example
    labels = tuple(span.label for span in spans)
    if example.words is not None:
        words = _redacted_words(example.words, spans)
        return replace(example, text=" ".join(words), words=words, redacted=labels)
    parts, end = [], 0
    for span in spans:
        parts += [example.text[end : span.start], f"[{span.label}]"]
        end = span.end
    return replace(example, text="".join([*parts, example.text[end:]]), redacted=labels)


def _redacted_words(words: Sequence[str], spans: Sequence[PersonalSpan]) -> tuple[str, ...]:
    out, start = [], 0
    for word in words:
        end = start + len(word)
        label = next((span.label for span in spans if span.start < end and start < span.end), None)
        out.append(word if label is None else f"[{label}]")
        start = end + 1
    return tuple(out)


def apart(spans: Sequence[PersonalSpan]) -> list[PersonalSpan]:
    """Return spans in order; of those that overlap one that covers all of them, with the kind of the longest."""
    out: list[PersonalSpan] = []
    longest = 0
    for span in sorted(spans):
        if out and span.start < out[-1].end:
            last = out.pop()
            label = span.label if span.end - span.start > longest else last.label
            out.append(PersonalSpan(last.start, max(last.end, span.end), label))
            longest = max(longest, span.end - span.start)
        elif span.end > span.start:
            out.append(span)
            longest = span.end - span.start
    return out


def redact_records(
    corpus: Corpus, records: Iterator[tuple[Example, ...]], redactor: Redactor
) -> Iterator[tuple[Example, ...]]:
    """Yield the records of a corpus, redacted; notices go to the corpus after the last one."""
    corpus.notices.append(Message("note.redacted", how=redactor.facts.how or redactor.facts.kind))
    first = 0
    while batch := list(islice(records, _BATCH)):
        examples = redact_examples([example for record in batch for example in record], redactor, first)
        place = 0
        for record in batch:
            yield tuple(examples[place : place + len(record)])
            place += len(record)
        first += len(examples)
    corpus.notices += redactor.end()


def redact_examples(examples: Sequence[Example], redactor: Redactor, first: int = 0) -> list[Example]:
    """Return texts with their spans replaced; `first` is the number of the first text."""
    spans = redactor.spans(examples, first)
    return [redacted(example, spans_of_text) for example, spans_of_text in zip(examples, spans, strict=True)]


class SpanFile:
    """Spans from a file of JSON lines: `{"id" or "doc", "start", "end", "label"}`, those of a text in order."""

    def __init__(self, path: str | Path) -> None:
        """Read and check the file.

        Raises:
            SourceError: a file that can't be read, or the first line that isn't a span in order.
        """
        self.path = Path(path)
        self._spans: dict[tuple[str, str], list[PersonalSpan]] = {}
        self._used: set[tuple[str, str]] = set()
        for number, line in enumerate(self._lines(), 1):
            if line.strip():
                self._add(number, line)

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(
                f"can't read the spans in {self.path}: {type(error).__name__}; give a file of JSON lines in UTF-8"
            ) from None

    def _add(self, number: int, line: str) -> None:
        value = _object(line)
        keys = [key for key in ("id", "doc") if value is not None and value.get(key) is not None]
        if value is None or len(keys) != 1 or not _is_span(value):
            raise self._wrong(
                number,
                'is no span; give {"id" or "doc", "start", "end", "label"} with 0 <= start < end and a label of letters',
            )
        spans = self._spans.setdefault((keys[0], str(value[keys[0]])), [])
        span = PersonalSpan(value["start"], value["end"], value["label"].strip())
        if spans and span.start < spans[-1].end:
            overlap = "overlaps" if span.end > spans[-1].start else "is out of order after"
            last = f"{spans[-1].start} to {spans[-1].end}"
            raise self._wrong(
                number,
                f"({span.start} to {span.end}) {overlap} the span before it ({last}); sort them, and join those that overlap",
            )
        spans.append(span)

    def _wrong(self, number: int, what: str) -> SourceError:
        return SourceError(f"{self.path}, line {number} {what}")

    @property
    def facts(self) -> RedactionFacts:
        """A file; it holds spans of these texts only, so neither its name nor its content is a setting."""
        return RedactionFacts("file")

    def spans(self, examples: Sequence[Example], first: int) -> list[list[PersonalSpan]]:
        """Return the spans of each text.

        Raises:
            RequestError: a span that ends after its text, or texts without ids where spans have ids.
        """
        by_id = any(key == "id" for key, _ in self._spans)
        if by_id and any(example.id is None for example in examples):
            raise RequestError(
                f"the spans in {self.path} have ids and the texts have none; name the column in {argument('id')}"
            )
        return [self._of_text(example, first + place) for place, example in enumerate(examples)]

    def _of_text(self, example: Example, number: int) -> list[PersonalSpan]:
        keys = [("doc", str(number)), ("id", str(example.id))]
        self._used.update(key for key in keys if key in self._spans)
        spans = sorted(span for key in keys for span in self._spans.get(key, ()))
        for span in spans:
            if span.end > len(example.text):
                raise RequestError(
                    f"{self.path}: the span {span.start} to {span.end} of text {number} ends after the text, which has "
                    f"{len(example.text):,} characters; give offsets in code points of this text"
                )
        return apart(spans)

    def end(self) -> list[Message]:
        """Return a notice on spans of texts that there aren't."""
        unused = len(self._spans) - len(self._used)
        return [Message("note.redact.unused", n=unused, file=str(self.path))] if unused else []


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_span(value: dict[str, Any]) -> bool:
    start, end, label = (value.get(name) for name in ("start", "end", "label"))
    whole = type(start) is int and type(end) is int and 0 <= start < end
    return whole and isinstance(label, str) and _LABEL.fullmatch(label.strip()) is not None
