"""Personal data found by presidio: the only module that imports it, and spaCy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from layerwise._util.silence import silenced
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.example import Example
from layerwise.read.redaction import PersonalSpan, RedactionFacts, apart
from layerwise.wording import Message

NAME = "presidio"
_BLANK = "blank"
_MODEL = "en_core_web_lg"
_LANGUAGE = "en"
_WINDOW, _SHARED = (
    100_000,
    1000,
)  # characters that are searched at once, and those that neighbouring windows share


class Presidio:
    """presidio's recognisers: patterns, and the named entities of a language model of spaCy.

    `presidio` takes the model en_core_web_lg, `presidio:MODEL` another one, `presidio:blank` none: then only patterns are
    found, such as addresses of mail and numbers of cards.
    """

    def __init__(self, how: str) -> None:
        """Load presidio and its language model; nothing is downloaded.

        Raises:
            RequestError: presidio, or the language model, isn't installed.
        """
        self.how = how
        self._model = how.partition(":")[2] or _MODEL
        self._analyzer = self._loaded()

    def _loaded(self) -> Any:
        try:
            with silenced():
                import presidio_analyzer as presidio
                import spacy
                from tldextract import tldextract
        except ImportError:
            raise RequestError(
                f"{argument('redact', self.how)} needs presidio; install it with pip install 'layerwise[presidio]'"
            ) from None
        # It would fetch a list of domains from the network; a copy comes with the library.
        vars(tldextract)["TLD_EXTRACTOR"] = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
        engine = presidio.nlp_engine.SpacyNlpEngine(
            models=[{"lang_code": _LANGUAGE, "model_name": self._model}]
        )
        engine.nlp = {_LANGUAGE: self._language(spacy)}
        with silenced():
            return presidio.AnalyzerEngine(nlp_engine=engine, supported_languages=[_LANGUAGE])

    def _language(self, spacy: Any) -> Any:
        if self._model == _BLANK:
            return spacy.blank(_LANGUAGE)
        try:
            with silenced():
                return spacy.load(self._model)
        except (OSError, ImportError, ValueError):
            raise RequestError(
                f"{argument('redact', self.how)}: the language model {self._model!r} of spaCy isn't installed, and nothing is "
                f"downloaded; install it, name another with {NAME}:MODEL, or use {NAME}:{_BLANK} for patterns only, without names"
            ) from None

    @cached_property
    def facts(self) -> RedactionFacts:
        """The name of the model."""
        return RedactionFacts(NAME, f"{NAME}:{self._model}")

    def spans(self, examples: Sequence[Example], first: int) -> list[list[PersonalSpan]]:
        """Return the spans of each text."""
        return [self._of_text(example.text) for example in examples]

    def _of_text(self, text: str) -> list[PersonalSpan]:
        begins = range(0, max(1, len(text) - _SHARED), _WINDOW - _SHARED)
        return apart([span for begin in begins for span in self._of_window(text, begin)])

    def _of_window(self, text: str, begin: int) -> list[PersonalSpan]:
        """Return the spans of a window of a text: spaCy refuses texts of a million characters."""
        with silenced():
            results = self._analyzer.analyze(text=text[begin : begin + _WINDOW], language=_LANGUAGE)
        return [PersonalSpan(begin + each.start, begin + each.end, each.entity_type) for each in results]

    def end(self) -> list[Message]:
        """Return no notices."""
        return []
