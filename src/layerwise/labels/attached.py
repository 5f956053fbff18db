"""Join labels in a file of their own to the rows of a dataset: by the ids of texts, or else by their order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.columns import is_paired, is_present
from layerwise.errors import RequestError
from layerwise.labels.label_file import ID, LabelFile, id_text, read_label_file
from layerwise.labels.labelled import printed_lists
from layerwise.labels.spelling import shortened
from layerwise.read.example_builder import RESERVED
from layerwise.states import Layered
from layerwise.word_split import split_words
from layerwise.wording import Message, some

_IDS = (ID, f"source.{ID}")  # a column `id` of the source is carried as `source.id` unless it was named


@dataclass(frozen=True, slots=True, eq=False)
class AttachedLabels:
    """A dataset with the labels of a file as a column.

    Attributes:
        dataset: the rows, with the column.
        label: the name of the column of the labels; `None` without a file and a name.
        record: where the labels come from, as JSON values; `None` without a file.
        notes: messages for the user.
    """

    dataset: Layered
    label: str | None
    record: dict[str, Any] | None = None
    notes: list[Message] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _JoinedLabels:
    """The label of each text, and its place in the file; the ids of texts without a label, and of labels without a text."""

    values: list[Any]
    places: list[str]
    joined_by: str
    missing: list[str | None]
    unused: list[str]


def with_labels(
    dataset: Layered, labels_from: Any, label: str | None, *, task: str | None = None
) -> AttachedLabels:
    """Return a dataset with the labels of a file as a column; without a file the dataset itself.

    Args:
        dataset: rows on disk or in memory.
        labels_from: a file, see `label_file.read_label_file`, or `None`.
        label: the name of the column; by default that of the file.
        task: with `tag`, a label is a tag per word, and a string is divided at its blanks.

    Raises:
        SourceError: a file that can't be read.
        RequestError: labels that can't be joined to the texts, or don't fit their words.
    """
    if labels_from is None:
        return AttachedLabels(dataset, label)
    file = read_label_file(labels_from, label)
    name = label or (file.column if file.column not in RESERVED else "label")
    if name in RESERVED:
        raise RequestError(
            f"{argument('label', name)} is a column that layerwise writes itself; give another name"
        )
    joined = _join(dataset, file)
    notes = _notes(dataset, file, joined, name)
    letters = _by_letter(dataset, joined.values)
    if letters is not None:
        joined = replace(joined, values=letters)
        notes.append(Message("note.labels.letters", source=file.source))
    missing = sum(not is_present(value) for value in joined.values)
    record = {
        "source": file.source,
        "column": file.column,
        "sha256": file.sha256,
        "joined_by": joined.joined_by,
        "labels": len(file),
        "texts_without_label": missing,
        "unused_labels": len(joined.unused),
    }
    return AttachedLabels(_attached(dataset, file, name, joined, task), name, record, notes)


def _join(dataset: Layered, file: LabelFile) -> _JoinedLabels:
    ids = _ids_of(dataset)
    return _by_order(dataset, file, ids) if ids is None or file.ids is None else _by_id(ids, file)


def _ids_of(dataset: Layered) -> list[str | None] | None:
    """Return the id of each text, `None` where the texts have none."""
    for name in _IDS:
        ids = [
            id_text(value)
            for part in dataset.parts()
            for value in (part.texts[name].to_pylist() if name in part.texts.column_names else [])
        ]
        if any(text_id is not None for text_id in ids):
            return ids
    return None


def _by_id(ids: Sequence[str | None], file: LabelFile) -> _JoinedLabels:
    position: dict[str, int] = {}
    for number, text_id in enumerate(file.ids or ()):
        if text_id is None:
            raise RequestError(f"{file.places[number]} has no id; give each label the id of its text")
        if text_id in position:
            raise RequestError(
                f"{file.places[number]}: the id {text_id!r:.60} has a label already, on {file.places[position[text_id]]}; "
                "give each id once"
            )
        position[text_id] = number
    places = [None if text_id is None else position.get(text_id) for text_id in ids]
    if all(number is None for number in places):
        texts = [repr(text_id) for text_id in ids if text_id is not None]
        raise RequestError(
            f"none of the ids of {file.source} ({shortened([*map(repr, position)])}) is the id of a text "
            f"({shortened(texts)}); give labels of these texts"
        )
    unused = position.keys() - {text_id for text_id in ids if text_id is not None}
    return _JoinedLabels(
        [None if number is None else file.values[number] for number in places],
        ["" if number is None else file.places[number] for number in places],
        "id",
        [text_id for text_id, number in zip(ids, places, strict=True) if number is None],
        [text_id for text_id in position if text_id in unused],
    )


def _by_order(dataset: Layered, file: LabelFile, ids: Sequence[str | None] | None) -> _JoinedLabels:
    step = 2 if is_paired(dataset) else 1
    records = dataset.text_count // step
    if len(file) != records:
        without = "the file" if file.ids is None and ids is not None else "the dataset"
        without = "neither" if file.ids is None and ids is None else without
        what = f"{records:,} {'pairs of ' * (step - 1)}texts"
        raise RequestError(
            f"{file.source} has {count_of(len(file), 'label')} and the dataset {what}, and they can't be joined by "
            f"id, as {without} has "
            f"{'any' if without == 'neither' else 'none'}; give one label per text in the same order, or ids in both "
            f"({argument('id')} when texts are extracted)"
        )
    _check_order(dataset, file)
    return _JoinedLabels(
        [value for value in file.values for _ in range(step)],
        [place for place in file.places for _ in range(step)],
        "order",
        [],
        [],
    )


def _check_order(dataset: Layered, file: LabelFile) -> None:
    """Check that no text beside the labels is another text of the dataset than that of its place.

    Raises:
        RequestError: the labels are in another order.
    """
    stored = _stored_texts(dataset)
    doc_of_text = {text: doc for doc, text in enumerate(stored)}
    for doc in _differing(file.texts or [], stored):
        other = doc_of_text.get(str((file.texts or [])[doc]).strip())
        if other is not None:
            raise RequestError(
                f"{file.places[doc]}: the text beside the label is text {other} of the dataset, not {doc}, so the labels are "
                f"in another order; give ids in both ({argument('id')} when texts are extracted), or the order of the texts"
            )


def _stored_texts(dataset: Layered) -> list[str]:
    """Return the texts without blanks around them; nothing where none are stored, or each record is a pair."""
    if is_paired(dataset):
        return []
    parts = (part.texts for part in dataset.parts())
    return [
        (text or "").strip()
        for texts in parts
        if "text" in texts.column_names
        for text in texts["text"].to_pylist()
    ]


def _differing(texts: Sequence[Any], stored: Sequence[str]) -> list[int]:
    """Return the places where both have a text, and not the same."""
    pairs = enumerate(zip(texts, stored, strict=False))
    return [place for place, (text, kept) in pairs if isinstance(text, str) and text.strip() != kept]


def _notes(dataset: Layered, file: LabelFile, joined: _JoinedLabels, name: str) -> list[Message]:
    notes: list[Message] = []
    if joined.joined_by == "order":
        notes.append(Message("note.labels.order", n=len(file), source=file.source))
        differing = _differing(file.texts or [], _stored_texts(dataset))
        if differing:
            notes.append(
                Message(
                    "note.labels.differ",
                    n=len(differing),
                    of=len(file),
                    source=file.source,
                    first=differing[0] + 1,
                )
            )
    if joined.missing:
        no_id = Message("note.labels.no.id")
        examples = some([no_id if text_id is None else repr(text_id) for text_id in joined.missing])
        missing = {"n": len(joined.missing), "of": len(joined.places)}
        notes.append(Message("note.labels.missing", **missing, source=file.source, examples=examples))
    texts_of_id = Counter((_ids_of(dataset) or []) if joined.joined_by == "id" else [])
    shared = [
        repr(text_id)
        for text_id, count in texts_of_id.items()
        if text_id is not None and count > (2 if is_paired(dataset) else 1)
    ]
    if shared:
        notes.append(Message("note.labels.same.id", examples=some(shared)))
    if joined.unused:
        examples = some([*map(repr, joined.unused)])
        unused = {"n": len(joined.unused), "of": len(file)}
        notes.append(Message("note.labels.unused", **unused, source=file.source, examples=examples))
    first = next(dataset.parts(), dataset)
    if name in (*first.texts.column_names, *first.index.column_names):
        notes.append(Message("note.labels.column", column=repr(name), source=file.source))
    return notes


def _attached(
    dataset: Layered, file: LabelFile, name: str, joined: _JoinedLabels, task: str | None
) -> Layered:
    values = joined.values
    if dataset.level not in ("word", "token"):
        return dataset.with_column(name, _array(values), of_rows=False)
    lists, _ = printed_lists(file.column, values)
    values = values if lists is None else lists
    if task == "tag":
        values = [value.split() if isinstance(value, str) else value for value in values]
    if not any(isinstance(value, list) for value in values):
        return dataset.with_column(name, _array(values), of_rows=False)
    _check_words(dataset, values, joined.places)
    if dataset.level == "token":
        return dataset.with_column(name, _array(values), of_rows=False)
    of_rows: list[Any] = []
    for part in dataset.parts():
        docs, words = part.index["doc"].to_pylist(), part.index["word"].to_pylist()
        of_rows += [
            None if values[doc] is None else values[doc][word] for doc, word in zip(docs, words, strict=True)
        ]
    return dataset.with_column(name, _array(of_rows), of_rows=True)


def _by_letter(dataset: Layered, values: Sequence[Any]) -> list[Any] | None:
    """Return strings as lists of their letters, as the labels of residues are written: `HHHEEC`.

    `None` where words aren't letters, or most strings don't have a letter for each.
    """
    if dataset.word_split != "chars" or dataset.level not in ("word", "token"):
        return None
    words: list[int] = []
    for part in dataset.parts():
        with_rows = _words_with_rows(part)
        words += [with_rows[doc] if count is None else count for doc, count in _words_of(part)]
    strings = [(value, count) for value, count in zip(values, words, strict=True) if isinstance(value, str)]
    fitting = sum(len(value) == count for value, count in strings)
    if 2 * fitting <= len(strings) or all(len(value) < 2 for value, _ in strings):
        return None
    return [list(value) if isinstance(value, str) and value else value for value in values]


def _check_words(dataset: Layered, values: Sequence[Any], places: Sequence[str]) -> None:
    """Check that each text has a label for each of its words, or none at all.

    Raises:
        RequestError: a text with more or fewer.
    """
    for part in dataset.parts():
        with_rows = _words_with_rows(part)
        for doc, words in _words_of(part):
            labels, least = values[doc], with_rows[doc]
            is_list = isinstance(labels, list)
            if labels is None or (is_list and len(labels) == words):
                continue
            if words is None and is_list and len(labels) >= least:
                continue  # a word that the model lost has no row
            what = f"{count_of(len(labels), 'label')}" if is_list else f"the label {labels!r:.60}"
            raise RequestError(
                f"{places[doc]}: {what} for the {count_of(least if words is None else words, 'word')} of text {doc}; "
                "give a label for each word"
            )


def _words_with_rows(part: Layered) -> Counter[int]:
    """Return the number of words of each text up to the last that has a row."""
    with_rows = Counter[int]()
    for doc, word in zip(part.index["doc"].to_pylist(), part.index["word"].to_pylist(), strict=True):
        with_rows[doc] = max(with_rows[doc], -1 if word is None else word + 1)
    return with_rows


def _words_of(part: Layered) -> list[tuple[int, int | None]]:
    """Return the number of each text and that of its words; `None` where no texts are stored."""
    texts = part.texts
    docs = texts["doc"].to_pylist()
    if "words" in texts.column_names:
        counts = [None if words is None else len(words) for words in texts["words"].to_pylist()]
    else:
        counts = [None] * len(docs)
    if "text" in texts.column_names:
        stored = texts["text"].to_pylist()
        counts = [
            len(split_words(text or "", part.word_split)) if count is None else count
            for count, text in zip(counts, stored, strict=True)
        ]
    return list(zip(docs, counts, strict=True))


def _array(values: Sequence[Any]) -> pa.Array:
    """Return values as an array; values of several types become strings."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_strings(value) for value in values])


def _strings(value: Any) -> Any:
    if isinstance(value, list):
        return [_strings(item) for item in value]
    return None if value is None else str(value)
