"""CoNLL: columns and their names, comments that are words, sentences and their ends."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerwise.errors import SourceError
from layerwise.read import Example, open_corpus

DATA = Path(__file__).parents[3] / "shared" / "data"
UNER = ["id", "token", "tag", "other", "source"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(content: str, **options: Any) -> list[Example]:
    Path("a.conll").write_bytes(content.encode())
    return list(open_corpus("a.conll", **options))


def words(content: str, **options: Any) -> list[str]:
    return [example.text for example in read(content, **options)]


def universal(*rows: tuple[str, str]) -> str:
    return "".join(f"{id}\t{form}" + "\t_" * 8 + "\n" for id, form in rows)


def test_two_columns_are_token_and_tag() -> None:
    [one, two] = read("EU B-ORG\nrejects O\n\n\nPeter\tB-PER\r\n")
    assert (one.text, one.words, one.line, one.source) == ("EU rejects", ("EU", "rejects"), 1, "a.conll")
    assert (one.columns, one.word_columns) == ({}, {"tag": ("B-ORG", "O")})
    assert (two.words, two.line, two.word_columns) == (("Peter",), 5, {"tag": ("B-PER",)})


def test_ten_columns_are_conllu() -> None:
    content = "# text = x\n" + universal(
        ("1-2", "zum"), ("1", "zu"), ("2", "dem"), ("2.1", "ghost"), ("3", "10 000")
    )
    corpus_words = [
        e.words for e in read(content + "# mid\n" + universal(("4", "#tag"), ("#", "x")) + "\n# end\n")
    ]
    assert corpus_words == [("zu", "dem", "10 000", "#tag")]
    assert list(read(content)[0].word_columns) == [
        *("source.id", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
    ]


def test_a_whitespace_only_line_ends_a_sentence() -> None:
    for blank in ("", " ", "\t", "\r", " \t "):
        assert words(f"a O\nb O\n{blank}\nc O\n") == ["a b", "c"]
    assert words("a\tO\n\u00a0\tO\n\u3000\tO\n\u2028\tO\n") == ["a \u00a0 \u3000 \u2028"]


def test_docstart_lines_arent_words() -> None:
    assert words("-DOCSTART- O\n\na O\n\n-DOCSTART- -X- O O\nb O\n-DOCSTART-\nc O\n") == ["a", "b", "c"]
    found = read("-DOCSTART- -X- O O\n\nEU NNP I-NP B\n", columns=["token", "pos", "chunk", "ner"])
    assert [(e.text, e.line, e.word_columns["ner"]) for e in found] == [("EU", 3, ("B",))]


def test_marks_of_documents_give_a_column() -> None:
    content = "a O\n\n-DOCSTART- O\n\nb O\n\nc O\n-DOCSTART-\n\n-DOCSTART- -X- O O\nd O\n"
    assert [e.columns for e in read(content)] == [
        {},
        *({"document": f"a.conll:{number}"} for number in (1, 1, 3)),
    ]
    Path("b.conll").write_text("-DOCSTART- O\n\nx O\n", encoding="utf-8")
    documents = [e.columns.get("document") for e in open_corpus(["b.conll", "a.conll"])]
    assert documents == ["b.conll:1", None, "a.conll:1", "a.conll:1", "a.conll:3"], "unique over the files"
    assert read("a O\n\nb O\n")[0].columns == {}, "no mark, no column"


def test_newdoc_names_a_document() -> None:
    content = "".join(
        f"{mark}# sent_id = {number}\n{universal(('1', 'x'))}\n"
        for number, mark in enumerate(
            ("# newdoc id = weblog 1\n", "", "# newpar\n", "#newdoc\n", "# newdoc id =\n", "# newdocument\n")
        )
    )
    expected = [*["weblog 1"] * 3, "a.conll:2", "a.conll:3", "a.conll:3"]
    assert [e.columns["document"] for e in read(content)] == expected
    assert words("# newdoc\na O\n# newdoc\nb O\n") == ["a", "b"], "a document ends the sentence before it"
    assert [e.columns for e in read("# newdoc\na O\n")] == [{"document": "a.conll:1"}]


def test_a_column_of_documents_of_the_users_own() -> None:

    content = "-DOCSTART- O X\n\nr1 a O\nr1 b B\n\nr2 c O\n"
    columns = ["document", "token", "tag"]
    examples = read(content, columns=columns)
    assert [e.columns for e in examples] == [{"document": "r1"}, {"document": "r2"}]
    assert list(examples[0].word_columns) == ["tag"]
    with pytest.raises(SourceError, match=r"a\.conll, line 1: .* in several documents \('r1', 'r2'\)"):
        read("r1 a O\nr2 b O\n", columns=columns)


def test_a_mark_that_cannot_be_decoded_makes_the_next_sentence_bad() -> None:
    Path("a.conll").write_bytes(b"# newdoc id = x\na O\n\n# newdoc id = y\xff\nb O\n\nc O\n")
    with pytest.raises(SourceError, match=r"a\.conll, line 4: byte 16"):
        list(open_corpus("a.conll"))
    corpus = open_corpus("a.conll", skip_bad=True)
    assert [e.columns["document"] for e in corpus] == ["x", "y\ufffd"]


def test_a_hash_is_a_word_where_it_has_its_columns() -> None:
    content = "# a comment\nHi\tO\n#tag\tB\n#\tO\n# another comment\n# id = 3\n##\tO\n"
    assert words(content) == ["Hi #tag # ##"]
    assert words("#tag\tO\n#\tO\n") == ["#tag #"]
    assert words("#tag O\nis O\n# longer comment here\n") == ["#tag is"]
    assert words("#\n#tag\n# comment\nword\n", columns=["token"]) == ["# #tag word"]
    assert words("# sent = 1 2\n1\ta\tO\tx\ty\n", columns=UNER) == ["a"]


def test_empty_cells_are_cells() -> None:
    assert [(e.words, e.word_columns) for e in read("a\t\n\tO\n")] == [(("a", ""), {"tag": ("", "O")})]
    assert words("a   O  \n  b O\n") == ["a b"]


def test_other_numbers_of_columns_need_names() -> None:
    content = "# x\na NN O\n"
    with pytest.raises(SourceError, match=r"a\.conll, line 2 has 3 columns \('a NN O'\).*columns='token,pos"):
        read(content)
    with pytest.raises(SourceError, match=r"a\.conll, line 2 has 3 columns .*columns names 2 \(token,tag\)"):
        read(content, columns=["token", "tag"])
    with pytest.raises(SourceError, match="10 columns"):
        read("1 2 3 4 5 6 7 8 9 10\n")
    [example] = read(content, columns=["token", "pos", "tag"])
    assert example.word_columns == {"pos": ("NN",), "tag": ("O",)}


def test_the_column_of_words() -> None:
    content = "1\ta\tO\n"
    assert words(content, columns=["id", "token", "tag"]) == ["a"]
    assert words(content, columns=["id", "form", "tag"]) == ["a"]
    assert words(content, columns=["x", "y", "z"], words="y") == ["a"]
    assert words("a O\n", words="tag") == ["O"]
    with pytest.raises(
        SourceError, match=r"none of the columns 'x', 'y', 'z' is token or form; .*with words"
    ):
        read(content, columns=["x", "y", "z"])
    with pytest.raises(SourceError, match=r"no column 'w', only 'token', 'tag'; .*with words"):
        read("a O\n", words="w")


def test_an_uneven_row_makes_its_sentence_bad() -> None:
    content = "a O\n\nb O\nc\nd O x\n\ne O\n"
    with pytest.raises(SourceError, match=r"^a\.conll, line 4: 1 columns where the first row has 2"):
        read(content)
    assert words(content, skip_bad=True) == ["a", "e"]
    corpus = open_corpus("a.conll", skip_bad=True)
    list(corpus)
    assert [bad.line for bad in corpus.skipped] == [4]


def test_undecodable_words() -> None:
    Path("a.conll").write_bytes(b"a O\n\nb\xff O\nc O\n\nd O\n")
    with pytest.raises(SourceError, match=r"a\.conll, line 3: byte 2 of the line"):
        list(open_corpus("a.conll"))
    assert [e.text for e in open_corpus("a.conll", skip_bad=True)] == ["a", "d"]
    Path("a.conll").write_bytes(b"\xff O\n")
    with pytest.raises(SourceError, match=r"a\.conll, line 1: byte 1 of the line"):
        list(open_corpus("a.conll"))


def test_files_of_other_shapes_are_refused() -> None:
    Path("a.conll").write_text("a O\n", encoding="utf-8")
    Path("b.conll").write_text(universal(("1", "b")), encoding="utf-8")
    Path("c.conll").write_text("\n# nothing\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"b\.conll has other columns than a\.conll"):
        open_corpus(["a.conll", "b.conll"])
    assert [e.text for e in open_corpus(["c.conll", "a.conll"])] == ["a"]


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data isn't here")
def test_the_documents_of_a_real_corpus() -> None:
    file = DATA / "ud_english_ewt" / "en_ewt-ud-dev.conllu"
    lines = file.read_text(encoding="utf-8").splitlines()
    names = [line.removeprefix("# newdoc id = ") for line in lines if line.startswith("# newdoc id = ")]
    examples = list(open_corpus(file))
    assert list(dict.fromkeys(example.columns["document"] for example in examples)) == names
    marks = np.cumsum([line.startswith("# newdoc id = ") for line in lines])
    assert all(e.columns["document"] == names[marks[(e.line or 0) - 1] - 1] for e in examples)


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data isn't here")
@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("wnut17/wnut17train.conll", {}, 3394),
        ("wnut17/emerging.dev.conll", {}, 1009),
        ("wnut17/emerging.test.annotated", {"format": "conll"}, 1287),
        ("wnut17/emerging.test", {"format": "conll", "columns": ["token"]}, 1287),
        ("uner_chinese_gsd/zh_gsd-ud-train.iob2", {"columns": UNER}, 3997),
        ("uner_chinese_gsd/zh_gsd-ud-dev.iob2", {"columns": UNER}, 500),
        ("uner_chinese_gsd/zh_gsd-ud-test.iob2", {"columns": UNER}, 500),
        ("ud_english_ewt/en_ewt-ud-dev.conllu", {}, 2001),
        ("ud_english_ewt/en_ewt-ud-test.conllu", {}, 2077),
        pytest.param("ud_english_ewt/en_ewt-ud-train.rebuilt.conllu", {}, 12544, marks=pytest.mark.slow),
    ],
)
def test_real_corpora(name: str, options: dict[str, Any], count: int) -> None:
    corpus = open_corpus(DATA / name, **options)
    assert sum(1 for _ in corpus) == count
    assert (corpus.fraction, corpus.skipped) == (1, [])
