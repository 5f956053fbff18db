"""The gallery: six pages that open without a network, and that hold no text of corpora which aren't ours."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from browser import Opened, browser
from conftest import SHARED
from pages import held

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "docs" / "gallery"
INDEX = (GALLERY / "index.md").read_text(encoding="utf-8")
NAMES = ["sentiment", "names", "topics", "similarity", "languages", "chinese"]


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script that makes the pages."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    known = set(sys.modules)
    yield importlib.import_module("gallery")
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == ROOT / "benchmarks":
            del sys.modules[name]


def test_the_index_shows_every_page(gallery: ModuleType) -> None:
    assert list(gallery.PAGES) == NAMES
    assert re.findall(r"^\[Open the page\]\((\w+)\.html\)", INDEX, re.MULTILINE) == NAMES
    assert re.findall(r"^!\[.+\]\((\w+)\.png\)$", INDEX, re.MULTILINE) == NAMES
    assert re.findall(r"^\| (\w+) \|", INDEX, re.MULTILINE) == ["page", *NAMES]
    assert re.search(r"^Made \d{4}-\d\d-\d\d, .*by `make gallery`\.$", INDEX, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_pages_and_pictures_are_small(name: str) -> None:
    assert (GALLERY / f"{name}.html").stat().st_size < 900_000
    assert (GALLERY / f"{name}.png").stat().st_size < 60_000


@pytest.fixture(scope="module")
def contents() -> dict[str, dict[str, Any]]:
    """What each page holds."""
    return {name: held((GALLERY / f"{name}.html").read_text(encoding="utf-8"))[0] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_pages_name_no_folder_of_a_machine(name: str, contents: dict[str, dict[str, Any]]) -> None:
    assert not re.search(r"/tmp|/root|/home|/work", json.dumps(contents[name]))


@pytest.mark.parametrize("name", NAMES)
def test_pages_hold_results(name: str, contents: dict[str, dict[str, Any]]) -> None:
    content = contents[name]
    assert content["analysis"]["measures"]
    assert bool(content["probe"]) == (name != "languages")
    assert bool(content["links"]) == (name == "languages")
    assert bool(content["points"]["texts"]) == (name not in ("similarity", "languages")), (
        "texts of others aren't shown"
    )


def test_pages_open_without_a_network() -> None:
    with browser() as started:
        for name in NAMES:
            opened = Opened(started, GALLERY / f"{name}.html")
            opened.tab.wait_for_selector("html[data-ready]")
            assert opened.complaints == [], name
            assert len(opened.asked) == 1, f"{name} asked for {opened.asked}"
            assert opened.tab.locator("#map").count() == 1
            assert opened.tab.locator(".failure").count() == 0, name
            opened.context.close()


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
@pytest.mark.parametrize(
    ("name", "file"), [("similarity", "stsb_en/stsb-en-dev.csv"), ("languages", "tatoeba/deu-eng.deu")]
)
def test_no_text_of_other_corpora_is_in_a_page(
    name: str, file: str, contents: dict[str, dict[str, Any]]
) -> None:
    content = json.dumps(contents[name], ensure_ascii=False)
    lines = (SHARED / "data" / file).read_text(encoding="utf-8").splitlines()
    texts = [text for text in (line.split(",")[0].strip('"') for line in lines) if len(text) > 20]
    assert len(texts) > 500
    assert [text for text in texts if text in content] == []
