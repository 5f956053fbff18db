"""Labels in a file of their own: joined by id, or by order, and told what was joined and what wasn't."""

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest

import layerwise as lw
from layerwise.cli.main import main
from layerwise.errors import RequestError, SourceError
from layerwise.labels.attached import with_labels
from layerwise.labels.labelled import read_labels
from layerwise.page.report import page_data
from planted import noise, states_of, words_of

COUNT = 30
IDS = [f"t{number:02}" for number in range(COUNT)]
KINDS = ["warm" if number % 3 else "cold" for number in range(COUNT)]
TEXTS = [f"{'bright sunny' if kind == 'warm' else 'dark icy'} day {n}" for n, kind in enumerate(KINDS)]
SHUFFLED = np.random.default_rng(0).permutation(COUNT)
TABLE = pd.DataFrame({"id": IDS, "label": KINDS}).iloc[SHUFFLED]


def rows(**columns: Any) -> Any:
    """Rows in memory with ids, and the columns."""
    return states_of(noise(COUNT, 4, 2), {"id": IDS, **columns}, TEXTS)


def labels(attached: Any, task: str = "classify") -> list[Any]:
    values: list[Any] = read_labels(attached.dataset, task, attached.label).values.tolist()
    return values


SAVED: Mapping[str, Callable[[pd.DataFrame, Path], Any]] = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "csv.gz": lambda table, path: table.to_csv(path, index=False),
    "tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "json": lambda table, path: table.to_json(path, orient="records"),
    "parquet": lambda table, path: table.to_parquet(path, index=False),
    "feather": lambda table, path: table.reset_index(drop=True).to_feather(path),
}


@pytest.mark.parametrize("ending", SAVED)
def test_files_of_every_format_join_by_id(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"gold.{ending}"
    SAVED[ending](TABLE, path)
    attached = with_labels(rows(), str(path), None)
    assert labels(attached) == KINDS
    assert not attached.notes
    assert attached.record == {
        "source": str(path),
        "column": "label",
        "sha256": __import__("hashlib").sha256(path.read_bytes()).hexdigest(),
        "joined_by": "id",
        "labels": COUNT,
        "texts_without_label": 0,
        "unused_labels": 0,
    }


@pytest.mark.parametrize(
    "source",
    [
        TABLE,
        pl.from_pandas(TABLE),
        pa.Table.from_pandas(TABLE, preserve_index=False),
        TABLE.to_dict("records"),
    ],
    ids=lambda source: type(source).__name__,
)
def test_tables_in_memory_join_by_id(source: Any) -> None:
    assert labels(with_labels(rows(), source, None)) == KINDS


@pytest.mark.parametrize(
    "source",
    [KINDS, pd.Series(KINDS), np.array(KINDS), pa.array(KINDS), pl.Series(KINDS)],
    ids=lambda source: type(source).__name__,
)
def test_lists_join_by_order(source: Any) -> None:
    attached = with_labels(rows(), source, "mood")
    assert labels(attached) == KINDS
    assert attached.label == "mood"
    assert "joined to the texts by their order" in attached.notes[0]


def test_numbers_in_memory() -> None:
    assert labels(with_labels(rows(), list(range(COUNT)), "y"), "regress") == list(range(COUNT))


def test_a_line_is_a_label(tmp_path: Path) -> None:
    path = tmp_path / "gold.txt"
    path.write_text("".join(f"{kind}\n" for kind in ["", *KINDS[1:]]))
    attached = with_labels(rows(), path, None)
    assert attached.label == "label"
    assert labels(attached) == KINDS[1:]
    assert attached.record is not None
    assert (attached.record["joined_by"], attached.record["texts_without_label"]) == ("order", 1)


def test_other_counts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gold.txt"
    path.write_text("a\nb\n")
    with pytest.raises(RequestError, match=r"2 labels and the dataset 30 texts.*the file has none"):
        with_labels(rows(), path, None)
    with pytest.raises(RequestError, match=r"2 labels and the dataset 30 texts.*neither has any"):
        with_labels(states_of(noise(COUNT, 4, 2), {}), path, None)


def test_ids_on_one_side_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    TABLE.replace({"id": {"t03": "x1", "t04": "x2"}}).to_csv(path, index=False)
    attached = with_labels(rows(), path, None)
    assert labels(attached) == [kind for number, kind in enumerate(KINDS) if number not in (3, 4)]
    first, second = attached.notes
    assert first == f"2 of 30 texts have no label in {path}: 't03', 't04'."
    assert second.startswith(f"2 of 30 ids of {path} are of no text: ")
    assert attached.record is not None
    assert (attached.record["texts_without_label"], attached.record["unused_labels"]) == (2, 2)


def test_no_common_id_is_refused() -> None:
    with pytest.raises(RequestError, match=r"none of the ids .*'a'.* is the id of a text \('t00'"):
        with_labels(rows(), pd.DataFrame({"id": ["a"], "y": [1]}), None)


def test_an_id_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text("id,label\nt01,a\nt02,b\nt01,c\n")
    with pytest.raises(
        RequestError, match=r"gold.csv, line 4: the id 't01' has a label already, on .*gold.csv, line 2"
    ):
        with_labels(rows(), path, None)


def test_an_id_that_is_missing_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text("id,label\nt01,a\n,b\n")
    with pytest.raises(RequestError, match=r"gold.csv, line 3 has no id"):
        with_labels(rows(), path, None)


def test_ids_are_numbers_in_one_file_and_strings_in_the_other() -> None:
    states = states_of(noise(3, 4, 2), {"id": [7, 8, 9]})
    for ids in (["9", "7", "8"], [9, 7, 8], [9.0, 7.0, 8.0]):
        assert labels(with_labels(states, pd.DataFrame({"id": ids, "y": ["c", "a", "b"]}), None)) == [
            "a",
            "b",
            "c",
        ]


def test_a_carried_id_joins_too() -> None:
    states = states_of(noise(COUNT, 4, 2), {"id": [None] * COUNT, "source.id": IDS})
    assert labels(with_labels(states, TABLE, None)) == KINDS


def test_the_column_of_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "gold:2.csv"
    TABLE.assign(stars=[1 + number for number in range(COUNT)]).to_csv(path, index=False)
    assert labels(with_labels(rows(), f"{path}:label", None)) == KINDS
    assert labels(with_labels(rows(), str(path), "label")) == KINDS
    attached = with_labels(rows(), f"{path}:label", "mood")
    assert attached.label == "mood"
    assert attached.record is not None
    assert attached.record["column"] == "label"
    with pytest.raises(
        RequestError, match=r"it isn't clear which of the columns 'id', 'label', 'stars'.*gold:2.csv:stars"
    ):
        with_labels(rows(), str(path), None)
    with pytest.raises(RequestError, match="there is no column 'x', only 'id', 'label', 'stars'"):
        with_labels(rows(), f"{path}:x", None)
    with pytest.raises(SourceError, match=r"labels_from: .*doesn't exist"):
        with_labels(rows(), str(tmp_path / "none.csv"), None)
    with pytest.raises(RequestError, match="label='text' is a column that layerwise writes itself"):
        with_labels(rows(), f"{path}:label", "text")


def test_an_id_of_several_texts_is_told() -> None:
    twice = states_of(noise(3, 4, 2), {"id": ["a", "a", "b"]}, ["one", "two", "three"])
    attached = with_labels(twice, pd.DataFrame({"id": ["a", "b"], "label": ["x", "y"]}), None)
    assert labels(attached) == ["x", "x", "y"]
    assert attached.notes == ["Several texts have the same id, and get the same label: 'a'."]


def test_the_ids_are_no_labels(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "gold.csv", index=False)
    with pytest.raises(
        RequestError, match="gold.csv:id'?: column 'id' holds the ids of texts; name the column"
    ):
        with_labels(rows(), f"{tmp_path / 'gold.csv'}:id", None)


@pytest.mark.parametrize("separator", [";", "|", "\t"])
def test_cells_of_another_separator_are_no_labels(separator: str, tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "gold.csv", index=False, sep=separator)
    with pytest.raises(
        RequestError, match=r"labels_from: the header is one column, .*; if .* write the file with commas"
    ):
        with_labels(rows(), str(tmp_path / "gold.csv"), "label")
    TABLE.to_csv(tmp_path / "gold.csv", index=False, encoding="utf-16")
    with pytest.raises(SourceError, match=r"gold.csv is utf-16, .*; a file of labels needs UTF-8$"):
        with_labels(rows(), str(tmp_path / "gold.csv"), "label")


def test_texts_beside_labels_tell_of_another_order() -> None:
    table = pd.DataFrame({"text": [f" {text}" for text in TEXTS], "label": KINDS})
    notes = with_labels(rows(), table, "label").notes
    assert notes == ["The 30 labels of the DataFrame are joined to the texts by their order."]
    first = int(np.flatnonzero(np.arange(COUNT) != SHUFFLED)[0])
    with pytest.raises(
        RequestError,
        match=f"^the DataFrame, row {first + 1}: the text beside the label is text {SHUFFLED[first]} of the dataset, not {first},"
        " so the labels are in another order; give ids in both",
    ):
        with_labels(rows(), table.iloc[SHUFFLED], "label")
    attached = with_labels(rows(), table.assign(text=["new", *TEXTS[1:]]), "label")
    assert attached.notes[1:] == [
        "1 of 30 texts beside the labels in the DataFrame isn't that of the dataset, the first one beside label 1; labels of "
        "other texts would be wrong."
    ]
    assert (
        len(with_labels(rows(), table.iloc[SHUFFLED][["text"]], None).notes) == 1
    )  # the texts are the labels


def test_a_column_of_the_dataset_is_replaced_and_that_is_told() -> None:
    attached = with_labels(rows(label=["old"] * COUNT), TABLE, None)
    assert labels(attached) == KINDS
    assert "takes the place of that of the dataset" in attached.notes[-1]
    assert set(read_labels(rows(label=["old"] * COUNT), "classify", "label").values) == {"old"}


SENTENCES = [["Ann", "went", "home"], ["no", "name"], ["to", "Bob"]]
TAGS = [["B-P", "O", "O"], ["O", "O"], ["O", "B-P"]]
PER_WORD: Mapping[str, str] = {
    "jsonl": "".join(json.dumps({"tags": tags}) + "\n" for tags in TAGS),
    "csv": "tags\n" + "".join(f'"{tags}"\n' for tags in TAGS),
    "txt": "".join(" ".join(tags) + "\n" for tags in TAGS),
    "conll": "\n".join(
        "".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True))
        for words, tags in zip(SENTENCES, TAGS, strict=True)
    ),
}


def word_rows() -> Any:
    return words_of(noise(7, 4, 2), SENTENCES, {"word": [0, 1, 2, 0, 1, 0, 1]})


@pytest.mark.parametrize("ending", PER_WORD)
def test_a_label_per_word(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"gold.{ending}"
    path.write_text(PER_WORD[ending])
    source = f"{path}:tag" if ending == "conll" else str(path)
    attached = with_labels(word_rows(), source, None, task="tag")
    assert labels(attached, "tag") == [tag for tags in TAGS for tag in tags]
    if ending != "txt":
        assert labels(with_labels(word_rows(), source, None)) == [tag for tags in TAGS for tag in tags]


@pytest.mark.parametrize("name", ["seq.out", "seq.txt"])
def test_lines_of_equally_many_tags_are_no_words(name: str, tmp_path: Path) -> None:
    """Such a file looks like CoNLL: each line has two cells, and the last is a tag."""
    path = tmp_path / name
    path.write_text("B-P O\nO O\nO B-P\n")
    sentences = [["Ann", "went"], ["no", "name"], ["to", "Bob"]]
    states = words_of(noise(6, 4, 2), sentences, {"word": [0, 1] * 3})
    assert labels(with_labels(states, path, None, task="tag"), "tag") == ["B-P", "O", "O", "O", "O", "B-P"]


def test_a_file_without_an_ending_has_a_label_per_line(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text("".join(f"{kind}\n" for kind in KINDS))
    assert labels(with_labels(rows(), path, None)) == KINDS
    path.write_text(PER_WORD["conll"])
    assert labels(with_labels(word_rows(), f"{path}:tag", None, task="tag"), "tag") == [
        tag for tags in TAGS for tag in tags
    ]


def test_a_label_per_text_is_one_for_each_of_its_words() -> None:
    attached = with_labels(word_rows(), ["x y", "z", "x y"], "y")
    assert labels(attached) == ["x y"] * 3 + ["z"] * 2 + ["x y"] * 2


def test_a_label_for_each_word_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "gold.txt"
    path.write_text("B-P O O\nO\nO B-P\n")
    with pytest.raises(RequestError, match=r"gold.txt, line 2: 1 label for the 2 words of text 1"):
        with_labels(word_rows(), path, None, task="tag")


def test_several_labels_per_text() -> None:
    lists = [["a", "b"] if number % 2 else [] for number in range(COUNT)]
    attached = with_labels(rows(), lists, "topics")
    labelled = read_labels(attached.dataset, "classify", "topics")
    assert labelled.multi
    assert labelled.values.tolist() == [tuple(items) for items in lists]


# --- the verbs --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extracted(encoder_of: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset without labels, one with them, and the file of the labels."""
    folder = tmp_path_factory.mktemp("labels")
    table = pd.DataFrame({"id": IDS, "text": TEXTS})
    options = {"model": encoder_of("bert"), "dtype": "float32", "shard_texts": 7}
    lw.extract(table, folder / "plain.lw", id="id", **options)
    lw.extract(table.assign(label=KINDS), folder / "whole.lw", id="id", **options)
    TABLE.to_csv(folder / "gold.csv", index=False)
    return folder


def test_a_head_is_the_same_as_with_carried_labels(extracted: Path, tmp_path: Path) -> None:
    gold = str(extracted / "gold.csv")
    head = lw.train(extracted / "plain.lw", task="classify", mix="1", labels_from=gold, out=tmp_path / "head")
    expected = lw.train(extracted / "whole.lw", task="classify", label="label", mix="1")
    assert np.array_equal(head.task_heads[0].fitted.weight, expected.task_heads[0].fitted.weight)
    stored = json.loads((tmp_path / "head" / "head.json").read_text())["training"]["labels_from"]
    assert (stored["source"], stored["joined_by"], stored["column"]) == (gold, "id", "label")
    assert expected.training["labels_from"] is None
    assert head.tasks == ("label",)


def test_a_probe_is_the_same_as_with_carried_labels(extracted: Path, tmp_path: Path) -> None:
    gold, out = str(extracted / "gold.csv"), tmp_path / "probe"
    options: dict[str, Any] = {"task": "classify", "mix": ["mean(1:)"], "quick": True}
    probed = lw.probe(extracted / "plain.lw", labels_from=gold, out=out, **options)
    expected = lw.probe(extracted / "whole.lw", label="label", **options)
    assert [c.folds for c in probed.candidates] == [c.folds for c in expected.candidates]
    assert json.loads((out / "probe.json").read_text())["labels_from"]["source"] == gold
    with pytest.raises(RequestError, match="needs the column of its labels"):
        lw.probe(extracted / "plain.lw", task="classify")


def test_an_analysis_and_a_page_have_the_labels(extracted: Path, tmp_path: Path) -> None:
    gold = str(extracted / "gold.csv")
    analysis = lw.analyze(
        extracted / "plain.lw", labels_from=gold, measure=["class_separation"], out=tmp_path / "analysis"
    )
    expected = lw.analyze(extracted / "whole.lw", label="label", measure=["class_separation"])
    assert np.array_equal(analysis["class_separation"].values, expected["class_separation"].values)
    assert json.loads((tmp_path / "analysis" / "analysis.json").read_text())["labels_from"]["source"] == gold
    columns = page_data(lw.open_dataset(extracted / "plain.lw"), labels_from=gold, texts=[0])["points"][
        "columns"
    ]
    assert (columns[0]["name"], columns[0]["values"]) == ("label", ["cold", "warm"])
    assert [columns[0]["values"][code] for code in columns[0]["codes"]] == KINDS
    TABLE.iloc[:20].to_csv(tmp_path / "some.csv", index=False)
    with pytest.warns(UserWarning, match="10 of 30 texts have no label"):
        lw.report(
            extracted / "plain.lw", tmp_path / "more.html", labels_from=tmp_path / "some.csv", texts=[0]
        )


def test_on_the_command_line(extracted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, lines = str(extracted / "plain.lw"), tmp_path / "gold.labels.txt"
    lines.write_text("".join(f"{kind}\n" for kind in KINDS))
    arguments = ["--task", "classify", "--labels-from", str(lines), "--mix", "1", "--quiet"]
    assert main(["train", dataset, *arguments, "--out", str(tmp_path / "head")]) == 0
    assert "joined to the texts by their order" in capsys.readouterr().err
    assert main(["probe", dataset, *arguments, "--quick", "--out", str(tmp_path / "probe")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("next"))
    command = shlex.split(line.partition(": layerwise ")[2])
    assert main([*command[:-1], str(tmp_path / "advised"), "--quiet"]) == 0
    lines.write_text("warm\n")
    assert main(["train", dataset, *arguments, "--out", str(tmp_path / "second")]) == 2
    assert "1 label and the dataset 30 texts" in capsys.readouterr().err
