"""The totals of unknown tokens: of every verb that writes a dataset, and the note when they are many."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import DatasetError
from layerwise.example import Example
from layerwise.extraction.unknown import is_chinese, sample_of
from layerwise.store.tables import table_bytes
from reference import Plain

KNOWN = ["every layer of every word", "the first layers know more", "what the last word knows"]
# In the tiny BERT's vocabulary there is no cat, no star and no greek letter but three.
FOREIGN = ["猫 the word ★", "Ω", "猫 猫 猫 猫 layer", "the first"]
Totals = Callable[[Path], int]


def lines(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return path


@pytest.fixture
def counted(model: str) -> Callable[[list[str]], int]:
    """Count the unknown tokens of texts by transformers alone."""
    tokenizer = Plain(Path(model)).tokenizer

    def count(texts: list[str]) -> int:
        encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return sum(ids.count(tokenizer.unk_token_id) for ids in encoded)

    return count


@pytest.fixture
def make(encoder_of: Callable[[str], Any], tmp_path: Path) -> Callable[..., lw.LayerDataset]:
    """Extract texts in shards of 2, as a dataset of the given name."""

    def call(name: str, texts: list[str], **more: Any) -> lw.LayerDataset:
        source = lines(tmp_path / f"{name}.txt", texts)
        options = {"model": encoder_of("bert"), "shard_texts": 2} | more
        return lw.extract(source, tmp_path / name, **options)

    return call


Make = Callable[..., lw.LayerDataset]
Count = Callable[[list[str]], int]


def total(dataset: lw.LayerDataset) -> int:
    """The total of a manifest, after it was compared with the column of the texts and the counts of the shards."""
    texts: int = sum(dataset.texts["unknown"].to_pylist())
    assert dataset.manifest.totals.unknown == texts == sum(shard.counts.unknown for shard in dataset.shards)
    assert json.loads((dataset.path / "manifest.json").read_text())["totals"]["unknown"] == texts
    assert lw.info(dataset)["totals"]["unknown"] == texts
    return texts


def test_append_adds_to_the_total(make: Make, counted: Count) -> None:
    assert total(make("texts", KNOWN)) == counted(KNOWN) == 0
    grown = make("texts", KNOWN + FOREIGN, append=True)
    assert total(grown) == counted(KNOWN + FOREIGN) > 0


def test_merge_and_repair_keep_the_total(make: Make, counted: Count, model: str, tmp_path: Path) -> None:
    first, second = make("first", FOREIGN, model=model), make("second", KNOWN + FOREIGN, model=model)
    expected = counted(KNOWN + FOREIGN + FOREIGN)
    merged = lw.merge([first, second], tmp_path / "merged")
    assert total(merged) == expected
    for name in ("00000.texts.parquet", "00001.texts.parquet"):
        (merged.path / "shards" / name).unlink()
    lw.repair(merged.path)
    assert total(lw.open_dataset(merged.path)) == expected


@pytest.mark.parametrize(("finer", "level"), [("token", "word"), ("token", "text"), ("word", "text")])
def test_pool_keeps_the_total(finer: str, level: str, make: Make, counted: Count, tmp_path: Path) -> None:
    pooled = lw.pool(make("texts", FOREIGN, level=finer), tmp_path / "pooled", level=level)
    assert total(pooled) == counted(FOREIGN)
    expected = [counted([text]) for text in FOREIGN]
    assert pooled.texts["unknown"].to_pylist() == expected
    if level == "word":
        direct = make("direct", FOREIGN, level="word").index["unknown"].to_pylist()
        assert pooled.index["unknown"].to_pylist() == direct
        assert sum(direct) == counted(FOREIGN)


def test_workers_and_finish(make: Make, counted: Count, model: str, tmp_path: Path, capsys: Any) -> None:
    source, out = lines(tmp_path / "texts.txt", FOREIGN), tmp_path / "shared.lw"
    for index in range(2):
        command = ["extract", source, "--out", out, "--model", model, "--shard-texts", 1]
        assert main([*map(str, command), "--num-workers", "2", "--worker-index", str(index)]) == 0
    capsys.readouterr()
    assert main(["finish", str(out)]) == 0
    assert "are unknown to the model" in capsys.readouterr().err
    assert total(lw.open_dataset(out)) == counted(FOREIGN)


def test_many_unknown_tokens_are_a_note(
    counted: Count, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = lines(tmp_path / "texts.txt", FOREIGN), tmp_path / "texts.lw"
    # Before the work of a sample, which is all of these texts; a finished dataset says so again.
    for of_sample in ("in a sample of 4 texts, ", ""):
        assert main(["extract", str(source), "--out", str(out), "--model", model]) == 0
        notes = [line for line in capsys.readouterr().err.splitlines() if "unknown" in line]
        tokens = lw.open_dataset(out).manifest.totals.tokens
        unknown = counted(FOREIGN)
        assert notes == [
            f"layerwise: note: {of_sample}{unknown} of {tokens} tokens ({unknown / tokens:.1%}) are unknown to the model "
            f"{model!r}, which reads all of them as the same token; choose a model that was made for their language or script "
            "(--model)"
        ]
    assert main(["info", str(out)]) == 0
    assert f"{unknown} of {tokens} tokens ({unknown / tokens:.1%})" in capsys.readouterr().out
    assert main(["info", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["unknown"] == unknown
    assert f"({unknown} unknown)" in str(lw.info(out))


HOTEL = ["房间很干净，服务态度也好。", "早餐一般，位置不错 ok", "下次还来"]


@pytest.mark.parametrize("workers", [None, 2])
def test_of_chinese_the_note_names_models_that_read_it(
    workers: int | None, model: str, counted: Count, tmp_path: Path, caplog: Any, quick_workers: None
) -> None:
    source = lines(tmp_path / "hotel.txt", HOTEL)
    lw.extract(source, tmp_path / "hotel.lw", model=model, workers=workers, shard_texts=1)
    tokens = sum(lw.open_dataset(tmp_path / "hotel.lw").texts["tokens"].to_pylist()[:1])
    (note,) = (record.getMessage() for record in caplog.records if "unknown" in record.getMessage())
    assert note.startswith(f"in a sample of 1 text, {counted(HOTEL[:1])} of {tokens} tokens (")
    assert (
        "a model that reads Chinese, such as bert-base-chinese or intfloat/multilingual-e5-small (model)"
        in note
    )
    assert note.endswith("its downloaded folder, or a mirror of the hub in the variable HF_ENDPOINT")


def test_the_note_comes_before_the_work(model: str, tmp_path: Path, caplog: Any) -> None:
    """It is told when the first shard can't be written yet."""
    told: list[str] = []

    def progress(_: Any) -> None:
        if (tmp_path / "hotel.lw").exists() and not told:
            told.append(caplog.text)

    lw.extract(lines(tmp_path / "hotel.txt", HOTEL), tmp_path / "hotel.lw", model=model, progress=progress)
    assert "in a sample of 3 texts" in told[0]


def test_a_sample_is_small_and_of_the_whole_shard() -> None:
    examples = [Example(f"text {n}") for n in range(1000)]
    sample = list(sample_of(examples))
    assert [example.text for example in sample] == [f"text {n}" for n in range(0, 1000, 4)]
    long = [Example("x" * 30_000)] * 9
    assert len(list(sample_of(long))) == 3, "no more after 65,536 characters"
    assert list(sample_of([])) == []


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("房间很干净", True),
        ("我用 BERT 模型做了 3 次实验", True),
        ("東京の部屋はとてもきれいでした", False),
        ("Ω ★ the word", False),
        ("", False),
    ],
)
def test_what_chinese_is(text: str, chinese: bool) -> None:
    assert is_chinese([text]) == chinese


def test_one_token_in_ten_is_no_note(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    # 8 tokens of words and 2 special ones: one in ten is unknown, and not more.
    dataset = make("tenth", ["the word the word the word the 猫"])
    assert (dataset.manifest.totals.unknown, dataset.manifest.totals.tokens) == (1, 10)
    assert "unknown" not in caplog.text
    make("more", ["the word the word the word 猫"])
    assert "1 of 9 tokens (11.1%) are unknown to the model" in caplog.text


def test_the_report_of_extract_counts_them(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = lines(tmp_path / "texts.txt", [*KNOWN * 9, "猫"])
    assert main(["extract", str(source), "--out", str(tmp_path / "few.lw"), "--model", model]) == 0
    shown = capsys.readouterr()
    assert "tokens that the model doesn't know, each read as its unknown token: 1" in shown.out
    assert "unknown" not in shown.err
    command = ["extract", str(source), "--out", str(tmp_path / "json.lw"), "--model", model, "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["unknown"] == 1


def test_predict_tells_of_many(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"{text} {n % 3}", "label": "ab"[n % 2]} for n, text in enumerate(KNOWN * 6)]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = lw.extract(source, tmp_path / "rows.lw", model=model)
    head = lw.train(dataset, task="classify", label="label", mix="1", out=tmp_path / "rows.head")
    capsys.readouterr()
    new = lines(tmp_path / "new.txt", FOREIGN)
    assert main(["predict", str(tmp_path / "rows.head"), str(new)]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == len(FOREIGN)
    assert f"are unknown to the model {model!r}" in shown.err
    assert "use a head of a model that was made for their language or script" in shown.err
    head.predict(KNOWN)
    assert main(["predict", str(tmp_path / "rows.head"), str(lines(new, KNOWN))]) == 0
    assert "unknown" not in capsys.readouterr().err


def test_a_column_of_that_name_is_carried_under_another(make: Make, model: str, tmp_path: Path) -> None:
    source = tmp_path / "named.csv"
    source.write_text("text,unknown\nthe word,yes\n")
    dataset = lw.extract(source, tmp_path / "named.lw", model=model)
    assert dataset.texts["unknown"].to_pylist() == [0]
    assert dataset.texts["source.unknown"].to_pylist() == ["yes"]


@pytest.mark.parametrize(
    "column", [pa.array([None, 1], pa.int32()), pa.array(["a", "b"]), pa.array([0, 1], pa.int64())]
)
def test_a_column_of_another_type_is_refused(column: Any, make: Make) -> None:
    dataset = make("texts", KNOWN[:2])
    path = dataset.path / "shards" / "00000.texts.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("unknown")
    path.write_bytes(table_bytes(table.set_column(place, "unknown", column)))
    with pytest.raises(DatasetError, match="column 'unknown' is .* where int32 is needed"):
        _ = lw.open_dataset(dataset.path).texts


@pytest.mark.parametrize("value", [None, -1, 0.5, "3", True])
def test_another_total_is_refused(value: Any, make: Make) -> None:
    dataset = make("texts", KNOWN)
    path = dataset.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["totals"]["unknown"] = value
    path.write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match=r"totals\.unknown is"):
        lw.open_dataset(dataset.path)
