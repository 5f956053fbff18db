"""CoNLL and similar formats: one word per line with its columns; blank lines separate sentences."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.example import DOCUMENT, clean
from layerwise.read.file import File
from layerwise.read.lines import Line, read_lines, without_end
from layerwise.read.reader import Reader
from layerwise.read.record import Columns, Record, Skipped, listed, quoted, shown

_TWO = ("token", "tag")
_CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_NO_WORD = re.compile(r"\d+[-.]\d+")  # CoNLL-U: a range of words, an empty node
_DOCSTART = "-DOCSTART-"
_NEWDOC = re.compile(r"#\s*newdoc(?:\s+id\s*=(.*)|\s*)")


class RowFormat(NamedTuple):
    """The columns of a file and what separates them, taken from its first row."""

    names: tuple[str, ...]
    tabs: bool
    universal: bool

    def cells(self, text: str) -> list[str]:
        """Return the cells of a line: split at its tabs if it has any, else at runs of spaces."""
        return _cells(text, tabs=self.tabs and text.startswith("#"))

    def is_comment(self, text: str) -> bool:
        """Return whether a line is a comment and not a word that begins with `#`."""
        return text.startswith("#") and (self.universal or len(self.cells(text)) != len(self.names))

    def is_word(self, cells: list[str]) -> bool:
        """Return whether a row with the right number of cells is a word."""
        return not (self.universal and _NO_WORD.fullmatch(cells[0]))


class ConllReader(Reader):
    """One record per sentence; each of its columns is a list with one item per word.

    Where a line begins a document (`-DOCSTART-`, `# newdoc`), the sentences after it have a column `document`: its id, or
    the name of the file with the number of the document in it, such as `news.conll:3`. A column of that name in the
    rows themselves is used instead.
    """

    word_per_row = True

    @property
    def kept(self) -> tuple[str, ...]:
        """The document, which is an id, unless it is a column of the rows."""
        return () if DOCUMENT in (self.options.columns or ()) else (DOCUMENT,)

    def check(self, file: File) -> None:
        """Check the first row."""
        self._start(file, read_lines(file, self.options.encoding))
        file.done = 0

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per sentence; one bad row makes the whole sentence bad."""
        row_format, lines = self._start(file, read_lines(file, self.options.encoding))
        if row_format is None:
            yield from (Skipped(file.label, line.number, line.wrong) for line in lines if line.wrong)
            return
        rows: list[tuple[int, list[str]]] = []
        bad: Skipped | None = None
        document: str | None = None
        documents = 0
        for line in chain(lines, [Line(0, "")]):  # a blank line at the end closes the last sentence
            text = without_end(line.text)
            is_mark = _begins_document(text)
            if not text.strip(" \t\r") or is_mark:
                if bad or rows:
                    yield bad or _sentence(row_format, rows, document)
                rows, bad = [], None
                if is_mark:
                    documents += 1
                    document = _document_id(text) or f"{file.source}:{documents}"
                    bad = Skipped(file.label, line.number, line.wrong) if line.wrong else None
            elif line.wrong is not None:
                bad = bad or Skipped(file.label, line.number, line.wrong)
            elif not row_format.is_comment(text):
                cells = row_format.cells(text)
                if len(cells) != len(row_format.names):
                    bad = bad or _uneven(file, line.number, cells, row_format)
                elif row_format.is_word(cells):
                    rows.append((line.number, cells))

    def _start(self, file: File, lines: Iterator[Line]) -> tuple[RowFormat | None, Iterator[Line]]:
        """Return the format of the rows (`None` without rows), and an iterator over all lines from the first."""
        head: list[Line] = []
        row: Line | None = None
        for line in lines:
            head.append(line)
            if line.wrong is None and _is_row(line.text):
                row = line
                break
        # Where all lines begin with `#`, one with tabs is the word `#` and its columns, not a comment.
        row = row or next((line for line in head if line.text.startswith("#") and "\t" in line.text), None)
        row_format = None if row is None else self._row_format(file, row)
        if row_format is not None:
            self._agree(file, row_format)
        return row_format, chain(head, lines)

    def _row_format(self, file: File, row: Line) -> RowFormat:
        text = without_end(row.text)
        count, tabs, names = len(_cells(text)), "\t" in text, self.options.columns
        if names is not None:
            if len(names) != count:
                raise SourceError(
                    f"{file.label}, line {row.number} has {count} columns ({quoted(shown(text))}) and "
                    f"{argument('columns')} names {len(names)} ({','.join(names)}); name every column"
                )
            return RowFormat(names, tabs, universal=False)
        if count == len(_TWO):
            return RowFormat(_TWO, tabs, universal=False)
        if count == len(_CONLLU) and tabs:
            return RowFormat(_CONLLU, tabs, universal=True)
        raise SourceError(
            f"{file.label}, line {row.number} has {count} columns ({quoted(shown(text))}), not 2 or the "
            f"10 of CoNLL-U; name them, for example {argument('columns', 'token,pos,chunk,tag')}"
        )

    def _agree(self, file: File, row_format: RowFormat) -> None:
        if self.words is None:
            self.words = next((name for name in ("token", "form") if name in row_format.names), None)
            self.texts = ()
        if self.words is None:
            raise SourceError(
                f"{file.label}: none of the columns {listed(row_format.names)} is token or form; "
                f"name the column of words with {argument('words')}"
            )
        self.agree(file, Columns(row_format.names, frozenset(row_format.names)))


def _cells(text: str, *, tabs: bool = False) -> list[str]:
    if tabs or "\t" in text:
        return text.split("\t")
    return re.split(" +", text.strip(" "))


def _is_row(text: str) -> bool:
    return bool(text.strip(" \t\r\n")) and not text.startswith(("#", _DOCSTART))


def _begins_document(text: str) -> bool:
    return text.startswith(_DOCSTART) or _NEWDOC.fullmatch(text.strip()) is not None


def _document_id(text: str) -> str | None:
    """Return the id in a line that begins a document; `None` or an empty string without one."""
    match = _NEWDOC.fullmatch(text.strip())
    return clean((match[1] or "").strip()) if match else None


def _sentence(row_format: RowFormat, rows: list[tuple[int, list[str]]], document: str | None) -> Record:
    columns = zip(*(cells for _, cells in rows), strict=True)
    fields: dict[str, Any] = {
        name: list(cells) for name, cells in zip(row_format.names, columns, strict=True)
    }
    if document is not None:
        fields.setdefault(DOCUMENT, document)
    return Record(rows[0][0], fields)


def _uneven(file: File, line: int, cells: list[str], row_format: RowFormat) -> Skipped:
    why = f"{len(cells)} columns where the first row has {len(row_format.names)}"
    return Skipped(file.label, line, f"{why} ({listed(row_format.names)}); correct the row")
