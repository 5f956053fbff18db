"""The site of the documentation: it builds without a warning, its links lead somewhere, and browsers show it well."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from browser import Opened, browser
from contrast import contrast

ROOT = Path(__file__).parents[2]
# A page of every kind: prose, tables, signatures, flags, messages, terms, pictures, Chinese.
SHOWN = (
    "index",
    "tutorial/index",
    "reference/format",
    "reference/api/extract",
    "reference/api/LayerDataset",
    "reference/commands/extract",
    "reference/errors/request",
    "reference/glossary",
    "explanation/probe",
    "results",
    "zh/tutorial",
)


@pytest.fixture(scope="module")
def site() -> Path:
    """The folder of the site, where `make docs` builds it: what `make check` has built isn't built again."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^SITE = \$\(BIN\)/python (.* docs build/site)$", makefile, re.MULTILINE)
    assert recipe
    command = [sys.executable, *recipe[1].replace("-j auto", "").split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "site"


def documents() -> list[Path]:
    """The sources of pages, from their folder."""
    folder = ROOT / "docs"
    return [path.relative_to(folder) for path in (*folder.rglob("*.md"), *folder.rglob("*.ipynb"))]


@dataclass
class Page(HTMLParser):
    """The anchors of a page, where its links lead, and what a browser fetches for it."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in ("link", "script", "img", "source", "iframe", "object"):
            self.fetched += [values[name] for name in ("href", "src", "data", "srcset") if name in values]


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """The pages that have sources, and those that Sphinx makes; others may be left from earlier builds."""
    read = {}
    for name in [*documents(), Path("genindex"), Path("search")]:
        path = site / name.with_suffix(".html")
        read[path] = Page()
        read[path].feed(path.read_text(encoding="utf-8"))
    return read


def test_every_document_is_a_page(site: Path) -> None:
    assert len(documents()) > 100
    assert [str(path) for path in documents() if not (site / path.with_suffix(".html")).exists()] == []


def test_links_lead_to_pages_and_anchors(site: Path, pages: dict[Path, Page]) -> None:
    wrong = []
    for path, page in pages.items():
        for link in {*page.links, *page.fetched}:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            ids = pages[target].ids if target in pages else {""}
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in ids):
                wrong.append(f"{path.relative_to(site)} links to {link}")
    assert not wrong
    assert sum(len(page.links) for page in pages.values()) > 1000, "the links are found"


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    elsewhere = [
        f"{path.relative_to(site)}: {address}"
        for path, page in pages.items()
        for address in page.fetched
        if re.match(r"(?!data:)[a-z]+:|//", address)
    ]
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        elsewhere += re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]*\)|@import[^;]*", text)
    assert not elsewhere


def test_parts_made_from_the_code_are_there(site: Path) -> None:
    command = (site / "reference/commands/extract.html").read_text(encoding="utf-8")
    assert 'id="cmdoption-layerwise-extract-max-length"' in command
    assert "How a source of texts is read" in command
    assert "Encode a corpus and write all layers" in command
    assert "layerwise extract SOURCE... --out DIR [options]" in re.sub("<[^>]*>", "", command)
    function = (site / "reference/api/extract.html").read_text(encoding="utf-8")
    assert 'id="layerwise.extract"' in function
    errors = (site / "reference/errors/source.html").read_text(encoding="utf-8")
    assert errors.count("<dt>") > 100


class SitePage(Opened):
    """A page of the site, opened from the disk."""

    READY = "main, #search-results, article"

    def close(self) -> None:
        """Close the tab; nothing may have gone wrong, and all that was asked for is a file."""
        self.context.close()
        assert not self.complaints, f"the page complained: {self.complaints}"
        elsewhere = [url for url in self.asked if not url.startswith(("file:", "data:"))]
        assert not elsewhere


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.mark.parametrize("wide", [360, 1440])
def test_nothing_is_wider_than_the_window(site: Path, started: Any, wide: int) -> None:
    for name in SHOWN:
        page = SitePage(started, site / f"{name}.html", wide=wide)
        page.drawn()
        width = page.tab.evaluate("document.documentElement.scrollWidth")
        widest = page.tab.evaluate(
            "[...document.querySelectorAll('article *')].filter((e) => !e.closest('.table-wrapper, pre, .highlight')"
            " && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 200)).slice(0, 3)"
        )
        page.close()
        assert width <= wide, f"{name} is {width} pixels wide: {widest}"
        assert not widest, f"{name} is cut: {widest}"


COLOURS = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      layers.unshift(colour);
      if (rgb(colour).length === 3) break;
    }
    canvas.fillStyle = "white";
    canvas.fillRect(0, 0, 1, 1);
    for (const colour of layers) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const seen = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.right < 0 || box.left > innerWidth) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    const pair = [rgb(style.color).slice(0, 3), behind(element), large];
    seen.set(JSON.stringify(pair), text.slice(0, 40) + " " + element.outerHTML.slice(0, 120));
  }
  return [...seen].map(([pair, text]) => [...JSON.parse(pair), text]);
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_contrast(site: Path, started: Any, theme: str) -> None:
    """WCAG 2.2, AA: 4.5 for text, 3 for large text."""
    backgrounds = set()
    for name in SHOWN:
        page = SitePage(started, site / f"{name}.html", wide=1440, color_scheme=theme)
        page.drawn()
        pairs = page.tab.evaluate(COLOURS)
        page.close()
        assert len(pairs) > 3
        for colour, behind, large, text in pairs:
            ratio = contrast(*([channel / 255 for channel in c] for c in (colour, behind)))
            assert ratio >= (3 if large else 4.5), (
                f"{name}, {theme}: {ratio:.2f} of {colour} on {behind}: {text}"
            )
            backgrounds.add(tuple(behind))
    whole = sum(max(backgrounds, key=lambda rgb: sum(rgb)))
    assert (whole > 700) == (theme == "light"), f"the backgrounds of the {theme} theme are {backgrounds}"


@pytest.mark.parametrize(
    ("words", "page"),
    [("selectivity", "reference/glossary"), ("repair", "reference/commands/repair"), ("情感", "zh/tutorial")],
)
def test_search_finds_a_word_without_a_server(site: Path, started: Any, words: str, page: str) -> None:
    opened = SitePage(started, f"{(site / 'search.html').as_uri()}?q={words}")
    opened.wait("document.querySelectorAll('ul.search li a').length > 0")
    opened.wait("!document.querySelector('.search-summary')?.textContent.includes('Searching')")
    found = opened.tab.evaluate("[...document.querySelectorAll('ul.search li a')].map((a) => a.href)")
    opened.close()
    assert any(f"/{page}.html" in address for address in found), found
