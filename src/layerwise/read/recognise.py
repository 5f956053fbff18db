"""Recognise CoNLL under another ending."""

import re

from layerwise.errors import SourceError
from layerwise.read.file import File
from layerwise.read.lines import open_bytes

_SAMPLE = 1 << 14
_TAG = re.compile(r"O|[BIESLUM]-\S+")
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
    rows = [_cells(line) for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-"))]
    if len(rows) < 3 or len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return False
    numbered = len(rows[0]) == 10 and all(_WORD_NUMBER.fullmatch(row[0]) for row in rows)
    if all(is_tag(row[0]) for row in rows):
        return False  # the tags of a text per line, in a file without its words
    return numbered or all(is_tag(row[-1]) for row in rows)


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()
