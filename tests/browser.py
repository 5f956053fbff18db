"""A headless Chromium for the tests of the page; what it asked for and complained of is kept."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from waiting import SECONDS, until

LANGS = ("en", "zh")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def windows(widths: Sequence[int]) -> list[Any]:
    """Return parameters `wide` and `lang`: each width with one language, in turn; the other pairs are slow tests."""
    return [
        pytest.param(wide, lang, marks=() if (number + place) % 2 == 0 else pytest.mark.slow)
        for number, wide in enumerate(widths)
        for place, lang in enumerate(LANGS)
    ]


@contextmanager
def browser() -> Iterator[Any]:
    """Start the browser of this machine, or skip the tests where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(NAMES)}")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"], timeout=1000 * SECONDS
        )
        yield started
        started.close()


class Opened:
    """A page in a tab of its own.

    Attributes:
        tab: playwright's page.
        asked: addresses asked for; `complaints`: errors and warnings.

    `before` is a script that runs before those of the page.
    """

    READY = "html[data-ready]"
    """What a page has once it can be used."""

    def __init__(
        self,
        started: Any,
        address: str | Path,
        wide: int = 1280,
        high: int = 800,
        before: str | None = None,
        **options: Any,
    ) -> None:
        self.context = started.new_context(viewport={"width": wide, "height": high}, **options)
        if before is not None:
            self.context.add_init_script(before)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(1000 * SECONDS)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("console", lambda message: self._heard(message.type, message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.goto(address.as_uri() if isinstance(address, Path) else address)
        self.tab.wait_for_selector(self.READY, state="attached")

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def drawn(self) -> None:
        """Wait until what was asked for by now is laid out and drawn: two frames, as the page draws in the first."""
        self.tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def pixels(self, selector: str = "#map canvas") -> str:
        """What a canvas shows, as a data address."""
        self.drawn()
        found: str = self.tab.evaluate("(selector) => document.querySelector(selector).toDataURL()", selector)
        return found

    def text(self, selector: str) -> str:
        """The words of the first element of a selector."""
        found: str = self.tab.locator(selector).first.inner_text()
        return found

    def wait(self, what: str, given: Any = None) -> None:
        """Wait until an expression, or a function of what is given, is true.

        Playwright's own way evaluates text within the page, which the page's policy forbids.
        """
        until(lambda: self.tab.evaluate(what, given), what)

    def place(self, point: int) -> tuple[float, float]:
        """Where a point of the map stands in the window, once the map is in view."""
        self.tab.locator("#map canvas").scroll_into_view_if_needed()
        x, y = self.tab.evaluate(
            "(i) => { const { map } = layerwise; const box = map.canvas.getBoundingClientRect();"
            " return [0, 1].map((axis) => map.where[2 * i + axis] / map.ratio + [box.x, box.y][axis] + 1); }",
            point,
        )
        return float(x), float(y)

    def close(self) -> None:
        """Close the tab; nothing may have gone wrong in it."""
        asked = [url for url in self.asked if not url.startswith("data:")]
        self.context.close()
        assert not self.complaints, f"the page complained: {self.complaints}"
        assert len(asked) == 1, f"the page asked for {asked[1:]}"
