"""The library `datasets` itself writes what is read: its objects, and the folders of `save_to_disk`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from layerwise.errors import SourceError
from layerwise.read import open_corpus

datasets = pytest.importorskip("datasets", reason="the library datasets isn't installed")

TEXTS = ["Where is the Nile ?", "房间很干净，早餐也不错。", 'He said "hi", twice', "", "naïve\tcafé"]
LABELS = [1, 0, 1, 0, 1]


@pytest.fixture(params=["features", "plain"])
def table(request: pytest.FixtureRequest) -> Any:
    """A dataset with names of classes in its features, and one without any."""
    if request.param == "plain":
        return datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["place", "other"])}
    )
    return datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS}, features=features)


def expected(table: Any) -> list[Any]:
    """The labels as the features name them."""
    kind = table.features["label"]
    return [kind.int2str(label) if hasattr(kind, "int2str") else label for label in LABELS]


def read(source: Any, **options: Any) -> tuple[list[str], list[Any]]:
    """The texts and labels of a source."""
    examples = list(open_corpus(source, **options))
    return [example.text for example in examples], [example.columns["label"] for example in examples]


def test_an_object_and_its_folder_are_the_same_source(table: Any, tmp_path: Path) -> None:
    table.save_to_disk(str(tmp_path / "saved"), num_shards=2)
    for source in (table, str(tmp_path / "saved")):
        assert read(source) == (TEXTS, expected(table))


def test_what_a_dataset_selects_and_sorts_is_what_is_read(table: Any, tmp_path: Path) -> None:
    """A selection has indices of its own, which its Arrow files don't show."""
    chosen = table.select([4, 0, 2])
    chosen.save_to_disk(str(tmp_path / "chosen"))
    labels = expected(table)
    for source in (chosen, str(tmp_path / "chosen")):
        assert read(source) == ([TEXTS[4], TEXTS[0], TEXTS[2]], [labels[4], labels[0], labels[2]])


def test_splits_are_asked_for(table: Any, tmp_path: Path) -> None:
    datasets.DatasetDict({"train": table, "test": table.select([0])}).save_to_disk(str(tmp_path / "splits"))
    with pytest.raises(SourceError, match=r"splits/t(rain|est)"):
        list(open_corpus(str(tmp_path / "splits")))
    assert read(str(tmp_path / "splits" / "test")) == (TEXTS[:1], expected(table)[:1])


def test_tags_of_words_take_the_names_of_the_features(tmp_path: Path) -> None:
    words, tags = [["Marie", "Curie", "in", "Paris"], ["yes"]], [[1, 2, 0, 3], [0]]
    names = ["O", "B-PER", "I-PER", "B-LOC"]
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=names)),
        }
    )
    table = datasets.Dataset.from_dict({"tokens": words, "ner_tags": tags}, features=features)
    table.save_to_disk(str(tmp_path / "ner"))
    for source in (table, str(tmp_path / "ner")):
        examples = list(open_corpus(source, words="tokens"))
        assert [example.words for example in examples] == [tuple(sentence) for sentence in words]
        assert [_names(example.word_columns) for example in examples] == [
            [names[tag] for tag in sentence] for sentence in tags
        ]


def _names(columns: Any) -> Sequence[str]:
    return list(columns["ner_tags"])
