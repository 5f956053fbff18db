"""explore: the page in a browser, with the data of a dataset behind it on loopback."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import layerwise as lw
from browser import Opened, browser
from layerwise.api.explore import served
from layerwise.options import PageOptions
from layerwise.server.loopback import Loopback
from pages import held
from waiting import SECONDS, ended, until
from warm import Python


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, encoder_of: Callable[[str], Any]) -> Path:
    place = tmp_path_factory.mktemp("explore")
    lines = [f"text number {n} about {'cats' if n % 2 else 'dogs <b>'}" for n in range(60)]
    (place / "texts.txt").write_text("\n".join(lines) + "\n")
    lw.extract(place / "texts.txt", place / "texts.lw", model=encoder_of("bert"), shard_texts=25)
    return place / "texts.lw"


@pytest.fixture(scope="module")
def address(dataset: Path) -> Iterator[str]:
    page, answer = served(dataset, PageOptions(points=40))
    with Loopback(page, answer) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server.url
        server.close()
        ended(thread)


def test_the_page_asks_for_what_it_shows(address: str) -> None:
    with browser() as started:
        page = Opened(started, address)
        page.tab.locator("#map canvas").scroll_into_view_if_needed()
        before = page.pixels()
        page.tab.locator("#map input[type=range]").first.focus()
        last = page.tab.evaluate("layerwise.scene.at")  # without a probe the map opens at the last layer
        page.tab.keyboard.press("ArrowLeft")
        page.wait(
            "(at) => layerwise.scene.at === at && !Number.isNaN(layerwise.map.coords[at]?.at(-1) ?? NaN)",
            last - 1,
        )
        assert page.pixels() != before, "another layer shows the same points"
        assert not page.tab.locator("#chosen .whole").count()
        page.tab.mouse.click(*page.place(3))
        page.tab.wait_for_selector("#chosen .beside")
        row = page.tab.evaluate("layerwise.scene.points.row[layerwise.scene.chosen]")
        assert page.text("#chosen .whole").startswith(f"text number {row} about")
        assert page.tab.locator("#chosen .beside li").count() == 20
        own = [url for url in page.asked if not url.startswith("data:")]
        assert all(url.startswith(address) for url in own), own
        assert any("api/neighbours" in url for url in own)
        assert page.text("#hit-count") == ""
        page.tab.locator("input[type=search]").first.fill("CATS")
        page.tab.wait_for_selector("#hits mark")
        assert page.text("#hit-count") == "30 found"
        assert not page.complaints
        page.context.close()


DRAWN = """(canvas) => { const [wide, high] = [canvas.width, canvas.height];
    const copy = new OffscreenCanvas(wide, high).getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const pixels = new Uint32Array(copy.getImageData(0, 0, wide, high).data.buffer);
    return pixels.some((one) => one !== pixels[0]) && canvas.toDataURL(); }"""


def drawn(page: Opened, layers: tuple[int, int]) -> list[str]:
    """Return what stands side by side of two layers, once both pictures are drawn and differ."""
    for side, layer in enumerate(layers):
        page.tab.select_option(f"#side-{side}", str(layer))
    page.tab.mouse.move(0, 0)
    canvases = page.tab.locator("#compare canvas").all()

    def pictures() -> list[str]:
        page.drawn()
        seen = [canvas.evaluate(DRAWN) for canvas in canvases]
        return seen if all(seen) and seen[0] != seen[1] else []

    return until(pictures, f"two pictures of the layers {layers}")


def test_two_layers_stand_side_by_side(address: str) -> None:
    with browser() as started:
        page = Opened(started, address)
        page.tab.locator("#compare-open").click()
        drawn(page, (0, 3))
        asked = {url.split("layer=")[1].split("&")[0] for url in page.asked if "api/coords" in url}
        assert {"emb", "3"} <= asked
        assert not page.complaints
        page.context.close()


def test_a_dataset_shows_its_page_in_a_notebook(dataset: Path) -> None:
    shown = lw.explore(lw.open_dataset(dataset), points=20, texts=[0], lang="zh")
    head, _ = held(shown.html)
    assert head["title"] == "texts.lw"
    assert head["points"]["count"] == 20
    assert head["points"]["of"] == 60
    assert [one["doc"] for one in head["tokens"]] == [0]
    assert shown._repr_html_().startswith("<iframe srcdoc=")


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(dataset: Path) -> None:
    command = [sys.executable, "-m", "layerwise", "explore", str(dataset), "--points", "10", "--texts", "0"]
    # Where the tests run in the background, SIGINT may be ignored, and would be by the child.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        try:
            _, told = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("--port=99999", "give a port up to 65535"), ("--lang=fr", "en, zh"), ("--probe=nothing", "--probe")],
)
def test_wrong_arguments(dataset: Path, python: Python, wrong: str, says: str) -> None:
    command = python("-m", "layerwise", "explore", str(dataset), "--points", "10", "--texts", "0", wrong)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
