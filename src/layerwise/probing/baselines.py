"""What a score has to beat: the commonest answer, and the words themselves, without any model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from layerwise._util.progress import SILENT, Tracker
from layerwise.probing.design import Design, Outer
from layerwise.probing.scorers import F64, Judge, Predicted
from layerwise.states import F32, I64

_CS = (0.1, 1.0, 10.0, 100.0)  # rows of TF-IDF have length 1, so they want less regularisation
_KEPT = 20_000  # of the vocabulary, the commonest


def majority(design: Design, judge: Judge) -> list[Predicted]:
    """Return the predictions of the commonest class (or the mean) of the training rows, per outer fit."""
    out = []
    for outer in design.outers:
        targets = design.fits.targets[0][design.fits.train[outer.fit]]
        if design.fits.count == 1:
            out.append(judge.decide(np.full((1, len(outer.test)), targets.mean(), np.float32), outer.test))
        else:
            shares = np.bincount(targets, minlength=design.fits.count).astype(np.float32)
            values = np.repeat(np.log(shares + 1e-3)[:, None], len(outer.test), axis=1)
            out.append(judge.decide(values, outer.test))
    return out


def bag_of_words(
    texts: Sequence[str],
    design: Design,
    judge: Judge,
    outers: Sequence[Outer],
    *,
    words: bool,
    track: Tracker = SILENT,
) -> list[Predicted]:
    """Return the predictions of TF-IDF with the same classifier, per outer fit.

    Vocabulary and document frequencies come from the training rows; the inner fits choose the C.
    Source of the solver: scikit-learn.

    Args:
        texts: the text of each row; the two texts of a pair with a space between.
        design: the fits.
        judge: decides.
        outers: which outer fits.
        words: whether a row is a word, whose features are the word itself and its tokens of 1 to 3 letters.
        track: reports the folds.
    """
    rows = np.array(texts, object)
    out = []
    for outer, _ in track.each(outers, (f"fold {n + 1} of {len(outers)}" for n in range(len(outers)))):
        found = np.zeros(len(_CS))
        for fit, held in outer.inner:
            found += _scores(rows, design, judge, fit, held, words=words)
        C = _CS[int(found.argmax())]
        values = _fit(rows, design, outer.fit, [outer.test], [C], words=words)[0]
        out.append(judge.decide(values, outer.test))
    return out


def _scores(rows: NDArray[Any], design: Design, judge: Judge, fit: int, held: I64, *, words: bool) -> F64:
    made = _fit(rows, design, fit, [held] * len(_CS), _CS, words=words)
    return np.array([judge.score(judge.decide(values, held), held) for values in made])


def _fit(
    rows: NDArray[Any],
    design: Design,
    fit: int,
    held: Sequence[I64],
    Cs: Sequence[float],
    *,
    words: bool,
) -> list[F32]:
    train = design.fits.train[fit]
    kind: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (1, 3)} if words else {}
    if not words:
        kind = {"token_pattern": r"(?u)[一-鿿]|\w+|[^\w\s]"}
    vectors = TfidfVectorizer(max_features=_KEPT, lowercase=True, dtype=np.float32, **kind)
    try:
        x = vectors.fit_transform(rows[train])
    except ValueError:  # no text has a word
        return [np.zeros((design.fits.count, len(some)), np.float32) for some in held]
    targets = design.fits.targets[design.fits.labels[fit]][train]
    out = []
    for C, some in zip(Cs, held, strict=True):
        features = vectors.transform(rows[some])
        if design.fits.count == 1:
            values = Ridge(alpha=1 / C).fit(x, targets).predict(features)[None]
        else:
            values = _classes(x, targets, features, C, design.fits.count)
        out.append(values.astype(np.float32))
    return out


def _classes(x: Any, targets: I64, features: Any, C: float, count: int) -> F64:
    values = np.full((count, features.shape[0]), -1e9)
    there = np.unique(targets)
    if len(there) == 1:
        values[there[0]] = 0.0
        return values
    model = LogisticRegression(C=C, max_iter=1000, tol=1e-3).fit(x, targets)
    found = np.asarray(model.decision_function(features), np.float64)
    found = np.stack([np.zeros_like(found), found]) if found.ndim == 1 else found.T
    values[there] = log_softmax(found, axis=0)  # a probability itself may be too small for float32
    return values
