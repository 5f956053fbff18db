"""A JSON array of records, read in chunks: no more than one record is in memory.

A file of JSON lines is often named .json too; it is read as such.
"""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.read.file import File
from layerwise.read.jsonl import JsonlReader, RecordDecoder
from layerwise.read.lines import ENCODING_ADVICE, LONGEST, open_text
from layerwise.read.options import line_codec
from layerwise.read.record import BadRecordError, Record, Skipped, listed, quoted, shown

_CHUNK = 1 << 16
_BLANK = re.compile(r"[ \t\r\n]*+")
# An error so near to the end of what has been read may be the end of a value that continues.
_NEAR = 12


class JsonReader(JsonlReader):
    """One record per object of an array; `line` counts them."""

    unit = "record"

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per object."""
        text = _Text(file, self.options.encoding)
        first = text.next_character()
        if first == "{" and not file.once and text.holds_lines():
            text.close()
            file.spent = False
            yield from self._lines(file)
            return
        if first != "[":
            what = "is empty" if not first else f"begins with {quoted(repr(first))}"
            raise SourceError(
                f'{file.label} {what} where an array of records is needed, such as [{{"text": "…"}}]; '
                f"write it so, or give {argument('format', 'jsonl')} for a record per line"
            )
        text.skip()
        decoder = RecordDecoder()
        for number, value in enumerate(text.values(decoder), 1):
            try:
                yield Record(number, decoder.record(value))
            except BadRecordError as error:
                yield Skipped(file.label, number, str(error))

    def _lines(self, file: File) -> Iterator[Record | Skipped]:
        """Yield the records of a file with an object per line, unless it is one object of columns or of records."""
        items = super().records(file)
        first = list(islice(items, 2))
        if len(first) == 1 and isinstance(first[0], Record) and _holds_records(first[0].fields):
            raise SourceError(
                f"{file.label} is one object with the keys {quoted(listed(first[0].fields))}, and an array of records is needed, "
                'such as [{"text": "…"}]; write it so (pandas: orient="records")'
            )
        yield from chain(first, items)


def _holds_records(fields: dict[str, Any]) -> bool:
    """Return whether the values of an object are columns or records, as `to_json` of pandas writes them by default."""
    if fields.keys() == {"columns", "index", "data"}:
        return True
    return bool(fields) and all(
        isinstance(value, dict)
        or (isinstance(value, list) and any(isinstance(item, list | dict) for item in value))
        for value in fields.values()
    )


class _Text:
    """The text of a file, of which only the part is in memory that is being parsed."""

    def __init__(self, file: File, encoding: str) -> None:
        self._file = file
        self._chunks = self._decoded(encoding)
        self._text = ""
        self._position = 0
        self._line = 1
        self._is_whole = False

    def close(self) -> None:
        """Close the file."""
        self._chunks.close()

    def _decoded(self, encoding: str) -> Any:
        with open_text(self._file, encoding) as (stream, start):
            decoder = codecs.getincrementaldecoder(line_codec(encoding, start[:4]))()
            chunk = stream.read(_CHUNK)
            first = True
            while True:
                try:
                    text = decoder.decode(chunk, not chunk)
                except UnicodeError as error:
                    raise SourceError(f"{self._file.label}: {_not_decoded(error)}") from error
                yield text.removeprefix("\ufeff") if first else text
                first = first and not text
                if not chunk:
                    return
                self._file.done += 0 if self._file.compressed else len(chunk)
                chunk = stream.read(_CHUNK)

    def _more(self) -> bool:
        """Read another chunk, as long as what is in memory; return whether there was one."""
        size = max(_CHUNK, len(self._text) - self._position)
        chunks = [self._text[self._position :]]
        self._line += self._text.count("\n", 0, self._position)
        self._position = 0
        while size > 0 and not self._is_whole:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._is_whole = True
                break
            chunks.append(chunk)
            size -= len(chunk)
        self._text = "".join(chunks)
        if len(self._text) > LONGEST:
            raise SourceError(
                f"{self._file.label}: a record has more than {LONGEST:,} characters; is it a file of texts?"
            )
        return not self._is_whole

    def next_character(self) -> str:
        """Return the next character that isn't blank, without passing it; "" at the end."""
        while True:
            self._position = _BLANK.match(self._text, self._position).end()  # type: ignore[union-attr]  # it matches ""
            if self._position < len(self._text):
                return self._text[self._position]
            if self._is_whole:
                return ""
            self._more()

    def skip(self) -> None:
        """Pass the next character."""
        self._position += 1

    def holds_lines(self) -> bool:
        """Return whether the first line is a JSON object of its own."""
        while "\n" not in self._text and self._more():
            pass
        try:
            return isinstance(json.loads(self._text[self._position :].partition("\n")[0]), dict)
        except (ValueError, RecursionError):
            return False

    def values(self, decoder: RecordDecoder) -> Iterator[Any]:
        """Yield the values up to the end of the array."""
        if self.next_character() == "]":
            self.skip()
            return self._end()
        while True:
            yield self._value(decoder)
            character = self.next_character()
            self.skip()
            if character == "]":
                return self._end()
            if character != ",":
                raise self._broken("Expecting ',' delimiter", self._position - 1)
            self.next_character()

    def _end(self) -> None:
        if self.next_character():
            raise self._broken("Extra data", self._position)

    def _value(self, decoder: RecordDecoder) -> Any:
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._position)
                # A number may continue in the next chunk.
                if end < len(self._text) or self._is_whole:
                    self._position = end
                    return value
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _NEAR
                if self._is_whole or not cut:
                    raise self._broken(error.msg.removesuffix(" at"), error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self._broken(str(error), self._position) from error
            self._more()

    def _broken(self, why: str, position: int) -> SourceError:
        line = self._line + self._text.count("\n", 0, position)
        column = position - self._text.rfind("\n", 0, position)
        near = quoted(shown(self._text[position : position + 20]))
        return SourceError(
            f"{self._file.label}, line {line}: no JSON ({why} at column {column}, where {near} stands), and nothing behind it "
            "can be read; correct it"
        )


def _not_decoded(error: UnicodeError) -> str:
    codec = getattr(error, "encoding", "this encoding")
    return f"it isn't {codec}; {ENCODING_ADVICE.format(argument('encoding'))}"
