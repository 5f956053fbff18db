"""How much a Parquet file becomes when it is read: known before it is, as a few bytes of it can stand for gigabytes.

Strings are the danger: one that stands once in a file, in its dictionary, may be the value of any number of rows. They
are read as numbers and a dictionary where they could be many, and written out once it is known how long they are.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from layerwise._util.parquet_footer import Chunk, chunks

GROUP_BYTES = (
    1 << 28
)  # of a column in a group of rows, beyond which it may be no more than so many times as large
GROUP_TIMES = 1_000  # decompressed as it is in the file
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 8}
_STRINGS = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)


@dataclass(frozen=True, slots=True)
class Size:
    """What the footer of a file says of its size, before its values are read.

    Attributes:
        fixed: bytes of what has a fixed width, such as numbers and the lengths of strings.
        plain: bytes of strings that each stand in the file as they are.
        repeated: bytes that the strings of a dictionary may become at most.
        prefixed: the same of strings that stand in the file as what differs from the one before.
        dictionaries: numbers of the columns whose strings are in a dictionary.
    """

    fixed: int = 0
    plain: int = 0
    repeated: int = 0
    prefixed: int = 0
    dictionaries: frozenset[int] = frozenset()

    @property
    def most(self) -> int:
        """How many bytes it may become at most."""
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
    """Return what the footer of a Parquet file says of the size of its values, perhaps of some columns alone.

    Args:
        file: the file, opened.
        metadata: as pyarrow has it; of its columns only the types are asked for.
        columns: their names; all when left out.

    Raises:
        ValueError: a footer that is damaged, or a column that is compressed beyond what is likely.
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
            f"column {chunk.path[:60]!r} becomes {chunk.size:,} bytes of {chunk.compressed:,}; "
            f"beyond {GROUP_BYTES:,} at most {GROUP_TIMES:,} times as many are read"
        )
    fixed = (_WIDTHS.get(column.physical_type) or max(1, column.length)) * chunk.values
    if column.physical_type != "BYTE_ARRAY":
        return Size(fixed)
    if "DELTA_BYTE_ARRAY" in chunk.encodings:
        return Size(fixed, prefixed=chunk.size * chunk.values)
    if chunk.encodings:
        return Size(fixed, repeated=chunk.size * chunk.values, dictionaries=frozenset({chunk.column}))
    return Size(fixed, plain=chunk.size)


def written_out(array: Any) -> int:
    """Return how many bytes an Arrow array takes once its dictionaries are written out."""
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
