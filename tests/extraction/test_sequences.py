"""Datasets of proteins and DNA from FASTA: residues as rows, their labels, windows, pools, heads and predictions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import RequestError
from proteins import NUCLEOTIDES, make_esm
from selection import few_of

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
SEQUENCES = {
    f"p{n}": "".join(LETTERS[(n * n + n * k + k * k // 3) % 20] for k in range(12 + 5 * n)) for n in range(16)
}
SHAPES = {residue: "H" if residue in "AELMQK" else "E" if residue in "VIYFWT" else "-" for residue in LETTERS}


def fasta(sequences: dict[str, str], width: int = 20) -> str:
    return "".join(
        f">{name} OS=Homo sapiens OX=9606\n"
        + "".join(f"{letters[at : at + width]}\n" for at in range(0, len(letters), width))
        for name, letters in sequences.items()
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, sequences, and a label for each residue."""
    folder = tmp_path_factory.mktemp("sequences")
    make_esm(folder / "esm2")
    (folder / "proteins.fasta").write_text(fasta(SEQUENCES))
    shapes = {
        name: "".join(map(SHAPES.__getitem__, letters)) for name, letters in reversed(SEQUENCES.items())
    }
    (folder / "shapes.fasta").write_text("".join(f">{name}\n{labels}\n" for name, labels in shapes.items()))
    table = [f"{name},{labels}" for name, labels in shapes.items()]
    (folder / "shapes.csv").write_text("\n".join(["id,shape", *table]) + "\n")
    return folder


@pytest.fixture(scope="module")
def words(folder: Path) -> lw.LayerDataset:
    return lw.extract(
        folder / "proteins.fasta", folder / "words", model=folder / "esm2", level="word", dtype="float32"
    )


def test_each_residue_is_a_row(words: lw.LayerDataset) -> None:
    assert words.word_split == "chars"
    assert "".join(words.index["text"].to_pylist()) == "".join(SEQUENCES.values())
    numbers = [number for letters in SEQUENCES.values() for number in range(len(letters))]
    assert words.index["word"].to_pylist() == words.index["start"].to_pylist() == numbers
    assert words.texts["id"].to_pylist() == list(SEQUENCES)
    assert words.texts["OS"].to_pylist() == ["Homo sapiens"] * len(SEQUENCES)
    assert words.texts["text"].to_pylist() == list(SEQUENCES.values())
    # 64 residues fit; the windows of longer proteins share 16 of them.
    expected = [
        1 if len(letters) <= 64 else 1 + -(-(len(letters) - 64) // 48) for letters in SEQUENCES.values()
    ]
    assert words.texts["windows"].to_pylist() == expected
    assert max(expected) > 1


def test_rows_of_residues_are_those_of_tokens(words: lw.LayerDataset, folder: Path) -> None:
    encoder = lw.load_encoder(folder / "esm2")
    texts = list(SEQUENCES.values())
    tokens = encoder.encode(texts, level="token")
    inside = np.flatnonzero(~np.asarray(tokens.index["special"].to_pylist()))
    of_chars = encoder.encode(texts, level="word", word_split="chars")
    for layer in words.layers:
        np.testing.assert_array_equal(words.layer(layer), tokens.layer(layer, rows=inside))
        np.testing.assert_array_equal(words.layer(layer), of_chars.layer(layer))
    # Without it a sequence is a single word, as every run of letters.
    assert encoder.encode(texts, level="word").rows == len(texts)


def test_pools_of_tokens_are_the_same_words(words: lw.LayerDataset, folder: Path, tmp_path: Path) -> None:
    options: Any = {"model": folder / "esm2", "level": "token", "dtype": "float32"}
    tokens = lw.extract(folder / "proteins.fasta", tmp_path / "tokens", **options)
    pooled = lw.pool(tokens, tmp_path / "pooled", level="word")
    assert pooled.word_split == "chars"
    np.testing.assert_array_equal(pooled.stack(), words.stack())
    assert pooled.index["text"].to_pylist() == words.index["text"].to_pylist()


@pytest.mark.parametrize(
    "labels",
    few_of(
        ["shapes.fasta", "shapes.fasta:sequence", "shapes.csv", "shapes.csv:shape"],
        "shapes.fasta",
        "shapes.csv:shape",
    ),
)
def test_letters_of_a_label_are_those_of_residues(words: lw.LayerDataset, folder: Path, labels: str) -> None:
    result = lw.probe(
        words, task="classify", label="shape", labels_from=f"{folder}/{labels}", mix=["2"], quick=True
    )
    assert result.rows == sum(map(len, SEQUENCES.values()))
    (note,) = [note for note in result.notes if "letter" in note]
    assert note == (
        f"The labels of {folder}/{labels.partition(':')[0]} are strings with a letter for each word, and each letter is read "
        "as a label."
    )
    # The embedding table tells the residue, which decides its label here.
    assert result.baselines["emb"].score == 1


def test_a_label_with_another_number_of_letters_is_refused(
    words: lw.LayerDataset, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "shapes.fasta").write_text((folder / "shapes.fasta").read_text().replace("-", "--", 1))
    with pytest.raises(
        RequestError, match=r"shapes.fasta, line 1: 88 labels for the 87 words of text 15; give a label for"
    ):
        lw.probe(words, task="classify", label="shape", labels_from=tmp_path / "shapes.fasta")


def test_strings_of_another_length_are_labels_of_texts(words: lw.LayerDataset, tmp_path: Path) -> None:
    kinds = [f"{name},{'kinase' if number % 2 else 'receptor'}" for number, name in enumerate(SEQUENCES)]
    (tmp_path / "kinds.csv").write_text("\n".join(["id,kind", *kinds]))
    result = lw.probe(
        words, task="classify", label="kind", labels_from=tmp_path / "kinds.csv", mix=["2"], quick=True
    )
    assert not [note for note in result.notes if "letter" in note]


@pytest.fixture(scope="module")
def residue_head(words: lw.LayerDataset, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("residues") / "head"
    lw.train(words, task="classify", label="shape", labels_from=folder / "shapes.fasta", mix="emb", out=out)
    return out


def test_a_head_of_residues_reads_sequences_by_residues(residue_head: Path) -> None:
    (answer,) = lw.load_head(residue_head).predict(["MKTAYIAK"])
    assert "".join(word["label"] for word in answer["words"]) == "".join(map(SHAPES.__getitem__, "MKTAYIAK"))
    assert [(word["start"], word["end"]) for word in answer["words"]] == [(n, n + 1) for n in range(8)]


def test_residues_are_predicted_from_fasta(
    residue_head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.faa").write_text(">q1\nMKT\nAY\n")
    assert main(["predict", str(residue_head), str(tmp_path / "new.faa"), "--to", "conll"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split("\t") for line in lines if not line.startswith("#")] == [
        [residue, SHAPES[residue]] for residue in "MKTAY"
    ]
    assert main(["predict", str(residue_head), str(tmp_path / "new.faa")]) == 0
    (answer,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (answer["id"], len(answer["words"])) == ("q1", 5)


def test_a_head_of_whole_sequences_takes_those_of_a_table(folder: Path, tmp_path: Path) -> None:
    """No row of a text depends on what a word is."""
    kinds = {name: "ab"[letters[0] < "K"] for name, letters in SEQUENCES.items()}
    table = [f"{letters},{kinds[name]}" for name, letters in SEQUENCES.items()]
    records = [f">{name} kind={kinds[name]}\n{letters}" for name, letters in SEQUENCES.items()]
    (tmp_path / "t.csv").write_text("\n".join(["text,kind", *table]))
    (tmp_path / "t.fasta").write_text("\n".join(records))
    for ending in ("csv", "fasta"):
        lw.extract(tmp_path / f"t.{ending}", tmp_path / ending, model=folder / "esm2")
    lw.train(tmp_path / "csv", task="classify", label="kind", mix="2", out=tmp_path / "head")
    evaluations = [lw.evaluate(tmp_path / "head", tmp_path / ending) for ending in ("csv", "fasta")]
    assert evaluations[0].rows == evaluations[1].rows == len(SEQUENCES)
    assert evaluations[0].scores == evaluations[1].scores


def test_verify_and_repair_read_residues_again(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    lw.extract(folder / "proteins.fasta", data, model=folder / "esm2", level="word", shard_texts=8)
    verification = lw.verify(data)
    assert verification.ok
    assert verification.parity is not None
    victim = data / "shards" / "00001.safetensors"
    victim.write_bytes(victim.read_bytes()[:-8] + bytes(8))
    assert not lw.verify(data).ok
    repair = lw.repair(data, source=folder / "proteins.fasta")
    assert len(repair.shards) == 1
    assert lw.verify(data).ok


def test_sequences_of_a_table_have_residues_where_asked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,seq\na,MKT\nb,AYIA\n")
    options: Any = {"model": folder / "esm2", "level": "word", "text": "seq", "id": "id"}
    data = lw.extract(tmp_path / "t.csv", tmp_path / "data", word_split="chars", **options)
    assert data.index["text"].to_pylist() == list("MKTAYIA")
    with pytest.raises(lw.DatasetError, match='word_split is "chars" in it and not set here'):
        lw.extract(tmp_path / "t.csv", tmp_path / "data", **options)
    with pytest.raises(RequestError, match=r"word_split 'runs' doesn't exist; choose one of chars"):
        lw.extract(tmp_path / "t.csv", tmp_path / "other", word_split="runs", **options)


def test_each_base_has_the_kmer_that_it_is_in(tmp_path: Path) -> None:
    model = make_esm(tmp_path / "dna", NUCLEOTIDES, {"eos_token": None}, pad_token_id=1, mask_token_id=2)
    (tmp_path / "a.fna").write_text(">a\nATCGATN\nGG\n")
    data = lw.extract(tmp_path / "a.fna", tmp_path / "data", model=model, level="word", dtype="float32")
    tokens = lw.load_encoder(model).encode(["ATCGATNGG"], level="token")
    assert tokens.index["text"].to_pylist() == ["", "ATC", "GAT", "N", "G", "G"]
    token_of_base = [1, 1, 1, 2, 2, 2, 3, 4, 5]
    np.testing.assert_array_equal(data.layer("3"), tokens.layer("3", rows=token_of_base))


def test_residues_split_beforehand_suit_tokenizers_that_need_blanks(tmp_path: Path) -> None:
    """ProtBERT: a BERT whose words are residues."""
    from transformers import BertConfig, BertModel, BertTokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=25, max_position_embeddings=64, **shape)).save_pretrained(
        tmp_path / "bert"
    )
    BertTokenizer.from_pretrained(tmp_path, do_lower_case=False).save_pretrained(tmp_path / "bert")
    (tmp_path / "a.fasta").write_text(">a\nMKT\nAYI\n")
    options: Any = {"model": tmp_path / "bert", "level": "word"}
    split = lw.extract(tmp_path / "a.fasta", tmp_path / "split", words="sequence", **options)
    assert split.index["text"].to_pylist() == list("MKTAYI")
    assert split.texts["unknown"].to_pylist() == [0]
    # As a single run of letters the sequence is one unknown token.
    assert lw.extract(tmp_path / "a.fasta", tmp_path / "run", **options).texts["unknown"].to_pylist() == [1]


def test_unknown_letters_are_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.fasta").write_text(">a\nMKTAYIAKJJQRQ*\n>b\nmktayiakqrq\n")
    command = [
        "extract",
        tmp_path / "a.fasta",
        "--out",
        tmp_path / "data",
        "--model",
        folder / "esm2",
        "--level",
        "word",
    ]
    assert main(list(map(str, command))) == 0
    # `JJ` and `*` are two tokens, the run of lower-case letters is one.
    dataset = lw.open_dataset(tmp_path / "data")
    assert dataset.texts["unknown"].to_pylist() == [2, 1]
    assert dataset.rows == 25
    told = capsys.readouterr().err
    assert "note: sequences with '*', the mark of a stop: 1 of 2, 1 in all" in told
    assert "note: sequences with lower-case letters, as soft masking has them: 1 of 2, 11 in all" in told
    assert "unknown" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            ">a\nMK\n>b\n\n",
            "a.fasta, line 3: the record 'b' has no sequence; give it one, or leave such records out with --skip-bad\n",
        ),
        ("MK\n>a\nMK\n", "a.fasta, line 1: 'MK' stands before the first record; "),
    ],
)
def test_a_bad_file_is_one_line_and_exit_2(
    content: str, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.fasta").write_text(content)
    command = ["extract", tmp_path / "a.fasta", "--out", tmp_path / "data", "--model", folder / "esm2"]
    assert main(list(map(str, command))) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
