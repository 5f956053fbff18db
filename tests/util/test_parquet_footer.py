"""Footers of Parquet files: what we read of one is what Arrow reads, and a damaged one is refused."""

import io
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layerwise._util.parquet_footer import chunks
from layerwise._util.parquet_size import size_of, written_out

TABLE = pa.table(
    {
        "doc": range(50),
        "text": ["a", "bc"] * 25,
        "plain": [f"text number {n}" for n in range(50)],
        "words": [["a"] * (n % 3) for n in range(50)],
        "deep": [{"x": n, "y": [str(n)]} for n in range(50)],
        "flag": [True, None] * 25,
    }
)


def file_of(**options: Any) -> io.BytesIO:
    raw = io.BytesIO()
    pq.write_table(TABLE, raw, **options)
    return raw


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 7, "compression": "zstd"},
        {"use_dictionary": False},
        {"use_dictionary": ["text"], "data_page_version": "2.0", "write_statistics": False},
        {"use_dictionary": False, "column_encoding": {"plain": "DELTA_BYTE_ARRAY"}},
    ],
)
def test_it_is_what_arrow_reads(options: dict[str, Any]) -> None:
    raw = file_of(**options)
    metadata = pq.ParquetFile(raw).metadata
    found = chunks(raw)
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            theirs, ours = metadata.row_group(group).column(number), next(found)
            assert (ours.column, ours.path) == (number, theirs.path_in_schema)
            assert (ours.values, ours.size) == (theirs.num_values, theirs.total_uncompressed_size)
            assert ours.compressed == theirs.total_compressed_size
            named = {"PLAIN_DICTIONARY", "RLE_DICTIONARY", "DELTA_BYTE_ARRAY"}
            assert ours.encodings == named & set(theirs.encodings)
    assert next(found, None) is None


def test_a_file_of_arrow_is_read_as_one_of_python(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(file_of().getvalue())
    with pa.OSFile(str(tmp_path / "x")) as raw, (tmp_path / "x").open("rb") as own:
        assert list(chunks(raw)) == list(chunks(own))


def test_a_footer_that_is_damaged_is_refused() -> None:
    whole = file_of(row_group_size=20).getvalue()
    length = int.from_bytes(whole[-8:-4], "little")
    chance = random.Random(0)
    refused: list[str] = []
    for _ in range(3_000):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 1, 5])):
            data[chance.randrange(len(data) - 8 - length, len(data))] = chance.randrange(256)
        try:
            list(chunks(io.BytesIO(data)))
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 500
    assert not any("\n" in message for message in refused)
    for cut in (b"", b"PAR1", whole[:-9], b"PAR1" + (1 << 30).to_bytes(4, "little") + b"PAR1"):
        with pytest.raises(ValueError, match="footer"):
            list(chunks(io.BytesIO(cut)))


def test_a_footer_is_not_followed_without_end() -> None:
    deep = b"\x1c" * 5_000 + b"\x00" * 5_001
    many = b"\x49\xfc\xff\xff\xff\xff\x0f"  # a list of four billion structs
    for footer in (deep, many):
        with pytest.raises(ValueError, match="footer"):
            list(chunks(io.BytesIO(footer + len(footer).to_bytes(4, "little") + b"PAR1")))


def test_what_nobody_asks_for_takes_no_memory() -> None:
    """Lists of structs in fields that nobody knows: a byte each in the file, and Arrow passes over them."""
    whole = file_of().getvalue()
    length = int.from_bytes(whole[-8:-4], "little")
    items = 200_000
    count = bytes([items & 127 | 128, items >> 7 & 127 | 128, items >> 14])
    unknown = b"\x09\xc8\x01\xfc" + count + bytes(items)  # field 100, a list of structs without fields
    footer = whole[-8 - length : -9] + unknown + b"\x00"
    data = whole[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    assert pq.ParquetFile(io.BytesIO(data)).metadata.num_rows == len(TABLE)
    tracemalloc.start()
    try:
        found = list(chunks(io.BytesIO(data)))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(data)
    finally:
        tracemalloc.stop()
    assert found == list(chunks(file_of()))


def test_what_is_written_out_is_as_large_as_what_was_read() -> None:
    raw = file_of()
    plain = pq.ParquetFile(raw)
    size = size_of(raw, plain.metadata)
    short = pq.ParquetFile(raw, read_dictionary=sorted(size.dictionaries)).read()
    for name in TABLE.column_names:
        column = plain.read([name])[name]
        assert written_out(short[name]) >= sum(len(str(v)) for v in column.to_pylist() if isinstance(v, str))
        assert written_out(short[name]) <= 3 * column.nbytes + 64
    assert size.most >= TABLE.nbytes / 2


def varint(number: int) -> bytes:
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


class OneColumn:
    """A file of one column chunk, in whose metadata the bytes of some fields can be replaced."""

    def __init__(self) -> None:
        raw = io.BytesIO()
        pq.write_table(pa.table({"text": ["a text"] * 5_000}), raw, use_dictionary=False, compression="zstd")
        (self.chunk,) = chunks(raw)
        whole = raw.getvalue()
        length = int.from_bytes(whole[-8:-4], "little")
        self.start, self.footer = whole[: -8 - length], whole[-8 - length : -8]
        self.values, self.size, self.compressed = (
            b"\x16" + varint(2 * number)
            for number in (self.chunk.values, self.chunk.size, self.chunk.compressed)
        )
        before, (head, *after) = self.footer.split(self.values + self.size + self.compressed)
        at = before.index(b"\x19\x25")  # encodings, a list of two integers
        self.before, self.between = before[:at], before[at + 4 :]
        # The field after the sizes, with its number in full, so that any fields can stand before it.
        self.after = bytes([head & 15]) + varint(2 * (7 + (head >> 4))) + bytes(after)

    def file(self, fields: bytes) -> io.BytesIO:
        """A file with other fields in place of those from the encodings to the sizes."""
        footer = self.before + fields + self.after
        return io.BytesIO(self.start + footer + len(footer).to_bytes(4, "little") + b"PAR1")

    def size_of_arrow(self, file: io.BytesIO) -> int:
        return int(pq.ParquetFile(file).metadata.row_group(0).column(0).total_uncompressed_size)


ENCODINGS = b"\x19\x25\x00\x06"


def test_a_field_of_another_kind_is_skipped_as_arrow_skips_it() -> None:
    one = OneColumn()
    sizes = one.values + one.size + b"\x05\x0c\x02" + one.compressed  # the second size is 1, as an I32
    file = one.file(ENCODINGS + one.between + sizes)
    assert one.size_of_arrow(file) == one.chunk.size
    (read,) = chunks(file)
    assert read.size == one.chunk.size > 1
    file = one.file(ENCODINGS + one.between + one.values + b"\x15\x02" + one.compressed)
    with pytest.raises(ValueError, match="its footer is damaged"):
        list(chunks(file))
    with pytest.raises(OSError, match="thrift"):
        pq.ParquetFile(file)


def test_what_arrow_reads_in_another_way_is_refused() -> None:
    one = OneColumn()
    small = b"\x16\x02"
    twice = one.values + small + b"\x06\x0c" + one.size[1:] + one.compressed
    # Arrow keeps 16 bits of the number of a field.
    far = one.values + small + b"\x06" + varint(2 * 65_542) + one.size[1:]
    far += b"\x06\x0e" + one.compressed[1:]
    # Arrow reads a list of encodings as one of integers: its item ends before the true fields, and the others stand in
    # an unknown field. As a list of strings its item contains the true fields, and the others follow.
    true = one.between + one.values + one.size + one.compressed
    other = one.between + one.values + small + one.compressed
    unknown = b"\x08" + varint(2 * 100) + varint(len(other))
    items = b"\x19\x18" + varint(len(true + unknown)) + true + unknown + other
    for fields, why in (
        (ENCODINGS + one.between + twice, "repeats the field 6"),
        (ENCODINGS + one.between + far, "has a field 65542"),
        (items, "a list with items of the kind 8"),
    ):
        file = one.file(fields)
        assert one.size_of_arrow(file) == one.chunk.size
        with pytest.raises(ValueError, match=why):
            list(chunks(file))


def test_lists_that_are_skipped_have_items_of_their_kind() -> None:
    one = OneColumn()
    fields = ENCODINGS + one.between + one.values + one.size + one.compressed
    for number, kind in (
        (8, 8),
        (13, 8),
        (8, 3),
    ):  # metadata and statistics of encodings, as strings or bytes
        items = b"\x09" + varint(2 * number) + bytes([1 << 4 | kind]) + b"\x00"
        with pytest.raises(ValueError, match=f"items of the kind {kind}"):
            list(chunks(one.file(fields + items)))
    nested = b"\x0c" + varint(2 * 16) + b"\x29\x18\x00\x00"  # a histogram in the statistics of sizes
    with pytest.raises(ValueError, match="items of the kind 8"):
        list(chunks(one.file(fields + nested)))
    unknown = b"\x09" + varint(2 * 100) + b"\x18\x00"
    assert list(chunks(one.file(fields + unknown))) == [one.chunk]
