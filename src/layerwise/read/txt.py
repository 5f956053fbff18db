"""Plain text: one text per line, or one text per file."""

import posixpath
from collections.abc import Iterator

from layerwise.read.file import File
from layerwise.read.lines import open_text, read_lines, read_whole, without_end
from layerwise.read.options import ReaderOptions
from layerwise.read.reader import Reader
from layerwise.read.recognise import HINT_LINES, hint
from layerwise.read.record import Record, Skipped
from layerwise.wording import Message

FOLDER = "folder"


class TxtReader(Reader):
    """One text per line; an empty line is an empty text.

    With `is_guess`, nobody said that the source is text, so that lines which look like something else are told.
    """

    is_guess = False

    def check(self, file: File) -> None:
        """Open the file."""
        with open_text(file, self.options.encoding):
            pass

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per line."""
        first: list[str] = []
        for line in read_lines(file, self.options.encoding, lone_returns=True):
            text = without_end(line.text)
            if line.wrong is None:
                if len(first) < HINT_LINES and text.strip():
                    first.append(text)
                    self._note(file, first, is_last=len(first) == HINT_LINES)
                yield Record(line.number, {"text": text})
            else:
                yield Skipped(file.label, line.number, line.wrong)
        self._note(file, first, is_last=True)

    def _note(self, file: File, first: list[str], *, is_last: bool) -> None:
        if is_last and self.is_guess and file.label not in self._noted:
            self._noted.add(file.label)
            if (advice := hint(first)) is not None:
                self.notices.append(Message("note.read.text.guess", file=file.label, advice=advice))


class DocsReader(Reader):
    """One text per file, with its path as `id` and the name of its folder; the text keeps its line ends."""

    def __init__(self, options: ReaderOptions) -> None:
        super().__init__(options)
        self.id = "id"

    @property
    def kept(self) -> tuple[str, ...]:
        """The folder, which is a part of the path."""
        return (FOLDER,)

    def check(self, file: File) -> None:
        """Do nothing: the file exists, and there may be very many."""

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield one record."""
        whole = read_whole(file, self.options.encoding)
        if whole.wrong is None:
            yield Record(None, {"text": whole.text, "id": file.id, **folder_column(file.label)})
        else:
            yield Skipped(file.label, whole.number, whole.wrong)


def folder_column(path: str) -> dict[str, str]:
    """Return the name of the folder of a file, as a column; none where the path, as it was named, doesn't tell it.

    >>> folder_column("reviews/pos/17.txt"), folder_column("./17.txt")
    ({'folder': 'pos'}, {})
    """
    name = posixpath.basename(posixpath.normpath(posixpath.dirname(path)))
    return {} if name in ("", ".", "..") else {FOLDER: name}
