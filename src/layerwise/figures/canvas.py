"""The canvas of all figures: settings, colours, and writing files.

The only module that imports matplotlib, and only its objects: no global state, no display. Colours are those of Okabe
and Ito (2008), which colour-blind people can distinguish; different shapes repeat the distinction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from layerwise._util.paths import reason
from layerwise.errors import OutputError, RequestError
from layerwise.figures.display_names import coded
from layerwise.wording import Message

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

__all__ = ["Annotation", "Axes", "Figure", "drawable", "page", "save", "width_of"]

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, PALE = "#555555", "#e6e6e6"
RAMP = "cividis"
FONT, SMALL = 8.0, 7.0
# Width of a character as a share of the font size: exact for digits, approximate for letters.
_ADVANCE = 0.636


@contextmanager
def page(width: float, height: float, dpi: int = 150) -> Iterator[Figure]:
    """Yield an empty figure of a size in inches; our settings apply within the block.

    Raises:
        RequestError: matplotlib isn't installed.
    """
    with _style():
        from matplotlib.figure import Figure

        yield Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def save(figure: Figure, path: str | Path) -> tuple[Path, Path]:
    """Write `path`.svg and `path`.png, the same bytes each time, and return their paths.

    Raises:
        OutputError: a file can't be written.
    """
    files = Path(f"{path}.svg"), Path(f"{path}.png")
    layout = figure.get_layout_engine()
    with _style():
        try:
            for file, metadata in zip(
                files, ({"Date": None, "Creator": None}, {"Software": None}), strict=True
            ):
                figure.savefig(file, metadata=metadata)
                # Computing the layout takes half the time, and both files share one layout.
                figure.set_layout_engine("none")
        except OSError as error:
            raise OutputError(
                f"{file} can't be written: {error.strerror or error}; give another path"
            ) from None
        finally:
            figure.set_layout_engine(layout)
    return files


def drawable(text: str, most: int | None = None) -> str:
    """Return text with control characters, and characters that the font lacks, as escapes.

    Text longer than `most` characters, or than twice as many with escapes, is cut and ends in `…`.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    glyphs = get_font(findfont(FontProperties())).get_charmap()
    characters = [c if ord(c) in glyphs and c.isprintable() else coded(c) for c in text]
    while most is not None and sum(map(len, characters)) > 2 * most:
        characters = [*characters[:-2], "…"]
    return "".join(characters)


def width_of(text: str, size: float) -> float:
    """Return the approximate width of a line of text, in points."""
    return _ADVANCE * size * len(text)


@contextmanager
def _style() -> Iterator[None]:
    """Apply our settings instead of the user's, so that a figure is the same everywhere."""
    try:
        import matplotlib
    except ImportError:
        raise RequestError(Message("note.needs.plots", pip="pip install 'layerwise[plots]'")) from None
    except (OSError, ValueError) as error:
        # Importing matplotlib reads the user's settings file, though its values aren't used here.
        raise RequestError(Message("note.matplotlib", reason=reason(error))) from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.size": FONT,
                "svg.hashsalt": "layerwise",
                "text.parse_math": False,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.formatter.useoffset": False,
                "hatch.linewidth": 0.6,
            }
        )
        yield
