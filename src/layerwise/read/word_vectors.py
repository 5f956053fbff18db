"""Read static word vectors: a word and its numbers per line, the text formats of word2vec, GloVe and fastText.

The files may be larger than the memory, so only the vectors of the words that are asked for are kept. word2vec and fastText
begin with a header, the number of words and their width; GloVe doesn't. A word may contain blanks (in some files of GloVe),
so the numbers are the last fields of a line.
"""

from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from layerwise._util.paths import is_url, local_path, place
from layerwise.arguments import argument
from layerwise.array_types import F32
from layerwise.errors import SourceError
from layerwise.read.file import File
from layerwise.read.lines import open_text
from layerwise.word_vectors import VectorReader, WordVectors

_LONGEST = 1 << 22  # bytes of a line
_BLANK = b" "
_FORMATS = "the text formats of word2vec, GloVe and fastText have a word and its numbers on each line, separated by blanks"


def word_vector_reader(path: str | Path) -> VectorReader:
    """Return a function that reads the vectors of given words from a file, after a look at its first lines.

    Raises:
        RequestError: no path.
        SourceError: a file that can't be read, or that doesn't begin with word vectors.
    """
    name = str(path)
    place_of_file = place(path) if is_url(path) else local_path(path)
    with _with_argument():
        _Layout.of(File(place_of_file, name, name))
    return partial(_read, place_of_file, name)


@contextmanager
def _with_argument() -> Iterator[None]:
    """Put the argument of the file before the message of a SourceError."""
    try:
        yield
    except SourceError as error:
        utf8 = "; word vectors need UTF-8" if argument("encoding") in str(error) else ""
        raise SourceError(f"{argument('vectors')}: {error}{utf8}") from None


@dataclass(frozen=True, slots=True)
class _Layout:
    """Whether a file has a header, and the width of its vectors.

    `announced`: the number of words that the header announces, or `None` without a header.
    """

    width: int
    announced: int | None

    @classmethod
    def of(cls, file: File) -> "_Layout":
        """Return the layout of a file, from its first lines."""
        lines = _lines(file)
        number, first = next(lines, (0, b""))
        if not number:
            raise _fault(file, "is empty")
        fields = first.split(_BLANK)
        if len(fields) == 2 and all(field.isdigit() for field in fields):
            layout = cls(int(fields[1]), int(fields[0]))
            number, first = next(lines, (0, b""))
            if not number or not layout.width:
                raise _fault(file, "has a header, and no vector after it")
            layout.check(file, number, first)
        else:
            layout = cls(len(fields) - 1, None)
            if not layout.width:
                raise _fault(file, f"has no numbers on line {number}, after {_shown(fields[0])}")
        _numbers(file, number, first.rsplit(_BLANK, layout.width)[1:])
        lines.close()
        return layout

    def check(self, file: File, number: int, line: bytes) -> None:
        """Check the width of a line.

        Raises:
            SourceError: another number of numbers.
        """
        blanks = line.count(_BLANK)
        if blanks == self.width:
            return
        extra = line.rsplit(_BLANK, self.width)[0].split(_BLANK)[1:] if blanks > self.width else []
        # A word with blanks isn't a fault, and a further number is.
        if blanks < self.width or (extra and all(map(_is_number, extra))):
            width = (
                f"the header says {self.width}" if self.announced is not None else f"line 1 has {self.width}"
            )
            raise _fault(file, f"has {blanks} numbers on line {number}, and {width}")


def _lines(file: File) -> Generator[tuple[int, bytes], None, None]:
    """Yield the number and the bytes of each line that isn't empty, without the blanks and the end after them."""
    with open_text(file, "utf-8") as (stream, _):
        for number, line in enumerate(iter(partial(stream.readline, _LONGEST), b""), 1):
            if len(line) == _LONGEST:
                raise _fault(file, f"has a line {number} of more than {_LONGEST:,} bytes")
            content = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).rstrip(b"\r\n ")
            if content:
                yield number, content


@_with_argument()
def _read(path: Path, name: str, words: Collection[str]) -> WordVectors:
    """Return the vectors of those of `words` that the file has.

    Raises:
        SourceError: a file that can't be read, a line of another width, a vector with something else than numbers.
    """
    file = File(path, name, name)
    layout = _Layout.of(file)
    word_of_bytes = {word.encode("utf-8", "surrogatepass"): word for word in words}
    rows: dict[str, int] = {}
    vectors: list[F32] = []
    total = repeated = 0
    lines = _lines(File(path, name, name))
    if layout.announced is not None:
        next(lines)
    for number, line in lines:
        total += 1
        if line.count(_BLANK) != layout.width:
            layout.check(file, number, line)
        word = word_of_bytes.get(line.partition(_BLANK)[0])
        if word is None or line.count(_BLANK) != layout.width:
            continue
        if word in rows:
            repeated += 1
            continue
        rows[word] = len(vectors)
        vectors.append(_numbers(file, number, line.split(_BLANK)[1:]))
    stacked = np.stack(vectors) if vectors else np.zeros((0, layout.width), np.float32)
    return WordVectors(name, rows, stacked, total, layout.announced, repeated)


def _numbers(file: File, number: int, fields: list[bytes]) -> F32:
    """Return the numbers of a line, float32 (width,).

    Raises:
        SourceError: a field that is no number, or one that float32 doesn't have.
    """
    wrong = next((field for field in fields if not _is_number(field)), None)
    if wrong is not None:
        binary = (
            ""
            if wrong.isascii() and wrong.decode("ascii").isprintable()
            else "; the binary format isn't read"
        )
        raise _fault(file, f"has {_shown(wrong)} on line {number}, which is no number{binary}")
    with np.errstate(over="ignore"):
        values: F32 = np.array([float(field) for field in fields], np.float32)
    if not np.isfinite(values).all():
        raise _fault(file, f"has a number on line {number} that isn't finite in float32")
    return values


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _shown(field: bytes) -> str:
    return f"{field[:30].decode('utf-8', 'replace')!r}"


def _fault(file: File, fault: str) -> SourceError:
    return SourceError(f"{file.label} {fault}; {_FORMATS}")
