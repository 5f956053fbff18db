"""Personal data found by presidio: the only module that imports it, and spaCy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from layerwise._util.silence import silenced
from layerwise.errors import RequestError
from layerwise.example import Example
from layerwise.read.redaction import PersonalSpan, RedactionFacts, apart, redaction_name
from layerwise.wording import Message

NAME = "presidio"
_BLANK = "blank"
_MODEL = "en_core_web_lg"
_LANGUAGE = "en"
_WINDOW, _SHARED = (
    100_000,
    1000,
)  # characters that are searched at once, and those that neighbouring windows share
_FULL_WIDTH = {0x3000: " "} | {0xFF01 + n: chr(0x21 + n) for n in range(94)}  # and what they are in ASCII
_OTHER_LETTERS = re.compile(r"[^\W\x00-\x7f]")
_IDEOGRAPHS = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]")


class Presidio:
    """presidio's recognisers: patterns, and the named entities of a language model of spaCy.

    `presidio` takes the model en_core_web_lg, `presidio:MODEL` another one, `presidio:blank` none: then only patterns are
    found, such as addresses of mail and numbers of cards.

    The patterns are those that presidio has for English, whatever the language of the model. They ask for a blank or a sign
    before and after, which Chinese doesn't write, so they search each text a second time without its letters beyond ASCII.
    """

    def __init__(self, how: str) -> None:
        """Load presidio and its language model, once per process; nothing is downloaded.

        Raises:
            RequestError: presidio, or the language model, isn't installed.
        """
        self._model = how.partition(":")[2] or _MODEL
        self._engine = _engine(how, self._model)
        self.facts = RedactionFacts(NAME, f"{NAME}:{self._model}")
        self._unread = 0  # texts with ideographs, where the model reads none

    def spans(self, examples: Sequence[Example], first: int) -> list[list[PersonalSpan]]:
        """Return the spans of each text."""
        if not self._engine.reads_ideographs:
            self._unread += sum(_IDEOGRAPHS.search(example.text) is not None for example in examples)
        return [self._of_text(example.text) for example in examples]

    def _of_text(self, text: str) -> list[PersonalSpan]:
        begins = range(0, max(1, len(text) - _SHARED), _WINDOW - _SHARED)
        return apart([span for begin in begins for span in self._of_window(text, begin)])

    def _of_window(self, text: str, begin: int) -> list[PersonalSpan]:
        """Return the spans of a window of a text: spaCy refuses texts of a million characters."""
        window = text[begin : begin + _WINDOW]
        with silenced():
            results = self._engine.all.analyze(text=window, language=_LANGUAGE)
            if not window.isascii():
                results += self._engine.patterns.analyze(text=_in_ascii(window), language=_LANGUAGE)
        return [PersonalSpan(begin + each.start, begin + each.end, each.entity_type) for each in results]

    def end(self) -> list[Message]:
        """Return a notice on texts in a writing that the language model doesn't read."""
        return [Message("note.redact.unread", n=self._unread, model=self._model)] if self._unread else []


@dataclass(frozen=True)
class _Analyzers:
    """presidio, loaded.

    Attributes:
        all: finds patterns and the names of the language model.
        patterns: finds patterns alone.
        reads_ideographs: whether the language model is of a language that is written with ideographs; also true without any.
    """

    all: Any
    patterns: Any
    reads_ideographs: bool


@lru_cache(maxsize=4)
def _engine(how: str, model: str) -> _Analyzers:
    try:
        with silenced():
            import presidio_analyzer as presidio
            import spacy
            from tldextract import tldextract
    except ImportError:
        raise RequestError(
            f"{redaction_name(how)} needs presidio; install it with pip install 'layerwise[presidio]'"
        ) from None
    # It would fetch a list of domains from the network; a copy comes with the library.
    vars(tldextract)["TLD_EXTRACTOR"] = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    patterns = _analyzer(presidio, spacy.blank(_LANGUAGE))
    if model == _BLANK:
        return _Analyzers(patterns, patterns, True)
    language = _language(spacy, how, model)
    return _Analyzers(
        _analyzer(presidio, language), patterns, not language.Defaults.writing_system["has_letters"]
    )


def _language(spacy: Any, how: str, model: str) -> Any:
    try:
        with silenced():
            return spacy.load(model)
    except (OSError, ImportError, ValueError):
        raise RequestError(
            f"{redaction_name(how)}: the language model {model!r} of spaCy isn't installed, and nothing is downloaded; install "
            f"it, name another with {NAME}:MODEL (for Chinese texts a Chinese one, such as zh_core_web_sm), or use "
            f"{NAME}:{_BLANK} for patterns only, without names"
        ) from None


def _analyzer(presidio: Any, language: Any) -> Any:
    """Return an analyzer with a language model of spaCy."""
    name = language.meta["name"] or _BLANK
    engine = presidio.nlp_engine.SpacyNlpEngine(models=[{"lang_code": _LANGUAGE, "model_name": name}])
    engine.nlp = {_LANGUAGE: language}
    with silenced():
        return presidio.AnalyzerEngine(nlp_engine=engine, supported_languages=[_LANGUAGE])


def _in_ascii(text: str) -> str:
    """Return a text of the same length: full-width characters as ASCII, every other letter beyond ASCII as a blank.

    >>> _in_ascii("请写信到ａ@example.org谢谢")
    '    a@example.org  '
    """
    return _OTHER_LETTERS.sub(" ", text.translate(_FULL_WIDTH))
