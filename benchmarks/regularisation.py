"""Rules that choose C on held-out rows, compared on new rows: the table in docs/reference/heads.md.

Each draw holds out a fifth of its rows, fits scikit-learn's logistic regression to the others for every C of the grid,
and lets each rule choose one. Accuracy and macro-F1 are those of the chosen fit on rows that no rule has seen. Planted
classes are normal clouds; TREC is in ../shared/data, encoded by minilm (without it only the planted ones).
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from common import SHARED, heading
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

import layerwise as lw
from layerwise.cli.output import table
from layerwise.labels.folds import holdout

_CS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_DRAWS, _NEW = 12, 4000
_TREC_DRAWS, _TREC_NEW = 4, 3000
_PLANTED = (  # shares of the classes, rows, scale of the class means, width
    ((0.95, 0.05), 500, 0.2, 50),
    ((0.9, 0.1), 1000, 0.08, 200),
    ((0.7, 0.3), 500, 0.1, 100),
    ((0.8, 0.05, 0.05, 0.05, 0.05), 600, 0.15, 100),
    ((0.5, 0.2, 0.1, 0.1, 0.1), 600, 0.12, 100),
    ((0.25, 0.25, 0.2, 0.15, 0.15), 600, 0.12, 100),
)
_TREC = (("coarse", 600), ("coarse", 2500), ("fine", 800))
X = NDArray[np.float64]
Y = NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """Accuracy, macro-F1 and mean loss of one C on the held-out rows, and its accuracy and macro-F1 on new rows."""

    accuracy: float
    macro_f1: float
    loss: float
    new_accuracy: float
    new_macro_f1: float


def by_accuracy(fits: list[Fit], _: Y) -> Fit:
    """Highest accuracy; of equal ones the likeliest."""
    return max(fits, key=lambda fit: (fit.accuracy, -fit.loss))


def by_likelihood(fits: list[Fit], _: Y) -> Fit:
    """Highest log-likelihood."""
    return min(fits, key=lambda fit: fit.loss)


def by_macro_f1(fits: list[Fit], _: Y) -> Fit:
    """Highest macro-F1; of equal ones the likeliest."""
    return max(fits, key=lambda fit: (fit.macro_f1, -fit.loss))


def by_rule(fits: list[Fit], y: Y) -> Fit:
    """The rule of `train`: likelihood for even classes, else the likeliest within 5% of the best macro-F1 if it varies."""
    counts = np.bincount(y)
    counts = counts[counts > 0]
    if counts.max() <= 2 * (counts.sum() - counts.max()) / (len(counts) - 1):
        return by_likelihood(fits, y)
    scores = [fit.macro_f1 for fit in fits]
    if min(scores) == max(scores) < 1:
        return fits[_CS.index(1.0)]
    least = 0.95 * max(scores)
    return by_likelihood([fit for fit in fits if fit.macro_f1 >= least], y)


RULES: dict[str, Callable[[list[Fit], Y], Fit]] = {
    "highest accuracy": by_accuracy,
    "log-likelihood": by_likelihood,
    "macro-F1": by_macro_f1,
    "the rule of train": by_rule,
}


def main() -> None:
    """Print a line per set of rows: the means over its draws, as accuracy and macro-F1."""
    heading("Rules that choose C", "scikit-learn")
    rows = [("classes; rows", *RULES)]
    for name, draws in cases():
        chosen = [trial(*draw) for draw in draws]
        means = np.array(chosen).mean(axis=0)
        rows.append((name, *(f"{accuracy:.3f}, {macro_f1:.3f}" for accuracy, macro_f1 in means)))
    print("\n".join(table(rows, right=range(1, len(RULES) + 1))))


def cases() -> Iterator[tuple[str, list[tuple[X, Y, X, Y, int]]]]:
    """Yield the sets of rows: a name, and for each draw features and classes to train on, to score on, and the seed."""
    for shares, count, scale, width in _PLANTED:
        name = f"{', '.join(f'{share:.0%}' for share in shares)}; {count:,}"
        yield name, [planted(shares, count, scale, width, seed) for seed in range(_DRAWS)]
    if not (SHARED / "trec6").exists():
        return
    x, labels = trec()
    for column, count in _TREC:
        yield (
            f"TREC {column}; {count:,}",
            [drawn(x, labels[column], count, seed) for seed in range(_TREC_DRAWS)],
        )


def trial(x: X, y: Y, new_x: X, new_y: Y, seed: int) -> list[tuple[float, float]]:
    """Return accuracy and macro-F1 on new rows of the C that each rule chooses."""
    held_out = holdout(np.arange(len(y)), y, 0.2, seed)
    train = ~held_out
    mean, scale = x[train].mean(axis=0), x[train].std(axis=0) + 1e-9
    inputs, new_inputs = (x - mean) / scale, (new_x - mean) / scale
    fits = []
    for C in _CS:
        model = LogisticRegression(C=C, max_iter=2000).fit(inputs[train], y[train])
        known = held_out & np.isin(y, model.classes_)
        places = np.searchsorted(model.classes_, y[known])
        loss = -model.predict_log_proba(inputs[known])[np.arange(len(places)), places].mean()
        predicted, new = model.predict(inputs[held_out]), model.predict(new_inputs)
        fits.append(
            Fit(
                float((predicted == y[held_out]).mean()),
                float(f1_score(y[held_out], predicted, average="macro")),
                float(loss),
                float((new == new_y).mean()),
                float(f1_score(new_y, new, average="macro")),
            )
        )
    chosen = [rule(fits, y[train]) for rule in RULES.values()]
    return [(fit.new_accuracy, fit.new_macro_f1) for fit in chosen]


def planted(
    shares: tuple[float, ...], count: int, scale: float, width: int, seed: int
) -> tuple[X, Y, X, Y, int]:
    """Return rows of normal clouds; of each class at least two are in the training rows."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(len(shares), width)) * scale

    def rows(classes: Y) -> X:
        return random.normal(size=(len(classes), width)) + means[classes]

    y = random.choice(len(shares), count, p=shares)
    y[: 2 * len(shares)] = np.repeat(np.arange(len(shares)), 2)
    new_y = random.choice(len(shares), _NEW, p=shares)
    return rows(y), y, rows(new_y), new_y, seed


def trec() -> tuple[X, dict[str, NDArray[np.str_]]]:
    """Return the last layer of the questions of TREC, and their labels of both columns."""
    records: dict[str, dict[str, str]] = {}  # by text: a few questions occur twice
    for part in ("train", "test"):
        with (SHARED / "trec6" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            for record in csv.DictReader(file):
                records.setdefault(record["text"], record)
    x = lw.load_encoder("minilm").encode(list(records), layers="6").layer("6").astype(np.float64)
    columns = {column for column, _ in _TREC}
    return x, {name: np.array([record[name] for record in records.values()]) for name in columns}


def drawn(x: X, labels: NDArray[np.str_], count: int, seed: int) -> tuple[X, Y, X, Y, int]:
    """Return some rows to train on, and others to score on whose classes the former have."""
    order = np.random.default_rng(seed).permutation(len(labels))
    train, new = order[:count], order[count : count + _TREC_NEW]
    new = new[np.isin(labels[new], labels[train])]
    names = np.unique(labels[train])
    return x[train], np.searchsorted(names, labels[train]), x[new], np.searchsorted(names, labels[new]), seed


if __name__ == "__main__":
    main()
