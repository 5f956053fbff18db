"""FASTA: records, headers and their fields, and what is told of unusual sequences; compared with Biopython."""

import bz2
import gzip
import io
import random
from pathlib import Path
from typing import Any

import pytest

from layerwise.errors import RequestError, SourceError
from layerwise.read import Example, open_corpus
from layerwise.read.corpus import Corpus, read_fields

UNIPROT = (
    ">sp|P02768|ALBU_HUMAN Albumin OS=Homo sapiens OX=9606 GN=ALB PE=1 SV=2\n"
    "MKWVTFISLL\nFLFSSAYSRG\n"
    ">tr|A0A0A0|A0A0A0_9BACT Protein Gene-1/2 (Fragment) OS=uncultured bacterium (strain A=B) OX=77133 PE=4 SV=1\n"
    "MKKL\n"
)
NCBI = (
    ">lcl|U00096.3_cds_1 [gene=thrL] [locus_tag=b0001] [protein=thr operon leader peptide] [location=190..255]\n"
    "ATGAAACGCATTAGC\n"
)
PRODIGAL = ">k141_1 # 2 # 181 # 1 # ID=1_1;partial=10;start_type=ATG;gc_cont=0.5\nMKT\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def corpus_of(content: str | bytes, name: str = "a.fasta", **options: Any) -> Corpus:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return open_corpus(name, **options)


def read(content: str | bytes, name: str = "a.fasta", **options: Any) -> list[Example]:
    return list(corpus_of(content, name, **options))


def notices(content: str, **options: Any) -> list[str]:
    corpus = corpus_of(content, **options)
    list(corpus)
    return corpus.notices


def sequences(content: str | bytes, name: str = "a.fasta", **options: Any) -> list[tuple[Any, str]]:
    return [(example.id, example.text) for example in read(content, name, **options)]


def test_a_record_is_an_id_a_description_and_a_sequence() -> None:
    first, second = read(">a The first one\nMKT\nAYI\n>b\nGG\n")
    assert first == Example("MKTAYI", None, "a", "a.fasta", 1, {"description": "The first one"})
    assert second == Example("GG", None, "b", "a.fasta", 4, {"description": ""})


@pytest.mark.parametrize("name", ["a.fasta", "a.fa", "a.faa", "a.fna", "a.ffn", "a.frn", "A.FASTA"])
def test_endings(name: str) -> None:
    assert sequences(">a\nMK\n", name) == [("a", "MK")]


@pytest.mark.parametrize(("ending", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_compressed_files(ending: str, compress: Any) -> None:
    assert sequences(compress(b">a\nMK\n"), f"a.fa.{ending}") == [("a", "MK")]


def test_another_ending_needs_the_format_and_is_told_so() -> None:
    corpus = corpus_of(">a\nMKT\n", "a.txt")
    assert [example.text for example in corpus] == [">a", "MKT"]
    (notice,) = corpus.notices
    assert notice.endswith("the first line begins with '>'; give format='fasta' to read sequences")
    assert sequences(">a\nMK\n", "a.txt", format="fasta") == [("a", "MK")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (">a\nMK\nTA", [("a", "MKTA")]),  # no line end at the end
        (">a\r\nMK\r\nTA\r\n>b\r\nG\r\n", [("a", "MKTA"), ("b", "G")]),
        ("\n\n>a\n\nMK\n\n\nTA\n\n>b\n\nG", [("a", "MKTA"), ("b", "G")]),
        ("\ufeff>a\nMK\n", [("a", "MK")]),
        (">  a b\nMK\n", [("a", "MK")]),
        (">a\tb\nMK\n", [("a", "MK")]),
        (">a b>c > d\nMK\n", [("a", "MK")]),
        ("; a comment\n>a\n;another\nMK\n;\nTA\n", [("a", "MKTA")]),
        (">a\n  MK  \n\tTA\n", [("a", "MKTA")]),
        (">\nMK\n", [(None, "MK")]),
        (">中文 é\nMK\n", [("中文", "MK")]),
    ],
)
def test_lines(content: str, expected: list[tuple[Any, str]]) -> None:
    assert sequences(content) == expected


def test_fields_of_uniprot_are_columns() -> None:
    first, second = read(UNIPROT)
    assert first.id == "sp|P02768|ALBU_HUMAN"
    assert first.columns == {
        "description": "Albumin OS=Homo sapiens OX=9606 GN=ALB PE=1 SV=2",
        "OS": "Homo sapiens",
        "OX": "9606",
        "GN": "ALB",
        "PE": "1",
        "SV": "2",
    }
    assert "GN" not in second.columns
    assert second.columns["OS"] == "uncultured bacterium (strain A=B)"
    assert "fields of headers are carried as columns: 'OS', 'OX', 'GN', 'PE', 'SV'" in notices(UNIPROT)


def test_fields_of_ncbi_and_of_prodigal_are_columns() -> None:
    (ncbi,), (prodigal,) = read(NCBI), read(PRODIGAL)
    del ncbi.columns["description"], prodigal.columns["description"]
    protein = "thr operon leader peptide"
    assert ncbi.columns == {"gene": "thrL", "locus_tag": "b0001", "protein": protein, "location": "190..255"}
    assert prodigal.columns == {"ID": "1_1", "partial": "10", "start_type": "ATG", "gc_cont": "0.5"}


@pytest.mark.parametrize(
    ("description", "columns"),
    [
        ("no fields", {}),
        ("a = b, x==y, 5=6, =7, http://a?b=c", {"x": "=y, 5=6, =7, http://a?b=c"}),
        ("len=", {"len": ""}),
        ("len=3;  type=x y ; ", {"len": "3", "type": "x y"}),
        ("id=7 sequence=x text=y", {"header.id": "7", "header.sequence": "x", "source.text": "y"}),
        ("n=1 n=2", {"n": "1"}),
    ],
)
def test_odd_fields(description: str, columns: dict[str, str]) -> None:
    (example,) = read(f">a {description}\nMK\n")
    assert example.columns == {"description": description.strip(), **columns}


def test_what_is_unusual_is_counted_and_told() -> None:
    content = ">a\nMK*TA*\n>b k=1 k=2\nM-K..T\n;c\n>b\nmkT A Y\n>\nMK\n;\n"
    assert notices(content) == [
        "fields of headers are carried as columns: 'k'",
        "sequences with '*', the mark of a stop: 1 of 4, 2 in all; it stays in the text, and a tokenizer that doesn't know it "
        "makes it an unknown token",
        "sequences with gaps, '-' or '.': 1 of 4, 3 in all; each stays in the text, and a tokenizer that doesn't know it makes "
        "it an unknown token",
        "sequences with lower-case letters, as soft masking has them: 1 of 4, 2 in all; each stays so, and a tokenizer that "
        "doesn't know it makes it an unknown token",
        "sequences with blanks within a line: 1 of 4, 2 in all; they are removed",
        "sequences with comments, lines that begin with ';': 2 of 4, 2 in all; they are left out",
        "sequences with no id: 1 of 4; labels can't be joined to them by id",
        "sequences with the id of another one before them: 1 of 4; all are read; such ids: 'b', …",
        "sequences with a key twice in the header: 1 of 4, 1 in all; the column holds the first value, the description all; "
        "such keys: 'k', …",
    ]
    assert [text for _, text in sequences(content)] == ["MK*TA*", "M-K..T", "mkTAY", "MK"]
    assert notices(">a\nMKTA\n") == []


def test_notices_quote_nothing_of_a_source_that_is_not_to_be_quoted() -> None:
    assert "b" not in notices(">b\nM\n>b\nM\n", quote=False)[0].partition("such ids:")[2]


def test_each_pass_counts_anew() -> None:
    corpus = corpus_of(">a\nM*\n>a\nM\n")
    first, second = list(corpus), list(corpus)
    assert first == second
    assert len(corpus.notices) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "\n;c\nMKT\n>a\nMK\n",
            "a.fasta, line 3: 'MKT' stands before the first record; FASTA begins with a line such as '>id description'; "
            "correct it, or name the format of the file with format",
        ),
        (
            ">a\nMK\n\n>b desc\n\n>c\nMK\n",
            "a.fasta, line 4: the record 'b desc' has no sequence; give it one, or leave such records out with skip_bad=True",
        ),
        (
            ">a\nMK\n>b",
            "a.fasta, line 3: the record 'b' has no sequence; give it one, or leave such records out with skip_bad=True",
        ),
        (
            ">a\nMK>b\nGG\n",
            "a.fasta, line 1: line 2 has '>' within a sequence; a record begins with it, in a new line; correct it",
        ),
        (
            ">a\rMK\r",
            "a.fasta ends its lines with a carriage return alone, and a newline is needed; write it so (tr '\\r' '\\n')",
        ),
        ("", "there is no text in 'a.fasta'; name a source that has one"),
        ("\n;only a comment\n", "there is no text in 'a.fasta'; name a source that has one"),
    ],
)
def test_faults_are_told_with_their_line(content: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(content)
    assert str(caught.value) == message


def test_letters_in_another_encoding_are_told() -> None:
    with pytest.raises(
        SourceError, match=r"a.fasta, line 1: line 2: byte 2 of the line \(0xe9\) isn't utf-8"
    ):
        read(b">a\nM\xe9K\n")
    assert sequences(b">\xe9\nMK\n", encoding="latin-1") == [("é", "MK")]


def test_bad_records_can_be_skipped() -> None:
    corpus = corpus_of(">a\nMK\n>b\n>c\nM>K\n>d\nGG\n", skip_bad=True)
    assert [example.id for example in corpus] == ["a", "d"]
    assert [(bad.line, bad.why[:11]) for bad in corpus.skipped] == [(3, "the record "), (4, "line 5 has ")]


def test_several_files_may_have_different_fields() -> None:
    Path("a.fasta").write_text(">a OS=x\nMK\n")
    Path("b.fasta").write_text(">b GN=y\nMK\n")
    columns = [dict(example.columns) for example in open_corpus(["a.fasta", "b.fasta"])]
    assert columns == [{"description": "OS=x", "OS": "x"}, {"description": "GN=y", "GN": "y"}]


def test_residues_may_be_words() -> None:
    """For tokenizers that need blanks between residues, such as ProtBERT's."""
    (example,) = read(">a OS=x\nMKT\n", words="sequence")
    assert (example.text, example.words) == ("M K T", ("M", "K", "T"))


def test_other_columns_may_be_the_text_and_the_id() -> None:
    (example,) = read(">a GN=x y\nMKT\n", text="description", id="GN")
    assert (example.text, example.id) == ("GN=x y", "x y")
    assert example.columns == {"source.id": "a", "sequence": "MKT"}


@pytest.mark.parametrize(
    "option", [{"columns": "a,b"}, {"sentence_id": "id"}, {"separator": ";"}, {"na": ["x"]}]
)
def test_options_of_tables_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=r"doesn't fit format 'fasta'"):
        read(">a\nMK\n", **option)


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b">a OS=x\nMK\n")))
    (example,) = open_corpus("-", format="fasta")
    assert (example.id, example.text, example.columns["OS"]) == ("a", "MK", "x")


def made_up(seed: int) -> str:
    """A file with headers and sequences as they come, wrapped at some width."""
    source = random.Random(seed)
    end = source.choice(["\n", "\r\n"])
    lines = []
    for number in range(source.randint(1, 12)):
        description = " ".join(
            source.choice(["OS=Homo sapiens", "GN=a", "x>y", "[k=v]", "é", "p=1;q=2"]) for _ in range(3)
        )
        lines.append(
            source.choice([f">s{number} {description}", f">s{number}", f">s{number}\t{description}"])
        )
        residues = "".join(
            source.choice("ACDEFGHIKLMNPQRSTVWYXBZUO*-.acgt") for _ in range(source.randint(1, 300))
        )
        width = source.choice([1, 7, 60, 80, 1000])
        lines += [residues[start : start + width] for start in range(0, len(residues), width)]
        lines += [""] * source.randint(0, 2)
    return end.join(lines) + source.choice(["", end, end * 3])


@pytest.mark.parametrize("content", [UNIPROT, NCBI, PRODIGAL, *map(made_up, range(30))])
def test_ids_descriptions_and_sequences_are_those_of_biopython(content: str) -> None:
    SeqIO = pytest.importorskip("Bio.SeqIO", reason="biopython isn't installed")
    expected = [
        (r.id, r.description, str(r.seq)) for r in SeqIO.parse(io.StringIO(content, newline=None), "fasta")
    ]
    actual = []
    Path("a.fasta").write_bytes(content.encode())
    for _, fields in read_fields("a.fasta"):
        # Biopython's description is the whole header.
        header = [fields["id"], *([fields["description"]] if fields["description"] else [])]
        actual.append((fields["id"], header, fields["sequence"]))
    assert [(one, " ".join(header.split()), text) for one, header, text in expected] == [
        (one, " ".join(" ".join(header).split()), text) for one, header, text in actual
    ]
