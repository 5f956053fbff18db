"""Transfer: whether the layer that is best on rows like those of training is best on the test rows of a split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerwise.probing.candidates import Candidate
from layerwise.probing.evaluate import CandidateScores
from layerwise.probing.run import ProbeRun
from layerwise.wording import Message, fixed


@dataclass(frozen=True, slots=True)
class Transfer:
    """The best single layer at home and abroad, for a split whose test rows may be of another language.

    Attributes:
        home: the single layer with the highest score on held-out rows of training (dev, or inner folds).
        home_score: this score.
        home_abroad: its score on the test rows.
        abroad: the single layer with the highest score on the test rows; `home` where it is no better.
        abroad_score: this score.
        low, high: the ends of the 95% interval of `abroad_score` − `home_abroad`, by resampling the test rows; `None` where
            both layers are the same.
        text: this in a sentence or two.
    """

    home: str
    home_score: float
    home_abroad: float
    abroad: str
    abroad_score: float
    low: float | None
    high: float | None
    text: str


def transfer(
    run: ProbeRun, candidates: Sequence[Candidate], evaluations: Sequence[CandidateScores]
) -> Transfer | None:
    """Return the comparison; `None` without a split, or without two single layers.

    `run` has evaluated `candidates`; `evaluations` are their scores.
    """
    places = [place for place, candidate in enumerate(candidates) if candidate.kind == "layer"]
    if not run.design.fixed or len(places) < 2:
        return None
    bootstrap = run.bootstrap([evaluations[place].predictions.predicted for place in places])
    homes = [evaluations[place].inner[0] for place in places]
    home, abroad = int(np.argmax(homes)), int(np.argmax(bootstrap.scores))
    if bootstrap.scores[abroad] <= bootstrap.scores[home]:
        abroad = home
    low, high = (None, None) if abroad == home else bootstrap.difference(abroad, home)[1:]
    names = [candidates[place].name for place in places]
    scores = (float(homes[home]), float(bootstrap.scores[home]), float(bootstrap.scores[abroad]))
    text = _text(names[home], names[abroad], scores, low, high)
    return Transfer(names[home], scores[0], scores[1], names[abroad], scores[2], low, high, text)


def _text(
    home: str, abroad: str, scores: tuple[float, float, float], low: float | None, high: float | None
) -> Message:
    values = dict(zip(("home_score", "home_abroad", "abroad_score"), map(fixed, scores), strict=True))
    if low is None or high is None:
        return Message("transfer.same", home=home, **values)
    key = "transfer.differs" if low > 0 else "transfer.unclear"
    return Message(key, home=home, abroad=abroad, low=fixed(low), high=fixed(high), **values)
