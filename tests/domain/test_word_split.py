"""The splitter of raw text, against the rule written out character by character."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise import word_split as module
from layerwise.word_split import split_words

HOSTILE = (
    "aZé9_²½Ⅷ東〇々あ한ไก\u0e34'’-.@#€😀👍\U0001f3fd\ufe0f\u200d\u200c\u0301\u093f"
    "\u094dक\u00ad\u200b\ufeff \t\n\u00a0\u3000\u2028\x00\x7f\ue000"
    "\U0010fffd\U000e0100\u034f\u20e3\U00020000\U00030000\ufa0e\u0378\ud800"
    "\U0001f468"
)
CJK = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0xF900, 0xFAFF), (0x20000, 0x2FFFD), (0x30000, 0x3FFFD)]
UNSEEN_MARKS = {
    0x034F,
    0x17B4,
    0x17B5,
    *range(0x180B, 0x1810),
    *range(0xFE00, 0xFE10),
    *range(0xE0100, 0xE01F0),
}


def is_cjk(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in CJK)


def is_run(char: str) -> bool:
    return unicodedata.category(char)[0] in "LN" and not is_cjk(char)


def is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def is_alone(char: str) -> bool:
    category = unicodedata.category(char)
    seen_mark = category[0] == "M" and ord(char) not in UNSEEN_MARKS
    return is_cjk(char) or category[0] in "PS" or category == "Co" or seen_mark


def by_the_rule(text: str) -> list[tuple[int, int]]:
    spans, at = [], 0
    while at < len(text):
        end = at + 1
        if is_run(text[at]):
            end = end_of_run(text, end)
        elif is_alone(text[at]):
            while end < len(text) and is_mark(text[end]):
                end += 1
        else:
            at = end
            continue
        spans.append((at, end))
        at = end
    return spans


def end_of_run(text: str, at: int) -> int:
    """A run goes on over letters, digits and marks, and over joiners that one of these follows."""
    while True:
        after = at
        while after < len(text) and text[after] in "\u200c\u200d":
            after += 1
        if after == len(text) or not (is_run(text[after]) or is_mark(text[after])):
            return at
        at = after + 1


@settings(max_examples=400, deadline=None)
@given(st.text(st.sampled_from(HOSTILE) | st.characters()))
def test_it_is_the_rule(text: str) -> None:
    assert split_words(text) == by_the_rule(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\u200b", []),
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("don't snake_case 3.14 x2", ["don", "'", "t", "snake", "_", "case", "3", ".", "14", "x2"]),
        ("cafe\u0301 naïve", ["cafe\u0301", "naïve"]),
        ("我爱BERT模型", ["我", "爱", "BERT", "模", "型"]),
        ("東\U000e0100京 \U00020000\U0002ceb0", ["東\U000e0100", "京", "\U00020000", "\U0002ceb0"]),
        ("ひらがな カタカナ 한국어", ["ひらがな", "カタカナ", "한국어"]),
        ("हिन्दी क्‍ष", ["हिन्दी", "क्‍ष"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("‌a‌ b", ["a", "b"]),
        ("ไทยที่", ["ไทยที่"]),
        ("❤️1️⃣👨‍👩", ["❤️", "1️⃣", "👨", "👩"]),
        ("...", [".", ".", "."]),
        (" \u0301\u0302a", ["\u0301\u0302", "a"]),
        ("\ufe0fa", ["a"]),
        ("soft\u00adhyphen", ["soft", "hyphen"]),
        ("\ue000x\ud800y", ["\ue000", "x", "y"]),
    ],
)
def test_examples(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in split_words(text)] == expected


def test_every_visible_character_is_in_a_word() -> None:
    text = " ".join(map(chr, range(0x3000)))
    covered = {at for start, end in split_words(text) for at in range(start, end)}
    for at in range(0, len(text), 2):
        category = unicodedata.category(text[at])
        visible = category[0] in "LNPS" or (category[0] == "M" and ord(text[at]) not in UNSEEN_MARKS)
        assert (at in covered) == visible


def test_every_character_is_looked_at_once_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """That makes it quick from the first use on."""
    class_of, asked = module._class_of, []

    def counted(point: int) -> str:
        asked.append(chr(point))
        return class_of(point)

    monkeypatch.setattr(module, "_class_of", counted)
    monkeypatch.setattr(module, "_CLASSES", type(module._CLASSES)())
    text = "The quick brown fox, jümps over the lazy dog 東京. "
    assert len(split_words(text * 20_000)) == 13 * 20_000
    assert sorted(asked) == sorted(set(text))
