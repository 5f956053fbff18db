"""Labels in a file of their own, which come after the texts were encoded."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise._util.guarded import digest_regular
from layerwise._util.paths import is_url, place
from layerwise.arguments import argument
from layerwise.errors import RequestError, SourceError
from layerwise.labels.spelling import shortened
from layerwise.read.corpus import read_fields
from layerwise.read.endings import has_known_ending, is_fasta
from layerwise.read.fasta import SEQUENCE
from layerwise.read.files import find_files
from layerwise.read.recognise import holds_conll
from layerwise.wording import Message

ID = "id"
_TEXT = "text"


@dataclass(frozen=True, slots=True, eq=False)
class LabelFile:
    """The labels of a file, in its order.

    Attributes:
        source: the name of the file.
        column: the column of the labels.
        values: the labels; lists where a text has several.
        ids: the ids of the texts as strings, or `None` without a column `id`.
        texts: the texts that stand beside the labels in a column `text`; `None` without one.
        places: where each label stands, for messages.
        sha256: the hash of the file; `None` for several files, and for data in memory.
    """

    source: str
    column: str
    values: list[Any]
    ids: list[str | None] | None
    texts: list[Any] | None
    places: list[str]
    sha256: str | None

    def __len__(self) -> int:
        return len(self.values)


def read_label_file(labels_from: Any, label: str | None) -> LabelFile:
    """Return the labels of a file.

    Args:
        labels_from: a file of any format, or `FILE:COL` (of FASTA by default the sequences); in Python also data in memory,
            such as a data frame or a list.
        label: the column when `labels_from` names none and the file has it; otherwise the column is the only one besides
            `id`.

    Raises:
        SourceError: a file that can't be read.
        RequestError: no label, or it isn't clear in which column they are.
    """
    source, column = _split(labels_from)
    of_sequences = isinstance(source, str | Path) and is_fasta(str(source))
    values: list[Any] = []
    ids: list[str | None] = []
    texts: list[Any] = []
    places: list[str] = []
    try:
        for record_place, fields in read_fields(_records_of(source), format=_format(source)):
            if of_sequences and column is None and label not in fields:
                column = SEQUENCE
            column = column if values else _column(labels_from, column, label, list(fields))
            values.append(fields.get(column or ""))
            ids.append(id_text(fields.get(ID)))
            texts.append(fields.get(_TEXT) if column != _TEXT else None)
            places.append(record_place)
    except SourceError as error:
        utf8 = "; a file of labels needs UTF-8" if argument("encoding") in str(error) else ""
        raise SourceError(f"{argument('labels_from')}: {error}{utf8}") from None
    if column is None or not values:
        raise RequestError(f"{argument('labels_from')}: {_name(source)} holds no label; give one per text")
    has_ids = any(text_id is not None for text_id in ids)
    has_texts = any(isinstance(text, str) for text in texts)
    return LabelFile(
        _name(source),
        column,
        values,
        ids if has_ids else None,
        texts if has_texts else None,
        places,
        _digest(source),
    )


def id_text(value: Any) -> str | None:
    """Return an id as a string, the same for the number 7, 7.0 and the text `7`; `None` where it is missing."""
    if value is None or value != value or value == "":
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _split(labels_from: Any) -> tuple[Any, str | None]:
    """Return the file and the column of `FILE:COL`; a name of a file may hold a colon itself."""
    if not isinstance(labels_from, str) or _exists(labels_from):
        return labels_from, None
    file, colon, column = labels_from.rpartition(":")
    is_column = bool(colon and file and column) and "/" not in column
    return (file, column) if is_column and (_exists(file) or is_url(file)) else (labels_from, None)


def _exists(name: str) -> bool:
    with suppress(OSError, ValueError):
        return not is_url(name) and Path(name).exists()
    return False


def _records_of(source: Any) -> Any:
    """Return a source of which each item is a record: labels in a list or a column are records of one field."""
    if isinstance(source, str | Path) or hasattr(source, "schema") or hasattr(source, "columns"):
        return source
    convert = next((name for name in ("to_pylist", "to_list", "tolist") if hasattr(source, name)), None)
    items = getattr(source, convert)() if convert is not None else source
    if isinstance(items, list | tuple) and items and not isinstance(items[0], Mapping):
        return [{"label": label} for label in items]
    return items


def _format(source: Any) -> str:
    """Return the format of a file: one without a known ending has a label per line, unless it is CoNLL."""
    if not isinstance(source, str | Path) or has_known_ending(str(source)) or not Path(source).is_file():
        return "auto"
    _, files = find_files(source, "txt")
    return "auto" if holds_conll(files[0]) else "txt"


def _column(labels_from: Any, column: str | None, label: str | None, names: Sequence[str]) -> str:
    others = [name for name in names if name != ID]
    if column is None and label in others:
        column = label
    if column is None and len(others) == 1:
        column = _only(others[0], names)
    if column in others:
        return str(column)
    listed = shortened([*map(repr, names)])
    if column is not None:
        what = (
            f"column {ID!r} holds the ids of texts"
            if column == ID
            else f"there is no column {column!r}, only {listed}"
        )
        raise RequestError(f"{argument('labels_from', labels_from)}: {what}; name the column of the labels")
    example = f"{_name(labels_from)}:{others[-1] if others else 'label'}"
    raise RequestError(
        f"{argument('labels_from')}: it isn't clear which of the columns {listed} holds the labels; name it, such as "
        f"{argument('labels_from', example)}"
    )


def _only(column: str, names: Sequence[str]) -> str:
    """Return the only column that may hold labels.

    Raises:
        RequestError: its name looks like those of several columns with another separator between them.
    """
    separator = next((mark for mark in ";\t|" if mark in column), None)
    if separator is None or len(names) > 1:
        return column
    raise RequestError(
        f"{argument('labels_from')}: the header is one column, {column!r}; if {separator!r} separates its cells, write the file "
        "with commas, or with tabs under a name that ends in .tsv"
    )


def _name(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else Message("note.data", type=type(source).__name__)


def _digest(source: Any) -> str | None:
    if not isinstance(source, str | Path):
        return None
    with suppress(OSError, ValueError):
        return digest_regular(place(source))
    return None
