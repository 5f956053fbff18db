"""Groups of rows that stay on the same side of a split: by their text, by a column, by their document.

If the same text, or two texts of one author or document, were in the training and in the test part, a head could
score well by remembering them. So rows are linked into groups, and a group is never split.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.columns import is_paired, is_present
from layerwise.example import DOCUMENT
from layerwise.labels.labelled import Mask, read_column
from layerwise.schema import PAIR_START
from layerwise.states import Layered
from layerwise.wording import Message

MIN_DOCUMENTS = 10  # with fewer, a part of a split has too few of them
_MOST_JOINED = 0.1  # share of the rows in documents that identical texts join: half a fold
_SOURCE = "source"
DOCUMENT_COLUMNS = (DOCUMENT, _SOURCE)
_SHARD = re.compile(r"-\d+-of-\d+\b")  # a file of a table that was cut for storage, not for its contents


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Which of n rows stay on the same side of a split.

    Attributes:
        groups: int64 (n,): rows of one group are never split.
        texts: int64 (n,): equal for rows of one text, identical texts, and pairs that share a text.
        values: int64 (n,): equal for rows with the same value of the column, or of the same document.
        column: the column whose equal values are never split; `None` where only texts aren't.
        unit: what rows with equal values are: a `group` (also without a column) or a `document`.
        notes: what was chosen, for the user.
    """

    groups: I64
    texts: I64
    values: I64
    column: str | None = None
    unit: str = "group"
    notes: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """How rows are going to be divided, as far as the choice of their groups depends on it.

    Attributes:
        parts: rows that are divided or resampled, bool (n,) each; every part needs `MIN_DOCUMENTS` documents.
        automatic: whether a part is divided by layerwise, not by a column of the user's.
        labels: the classes of the rows, as objects (n,), `None` without a label, of each task with classes.
        groups_per_class: how many groups a class needs to be of use.
    """

    parts: Sequence[Mask] = ()
    automatic: bool = True
    labels: Sequence[NDArray[Any]] = ()
    groups_per_class: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class Documents:
    """The column that tells the documents of rows, a number per row, and whether the row is in a document at all."""

    column: str
    numbers: I64
    inside: Mask

    def count(self, rows: Mask) -> int:
        """Return how many documents there are in some rows."""
        return len(np.unique(self.numbers[rows & self.inside]))

    @property
    def kind(self) -> str:
        """What the documents are, as keys of messages name it."""
        return "files" if self.column == _SOURCE else "documents"

    def describe(self, count: int) -> Message:
        """Return a name for messages: 12 documents (column 'document')."""
        return Message(f"note.{self.kind}", n=count, column=repr(self.column))


def group_rows(
    dataset: Layered, docs: I64, column: str | None = None, division: Division | None = None
) -> Grouping:
    """Return the groups of rows, of which `docs`, int64 (n,), are the texts.

    The rows of a text are one group; so are identical texts, the two texts of a pair, and texts with equal values of
    `column`. Groups that share a row are joined. Without a column, documents are kept together where there are at least
    `MIN_DOCUMENTS` of them and the classes allow it.

    Raises:
        RequestError: the column doesn't exist.
    """
    texts = _components([_keys(docs.tolist())], text_numbers(dataset, docs))
    if column is not None:
        values, _ = _numbered(read_column(dataset, docs, column), docs)
        return Grouping(_components([texts], [values]), texts, values, column)
    documents = find_documents(docs, lambda texts, column: document_values(dataset, texts, column))
    if documents is None:
        return Grouping(texts, texts, texts)
    return _by_document(texts, documents, division or Division())


def leak_note(grouping: Grouping, test: Mask, other_parts: Mask) -> Message | None:
    """Return a note on the test rows that share a text or a value with another part of the user's split; `None` without any.

    Args:
        grouping: the groups of the rows.
        test: the rows of the test part, bool (n,).
        other_parts: the rows of the parts that the head is fitted to, or chosen by, bool (n,).
    """
    shared = [np.isin(keys[test], keys[other_parts]) for keys in (grouping.texts, grouping.values)]
    leaked = int(np.logical_or(*shared).sum())
    if not leaked:
        return None
    return Message("note.leak", n=leaked, unit=Message(f"note.unit.{grouping.unit}"))


def _by_document(texts: I64, documents: Documents, division: Division) -> Grouping:
    """Return the groups where there are documents: whole documents, or texts with a note where that isn't possible."""
    parts = [part for part in division.parts if part.any()] or [np.ones(len(texts), bool)]
    count = min(documents.count(part) for part in parts)
    groups, note = _linked(texts, documents)
    named = documents.describe(count)
    if count < MIN_DOCUMENTS:
        why = Message("note.documents.few", documents=named, least=MIN_DOCUMENTS)
        notes: tuple[Message, ...] = (why,) if count > 1 and documents.column == DOCUMENT else ()
    elif not all(_has_two_classes(labels, groups, division) for labels in division.labels):
        notes = (Message("note.documents.classes", documents=named, least=division.groups_per_class),)
    else:
        doc = argument("groups", "doc")
        notes = (
            (
                Message("note.documents.kept", documents=named, option=doc),
                *note,
            )
            if division.automatic
            else (Message(f"note.{documents.kind}.intervals", column=repr(documents.column), option=doc),)
        )
        return Grouping(groups, texts, documents.numbers, documents.column, "document", notes)
    return Grouping(
        texts, texts, documents.numbers, unit="document", notes=notes if division.automatic else ()
    )


def _linked(texts: I64, documents: Documents) -> tuple[I64, tuple[Message, ...]]:
    """Return groups of whole documents, int64 (n,), and a note on texts that couldn't be kept together.

    Documents with an identical text are joined, unless too many would hang together by short texts that many of them have.
    """
    numbers, inside = documents.numbers, documents.inside
    joined = _components([texts], [numbers])
    apart = np.unique(np.where(inside, numbers, numbers.max() + 1 + texts), return_inverse=True)[1]
    sizes, sizes_apart = np.bincount(joined), np.bincount(apart)
    if len(sizes) >= MIN_DOCUMENTS and sizes.max() <= max(_MOST_JOINED * len(texts), sizes_apart.max()):
        return joined, ()
    pairs = np.unique(np.stack([texts, apart]), axis=1)
    shared = int((np.bincount(pairs[0])[texts] > 1).sum())
    return apart, (Message("note.documents.shared", n=shared),)


def _has_two_classes(labels: NDArray[Any], groups: I64, division: Division) -> bool:
    """Return whether at least two classes are in enough groups."""
    has = np.array([label is not None for label in labels], bool)
    pairs = {(label, group) for label, group in zip(labels[has], groups[has].tolist(), strict=True)}
    groups_of_class: dict[Hashable, int] = {}
    for label, _ in pairs:
        groups_of_class[label] = groups_of_class.get(label, 0) + 1
    return sum(count >= division.groups_per_class for count in groups_of_class.values()) >= 2


def find_documents(docs: I64, read: Callable[[I64, str], NDArray[Any]]) -> Documents | None:
    """Return the documents of rows: a column `document`, else the files where at least ten have several texts each.

    `None` where there is neither, or only one document, or where every document is a single text.

    Args:
        docs: the text of each row, int64 (n,).
        read: returns the values of some texts, ascending, in one of `DOCUMENT_COLUMNS`, see `document_values`.
    """
    texts, text_of_row = np.unique(docs, return_inverse=True)
    for column, least in zip(DOCUMENT_COLUMNS, (1, MIN_DOCUMENTS), strict=True):
        numbers, inside = _numbered(read(texts, column), texts)
        if not inside.any():
            continue
        texts_of_document = np.unique(numbers[inside], return_counts=True)[1]
        if len(texts_of_document) > 1 and (texts_of_document > 1).sum() >= least:
            return Documents(column, numbers[text_of_row], inside[text_of_row])
        return None
    return None


def document_values(dataset: Layered, texts: I64, column: str) -> NDArray[Any]:
    """Return the document of each of `texts`, as objects (n,), from a column of the table of texts; `None` without one."""
    value_of_text: dict[int, Any] = {}
    for part in dataset.parts():
        table = part.texts
        if column not in table.column_names or pa.types.is_nested(table.schema.field(column).type):
            continue
        values = table[column].to_pylist()
        if column == _SOURCE:
            values = _files(values, table)
        value_of_text.update(zip(table["doc"].to_pylist(), values, strict=True))
    out = np.empty(len(texts), object)
    out[:] = [value_of_text.get(int(text)) for text in texts]
    return out


def _files(sources: Sequence[Any], table: pa.Table) -> list[Any]:
    """Return the sources that are files of several texts; `None` for a file that is one text, or a cut of a table."""
    lines = table["line"].to_pylist() if "line" in table.column_names else [None] * len(sources)
    return [
        None if line is None or not isinstance(source, str) or _SHARD.search(source) else source
        for source, line in zip(sources, lines, strict=True)
    ]


def _numbered(values: Sequence[Any] | NDArray[Any], docs: I64) -> tuple[I64, Mask]:
    """Return a number per row, int64 (n,), and whether a row has a value, bool (n,).

    Numbers are equal for equal values; without a value, for rows of one text.
    """
    inside = np.array([is_present(value) for value in values], bool)
    keys = [
        (True, _hashable(value)) if has else (False, doc)
        for value, has, doc in zip(values, inside, docs.tolist(), strict=True)
    ]
    return _keys(keys), inside


def _hashable(value: Any) -> Hashable:
    return str(value) if isinstance(value, list | dict) else value


def text_numbers(dataset: Layered, docs: I64) -> list[I64]:
    """Return a number per row that is equal for identical texts, once for each text of a pair.

    Without stored texts, each text has its own number.
    """
    texts = texts_of(dataset, docs)
    return list(np.split(_keys([text for column in texts for text in column]), len(texts)))


def texts_of(dataset: Layered, docs: I64) -> list[list[Hashable]]:
    """Return the text of each row, once for each text of a pair; without stored texts, its number."""
    text_of_doc: dict[int, Any] = {}
    second_begins: dict[int, int] = {}
    for part in dataset.parts():
        texts = part.texts
        numbers = texts["doc"].to_pylist()
        has_texts = "text" in texts.column_names
        text_of_doc.update(zip(numbers, texts["text"].to_pylist() if has_texts else numbers, strict=True))
        if has_texts and PAIR_START in texts.column_names:
            second_begins.update(zip(numbers, texts[PAIR_START].to_pylist(), strict=True))
    if second_begins:
        both = [(text_of_doc[int(doc)], second_begins[int(doc)]) for doc in docs]
        return [[text[: begin - 1] for text, begin in both], [text[begin:] for text, begin in both]]
    docs_of_parts = [docs, docs + 1] if is_paired(dataset) else [docs]
    return [[text_of_doc[int(doc)] for doc in part_docs] for part_docs in docs_of_parts]


def _keys(values: Sequence[Hashable]) -> I64:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _components(*kinds: list[I64]) -> I64:
    """Return the connected components of rows that share a label; each list of labels has its own namespace."""
    count = len(kinds[0][0])
    rows, columns, offset = [], [], count
    for kind in kinds:
        for label in kind:
            rows.append(np.arange(count))
            columns.append(label + offset)
        offset += 1 + max(int(label.max(initial=-1)) for label in kind)
    row, column = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(row), bool), (row, column)), shape=(offset, offset))
    components = connected_components(graph, directed=False)[1][:count]
    return _keys(components.tolist())
