"""Sources in memory: data frames, Arrow tables, datasets of `datasets`, lists of records, lists of texts.

They are known by what they offer, so that none of their libraries is needed: `__arrow_c_stream__` (polars, pyarrow,
DuckDB), `iloc` (pandas), `with_format` and `features` (`datasets`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from layerwise._util.paths import is_url
from layerwise.errors import RequestError, SourceError
from layerwise.read.arrow_rows import BATCH_ROWS, TypedReader, counted, records_of
from layerwise.read.class_names import names_in_schema, names_of
from layerwise.read.endings import has_known_ending
from layerwise.read.file import File
from layerwise.read.jsonl import PEEK_RECORDS, columns_of
from layerwise.read.record import BadRecordError, Record, Skipped, listed, quoted, shown

IN_MEMORY = "python"
_DEEPEST = 64
_LONGEST_NAME = 4096
_MISSING = ("NAType", "NaTType")  # the types of pandas' NA and NaT


def is_in_memory(sources: Any) -> bool:
    """Return whether sources are data, not names of files."""
    if isinstance(sources, str | Path):
        return False
    if isinstance(sources, Mapping) or _is_table(sources) or hasattr(sources, "collect"):
        return True
    if _is_column(sources):
        return not _is_path(next(iter(_items(sources)), None))
    if not isinstance(sources, list | tuple):
        return _is_iterable_of_records(sources)
    return bool(sources) and (isinstance(sources[0], Mapping) or _are_texts(sources))


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
        for number, item in enumerate(_items(file.data), 1):
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


def _items(data: Any) -> Any:
    name = next((name for name in ("to_pylist", "to_list", "tolist") if hasattr(data, name)), None)
    return data if name is None else getattr(data, name)()


def _is_iterable_of_records(data: Any) -> bool:
    return hasattr(data, "features") and hasattr(data, "__iter__")


def _are_texts(items: Sequence[Any]) -> bool:
    """Return whether strings are texts: none names a file, and one has several words."""
    if not all(isinstance(item, str) for item in items):
        return False
    sample = list(islice(items, PEEK_RECORDS))
    return any(len(item.split()) > 1 for item in sample) and not any(map(_may_be_a_name, sample))


def _may_be_a_name(item: str) -> bool:
    return item == "-" or is_url(item) or has_known_ending(item) or _is_path(item)


def _is_path(item: Any) -> bool:
    if not isinstance(item, str) or not item or len(item) > _LONGEST_NAME or "\0" in item:
        return False
    try:
        return Path(item).exists()
    except OSError:  # a part of it is too long
        return False


def _fields(item: Any) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise BadRecordError(
            f"{quoted(shown(item))} where a text or a record is needed, such as {{'text': '…'}}"
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
            return pa.Table.from_pandas(data, preserve_index=False)
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
