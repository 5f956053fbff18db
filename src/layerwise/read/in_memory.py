"""Sources in memory: data frames, Arrow tables, datasets of `datasets`, lists of records, lists of texts.

They are known by what they offer, so that none of their libraries is needed: `__arrow_c_stream__` (polars, pyarrow,
DuckDB), `iloc` (pandas), `with_format` and `features` (`datasets`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerwise.arguments import are_flags, argument
from layerwise.errors import RequestError, SourceError
from layerwise.read.arrow_rows import BATCH_ROWS, TypedReader, counted, records_of
from layerwise.read.class_names import names_in_schema, names_of
from layerwise.read.file import File
from layerwise.read.jsonl import PEEK_RECORDS, columns_of
from layerwise.read.record import BadRecordError, Record, Skipped, listed, quoted, shown
from layerwise.read.strings import are_names
from layerwise.wording import Message

IN_MEMORY = "python"
_DEEPEST = 64
_MISSING = ("NAType", "NaTType")  # the types of pandas' NA and NaT


def is_in_memory(sources: Any, format: str) -> bool:
    """Return whether sources are data, not names of files.

    Strings in a list are names on the command line, and where a format of files is given.

    Raises:
        RequestError: neither of the two, or a list of both.
    """
    if isinstance(sources, str | Path):
        return False
    if isinstance(sources, Mapping) or _is_table(sources) or _is_iterable_of_records(sources):
        return True
    if hasattr(sources, "collect"):
        return True
    items = items_of(sources)
    if isinstance(items, str | bytes) or not isinstance(items, Sequence):
        raise RequestError(
            f"got a {type(sources).__name__} for a source; give a name, a list of names, texts or records, or a table "
            "such as pandas.DataFrame(…)"
        )
    if not all(isinstance(item, str | Path) for item in items):
        return True
    is_command = are_flags() or format != "auto" or any(isinstance(item, Path) for item in items)
    return not is_command and not are_names(items)


def in_memory_file(data: Any) -> File:
    """Return the file that stands for data in memory.

    Raises:
        RequestError: a dictionary of splits or of columns.
    """
    name = type(data).__name__
    if isinstance(data, Mapping):
        names = [str(key) for key in data]
        if data and all(_is_table(value) or hasattr(value, "features") for value in data.values()):
            raise RequestError(
                f"got a {name} of the splits {listed(names)} for a source; give one of them, such as source[{names[0]!r}]"
            )
        raise RequestError(
            f"got a {name} with the keys {listed(names)} for a source; give a list of records, or a table such as "
            "pandas.DataFrame(…)"
        )
    if hasattr(data, "collect"):
        raise RequestError(f"got a {name} for a source, which isn't computed yet; give its collect()")
    once = hasattr(data, "read_next_batch")  # a stream of Arrow batches
    size = len(data) if hasattr(data, "__len__") else 0
    return File(None, name, f"the {name}", id=name, size=size, once=once, data=data)


class ObjectReader(TypedReader):
    """One record per row; `line` counts them from 1."""

    def check(self, file: File) -> None:
        """Check the columns: of a table its schema, else those of the first records."""
        if _is_table(file.data):
            self.agree_schema(file, _schema(file))
        else:
            self.watched = True  # records have types of their own, as in JSON lines
            columns = columns_of(self._untyped(file), lambda: False)
            file.done = 0
            if columns is not None:
                if isinstance(file.data, list | tuple) and _are_single_words(file.data[:PEEK_RECORDS]):
                    data = Message("note.data", type=file.source)
                    self.notices.append(Message("note.read.strings", data=data))
                self.agree(file, replace(columns, classes=names_of(getattr(file.data, "features", None))))

    def records(self, file: File) -> Iterator[Record | Skipped]:
        """Yield a record per row."""
        if not _is_table(file.data):
            yield from self._untyped(file)
            return
        if file.once:
            if file.spent:
                raise SourceError(f"{file.label} can be read only once; give a table")
            file.spent = True
        start = 0
        for batch in _batches(file):
            if file.once and not start:
                self.agree_schema(file, batch.schema)
            for first in range(0, batch.num_rows, BATCH_ROWS):
                yield from counted(file, records_of(file, batch.slice(first, BATCH_ROWS), start + first))
            start += batch.num_rows

    def class_names(self, file: File, schema: Any) -> dict[str, tuple[str, ...]]:
        """Return the names in the features of a dataset, else those in the schema."""
        return names_of(getattr(file.data, "features", None)) or names_in_schema(schema)

    def _untyped(self, file: File) -> Iterator[Record | Skipped]:
        for number, item in enumerate(items_of(file.data), 1):
            file.done += 1
            try:
                fields = {"text": item} if isinstance(item, str) else _fields(item)
                yield Record(number, fields)
            except BadRecordError as error:
                yield Skipped(file.label, number, str(error))


def _is_column(data: Any) -> bool:
    has_rows = hasattr(type(data), "schema") or hasattr(type(data), "columns")
    return not has_rows and any(hasattr(data, name) for name in ("to_list", "to_pylist", "tolist"))


def _is_table(data: Any) -> bool:
    names = ("__arrow_c_stream__", "iloc", "with_format", "read_next_batch")
    is_batch = hasattr(type(data), "schema") and hasattr(data, "num_rows")
    return not _is_column(data) and (is_batch or any(hasattr(data, name) for name in names))


def items_of(data: Any) -> Any:
    """Return the items of a list or column as Python's objects."""
    name = next((name for name in ("to_pylist", "to_list", "tolist") if hasattr(data, name)), None)
    return data if name is None else getattr(data, name)()


def _is_iterable_of_records(data: Any) -> bool:
    return hasattr(data, "features") and hasattr(data, "__iter__")


def _are_single_words(items: Sequence[Any]) -> bool:
    return all(isinstance(item, str) and len(item.split()) < 2 for item in items)


def _fields(item: Any) -> dict[str, Any]:
    if isinstance(item, list | tuple):
        words = argument("words", "words")
        raise BadRecordError(
            f"the list {quoted(shown(item))} where a text or a record is needed; give words as {{'words': […]}}, with {words}"
        )
    if not isinstance(item, Mapping):
        raise BadRecordError(
            f"{quoted(shown(item))} where a text or a record is needed, such as {{'text': '…'}}; correct it"
        )
    return {str(key): _plain(value) for key, value in item.items()}


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON has it: numpy's numbers and arrays become Python's."""
    if depth > _DEEPEST:
        raise BadRecordError(f"a value is nested more than {_DEEPEST} deep; make it flatter")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if hasattr(value, "tolist"):
        plain = value.tolist()
        if plain is not value and type(plain) is not type(value):
            return _plain(plain, depth + 1)
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    raise BadRecordError(
        f"the {type(value).__name__} {quoted(shown(value))} is no text, number or list of these; convert it"
    )


def _arrow(file: File) -> Any:
    """Return a table or a stream of Arrow with the rows of an object.

    Raises:
        SourceError: columns that mix types.
    """
    import pyarrow as pa

    data = file.data
    try:
        if hasattr(data, "iloc"):
            return _from_pandas(file)
        if hasattr(data, "with_format"):
            return data.with_format("arrow")
        if hasattr(data, "__arrow_c_stream__") and not hasattr(data, "read_next_batch"):
            return pa.RecordBatchReader.from_stream(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise SourceError(
            f"{file.label} can't be read: {quoted(why)}; make the values of each column one type"
        ) from error
    return data


def _from_pandas(file: File) -> Any:
    """Return a data frame of pandas as a table; an index with a name is a column too."""
    import pyarrow as pa

    frame = file.data
    duplicates = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
    if duplicates:
        raise SourceError(f"{file.label} has two columns {quoted(listed(duplicates))}; rename one of them")
    names = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return pa.Table.from_pandas(frame.reset_index(names) if names else frame, preserve_index=False)


def _schema(file: File) -> Any:
    table = _arrow(file)
    return table[:1].schema if hasattr(table, "with_format") else table.schema


def _batches(file: File) -> Iterator[Any]:
    table = _arrow(file)
    if hasattr(table, "with_format"):
        for part in table.iter(batch_size=BATCH_ROWS):
            yield from part.to_batches()
    elif hasattr(table, "to_batches"):
        yield from table.to_batches()
    elif hasattr(table, "num_rows"):
        yield table
    else:
        yield from table
