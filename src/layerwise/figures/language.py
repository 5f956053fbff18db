"""The language of the figure that is being drawn, so that every label of it is in one language."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from layerwise.choices import LANGS, one_of
from layerwise.figures.canvas import has_fonts
from layerwise.wording import Value, phrase

P = ParamSpec("P")
Drawn = TypeVar("Drawn")
_SAMPLES = {"en": "layer", "zh": "层"}
_current: ContextVar[str] = ContextVar("language of figures", default="en")


def speaking(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Let a function that draws a figure take its keyword argument `lang` as the language of `say`.

    Where no font has its characters, the figure is in English (`can_draw`).

    Raises:
        RequestError: an unknown language.
    """

    @functools.wraps(draw)
    def drawing(*args: P.args, **kwargs: P.kwargs) -> Drawn:
        lang = one_of("lang", kwargs.get("lang", "en"), LANGS)
        token = _current.set(lang if can_draw(lang) else "en")
        try:
            return draw(*args, **kwargs)
        finally:
            _current.reset(token)

    return drawing


def can_draw(lang: str) -> bool:
    """Return whether the fonts of figures have the characters of a language; English is always drawn."""
    try:
        return has_fonts(_SAMPLES[lang])
    except ImportError:  # without matplotlib the figure raises its own error
        return True


def say(key: str, /, **values: Value) -> str:
    """Return a text of the catalogue in the language of the figure."""
    return phrase(_current.get(), key, **values)


def language() -> str:
    """Return the language of the figure."""
    return _current.get()
