"""Replace spans of texts by their kind, such as `[PERSON]`, before anything else sees the texts."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from layerwise.arguments import argument, is_offered
from layerwise.errors import RequestError, SourceError
from layerwise.example import Example
from layerwise.read.corpus import Corpus
from layerwise.read.file import File
from layerwise.read.lines import Line, read_lines
from layerwise.word_split import split_terms
from layerwise.wording import Message

_BATCH = 64  # records whose spans are looked for at once
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_LONGEST = 1 << 40  # no text has as many characters
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


def redaction_name(how: str) -> str:
    """Return what messages call a way to redact: the argument where the user can give it, else the way alone."""
    return argument("redact", how) if is_offered("redact") else how


def redacted(example: Example, spans: Sequence[PersonalSpan]) -> Example:
    """Return a text with its spans replaced by `[KIND]`; of pre-split words each word that a span touches."""
    if not spans:
        return example
    labels = tuple(span.label for span in spans)
    if example.words is not None:
        pieces = _of_words(example.words, spans)
        words = tuple(
            word if piece is None else f"[{piece.label}]"
            for word, piece in zip(example.words, pieces, strict=True)
        )
        replaced = tuple(piece for piece in pieces if piece is not None)
        return replace(example, text=" ".join(words), words=words, redacted=labels, replaced=replaced)
    parts, end = [], 0
    for span in spans:
        parts += [example.text[end : span.start], f"[{span.label}]"]
        end = span.end
    text = "".join([*parts, example.text[end:]])
    return replace(example, text=text, redacted=labels, replaced=tuple(spans))


def _of_words(words: Sequence[str], spans: Sequence[PersonalSpan]) -> list[PersonalSpan | None]:
    """Return for each word that a span touches the whole word with the kind of the first such span, else `None`."""
    out: list[PersonalSpan | None] = []
    start = 0
    for word in words:
        end = start + len(word)
        label = next((span.label for span in spans if span.start < end and start < span.end), None)
        out.append(None if label is None else PersonalSpan(start, end, label))
        start = end + 1
    return out


def original_span(example: Example, start: int, end: int) -> tuple[int, int]:
    """Return where a span of a redacted text lies in the text as it was; of a part of `[KIND]` all that it stands for."""
    return _original(example, start, is_end=False), _original(example, end, is_end=True)


def _original(example: Example, offset: int, *, is_end: bool) -> int:
    shift = 0  # of the redacted text against the original one
    for start, end, label in example.replaced:
        begin, length = start + shift, len(label) + len("[]")
        if offset < begin or (is_end and offset == begin):
            break
        if offset < begin + length:
            return end if is_end else start
        shift += length - (end - start)
    return offset - shift


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


def whole_words(text: str, spans: Sequence[PersonalSpan]) -> list[PersonalSpan]:
    """Return spans that each cover whole words, in order and apart: a part of a name would tell the rest of it.

    In scripts that put no spaces between words each letter is one; see `word_split.split_terms`.
    """
    if not spans:
        return []
    words = [(start, end) for start, end, _ in split_terms(text)]
    starts, ends = [start for start, _ in words], [end for _, end in words]

    def widened(span: PersonalSpan) -> PersonalSpan:
        touched = words[bisect_right(ends, span.start) : bisect_left(starts, span.end)]
        start = min([span.start, *(start for start, _ in touched[:1])])
        end = max([span.end, *(end for _, end in touched[-1:])])
        return PersonalSpan(start, end, span.label)

    return apart([widened(span) for span in spans])


def redact_records(
    corpus: Corpus, records: Iterator[tuple[Example, ...]], redactor: Redactor
) -> Iterator[tuple[Example, ...]]:
    """Yield the records of a corpus, redacted; notices go to the corpus after the last one."""
    how = redactor.facts.how or Message("note.redact.file")
    corpus.notices.append(Message("note.redacted", how=how))
    first = replaced = 0
    while batch := list(islice(records, _BATCH)):
        if corpus.skipped and isinstance(redactor, SpanFile):
            redactor.check_numbers()
        examples = redact_examples([example for record in batch for example in record], redactor, first)
        replaced += sum(len(example.redacted) for example in examples)
        place = 0
        for record in batch:
            yield tuple(examples[place : place + len(record)])
            place += len(record)
        first += len(examples)
    if not replaced:
        corpus.notices.append(Message("note.redact.none", how=how))
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
        self._text_of: dict[tuple[str, str], int] = {}
        for line in self._lines():
            if line.wrong is not None:
                raise self._wrong(
                    line.number, f"can't be read: {line.wrong.partition(';')[0]}; write it in UTF-8"
                )
            if line.text.strip():
                self._add(line.number, line.text)

    def _lines(self) -> Iterator[Line]:
        name = str(self.path)
        try:
            yield from read_lines(File(self.path, name, name), "utf-8")
        except SourceError as error:
            why = str(error).partition(";")[0]
            raise SourceError(f"can't read spans: {why}; give a file of JSON lines in UTF-8") from None

    def _add(self, number: int, line: str) -> None:
        value = _object(line)
        keys = [key for key in ("id", "doc") if value is not None and value.get(key) is not None]
        if value is None or len(keys) != 1 or not _names_text(keys[0], value[keys[0]]) or not _is_span(value):
            raise self._wrong(
                number,
                'is no span; give {"id" or "doc", "start", "end", "label"} with 0 <= start < end, a name or a number as id, '
                "the number of a text from 0 as doc, and a label of letters",
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

    def check_numbers(self) -> None:
        """Raise RequestError if spans have numbers of texts: bad records were skipped, and it isn't known which have a number."""
        if any(key == "doc" for key, _ in self._spans):
            raise RequestError(
                f"the spans in {self.path} name texts by doc, and the source has bad records, so the numbers may be those of "
                'other texts; name texts by "id", or mend the source'
            )

    def spans(self, examples: Sequence[Example], first: int) -> list[list[PersonalSpan]]:
        """Return the spans of each text.

        Raises:
            RequestError: a span that ends after its text, texts without ids where spans have ids, or two texts with the id
                of a span.
        """
        by_id = any(key == "id" for key, _ in self._spans)
        if by_id and any(example.id is None for example in examples):
            raise RequestError(
                f"the spans in {self.path} have ids and the texts have none; name the column in {argument('id')}"
            )
        return [self._of_text(example, first + place) for place, example in enumerate(examples)]

    def _of_text(self, example: Example, number: int) -> list[PersonalSpan]:
        keys = [key for key in (("doc", str(number)), ("id", str(example.id))) if key in self._spans]
        for key in keys:
            other = self._text_of.setdefault(key, number)
            if other != number:
                raise RequestError(
                    f"the spans in {self.path} name a text by an id that texts {other} and {number} both have; "
                    'name it by "doc", the number of the text'
                )
        spans = sorted(span for key in keys for span in self._spans[key])
        for before, after in pairwise(spans):
            if after.start < before.end:
                raise RequestError(
                    f"{self.path}: the span {after.start} to {after.end} of text {number} overlaps the span {before.start} to "
                    f"{before.end}, one named by id and the other by doc; join them"
                )
        for span in spans:
            if span.end > len(example.text):
                raise RequestError(
                    f"{self.path}: the span {span.start} to {span.end} of text {number} ends after the text, which has "
                    f"{len(example.text):,} characters; give offsets in code points of this text"
                )
        return spans

    def end(self) -> list[Message]:
        """Return a notice on spans of texts that there aren't."""
        unused = len(self._spans) - len(self._text_of)
        return [Message("note.redact.unused", n=unused, file=str(self.path))] if unused else []


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _names_text(key: str, value: Any) -> bool:
    return type(value) in (int, str) and (key == "id" or _NUMBER.fullmatch(str(value)) is not None)


def _is_span(value: dict[str, Any]) -> bool:
    start, end, label = (value.get(name) for name in ("start", "end", "label"))
    whole = type(start) is int and type(end) is int and 0 <= start < end < _LONGEST
    return whole and isinstance(label, str) and _LABEL.fullmatch(label.strip()) is not None
