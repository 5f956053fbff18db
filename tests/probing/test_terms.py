"""The terms of the bag of words: by script, and as features of scikit-learn's vectoriser."""

import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes import probe
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from layerwise.probing.design import DesignBuilder, crossed
from layerwise.probing.terms import terms
from planted import noise, states_of

# A text of each script with the words or characters that a reader of it would count.
SPLIT = {
    "english": ("Don't PANIC, e\u0301te\u0301!", ["don", "'", "t", "panic", ",", "été", "!"]),
    "chinese after a digit": ("住了3天", ["住", "了", "3", "天", "住了"]),
    "two runs of chinese": ("好的，好吃", ["好", "的", "，", "好", "吃", "好的", "好吃"]),
    "japanese": ("駅へ行った", ["駅", "へ", "行", "っ", "た", "駅へ", "へ行", "行っ", "った"]),
    "a katakana word": ("カメラー", ["カ", "メ", "ラ", "ー", "カメ", "メラ", "ラー"]),
    "latin beside kana": ("iPhoneを", ["iphone", "を"]),
    "repeated ideograph": ("人々", ["人", "々", "人々"]),
    "hindi": ("हिन्दी में नमस्ते", ["हिन्दी", "में", "नमस्ते"]),
    "vocalised arabic": ("مُحَمَّد رَسُولُ", ["مُحَمَّد", "رَسُولُ"]),
    "hebrew with points": ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
    "thai": ("ไม่ดี 10 บาท", ["ไ", "ม่", "ดี", "10", "บ", "า", "ท", "ไม่", "ม่ดี", "บา", "าท"]),
    "thai digits": ("๑๐บาท", ["๑๐", "บ", "า", "ท", "บา", "าท"]),
    "lao": ("ສະບາຍ", ["ສ", "ະ", "ບ", "າ", "ຍ", "ສະ", "ະບ", "ບາ", "າຍ"]),
    "khmer": ("ញុំ ឡា", ["ញុំ", "ឡា"]),
    "myanmar": ("ကျွန်", ["ကျွ", "န်", "ကျွန်"]),
    "korean": ("한국어 좋아요", ["한국어", "좋아요"]),
    "a space between thai words": ("ดี\u200bใจ", ["ดี", "ใ", "จ", "ใจ"]),
    "nothing": (" \u200b\n", []),
}


@pytest.mark.parametrize("script", SPLIT)
def test_terms_of_each_script(script: str) -> None:
    text, expected = SPLIT[script]
    expected = [unicodedata.normalize("NFC", term) for term in expected]
    assert Counter(terms(text)) == Counter(expected)


def test_two_spellings_of_a_letter_are_one_term() -> None:
    assert terms("caf\u00e9") == terms("CAFE\u0301")


@given(st.text(st.sampled_from("aZ9_ 天々をカーไม่ดีนสัับं,\u0301\u200b\u200d"), max_size=30))
def test_terms_are_the_visible_text_once_and_neighbours(text: str) -> None:
    normal = unicodedata.normalize("NFC", text.lower())
    result = terms(text)
    single = [term for term in result if term not in {a + b for a, b in pairwise(result)}]
    assert all(term in normal for term in result)
    visible = Counter(c for c in normal if c.isalnum())
    assert not Counter(c for c in "".join(single) if c.isalnum()) - visible
    assert set(visible) <= set("".join(result))


def test_features_are_those_of_the_vectoriser_with_this_analyzer() -> None:
    """Chinese after digits: the baseline finds the planted words, and equals a grid search of scikit-learn."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 150)
    letters = "房间酒店早餐服务员前台大堂"
    texts = [
        f"{row}{''.join(rng.choice(list(letters), 6))}2{['很差', '不错'][k]}{''.join(rng.choice(list(letters), 3))}"
        for row, k in enumerate(y)
    ]
    layers = noise(150, 4, 1)
    result = probe(states_of(layers, {"y": y.astype(str)}, texts), "classify", "y", mixes=[], quick=True)
    design = crossed(DesignBuilder(np.arange(150), y, 2, spread=True), 1, 5, 0, [])
    scores = []
    for outer in design.outers:
        rows = np.flatnonzero(design.fits.train[outer.fit])
        folds = [
            (np.flatnonzero(~np.isin(rows, h)), np.flatnonzero(np.isin(rows, h))) for _, h in outer.inner
        ]
        steps = make_pipeline(TfidfVectorizer(analyzer=terms), LogisticRegression(max_iter=1000, tol=1e-6))
        search = GridSearchCV(steps, {"logisticregression__C": [0.1, 1, 10, 100]}, cv=folds)
        search.fit([texts[row] for row in rows], y[rows])
        scores.append(search.score([texts[row] for row in outer.test], y[outer.test]))
    assert result.baselines["bag_of_words"].score == pytest.approx(np.mean(scores), abs=1e-9)
    assert np.mean(scores) > 0.97
    words = CountVectorizer(token_pattern=r"(?u)[一-鿿]|\w+|[^\w\s]").build_analyzer()
    assert not {"不", "错"} & set(words("2不错")), "what the splitter of scikit-learn misses"


def test_words_of_english_are_those_of_scikit_learn() -> None:
    text = "The quick brown fox, 3 of them, jumped over 12 lazy dogs; didn't they?"
    assert terms(text) == CountVectorizer(token_pattern=r"(?u)\w+|[^\w\s]").build_analyzer()(text)
