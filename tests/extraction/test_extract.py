"""extract: a corpus in, a dataset out, the same whatever happens on the way."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import layerwise as lw
from conftest import CORPUS
from killing import killed_anywhere
from layerwise.errors import DatasetError, OutputError, RequestError, SourceError
from layerwise.store import check_files
from layerwise.store.tensors import TensorWriter
from reference import Plain, worst
from warm import Python


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """CORPUS with a label and a number per text."""
    path = tmp_path / "corpus.jsonl"
    rows = [{"text": text, "label": "ab"[n % 2], "number": n} for n, text in enumerate(CORPUS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def encoder(encoder_of: Callable[[str], Any]) -> Any:
    return encoder_of("bert")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the shards, by name."""
    return {path.name: path.read_bytes() for path in sorted((folder / "shards").iterdir())}


@pytest.mark.parametrize("level", ["token", "word", "text"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_what_is_stored_is_what_encode_gives(
    level: str, dtype: str, encoder: Any, corpus: Path, tmp_path: Path
) -> None:
    dataset = lw.extract(corpus, tmp_path / "out", model=encoder, level=level, dtype=dtype, shard_texts=5)
    states = encoder.encode(CORPUS, level=level)
    for layer in states.layers:
        docs = states.index["doc"].to_numpy()
        for doc in range(len(CORPUS)):
            a, b = dataset.layer(layer)[docs == doc], states.layer(layer)[docs == doc]
            limit = dataset.manifest.tolerance.value * max(1.0, np.abs(b).max(initial=0))
            assert np.abs(a - b).max(initial=0) <= limit, f"layer {layer}, text {doc}"
    columns = [name for name in states.index.column_names if name in dataset.index.column_names]
    assert columns == states.index.column_names
    assert dataset.index.select(columns).to_pylist() == states.index.to_pylist()
    assert dataset.texts["label"].to_pylist() == ["ab"[n % 2] for n in range(len(CORPUS))]
    assert dataset.texts["number"].type == pa.int64()
    assert dataset.manifest.totals.texts == len(CORPUS)
    assert dataset.manifest.totals.tokens == sum(states.texts["tokens"].to_pylist())
    assert dataset.manifest.shards.count == 4
    assert check_files(tmp_path / "out") == []


def test_columns_at_text_level_stand_in_the_index(encoder: Any, corpus: Path, tmp_path: Path) -> None:
    dataset = lw.extract(corpus, tmp_path / "out", model=encoder)
    assert dataset.index.column_names == ["doc", "text", "label", "number"]
    assert dataset.where(label="b").tolist() == list(range(1, len(CORPUS), 2))


def test_the_manifest_says_where_it_comes_from(encoder: Any, corpus: Path, tmp_path: Path) -> None:
    dataset = lw.extract(corpus, tmp_path / "out", model=encoder, layers="emb,2", pool="max")
    manifest = dataset.manifest.to_json()
    assert manifest["layers"] == ["emb", "2"]
    assert (manifest["level"], manifest["pool"], manifest["width"], manifest["blocks"]) == (
        "text",
        "max",
        32,
        3,
    )
    assert manifest["model"]["weights"] == encoder.hashes["weights"]
    assert manifest["model"]["last_layer"] == "as its block gives it"
    assert manifest["settings"]["engine"] == encoder.engine
    assert {"torch", "transformers", "tokenizers", "python", "layerwise"} <= set(manifest["versions"])
    assert set(manifest["error"]) == {"emb", "2"}
    assert all(0 < error["max_rel"] < 2**-11 for error in manifest["error"].values())
    assert all(len(shard.input or "") == 64 for shard in dataset.shards)


def test_the_same_call_again_changes_nothing(encoder: Any, corpus: Path, tmp_path: Path) -> None:
    lw.extract(corpus, tmp_path / "out", model=encoder)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.name != ".lock"}
    lw.extract(corpus, tmp_path / "out", model=encoder)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.name != ".lock"} == before


OTHER_SETTINGS: list[dict[str, Any]] = [
    {"layers": "1:"},
    {"level": "word"},
    {"pool": "max"},
    {"dtype": "float32"},
    {"special_tokens": False},
    {"long": "truncate"},
    {"max_length": 40},
    {"overlap": 3},
    {"batch_tokens": 99},
    {"shard_texts": 3},
    {"no_text": True},
]


@pytest.mark.parametrize("other", OTHER_SETTINGS, ids=lambda other: next(iter(other)))
def test_other_settings_are_refused(
    other: dict[str, Any], encoder: Any, corpus: Path, tmp_path: Path
) -> None:
    lw.extract(corpus, tmp_path / "out", model=encoder)
    before = contents(tmp_path / "out")
    (name,) = other
    with pytest.raises(DatasetError) as caught:
        lw.extract(corpus, tmp_path / "out", model=encoder, **other)
    said = {"shard_texts": "texts", "no_text": "no_text"}.get(name, name)
    assert said in str(caught.value), f"{caught.value} doesn't name {said}"
    assert contents(tmp_path / "out") == before


def test_another_model_is_refused(encoder_of: Callable[[str], Any], corpus: Path, tmp_path: Path) -> None:
    lw.extract(corpus, tmp_path / "out", model=encoder_of("bert"))
    with pytest.raises(DatasetError, match="model"):
        lw.extract(corpus, tmp_path / "out", model=encoder_of("electra"))


class Killed(BaseException):
    """Stands for whatever ends a process."""


def interrupt_at(shard_puts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    put, calls = TensorWriter.put, 0

    def counted(self: TensorWriter, *args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > shard_puts:
            raise Killed
        put(self, *args)

    monkeypatch.setattr(TensorWriter, "put", counted)


@pytest.fixture
def interrupted(encoder: Any, corpus: Path, tmp_path: Path) -> Path:
    """An extraction in shards of 5 texts that ended in the middle of the third."""
    with pytest.MonkeyPatch.context() as patch:
        calls_per_shard = len(encoder.layers)
        interrupt_at(2 * calls_per_shard + 2, patch)
        with pytest.raises(Killed):
            lw.extract(corpus, tmp_path / "out", model=encoder, shard_texts=5)
    return tmp_path / "out"


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    interrupted: Path, encoder: Any, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="unfinished"):
        lw.open_dataset(interrupted)
    kept = {p.name: p.stat().st_mtime_ns for p in (interrupted / "shards").glob("0000[01].*")}
    assert len(kept) == 6, "two shards were committed"
    lw.extract(corpus, interrupted, model=encoder, shard_texts=5)
    lw.extract(corpus, tmp_path / "whole", model=encoder, shard_texts=5)
    assert contents(interrupted) == contents(tmp_path / "whole")
    assert {p.name: p.stat().st_mtime_ns for p in (interrupted / "shards").glob("0000[01].*")} == kept, (
        "not made twice"
    )


def rewrite(corpus: Path, line: int, **change: Any) -> None:
    lines = [json.loads(row) for row in corpus.read_text(encoding="utf-8").splitlines()]
    lines[line] |= change
    corpus.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")


def test_a_committed_record_that_changed_is_refused_by_name(
    interrupted: Path, encoder: Any, corpus: Path
) -> None:
    rewrite(corpus, 6, text="something else")
    with pytest.raises(DatasetError, match=r"corpus.jsonl, line 7 has changed since shard 1 was written"):
        lw.extract(corpus, interrupted, model=encoder, shard_texts=5)


def test_a_committed_label_that_changed_is_refused(interrupted: Path, encoder: Any, corpus: Path) -> None:
    rewrite(corpus, 2, label="changed")
    with pytest.raises(DatasetError, match=r"corpus.jsonl, line 3 has changed since"):
        lw.extract(corpus, interrupted, model=encoder, shard_texts=5)


def test_a_later_record_that_was_mended_is_accepted(interrupted: Path, encoder: Any, corpus: Path) -> None:
    rewrite(corpus, 12, text="mended")
    dataset = lw.extract(corpus, interrupted, model=encoder, shard_texts=5)
    assert dataset.texts["text"][12].as_py() == "mended"


def test_a_source_that_shrank_is_refused(interrupted: Path, encoder: Any, corpus: Path) -> None:
    corpus.write_text(
        "".join(corpus.read_text(encoding="utf-8").splitlines(keepends=True)[:7]), encoding="utf-8"
    )
    with pytest.raises(DatasetError, match=r"the end of the source \(after .*line 7\)"):
        lw.extract(corpus, interrupted, model=encoder, shard_texts=5)
    corpus.write_text(
        "".join(corpus.read_text(encoding="utf-8").splitlines(keepends=True)[:5]), encoding="utf-8"
    )
    with pytest.raises(DatasetError, match="the source has 5 texts now and the dataset has 10"):
        lw.extract(corpus, interrupted, model=encoder, shard_texts=5)


def test_a_source_that_grew_after_the_finish_is_told(encoder: Any, corpus: Path, tmp_path: Path) -> None:
    lw.extract(corpus, tmp_path / "out", model=encoder, limit=4, shard_texts=4)
    with pytest.raises(DatasetError, match="has grown since the dataset was finished: .*line 5 is new"):
        lw.extract(corpus, tmp_path / "out", model=encoder, shard_texts=4)
    lw.extract(corpus, tmp_path / "ragged", model=encoder, limit=6, shard_texts=4)
    with pytest.raises(DatasetError, match="has grown since the dataset was finished: .*line 7 is new"):
        lw.extract(corpus, tmp_path / "ragged", model=encoder, shard_texts=4)


def test_a_short_last_shard_of_unfinished_work_is_made_again(
    encoder: Any, corpus: Path, tmp_path: Path
) -> None:
    from layerwise.store import DatasetWriter

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatasetWriter, "finish", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            lw.extract(corpus, tmp_path / "out", model=encoder, limit=6, shard_texts=4)
    lw.extract(corpus, tmp_path / "out", model=encoder, shard_texts=4)
    lw.extract(corpus, tmp_path / "whole", model=encoder, shard_texts=4)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_value_too_large_for_the_stored_type_stops_the_run(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(model_folder("bert"), tmp_path / "huge"))
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.LayerNorm.bias"][0] = 1e5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OutputError, match=r"layer 2 .*(1000|999).*dtype='float16'") as caught:
        lw.extract(_lines(tmp_path, "a b"), tmp_path / "out", model=folder, device="cpu")
    assert "float16" in str(caught.value)
    lw.extract(_lines(tmp_path, "a b"), tmp_path / "wide", model=folder, device="cpu", dtype="bfloat16")


def _lines(folder: Path, *texts: str) -> Path:
    path = folder / "lines.txt"
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return path


def test_pre_split_words_with_labels(encoder: Any, tmp_path: Path) -> None:
    path = tmp_path / "tags.conll"
    path.write_text("John\tB-PER\n\u200d\tO\nsmiles\tO\n\nParis\tB-LOC\n", encoding="utf-8")
    dataset = lw.extract(path, tmp_path / "out", model=encoder, level="word")
    assert dataset.index["unknown"].to_pylist()[1] == 1, "a dropped word is encoded as the unknown token"
    assert dataset.index.drop_columns(["unknown"]).to_pylist() == [
        {"doc": 0, "start": 0, "end": 4, "text": "John", "word": 0, "dropped": False, "tag": "B-PER"},
        {"doc": 0, "start": 5, "end": 6, "text": "\u200d", "word": 1, "dropped": True, "tag": "O"},
        {"doc": 0, "start": 7, "end": 13, "text": "smiles", "word": 2, "dropped": False, "tag": "O"},
        {"doc": 1, "start": 0, "end": 5, "text": "Paris", "word": 0, "dropped": False, "tag": "B-LOC"},
    ]
    assert dataset.texts["words"].to_pylist() == [["John", "\u200d", "smiles"], ["Paris"]]
    assert dataset.manifest.totals.dropped_words == 1
    assert dataset.manifest.to_json()["columns"] == {"text": [], "word": ["tag"]}
    tokens = lw.extract(path, tmp_path / "tokens", model=encoder, level="token")
    assert tokens.texts["tag"].to_pylist() == [["B-PER", "O", "O"], ["B-LOC"]]


def test_raw_words_that_have_no_token_are_counted(encoder: Any, tmp_path: Path) -> None:
    dataset = lw.extract(_lines(tmp_path, "a \ufffd b"), tmp_path / "out", model=encoder, level="word")
    assert dataset.index["word"].to_pylist() == [0, 2]
    assert dataset.manifest.totals.lost_words == 1


def test_empty_texts(encoder: Any, tmp_path: Path) -> None:
    path = _lines(tmp_path, "", "a b", "")
    assert lw.extract(path, tmp_path / "texts", model=encoder).rows == 3
    assert lw.extract(path, tmp_path / "words", model=encoder, level="word").index["doc"].to_pylist() == [
        1,
        1,
    ]
    nothing = lw.extract(_lines(tmp_path, ""), tmp_path / "nothing", model=encoder, level="word")
    assert nothing.layer(-1).shape == (0, 32)


def test_no_text_leaves_no_text(encoder: Any, tmp_path: Path) -> None:
    path = tmp_path / "private.jsonl"
    rows = [
        {"text": "secret words", "name": "Ada", "group": "g1", "age": 36, "tags": ["x"], "nested": {"a": "b"}}
    ] * 2
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for level in ("text", "token", "word"):
        out = tmp_path / level
        dataset = lw.extract(path, out, model=encoder, level=level, no_text=True, keep=["group"])
        names = {*dataset.index.column_names, *dataset.texts.column_names}
        assert not names & {"text", "words", "token_id", "name", "tags", "nested"}
        assert {"group", "age"} <= names
        stored = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())
        for table in (dataset.index, dataset.texts):
            assert "secret" not in str(table.to_pylist())
        assert b"secret" not in stored
        assert b"Ada" not in stored
    with pytest.raises(
        RequestError, match="keep='nope': no such column is carried; carried columns: 5, give"
    ):
        lw.extract(path, tmp_path / "x", model=encoder, no_text=True, keep=["nope"])
    (tmp_path / "plain.txt").write_text("no column\n")
    with pytest.raises(RequestError, match="keep='nope': .* no column is carried at all, leave keep out"):
        lw.extract(tmp_path / "plain.txt", tmp_path / "x", model=encoder, no_text=True, keep=["nope"])
    with pytest.raises(RequestError, match=r"keep=\['group'\] goes with no_text=True"):
        lw.extract(path, tmp_path / "x", model=encoder, keep=["group"])


def test_parquet_types_come_through(encoder: Any, tmp_path: Path) -> None:
    table = pa.table({
        "text": ["a", "b"],
        "small": pa.array([1, 2], pa.int8()),
        "when": pa.array([0, 1], pa.timestamp("ms")),
        "kind": pa.array(["x", "y"]).dictionary_encode(),
        "share": pa.array([0.5, None], pa.float32()),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "in.parquet")
    dataset = lw.extract(tmp_path / "in.parquet", tmp_path / "out", model=encoder)
    for name in table.column_names[1:]:
        assert dataset.texts.schema.field(name).type == table.schema.field(name).type, name
        assert dataset.texts[name].to_pylist() == table[name].to_pylist()


def test_bad_records_are_skipped_and_listed(encoder: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"text": "a"}\n{"text": \n{"text": null}\n{"text": "b"}\n')
    with pytest.raises(SourceError, match="some.jsonl, line 2"):
        lw.extract(path, tmp_path / "out", model=encoder)
    assert not (tmp_path / "out").exists(), "nothing is left behind"
    manifest = lw.extract(path, tmp_path / "out", model=encoder, skip_bad=True).manifest.to_json()
    assert [record["line"] for record in manifest["skipped"]] == [2, 3]
    assert manifest["totals"]["texts"] == 2


def test_layers_on_disk_are_those_of_plain_transformers(
    encoder: Any, model_folder: Callable[[str], Path], corpus: Path, tmp_path: Path
) -> None:
    plain = Plain(model_folder("bert"))
    dataset = lw.extract(
        corpus, tmp_path / "out", model=encoder, dtype="float32", shard_texts=4, batch_tokens=64
    )
    for doc, text in enumerate(CORPUS):
        ids = plain.raw(text)["input_ids"]
        if len(ids) <= 80:
            expected = plain.states(ids).mean(axis=1, keepdims=True)
            assert worst(dataset.stack()[:, [doc]], expected) <= 1e-5, text


def test_only_wanted_layers_are_kept_in_memory(encoder: Any) -> None:
    states = encoder.encode(["a b"], layers="2")
    assert states.layers == ("2",)
    with pytest.raises(RequestError, match="layer 3 isn't stored"):
        states.layer(3)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    python: Python, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """A process is killed by SIGKILL at many points of its work, twice over, and gone on with each time."""
    kills = killed_anywhere(python(), model_folder("bert"), tmp_path)
    assert kills >= 30, f"only {kills} kills"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=6),
    data=st.data(),
)
def test_ragged_texts_come_back_whole(
    texts: list[str], data: st.DataObject, encoder: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    level = data.draw(st.sampled_from(["token", "word"]))
    folder = tmp_path_factory.mktemp("ragged")
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    dataset = lw.extract(source, folder / "out", model=encoder, level=level, dtype="float32", shard_texts=2)
    docs = dataset.index["doc"].to_pylist()
    assert docs == sorted(docs)
    for doc, text in enumerate(texts):
        alone = encoder.encode([text], level=level)
        rows = dataset.where(doc=doc)
        assert (
            dataset.index.take(rows).drop_columns("doc").to_pylist()
            == alone.index.drop_columns("doc").to_pylist()
        )
        assert worst(dataset.stack()[:, rows], alone.stack()) <= 1e-5
    assert dataset.rows == sum(part.rows for part in dataset.parts())
