"""The terms of a text for the bag of words: its words, and in scripts without spaces characters and pairs of them."""

import itertools
import re
import unicodedata
from collections.abc import Iterator

from layerwise.word_split import split_words

# Scripts that put no spaces between words: their letters by the blocks of the Unicode database.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # marks that repeat or stand for an ideograph
    (0x3041, 0x30FF),  # hiragana, katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # katakana of half width
    (0x1AFF0, 0x1B16F),  # kana
    (0x20000, 0x2FFFD),
    (0x30000, 0x3FFFD),
)
# Every character is replaced by the letter of its kind: u letter of a script without spaces, m mark or joiner, w other.
_PART = re.compile(r"um*|[wm]+")
_JOINERS = (0x200C, 0x200D)


class _Kinds(dict[int, str]):
    """Kinds of code points, computed at first use."""

    def __missing__(self, point: int) -> str:
        self[point] = kind = _kind_of(point)
        return kind


def _kind_of(point: int) -> str:
    category = unicodedata.category(chr(point))
    if category[0] == "M" or point in _JOINERS:
        return "m"
    is_unspaced = any(first <= point <= last for first, last in _UNSPACED)
    return "u" if is_unspaced and (category[0] == "L" or category == "Nl") else "w"


_KINDS = _Kinds()


def terms(text: str) -> list[str]:
    """Return the terms of a text, in lower case and in composed form (NFC).

    They are the words of `word_split`, with the marks that belong to their letters. In scripts that put no spaces
    between words (Chinese, Japanese, Thai, Lao, Khmer, Myanmar) they are the characters with their marks, and each
    pair of neighbours.

    >>> terms("Room 3天, नमस्ते")
    ['room', '3', '天', ',', 'नमस्ते']
    >>> terms("不错")
    ['不', '错', '不错']
    """
    normal = unicodedata.normalize("NFC", text.lower())
    kinds = normal.translate(_KINDS)
    out, pairs = [], []
    last_start, last_end = 0, -1
    for start, end in _parts(normal, kinds):
        out.append(normal[start:end])
        if kinds[start] == "u":
            if last_end == start:
                pairs.append(normal[last_start:end])
            last_start, last_end = start, end
    return out + pairs


def letter_terms(text: str) -> list[str]:
    """Return the terms of a sequence of residues or bases: its letters, and each pair of neighbours.

    Their shares are the amino-acid and the dipeptide composition of a protein.

    >>> letter_terms("MKT")
    ['M', 'K', 'T', 'MK', 'KT']
    """
    letters = [text[start:end] for start, end in split_words(text, "chars")]
    return letters + ["".join(pair) for pair in itertools.pairwise(letters)]


def _parts(text: str, kinds: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of the words of a text; of letters of scripts without spaces, the span of each."""
    for start, end in split_words(text):
        if "u" in kinds[start:end]:
            yield from (match.span() for match in _PART.finditer(kinds, start, end))
        else:
            yield start, end
