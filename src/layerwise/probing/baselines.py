"""Baselines that a score has to beat: the most frequent class (or the mean), and TF-IDF features of the texts."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from layerwise._util.progress import SILENT, Tracker
from layerwise.array_types import F32, F64, I64
from layerwise.labels.scorers import Predicted, Scorer
from layerwise.probing.design import Design, OuterFit
from layerwise.probing.influence import CandidatePredictions
from layerwise.probing.terms import letter_terms, terms

_CS = (0.1, 1.0, 10.0, 100.0)  # rows of TF-IDF have length 1, so they need less regularisation
_MAX_FEATURES = 20_000  # the most frequent entries of the vocabulary


def majority(design: Design, scorer: Scorer) -> list[Predicted]:
    """Return, per outer fit, predictions that are always the most frequent class (or the mean) of the training rows."""
    out = []
    for outer in design.outers:
        targets = design.fits.targets[0][design.fits.train[outer.fit]]
        if design.fits.several:
            share = targets.mean(axis=0, dtype=np.float64)[:, None]
            out.append(scorer.decide(np.repeat(share - 0.5, len(outer.test), axis=1), outer.test))
        elif design.fits.count == 1:
            out.append(scorer.decide(np.full((1, len(outer.test)), targets.mean(), np.float32), outer.test))
        else:
            shares = np.bincount(targets, minlength=design.fits.count).astype(np.float32)
            values = np.repeat(np.log(shares + 1e-3)[:, None], len(outer.test), axis=1)
            out.append(scorer.decide(values, outer.test))
    return out


def bag_of_words(
    texts: Sequence[str],
    design: Design,
    scorer: Scorer,
    outers: Sequence[OuterFit],
    *,
    words: bool,
    letters: bool = False,
    track: Tracker = SILENT,
) -> CandidatePredictions:
    """Return the predictions of the same kind of classifier on TF-IDF features, by outer fit and inner fit.

    Vocabulary and document frequencies come from the training rows only; the inner fits choose C.
    Source of the solver: scikit-learn.

    Args:
        texts: the text of each row; for a pair, its two texts joined by a space.
        design: the training sets and the rows that score them.
        scorer: turns scores into predictions and scores these.
        outers: the outer fits to use.
        words: whether a row is a word; its features are then its character n-grams of 1 to 3 letters, else its terms.
        letters: whether each letter of a text is a word; its terms are then its letters and pairs of neighbours.
        track: progress over the folds.
    """
    terms_of_rows = _split(texts, words, letters)
    out, held_out_of_fit = [], []
    for outer, _ in track.each(outers, (f"fold {n + 1} of {len(outers)}" for n in range(len(outers)))):
        scores = np.zeros(len(_CS))
        decided = []
        for fit, held_out in outer.inner:
            values_per_c = _fit(terms_of_rows, design, fit, held_out, _CS)
            decided.append([scorer.decide(values, held_out) for values in values_per_c])
            scores += [scorer.score(predicted, held_out) for predicted in decided[-1]]
        best = int(scores.argmax())
        held_out_of_fit.append([predicted[best] for predicted in decided])
        values = _fit(terms_of_rows, design, outer.fit, outer.test, [_CS[best]])[0]
        out.append(scorer.decide(values, outer.test))
    return CandidatePredictions(out, held_out_of_fit)


def _split(texts: Sequence[str], words: bool, letters: bool) -> NDArray[Any]:
    """Return the terms of each row, lists of strings as objects (n,); split once, as many fits read them."""
    of_word = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3)).build_analyzer()
    analyzer = of_word if words else letter_terms if letters else terms
    out = np.empty(len(texts), object)
    for row, text in enumerate(texts):
        out[row] = analyzer(text)
    return out


def _fit(
    terms_of_rows: NDArray[Any], design: Design, fit: int, scored: I64, Cs: Sequence[float]
) -> list[F32]:
    """Return the values (K, m) of the rows `scored` (m,), for each value of C."""
    train = design.fits.train[fit]
    if not any(terms_of_rows[train]):
        return [np.zeros((design.fits.count, len(scored)), np.float32) for _ in Cs]
    targets = design.fits.targets[design.fits.labels[fit]][train]
    vectorizer = TfidfVectorizer(analyzer=list, max_features=_MAX_FEATURES, dtype=np.float32)
    x = vectorizer.fit_transform(terms_of_rows[train])
    x_scored = vectorizer.transform(terms_of_rows[scored])
    balance: Literal["balanced"] | None = "balanced" if design.fits.balanced else None
    if design.fits.several:
        values = [
            np.concatenate(by_label)
            for by_label in zip(*(_fit_label(x, y, x_scored, Cs) for y in targets.T), strict=True)
        ]
    elif design.fits.count == 1:
        values = [Ridge(alpha=1 / C).fit(x, targets).predict(x_scored)[None] for C in Cs]
    else:
        values = _fit_classes(x, targets, x_scored, Cs, design.fits.count, balance)
    return [value.astype(np.float32) for value in values]


def _fit_label(x: Any, has_label: F32, features: Any, Cs: Sequence[float]) -> list[F64]:
    """Return the score of a label, above 0 where it is predicted, (1, n), for each value of C."""
    return [logs[1:] - logs[:1] for logs in _fit_classes(x, has_label.astype(np.int64), features, Cs, 2)]


def _fit_classes(
    x: Any,
    targets: I64,
    features: Any,
    Cs: Sequence[float],
    count: int,
    balance: Literal["balanced"] | None = None,
) -> list[F64]:
    """Return log-probabilities (count, n) for each value of C, ascending: each fit starts from the one before."""
    present = np.unique(targets)
    model = LogisticRegression(
        solver="newton-cg", class_weight=balance, max_iter=1000, tol=1e-4, warm_start=True
    )
    out = []
    for C in Cs:
        values = np.full((count, features.shape[0]), -1e9)
        if len(present) == 1:
            values[present[0]] = 0.0
        else:
            logits = np.asarray(model.set_params(C=C).fit(x, targets).decision_function(features), np.float64)
            logits = np.stack([np.zeros_like(logits), logits]) if logits.ndim == 1 else logits.T
            values[present] = log_softmax(logits, axis=0)  # a probability itself may be too small for float32
        out.append(values)
    return out
