"""Read untrusted files safely: only regular files of a limited size, and JSON of a limited size and depth.

Every reader of datasets, heads, models and results opens its files here; otherwise a pipe could block it for ever, and
a small file could fill the memory. Sources of text may be pipes, and are read by `read`. The limits are those of
`docs/reference/format.md`.
"""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from layerwise._util.paths import is_remote

BLOCKS = 1_000  # of a model
WIDTH = 1_000_000  # numbers per vector
SHARDS = 1_000_000  # of a dataset
TENSORS = 10_000  # in one file
TASKS = 1_000  # of a head
JSON_BYTES = 1 << 26  # of a manifest, a head, a configuration, a result, or the header of tensors
JSON_VALUES = 2_000_000  # in one of these: a value takes up to a few hundred bytes of memory
JSON_DEPTH = 64
TABLE_BYTES = 1 << 30  # of a table of a dataset, in memory
HEAD_BYTES = 1 << 32  # of the tensors of a head
MODEL_JSON_BYTES = 1 << 29  # of a tokenizer, the largest JSON file of a model
INT64 = 1 << 63
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def check_regular(path: Path) -> int:
    """Return the size of a regular file; an object store holds no others.

    Raises:
        OSError: a missing file, or a pipe, a device or a folder, which isn't opened: that could wait for ever.
    """
    status = path.stat()
    return int(status.st_size) if is_remote(path) else _size(status, path)


def _size(status: os.stat_result, path: Path) -> int:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))
    return status.st_size


def digest_regular(path: Path) -> str:
    """Return the SHA-256 of a regular file; errors as `open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a BinaryIO has readinto


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: as `check_regular`, or a file that can't be opened.
    """
    check_regular(path)
    if is_remote(path):
        return path.open("rb")
    descriptor = os.open(path, _FLAGS)
    try:
        _size(os.fstat(descriptor), path)  # it may have been replaced after the first check
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, most: int = JSON_BYTES) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_regular`.
        ValueError: a larger file.
    """
    size = check_regular(path)
    if size > most:
        raise ValueError(f"it has {size:,} bytes, and at most {most:,} are read")
    with open_regular(path) as file:
        data = file.read(size + 1)  # reading `most` bytes would allocate as many
        if len(data) > size:  # it has grown
            data += file.read(most)
    if len(data) > most:
        raise ValueError(f"it has more than the {most:,} bytes that are read")
    return data


def read_json(path: Path, *, most: int = JSON_BYTES, lenient: bool = False) -> Any:
    """Return the value in a JSON file, see `parse_json`.

    Raises:
        OSError: as `open_regular`.
        ValueError: no JSON, or too much of it.
    """
    return parse_json(read_bytes(path, most), lenient=lenient)


def parse_json(data: bytes | str, *, lenient: bool = False) -> Any:
    """Return the value that a JSON text holds.

    Args:
        data: the text, in UTF-8.
        lenient: accept what Python accepts: NaN and infinity, repeated names, integers of any size, and any
            number of values.

    Raises:
        ValueError: no JSON, too many values, or too deep nesting; in one line.
    """
    text = data if isinstance(data, str) else data.decode()
    if not lenient:
        _check_count(text)
    hooks: dict[str, Any] = {} if lenient else _STRICT
    try:
        value = json.loads(text, **hooks)
    except RecursionError:
        raise ValueError(_DEEP) from None
    _check_depth(value)
    return value


_DEEP = f"it is nested more than {JSON_DEPTH} deep"


def _check_count(text: str) -> None:
    """Reject too many values before parsing: each value follows one of the characters counted here."""
    if len(text) > JSON_BYTES:
        raise ValueError(f"it has {len(text):,} characters, and at most {JSON_BYTES:,} are read")
    count = sum(map(text.count, ",[{"))
    if count > JSON_VALUES:
        raise ValueError(f"it holds some {count:,} values, and at most {JSON_VALUES:,} are read")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(JSON_DEPTH):
        level = [item for parent in level for item in _items(parent) if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError(_DEEP)


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} isn't a JSON number")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:25]} is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > 20 or not -INT64 <= int(text) < INT64:
        raise ValueError(f"the integer {text[:25]} needs more than 64 bits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the entry {duplicate[:60]!r} occurs twice")
    return value


_STRICT = {
    "parse_constant": _refuse_constant,
    "parse_float": _float,
    "parse_int": _integer,
    "object_pairs_hook": _object,
}


# The JSON files that transformers reads from a model, besides its tokenizer and the index of its weights.
_OF_MODEL = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "processor_config.json",
    "preprocessor_config.json",
)


# What git leaves of a large file that hasn't been fetched.
_POINTER, _POINTER_BYTES = b"version https://git-lfs", 1024


def check_model_folder(folder: Path) -> None:
    """Check that a model folder holds regular files only, and JSON of a limited size and depth.

    Raises:
        OSError: a pipe, a device, a socket or a pointer in place of a file.
        ValueError: JSON that is invalid, too large, or nested too deeply.
    """
    for path in sorted(folder.iterdir()):
        if path.is_dir() or not path.exists():
            continue
        try:
            size = check_regular(path)
            if size < _POINTER_BYTES and read_bytes(path).startswith(_POINTER):
                raise OSError(
                    errno.EINVAL, "it is a pointer of git-lfs, not the file itself (git lfs pull fetches it)"
                )
            if path.name in _OF_MODEL:
                read_json(path, lenient=True)
            elif path.suffix == ".json" and size > MODEL_JSON_BYTES:
                raise ValueError(f"it has {size:,} bytes, and at most {MODEL_JSON_BYTES:,} are read")
        except OSError as error:
            raise OSError(error.errno, f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{path} isn't valid JSON: {error}") from None
