"""Datasets of texts with the context of their documents: settings, shards, further texts, and the commands on them."""

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import layerwise as lw
from layerwise.api.extract import extract_share
from layerwise.cli.main import main
from layerwise.encode.encoder import Encoder
from layerwise.errors import DatasetError, LayerwiseError, RequestError, SourceError
from layerwise.extraction.untrained import untrained
from layerwise.options import ExtractOptions

Extract = Callable[..., lw.LayerDataset]
WORDS = ("layer", "know", "the", "word", "stands", "more", "last", "first")
SIZES = {"a": 3, "b": 1, "c": 5, "d": 2, "e": 4}


def texts_of(name: str, count: int) -> list[dict[str, Any]]:
    """The records of a document."""
    offset = ord(name[0])
    return [
        {
            "text": " ".join(
                WORDS[(offset + number + k) % len(WORDS)] for k in range(1 + (offset + number) % 6)
            ),
            "document": name,
            "label": "xy"[(offset + number) % 2],
        }
        for number in range(count)
    ]


RECORDS = [record for name, count in SIZES.items() for record in texts_of(name, count)]


def jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all files that depend on the data."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".lock")
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return jsonl(tmp_path / "texts.jsonl", RECORDS)


@pytest.fixture
def encoder(encoder_of: Callable[[str], Any]) -> Any:
    return encoder_of("bert")


@pytest.fixture
def extract(encoder: Any) -> Extract:
    """`lw.extract` by a tiny encoder, with context, in shards of at least 4 texts."""

    def call(source: Any, out: Path, **more: Any) -> lw.LayerDataset:
        options = {"model": encoder, "shard_texts": 4, "context": "9,5", "dtype": "float32"}
        return lw.extract(source, out, **options | more)

    return call


def test_no_shard_cuts_a_document(extract: Extract, source: Path, tmp_path: Path) -> None:
    small, whole = extract(source, tmp_path / "a"), extract(source, tmp_path / "b", shard_texts=100)
    documents = [part.texts["document"].to_pylist() for part in small.parts()]
    assert [len(names) for names in documents] == [4, 5, 6]
    assert not any(set(first) & set(second) for first, second in itertools.pairwise(documents))
    np.testing.assert_allclose(small.stack(), whole.stack(), atol=1e-6)
    for name in ("context_before", "context_after", "document"):
        assert small.texts[name].to_pylist() == whole.texts[name].to_pylist()
    stored = json.loads((tmp_path / "a/manifest.json").read_text())
    assert stored["settings"]["context"] == [9, 5]
    assert stored["settings"]["reading"]["document"] == "document"
    before, after = (np.array(small.texts[f"context_{side}"]) for side in ("before", "after"))
    assert stored["totals"]["context_tokens"] == before.sum() + after.sum() > 0
    assert stored["totals"]["cut_contexts"] == 0
    assert not before[[0, 3, 4]].any()
    assert not after[[2, 3, 8]].any()


@pytest.mark.parametrize("level", ["token", "word", "text"])
def test_context_0_gives_the_bytes_of_a_dataset_without_the_option(
    level: str, extract: Extract, source: Path, tmp_path: Path
) -> None:
    extract(source, tmp_path / "a", context=0, level=level)
    extract(source, tmp_path / "b", context=None, level=level)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    context=st.sampled_from(["0", "0,0"]),
    level=st.sampled_from(["token", "word", "text"]),
)
def test_context_0_is_no_context_whatever_the_documents(
    sizes: list[int], context: str, level: str, encoder: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = [r for name, count in zip("pqrst", sizes, strict=False) for r in texts_of(name, count)]
    folders = [tmp_path_factory.mktemp("data") / name for name in "ab"]
    options: dict[str, Any] = {"model": encoder, "level": level, "shard_texts": 3}
    lw.extract(records, folders[0], context=context, **options)
    lw.extract(records, folders[1], **options)
    assert contents(folders[0]) == contents(folders[1])


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(list(SIZES)), texts=st.integers(1, 9))
def test_the_order_of_documents_does_not_matter(
    order: list[str], texts: int, encoder: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("data")
    shuffled = [record for name in order for record in texts_of(name, SIZES[name])]
    options: dict[str, Any] = {"model": encoder, "context": (9, 5), "dtype": "float32"}
    first = lw.extract(RECORDS, folder / "a", **options)
    second = lw.extract(shuffled, folder / "b", shard_texts=texts, **options)
    places = [shuffled.index(record) for record in RECORDS]
    np.testing.assert_allclose(first.stack(), second.stack()[:, places], atol=1e-6)
    for name in ("context_before", "context_after"):
        assert first.texts[name].to_pylist() == second.texts[name].take(places).to_pylist()


def test_a_document_that_comes_again_is_refused_with_its_line(
    extract: Extract, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [*texts_of("a", 2), *texts_of("b", 1), *texts_of("a", 1)]
    source = jsonl(tmp_path / "again.jsonl", records)
    with pytest.raises(
        SourceError, match=r"again.jsonl, line 4: document 'a' comes again, after texts of others"
    ):
        extract(source, tmp_path / "out")
    assert main(["extract", str(source), "--out", str(tmp_path / "out"), "--context", "9", "--quiet"]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "leave --context out" in error[0]
    assert not (tmp_path / "out").exists()
    # Without stored texts no message shows what a cell holds.
    with pytest.raises(SourceError, match=r"line 4: document … comes again"):
        extract(source, tmp_path / "out", no_text=True)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        (
            "a.txt",
            "one\ntwo\n",
            [],
            "--context 4 needs the documents of texts, and format 'txt' has no column",
        ),
        (
            "a.csv",
            "text,label\na,b\n",
            [],
            "has no column 'document', only 'text', 'label'; name the column of",
        ),
        (
            "a.csv",
            "text,document\na,\nb, \n",
            [],
            "none of the first 2 texts has a value in column 'document'",
        ),
        ("a.csv", "text,key\na,b\n", ["--document", "other"], "has no column 'other', only 'text', 'key'"),
        ("a.csv", "text,document\na,b\n", ["--context", "x"], "--context x isn't BEFORE or BEFORE,AFTER"),
        ("a.csv", "text,document\na,b\n", ["--context", "600"], "--context 600 is 600 tokens, and a window"),
        ("a.csv", "a,b,document\na,b,c\n", ["--text", "a,b"], "pairs of texts have no neighbours; name one"),
        ("a.conll", "a O\n\nb O\n", ["--words", "token"], "none of the first 2 texts has a value in column"),
        ("a.txt", "one\n", ["--document", "key"], "format 'txt' has no column of documents"),
    ],
)
def test_texts_without_documents_are_refused(
    name: str,
    content: str,
    options: list[str],
    message: str,
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / name).write_text(content)
    command = ["extract", str(tmp_path / name), "--out", str(tmp_path / "out"), "--model", model, "--quiet"]
    assert main([*command, "--context", "4", *options]) == 2
    out = capsys.readouterr()
    errors = [line for line in out.err.splitlines() if "note:" not in line]
    assert len(errors) == 1, out.err
    assert message in errors[0]
    assert not out.out
    assert not (tmp_path / "out").exists()


def test_a_column_of_any_name_tells_documents(extract: Extract, source: Path, tmp_path: Path) -> None:
    expected = extract(source, tmp_path / "a")
    renamed = [{("key" if k == "document" else k): v for k, v in record.items()} for record in RECORDS]
    for record in renamed:
        record["document"] = "something else"
    dataset = extract(jsonl(tmp_path / "key.jsonl", renamed), tmp_path / "b", document="key")
    np.testing.assert_array_equal(dataset.stack(), expected.stack())
    assert dataset.texts["document"].to_pylist() == expected.texts["document"].to_pylist()
    assert set(dataset.texts["source.document"].to_pylist()) == {"something else"}
    assert "key" not in dataset.texts.column_names
    # It is the document of the texts for folds, with or without context.
    alone = extract(tmp_path / "key.jsonl", tmp_path / "c", document="key", context=None)
    assert alone.texts["document"].to_pylist() == expected.texts["document"].to_pylist()
    hidden = extract(tmp_path / "key.jsonl", tmp_path / "d", document="key", no_text=True)
    assert hidden.texts["document"].to_pylist() == expected.texts["document"].to_pylist()
    assert "text" not in hidden.texts.column_names


def test_marks_of_documents(extract: Extract, tmp_path: Path) -> None:
    rows = "# newdoc\n1\tThe\tthe\tX\t_\t_\t_\t_\t_\t_\n\n1\tlast\tlast\tX\t_\t_\t_\t_\t_\t_\n\n"
    (tmp_path / "a.conllu").write_text("1\tword\tword\tX\t_\t_\t_\t_\t_\t_\n\n" + rows + rows)
    dataset = extract(tmp_path / "a.conllu", tmp_path / "out", level="word", format="conll")
    assert dataset.texts["context_before"].to_pylist()[0] == 0
    assert [count > 0 for count in dataset.texts["context_before"].to_pylist()] == [
        False,
        False,
        True,
        False,
        True,
    ]
    (note,) = [n for n in dataset.manifest.notices if "without a document" in n]
    assert note == "texts without a document in column 'document': 1; they are encoded without context"


@pytest.mark.parametrize("workers", [2])
def test_workers_and_array_jobs_give_the_same_bytes(
    workers: int, quick_workers: None, extract: Extract, model: str, source: Path, tmp_path: Path
) -> None:
    extract(source, tmp_path / "a", model=model, device="cpu")
    extract(source, tmp_path / "b", model=model, device="cpu", workers=workers)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    options = ExtractOptions(model=model, shard_texts=4, context="9,5", dtype="float32", device="cpu")
    for share in ((1, 2), (0, 2)):
        extract_share(source, tmp_path / "c", share, options)
    lw.finish(tmp_path / "c")
    assert contents(tmp_path / "a") == contents(tmp_path / "c")


def test_an_interrupted_extraction_goes_on(
    extract: Extract, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(source, tmp_path / "a")
    run, calls = Encoder.run, itertools.count()

    def fails(self: Encoder, *args: Any) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        run(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "run", fails)
        with pytest.raises(KeyboardInterrupt):
            extract(source, tmp_path / "b")
    assert not (tmp_path / "b/manifest.json").exists()
    with pytest.raises(DatasetError, match=r"context is \[ 9, 5 \] in it and \[ 9, 4 \] here"):
        extract(source, tmp_path / "b", context="9,4")
    extract(source, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    before = contents(tmp_path / "b")
    extract(source, tmp_path / "b")
    assert contents(tmp_path / "b") == before, "the same command again"


def test_added_texts_have_the_context_of_the_dataset(extract: Extract, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "texts.jsonl", RECORDS[:9])
    extract(source, tmp_path / "data")
    jsonl(source, RECORDS)
    with pytest.raises(DatasetError, match="the source has grown since the dataset was finished"):
        extract(source, tmp_path / "data")
    grown = extract(source, tmp_path / "data", context=None, append=True)
    whole = extract(source, tmp_path / "whole")
    np.testing.assert_allclose(grown.stack(), whole.stack(), atol=1e-6)
    other = jsonl(
        tmp_path / "other.jsonl", [{**record, "document": f"o{record['document']}"} for record in RECORDS[:4]]
    )
    both = extract(other, tmp_path / "data", context=None, append=True)
    np.testing.assert_allclose(both.stack()[:, 15:], whole.stack()[:, :4], atol=1e-6)
    with pytest.raises(DatasetError, match=r"context is \[ 9, 5 \] in it and \[ 1, 0 \] here"):
        extract(jsonl(tmp_path / "more.jsonl", RECORDS), tmp_path / "data", context=1, append=True)
    (tmp_path / "lone.csv").write_text("text,label\na,b\n")
    with pytest.raises(RequestError, match="data was made with context='9,5', which needs the documents"):
        extract(tmp_path / "lone.csv", tmp_path / "data", context=None, append=True)


def test_a_stored_document_cannot_grow(extract: Extract, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "texts.jsonl", RECORDS[:6])
    extract(source, tmp_path / "data")
    before = contents(tmp_path / "data")
    jsonl(source, RECORDS)
    for append in (True, False):
        with pytest.raises(
            DatasetError,
            match="line 7 is new, and continues a document whose texts are in the dataset already",
        ):
            extract(source, tmp_path / "data", append=append)
    assert {name: data for name, data in contents(tmp_path / "data").items() if "work" not in name} == before
    # An unfinished dataset makes its last shard again.
    assert lw.open_dataset(tmp_path / "data").text_count == 6


@pytest.mark.parametrize("no_text", [True, False])
def test_another_source_cannot_go_on_with_a_stored_document(
    no_text: bool, extract: Extract, tmp_path: Path
) -> None:
    extract(jsonl(tmp_path / "texts.jsonl", RECORDS), tmp_path / "data", no_text=no_text)
    before = lw.open_dataset(tmp_path / "data").sha256
    renamed = [{**record, "key": record["document"]} for record in RECORDS[:3]]
    other = jsonl(
        tmp_path / "other.jsonl", [{"text": "new", "key": "new", "label": "a", "document": "x"}, *renamed]
    )
    with pytest.raises(
        DatasetError,
        match=r"other\.jsonl, line 2 belongs to a document that is in the dataset already.* in column 'key'",
    ):
        extract(other, tmp_path / "data", context=None, document="key", append=True, no_text=no_text)
    assert lw.open_dataset(tmp_path / "data").sha256 == before


@pytest.mark.parametrize("level", ["token", "word", "text"])
def test_verify_and_repair_read_the_neighbours(
    level: str, model: str, source: Path, extract: Extract, tmp_path: Path
) -> None:
    data = extract(source, tmp_path / "data", model=model, device="cpu", level=level)
    verified = lw.verify(data.path, device="cpu")
    assert (verified.ok, verified.texts) == (True, 15)
    path = tmp_path / "data/shards/00001.safetensors"
    before = path.read_bytes()
    path.write_bytes(before[:-8] + b"\1" * 8)
    assert not lw.verify(tmp_path / "data", device="cpu").ok
    repaired = lw.repair(tmp_path / "data")
    assert (repaired.shards, repaired.changed) == ((1,), ())
    assert path.read_bytes() == before
    hidden = extract(source, tmp_path / "hidden", model=model, device="cpu", level=level, no_text=True)
    assert lw.verify(hidden.path, device="cpu").texts == 0
    verified = lw.verify(hidden.path, source=source, device="cpu")
    assert (verified.ok, verified.texts) == (True, 15)


def test_verify_finds_rows_of_another_context(
    model: str, source: Path, extract: Extract, tmp_path: Path
) -> None:
    data = extract(source, tmp_path / "data", model=model, device="cpu", context="2,5")
    path = tmp_path / "data/manifest.json"
    path.write_bytes(path.read_bytes().replace(b"[\n   2,\n   5\n  ]", b"[9, 5]").replace(b"[2,5]", b"[9,5]"))
    (tmp_path / "data/manifest.json.sha256").write_text(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  manifest.json\n"
    )
    assert lw.open_dataset(data.path).manifest.settings.context == (9, 5)
    verified = lw.verify(data.path, device="cpu")
    assert "is out of the tolerance" in verified.problems[-1].what


def test_datasets_with_context_are_merged(extract: Extract, source: Path, tmp_path: Path) -> None:
    first, second = (extract(source, tmp_path / name) for name in "ab")
    merged = lw.merge([first, second], tmp_path / "merged")
    np.testing.assert_array_equal(merged.stack()[:, 15:], first.stack())
    assert merged.manifest.totals.context_tokens == 2 * (first.manifest.totals.context_tokens or 0)
    alone = extract(source, tmp_path / "c", context=None)
    with pytest.raises(DatasetError, match=r"context is \[ 9, 5 \] in the first and not set in the second"):
        lw.merge([first, alone], tmp_path / "other")


@pytest.mark.parametrize("pool", ["mean", "max", "sum", "first", "last", "first_last", "cls", "eos"])
def test_pooled_tokens_are_the_texts(
    pool: str, extract: Extract, model: str, source: Path, tmp_path: Path
) -> None:
    options = {"model": model, "device": "cpu"}
    tokens = extract(source, tmp_path / "tokens", level="token", **options)
    pooled = lw.pool(tokens, tmp_path / "pooled", pool=pool)
    direct = extract(source, tmp_path / "direct", pool=pool, **options)
    assert np.abs(pooled.stack() - direct.stack()).max() <= 1e-5
    assert pooled.texts["context_before"].to_pylist() == direct.texts["context_before"].to_pylist()
    assert pooled.manifest.totals.context_tokens == direct.manifest.totals.context_tokens
    assert pool != "mean" or lw.verify(tmp_path / "pooled", device="cpu").ok


def test_an_untrained_model_reads_the_neighbours_too(
    extract: Extract, model: str, source: Path, tmp_path: Path
) -> None:
    data = extract(source, tmp_path / "data", model=model, device="cpu")
    docs = np.array([1, 2, 5, 8, 14])
    got = untrained(data, 0)[0](["3"], docs)
    random = extract(source, tmp_path / "random", model=lw.load_encoder(model, device="cpu", random=0))
    assert np.abs(got.stack()[0] - random.layer("3")[docs]).max() <= 1e-5


def test_the_page_shows_tokens_in_their_context(
    extract: Extract, model: str, source: Path, tmp_path: Path
) -> None:
    from layerwise.page.content import facts
    from layerwise.page.tokens import tokens_of

    options = {"model": model, "device": "cpu"}
    tokens = extract(source, tmp_path / "tokens", level="token", **options)
    texts = extract(source, tmp_path / "texts", **options)
    assert facts(texts)["context"] == [9, 5]
    assert facts(texts)["cut_contexts"] == texts.manifest.totals.cut_contexts
    (stored,), _ = tokens_of(tokens, [5], attention=False)
    (encoded,), _ = tokens_of(texts, [5], attention=False)
    np.testing.assert_allclose(stored["norms"], encoded["norms"], atol=1e-4)
    with pytest.raises(RequestError, match="attention maps are those of a single text by itself"):
        tokens_of(texts, [5], attention=True)


def test_commands_tell_the_context(
    model: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "data")
    command = ["extract", str(source), "--out", out, "--model", model, "--quiet", "--context", "20,9"]
    assert main([*command, "--max-length", "12"]) == 2
    assert "--context 20,9 is 29 tokens, and a window has room for 10" in capsys.readouterr().err
    assert main([*command[:-1], "7,3", "--max-length", "12"]) == 0
    shown = capsys.readouterr().out
    assert "tokens of neighbours, read as context" in shown
    assert "texts whose window had no room for all of their context" in shown
    assert main(["info", out]) == 0
    assert "up to 7 tokens before and 3 after each text, of the same document" in capsys.readouterr().out
    assert main(["info", out, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["settings"]["context"] == [7, 3]
    assert facts["totals"]["cut_contexts"] > 0


def test_a_damaged_context_is_refused(extract: Extract, source: Path, tmp_path: Path) -> None:
    extract(source, tmp_path / "data")
    path = tmp_path / "data/manifest.json"
    value = json.loads(path.read_text())
    for context in ([9], [9, -1], "9,5", [0, 0], [9, 5, 1]):
        value["settings"]["context"] = context
        path.write_text(json.dumps(value))
        with pytest.raises(LayerwiseError, match=r"settings\.context is"):
            lw.open_dataset(tmp_path / "data")


def test_one_document_at_a_time_is_read(extract: Extract, tmp_path: Path) -> None:
    """The reader holds one document beside the shard: it yields a document before it reads the second next one."""
    from layerwise.read import open_corpus
    from layerwise.read.documents import DocumentNeed

    names = [name for name in "abcdefgh" for _ in range(3)]
    taken: list[int] = []

    class Texts(list[dict[str, str]]):
        def __iter__(self) -> Any:
            for number, name in enumerate(names):
                taken.append(number)
                yield {"text": f"{name} {number}", "document": name}

    records = Texts({"text": "a", "document": name} for name in names)
    corpus = open_corpus(records, need=DocumentNeed("this", "that"))
    passed = corpus.records()
    taken.clear()
    for number, document in enumerate(passed):
        assert len(document) == 3
        assert not taken or max(taken) <= 3 * number + 3
