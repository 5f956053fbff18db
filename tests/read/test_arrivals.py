"""Texts that arrive over time: what has arrived is known without waiting."""

import io
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerwise.read import open_corpus
from layerwise.read.arrivals import WatchedInput
from layerwise.read.shards import shards


class Sender:
    """Sends bytes to standard input, which is a socket: its end comes even while a forked process has a copy of it."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        self._stream.sendall(data)

    def close(self) -> None:
        self._stream.shutdown(socket.SHUT_WR)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """Sends to what is standard input."""
    here, there = socket.socketpair()
    with here, there, open(there.fileno(), "rb", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        yield Sender(here)


@pytest.mark.parametrize(
    ("format", "encoding", "header", "lines"),
    [
        ("txt", "utf-8", "", ["one", "two", "three"]),
        ("txt", "utf-16", "\ufeff", ["one", "x\u0a0a\u0a00", "three"]),
        ("jsonl", "utf-8", "", ['{"text": "one"}', '{"text": ""}', '{"text": "three"}']),
        ("csv", "utf-8", "text,n\n", ["one,1", '"",2', '"a\nb",3']),
        ("tsv", "utf-8", "text\tn\n", ["one\t1", "two\t2", "three\t3"]),
        ("conll", "utf-8", "", ["one\tO\ntwo\tO\n", "two\tO\n", "three\tB-X\n"]),
    ],
)
def test_a_record_is_there_with_its_last_line(
    pipe: Sender, format: str, encoding: str, header: str, lines: list[str]
) -> None:
    """Each record is read before the next is written; a read that waited for more would never end."""
    codec = "utf-16-le" if encoding == "utf-16" else encoding
    pipe.write(header.encode(codec))
    corpus = open_corpus("-", format=format, encoding=encoding)
    records = corpus.records()
    for number, line in enumerate(lines):
        data = f"{line}\n".encode(codec)
        pipe.write(data[:1])
        assert corpus.waits or not number, "a line that isn't complete is waited for"
        pipe.write(data[1:])
        (example,) = next(records)
        assert example.line is not None
        assert corpus.waits, "nothing else has been written"
    pipe.close()
    assert not corpus.waits, "the end is there"
    assert list(records) == []


def test_what_comes_fast_comes_together(pipe: Sender) -> None:
    """A shard ends where the input pauses, and is otherwise as large as the rule says."""
    corpus = open_corpus("-")
    parts = shards(corpus.records(), 4, 1000, waits=lambda: corpus.waits)
    pipe.write(b"".join(b"%d\n" % n for n in range(6)))
    assert [e.text for e in next(parts)] == ["0", "1", "2", "3"]
    assert [e.text for e in next(parts)] == ["4", "5"]
    pipe.write(b"6\n7")
    assert [e.text for e in next(parts)] == ["6"]
    pipe.close()
    assert [[e.text for e in part] for part in parts] == [["7"]]


def test_a_file_and_a_named_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirected file never pauses; a named pipe does."""
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with (tmp_path / "a.txt").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        corpus = open_corpus("-")
        assert [(e.text, corpus.waits) for e in corpus] == [("one", False), ("two", False)]
    os.mkfifo(tmp_path / "p.txt")
    corpus = open_corpus(tmp_path / "p.txt")
    records = corpus.records()

    def write() -> None:
        with (tmp_path / "p.txt").open("wb", buffering=0) as pipe:
            pipe.write(b"one\n")
            written.wait()

    written = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    assert next(records)[0].text == "one"
    waits = [corpus.waits]
    written.set()
    writer.join()
    waits.append(corpus.waits)
    assert waits == [True, False]
    assert list(records) == []


def test_bytes_are_read_as_they_are(tmp_path: Path) -> None:
    """Whatever was looked at before."""
    data = bytes(range(256)) * 2000
    (tmp_path / "x").write_bytes(data)
    with (tmp_path / "x").open("rb", buffering=0) as file:
        watched = WatchedInput(file)
        stream = io.BufferedReader(watched, 100)
        out = stream.read(10)
        for position in range(0, len(data), 777):
            assert not watched.must_wait(position)
            out += stream.read(position % 1000)
        assert out + stream.read() == data


def test_compressed_input_is_not_watched(pipe: Sender) -> None:
    """How many lines are in what has arrived isn't known."""
    import gzip

    pipe.write(gzip.compress(b"one\ntwo\n"))
    pipe.close()
    corpus = open_corpus("-")
    assert [(e.text, corpus.waits) for e in corpus] == [("one", False), ("two", False)]
