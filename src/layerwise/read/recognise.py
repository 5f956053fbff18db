"""Recognise CoNLL under another ending, and lines of text that are something else."""

import json
import re
from collections.abc import Iterable, Sequence

from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.read.file import File
from layerwise.read.lines import open_bytes
from layerwise.wording import Message

HINT_LINES = 3
_SAMPLE = 1 << 14
_TAG = re.compile(r"O|[BIESLUM]-\S+")
_SEQUENCE = re.compile(r"[A-Za-z*.-]+")
_WORD_NUMBER = re.compile(r"\d+([-.]\d+)?")


def is_tag(cell: str) -> bool:
    """Return whether a cell is a tag of a span scheme: `O`, `B-LOC`, `I-LOC`."""
    return _TAG.fullmatch(cell) is not None


def holds_conll(file: File) -> bool:
    """Return whether a file has a word per line with its tag last, as CoNLL has; `False` if it can't be read."""
    try:
        with open_bytes(file) as stream:
            sample = stream.read(_SAMPLE)
    except SourceError:
        return False
    finally:
        file.done, file.spent, file.compressed = 0, False, False
    lines = sample.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
    if len(sample) == _SAMPLE:
        lines = lines[:-1]
    if any(line.startswith("-DOCSTART-") for line in lines[:1]):
        return True
    return _are_words(line for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-")))


def hint(lines: Sequence[str]) -> Message | None:
    """Return what to do if the first lines of a text, which aren't blank, are no texts; `None` if they may be.

    Args:
        lines: at most `HINT_LINES`.
    """
    if not lines:
        return None
    if "\r" in lines[0]:
        return Message("note.read.guess.returns")
    if lines[0].startswith(">") and len(lines) > 1 and _SEQUENCE.fullmatch(lines[1].strip()):
        return Message("note.read.guess.fasta", option=argument("format", "fasta"))
    if all(map(_is_json_object, lines)):
        return Message("note.read.guess.json", option=argument("format", "jsonl"))
    if _are_words(lines):
        return Message("note.read.guess.conll", option=argument("format", "conll"))
    for separator, format in ((",", "csv"), ("\t", "tsv")):
        names = [name.strip('"').lower() for name in lines[0].split(separator)]
        if len(names) > 1 and "text" in names and all(map(str.isidentifier, names)):
            return Message("note.read.guess.header", option=argument("format", format))
    return None


def _are_words(lines: Iterable[str]) -> bool:
    rows = [_cells(line) for line in lines]
    if len(rows) < 3 or len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return False
    numbered = len(rows[0]) == 10 and all(_WORD_NUMBER.fullmatch(row[0]) for row in rows)
    if all(is_tag(row[0]) for row in rows):
        return False  # the tags of a text per line, in a file without its words
    return numbered or all(is_tag(row[-1]) for row in rows)


def _is_json_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()
