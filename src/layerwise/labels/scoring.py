"""How a task is scored, whatever the shape of its labels."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from layerwise.labels import metrics
from layerwise.labels.sentences import cut
from layerwise.states import I64


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of some rows, by name, the one that counts first; and a line per class or type of span."""

    rows: int
    scores: dict[str, float]
    classes: list[Any]

    def main(self, balance: str | None = None) -> float:
        """Return the score that heads are chosen by: macro-F1 where classes are to be balanced."""
        if balance == "balanced" and "macro_f1" in self.scores:
            return self.scores["macro_f1"]
        return next(iter(self.scores.values()))

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        return {"rows": self.rows, "scores": self.scores, "classes": self.classes}


def score(task: str, multi: bool, gold: NDArray[Any], predicted: NDArray[Any], docs: I64) -> Score:
    """Score predictions of rows that stand text by text.

    Args:
        task: `classify`, `regress` or `tag`.
        multi: whether a row may have several labels.
        gold, predicted: labels or numbers (n,); tags in IOB2.
        docs: the text of each row, (n,).
    """
    truth: Any = gold
    said: Any = predicted
    if task == "tag":
        truth, said = cut(gold, docs), cut(predicted, docs)
    return Score(
        len(gold),
        metrics.scores(task, truth, said, multi),
        list(metrics.score_table(task, truth, said, multi)),
    )
