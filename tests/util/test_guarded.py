"""Reading what others wrote: regular files, of a bearable size, and JSON of a bearable depth."""

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from layerwise._util import guarded, json_checks
from layerwise._util.guarded import (
    check_model_folder,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
)


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def listening(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(folder / "socket"))
    return folder / "socket"


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (pipe, "it is a pipe, not a regular file"),
        (lambda folder: Path("/dev/zero"), "it is a device, not a regular file"),
        (lambda folder: folder, "it is a folder, not a regular file"),
        (listening, "it is a socket, not a regular file"),
    ],
    ids=["pipe", "device", "folder", "socket"],
)
def test_only_regular_files_are_opened(
    make: Any, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    path = make(Path())
    for read in (open_regular, read_bytes, read_json):
        with pytest.raises(OSError, match=what):
            read(path)


def test_a_file_that_was_replaced_by_a_pipe_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pipe(tmp_path)
    monkeypatch.setattr(guarded, "check_regular", lambda path: 5)
    with pytest.raises(OSError, match="it is a pipe"):
        open_regular(path)


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(ValueError, match="it has 5 bytes, and at most 4 are read"):
        read_bytes(path, 4)


def test_a_file_that_grew_is_not_read_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    monkeypatch.setattr(guarded, "check_regular", lambda path: 3)
    with pytest.raises(ValueError, match="more than the 4 bytes"):
        read_bytes(path, 4)


def test_a_sparse_file_of_many_gigabytes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="it has 1,099,511,627,776 bytes"):
        read_json(path)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        (b"[" * 100_000, "nested more than 64 deep"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested more than 64 deep"),
        (b"[NaN]", "NaN isn't a JSON number"),
        (b"[-Infinity]", "-Infinity isn't a JSON number"),
        (b"[1e999]", "the number 1e999 is too large"),
        (b"[9223372036854775808]", "the integer 9223372036854775808 needs more than 64 bits"),
        (b"[" + b"9" * 5000 + b"]", "needs more than 64 bits"),
        (b'{"a": 1, "b": 2, "a": 3}', "the entry 'a' occurs twice"),
        (b"[" + b"0," * 2_000_000 + b"0]", "some 2,000,001 values, and at most 2,000,000"),
        (b"[" + b"[]," * 1_000_000 + b"[]]", "values, and at most"),
    ],
)
def test_json_that_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        parse_json(data)
    assert "\n" not in str(caught.value)


def test_json_that_is_read() -> None:
    value = {"a": [1, -2.5, 1e308, None, True, "ü, [{"], "b": {"c": {}}, "n": -(1 << 63), "m": (1 << 63) - 1}
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value
    deep = b"[" * 64 + b"]" * 64
    assert parse_json(deep) == json.loads(deep)


def test_json_of_models_is_read_as_python_reads_it() -> None:
    found = parse_json('{"a": 1, "a": NaN, "n": 1e999, "i": 100000000000000000000}', lenient=True)
    assert str(found) == "{'a': nan, 'n': inf, 'i': 100000000000000000000}"
    for deep in ("[" * 100_000, "[" * 65 + "]" * 65):
        with pytest.raises(ValueError, match="nested"):
            parse_json(deep, lenient=True)


def test_what_lies_in_a_folder_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": 1, "a": 2}')
    (tmp_path / "onnx").mkdir()
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "notes.json").write_text("no JSON, and none of ours")
    check_model_folder(tmp_path)
    (tmp_path / "config.json").write_text("[" * 5000)
    with pytest.raises(ValueError, match=r"config.json isn't valid JSON: it is nested"):
        check_model_folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(guarded.MODEL_JSON_BYTES + 1)
    with pytest.raises(ValueError, match=r"tokenizer.json .* at most 536,870,912"):
        check_model_folder(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    pipe(tmp_path)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with pytest.raises(OSError, match="pipe: it is a pipe"):
        check_model_folder(tmp_path)


SCHEMA: json_checks.Schema = {
    "name": json_checks.text,
    "size": {"rows": json_checks.whole(1, 9), "share": json_checks.number},
    "kind": json_checks.optional(json_checks.one_of(("a", "b"))),
    "parts": json_checks.list_of(json_checks.object_of({"on": json_checks.flag})),
    "sums": json_checks.map_of(json_checks.positive),
    "hash": json_checks.sha256,
}
RIGHT: dict[str, Any] = {
    "name": "x",
    "size": {"rows": 9, "share": -0.5},
    "parts": [{"on": True}],
    "sums": {"a": 0, "b": 2.5},
    "hash": "0f" * 32,
}


def test_what_is_as_its_schema_says() -> None:
    assert json_checks.first_wrong(RIGHT, SCHEMA) is None
    assert json_checks.first_wrong({**RIGHT, "kind": "b", "more": object()}, SCHEMA) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", None),
        ("name", 5),
        ("size", None),
        ("size", [1]),
        ("size.rows", 0),
        ("size.rows", 10),
        ("size.rows", True),
        ("size.rows", 2.0),
        ("size.share", float("nan")),
        ("size.share", "1"),
        ("size.share", False),
        ("kind", "c"),
        ("kind", ["a"]),
        ("parts", {"on": True}),
        ("parts", [{"on": 1}]),
        ("parts", [None]),
        ("sums", {"a": -1}),
        ("sums", {"a": float("inf")}),
        ("sums", [1]),
        ("hash", "0F" * 32),
        ("hash", "0f" * 31),
    ],
)
def test_the_first_entry_that_is_not_as_its_schema_says_is_named(path: str, value: Any) -> None:
    wrong = json.loads(json.dumps(RIGHT))
    *above, last = path.split(".")
    (wrong[above[0]] if above else wrong)[last] = value
    assert json_checks.first_wrong(wrong, SCHEMA) == path
    assert json_checks.entry(wrong, path) is value
    assert json_checks.first_wrong(value if isinstance(value, list) else None, SCHEMA) == "name"
