"""Search for words of English and of Chinese."""

import logging
import re

from jieba import cut_for_search
from sphinx.search.zh import SearchChinese

_CHINESE = re.compile(r"[\u3400-\u9fff]+")
_WORDS = re.compile(r"[^\W_\u3400-\u9fff][^\W\u3400-\u9fff]*")


class SearchWords(SearchChinese):
    """Words of letters and digits, as Sphinx finds those of English; only Chinese is divided by jieba, which is slow."""

    language_name = "English"  # the stemmer of the page: Sphinx names one of Chinese, and there is none

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__({"dict": "", **options})
        logging.getLogger("jieba").setLevel(logging.WARNING)

    def split(self, input: str) -> list[str]:
        """Return the words of a text."""
        words = _WORDS.findall(input)
        self.latin_terms.update(words)
        return words + [word for run in _CHINESE.findall(input) for word in cut_for_search(run)]
