"""The same table in every format, compression and container in memory gives the same records."""

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from layerwise.errors import RequestError, SourceError
from layerwise.example import Example, digest
from layerwise.read import Corpus, open_corpus
from source_kinds import COMPRESSIONS, Dataset, save_to_disk, zstandard

pd: Any = pytest.importorskip("pandas")
RECORDS: list[dict[str, Any]] = [
    {"text": "A quiet film, well made", "label": "good", "n": 1},
    {"text": 'He said "no"\nand left', "label": "bad", "n": 2},
    {"text": "", "label": "", "n": 3},
    {"text": "你好，世界\t!", "label": "good", "n": 4},
] * 300
TABLE = pa.Table.from_pylist(RECORDS)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def separated(separator: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(RECORDS[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(RECORDS)
    return file.getvalue().encode()


def ipc(make: Callable[..., Any], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with make(sink, TABLE.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(TABLE, max_chunksize=500)
    return bytes(sink.getvalue().to_pybytes())


def written(write: Callable[[Any], None]) -> bytes:
    sink = pa.BufferOutputStream()
    write(sink)
    return bytes(sink.getvalue().to_pybytes())


TEXT = {
    "a.csv": separated(","),
    "a.tsv": separated("\t"),
    "a.jsonl": "".join(json.dumps(record) + "\n" for record in RECORDS).encode(),
    "a.json": json.dumps(RECORDS).encode(),
    "indented.json": json.dumps(RECORDS, indent=2, ensure_ascii=False).encode(),
    "lines.json": "".join(json.dumps(record) + "\n" for record in RECORDS).encode(),
}
BINARY = {
    "a.parquet": written(lambda sink: pq.write_table(TABLE, sink)),
    "stream.arrow": ipc(pa.ipc.new_stream),
    "file.arrow": ipc(pa.ipc.new_file),
    "zstd.arrow": ipc(pa.ipc.new_file, compression="zstd"),
    "lz4.ipc": ipc(pa.ipc.new_stream, compression="lz4"),
    "a.feather": written(lambda sink: feather.write_feather(TABLE, sink)),
    "polars.feather": written(lambda sink: pl.from_arrow(TABLE).write_ipc(sink, compression="zstd")),  # type: ignore[union-attr]
}


def put(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def rows(corpus: Corpus) -> list[tuple[str, str, str]]:
    return [(e.text, str(e.columns["label"]), str(e.columns["n"])) for e in corpus]


EXPECTED = [(str(r["text"]), str(r["label"]), str(r["n"])) for r in RECORDS]


@pytest.mark.parametrize("name", [*TEXT, *BINARY])
def test_every_format(name: str) -> None:
    corpus = open_corpus(put(name, {**TEXT, **BINARY}[name]))
    assert rows(corpus) == EXPECTED
    assert corpus.fraction == 1
    assert digest(corpus) == digest(corpus)


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("name", TEXT)
def test_every_compression(name: str, ending: str) -> None:
    data = COMPRESSIONS[ending](TEXT[name])
    corpus = open_corpus(put(name + ending, data))
    assert rows(corpus) == EXPECTED
    assert corpus.fraction == 1
    # The first bytes tell, whatever the name is; and parts behind each other are one file.
    put(name, COMPRESSIONS[ending](TEXT[name][:100]) + COMPRESSIONS[ending](TEXT[name][100:]))
    assert rows(open_corpus(name)) == EXPECTED


def test_compressed_lines_conll_documents_and_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [e.text for e in open_corpus(put("a.txt.gz", gzip.compress(b"one\ntwo\n")))] == ["one", "two"]
    assert [e.text for e in open_corpus(put("a.conll.xz", lzma.compress(b"a O\nb O\n")))] == ["a b"]
    Path("docs").mkdir()
    put("docs/one.txt.gz", gzip.compress(b"first\nlines"))
    assert [e.text for e in open_corpus("docs", format="docs")] == ["first\nlines"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(zstandard(b"one\ntwo\n"))))
    assert [e.text for e in open_corpus("-")] == ["one", "two"]
    utf16 = open_corpus(put("b.txt.bz2", bz2.compress("übel\nnöch\n".encode("utf-16"))), encoding="utf-16")
    assert [e.text for e in utf16] == ["übel", "nöch"]


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_a_cut_compressed_file_is_told(ending: str) -> None:
    data = COMPRESSIONS[ending](separated(","))
    with pytest.raises(
        SourceError, match=rf"a\.csv\{ending} can't be read: its .* data is damaged or cut off"
    ):
        list(open_corpus(put(f"a.csv{ending}", data[:-9])))


def test_other_compressed_files_are_refused() -> None:
    with pytest.raises(SourceError, match=r"a\.zip is a zip archive.*, not text; unpack it"):
        open_corpus(put("a.zip", b"PK\x03\x04 and more"), format="txt")
    with pytest.raises(SourceError, match=r"a\.tar\.gz: files that end in \.tar can't be read; unpack"):
        open_corpus(put("a.tar.gz", gzip.compress(b"x")))
    for name in ("a.parquet", "a.arrow"):
        with pytest.raises(
            SourceError, match=r"is compressed \(gzip\), and only files of text .*; decompress it$"
        ):
            open_corpus(put(name, gzip.compress(BINARY["a.parquet"])))


def test_a_small_file_that_becomes_gigabytes() -> None:
    bomb = bz2.compress(b"\0" * (300 << 20))
    with pytest.raises(SourceError, match="becomes more than .* at most 1,000 times as many are read"):
        list(open_corpus(put("a.jsonl.bz2", bomb)))


# --- Arrow, Feather and folders of save_to_disk ---------------------------------------------------------------


def saved(folder: str) -> str:
    return save_to_disk(Path(folder), TABLE).as_posix()


def test_a_folder_of_save_to_disk() -> None:
    corpus = open_corpus(saved("one"))
    assert (corpus.format, rows(corpus)) == ("hf", EXPECTED)
    assert {e.source for e in corpus} == {f"one/data-0000{part}-of-00002.arrow" for part in (0, 1)}
    assert rows(open_corpus("one", format="hf")) == EXPECTED
    saved("both/train")
    put("both/dataset_dict.json", b'{"splits": ["train", "test"]}')
    with pytest.raises(
        SourceError, match="both holds several splits: 'train', 'test'; .* such as both/train"
    ):
        open_corpus("both")
    assert rows(open_corpus("both/train")) == EXPECTED
    put("one/state.json", b'{"_data_files": [{"filename": "../../secret.arrow"}]}')
    with pytest.raises(SourceError, match="isn't in its folder"):
        open_corpus("one")
    put("one/state.json", b"[" * 100_000)
    with pytest.raises(SourceError, match=r"one/state\.json can't be read: .*; save the dataset again"):
        open_corpus("one")
    with pytest.raises(SourceError, match="is no folder that save_to_disk wrote"):
        open_corpus(put("a.arrow", BINARY["file.arrow"]), format="hf")


def test_a_batch_that_becomes_gigabytes() -> None:
    table = pa.table({"text": pa.array(["x" * (300 << 20)])})
    for name, make in (("a.arrow", pa.ipc.new_file), ("b.arrow", pa.ipc.new_stream)):
        with make(name, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(table)
        assert Path(name).stat().st_size < 100_000
        with pytest.raises(
            SourceError, match=f"{name} can't be read as Arrow: a batch becomes 314,.* at most 1,000 times"
        ):
            list(open_corpus(name))


def test_damaged_arrow_is_refused() -> None:
    for name in ("stream.arrow", "file.arrow", "zstd.arrow"):
        data = BINARY[name]
        for place in range(8, len(data), len(data) // 60):
            damaged = bytearray(data)
            damaged[place] ^= 0xFF
            for content in (bytes(damaged), data[:place]):
                with suppress(SourceError):  # nothing else is raised, and the process goes on
                    list(open_corpus(put(name, content)))
    with pytest.raises(SourceError, match="Feather of version 1"):
        open_corpus(put("old.feather", b"FEA1 and more"))
    with pytest.raises(RequestError, match="Arrow can't be read from stdin"):
        open_corpus("-", format="arrow")


# --- JSON arrays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.json is empty where an array of records is needed"),
        ('{"data": [\n{"text": "a"}]}', r"begins with '\{' where an array of records is needed"),
        ('[{"text": "a"}', r"line 1: no JSON \(Expecting ',' delimiter at column 15"),
        ('[{"text": "a"},\n{"text": b}]', r"line 2: no JSON \(Expecting value at column 10"),
        ('[{"text": "a"},]', r"line 1: no JSON \(Expecting value"),
        ('[{"text": "a"}]]', r"no JSON \(Extra data"),
        ('[{"text": "a"}] x', r"no JSON \(Extra data"),
        ('[{"text": "a}]', r"no JSON \(Unterminated string"),
        ("[" * 200_000, r"no JSON \(maximum recursion depth"),
        ("[]", "there is no text in"),
        ('["a", 1]', r"record 1: 'a' where a JSON object is needed"),
    ],
)
def test_faulty_arrays(content: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        list(open_corpus(put("a.json", content.encode())))
    assert "\n" not in str(caught.value)


def test_arrays_are_read_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwise.read import json_array

    records = [{"text": "é" * length, "n": length * 10**12, "deep": [[{"k": None}]]} for length in range(40)]
    for piece in (1, 2, 7, 64):
        monkeypatch.setattr(json_array, "_CHUNK", piece)
        for indent in (None, 1):
            name = put("a.json", json.dumps(records, indent=indent, ensure_ascii=False).encode())
            assert [(e.text, e.columns["n"], e.line) for e in open_corpus(name)] == [
                (record["text"], record["n"], number) for number, record in enumerate(records, 1)
            ]
    corpus = open_corpus(put("a.json", b'[{"text": "a"}, 3, {"text": "b"}]'), skip_bad=True)
    assert [e.text for e in corpus] == ["a", "b"]
    assert [bad.line for bad in corpus.skipped] == [2]
    with pytest.raises(SourceError, match=r"a\.json: it isn't utf-8; name the file's encoding with encoding"):
        open_corpus(put("a.json", '[{"text": "é"}]'.encode("latin-1")))
    assert [e.text for e in open_corpus("a.json", encoding="latin-1")] == ["é"]


# --- data in memory -------------------------------------------------------------------------------------------


OBJECTS: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(RECORDS),
    "pandas, other index": lambda: pd.DataFrame(RECORDS).set_index(pd.Index(range(5, 5 + len(RECORDS)))),
    "polars": lambda: pl.DataFrame(RECORDS),
    "table": lambda: TABLE,
    "batches": lambda: TABLE.to_batches(max_chunksize=7000)[0],
    "datasets": lambda: Dataset(TABLE),
    "records": lambda: [dict(record) for record in RECORDS],
    "records of numpy": lambda: [{**record, "n": np.int64(int(record["n"]))} for record in RECORDS],
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_data_in_memory(kind: str) -> None:
    corpus = open_corpus(OBJECTS[kind]())
    assert (corpus.format, corpus.names) == ("python", ["-"])
    assert rows(corpus) == rows(corpus) == EXPECTED
    assert [e.line for e in corpus][-1] == len(RECORDS)
    assert corpus.fraction == 1


def test_a_stream_in_memory_is_read_once() -> None:
    corpus = open_corpus(TABLE.to_reader())
    assert rows(corpus) == EXPECTED
    with pytest.raises(SourceError, match="can be read only once; give a table"):
        list(corpus)


@pytest.mark.parametrize("kind", [list, pd.Series, pl.Series, pa.array, np.array, pa.chunked_array])
def test_texts_in_memory(kind: Callable[[Any], Any]) -> None:
    texts = ["A quiet film.", "wonderful"]
    data = kind([texts]) if kind is pa.chunked_array else kind(texts)
    assert [(e.text, e.line) for e in open_corpus(data)] == [(texts[0], 1), (texts[1], 2)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"text": ["a"]}, "got a dict with the keys 'text' for a source; give a list of records"),
        ({"train": TABLE, "test": TABLE}, r"the splits 'train', 'test' .* such as source\['train'\]"),
        (pl.LazyFrame({"text": ["a"]}), r"isn't computed yet; give its collect\(\)"),
    ],
)
def test_other_data_is_refused(data: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        open_corpus(data)


def test_faulty_records_in_memory() -> None:
    corpus = open_corpus([{"text": "a"}, {"text": 1}, "b", {"text": "c", "x": object()}], skip_bad=True)
    assert [e.text for e in corpus] == ["a", "b"]
    assert [bad.line for bad in corpus.skipped] == [2, 4]
    with pytest.raises(
        SourceError, match="the DataFrame can't be read: .*make the values of each column one type"
    ):
        open_corpus(pd.DataFrame({"text": ["a", "b"], "n": [1, "x"]}))
    with pytest.raises(RequestError, match="format='csv' is for files, and the source is data in memory"):
        open_corpus(TABLE, format="csv")
    with pytest.raises(SourceError, match="no column 'text', only 'label', 'n'"):
        open_corpus(TABLE.drop_columns(["text"]))


def test_the_index_of_a_data_frame() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "key": ["x", "y"], "n": [1, 2]})
    for index in ("key", ["key", "n"]):
        examples = list(open_corpus(frame.set_index(index)))
        assert [dict(e.columns) for e in examples] == [{"key": "x", "n": 1}, {"key": "y", "n": 2}]
    assert list(next(iter(open_corpus(frame.set_index("key", drop=False)))).columns) == ["key", "n"]
    assert list(next(iter(open_corpus(frame.sample(frac=1, random_state=0)))).columns) == ["key", "n"]
    frame.columns = ["text", "text", "n"]
    with pytest.raises(SourceError, match="the DataFrame has two columns 'text'; rename one of them"):
        open_corpus(frame)


def test_pairs_and_words_in_memory() -> None:
    examples = list(open_corpus([{"a": "x", "b": "y"}], text="a,b"))
    assert [(e.text, e.columns) for e in examples] == [("x", {"part": "a"}), ("y", {"part": "b"})]
    frame = pd.DataFrame({"w": [["a", "b"], ["c"]], "t": [[0, 1], [2]]})
    assert [(e.words, e.word_columns) for e in open_corpus(frame, words="w")] == [
        (("a", "b"), {"t": (0, 1)}),
        (("c",), {"t": (2,)}),
    ]


def test_examples_say_where_they_come_from() -> None:
    [example] = open_corpus([{"text": "one"}])
    assert example == Example("one", source="list", line=1)
