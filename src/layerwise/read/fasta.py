"""FASTA: sequences of proteins, DNA and RNA, each after a line `>id description`."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.read.file import File
from layerwise.read.lines import LONGEST, Line, read_lines
from layerwise.read.options import ReaderOptions
from layerwise.read.reader import Reader
from layerwise.read.record import LISTED, Columns, Record, Skipped, quoted, shown, without_marks
from layerwise.wording import Message, some

ID, DESCRIPTION, SEQUENCE = "id", "description", "sequence"
_OF_FORMAT = (ID, DESCRIPTION, SEQUENCE)
_PEEK_RECORDS, _PEEK_BYTES = 100, 1 << 20
_KEY = r"[A-Za-z][\w.-]*"
_BRACKETED = re.compile(rf"\[({_KEY})=([^\]]*)\]")  # NCBI: [gene=thrL] [protein=thr operon leader]
_BARE = re.compile(rf"(?:^|[\s;])({_KEY})=")
# UniProt: OS=Homo sapiens OX=9606. Its keys are two capitals, and what stands in its values may look like another key.
_IS_UNIPROT, _OF_UNIPROT = re.compile(r"(?:^|\s)OX=\d"), re.compile(r"(?:^|\s)([A-Z]{2})=")
_BLANK = re.compile(r"\s")
# What is counted in sequences and told, in this order: keys of the catalogue.
_COUNTED = ("stop", "gap", "lower", "blank", "comment", "nameless", "again", "twice")


@dataclass(slots=True)
class _Lines:
    """The lines of one record: the header without its `>`, those of the sequence, and what is wrong with them."""

    number: int
    header: str
    parts: list[str] = field(default_factory=list)
    size: int = 0
    comments: int = 0
    wrong: str | None = None

    def add(self, line: Line) -> None:
        """Add a line of the sequence."""
        text = line.text.strip()
        self.size += len(text)
        if self.wrong is None and line.wrong is not None:
            self.wrong = f"line {line.number}: {line.wrong}"
        elif self.wrong is None and ">" in text:
            self.wrong = f"line {line.number} has '>' within a sequence; a record begins with it, in a new line; correct it"
        elif self.wrong is None and self.size > LONGEST:
            self.parts, self.wrong = [], f"its sequence has more than {LONGEST:,} letters; divide it"
        if self.wrong is None:
            self.parts.append(text)


class FastaReader(Reader):
    """One record per sequence, with the columns `id`, `description` (the header after the id) and `sequence`.

    The fields `key=value` of a header are columns too. The letters of a sequence stay as they are; what is unusual in
    them is counted, and told at the end of a pass.
    """

    def __init__(self, options: ReaderOptions) -> None:
        super().__init__(options)
        if options.text is None and options.words is None:
            self.texts = (SEQUENCE,)
        self.id = options.id or ID
        self._forget()

    def _forget(self) -> None:
        self._letters: Counter[str] = Counter()
        self._sequences: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._keys: dict[str, None] = {}
        self._ids: set[int] = set()  # hashes: the ids of a genome need a lot of memory

    def check(self, file: File) -> None:
        """Check that the file begins with a header; find the columns of its first records (up to 100, up to one MiB)."""
        names = dict.fromkeys(_OF_FORMAT)
        for lines in islice(_records(file, self.options.encoding), _PEEK_RECORDS):
            names.update(dict.fromkeys(_fields(lines.header, "")))
            if file.done > _PEEK_BYTES:
                break
        file.done = 0
        self.agree(file, Columns(tuple(names), frozenset(_OF_FORMAT)))

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per sequence."""
        for lines in _records(file, self.options.encoding):
            sequence = "".join(lines.parts)
            if lines.wrong is None and not sequence:
                lines.wrong = (
                    f"the record {quoted(shown(lines.header))} has no sequence; give it one, or leave such records out with "
                    f"{argument('skip_bad', True)}"
                )
            if lines.wrong is not None:
                yield Skipped(file.label, lines.number, lines.wrong)
                continue
            fields = _fields(lines.header, _BLANK.sub("", sequence))
            self._count(lines, sequence, fields)
            if self.words == SEQUENCE:
                fields[SEQUENCE] = list(fields[SEQUENCE])
            yield Record(lines.number, fields)

    def end(self) -> None:
        """Add the notices of what was counted in a pass over all files."""
        super().end()
        if self._keys:
            keys = some([repr(key) for key in self._keys], LISTED)
            self._add_notice(Message("note.read.fasta.fields", keys=keys))
        for kind in _COUNTED:
            if count := self._sequences[kind]:
                first = without_marks(quoted(self._first[kind]), quote=self.options.quote)
                counts = {"n": count, "of": self._sequences["all"], "letters": self._letters[kind]}
                self._add_notice(Message(f"note.read.fasta.{kind}", first=first, **counts))
        self._forget()

    def _count(self, lines: _Lines, sequence: str, fields: dict[str, Any]) -> None:
        self._sequences["all"] += 1
        self._tally("stop", sequence.count("*"))
        self._tally("gap", sequence.count("-") + sequence.count("."))
        # Most sequences are in upper case, and comparing them is faster than counting.
        self._tally("lower", 0 if sequence == sequence.upper() else sum(map(str.islower, sequence)))
        self._tally("blank", len(sequence) - len(fields[SEQUENCE]))
        self._tally("comment", lines.comments)
        keys = [key for key, _ in _pairs(fields[DESCRIPTION])]
        twice = [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
        self._tally("twice", len(twice), ", ".join(map(repr, twice[:1])))
        self._keys.update(dict.fromkeys(name for name in fields if name not in _OF_FORMAT))
        identity = fields[ID]
        self._tally("nameless", identity is None)
        self._tally("again", identity is not None and hash(identity) in self._ids, repr(identity))
        self._ids.add(hash(identity))

    def _tally(self, kind: str, count: int, example: str = "") -> None:
        if count:
            self._letters[kind] += count
            self._sequences[kind] += 1
            self._first.setdefault(kind, example)


def _records(file: File, encoding: str) -> Iterator[_Lines]:
    """Yield the lines of each record.

    Raises:
        SourceError: text before the first header; or as `read_lines`.
    """
    record: _Lines | None = None
    comments = 0
    for line in read_lines(file, encoding):
        if line.text.startswith(">"):
            if record is not None:
                yield record
            record = _Lines(line.number, line.text[1:].strip(), comments=comments, wrong=line.wrong)
            comments = 0
        elif line.text.startswith(";"):
            comments += 1
        elif record is not None:
            record.add(line)
        elif line.text.strip():
            raise SourceError(
                f"{file.label}, line {line.number}: {quoted(shown(line.text.strip()))} stands before the first record; FASTA "
                "begins with a line such as '>id description'; correct it, or name the format of the file with "
                f"{argument('format')}"
            )
    if record is not None:
        record.comments += comments
        yield record


def _fields(header: str, sequence: str) -> dict[str, Any]:
    """Return the fields of a record; a key of the header with the name of a column has `header.` before it.

    >>> _fields("sp|P02768|ALBU_HUMAN Albumin OS=Homo sapiens OX=9606", "MKW")["OS"]
    'Homo sapiens'
    """
    parts = header.split(maxsplit=1)
    identity, description = parts[0] if parts else None, parts[1] if len(parts) > 1 else ""
    fields: dict[str, Any] = {ID: identity, DESCRIPTION: description, SEQUENCE: sequence}
    for key, value in _pairs(description):
        fields.setdefault(f"header.{key}" if key in _OF_FORMAT else key, value)
    return fields


def _pairs(description: str) -> list[tuple[str, str]]:
    """Return the fields `key=value` of a header, those in brackets first; a value ends before the next key, or `;`."""
    pairs: list[tuple[str, str]] = [
        (match[1], match[2].strip()) for match in _BRACKETED.finditer(description)
    ]
    rest = _BRACKETED.sub(" ", description)
    pattern = _OF_UNIPROT if _IS_UNIPROT.search(rest) else _BARE
    matches = list(pattern.finditer(rest))
    ends = [match.start() for match in matches[1:]] + [len(rest)]
    for match, end in zip(matches, ends, strict=False):
        pairs.append((match[1], rest[match.end() : end].strip().removesuffix(";").strip()))
    return pairs
