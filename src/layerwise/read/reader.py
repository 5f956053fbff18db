"""Base of the readers of all formats: the columns they need, and the check that all files have the same."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, ClassVar

from layerwise.arguments import argument
from layerwise.errors import RequestError, SourceError
from layerwise.example import DOCUMENT
from layerwise.read.class_names import column_and_names, count_missing, holds_classes, is_label, named
from layerwise.read.documents import no_documents
from layerwise.read.file import File
from layerwise.read.options import ReaderOptions, joined_names, not_two, pair_names
from layerwise.read.record import Columns, Record, Skipped, listed, quoted
from layerwise.read.sentences import is_single, numbers_sentences, sentence_column, word_column
from layerwise.wording import Message

_SAMPLE = 50  # records that are looked at before the first is passed on


class Reader(ABC):
    """Reads the files of one format.

    `texts`, `words`, `id` and `sentence_id` are names of columns; `words` is `None` for raw text, and `texts` then holds one
    name, or two where every record is a pair. `unit` is what messages count (line or row); `watched` says that
    the type of a column may change within a file, `word_per_row` that every row of the format is a word.
    `notices` are messages for the user, each once.
    """

    unit: ClassVar[str] = "line"
    watched: bool = False
    word_per_row: ClassVar[bool] = False

    def __init__(self, options: ReaderOptions) -> None:
        self.options = options
        self.words = options.words
        text = options.text or "text"
        self.sentence_id = options.sentence_id
        has_words = options.words or options.sentence_id
        self.texts: tuple[str, ...] = () if has_words else (text,) if isinstance(text, str) else text
        self.id = options.id
        self._settled = not isinstance(text, str) or "," not in text
        self.columns: Columns | None = None
        self.classes: dict[str, tuple[str, ...]] = {}
        self._classes_settled = options.classes is None
        self._missing_classes: Counter[str] = Counter()
        self.notices: list[str] = []
        self._noted: set[str] = set()  # what a notice was given about
        self._from = ""

    @abstractmethod
    def check(self, file: File) -> None:
        """Make the cheap checks: that the file opens, and its columns.

        Raises:
            SourceError: a file that can't be opened, a missing column, other columns than another file's.
        """

    @abstractmethod
    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield the records of a file, bad ones as `Skipped`; keep `file.done` up to date.

        Raises:
            SourceError: an error of the file as a whole.
        """

    def end(self) -> None:
        """Add the notices of what was counted in a pass over all files."""
        for name, count in self._missing_classes.items():
            self._add_notice(Message("note.read.missing.class", column=repr(name), n=count))
        self._missing_classes.clear()
        if not self._classes_settled:
            self._add_notice(Message("note.read.classes.unused", option=argument("classes")))

    def sentence_again(self, file: File) -> Callable[[int | None], None]:
        """Return the function that notes a sentence of a file whose rows don't stand together."""

        def note(line: int | None) -> None:
            place = Message(f"note.read.place.{self.unit}", file=file.label, line=str(line))
            self._add_notice(Message("note.read.sentence.again", place=place, column=repr(self.sentence_id)))

        return note

    def shown_name(self, column: str) -> str:
        """Return the name of a column for a message."""
        return column

    def _add_notice(self, notice: Message) -> None:
        if notice not in self.notices:  # of an earlier pass
            self.notices.append(notice)

    @property
    def paired(self) -> bool:
        """Whether every record gives two texts."""
        return self._has_two and self.options.pair_encoding != "joint"

    @property
    def joint(self) -> bool:
        """Whether the two texts of every record are encoded together, as one."""
        return self._has_two and self.options.pair_encoding == "joint"

    @property
    def _has_two(self) -> bool:
        return len(self.texts) == 2 and self.options.join is None

    @property
    def kept(self) -> tuple[str, ...]:
        """The carried columns that the reader adds; they are stored without texts too."""
        return ()

    @property
    def roles(self) -> tuple[str, ...]:
        """The columns that aren't carried."""
        return (*self.texts, *(name for name in (self.words, self.id) if name is not None))

    def settle(self, names: Collection[str]) -> None:
        """Decide once whether a text name with a comma is the name of one column, or of two; find the words.

        Raises:
            RequestError: it is neither, or no column has a usual name of words.
        """
        if self.sentence_id and self.words is None:
            self.words = word_column(names)
            if self.words is None:
                raise RequestError(
                    f"{argument('sentence_id')} needs a column of words, and none of {quoted(listed(names))} has a usual "
                    f"name of it; name it with {argument('words')}"
                )
        if not self._settled and self.texts and self.texts[0] not in names:
            text = self.texts[0]
            if self.options.join is not None:
                self.texts = joined_names(text.split(","))
            else:
                self.texts = pair_names(text.split(","))
                if not self.joint:
                    self.notices.append(
                        Message("note.read.pair", option=argument("text", text), join=argument("join"))
                    )
        self._settled = True
        if self.options.pair_encoding == "joint" and not self.joint:
            raise not_two(self.texts[0] if self.texts else None)

    def named(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a record with the names of classes in place of their numbers.

        Raises:
            BadRecordError: a number without a name.
            RequestError: it isn't clear which column the option `classes` is for.
        """
        if not self._classes_settled:
            others = [name for name in fields if name not in self.roles]
            candidates = [
                name
                for name in others
                if holds_classes(fields[name]) or (is_label(name) and fields[name] in (None, "", []))
            ]
            labelled = any(is_label(name) and fields[name] not in (None, "", []) for name in others)
            # A record without any number or label decides nothing.
            if candidates or labelled or "=" in (self.options.classes or ("",))[0]:
                self.name_classes(others, candidates)
        names = self.classes
        if not names:
            return fields
        for name in names:
            if count := count_missing(fields.get(name)):
                self._missing_classes[name] += count
        return {
            name: named(value, name, names[name]) if name in names else value
            for name, value in fields.items()
        }

    def name_classes(self, names: Sequence[str], candidates: Sequence[str]) -> None:
        """Apply the option `classes` to one of the candidates; errors as `named`."""
        if self.options.classes is not None:
            column, classes = column_and_names(self.options.classes, names, candidates)
            self.classes = {**self.classes, column: classes}
        self._classes_settled = True

    def agree(self, file: File, columns: Columns) -> None:
        """Store the columns of the first file; compare those of later files with them.

        Raises:
            SourceError: a missing column, other columns or types than the first file's.
        """
        if self.columns is None:
            self.columns, self._from = columns, file.label
            self.classes = {**columns.classes, **self.classes}
            self.settle(columns.names)
            self._check_roles(file)
        self._check_names(file, columns, self.columns)
        for name, classes in columns.classes.items():
            if self.columns.classes.get(name) != classes:
                raise SourceError(
                    f"{file.label}: the classes of column {quoted(repr(name))} are {quoted(listed(classes))}, and "
                    f"{self._from} has others; files of one corpus need the same classes"
                )
        for name, kind in columns.types.items():
            if name not in self.roles and self.columns.types[name] != kind:
                raise SourceError(
                    f"{file.label}: column {quoted(repr(name))} is {quoted(str(kind))} where {self._from} has "
                    f"{quoted(str(self.columns.types[name]))}; files of one corpus need the same types"
                )

    def missing(self, column: str, names: tuple[str, ...]) -> str:
        """Return the message for a missing column: which columns exist, and which option names one."""
        if column == self.sentence_id:
            advice = f"name the column that numbers the sentences with {argument('sentence_id')}"
        elif column == self.id:
            advice = f"name one of them with {argument('id')}"
        elif column == self.words:
            advice = f"name a column of words with {argument('words')}"
        elif self._has_two:
            advice = f"name the columns of the two texts with {argument('text')}, such as a,b"
        else:
            advice = f"name the column of the text with {argument('text')}, or a column of words with {argument('words')}"
        if self.numbering(names) is not None:
            advice += f"; where a row is a word, {self._sentence_advice(names)}"
        return f"there is no column {column!r}, only {quoted(listed(names))}; {advice}"

    def check_words(self, file: File) -> None:
        """Check that the rows of a file aren't single words, if a column may number their sentences; errors as `texts`."""
        if self.columns is not None and self.numbering(self.columns.names) is not None:
            next(self.checked(file), None)
            file.done = 0

    def checked(self, file: File) -> Iterator[Record | Skipped]:
        """Yield the records of a file.

        Raises:
            SourceError: as `records`, or the first ones are words, which would become texts of one word each.
        """
        items = self.records(file)
        sample = list(self._up_to_a_text(items))
        self._refuse_words(file, [item for item in sample if isinstance(item, Record)])
        yield from chain(sample, items)

    def _up_to_a_text(self, items: Iterator[Record | Skipped]) -> Iterator[Record | Skipped]:
        for item in islice(items, _SAMPLE):
            yield item
            if isinstance(item, Record) and not self._may_be_word(item):
                return

    def _may_be_word(self, record: Record) -> bool:
        self.settle(record.fields)
        column = self.words or self.texts[0]
        return (
            column in record.fields
            and is_single(record.fields[column])
            and self.numbering(record.fields) is not None
        )

    def _refuse_words(self, file: File, records: Sequence[Record]) -> None:
        if not records or not all(map(self._may_be_word, records)):
            return
        names = tuple(records[0].fields)
        sentence = self.numbering(names)
        if numbers_sentences([record.fields.get(str(sentence)) for record in records]):
            raise SourceError(
                f"{file.label} has a word per row, and its column {quoted(repr(sentence))} numbers the sentences; "
                f"{self._sentence_advice(names)}"
            )

    def numbering(self, names: Iterable[str]) -> str | None:
        """Return the column that numbers sentences by its name, unless it has a role already."""
        if self.sentence_id is not None:
            return None
        return sentence_column(name for name in names if name not in self.roles)

    def _sentence_advice(self, names: Sequence[str]) -> str:
        sentence = argument("sentence_id", self.numbering(names))
        words = self.words or word_column(names) or next(iter(self.texts), "word")
        return f"give {sentence} and {argument('words', words)}"

    def _check_roles(self, file: File) -> None:
        names = self.columns.names if self.columns else ()
        if self.sentence_id and self.sentence_id not in names:
            raise SourceError(f"{file.label}: {self.missing(self.sentence_id, names)}")
        for column in self.roles:
            if column not in names:
                raise SourceError(f"{file.label}: {self.missing(column, names)}")
        document = self.options.document_column
        if (
            document is not None
            and document not in names
            and not (self.word_per_row and document == DOCUMENT)
        ):
            self._refuse_no_document(file, document, names)

    def _refuse_no_document(self, file: File, document: str, names: Sequence[str]) -> None:
        what = f"{file.label} has no column {document!r}, only {quoted(listed(names))}"
        if self.options.need is not None:
            raise no_documents(self.options.need, what)
        raise SourceError(f"{what}; name the column of documents in {argument('document')}")

    def _check_names(self, file: File, columns: Columns, first: Columns) -> None:
        missing_names = [name for name in first.names if name in first.required and name not in columns.names]
        new_names = [name for name in columns.names if name in columns.required and name not in first.names]
        if missing_names or new_names:
            raise SourceError(
                f"{file.label} has other columns than {self._from} (missing: {quoted(listed(missing_names))}; additional: "
                f"{quoted(listed(new_names))}); files of one corpus need the same columns"
            )
