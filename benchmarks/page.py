"""How soon the page paints and is ready in a browser: a file of real results, opened anew each time."""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Goal, documentation, heading, show, show_goals

import layerwise as lw

ROUNDS = 7
TEXTS = 2000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    """Measure and print."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"no browser is installed: none of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    heading(f"page: {TEXTS:,} texts in a browser, median of {ROUNDS} openings")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        file = made(Path(place))
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        runs = [times(started, file) for _ in range(ROUNDS)]
        size = file.stat().st_size / 1e6
        started.close()
    paint, ready = (statistics.median(column) for column in zip(*runs, strict=True))
    show([("figure", "value"), ("file", f"{size:.2f} MB"), ("all panels drawn", f"{ready:.0f} ms")])
    show_goals([Goal("first paint", paint, 150, " ms", True)])


def made(place: Path) -> Path:
    """Return the page of documentation strings of the standard library, with an analysis."""
    texts = documentation(TEXTS)
    dataset = lw.extract(texts, place / "texts.lw", model="minilm")
    analysis = lw.analyze(dataset, measure=["norm", "linear_cka"])
    return lw.report(dataset, place / "page.html", analysis=analysis, attention=True)


def times(started: Any, file: Path) -> tuple[float, float]:
    """Return the milliseconds from navigation to the first paint, and until all panels are drawn."""
    tab = started.new_page(viewport={"width": 1440, "height": 900})
    tab.goto(file.as_uri())
    tab.wait_for_selector("html[data-ready]")
    ready = tab.evaluate("performance.now()")
    while (paint := tab.evaluate(PAINTED)) is None:
        tab.wait_for_timeout(20)
    tab.close()
    return float(paint), float(ready)


if __name__ == "__main__":
    main()
