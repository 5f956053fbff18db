"""Records of Arrow batches, for all readers of tables with types; a value is checked before it fills the memory."""

from collections.abc import Iterator
from typing import Any

from layerwise import _util
from layerwise.arguments import argument
from layerwise.errors import SourceError
from layerwise.read.class_names import names_in_schema
from layerwise.read.file import File
from layerwise.read.reader import Reader
from layerwise.read.record import Columns, Record, Skipped, listed, quoted

BATCH_ROWS = 1000
BATCH_BYTES = 1 << 26  # of a batch, with its dictionaries expanded to strings
_ROW_BYTES = 1 << 28  # of a single row


class TypedReader(Reader):
    """Base of the readers of formats whose columns have types; `size` and `done` of their files count rows."""

    unit = "row"

    def agree_schema(self, file: File, schema: Any) -> None:
        """Check the columns of a file, and their types.

        Raises:
            SourceError: as `agree`, or a column of texts or words with another type.
        """
        self.agree(file, self.columns_of(file, schema))
        if self.words is not None:
            kind = schema.field(self.words).type
            needed = "strings are" if self.sentence_id else "a list of strings is"
            if not (_is_text(kind) if self.sentence_id else _is_list(kind) and _is_text(kind.value_type)):
                raise SourceError(
                    f"{file.label}: column {self.words!r} is {quoted(str(kind))} where {needed} needed; "
                    f"name a column of words with {argument('words')}, or where a row is a word the column that numbers the "
                    f"sentences with {argument('sentence_id')}"
                )
        for text in self.texts:
            if not _is_text(schema.field(text).type):
                raise SourceError(
                    f"{file.label}: column {text!r} is {quoted(str(schema.field(text).type))} where strings are needed; "
                    f"write it as strings, or name another column with {argument('text')}: {quoted(listed(schema.names))}"
                )

    def columns_of(self, file: File, schema: Any) -> Columns:
        """Return the columns of a schema; a sentence of several rows has no types.

        Raises:
            SourceError: two columns of one name.
        """
        duplicates = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if duplicates:
            raise SourceError(
                f"{file.label} has two columns {quoted(listed(duplicates))}; rename one of them"
            )
        if self.sentence_id:
            names = self.class_names(file, schema)
            return Columns(tuple(schema.names), frozenset(schema.names), classes=names)
        types = {field.name: _storage_type(field.type) for field in schema}
        classes = {
            name: names
            for name, names in self.class_names(file, schema).items()
            if _holds_numbers(types.get(name))
        }
        if self.options.classes is not None:
            numbers = [
                name for name, kind in types.items() if _holds_numbers(kind) and name not in self.roles
            ]
            self.name_classes([name for name in types if name not in self.roles], numbers)
        for name in {**classes, **self.classes}:
            types[name] = _as_strings(types[name])
        scalars = frozenset(name for name, kind in types.items() if not _is_list(kind))
        return Columns(tuple(schema.names), frozenset(schema.names), types, scalars, classes)

    def class_names(self, file: File, schema: Any) -> dict[str, tuple[str, ...]]:
        """Return the names of classes that a file gives itself, by column."""
        return names_in_schema(schema)


def counted(file: File, items: Iterator[Record | Skipped]) -> Iterator[Record | Skipped]:
    """Yield items unchanged; `file.done` counts them."""
    for item in items:
        file.done += 1
        yield item


def records_of(file: File, batch: Any, start: int) -> Iterator[Record | Skipped]:
    """Yield the rows of a batch, of which the first has the number `start` + 1."""
    size = sum(map(_util.parquet_size.written_out, batch.columns))
    # Only now is the size with expanded strings known; the batch is halved until each part fits.
    if size > BATCH_BYTES and batch.num_rows > 1:
        half = batch.num_rows // 2
        yield from records_of(file, batch.slice(0, half), start)
        yield from records_of(file, batch.slice(half), start + half)
        return
    if size > _ROW_BYTES:
        why = f"it becomes {size:,} bytes, and at most {_ROW_BYTES:,} of a row are read; leave out the longest value"
        yield Skipped(file.label, start + 1, why)
        return
    try:
        columns = [_values(column) for column in batch.columns]
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            why = f"a value can't be read ({quoted(str(error))}); correct it"
            yield Skipped(file.label, start + 1, why)
            return
        for row in range(batch.num_rows):  # find the row whose value can't be read
            yield from records_of(file, batch.slice(row, 1), start + row)
        return
    for row, values in enumerate(zip(*columns, strict=True), start + 1):
        yield Record(row, dict(zip(batch.schema.names, values, strict=True)))


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _values(column.storage)
    if getattr(kind, "unit", None) == "ns":
        # Python's datetime has microseconds only; an integer converts back to the same instant.
        return list(column.cast(pa.int64()).to_pylist())
    return list(column.to_pylist())


def _storage_type(kind: Any) -> Any:
    """Return the type that stores values of a type: of an extension, and in place of views, which few functions take."""
    import pyarrow as pa
    from pyarrow import types

    if isinstance(kind, pa.BaseExtensionType):
        return _storage_type(kind.storage_type)
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _storage_type(kind.value_type), kind.ordered)
    if types.is_fixed_size_list(kind):
        return pa.list_(_storage_type(kind.value_type), kind.list_size)
    if types.is_large_list(kind):
        return pa.large_list(_storage_type(kind.value_type))
    if types.is_list(kind) or types.is_list_view(kind):
        return pa.list_(_storage_type(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([(field.name, _storage_type(field.type)) for field in kind])
    return kind


def _holds_numbers(kind: Any) -> bool:
    from pyarrow import types

    if kind is not None and _is_list(kind):
        return _holds_numbers(kind.value_type)
    return kind is not None and bool(types.is_integer(kind) or types.is_floating(kind))


def _as_strings(kind: Any) -> Any:
    import pyarrow as pa

    return pa.list_(_as_strings(kind.value_type)) if _is_list(kind) else pa.string()


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
