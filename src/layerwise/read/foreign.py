"""Recognise files that aren't text by their first bytes, and say what to do with them."""

import re
from typing import NamedTuple

from layerwise.arguments import argument
from layerwise.errors import SourceError

SIZE = 512  # bytes that are needed


class _Foreign(NamedTuple):
    start: re.Pattern[bytes]
    name: str
    advice: str
    format: str | None = None


_FOREIGN = (
    _Foreign(re.compile(rb"PAR1[\x00-\x1f]"), "Parquet", "", "parquet"),
    _Foreign(re.compile(rb"ARROW1\0\0|\xff{4}.{3}\0\x10\0\0\0", re.S), "Arrow", "", "arrow"),
    _Foreign(
        re.compile(rb"PK\x03\x04"),
        "a zip archive, as .xlsx and .docx are",
        "unpack it, or save what it holds as CSV or text",
    ),
    _Foreign(
        re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        "an old Excel or Word file",
        "save it as CSV or text",
    ),
    _Foreign(re.compile(rb"%PDF-\d"), "a PDF document", "save its text"),
    _Foreign(re.compile(rb"SQLite format 3\0"), "an SQLite database", "save a table of it as CSV"),
    _Foreign(re.compile(rb".{257}ustar[\0 ]", re.S), "a tar archive", "unpack it, and name the files in it"),
    _Foreign(re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7z archive", "unpack it, and name the files in it"),
    _Foreign(re.compile(rb"\x04\x22\x4d\x18"), "an lz4 file", "unpack it, and name the file in it"),
)
_ENDINGS = {
    "save it as CSV": {".xlsx", ".xls", ".xlsm", ".ods", ".sav", ".dta", ".rds", ".db", ".sqlite"},
    "save its text": {".docx", ".doc", ".odt", ".rtf", ".pdf"},
    "unpack it, and name the files in it": {".zip", ".tar", ".tgz", ".7z", ".rar"},
}


def refuse_foreign(label: str, start: bytes, expected: str = "text") -> None:
    """Check that a file which begins with these bytes may be text, or of the expected format.

    Raises:
        SourceError: it is in another format, which is named.
    """
    kind = next((kind for kind in _FOREIGN if kind.start.match(start)), None)
    if kind is not None and kind.name != expected:
        advice = kind.advice if kind.format is None else f"give {argument('format', kind.format)}"
        raise SourceError(f"{label} is {kind.name}, not {expected}; {advice}")


def advice_for(ending: str) -> str | None:
    """Return what to do with a file of this ending if it is a document or an archive; `None` for others."""
    return next((advice for advice, endings in _ENDINGS.items() if ending.lower() in endings), None)
