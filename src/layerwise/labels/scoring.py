"""Score the predictions of any task: classes, several labels per row, numbers, or tags."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from layerwise.labels import metrics
from layerwise.labels.sentences import cut
from layerwise.states import I64


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of some rows by name, the primary one first; and an entry per class or type of span."""

    rows: int
    scores: dict[str, float]
    classes: list[Any]

    def main(self, balance: str | None = None) -> float:
        """Return the score that selects heads: the primary one, or macro-F1 if classes are balanced."""
        if balance == "balanced" and "macro_f1" in self.scores:
            return self.scores["macro_f1"]
        return next(iter(self.scores.values()))

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return {"rows": self.rows, "scores": self.scores, "classes": self.classes}


def score(task: str, multi: bool, gold: NDArray[Any], predicted: NDArray[Any], docs: I64) -> Score:
    """Score predictions of rows that are sorted by text.

    Args:
        task: `classify`, `regress` or `tag`.
        multi: whether a row may have several labels.
        gold, predicted: labels or numbers (n,); tags in IOB2.
        docs: the text of each row, (n,).
    """
    gold_values: Any = gold
    predictions: Any = predicted
    if task == "tag":
        gold_values, predictions = cut(gold, docs), cut(predicted, docs)
    return Score(
        len(gold),
        metrics.scores(task, gold_values, predictions, multi),
        list(metrics.score_table(task, gold_values, predictions, multi)),
    )
