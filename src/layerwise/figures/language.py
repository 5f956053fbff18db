"""The language of the figure that is being drawn, so that every label of it is in one language."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from layerwise.choices import LANGS, one_of
from layerwise.wording import Value, phrase

P = ParamSpec("P")
Drawn = TypeVar("Drawn")
_current: ContextVar[str] = ContextVar("language of figures", default="en")


def speaking(draw: Callable[P, Drawn]) -> Callable[P, Drawn]:
    """Let a function that draws a figure take its keyword argument `lang` as the language of `say`.

    The function raises RequestError for an unknown language.
    """

    @functools.wraps(draw)
    def drawing(*args: P.args, **kwargs: P.kwargs) -> Drawn:
        token = _current.set(one_of("lang", kwargs.get("lang", "en"), LANGS))
        try:
            return draw(*args, **kwargs)
        finally:
            _current.reset(token)

    return drawing


def say(key: str, /, **values: Value) -> str:
    """Return a text of the catalogue in the language of the figure."""
    return phrase(_current.get(), key, **values)


def language() -> str:
    """Return the language of the figure."""
    return _current.get()
