"""Words of Chinese by jieba: the only module that imports it."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from layerwise._util.locks import new_lock
from layerwise._util.silence import silenced
from layerwise.arguments import argument
from layerwise.errors import RequestError

JIEBA = "jieba"
_LOADING = new_lock()


def check_segmenter() -> None:
    """Check that jieba is installed.

    Raises:
        RequestError: it isn't.
    """
    _library()


def segment(characters: str) -> Sequence[str]:
    """Return the words of a run of CJK characters, in order: joined they are the run.

    The dictionary and the model of unseen words are those that come with jieba. Dictionaries that the user added to
    jieba aren't used, so a text has the same words in every process.

    Raises:
        RequestError: jieba isn't installed.
    """
    with _LOADING:  # otherwise two threads might read the dictionary twice
        tokenizer = _tokenizer()
    words: list[str] = tokenizer.lcut(characters)
    return words


@cache
def _library() -> Any:
    try:
        with silenced():
            import jieba
    except ImportError:
        raise RequestError(
            f"{argument('word_split', JIEBA)} needs jieba; install it with pip install 'layerwise[jieba]'"
        ) from None
    return jieba


@cache
def _tokenizer() -> Any:
    """Return a tokenizer of its own, with jieba's dictionary.

    `initialize` isn't called: it reads, and writes, a cache in the folder of temporary files, which others may write to.
    """
    tokenizer = _library().Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer
