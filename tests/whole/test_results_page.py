"""docs/results.md: its tables are folded, each names its command, and `put` writes them anew between its marks."""

import importlib.util
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
FOLDED = re.compile(
    r"<details>\n<summary>([^\n]+)</summary>\n\n<!-- (\S+): begin -->\n(.*?)<!-- \2: end -->\n\n</details>\n",
    re.DOTALL,
)
MADE = re.compile(
    r"^Made (\d{4}-\d\d-\d\d), .*layerwise \d+\.\d+\.\d+.*, torch [\d.]+\S*, transformers [\d.]+.*, by `([^`]+)`",
    re.MULTILINE,
)
NAMES = re.findall(r"<!-- (\S+): begin -->", PAGE)


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the benchmarks that writes tables."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "history", raising=False)
    spec = importlib.util.spec_from_file_location("benchmarks_common", ROOT / "benchmarks" / "common.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "benchmarks_common", module)
    spec.loader.exec_module(module)
    return module


def test_every_table_is_folded() -> None:
    folded = FOLDED.findall(PAGE)
    assert [name for _, name, _ in folded] == NAMES
    assert len(NAMES) == len(set(NAMES)) > 20
    outside = FOLDED.sub("", PAGE)
    assert "\n|" not in outside, "a table outside is seen before it is asked for"
    for summary, name, text in folded:
        assert not re.search("^#", text, re.MULTILINE), f"a heading ends the folded part of {name}"
        command = re.search(r"<code>python (benchmarks/\w+\.py)( \w+)?</code>", summary)
        assert command is not None, f"the line above {name} names no command"
        script = (ROOT / command[1]).read_text(encoding="utf-8")
        assert "put(" in script
        assert not command[2] or f'"{command[2].strip()}"' in script + benchmark_names(script)


def benchmark_names(script: str) -> str:
    """The names that a script takes from functions or from another script."""
    found = re.findall(r'_xprobe\("(\w+)"\)', script)
    if "DESIGNS" in script:
        found += re.findall(r'"(\w+)"', (ROOT / "benchmarks/tuning_runs.py").read_text(encoding="utf-8"))
    return "".join(f'"{name}"' for name in found)


@pytest.mark.parametrize("name", NAMES)
def test_every_table_says_how_it_was_made(name: str) -> None:
    text = next(text for _, other, text in FOLDED.findall(PAGE) if other == name)
    if not text or text.startswith("Not measured yet"):
        return
    made = MADE.search(text)
    assert made is not None, f"{name} doesn't say when, with what and by which command it was made"
    if made[1] >= "2026-11-30":
        assert re.search(r"\(AVX\w*, \d+ cores\)", made[0]), f"{name} doesn't name the processor"


def test_the_elements_are_closed() -> None:
    class Elements(HTMLParser):
        """The open elements."""

        open: list[str]

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    parser = Elements()
    parser.open = []
    parser.feed(re.sub("`[^`\n]*`", "", PAGE))
    assert parser.open == []


def test_the_page_begins_with_what_was_found() -> None:
    first = PAGE.partition("\n## STS-B")[0]
    assert "\n## What was found\n" in first
    assert 300 < len(first.split()) < 650, "a page"
    headings = [anchor(line) for line in PAGE.splitlines() if line.startswith("#")]
    links = re.findall(r"\]\(#([^)]+)\)", first)
    assert len(links) > 9
    assert set(links) <= set(headings)


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower()).replace(" ", "-")


def test_put_writes_between_its_marks(
    common: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(common, "_env", {"processor": "Sample 1", "vector instructions": "AVX2", "cores": 2})
    page = tmp_path / "results.md"
    page.write_text(PAGE, encoding="utf-8")
    versions = {"layerwise": "9.9.9", "torch": "2.13.0", "transformers": "5.24.0"}
    common.put("pairs", "| a |\n| --- |\n| 1 |", versions, command="python benchmarks/pairs.py", path=page)
    old, new = FOLDED.findall(PAGE), FOLDED.findall(page.read_text(encoding="utf-8"))
    assert [row[:2] for row in new] == [row[:2] for row in old], "what stands around the tables is kept"
    changed = [text for (_, name, text), before in zip(new, old, strict=True) if text != before[2]]
    assert len(changed) == 1
    assert changed[0].startswith("| a |")
    made = MADE.search(changed[0])
    assert made is not None
    assert made[2] == "python benchmarks/pairs.py"
    assert "Sample 1 (AVX2, 2 cores)" in changed[0]
    with pytest.raises(SystemExit, match="lacks the lines"):
        common.put("no such table", "", versions, path=page)
