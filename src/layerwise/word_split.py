"""Split raw text into words, by one rule for every model; for proteins and DNA each character is a word.

A word is a run of letters and digits with the marks that belong to them, a CJK character, or any other
visible character. The rule uses the general categories of the Unicode database. On request a segmenter joins the
CJK characters of a run into words.
"""

import re
import unicodedata
from collections.abc import Iterator

from layerwise import choices
from layerwise.segmenter import JIEBA, check_segmenter, segment

# Every character is replaced by the letter of its class, so that one short pattern splits the text:
# a letter or digit, c CJK, s other visible, m mark, v invisible mark, j joiner, and a space for all others.
_WORD = re.compile(r"a[amv]*(?:j+[amv]+)*|[csm][mv]*")
_CHARACTER = re.compile(r"[acsm][mv]*")
_WORD_OR_RUN = re.compile(r"(?:c[mv]*)+|" + _WORD.pattern)
_JOINERS = (0x200C, 0x200D)
# The blocks that BERT's tokenizer treats as Chinese; planes 2 and 3 hold ideographs only, now and later.
_CJK = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FFFD), (0x30000, 0x3FFFD))
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
_INVISIBLE = ((0x34F, 0x34F), (0x17B4, 0x17B5), (0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))


class _Classes(dict[int, str]):
    """Classes of code points, computed at first use."""

    def __missing__(self, point: int) -> str:
        self[point] = letter = _class_of(point)
        return letter


def _class_of(point: int) -> str:
    if _within(point, _CJK):
        return "c"
    if point in _JOINERS:
        return "j"
    category = unicodedata.category(chr(point))
    if category[0] == "M":
        return "v" if _within(point, _INVISIBLE) else "m"
    if category[0] in "LN":
        return "a"
    return "s" if category[0] in "PS" or category == "Co" else " "


def _within(point: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= point <= last for first, last in ranges)


_CLASSES = _Classes()


# Every character is replaced by the letter of its kind: u letter of a script without spaces, m mark or joiner, w other.
_TERM = re.compile(r"um*|[wm]+")


class _Kinds(dict[int, str]):
    """Kinds of code points, computed at first use."""

    def __missing__(self, point: int) -> str:
        self[point] = kind = _kind_of(point)
        return kind


def _kind_of(point: int) -> str:
    category = unicodedata.category(chr(point))
    if category[0] == "M" or point in _JOINERS:
        return "m"
    is_unspaced = _within(point, _UNSPACED)
    return "u" if is_unspaced and (category[0] == "L" or category == "Nl") else "w"


_KINDS = _Kinds()


def check_split(word_split: str | None) -> None:
    """Check what a word is to be, before any work.

    Raises:
        RequestError: none of `choices.WORD_SPLITS`, or one whose library isn't installed.
    """
    if word_split is not None:
        choices.one_of("word_split", word_split, choices.WORD_SPLITS)
    if word_split == JIEBA:
        check_segmenter()


def split_words(text: str, word_split: str | None = None) -> list[tuple[int, int]]:
    """Return the spans of the words of `text`, in code points, in order, without overlap.

    A zero-width joiner or non-joiner inside a run belongs to it; controls, format characters and spaces are
    in no word. With `word_split="chars"` each visible character, with its marks, is a word; with `"jieba"` CJK
    characters that follow each other are the words of a segmenter, and all else is as without.

    >>> split_words("MKT 7"), split_words("MKT 7", "chars")
    ([(0, 3), (4, 5)], [(0, 1), (1, 2), (2, 3), (4, 5)])

    Raises:
        RequestError: `"jieba"`, which isn't installed.
    """
    classes = text.translate(_CLASSES)
    if word_split == JIEBA:
        return list(_segmented(text, classes))
    pattern = _WORD if word_split is None else _CHARACTER
    return [match.span() for match in pattern.finditer(classes)]


def split_terms(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield the spans of the words of `text`, and in scripts that put no spaces between words those of their letters.

    The scripts are Chinese, Japanese, Thai, Lao, Khmer and Myanmar; a letter has its marks, and is told by `True`.

    >>> list(split_terms("Room 3天"))
    [(0, 4, False), (5, 6, False), (6, 7, True)]
    """
    kinds = text.translate(_KINDS)
    for start, end in split_words(text):
        if "u" in kinds[start:end]:
            for match in _TERM.finditer(kinds, start, end):
                yield *match.span(), kinds[match.start()] == "u"
        else:
            yield start, end, False


def _segmented(text: str, classes: str) -> Iterator[tuple[int, int]]:
    for match in _WORD_OR_RUN.finditer(classes):
        start, end = match.span()
        if classes[start] != "c":
            yield start, end
            continue
        # Marks belong to the character before them; the segmenter doesn't see them.
        borders = [place for place in range(start, end) if classes[place] == "c"] + [end]
        first = 0
        for word in segment("".join(text[place] for place in borders[:-1])):
            yield borders[first], borders[first + len(word)]
            first += len(word)
