"""The canvas of all figures: settings, colours, and writing files.

The only module that imports matplotlib, and only its objects: no global settings, no display. Colours are those of Okabe
and Ito (2008), which colour-blind people can distinguish; different shapes repeat the distinction.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from layerwise._util.paths import reason
from layerwise._util.silence import silenced
from layerwise.errors import OutputError, RequestError
from layerwise.figures.text_width import columns, drawable, ignorable
from layerwise.wording import Message

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation, Text

__all__ = [
    "Annotation",
    "Axes",
    "Figure",
    "check_width",
    "drawable",
    "font_note",
    "has_fonts",
    "lay_out",
    "page",
    "readable_on",
    "save",
    "width_of",
    "without_font",
    "write",
]

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY, PALE = "#555555", "#e6e6e6"
SITE_COLOURS = {"value": "#A3487F", "attention": "#8A6D00", "mlp": "#2F7F8F"}
RAMP = "cividis"
FONT, SMALL = 8.0, 7.0
LEAST_WIDTH, MOST_WIDTH = 2.5, 30.0  # inches
STEPS = (1, 2, 5, 10)  # between ticks: 2.5 would need a digit more
# Those of the extra `fonts`: Kurinto Sans, of which each file has other scripts.
_DEFAULT, _FONT_PACKAGE = "DejaVu Sans", "weblate_fonts"
_FONT_FILES = "KurintoSans*-Rg.ttf"
_SHOWN_MOST = 12  # characters in a note
# Width of a character as a share of the font size: exact for digits, approximate for letters.
_ADVANCE = 0.636


@contextmanager
def page(width: float, height: float, dpi: int = 150) -> Iterator[Figure]:
    """Yield an empty figure of a size in inches; our settings apply within the block.

    At the end of the block each text gets fonts that have its characters.

    Raises:
        RequestError: matplotlib isn't installed.
    """
    with _style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
        yield figure
        _choose_fonts(figure)


def check_width(width: float | None) -> float | None:
    """Return the width of a figure, in inches.

    Raises:
        RequestError: no number, or a width that no figure has room in, or no paper for.
    """
    is_number = isinstance(width, int | float) and not isinstance(width, bool)
    if width is not None and not (is_number and LEAST_WIDTH <= width <= MOST_WIDTH):
        raise RequestError(
            f"width={width!r:.60} can't be drawn; give {LEAST_WIDTH:g} to {MOST_WIDTH:g} inches"
        )
    return width


def lay_out(figure: Figure) -> None:
    """Compute the positions of everything in a figure, with the fonts in which it is drawn."""
    _choose_fonts(figure)
    with silenced(UserWarning):  # on characters without a font; `save` reports them once
        figure.draw_without_rendering()


def save(figure: Figure, path: str | Path) -> tuple[Path, Path]:
    """Write `path`.svg and `path`.png, the same bytes each time on a machine with the same fonts; return their paths.

    A UserWarning names the characters that no installed font has: they are boxes in the PNG, and text in the SVG.

    Raises:
        OutputError: a file can't be written.
    """
    files = write(figure, path)
    if missing := without_font(figure):
        warnings.warn(font_note(missing), UserWarning, stacklevel=2)
    return files


def write(figure: Figure, path: str | Path) -> tuple[Path, Path]:
    """Write the files of `save`, without its warning.

    Raises:
        OutputError: a file can't be written.
    """
    files = Path(f"{path}.svg"), Path(f"{path}.png")
    layout = figure.get_layout_engine()
    with _style() as settings, silenced(UserWarning):
        # Glyphs are embedded as outlines. What has no glyph here is text, for which the viewer chooses a font.
        settings["svg.fonttype"] = "none" if without_font(figure) else "path"
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


def without_font(figure: Figure) -> str:
    """Return the characters of a figure that no installed font has, in order."""
    return _fonts_for(_characters(_texts(figure)))[1]


def font_note(characters: str) -> Message:
    """Return the note that no font has these characters, and what to install."""
    shown, more = " ".join(characters[:_SHOWN_MOST]), len(characters) - _SHOWN_MOST
    pip = "pip install 'layerwise[fonts]'"
    if more > 0:
        return Message("note.fonts.more", characters=shown, n=more, pip=pip)
    return Message("note.fonts", characters=shown, pip=pip)


def has_fonts(text: str) -> bool:
    """Return whether the installed fonts have all characters of a text.

    Raises:
        ImportError: matplotlib isn't installed.
    """
    return not _fonts_for(frozenset(text))[1]


def width_of(text: str, size: float) -> float:
    """Return the approximate width of a line of text, in points."""
    return _ADVANCE * size * columns(text)


def readable_on(colour: Iterable[float]) -> str:
    """Return black or white, whichever has more contrast with a colour: at least 4.58 (WCAG 2.2, contrast ratio).

    Args:
        colour: red, green, blue, each from 0 to 1; more is ignored.
    """
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in islice(colour, 3)
    ]
    luminance = sum(part * share for part, share in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"


def _texts(figure: Figure) -> list[Text]:
    from matplotlib.text import Text

    return list(figure.findobj(Text))


def _characters(texts: Iterable[Text]) -> frozenset[str]:
    return frozenset(c for text in texts for c in text.get_text() if not c.isspace() and not ignorable(c))


def _choose_fonts(figure: Figure) -> None:
    """Give each text that the default font can't draw the fonts that can."""
    texts = _texts(figure)
    fallbacks, _ = _fonts_for(_characters(texts))
    default = _drawn_by(_DEFAULT, _characters(texts)) if fallbacks else frozenset()
    for text in texts:
        if fallbacks and not _characters([text]) <= default:
            text.set_fontfamily([_DEFAULT, *fallbacks])


@cache
def _fonts_for(characters: frozenset[str]) -> tuple[tuple[str, ...], str]:
    """Return font families that have what the default font lacks, the best first, and what remains.

    The best is the one that has most of the remaining characters: for Japanese not one that only has the ideographs.
    """
    missing = characters - _drawn_by(_DEFAULT, characters)
    chosen: list[str] = []
    for families in (_package_fonts, _regular_fonts, _other_fonts):
        while missing:
            drawn = {family: _drawn_by(family, missing) for family in families()}
            best = max(drawn, key=lambda family: len(drawn[family]), default="")
            if not best or not drawn[best]:
                break
            chosen.append(best)
            missing -= drawn[best]
    return tuple(chosen), "".join(sorted(missing))


def _drawn_by(family: str, characters: frozenset[str]) -> frozenset[str]:
    """Return the characters for which a font family has a glyph with an outline."""
    from matplotlib.ft2font import FT2Font

    with suppress(OSError, RuntimeError):  # a font that is gone, or has no outlines
        entry = _fonts()[family]
        font = FT2Font(entry.fname, face_index=entry.index)
        return frozenset(c for c in characters if _has_outline(font, c))
    return frozenset()


def _has_outline(font: Any, character: str) -> bool:
    if not font.get_char_index(ord(character), _fallback=False):
        return False
    font.load_char(ord(character))
    return len(font.get_path()[0]) > 0


@cache
def _package_fonts() -> tuple[str, ...]:
    """Return the font families of the extra `fonts`, and add them to those that matplotlib knows."""
    from matplotlib.font_manager import fontManager

    spec = find_spec(_FONT_PACKAGE)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    files = [str(file) for folder in folders for file in sorted(Path(folder).rglob(_FONT_FILES))]
    for file in files:
        if all(entry.fname != file for entry in fontManager.ttflist):
            fontManager.addfont(file)
    _fonts.cache_clear()
    return tuple(name for name, entry in _fonts().items() if entry.fname in files)


def _regular_fonts() -> list[str]:
    return [name for name, entry in _fonts().items() if _regular(entry)]


def _other_fonts() -> list[str]:
    return [name for name, entry in _fonts().items() if not _regular(entry)]


def _regular(entry: Any) -> bool:
    return bool(entry.weight in (400, "normal", "regular") and entry.stretch == "normal")


@cache
def _fonts() -> dict[str, Any]:
    """Return an upright font of each family that matplotlib knows, the preferred first; none that only has boxes.

    Sans serif is preferred, and the shapes of simplified Chinese where several languages share ideographs.
    """
    from matplotlib.font_manager import fontManager

    def order(entry: Any) -> tuple[bool, bool, bool, bool, str]:
        name = entry.name.lower()
        simplified = name.endswith((" sc", " cn"))
        return not _regular(entry), "serif" in name, "mono" in name, not simplified, name

    fonts: dict[str, Any] = {}
    for entry in sorted(fontManager.ttflist, key=order):
        if entry.style == "normal" and "last resort" not in entry.name.lower():
            fonts.setdefault(entry.name, entry)
    return fonts


@contextmanager
def _style() -> Iterator[dict[str, object]]:
    """Apply our settings instead of the user's, so that a figure is the same everywhere; yield the settings."""
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
        yield cast(dict[str, object], matplotlib.rcParams)
