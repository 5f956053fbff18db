"""The words of raw text, by one rule for every model.

A word is a run of letters and digits with the marks that belong to them, a CJK character, or any other
visible character. Everything rests on the general categories of the Unicode database.
"""

import re
import unicodedata

# Every character becomes a letter for its class, so that one short pattern does the cutting:
# a letter or digit, c CJK, s other visible, m mark, v mark that can't be seen, j joiner, a space the rest.
_WORD = re.compile(r"a[amv]*(?:j+[amv]+)*|[csm][mv]*")
_JOINERS = (0x200C, 0x200D)
# The blocks that BERT's tokenizer takes for Chinese; planes 2 and 3 hold ideographs only, now and later.
_CJK = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FFFD), (0x30000, 0x3FFFD))
_UNSEEN = ((0x34F, 0x34F), (0x17B4, 0x17B5), (0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))


class _Classes(dict[int, str]):
    """Classes of code points, found when first asked for."""

    def __missing__(self, point: int) -> str:
        self[point] = found = _class_of(point)
        return found


def _class_of(point: int) -> str:
    if _within(point, _CJK):
        return "c"
    if point in _JOINERS:
        return "j"
    category = unicodedata.category(chr(point))
    if category[0] == "M":
        return "v" if _within(point, _UNSEEN) else "m"
    if category[0] in "LN":
        return "a"
    return "s" if category[0] in "PS" or category == "Co" else " "


def _within(point: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= point <= last for first, last in ranges)


_CLASSES = _Classes()


def split_words(text: str) -> list[tuple[int, int]]:
    """Return the spans of the words of `text`, in code points, in order, without overlap.

    A zero-width joiner or non-joiner inside a run belongs to it; controls, format characters and spaces are
    in no word.
    """
    return [match.span() for match in _WORD.finditer(text.translate(_CLASSES))]
