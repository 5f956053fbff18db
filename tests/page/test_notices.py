"""Notices of a dataset are stored with their messages, so a page can say them in Chinese."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from browser import Opened, browser
from layerwise.page import content
from layerwise.store.manifest import Manifest
from layerwise.wording import Message, catalogue, in_language, messages_json, said_again

# A column without a name, one whose name layerwise uses itself, and cells that say that a value is missing.
TABLE = "text,,line,kind\n天 地,1,7,甲\n水 火,2,8,NA\n木 金,3,9,乙\n"


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> lw.LayerDataset:
    place = tmp_path_factory.mktemp("notices")
    (place / "table.csv").write_text(TABLE, "utf-8")
    return lw.extract(place / "table.csv", place / "table.lw", model="minilm")


def page_texts(started: Any, dataset: lw.LayerDataset, place: Path) -> tuple[str, str]:
    """Return the header and the footer of a dataset's page in Chinese."""
    opened = Opened(started, lw.report(dataset, place / "page.html", lang="zh"))
    texts = opened.text("header"), opened.text("footer")
    opened.close()
    return texts


def test_a_page_in_chinese_says_notices_in_chinese(
    dataset: lw.LayerDataset, started: Any, tmp_path: Path
) -> None:
    notices = dataset.manifest.notice_messages
    assert len(notices) == 4
    assert all(isinstance(notice, Message) for notice in notices)
    header, footer = page_texts(started, dataset, tmp_path)
    for notice in notices[:3]:
        assert isinstance(notice, Message)
        assert notice.in_language("zh") in footer
        assert str(notice) not in footer
    assert "未应用的模型步骤：Normalize" in header
    assert "Normalize" not in footer, "the header says it"


def test_a_dataset_without_messages_shows_its_notices_in_english(
    dataset: lw.LayerDataset, started: Any, tmp_path: Path
) -> None:
    path = dataset.path / "manifest.json"
    stored = path.read_bytes()
    value = json.loads(stored)
    del value["messages"]
    try:
        path.write_text(json.dumps(value), "utf-8")
        older = lw.open_dataset(dataset.path)
        header, footer = page_texts(started, older, tmp_path)
    finally:
        path.write_bytes(stored)
    assert older.manifest.notices == dataset.manifest.notices
    assert "cells that hold 'NA': 1 in 'kind'; R, pandas or SQL write it" in footer
    assert "未应用的模型步骤：Normalize" in header
    assert "Normalize" not in footer


def test_messages_are_kept_when_datasets_grow_and_merge(
    dataset: lw.LayerDataset, tmp_path: Path, encoder_of: Callable[[str], Any]
) -> None:
    records = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    records[0].write_text('{"text": "a", "label": "x"}\n')
    records[1].write_text('{"text": "b", "mood": "y"}\n')
    lw.extract(records[0], tmp_path / "grown", model=encoder_of("bert"))
    grown = lw.extract(records[1], tmp_path / "grown", model=encoder_of("bert"), append=True)
    again = lw.merge([grown, grown], tmp_path / "merged")
    assert [notice.in_language("zh") for notice in messages_of(again)] == [
        f"追加的 {records[1]} 没有列 'label'，该列在其中为空值",
        f"追加的 {records[1]} 有新的列 'mood'，该列在先前的文本中为空值",
    ]
    assert again.manifest.messages == grown.manifest.messages
    assert Manifest.from_json(again.manifest.to_json()) == again.manifest


def messages_of(dataset: lw.LayerDataset) -> list[Message]:
    return [notice for notice in dataset.manifest.notice_messages if isinstance(notice, Message)]


def test_sentences_are_messages_again_only_where_they_say_the_same() -> None:
    notices = ["plain", Message("note.read.cells", count=2, column="'a'")]
    stored = messages_json(notices=notices)["notices"]
    restored = said_again([*map(str, notices)], stored)
    assert [type(notice) for notice in restored] == [str, Message]
    for other in (None, stored[:1], [{"key": "gone", "values": {}}] * 2, [{"key": 1}, 2]):
        assert [type(each) for each in said_again([*map(str, notices)], other)] == [str, str]
    assert type(said_again(["another sentence"], stored[1:])[0]) is str


def test_notices_in_a_language_nobody_has_are_left_as_they_are(dataset: lw.LayerDataset) -> None:
    facts = content.facts(dataset)
    facts["messages"]["notices"][0] = {"key": "of another version", "values": {}}
    assert in_language(facts, "zh")["notices"] == facts["notices"]


@pytest.mark.parametrize(
    "key", [key for key in catalogue("en") if key.startswith(("note.read.", "note.model."))]
)
def test_notices_are_of_one_sentence_without_a_stop(key: str) -> None:
    assert not catalogue("en")[key].endswith(".")
    assert not catalogue("zh")[key].endswith("。")
