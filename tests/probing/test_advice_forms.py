"""Every form of the advice, in both languages: what it may say of baselines and intervals, and how it reads."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from layerwise.mixes import parse_mix
from layerwise.probing.advice import BaselineLeads, advise
from layerwise.probing.candidates import Candidate
from layerwise.probing.comparison import CandidateComparison, Lead
from layerwise.probing.extras import ScoredExtras
from layerwise.probing.results import Advice, CumulativeScore, ExpectedLayer, MlpResult
from layerwise.results import Estimate
from layerwise.wording import Message, fixed

NAN = float("nan")
BEST = 0.8
MAJORITIES = {
    "beaten": Lead(BEST, 0.511, 0.289, 0.211, 0.367),
    "undecided": Lead(BEST, 0.783, 0.017, -0.031, 0.065),
    "open": Lead(BEST, 0.779, 0.021, NAN, NAN),
    "higher": Lead(BEST, 0.871, -0.071, -0.113, -0.029),
}
RIVALS: dict[str, Lead | None] = {
    "none": None,
    "beaten": Lead(BEST, 0.623, 0.177, 0.123, 0.231),
    "undecided": Lead(BEST, 0.789, 0.011, -0.023, 0.045),
    "open": Lead(BEST, 0.787, 0.013, NAN, NAN),
    "level": Lead(BEST, 0.807, -0.007, -0.037, 0.023),
    "level, open": Lead(BEST, 0.809, -0.009, NAN, NAN),
    "higher": Lead(BEST, 0.893, -0.093, -0.129, -0.057),
}
OVER_MAJORITY = (
    Lead(0.623, 0.511, 0.112, 0.057, 0.167),
    Lead(0.613, 0.607, 0.006, -0.041, 0.053),
    Lead(0.617, 0.603, 0.014, NAN, NAN),
)
SAVES = ([0.741, 0.794, BEST], [0.785, 0.741, BEST])  # the scores of emb, 1 and 2


def comparisons() -> Iterator[CandidateComparison]:
    """A single candidate; equal ones; undecided ones with and without intervals; sure ones, with and without a cheaper one."""
    yield CandidateComparison(np.array([BEST]), np.ones(1), np.zeros(1), np.zeros(1), np.zeros(1))
    equal = np.full(3, BEST)
    yield CandidateComparison(equal, np.ones(3), np.zeros(3), np.full(3, -0.019), np.full(3, 0.019))
    for scores, error, p, half in itertools.product(
        SAVES, (0.004, 0.019), ((0.3, 0.4), (0.01, 0.02), (0.01, 0.3)), (0.013, 0.067, NAN)
    ):
        values = np.array(scores)
        gaps = BEST - values
        ps = np.array([*p, 1.0])
        yield CandidateComparison(values, ps, np.full(3, error), gaps - half, gaps + half)


@dataclass(frozen=True)
class Form:
    """One form of the advice, and what it was made of."""

    advice: Advice
    majority: str
    words: str
    vectors: str
    numbers: frozenset[str]


def extras() -> Iterator[ScoredExtras]:
    cumulative = tuple(
        CumulativeScore(layer, layer, 0.7, None, None, gain) for layer, gain in (("emb", None), ("2", 0.1))
    )
    gaps = (
        Estimate(0.033, 0.011, 0.055),
        Estimate(0.003, -0.011, 0.017),
        Estimate(-0.031, -0.051, -0.011),
        Estimate(0.029, None, None),
    )
    layers = ((1.4, 0.9, 1.9), (None, None, None), (None, None, None), (None, None, None))
    gains = (gaps[0], gaps[1], gaps[3], gaps[2])
    yield ScoredExtras()
    for gap, layer, gain in zip(gaps, layers, gains, strict=True):
        mlp = MlpResult(("2", "1"), 128, 99, (3,), 0.819, None, None, Estimate(0.797, None, None), gap)
        yield ScoredExtras(mlp=mlp, expected=ExpectedLayer(*layer, gain, cumulative))


def written(*estimates: Lead | Estimate | None) -> Iterator[str]:
    for estimate in (value for value in estimates if value is not None):
        values = [estimate.score, estimate.low, estimate.high]
        if isinstance(estimate, Lead):
            values += [estimate.baseline, estimate.difference]
        yield from (fixed(abs(value)) for value in values if value is not None and np.isfinite(value))


def forms() -> Iterator[Form]:
    others = itertools.cycle(
        itertools.product(
            list(extras()),
            (None, Message("advise.groups.few", groups="3.0", least=12)),
            (
                None,
                Message("advise.imbalance", share="97%", label="'a'", option="--metric macro_f1"),
            ),
            (Estimate(0.776, 0.725, 0.827), Estimate(0.772, None, None)),
            OVER_MAJORITY,
            ("accuracy", "r2", "span_f1"),
        )
    )
    made = itertools.product(MAJORITIES, RIVALS, list(comparisons()))
    # There are 38 comparisons, so that each meets all word vectors.
    for (majority, words, comparison), vectors, other in zip(
        made, itertools.cycle(RIVALS), others, strict=False
    ):
        extra, few_groups, imbalance, chosen, over_majority, metric = other
        over = over_majority if RIVALS[words] is not None else None
        leads = BaselineLeads(
            MAJORITIES[majority], RIVALS[words], over, metric == "r2", RIVALS[vectors], vectors == "level"
        )
        names = ["emb", "1", "2"][-len(comparison.scores) :]
        candidates = [Candidate(name, parse_mix(name, 2, ["emb", "1", "2"]), 2) for name in names]
        advice = advise(
            *(comparison, candidates, [8] * len(names), chosen, leads, metric),
            *(imbalance, extra, few_groups),
        )
        mlp, expected = extra.mlp, extra.expected
        given = [MAJORITIES[majority], RIVALS[words], RIVALS[vectors], over, chosen]
        given += [mlp.difference, mlp.linear, Estimate(mlp.score, None, None)] if mlp else []
        given += [expected.gain] if expected else []
        numbers = {*written(*given), "3.0", "1.4", "0.9", "1.9", "0.02"}
        for values in (comparison.scores, BEST - comparison.scores, comparison.low, comparison.high):
            numbers |= {fixed(abs(value)) for value in values if np.isfinite(value)}
        yield Form(advice, majority, words, vectors, frozenset(numbers))


@pytest.fixture(scope="module")
def every_form() -> list[Form]:
    return list(forms())


def sentences(every_form: list[Form], lang: str) -> set[str]:
    return {message.in_language(lang) for form in every_form for message in form.advice.messages}


def test_sentences_are_whole(every_form: list[Form]) -> None:
    assert len(every_form) > 1000
    assert {(form.words, form.vectors) for form in every_form} == set(itertools.product(RIVALS, RIVALS))
    for lang in ("en", "zh"):
        for sentence in sentences(every_form, lang):
            assert not re.search(r"[{}]|nan|None|  | [.,;)]|\.\.|。。|\( ", sentence), sentence
            assert sentence.count("(") == sentence.count(")"), sentence
            assert sentence.count("（") == sentence.count("）"), sentence
            assert sentence.endswith((".", ".)") if lang == "en" else ("。", "。）")), sentence
            # A difference is told by its direction, so it has no sign of its own.
            assert not re.search("(higher|lower|rise|adds|behind) (by )?−|[高低] ?−", sentence), sentence


def test_an_interval_is_spoken_of_where_there_is_one(every_form: list[Form]) -> None:
    for sentence in sentences(every_form, "en"):
        assert ("an interval that" in sentence) == bool(re.search(r"\d\), an interval that", sentence))
    for sentence in sentences(every_form, "zh"):
        assert ("该区间" in sentence) == bool(re.search("至 −?[0-9.]+）；该区间", sentence)), sentence
    english = " ".join(sentences(every_form, "en"))
    assert "is 0.059 (no interval: the two differ on too few rows or groups). That doesn't show" in english
    assert "scores 0.772 (no interval: too few rows or groups) on texts" in english


def test_chinese_has_no_english_words(every_form: list[Form]) -> None:
    known = re.compile(r"emb|mean|sum|F1|'a'|--metric macro_f1")
    for sentence in sentences(every_form, "zh"):
        assert not re.search("[A-Za-z]{2,}", known.sub("", sentence)), sentence


def test_numbers_are_those_that_were_given(every_form: list[Form]) -> None:
    for form in every_form:
        for lang in ("en", "zh"):
            text = " ".join(message.in_language(lang) for message in form.advice.messages)
            found = re.findall(r"\d+\.\d+", text)
            assert set(found) <= form.numbers, (text, set(found) - form.numbers)


def test_the_first_sentence_is_about_the_baselines(every_form: list[Form]) -> None:
    for form in every_form:
        first, text = form.advice.messages[0], form.advice.text
        assert "the majority class" in first or "the mean" in first
        assert form.advice.recommended == (form.majority == "beaten")
        if form.advice.recommended:
            assert "bag of words" in first, "one that is compared with, or that there is none"
        elif form.words != "none":
            assert "A bag of words" in text
        if form.advice.recommended and form.words not in ("none", "beaten"):
            assert first.startswith("No candidate ")
            assert first.in_language("zh").startswith("没有")


def test_a_candidate_is_recommended_only_if_it_beats_what_needs_no_model(every_form: list[Form]) -> None:
    rivals = ("none", "beaten")
    for form in every_form:
        takes = [message for message in form.advice.messages if message.key.startswith("advise.take")]
        assert len(takes) == form.advice.recommended
        needs_model = form.words in rivals and form.vectors in rivals
        for take in takes:
            assert take.startswith("Take " if needs_model else "If you need the model's vectors, take "), take
            assert take.in_language("zh").startswith("选用 " if needs_model else "若需要模型的向量，请选用 ")
