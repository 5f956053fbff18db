"""The size in memory of a Parquet file, computed before reading: a few bytes in a file can become gigabytes.

The risk is in strings: a string that is stored once, in a dictionary, may be the value of any number of rows. Where they
could become large, columns stay dictionary-encoded until the size of their expanded strings is known.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from layerwise._util.parquet_footer import Chunk, chunks

# A larger column chunk may be at most `GROUP_TIMES` as large after decompression as in the file.
GROUP_BYTES = 1 << 28
GROUP_TIMES = 1_000
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 8}
_STRINGS = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a file in memory, estimated from its footer before its values are read.

    Attributes:
        fixed: bytes of values of fixed width, such as numbers and the lengths of strings.
        plain: bytes of strings that are each stored in full.
        repeated: largest number of bytes that dictionary-encoded strings may become.
        prefixed: the same for strings that are stored as differences from the string before.
        dictionaries: numbers of the columns with dictionary-encoded strings.
    """

    fixed: int = 0
    plain: int = 0
    repeated: int = 0
    prefixed: int = 0
    dictionaries: frozenset[int] = frozenset()

    @property
    def most(self) -> int:
        """The largest number of bytes that the file may become."""
        return self.fixed + self.plain + self.repeated + self.prefixed

    def __add__(self, other: "Size") -> "Size":
        return Size(
            self.fixed + other.fixed,
            self.plain + other.plain,
            self.repeated + other.repeated,
            self.prefixed + other.prefixed,
            self.dictionaries | other.dictionaries,
        )


def size_of(file: Any, metadata: Any, columns: Collection[str] | None = None) -> Size:
    """Return the size of the values of a Parquet file, or of some of its columns, from its footer.

    Args:
        file: the open file.
        metadata: its pyarrow metadata; only the types of columns are used.
        columns: names of columns; all by default.

    Raises:
        ValueError: a footer that is damaged, or a column with an implausibly high compression.
    """
    total = Size()
    for chunk in chunks(file):
        if chunk.column >= metadata.num_columns:
            raise ValueError("its footer is damaged")
        if columns is None or chunk.path.partition(".")[0] in columns:
            total += _size(chunk, metadata.schema.column(chunk.column))
    return total


def _size(chunk: Chunk, column: Any) -> Size:
    if chunk.size > max(GROUP_BYTES, GROUP_TIMES * chunk.compressed):
        raise ValueError(
            f"column {chunk.path[:60]!r} grows from {chunk.compressed:,} to {chunk.size:,} bytes when decompressed; "
            f"above {GROUP_BYTES:,} bytes it may grow at most {GROUP_TIMES:,}-fold"
        )
    fixed = (_WIDTHS.get(column.physical_type) or max(1, column.length)) * chunk.values
    if column.physical_type != "BYTE_ARRAY":
        return Size(fixed)
    # The worst case of both: one string takes the whole chunk, and each value is that string.
    if "DELTA_BYTE_ARRAY" in chunk.encodings:
        return Size(fixed, prefixed=chunk.size * chunk.values)
    if chunk.encodings:
        return Size(fixed, repeated=chunk.size * chunk.values, dictionaries=frozenset({chunk.column}))
    return Size(fixed, plain=chunk.size)


def written_out(array: Any) -> int:
    """Return the bytes that an Arrow array takes with its dictionaries expanded."""
    kind = array.type
    if isinstance(array, pa.ChunkedArray):
        return sum(map(written_out, array.chunks))
    if isinstance(kind, pa.BaseExtensionType):
        return written_out(array.storage)
    if pa.types.is_dictionary(kind):
        return _repeated(array)
    if pa.types.is_map(kind):
        return written_out(array.keys) + written_out(array.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return written_out(array.flatten()) + 4 * len(array)
    if pa.types.is_struct(kind):
        return sum(map(written_out, array.flatten()))
    return int(array.nbytes)


def _repeated(array: Any) -> int:
    values, numbers = array.dictionary, array.indices.drop_null()
    times = np.bincount(numbers.to_numpy(zero_copy_only=False).astype(np.int64), minlength=len(values))
    if any(is_kind(values.type) for is_kind in _STRINGS):
        lengths = pc.binary_length(values).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    else:
        lengths = np.full(len(values), -(-values.nbytes // max(1, len(values))), np.int64)
    return int(lengths @ times) + 4 * len(array)
