"""Files in another encoding than the one that was given."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.errors import SourceError
from layerwise.read import open_corpus
from layerwise.read.encodings import other_encoding

TEXTS = {
    "german": "Gute Qualität; größer\nschön\n" * 3,
    "chinese": "房间很好，服务也不错\n太差了\n" * 3,
    "english": "a good film\nsad\n" * 3,
}
WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("wide", WIDE)
@pytest.mark.parametrize("text", TEXTS)
def test_the_encoding_that_is_named_reads_the_file(text: str, wide: str) -> None:
    Path("a.txt").write_bytes(TEXTS[text].encode(wide))
    for other in ("utf-8", "latin-1", *WIDE):
        if (
            other == wide
            or (other, wide) == ("utf-16", "utf-16-le")
            or (other, wide) == ("utf-32", "utf-32-le")
        ):
            continue
        if other == f"{wide}-le":  # the mark says the same
            continue
        with pytest.raises(
            SourceError, match=rf"^a\.txt is utf-.*, not {other}; give encoding='utf-"
        ) as caught:
            list(open_corpus("a.txt", encoding=other))
        named = str(caught.value).split("'")[1]
        assert [e.text for e in open_corpus("a.txt", encoding=named)] == TEXTS[text].splitlines()


@pytest.mark.parametrize("wide", WIDE)
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("text", TEXTS)
def test_utf_8_named_as_a_wide_encoding(text: str, mark: bytes, wide: str) -> None:
    Path("a.txt").write_bytes(mark + TEXTS[text].encode())
    with pytest.raises(SourceError, match=rf"^a\.txt is utf-8, not {wide}; give encoding='utf-8'$"):
        list(open_corpus("a.txt", encoding=wide))


def test_a_mark_of_utf_8_names_it() -> None:
    Path("a.txt").write_bytes("größer".encode("utf-8-sig"))
    for encoding in ("cp1252", "gb18030"):
        with pytest.raises(SourceError, match=f"a.txt is utf-8, not {encoding}; give encoding='utf-8'"):
            list(open_corpus("a.txt", encoding=encoding))
    assert [e.text for e in open_corpus("a.txt")] == [
        e.text for e in open_corpus("a.txt", encoding="utf-8-sig")
    ]


@settings(max_examples=300, deadline=None)
@given(text=st.text(min_size=1), encoding=st.sampled_from(["utf-8", "utf-8-sig", "gb18030", *WIDE]))
def test_the_right_encoding_is_never_refused(text: str, encoding: str) -> None:
    if len(text) < 10 and "\0" not in text and not text.startswith("\ufeff"):
        assert other_encoding(text.encode(encoding, "replace"), encoding) is None


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "big5", "shift_jis", "euc-jp", "cp1252", "utf-16"])
def test_encodings_of_files_of_text(encoding: str) -> None:
    text = {"big5": "房間很好", "gbk": "房间很好", "cp1252": "Qualität", "utf-16": "größer"}.get(
        encoding, "良い"
    )
    Path("a.csv").write_bytes(f"text,label\n{text},x\n".encode(encoding))
    Path("a.jsonl").write_bytes(f'{{"text": "{text}"}}\n'.encode(encoding))
    Path("a.json").write_bytes(f'[{{"text": "{text}"}}]'.encode(encoding))
    Path("a.txt").write_bytes(f"{text}\n".encode(encoding))
    Path("a.tsv").write_bytes(f"text\tlabel\n{text}\tx\n".encode(encoding))
    for name in ("a.csv", "a.jsonl", "a.json", "a.txt", "a.tsv"):
        assert [e.text for e in open_corpus(name, encoding=encoding)] == [text]
        with pytest.raises(
            SourceError, match="utf-8; (give encoding='utf-16'|name the file's encoding with encoding, such)"
        ):
            list(open_corpus(name))
