"""CSV and TSV: cells stay strings; the first line names the columns unless the option `columns` does.

CSV is quoted as in the strict mode of Python's csv: a quoted cell may span lines, and only a separator or the end of a
line may follow its closing quote. TSV is written both with and without quotes; `read/tsv.py` tells them apart. Blank
lines are skipped.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.read.csv_rows import RereadLines, Row, csv_rows
from layerwise.read.file import File
from layerwise.read.headers import ROW, are_names, are_row_names, complete, unused
from layerwise.read.lines import read_lines
from layerwise.read.options import ReaderOptions
from layerwise.read.printed_lists import BrokenListError, parse_list
from layerwise.read.reader import Reader
from layerwise.read.recognise import is_tag
from layerwise.read.record import LISTED, BadRecordError, Columns, Record, Skipped, listed, quoted, shown
from layerwise.read.tsv import Quotes, quotes_of, tsv_rows
from layerwise.wording import Message, some

_SAMPLE = 50  # rows that may begin with their names
_NOT_AVAILABLE = frozenset({"NA", "NaN", "nan", "<NA>", "NULL"})
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


class TableReader(Reader):
    """One record per row; a subclass splits a file into rows."""

    def __init__(self, options: ReaderOptions) -> None:
        super().__init__(options)
        self._missing = frozenset(options.na) or _NOT_AVAILABLE
        self._counts: Counter[tuple[str, str]] = Counter()  # by cell and column

    def check(self, file: File) -> None:
        """Check the header."""
        self._start(file)
        file.done = 0

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per row that isn't blank."""
        names, rows = self._start(file)
        lists = _ListColumns(self.words if self.options.sentence_id is None else None)
        for row in rows:
            if isinstance(row, Skipped):
                yield row
            elif len(row.cells) == len(names):
                fields = dict(zip(names, self._filled(names, row.cells), strict=True))
                try:
                    yield Record(row.line, lists.read(fields))
                except BadRecordError as error:
                    yield Skipped(file.label, row.line, str(error))
            elif "".join(row.cells).strip() or len(row.cells) > 1:
                yield Skipped(file.label, row.line, self._uneven(row, names))

    @abstractmethod
    def rows(self, file: File) -> Iterator[Row | Skipped]:
        """Yield the rows of a file, header included, without empty lines."""

    def missing(self, column: str, names: tuple[str, ...]) -> str:
        """Return the message for a missing column: another separator, words, or no header may be the reason."""
        if names and (first := names[0].lower()).startswith("sep=") and len(first) < 6:
            return (
                f"the first line, {quoted(repr(names[0]))}, names no column {column!r}: it tells Excel the separator; take it "
                f"off, and give {argument('separator')} if that isn't a comma"
            )
        if len(names) == 1 and (separator := next((s for s in _SEPARATORS if s in names[0]), None)):
            return (
                f"the header is one column, {quoted(repr(names[0][:60]))}, and there is no column {column!r}; "
                f"if its cells are separated by {_SEPARATORS[separator]}, give {self._separator_argument(separator)}"
            )
        if names and names[0].lstrip().startswith("{"):
            return (
                f"the header is {quoted(shown(','.join(names)))}, and there is no column {column!r}; "
                f"if each line is a JSON object, give {argument('format', 'jsonl')}"
            )
        message = super().missing(column, names)
        if self.numbering(names) is not None:
            return message
        if len(names) > 1 and is_tag(names[-1]):
            message += f"; if each line is a word with its tag, give {argument('format', 'conll')}"
        elif self.options.columns is None:
            message += f"; if the file has no header, name all its columns with {argument('columns')}"
        return message

    @abstractmethod
    def _separator_argument(self, separator: str) -> str:
        """Return what to give for a file with another separator."""

    def _uneven(self, row: Row, names: tuple[str, ...]) -> str:
        why = f"{len(row.cells)} cells where there are {len(names)} columns ({quoted(listed(names))}); "
        if len(row.cells) == len(names) + 1 and self.options.columns is None:
            why += "quote cells that hold a separator, or if each row begins with its name, as R writes it, name that column too"
            return why
        return f"{why}correct the row"

    def _start(self, file: File) -> tuple[tuple[str, ...], Iterator[Row | Skipped]]:
        """Return the names of the columns, and an iterator over the rows below the header."""
        rows = self.rows(file)
        names = self.options.columns
        if names is None:
            header = self._header(file, rows)
            sample = list(_up_to_other_width(rows, len(header) + 1))
            rows = chain(sample, rows)
            names = complete(header)
            if are_row_names([row for row in sample if isinstance(row, Row)], len(header)):
                names = (unused(ROW, names), *names)
            self._note_new_names(file, header, names)
        self.agree(file, Columns(names, frozenset(names)))
        return names, rows

    def _note_new_names(self, file: File, header: Sequence[str], names: tuple[str, ...]) -> None:
        new = [name for name in names if name not in header]
        if not new or f"header of {file.label}" in self._noted:
            return
        self._noted.add(f"header of {file.label}")
        key = "note.read.header.rows" if new[0] == names[0] else "note.read.header"
        called = some([repr(name) for name in new], LISTED)
        self.notices.append(Message(key, file=file.label, unnamed=len(new), of=len(names), names=called))

    def _header(self, file: File, rows: Iterator[Row | Skipped]) -> list[str]:
        row = next(rows, None)
        if row is None:
            raise SourceError(
                f"{file.label} is empty; its first line must name the columns, or {argument('columns')}"
            )
        if isinstance(row, Skipped):
            raise SourceError(f"{file.label}, line {row.line}: {row.why}")
        duplicates = sorted({name for name in row.cells if name.strip() and row.cells.count(name) > 1})
        if duplicates:
            raise SourceError(
                f"{file.label}, line {row.line}: the header names {quoted(listed(duplicates))} twice; rename one, "
                f"or give {argument('columns')} when the file has no header"
            )
        return row.cells

    def _filled(self, names: tuple[str, ...], cells: list[str]) -> list[str]:
        """Return the cells, with empty ones in place of those that `na` says are missing; count these, else R's NA."""
        if self._missing.isdisjoint(cells):
            return cells
        self._counts.update(pair for pair in zip(cells, names, strict=True) if pair[0] in self._missing)
        return ["" if cell in self._missing else cell for cell in cells] if self.options.na else cells

    def shown_name(self, column: str) -> str:
        """Return the name of a column for a message; its place where the name may be a cell of a file without a header.

        That is where nothing of the source may be quoted and the first line doesn't look like names.
        """
        options, names = self.options, self.columns.names if self.columns is not None else ()
        if options.quote or options.columns is not None or are_names(names):
            return column
        name = column.removeprefix("source.")
        return Message("note.read.place.column", n=names.index(name) + 1) if name in names else ""

    def _in_notice(self, column: str) -> str:
        shown_name = self.shown_name(column)
        return repr(column) if shown_name == column else shown_name

    def end(self) -> None:
        """Note how many cells of each column say that a value is missing."""
        for cell in dict.fromkeys(cell for cell, _ in self._counts):
            columns = [
                Message("note.read.cells", count=count, column=self._in_notice(name))
                for (of, name), count in self._counts.items()
                if of == cell
            ]
            if self.options.na:
                notice = Message("note.read.missing.cells", cell=repr(cell), columns=columns)
            else:
                option = argument("na", cell)
                notice = Message(
                    "note.read.missing.cells.kept", cell=repr(cell), columns=columns, option=option
                )
            self._add_notice(notice)
        self._counts.clear()
        super().end()


class CsvReader(TableReader):
    """A record per row of cells with a separator between them."""

    def _separator_argument(self, separator: str) -> str:
        return argument("separator", separator.replace("\t", r"\t"))

    def rows(self, file: File) -> Iterator[Row | Skipped]:
        """Yield the rows of a file, header included, without empty lines."""
        lines = RereadLines(read_lines(file, self.options.encoding))
        yield from csv_rows(file.label, lines, self.options.separator or ",", again=self.options.skip_bad)


class TsvReader(TableReader):
    """A record per row of cells with tabs between them."""

    def __init__(self, options: ReaderOptions) -> None:
        super().__init__(options)
        self._quotes: dict[File, Quotes] = {}

    def check(self, file: File) -> None:
        """Decide which quotes aren't text, and check the header."""
        quotes = quotes_of(RereadLines(read_lines(file, self.options.encoding)), self._width)
        self._quotes[file] = quotes
        if quotes.why:
            self.notices.append(Message(f"note.read.quotes.off.{quotes.why}", file=file.label))
        super().check(file)

    @property
    def _width(self) -> int | None:
        return None if self.options.columns is None else len(self.options.columns)

    def _separator_argument(self, separator: str) -> str:
        table = argument("format", "csv")
        return table if separator == "," else f"{table} and {argument('separator', separator)}"

    def rows(self, file: File) -> Iterator[Row | Skipped]:
        """Yield the rows of a file, header included, without empty lines."""
        lines = RereadLines(read_lines(file, self.options.encoding))
        quotes = self._quotes.get(file, Quotes())
        again = self.options.skip_bad
        yield from tsv_rows(
            file.label, lines, self._width, quotes, partial(self._note_quotes, file), again=again
        )

    def _note_quotes(self, file: File, line: int) -> None:
        if file.label not in self._noted:
            self._noted.add(file.label)
            place = Message("note.read.place.line", file=file.label, line=str(line))
            options = {"format": argument("format", "csv"), "separator": argument("separator", r"\t")}
            self.notices.append(Message("note.read.quotes.kept", place=place, **options))


def _up_to_other_width(rows: Iterator[Row | Skipped], width: int) -> Iterator[Row | Skipped]:
    """Yield the first rows, up to one that hasn't `width` cells."""
    for row in islice(rows, _SAMPLE):
        yield row
        if isinstance(row, Row) and len(row.cells) != width:
            return


class _ListColumns:
    """Splits the cells of words, and those of other columns that hold printed lists as well.

    The first record of a file decides which columns hold lists; a later cell without one is an error.
    """

    def __init__(self, words: str | None) -> None:
        self._words = words
        self._lists: list[str] | None = None

    def read(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a record with lists for words, and for columns of printed lists.

        Raises:
            BadRecordError: a broken list, or a cell that holds none in a column of lists.
        """
        if self._words is None:
            return fields
        items = _parsed(self._words, fields[self._words])
        is_list = items is not None and (not items or any(isinstance(item, str) for item in items))
        if self._lists is None and is_list:
            others = [name for name in fields if name != self._words]
            self._lists = [name for name in others if _parsed(name, fields[name]) is not None]
        lists = {name: self._values(name, fields[name]) for name in self._lists or ()}
        return {**fields, **lists, self._words: items if is_list else fields[self._words].split()}

    @staticmethod
    def _values(name: str, cell: str) -> list[Any] | None:
        values = _parsed(name, cell)
        if values is None and cell:
            raise BadRecordError(
                f"column {quoted(repr(name))} holds no list where the records before have one; correct the cell"
            )
        return values


def _parsed(column: str, cell: str) -> list[Any] | None:
    try:
        return parse_list(cell)
    except BrokenListError as error:
        raise BadRecordError(
            f"column {quoted(repr(column))} holds a printed list that can't be read ({error}); correct the cell"
        ) from error
