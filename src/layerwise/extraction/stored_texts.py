"""The texts of a dataset, rebuilt from its tables: as they were read, and with its rows as tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from layerwise.encode.tokenizer import NO_WORD, Tokens
from layerwise.errors import DatasetError
from layerwise.example import DOCUMENT, PART, Example, JointPair, clean, document_of
from layerwise.schema import CONTEXT_COLUMNS, PAIR_START, Carried, Coverage
from layerwise.store import LayerDataset

TextColumns = dict[str, list[str]]
_ALWAYS = ("doc", "id", "source", "line", "tokens", "unknown", "windows", "truncated")


@dataclass(frozen=True)
class StoredText:
    """A text of a dataset: as it was read, its rows as tokens, and its counts."""

    example: Example
    tokens: Tokens
    coverage: Coverage


def places(dataset: LayerDataset, docs: Sequence[int]) -> Iterator[tuple[LayerDataset, int, int]]:
    """Yield the part that holds each text, its number, and its row among the part's texts; `docs` must ascend."""
    begin = 0
    left = list(reversed(docs))
    for part in dataset.parts():
        end = begin + part.text_count
        while left and left[-1] < end:
            yield part, left[-1], left[-1] - begin
            left.pop()
        begin = end


def stored_example(part: LayerDataset, row: int) -> Example:
    """Return a text as it was read, without its carried columns, from its row among the texts of a part."""
    return _example(part.texts.slice(row, 1).to_pylist()[0], {"text": [], "word": []}, _pair_names(part))


def neighbours(part: LayerDataset, row: int) -> tuple[list[Example], int]:
    """Return the texts of the document of a text, and its place among them; the text alone where rows have no context.

    All have their document in the column `document`, as a number that no other document of the dataset has.

    Args:
        part: a shard, which holds all texts of the document.
        row: the row of the text among the texts of the part.
    """
    numbers = _rows_of_document(part, row)
    document = part.texts["doc"][numbers.start].as_py()
    examples = [replace(stored_example(part, n), columns={DOCUMENT: document}) for n in numbers]
    return examples, row - numbers.start


def stored_examples(dataset: LayerDataset, docs: Sequence[int]) -> tuple[list[Example], list[int]]:
    """Return the texts with these numbers, ascending, with their `neighbours`, and the places of the former."""
    examples: list[Example] = []
    only: list[int] = []
    first: int | None = None
    for part, doc, row in places(dataset, docs):
        numbers = _rows_of_document(part, row)
        if doc - row + numbers.start != first:
            first = doc - row + numbers.start
            begin = len(examples)
            examples += neighbours(part, row)[0]
        only.append(begin + row - numbers.start)
    return examples, only


def _rows_of_document(part: LayerDataset, row: int) -> range:
    """Return the rows of the texts of a document among those of a part; of one text alone where rows have no context."""
    if part.manifest.settings.context is None or DOCUMENT not in part.texts.column_names:
        return range(row, row + 1)
    documents = part.texts[DOCUMENT].to_pylist()
    document = documents[row]
    if document_of(Example("", columns={DOCUMENT: document})) is None:
        return range(row, row + 1)
    begin, end = row, row + 1
    while begin and documents[begin - 1] == document:
        begin -= 1
    while end < len(documents) and documents[end] == document:
        end += 1
    return range(begin, end)


def has_texts(dataset: LayerDataset) -> bool:
    """Return whether the dataset stores its texts."""
    return "text" in next(dataset.parts()).texts.column_names


def stored_columns(part: LayerDataset) -> TextColumns:
    """Return the carried columns among the texts of a part: those with a value per text, and those with one per word."""
    columns = {
        kind: [name for name in names if name in part.texts.column_names]
        for kind, names in (("text", part.manifest.columns.text), ("word", part.manifest.columns.word))
    }
    for name in columns["word"]:
        if not pa.types.is_list(part.texts[name].type) and not pa.types.is_null(part.texts[name].type):
            raise DatasetError(
                f"{part.path}: column {name!r} of words is {part.texts[name].type} and no list, so it is damaged; "
                "run `layerwise verify`"
            )
    return columns


def carried_as_stored(part: LayerDataset, columns: TextColumns) -> Carried:
    """Return how to carry the stored columns on: in their types, and without texts where none are stored."""
    types = {field.name: field.type for field in part.texts.schema}
    return Carried(types, "text" not in types, tuple(columns["text"] + columns["word"]))


def stored_texts(part: LayerDataset, columns: TextColumns) -> list[StoredText]:
    """Return the texts of a part of level token or word, in order.

    Raises:
        DatasetError: a column that every dataset has is missing.
    """
    for name in _ALWAYS:
        if name not in part.texts.column_names:
            raise DatasetError(
                f"the texts of {part.path} have no column {name!r}, so they are damaged; run `layerwise verify`"
            )
    docs = part.index["doc"].to_numpy()
    begins = np.searchsorted(docs, part.texts["doc"].to_numpy())
    rows = {
        "start": _numbers(part.index, "start", 0),
        "end": _numbers(part.index, "end", 0),
        "word": _numbers(part.index, "word", NO_WORD),
        "special": _numbers(part.index, "special", 0),
        "dropped": _numbers(part.index, "dropped", 0),
        "unknown": _numbers(part.index, "unknown", 0),
        "second": _are_of_second(part),
    }
    # Offsets count from the beginning of each of two texts.
    if PAIR_START in part.texts.column_names:
        begins_of_second = _numbers(part.texts, PAIR_START, 0)
        starts_of_texts = np.repeat(begins_of_second, np.diff([*begins, len(docs)]))
        for name in ("start", "end"):
            rows[name] = rows[name] + starts_of_texts * rows["second"]
    has_offsets = not part.index["start"].null_count
    tokens_of_texts = [
        _tokens({name: values[begin:end] for name, values in rows.items()}, has_offsets)
        for begin, end in zip(begins, [*begins[1:], len(docs)], strict=True)
    ]
    return [
        StoredText(_example(text, columns, _pair_names(part)), tokens, _coverage(text, tokens))
        for text, tokens in zip(part.texts.to_pylist(), tokens_of_texts, strict=True)
    ]


def _coverage(text: dict[str, Any], tokens: Tokens) -> Coverage:
    counts = {name: text[name] for name in ("tokens", "unknown", "windows", "truncated")}
    context = {name: text[name] for name in CONTEXT_COLUMNS if name in text}
    return Coverage(**counts, empty=not tokens.own_body, **context)


def _example(row: dict[str, Any], columns: TextColumns, names: tuple[str, str] | None) -> Example:
    words, begin = row.get("words"), row.get(PAIR_START)
    pair = None if begin is None or names is None else JointPair(begin - 1, names)
    return Example(
        row.get("text") or "",
        tuple(words) if words is not None else None,
        row.get("id"),
        row.get("source"),
        row.get("line"),
        {name: row[name] for name in columns["text"]},
        {name: tuple(row[name]) for name in columns["word"] if row[name] is not None},
        pair=pair,
    )


def _tokens(rows: dict[str, npt.NDArray[np.int64]], has_offsets: bool) -> Tokens:
    inside = np.flatnonzero(rows["special"] == 0)
    between = (
        np.flatnonzero(rows["special"][inside[0] : inside[-1] + 1]) + inside[0] if len(inside) else inside
    )
    length = len(rows["special"])
    prefix, suffix = (int(inside[0]), int(length - 1 - inside[-1])) if len(inside) else (length, 0)
    nothing = np.zeros(length, dtype=np.int64)
    dropped = frozenset(rows["word"][rows["dropped"] > 0].tolist())
    unknown = rows["unknown"] > 0
    return Tokens(
        nothing,
        nothing,
        rows["start"],
        rows["end"],
        rows["word"],
        unknown,
        prefix,
        suffix,
        dropped,
        has_offsets=has_offsets,
        between=range(int(between[0]), int(between[-1]) + 1) if len(between) else range(0),
    )


def _are_of_second(part: LayerDataset) -> npt.NDArray[np.int64]:
    """Return which rows belong to the second of two texts that are encoded together, as 0 and 1, (rows,)."""
    names = _pair_names(part)
    if names is None or PART not in part.index.column_names:
        return np.zeros(part.index.num_rows, dtype=np.int64)
    return np.array([name == names[1] for name in part.index[PART].to_pylist()], dtype=np.int64)


def _pair_names(part: LayerDataset) -> tuple[str, str] | None:
    """Return the columns of the two texts that are encoded together; `None` for single texts."""
    reading = part.manifest.settings.reading
    if not reading.joint or reading.text is None:
        return None
    first, second = map(clean, reading.text)
    return first, second


def _numbers(index: pa.Table, name: str, missing: int) -> npt.NDArray[np.int64]:
    if name not in index.column_names:
        return np.full(index.num_rows, missing, dtype=np.int64)
    values: npt.NDArray[np.int64] = index[name].cast(pa.int64()).fill_null(missing).to_numpy()
    return values
