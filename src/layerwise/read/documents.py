"""Documents of a source: its consecutive texts with the same value in the column of documents, kept together."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

from layerwise.arguments import argument
from layerwise.errors import RequestError, SourceError
from layerwise.example import Example, document_of
from layerwise.read.record import quoted, shown

_PEEKED = 1000  # texts among which one must have a document

RecordTexts = tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class DocumentNeed:
    """Why texts are needed in their documents, and what to do without documents, for errors."""

    why: str
    otherwise: str


def documents(
    records: Iterable[RecordTexts], column: str, need: DocumentNeed, tell_alone: Callable[[int], None]
) -> Iterator[RecordTexts]:
    """Yield the texts of each document together, and a text without a document alone.

    Args:
        records: one text each, in the order of the source.
        column: the column of documents, for errors.
        need: why documents are needed.
        tell_alone: called at the end with the number of texts without a document, where there are any.

    Raises:
        RequestError: pairs of texts; no document among the first texts.
        SourceError: a document that comes again after another one.
    """
    document: Hashable = None
    texts: list[Example] = []
    ended: set[Hashable] = set()
    alone = 0
    for (example,) in _checked(records, column, need):
        value = document_of(example)
        if texts and (value is None or value != document):
            yield tuple(texts)
            ended.add(document)
            texts = []
        if value is None:
            alone += 1
            yield (example,)
            continue
        if value in ended:
            raise SourceError(
                f"{example.where}: document {quoted(shown(value))} comes again, after texts of others, and its texts must stand "
                f"together to be each other's context; sort the source by column {column!r}, or {need.otherwise}"
            )
        texts.append(example)
        document = value
    if texts:
        yield tuple(texts)
    if alone:
        tell_alone(alone)


def _checked(records: Iterable[RecordTexts], column: str, need: DocumentNeed) -> Iterator[RecordTexts]:
    """Yield all records, after checking that one of the first has a document."""
    first: list[RecordTexts] = []
    rest = iter(records)
    for record in rest:
        if len(record) > 1 or record[0].pair is not None:
            raise RequestError(
                f"{need.why}, and pairs of texts have no neighbours; name one column in {argument('text')}, or {need.otherwise}"
            )
        first.append(record)
        if document_of(record[0]) is not None or len(first) == _PEEKED:
            break
    if first and document_of(first[-1][0]) is None:
        raise no_documents(need, f"none of the first {len(first):,} texts has a value in column {column!r}")
    yield from first
    yield from rest


def no_documents(need: DocumentNeed, what: str) -> RequestError:
    """Return the error that a source has no documents; `what` says what it lacks."""
    return RequestError(
        f"{need.why}, and {what}; name the column of documents in {argument('document')} (CoNLL-U has '# newdoc' lines), or "
        f"{need.otherwise}"
    )
