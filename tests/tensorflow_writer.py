"""Write checkpoints of TensorFlow from the description of their format; shares no code with the reader."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

MAGIC = 0xDB4775248B80FB57
KINDS = {"f4": 1, "f8": 2, "i4": 3, "i8": 9, "f2": 19}
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = _crc_table()


def plain_crc(data: bytes, crc: int = 0) -> int:
    """The CRC-32C, byte by byte."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked_crc(data: bytes, crc: int = 0) -> int:
    value = plain_crc(data, crc)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(
    kind: int,
    shape: Iterable[int],
    place: tuple[int, int, int] = (0, 0, 0),
    checksum: int = 0,
    slices: Sequence[Sequence[tuple[int, int]]] = (),
) -> bytes:
    """The message of a tensor; `place` is data file, offset and size."""
    dimensions = b"".join(field(2, field(1, length)) for length in shape)
    numbers = b"".join(field(number, value) for number, value in zip((3, 4, 5), place, strict=True))
    parts = b"".join(
        field(
            7,
            b"".join(
                field(1, field(1, start) + (field(2, length) if length >= 0 else b""))
                for start, length in part
            ),
        )
        for part in slices
    )
    return (
        field(1, kind)
        + field(2, dimensions)
        + numbers
        + varint(6 << 3 | 5)
        + struct.pack("<I", checksum)
        + parts
    )


def header(shards: int = 1, order: str = "<") -> bytes:
    return field(1, shards) + (field(2, 1) if order == ">" else b"") + field(3, field(1, 1))


def block(entries: Iterable[tuple[bytes, bytes]], interval: int = 16) -> bytes:
    """A block of a table: entries that share the starts of their keys, and the places where they begin anew."""
    data, restarts, last = bytearray(), [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % interval == 0:
            restarts.append(len(data))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return bytes(data) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def stored(data: bytes, snappy: bool = False) -> bytes:
    """A block with its type and its checksum."""
    if snappy:
        data = pa.compress(data, codec="snappy", asbytes=True)
    data += bytes([snappy])
    return data + struct.pack("<I", masked_crc(data))


def table(entries: Mapping[bytes, bytes], per_block: int = 20, snappy: bool = False) -> bytes:
    """A table of sorted entries."""
    pairs = sorted(entries.items())
    data, places = b"", []
    for start in range(0, len(pairs), per_block):
        part = stored(block(pairs[start : start + per_block]), snappy)
        places.append((pairs[start : start + per_block][-1][0], varint(len(data)) + varint(len(part) - 5)))
        data += part
    return finished(data, stored(block(places, 1)))


def finished(data: bytes, places: bytes) -> bytes:
    """Blocks of entries, a block of metadata, the block of places, and the footer."""
    metadata = stored(block([]))
    starts = len(data), len(data) + len(metadata)
    footer = varint(starts[0]) + varint(len(metadata) - 5) + varint(starts[1]) + varint(len(places) - 5)
    return data + metadata + places + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def ordered(number: int) -> bytes:
    """An integer of at most 13 bits in the ordered code."""
    return (
        bytes([number ^ 0x80 if number >= 0 else 0x7F])
        if -1 <= number < 64
        else struct.pack(">H", number | 0xC000)
    )


def slice_name(name: str, part: Sequence[tuple[int, int]]) -> bytes:
    numbers = b"".join(ordered(number) for extent in part for number in extent)
    return b"\0" + name.encode() + b"\0\1" + bytes([1, len(part)]) + numbers


def write_bundle(
    prefix: Path,
    tensors: Mapping[str, Any],
    *,
    shards: int = 1,
    order: str = "<",
    sliced: Sequence[str] = (),
    snappy: bool = False,
    checksum: Callable[[bytes], int] = masked_crc,
) -> None:
    """Write arrays, or strings of bytes, as a checkpoint; a tensor in `sliced` is divided along its first dimension.

    `checksum` is a faster way to compute the masked checksums of arrays, for large ones.
    """
    entries: dict[bytes, bytes] = {b"": header(shards, order)}
    data = [bytearray() for _ in range(shards)]

    def put(key: bytes, array: Any) -> None:
        if isinstance(array, bytes):
            length = struct.pack(f"{order}I", len(array))
            first = masked_crc(length)
            stored_crc = masked_crc(struct.pack(f"{order}I", first) + array, plain_crc(length))
            kind, shape, raw = 7, (), varint(len(array)) + struct.pack(f"{order}I", first) + array
        else:
            kind, shape = KINDS[array.dtype.str[1:]], array.shape
            raw = array.astype(array.dtype.newbyteorder(order)).tobytes()
            stored_crc = checksum(raw)
        shard = len(entries) % shards
        entries[key] = entry(kind, shape, (shard, len(data[shard]), len(raw)), stored_crc)
        data[shard] += raw

    for name, array in tensors.items():
        if name not in sliced:
            put(name.encode(), array)
            continue
        middle = len(array) // 2
        bounds = [(0, middle), (middle, len(array) - middle)]
        parts = [[bound, *[(0, -1)] * (array.ndim - 1)] for bound in bounds]
        for part in parts:
            put(slice_name(name, part), array[part[0][0] : sum(part[0])])
        entries[name.encode()] = entry(KINDS[array.dtype.str[1:]], array.shape, slices=parts)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries, snappy=snappy))
    for number, content in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{shards:05d}").write_bytes(content)


def object_graph(names: Mapping[str, str]) -> bytes:
    """The object graph of TensorFlow 2, of names by key."""
    attributes = [
        field(2, field(1, b"VARIABLE_VALUE") + field(2, name.encode()) + field(3, key.encode()))
        for key, name in names.items()
    ]
    return b"".join(field(1, attribute) for attribute in [field(1, field(1, 1)), *attributes])


def google_name(name: str, family: str) -> str:
    """The name that Google's code gives to a tensor of transformers' BERT, ALBERT or ELECTRA."""
    if family == "albert":
        for part, other in (
            ("encoder.albert_layer_groups.0.albert_layers.0", "encoder.transformer.group_0.inner_group_0"),
            ("inner_group_0.ffn_output", "inner_group_0.ffn_1.intermediate.output.dense"),
            ("inner_group_0.ffn.", "inner_group_0.ffn_1.intermediate.dense."),
            ("full_layer_layer_norm", "LayerNorm_1"),
            ("attention.LayerNorm", "LayerNorm"),
            ("attention.dense", "attention_1.output.dense"),
            ("attention.query", "attention_1.self.query"),
            ("attention.key", "attention_1.self.key"),
            ("attention.value", "attention_1.self.value"),
            ("pooler.", "pooler.dense."),
        ):
            name = name.replace(part, other)
    *module, tensor = name.replace("encoder.layer.", "encoder.layer_").split(".")
    prefix = "bert" if family == "albert" else family
    if module[-1].endswith("_embeddings"):
        return "/".join([prefix, *module])
    norm = module[-1].startswith("LayerNorm")
    last = {"weight": "gamma" if norm else "kernel", "bias": "beta" if norm else "bias"}[tensor]
    return "/".join([prefix, *module, last])


def as_google(weights: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Arrays of transformers as those of Google's code."""
    named = {google_name(name, family): value for name, value in weights.items()}
    return {
        name: np.ascontiguousarray(value.T) if name.endswith("kernel") else value
        for name, value in named.items()
    }
