"""A corpus: text files of one format, read as a sequence of examples."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import RequestError, SourceError
from layerwise.example import DOCUMENT, PART, Example, document_of
from layerwise.read.arrow import ArrowReader
from layerwise.read.conll import ConllReader
from layerwise.read.documents import documents
from layerwise.read.example_builder import ExampleBuilder
from layerwise.read.fasta import FastaReader
from layerwise.read.file import File
from layerwise.read.files import find_files, source_names
from layerwise.read.in_memory import ObjectReader
from layerwise.read.json_array import JsonReader
from layerwise.read.jsonl import JsonlReader
from layerwise.read.options import ReaderOptions, check_options
from layerwise.read.parquet import ParquetReader
from layerwise.read.reader import Reader
from layerwise.read.record import BadRecordError, Record, Skipped, listed, quoted, without_marks
from layerwise.read.sentences import sentences
from layerwise.read.table import CsvReader, TsvReader
from layerwise.read.txt import DocsReader, TxtReader
from layerwise.wording import Message

_READERS: dict[str, type[Reader]] = {
    "txt": TxtReader,
    "docs": DocsReader,
    "jsonl": JsonlReader,
    "csv": CsvReader,
    "tsv": TsvReader,
    "json": JsonReader,
    "parquet": ParquetReader,
    "arrow": ArrowReader,
    "hf": ArrowReader,
    "python": ObjectReader,
    "conll": ConllReader,
    "fasta": FastaReader,
}


def open_corpus(
    sources: Any,
    *,
    format: str = "auto",
    **options: Any,
) -> "Corpus":
    """Return the corpus of `sources`, after every check that needs no full read.

    Args:
        sources: files, globs, folders (with format `docs`, or of `save_to_disk`), `-` for standard input. Or data in
            memory: a data frame of pandas or polars, an Arrow table, a `datasets.Dataset`, a list of records or texts.
        format: one of `choices.FORMATS`; `auto` decides by the file name extensions.
        **options: the fields of `ReaderOptions`.

    Raises:
        RequestError: options that don't exist, contradict each other, or don't fit the format.
        SourceError: files that are missing, can't be opened, or lack the columns.
    """
    is_guess = format == "auto"
    format, files = find_files(sources, format)
    reading = ReaderOptions.of(**options)
    check_options(reading, format)
    reader = _READERS[format](reading)
    if isinstance(reader, TxtReader):
        reader.is_guess = is_guess
    corpus = Corpus(format, files, reader)
    corpus.names = source_names(sources, format)
    return corpus


def read_fields(
    sources: Any, *, format: str = "auto", **options: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place of each record for messages, such as `gold.csv, line 3`, and its fields.

    No column has a role: none is needed, and all fields stay as they are. Arguments and errors are those of
    `open_corpus`.
    """
    format, files = find_files(sources, format)
    reader = _READERS[format](ReaderOptions.of(**options))
    reader.texts = ()
    for file in files:
        for item in reader.records(file):
            place = f"{file.label}, {reader.unit} {item.line}" if item.line is not None else file.label
            if isinstance(item, Skipped):
                raise SourceError(without_marks(f"{place}: {item.why}", quote=True))
            yield place, reader.named(item.fields)


class Corpus:
    """An iterable of `Example`; each pass reads the files again, and holds a whole file only for `docs`.

    Attributes:
        format: the format of the files; `python` for data in memory.
        names: the names of the sources as they were given; `-` for what has none.
        skipped: the bad records that the current or last pass skipped.
        notices: messages for the user, each once.
        types: the Arrow types of the carried columns, by their names in the dataset (Parquet only). A
            column with a value per word has the type of the whole list.

    Iterating raises `SourceError` for a file that can't be read, for a bad record unless `skip_bad` is set, and at
    the end when there was no text at all. With standard input it may also raise `RequestError`, for texts that
    can't be a pair.
    """

    def __init__(self, format: str, files: Sequence[File], reader: Reader) -> None:
        self.format = format
        self.skipped: list[Skipped] = []
        self.notices = reader.notices
        self.types: dict[str, Any] = {}
        self.names: list[str] = []
        self._files = files
        self._reader = reader
        self._finished = self._count = 0
        self._current, self._number = files[0], 1
        self._builder = ExampleBuilder(reader, self.notices)
        with self._errors_without_marks():
            self._check()

    def _check(self) -> None:
        for file in self._files:
            if not file.once:
                self._reader.check(file)
                self._reader.check_words(file)
        self.notices += [
            Message(
                "note.read.conll.guess",
                file=file.label,
                format=self.format,
                option=argument("format", "txt"),
            )
            for file in self._files
            if file.recognised
        ]
        self._builder.restart()
        columns = self._reader.columns
        if columns is not None:
            names = self._builder.carried(columns.names)
            self.types = {names[name]: kind for name, kind in columns.types.items() if name in names}

    @contextmanager
    def _errors_without_marks(self) -> Iterator[None]:
        """Remove the marks of quotations from errors, and the quotations too unless `quote` is set."""
        try:
            yield
        except (RequestError, SourceError) as error:
            error.args = (self._without_marks(str(error)),)
            if not self._reader.options.quote:  # a traceback would show the cause, which quotes too
                error.__cause__, error.__suppress_context__ = None, True
            raise

    def _without_marks(self, message: str) -> str:
        return without_marks(message, quote=self._reader.options.quote)

    @property
    def text(self) -> str | tuple[str, ...] | None:
        """The `text` argument of `open_corpus`; both names for pairs (final once a record was read)."""
        text = self._reader.options.text
        if self._reader.options.join is not None and isinstance(text, tuple):
            return ",".join(text)  # a list would be a pair
        return self._reader.texts if self.paired or self.joint else text

    @property
    def further_options(self) -> dict[str, Any]:
        """The options with which these texts are read, of those that most sources don't need."""
        options = self._reader.options
        names = ("separator", "na", "sentence_id", "join", "classes", "pair_encoding")
        used = {name: getattr(options, name) for name in names if getattr(options, name) not in (None, ())}
        return used if options.document_column is None else {**used, "document": options.document_column}

    @property
    def word_split(self) -> str | None:
        """What a word of the texts is, see `word_split.split_words`; `None` for the words of languages."""
        return "chars" if self.format == "fasta" else None

    @property
    def kept(self) -> tuple[str, ...]:
        """The carried columns that are stored without texts too, since they hold nothing of their contents.

        Without the column `part` the two texts of a pair can't be distinguished. A document that is named is an id.
        """
        document = (DOCUMENT,) if self._reader.options.document_column is not None else ()
        return (*self._reader.kept, *document, *((PART,) if self.paired or self.joint else ()))

    @property
    def paired(self) -> bool:
        """Whether every record gives two texts (final once a record was read)."""
        return self._reader.paired

    @property
    def joint(self) -> bool:
        """Whether the two texts of every record are one example (final as `paired`)."""
        return self._reader.joint

    @property
    def fraction(self) -> float | None:
        """The share of the bytes (Parquet: rows) or of `limit` read in this pass; `None` for standard input."""
        if any(file.once for file in self._files):
            return None
        total = sum(file.size for file in self._files)
        read = (self._finished + self._current.done) / total if total else 1.0
        limit = self._reader.options.limit
        return min(1.0, max(read, self._count / limit if limit else 0.0))

    @property
    def position(self) -> tuple[str, int, int]:
        """The current file: its name for messages, its number from 1, and the number of files."""
        return self._current.label, self._number, len(self._files)

    @property
    def reading_notices(self) -> list[str]:
        """The notices without those that tell how columns are named in a dataset."""
        return [notice for notice in self.notices if notice not in self._builder.renamings]

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names of the columns in the files; of JSON lines those of the first records, `None` while unknown."""
        return None if self._reader.columns is None else self._reader.columns.names

    @property
    def roles(self) -> dict[str, str]:
        """The columns that aren't carried, each with what it is: `text`, `words` or `id` (final as `text`)."""
        reader = self._reader
        names = {"words": reader.words, "id": reader.id}
        roles = {name: role for role, name in names.items() if name is not None}
        return {**dict.fromkeys(reader.texts, "text"), **roles}

    def shown_names(self, columns: Iterable[str]) -> list[str]:
        """Return names of carried columns for a message, or their places where a name may quote the source."""
        return [name for column in columns if (name := self._reader.shown_name(column))]

    @property
    def document(self) -> str | None:
        """The column that is carried as `document`, if it is named."""
        return self._reader.options.document

    @property
    def has_ids(self) -> bool:
        """Whether a column holds the user's own ids, named by the option or called `id`; of JSON lines as `columns`."""
        is_of_words = self.format == "conll"  # the column `id` of CoNLL-U numbers words
        return "id" in self.roles.values() or (not is_of_words and "id" in (self.columns or ()))

    @property
    def waits(self) -> bool:
        """Whether the next record hasn't arrived yet: standard input and pipes."""
        return self._current.waits

    def __iter__(self) -> Iterator[Example]:
        return chain.from_iterable(self.records())

    def records(self) -> Iterator[tuple[Example, ...]]:
        """Start a pass; yield the texts of each record together: one text, or the two of a pair.

        Where texts are needed in their documents, all of each document are yielded together.
        """
        # Not a generator itself: a pass starts with this call, and not when its first record is read.
        self.skipped = []
        self._finished = self._count = 0
        self._builder.restart()
        for file in self._files:
            file.done = 0
        self._current, self._number = self._files[0], 1
        return self._records_without_marks()

    def _records_without_marks(self) -> Iterator[tuple[Example, ...]]:
        options = self._reader.options
        records = self._records()
        if options.need is not None:
            column = str(options.document_column)
            records = documents(records, column, options.need, self._tell_alone)
        with self._errors_without_marks():
            yield from records

    def _tell_alone(self, count: int) -> None:
        column = repr(self._reader.options.document_column)
        notice = Message("note.read.alone", n=count, column=column)
        if notice not in self.notices:  # of an earlier pass
            self.notices.append(notice)

    def _records(self) -> Iterator[tuple[Example, ...]]:
        for number, file in enumerate(self._files, 1):
            self._current, self._number = file, number
            items = iter(self._items(file))
            for item in items:
                examples = self._examples(file, item)
                if examples:
                    self._count += 1
                    yield examples
                    if self._count == self._reader.options.limit:
                        self._tell_cut(file, items, examples)
                        self._reader.end()
                        return
            self._finished, file.done = self._finished + file.done, 0
        self._reader.end()
        if not self._count:
            raise self._empty()

    def _tell_cut(self, file: File, items: Iterator[Record | Skipped], last: tuple[Example, ...]) -> None:
        """Note where the limit ends within a document: the next record, which isn't waited for, is of the same one."""
        document = document_of(last[-1])
        if document is None or file.once:
            return
        following = next(items, None)
        with suppress(BadRecordError):
            examples = self._builder.examples(file, following) if isinstance(following, Record) else ()
            if examples and document_of(examples[0]) == document:
                column = repr(self._reader.options.document or DOCUMENT)
                notice = Message("note.read.limit", option=argument("limit", self._count), column=column)
                self.notices += [notice] * (notice not in self.notices)

    def _items(self, file: File) -> Iterator[Record | Skipped]:
        column = self._reader.sentence_id
        if column is not None:
            reader, whole = self._reader, (column, self._reader.id)
            return sentences(reader.records(file), column, whole, reader.sentence_again(file))
        # Other files were checked when the corpus was opened.
        return self._reader.checked(file) if file.once else self._reader.records(file)

    def _examples(self, file: File, item: Record | Skipped) -> tuple[Example, ...]:
        if isinstance(item, Skipped):
            return self._skip(replace(item, why=self._without_marks(item.why)), "")
        try:
            return self._builder.examples(file, item)
        except BadRecordError as error:
            advice = f", or leave such records out with {argument('skip_bad', True)}"
            return self._skip(Skipped(file.label, item.line, self._without_marks(str(error))), advice)

    def _skip(self, bad: Skipped, advice: str) -> tuple[Example, ...]:
        if not self._reader.options.skip_bad:
            raise SourceError(self._message(bad) + advice)
        self.skipped.append(bad)
        return ()

    def _message(self, bad: Skipped) -> str:
        where = f"{bad.source}, {self._reader.unit} {bad.line}" if bad.line is not None else bad.source
        return f"{where}: {bad.why}"

    def _header_alone(self) -> str:
        """Return that a table has names of columns and nothing else; nothing for other formats."""
        if self._reader.columns is None or self.format not in ("csv", "tsv", "parquet", "arrow", "hf"):
            return ""
        columns = quoted(listed(self._reader.columns.names))
        if self.format not in ("csv", "tsv"):
            return f", which has the columns {columns} and no row"
        if self._reader.options.columns is not None:
            return ""
        return f", which has a header ({columns}) and no record below it"

    def _empty(self) -> SourceError:
        names = listed(dict.fromkeys(file.source for file in self._files))
        if not self.skipped:
            return SourceError(
                f"there is no text in {names}{self._header_alone()}; name a source that has one"
            )
        first = self._message(self.skipped[0])
        return SourceError(f"all {len(self.skipped)} records of {names} are bad; the first: {first}")
