"""Checkpoints of TensorFlow that are damaged, or made to do harm: each is right, or refused in one line."""

import random
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerwise.encode.tensorflow.bundle import Bundle, slice_key
from layerwise.encode.tensorflow.crc32c import crc32c, masked
from layerwise.encode.tensorflow.protobuf import read_varint
from layerwise.encode.tensorflow.table import read_table
from tensorflow_writer import (
    GRAPH,
    block,
    entry,
    field,
    finished,
    header,
    masked_crc,
    object_graph,
    ordered,
    plain_crc,
    slice_name,
    stored,
    table,
    varint,
    write_bundle,
)

TINY = Path(__file__).parents[3] / "shared" / "fixtures" / "tf_checkpoint_tiny"
NUMBERS = np.arange(12, dtype="f4").reshape(4, 3)
TENSORS: dict[str, Any] = {
    "a/kernel": NUMBERS,
    "a/bias": NUMBERS[0] / 7,
    "a/word_embeddings": NUMBERS * 3,
    "a/halves": NUMBERS.astype("f2"),
    "global_step": np.array(5, np.int64),
    GRAPH: object_graph({"a/bias": "b/bias"}),
}
# Allocations of Python and numpy whatever the file's size: the tables of the CRC, 256 KB each, are made once.
ALLOWED = 4 << 20
MULTIPLE = 40  # of the index: what snappy expands 22 times, and the entries


def read_all(index: Path) -> dict[str, Any]:
    """Every tensor of a checkpoint, by name."""
    bundle = Bundle(index)
    values: dict[str, Any] = {}
    for name, place in bundle.entries.items():
        if place.is_number:
            values[name] = bundle.tensor(name).tolist()
        elif place.kind == 7:
            values[name] = bundle.text(name)
        else:
            bundle.check(name)
            values[name] = place
    return values


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_bundle(folder / "m", TENSORS, shards=2, sliced=["a/word_embeddings"])
    return folder / "m.index"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "m", TENSORS, shards=2, sliced=["a/word_embeddings"])
    return tmp_path / "m.index"


def refusal(index: Path) -> str:
    values = values_or_refusal(index)
    assert isinstance(values, str)
    assert len(values) < 600
    return values


# --- checksums --------------------------------------------------------------------------------------------------


def test_crc_of_the_standard() -> None:
    """RFC 3720, appendix B.4."""
    vectors = [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ]
    for data, expected in vectors:
        assert crc32c(data) == expected == plain_crc(data)


@pytest.mark.parametrize(
    "size", [1, 2, 3, 4, 5, 63, 65_535, 65_536, 65_537, 65_538, 65_539, 65_540, 131_071, 131_074, 200_001]
)
def test_crc_of_any_length(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc32c(data) == plain_crc(data)
    assert crc32c(data[size // 3 :], crc32c(data[: size // 3])) == plain_crc(data)
    assert masked(crc32c(data)) == masked_crc(data)


def test_crc_is_that_of_another_library() -> None:
    other = pytest.importorskip("google_crc32c")
    for size in (0, 3, 1000, 1_000_003):
        data = random.Random(size).randbytes(size)
        assert crc32c(data) == other.value(data)


# --- damage -----------------------------------------------------------------------------------------------------


def changed_files(index: Path, step: int, bits: tuple[int, ...]) -> Iterator[tuple[Path, int, int]]:
    """The files with one byte changed, one after the other, and then as they were."""
    for path in sorted(index.parent.glob("m.*")):
        data = path.read_bytes()
        for position in range(0, len(data), step):
            for bit in bits:
                path.write_bytes(data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :])
                yield path, position, bit
        path.write_bytes(data)


def values_or_refusal(index: Path) -> dict[str, Any] | str:
    """Every tensor, or the one line that says why they are refused."""
    try:
        return read_all(index)
    except (ValueError, OSError) as error:
        message = str(error)
    assert "\n" not in message
    return message


def right_or_refused(index: Path, expected: dict[str, Any], step: int, bits: tuple[int, ...]) -> int:
    wrong = 0
    for path, position, bit in changed_files(index, step, bits):
        values = values_or_refusal(index)
        assert values == expected or isinstance(values, str), f"{path.name}, byte {position} xor {bit}"
        wrong += isinstance(values, str)
    return wrong


def test_a_changed_byte_is_found(index: Path) -> None:
    assert right_or_refused(index, read_all(index), 5, (0x10,)) > 100


@pytest.mark.slow
def test_every_changed_byte_is_found(index: Path) -> None:
    assert right_or_refused(index, read_all(index), 1, (0x01, 0xFF)) > 1_000


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_files_that_are_cut_off(step: int, index: Path) -> None:
    for path in sorted(index.parent.glob("m.*")):
        data = path.read_bytes()
        for size in range(0, len(data), step):
            path.write_bytes(data[:size])
            refusal(index)
        path.write_bytes(data)
    assert read_all(index)["a/kernel"] == NUMBERS.tolist()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A copy of a real checkpoint, with slots of an optimiser and heads: 139 tensors."""
    if not TINY.exists():
        pytest.skip("shared/ is absent")
    for path in TINY.glob("bert_model.ckpt.[di]*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / "bert_model.ckpt.index"


EVERY = pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.slow)])


@EVERY
def test_the_index_of_a_real_checkpoint_with_a_changed_byte(step: int, tiny: Path) -> None:
    data, expected = tiny.read_bytes(), read_all(tiny)
    tracemalloc.start()
    try:
        for position in range(0, len(data), step):
            tiny.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
            tracemalloc.reset_peak()
            values = values_or_refusal(tiny)
            assert values == expected or isinstance(values, str), f"byte {position}"
            assert tracemalloc.get_traced_memory()[1] < ALLOWED + MULTIPLE * len(data)
    finally:
        tracemalloc.stop()


@EVERY
def test_the_data_of_a_real_checkpoint_with_a_changed_byte(step: int, tiny: Path) -> None:
    """Each byte belongs to one tensor, whose name the refusal has."""
    bundle = Bundle(tiny)
    path = tiny.with_name("bert_model.ckpt.data-00000-of-00001")
    name_of_byte = {
        byte: name
        for name, place in bundle.entries.items()
        for byte in range(place.offset, place.offset + place.size)
    }
    data = path.read_bytes()
    assert name_of_byte.keys() == set(range(len(data)))
    with path.open("r+b", buffering=0) as file:
        for position in range(0, len(data), step):
            for value in (data[position] ^ 0xFF, data[position]):
                file.seek(position)
                file.write(bytes([value]))  # the reader maps the file
                refused = refusal_of_tensor(bundle, name_of_byte[position])
                assert (f"{name_of_byte[position]!r} is damaged" in refused) == (value != data[position])


def refusal_of_tensor(bundle: Bundle, name: str) -> str:
    try:
        bundle.check(name)
    except ValueError as error:
        return str(error)
    return ""


@EVERY
def test_a_real_checkpoint_that_is_cut_off(step: int, tiny: Path) -> None:
    index, bundle = tiny.read_bytes(), Bundle(tiny)
    for size in range(0, len(index), step):
        tiny.write_bytes(index[:size])
        refusal(tiny)
    tiny.write_bytes(index)
    path = tiny.with_name("bert_model.ckpt.data-00000-of-00001")
    data = path.read_bytes()
    for size in sorted({place.offset for place in bundle.entries.values()}):
        path.write_bytes(data[:size])
        assert "is cut off" in refusal(tiny)


def test_damaged_data_name_their_tensor(whole: Path, index: Path) -> None:
    bundle = Bundle(whole)
    names = ["a/kernel", "a/bias", "a/halves", "global_step", GRAPH]
    for name in names:
        place = bundle.entries[name]
        path = index.with_name(f"m.data-0000{place.shard}-of-00002")
        data = bytearray(path.read_bytes())
        data[place.offset + place.size - 1] ^= 1
        path.write_bytes(data)
        assert f"the tensor {name!r} is damaged: its checksum doesn't fit" in refusal(index)
        data[place.offset + place.size - 1] ^= 1
        path.write_bytes(data)


def test_a_damaged_index_names_its_block(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[10] ^= 1
    index.write_bytes(data)
    assert "m.index: the block of entries at byte 0 is damaged: its checksum doesn't fit" in refusal(index)


@pytest.mark.parametrize("seed", range(300))
def test_contents_changed_by_chance_with_right_checksums(seed: int, tmp_path: Path) -> None:
    """Nothing but a ValueError of one line, whatever the blocks hold."""
    chance = random.Random(seed)
    write_bundle(tmp_path / "m", TENSORS, sliced=["a/word_embeddings"])
    entries = {key: bytes(value) for key, value in read_table(tmp_path / "m.index").items()}
    for key in chance.sample(sorted(entries), 3):
        value = bytearray(entries[key])
        for _ in range(chance.randint(1, 4)):
            if value:
                value[chance.randrange(len(value))] = chance.choice(
                    (0, 1, 8, 0x7F, 0x80, 0xFF, chance.randrange(256))
                )
        entries[key] = bytes(value[: chance.choice((len(value), chance.randint(0, len(value))))])
    inner = bytearray(block(sorted(entries.items())))
    if seed % 2:
        inner[chance.randrange(len(inner))] ^= chance.randrange(1, 256)
    data = stored(bytes(inner))
    places = stored(block([(b"\xff", varint(0) + varint(len(data) - 5))]))
    (tmp_path / "m.index").write_bytes(finished(data, places))
    values_or_refusal(tmp_path / "m.index")


# --- harm --------------------------------------------------------------------------------------------------------


def peak(index: Path) -> tuple[int, str]:
    """Bytes that are allocated until a checkpoint is refused, and why it is."""
    crc32c(bytes(1 << 17))  # its tables
    tracemalloc.start()
    try:
        message = refusal(index)
        return tracemalloc.get_traced_memory()[1], message
    finally:
        tracemalloc.stop()


def one_entry(message: bytes, name: bytes = b"a", **others: bytes) -> bytes:
    return table({b"": header(), name: message, **{key.encode(): value for key, value in others.items()}})


def snappy_bomb() -> bytes:
    """A block that states a gigabyte."""
    data = varint(1 << 30) + b"\xfe\x01\x00" * 100
    part = data + b"\x01"
    part += struct.pack("<I", masked_crc(part))
    return finished(part, stored(block([(b"\xff", varint(0) + varint(len(part) - 5))])))


def same_block_again() -> bytes:
    """A thousand times the same block."""
    part = stored(block([(b"", header())]))
    places = [(bytes([n >> 8, n & 255]), varint(0) + varint(len(part) - 5)) for n in range(1000)]
    return finished(part, stored(block(places)))


def long_names() -> bytes:
    """Names that share a start of a million bytes."""
    start = b"x" * 1_000_000
    return table({b"": header(), **{start + bytes([65 + n]): entry(1, [0]) for n in range(20)}})


def many_entries() -> bytes:
    return table({b"": header(), **{b"%06d" % n: entry(1, [0]) for n in range(20_000)}}, per_block=20_000)


WHOLE = ((0, -1),)
HARM = {
    "shape": (
        one_entry(entry(1, [10**6, 10**6], (0, 0, 48))),
        "takes 4,000,000,000,000 bytes and it states 48",
    ),
    "size": (one_entry(entry(1, [10**12], (0, 0, 4 * 10**12))), "is cut off: it has 96 bytes"),
    "offset": (one_entry(entry(1, [3], (0, 1 << 62, 12))), "is cut off"),
    "negative": (one_entry(entry(1, [-1], (0, 0, 48))), "its shape is [-1]"),
    "dimensions": (one_entry(entry(1, [1] * 10_000, (0, 0, 4))), "its shape is [1, 1"),
    "shard": (one_entry(entry(1, [3], (7, 0, 12))), "m.data-00007-of-00001"),
    "overlap": (
        one_entry(entry(1, [3], (0, 0, 12)), b=entry(1, [3], (0, 8, 12))),
        "the tensors 'a' and 'b' overlap",
    ),
    "slices": (one_entry(entry(1, [10**9, 10], slices=[WHOLE * 2])), "lacks its slice"),
    "many slices": (one_entry(entry(1, [9], slices=[WHOLE] * 5_000)), "5,000 slices"),
    "hollow": (
        table(
            {
                b"": header(),
                b"a": entry(1, [1 << 40], slices=[[(0, 3)]]),
                slice_name("a", [(0, 3)]): entry(1, [3], (0, 0, 12)),
            }
        ),
        "has 3 of its 1,099,511,627,776 numbers in its slices",
    ),
    "snappy": (snappy_bomb(), "states 1,073,741,824 bytes, and snappy can't make them"),
    "same block": (same_block_again(), "begins within another one"),
    "names": (long_names(), "has too long a name"),
    "entries": (many_entries(), "more than 10,000 entries"),
    "shards": (table({b"": header(10**6)}), "its header names 1000000 data files"),
    "no header": (table({b"a": entry(1, [0])}), "it has no header"),
    "version": (table({b"": field(1, 1) + field(3, field(1, 9) + field(2, 9))}), "it is of version 9"),
    "no text": (one_entry(entry(1, [0]), b"\xff\xfe"), "is no text"),
    "empty": (b"", "no index of a TensorFlow checkpoint"),
    "zeros": (bytes(1000), "no index of a TensorFlow checkpoint"),
}


@pytest.mark.parametrize("name", HARM)
def test_harm_is_refused_before_it_costs_memory(name: str, tmp_path: Path) -> None:
    content, message = HARM[name]
    (tmp_path / "m.index").write_bytes(content)
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(96))
    used, refused = peak(tmp_path / "m.index")
    assert message in refused
    assert used < ALLOWED + MULTIPLE * len(content)


def test_an_index_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "m.index").open("wb") as file:
        file.truncate((1 << 25) + 1)  # sparse
    assert "at most 33,554,432 are read" in refusal(tmp_path / "m.index")


# --- forms of the format -----------------------------------------------------------------------------------------


def test_a_partitioned_tensor_lacks_a_part_or_has_others(tmp_path: Path) -> None:
    parts = [[(0, 2), (0, -1)], [(2, 2), (0, -1)]]
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(48))
    checksum = masked_crc(bytes(24))
    good = {
        slice_name("a", part): entry(1, [2, 3], (0, 24 * n, 24), checksum) for n, part in enumerate(parts)
    }
    for entries, message in [
        (dict(list(good.items())[:1]), "lacks its slice [(2, 2), (0, -1)]"),
        (
            {**good, slice_name("a", parts[1]): entry(1, [3, 2], (0, 24, 24), checksum)},
            "another type or shape",
        ),
        (
            {**good, slice_name("a", parts[1]): entry(3, [2, 3], (0, 24, 24), checksum)},
            "another type or shape",
        ),
    ]:
        (tmp_path / "m.index").write_bytes(
            table({b"": header(), b"a": entry(1, [4, 3], slices=parts), **entries})
        )
        assert message in refusal(tmp_path / "m.index")
    for slices, message in [
        ([parts[0], parts[0]], "has slices that overlap"),
        ([[(3, 2), (0, -1)]], "has a slice outside of its shape"),
        ([[(0, 4)]], "has slices of 1 dimensions"),
    ]:
        (tmp_path / "m.index").write_bytes(
            table({b"": header(), b"a": entry(1, [4, 3], slices=slices), **good})
        )
        assert message in refusal(tmp_path / "m.index")


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    for order in "<>":
        data = np.array([0x3F80, 0xC040, 0x3DCD]).astype(f"{order}u2").tobytes()
        (tmp_path / "m.data-00000-of-00001").write_bytes(data)
        entries = {b"": header(1, order), b"a": entry(14, [3], (0, 0, 6), masked_crc(data))}
        (tmp_path / "m.index").write_bytes(table(entries))
        assert np.allclose(Bundle(tmp_path / "m.index").tensor("a"), [1, -3, 0.1], rtol=4e-3)


def test_keys_of_slices() -> None:
    for part in ([(0, 5), (0, -1)], [(63, 64), (1000, 8000)], [(0, 30522)]):
        key = slice_key("a/b", part)
        assert key.startswith(b"\0a/b\0\1\1" + bytes([len(part)]))
        if all(-1 <= number < 8192 for extent in part for number in extent):
            assert key == slice_name("a/b", part)
    assert ordered(-1) == b"\x7f"
    assert slice_key("a", [(0, 30522)])[6:] == b"\x80\xe0\x77\x3a"  # 3 bytes: 1110 0000, and the number


def test_integers_end() -> None:
    assert read_varint(memoryview(b"\xac\x02"), 0) == (300, 2)
    for data in (b"", b"\x80", b"\xff" * 10, b"\xff" * 9 + b"\x02"):
        with pytest.raises(ValueError, match="an integer is damaged"):
            read_varint(memoryview(data), 0)
