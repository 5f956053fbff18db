"""Plain text: one text per line, or one text per file."""

from collections.abc import Iterator

from layerwise.read.file import File
from layerwise.read.lines import open_text, read_lines, read_whole, without_end
from layerwise.read.options import ReaderOptions
from layerwise.read.reader import Reader
from layerwise.read.record import Record, Skipped


class TxtReader(Reader):
    """One text per line; an empty line is an empty text."""

    def check(self, file: File) -> None:
        """Open the file."""
        with open_text(file, self.options.encoding):
            pass

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per line."""
        for line in read_lines(file, self.options.encoding):
            if line.wrong is None:
                yield Record(line.number, {"text": without_end(line.text)})
            else:
                yield Skipped(file.label, line.number, line.wrong)


class DocsReader(Reader):
    """One text per file, with its path as `id`; the text keeps its line ends."""

    def __init__(self, options: ReaderOptions) -> None:
        super().__init__(options)
        self.id = "id"

    def check(self, file: File) -> None:
        """Do nothing: the file exists, and there may be very many."""

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield one record."""
        whole = read_whole(file, self.options.encoding)
        if whole.wrong is None:
            yield Record(None, {"text": whole.text, "id": file.id})
        else:
            yield Skipped(file.label, whole.number, whole.wrong)
