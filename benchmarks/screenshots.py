"""Screenshots of the page for the documentation: a map and a probe of `examples/reviews.csv`, in `docs/figures`."""

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import weblate_fonts
from PIL import Image

import layerwise as lw

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZE = {"width": 1000, "height": 760}
COLOURS = 128
# The picture of each section of the page, cut to so many pixels of height.
SECTIONS = {"map": 700, "probe": 560}


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as place, opened(reviews(Path(place))) as tab:
        for name, high in SECTIONS.items():
            path = ROOT / "docs" / "figures" / f"page_{name}.png"
            path.write_bytes(picture(tab, f"#{name}", high))
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


@contextmanager
def opened(page: Path) -> Iterator[Any]:
    """Open a page in a browser without a window, and yield its tab when everything is drawn."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"no browser is installed: none of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as place:
        started = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu"],
            env={**os.environ, "FONTCONFIG_FILE": str(with_chinese(Path(place, "fonts.conf")))},
        )
        tab = started.new_page(viewport=SIZE, reduced_motion="reduce")
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready]")
        yield tab
        started.close()


def with_chinese(path: Path) -> Path:
    """Write a configuration of fonts that adds Kurinto, for machines without Chinese letters."""
    fonts = Path(str(weblate_fonts.__file__)).parent
    path.write_text(
        f'<fontconfig><include ignore_missing="yes">/etc/fonts/fonts.conf</include><dir>{fonts}</dir></fontconfig>',
        encoding="utf-8",
    )
    return path


def reviews(place: Path) -> Path:
    """Return the page of the example reviews, with a probe of their label."""
    dataset = lw.extract(ROOT / "examples" / "reviews.csv", place / "reviews.lw", model="minilm")
    probe = lw.probe(dataset, task="classify", label="label", mix=["mean(1:)", "learned(all)"])
    return lw.report(dataset, place / "page.html", probe=probe)


def picture(tab: Any, selector: str, high: int) -> bytes:
    """Return the upper part of a section as a PNG of few colours."""
    section = tab.locator(selector)
    section.scroll_into_view_if_needed()
    tab.mouse.move(0, 0)
    whole = Image.open(io.BytesIO(section.screenshot()))
    small = whole.crop((0, 0, whole.width, min(high, whole.height))).convert("RGB").quantize(COLOURS)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    main()
