"""What the readers of all formats share: the columns they need, and that all files have the same."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from layerwise.errors import SourceError
from layerwise.read.files import File
from layerwise.read.options import Options
from layerwise.read.record import Columns, Record, Skipped, listed


class Reader(ABC):
    """Reads the files of one format.

    `text`, `words` and `id` name the columns that have these parts; `words` is `None` for raw text. `unit`
    is what a record is counted in; `watched` says that a column's types may change on the way.
    """

    unit: ClassVar[str] = "line"
    watched: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self.options = options
        self.words = options.words
        self.text = None if options.words else options.text or "text"
        self.id = options.id
        self.columns: Columns | None = None
        self._from = ""

    @abstractmethod
    def check(self, file: File) -> None:
        """Look at what costs nothing: that the file opens, and its columns.

        Raises:
            SourceError: a file that can't be opened, a missing column, other columns than another file's.
        """

    @abstractmethod
    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield the records of a file, bad ones as `Skipped`; `file.done` follows.

        Raises:
            SourceError: for what is wrong with the file as a whole.
        """

    def agree(self, file: File, columns: Columns) -> None:
        """Take note of the first file's columns, and compare those of the others with them.

        Raises:
            SourceError: a missing column, other columns or types than the first file's.
        """
        if self.columns is None:
            self.columns, self._from = columns, file.label
            self._check_roles(file)
        self._check_names(file, columns, self.columns)
        for name, kind in columns.types.items():
            if name not in (self.text, self.words, self.id) and self.columns.types[name] != kind:
                raise SourceError(
                    f"{file.label}: column {name!r} is {kind} where {self._from} has "
                    f"{self.columns.types[name]}; files of one corpus need the same types"
                )

    def missing(self, column: str, names: tuple[str, ...]) -> str:
        """Return the message for a column that isn't there: what there is, and which option names one."""
        if column == self.id:
            ask = "name one of them with --id"
        elif column == self.words:
            ask = "name a column of words with --words"
        else:
            ask = "name the text's with --text, or a column of words with --words"
        return f"there is no column {column!r}, only {listed(names)}; {ask}"

    def _check_roles(self, file: File) -> None:
        names = self.columns.names if self.columns else ()
        for column in (self.text, self.words, self.id):
            if column is not None and column not in names:
                raise SourceError(f"{file.label}: {self.missing(column, names)}")

    def _check_names(self, file: File, columns: Columns, first: Columns) -> None:
        lacks = [name for name in first.names if name in first.sure and name not in columns.names]
        new = [name for name in columns.names if name in columns.sure and name not in first.names]
        if lacks or new:
            raise SourceError(
                f"{file.label} has other columns than {self._from} (it lacks {listed(lacks)}, and has on top "
                f"{listed(new)}); files of one corpus need the same columns"
            )
