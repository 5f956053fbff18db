"""Corpora: what the user names, options that contradict, and what holds for every format."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from layerwise.errors import LayerwiseError, RequestError, SourceError
from layerwise.read import Corpus, Example, Skipped, lines, open_corpus

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, content: str | bytes = "") -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def texts(corpus: Corpus) -> list[str]:
    return [example.text for example in corpus]


def refused(kind: type[LayerwiseError], *parts: str, sources: Any, **options: Any) -> None:
    with pytest.raises(kind) as caught:
        list(open_corpus(sources, **options))
    message = str(caught.value)
    for part in parts:
        assert part in message


ENDINGS = [("a.txt", "hi"), ("a.TEXT", "hi"), ("a.md", "hi"), ("a.jsonl", '{"text": "hi"}')]
ENDINGS += [
    ("a.ndjson", '{"text": "hi"}'),
    ("a.csv", "text\nhi\n"),
    ("a.tsv", "text\nhi\n"),
    ("a.tab", "text\nhi\n"),
]
ENDINGS += [(f"a.{end}", "hi O\n") for end in ("conll", "conllu", "iob", "iob2", "bio", "bio2")]


@pytest.mark.parametrize(("name", "content"), ENDINGS)
def test_the_ending_tells_the_format(name: str, content: str) -> None:
    assert texts(open_corpus(put(name, content))) == ["hi"]


def test_other_endings_are_refused_and_can_be_named() -> None:
    refused(SourceError, "a.log", "'.log'", "with format: ", "jsonl", "conll", sources=put("a.log", "hi"))
    refused(SourceError, "with format: ", sources=put("plain", "hi"))
    assert texts(open_corpus("a.log", format="txt")) == ["hi"]


def test_formats_dont_mix() -> None:
    sources = [put("a.txt", "hi"), put("b.csv", "text\nho\n")]
    refused(SourceError, "a.txt (txt)", "b.csv (csv)", "name it with format", sources=sources)
    assert texts(open_corpus(sources, format="txt")) == ["hi", "text", "ho"]


def test_files_come_in_argument_order_and_globs_sorted() -> None:
    for name in ("b.txt", "a.txt", "z/2.txt", "z/10.txt"):
        put(name, f"{name}\n")
    corpus = open_corpus(["b.txt", Path("z/*.txt"), "a.txt"])
    assert texts(corpus) == ["b.txt", "z/10.txt", "z/2.txt", "a.txt"]
    assert [example.source for example in corpus] == ["b.txt", "z/10.txt", "z/2.txt", "a.txt"]
    assert texts(open_corpus("**/*.txt")) == ["a.txt", "b.txt", "z/10.txt", "z/2.txt"]


def test_a_source_is_named_as_the_user_named_it() -> None:
    put("z/a.txt", "hi")
    assert [example.source for example in open_corpus("./z/../z/a.txt")] == ["./z/../z/a.txt"]
    assert [example.source for example in open_corpus("./z/*.txt")] == ["./z/a.txt"]


def test_a_name_with_glob_characters_is_a_name_first() -> None:
    put("a[1].txt", "brackets")
    put("a1.txt", "glob")
    assert texts(open_corpus("a[1].txt")) == ["brackets"]


def test_missing_sources_are_refused_at_once() -> None:
    put("folder/a.txt", "hi")
    refused(SourceError, "gone.txt", "doesn't exist", "format='docs'", sources="gone.txt")
    refused(SourceError, "gone*.txt", "matches no file", sources="gone*.txt")
    refused(SourceError, "fold*", "only folders", sources="fold*")
    refused(SourceError, "folder is a folder", "format='docs'", sources="folder")
    refused(SourceError, "folder is a folder", "format='docs'", sources="folder", format="jsonl")
    put("made.lw/manifest.json.sha256", "")
    refused(SourceError, "made.lw is a dataset, which holds vectors; name the source", sources="made.lw")
    refused(SourceError, "made.lw is a dataset", sources="made.lw", format="docs")
    refused(SourceError, "''", sources="")
    refused(SourceError, "can't be read", "name another file", sources="a text " * 1000)
    refused(RequestError, "no source", sources=[])
    with pytest.raises(SourceError):
        open_corpus(["folder/a.txt", "gone.txt"])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused_at_once() -> None:
    Path(put("a.txt", "hi")).chmod(0)
    with pytest.raises(SourceError, match=r"a\.txt can't be read: Permission denied"):
        open_corpus("a.txt")


def test_errors_of_the_system_become_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = open_corpus(put("a.txt", "hi"))
    Path("a.txt").unlink()
    with pytest.raises(SourceError, match=r"a\.txt can't be read: No such file"):
        list(corpus)


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("a.txt", {"format": "xml"}, ("'xml'", "auto", "parquet")),
        ("a.txt", {"encoding": "utf-99"}, ("encoding='utf-99'", "latin-1")),
        ("a.txt", {"encoding": "hex"}, ("'hex'",)),
        ("a.txt", {"encoding": "unicode_escape"}, ("'unicode_escape'",)),
        ("a.txt", {"encoding": "punycode"}, ("'punycode'",)),
        ("a.txt", {"encoding": "a\0b"}, ("encoding=",)),
        ("a.txt", {"words": "w"}, ("words doesn't fit format 'txt'", "leave it out")),
        ("a.txt", {"text": "t", "format": "docs"}, ("text doesn't fit format 'docs'",)),
        ("a.jsonl", {"text": "t", "words": "w"}, ("text='t' and words='w' exclude",)),
        ("a.jsonl", {"columns": ["t"]}, ("columns doesn't fit format 'jsonl'",)),
        ("a.parquet", {"columns": ["t"]}, ("columns doesn't fit format 'parquet'",)),
        ("a.conll", {"id": "i"}, ("id doesn't fit format 'conll'",)),
        ("a.conll", {"text": "i"}, ("text doesn't fit format 'conll'",)),
        ("a.csv", {"columns": ["t", "t"]}, ("columns names 't' twice",)),
        ("a.csv", {"columns": []}, ("columns=",)),
        ("a.csv", {"columns": "a,,b"}, ("columns='a,,b' has an empty name",)),
        ("a.txt", {"limit": 0}, ("limit=0 is too small", "at least 1")),
    ],
)
def test_requests_that_cant_be_carried_out(
    name: str, options: dict[str, Any], parts: tuple[str, ...]
) -> None:
    refused(RequestError, *parts, sources=put(name, "hi"), **options)


def test_stdin_is_text_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"one\ntwo\n")
    corpus = open_corpus("-")
    assert corpus.fraction is None
    assert list(corpus) == [Example("one", source="-", line=1), Example("two", source="-", line=2)]
    with pytest.raises(SourceError, match="stdin can be read only once"):
        list(corpus)
    refused(RequestError, "stdin is named twice", sources=["-", "-"])
    refused(RequestError, "Parquet", "stdin", sources="-", format="parquet")


def test_stdin_of_other_formats_is_checked_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"a,text\n1,hi\n")
    corpus = open_corpus([put("a.csv", "text,a\nho,2\n"), "-"], format="csv")
    assert [(e.text, e.columns, e.source) for e in corpus] == [
        ("ho", {"a": "2"}, "a.csv"),
        ("hi", {"a": "1"}, "-"),
    ]
    stdin(monkeypatch, b"a,b\n1,hi\n")
    refused(SourceError, "stdin", "'text'", "'a', 'b'", "with text", sources="-", format="csv")
    stdin(monkeypatch, b'{"a": 1}\n')
    refused(SourceError, "stdin, line 1", "'text'", "'a'", "with text", sources="-", format="jsonl")


def test_without_stdin_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    refused(SourceError, "stdin isn't available", sources="-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_read_once_and_not_looked_at() -> None:
    end, start = os.pipe()
    os.write(start, b"text,n\nhi,1\n")
    os.close(start)
    corpus = open_corpus(f"/dev/fd/{end}", format="csv")
    assert texts(corpus) == ["hi"]
    assert corpus.fraction is None
    with pytest.raises(SourceError, match="only once"):
        list(corpus)
    os.close(end)


def test_every_pass_is_a_fresh_one() -> None:
    corpus = open_corpus(
        put("a.jsonl", '{"text": "hi", "n": 1}\n[]\n{"text": "ho", "n": 2}\n'), skip_bad=True
    )
    first = list(corpus)
    assert first == list(corpus)
    assert len(corpus.skipped) == 1
    half = iter(corpus)
    next(half)
    assert corpus.skipped == []
    assert list(half) == first[1:]


def test_limit_counts_texts_over_all_files() -> None:
    put("a.txt", "1\n2\n")
    put("b.txt", "3\n4\n")
    assert texts(open_corpus(["a.txt", "b.txt"], limit=3)) == ["1", "2", "3"]
    assert texts(open_corpus("a.txt", limit=9)) == ["1", "2"]
    bad = put("a.jsonl", '{"text": "hi"}\n{"text": 1}\n')
    assert texts(open_corpus(bad, limit=1)) == ["hi"]


def test_the_fraction_follows() -> None:
    corpus = open_corpus([put("a.txt", "12\n45\n"), put("b.txt", "78\n\n")])
    assert corpus.fraction == 0
    assert [corpus.fraction for _ in corpus] == [0.3, 0.6, 0.9, 1.0]
    assert corpus.fraction == 1
    next(iter(corpus))
    assert corpus.fraction == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", ""), ("a.csv", "text,n\n"), ("a.jsonl", "\n \n"), ("a.conll", "\n\n-DOCSTART- O\n# none\n\n")],
)
def test_a_source_without_a_text_is_refused_at_the_end(name: str, content: str) -> None:
    corpus = open_corpus(put(name, content))
    with pytest.raises(SourceError, match=rf"no text in '{name}'"):
        list(corpus)


def test_when_all_records_are_bad_the_first_is_told() -> None:
    corpus = open_corpus(put("a.jsonl", "{\n[]\n"), skip_bad=True)
    with pytest.raises(
        SourceError, match=r"all 2 records of 'a\.jsonl' are bad; the first: a\.jsonl, line 1: no JSON"
    ):
        list(corpus)


def test_skip_bad_lists_what_it_went_past() -> None:
    name = put("a.jsonl", b'{"text": "1"}\n\xff\n{"text": null}\n{"text": "2"}\n')
    corpus = open_corpus(name, skip_bad=True)
    assert texts(corpus) == ["1", "2"]
    assert [(bad.source, bad.line) for bad in corpus.skipped] == [(name, 2), (name, 3)]
    why = "column 'text' holds null where a text is needed; give it a text"
    assert corpus.skipped[1] == Skipped(name, 3, why)
    refused(SourceError, "a.jsonl, line 2", "byte 1", "with encoding", sources=name)


def test_names_of_ours_are_carried_as_the_sources() -> None:
    corpus = open_corpus(put("a.csv", "body,text,id,line,word,n\nhi,a,b,c,d,e\nho,f,g,h,i,j\n"), text="body")
    assert len(corpus.notices) == 4
    assert "'line' is carried as 'source.line'" in corpus.notices[2]
    expected = {"source.text": "a", "source.id": "b", "source.line": "c", "source.word": "d", "n": "e"}
    assert next(iter(corpus)).columns == expected
    list(corpus)
    assert len(corpus.notices) == 4


def test_names_of_ours_that_appear_late_are_told_too() -> None:
    corpus = open_corpus(put("a.jsonl", '{"text": "hi"}\n' * 150 + '{"text": "ho", "line": 3}\n'))
    assert corpus.notices == []
    assert list(corpus)[-1].columns == {"source.line": 3}
    assert len(corpus.notices) == 1


def test_two_columns_cant_be_carried_under_one_name() -> None:
    refused(SourceError, "'source.line'", "rename", sources=put("a.csv", "text,line,source.line\n1,2,3\n"))


def test_the_id_is_the_users_and_isnt_carried() -> None:
    corpus = open_corpus(
        put("a.jsonl", '{"text": "a", "k": 7}\n{"text": "b", "k": "x"}\n{"text": "c"}\n'), id="k"
    )
    assert [(example.id, dict(example.columns)) for example in corpus] == [(7, {}), ("x", {}), (None, {})]
    refused(
        SourceError, "line 1", "'k'", "1.5", "an id", sources=put("b.jsonl", '{"text": "", "k": 1.5}'), id="k"
    )
    refused(SourceError, "'nr'", "'text', 'k'", "with id", sources="b.jsonl", id="nr")


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data isn't here")
@pytest.mark.parametrize(
    ("pattern", "options", "count"),
    [
        ("sst2/dev.csv", {}, 872),
        ("trec6/*.csv", {}, 5952),
        ("chnsenticorp_hotel/*.csv", {"text": "review"}, 7766),
        ("stsb_en/stsb-en-dev.csv", {"columns": ["one", "two", "score"], "text": "one"}, 1500),
        ("xprobe_en/past_present/va.txt", {"format": "tsv", "columns": ["text", "label"]}, 10000),
    ],
)
def test_real_corpora(pattern: str, options: dict[str, Any], count: int) -> None:
    corpus = open_corpus(DATA / pattern, **options)
    assert sum(1 for _ in corpus) == count
    assert corpus.fraction == 1


def test_reading_text_loads_neither_arrow_nor_torch() -> None:
    code = "import sys; from layerwise.read import open_corpus; print(list(open_corpus('a.csv'))[0].text); "
    code += "print([name for name in ('pyarrow', 'numpy', 'torch', 'transformers') if name in sys.modules])"
    put("a.csv", "text\nhi\n")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["hi", "[]"]


def test_a_pipe_is_read_once_as_a_source(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        path.write_bytes(b"one\ntwo\n")

    with ThreadPoolExecutor() as pool:
        written = pool.submit(write)
        assert [example.text for example in open_corpus(path, format="txt")] == ["one", "two"]
        written.result()


def test_a_pipe_of_parquet_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.parquet")
    corpus = open_corpus(tmp_path / "pipe.parquet")
    with pytest.raises(SourceError, match="it is no regular file, and the schema is at the end of a file"):
        list(corpus)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_that_does_not_end_is_not_read_to_its_end(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 100_000)
    path = tmp_path / "a.txt"
    path.write_text("short\n" + "x" * 99_999 + "\n", encoding=encoding)
    if encoding == "utf-8":
        assert [len(example.text) for example in open_corpus(path)] == [5, 99_999]
    for source, number in ((path, 2), (Path("/dev/zero"), 1)):
        path.write_text("short\n" + "x" * 1_000_000, encoding=encoding)
        with pytest.raises(SourceError, match=f"line {number} has more than 100,000 bytes"):
            list(open_corpus(source, format="txt", encoding=encoding))


def test_a_file_that_is_one_text_is_not_read_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST", 1_000)
    (tmp_path / "a.txt").write_text("x" * 1_000)
    assert [len(example.text) for example in open_corpus(tmp_path, format="docs")] == [1_000]
    (tmp_path / "a.txt").write_text("x" * 1_001)
    with pytest.raises(SourceError, match="it has more than 1,000 bytes, and it is one text"):
        list(open_corpus(tmp_path, format="docs"))
