"""Fit linear heads by scikit-learn: multinomial and one-against-the-rest logistic regression, ridge.

`C` is scikit-learn's C, the inverse of the penalty: larger is weaker regularisation. For ridge it is the
inverse of alpha.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from layerwise._util.silence import silenced
from layerwise.states import F32, I64

CS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
RIDGE_CS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_MAX_STEPS = 2000
_ABSENT_LOGIT = -30.0  # the logit of a class without a row: exp(-30) is negligible beside the other classes
Balance = str | None


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Weights, float32 (inputs, outputs), and bias, float32 (outputs,); `converged` says whether the solver converged."""

    weight: F32
    bias: F32
    converged: bool = True

    def __call__(self, x: F32) -> F32:
        """Return the logits or values of standardised features `x` (n, inputs): float32 (n, outputs)."""
        out: F32 = x @ self.weight + self.bias
        return out


def fit_classes(x: F32, y: I64, classes: int, C: float, balance: Balance = None) -> Linear:
    """Fit a multinomial logistic regression with L2.

    Args:
        x: standardised features, float32 (n, inputs).
        y: class numbers (n,), below `classes`; a class without a row gets a logit that never wins.
        classes: the number of classes, K.
        C: the inverse of the penalty.
        balance: `balanced` weighs rows by n / (K · rows of their class).

    Returns:
        a head with K outputs, whose softmax gives the probabilities.
    """
    present = np.unique(y)
    weight, bias = np.zeros((x.shape[1], classes), np.float32), np.full(classes, _ABSENT_LOGIT, np.float32)
    if len(present) < 2:
        bias[present] = 0
        return Linear(weight, bias)
    model, converged = _logistic(x, y, C, balance)
    if len(present) == 2:  # scikit-learn then gives one logit, that of the second class
        weight[:, present[1]] = model.coef_[0]
        bias[present] = 0, model.intercept_[0]
    else:
        weight[:, present], bias[present] = model.coef_.T, model.intercept_
    return Linear(weight, bias, converged)


def fit_labels(x: F32, y: NDArray[Any], C: float, balance: Balance = None) -> Linear:
    """Fit one logistic regression per label against the rest; `y` is 0 or 1, (n, labels).

    Returns:
        a head with an output per label, whose logistic function gives its probability. A label that all rows
        have, or that no row has, gets its smoothed log-odds as a constant output.
    """
    columns = [_one_label(x, y[:, number].astype(np.int64), C, balance) for number in range(y.shape[1])]
    return Linear(
        np.stack([column.weight[:, 0] for column in columns], axis=1),
        np.array([column.bias[0] for column in columns], np.float32),
        all(column.converged for column in columns),
    )


def _one_label(x: F32, y: I64, C: float, balance: Balance) -> Linear:
    hits = int(y.sum())
    if 0 < hits < len(y):
        model, converged = _logistic(x, y, C, balance)
        return Linear(model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32), converged)
    odds = np.log((hits + 0.5) / (len(y) - hits + 0.5))
    return Linear(np.zeros((x.shape[1], 1), np.float32), np.array([odds], np.float32))


def fit_values(x: F32, y: NDArray[np.float64], C: float) -> Linear:
    """Fit a ridge regression to the numbers `y` (n,), with alpha = 1 / C; one output."""
    model = Ridge(alpha=1 / C).fit(x.astype(np.float64), y)
    return Linear(
        np.asarray(model.coef_, np.float32).reshape(-1, 1), np.array([model.intercept_], np.float32)
    )


def _logistic(x: F32, y: I64, C: float, balance: Balance) -> tuple[Any, bool]:
    model = LogisticRegression(C=C, class_weight=balance, max_iter=_MAX_STEPS)
    with silenced(ConvergenceWarning):  # `converged` reports it
        model.fit(x, y)
    return model, int(np.max(model.n_iter_)) < _MAX_STEPS


def grid(task: str) -> Sequence[float]:
    """Return the values of C to choose from, the strongest regularisation first."""
    return RIDGE_CS if task == "regress" else CS


def regularisation(task: str, C: float | None) -> dict[str, float | None]:
    """Return C as results report it: `C` for a classifier, `alpha`, its inverse, for a ridge regression.

    >>> regularisation("regress", 1e-5)
    {'C': None, 'alpha': 100000.0}
    """
    if task != "regress" or C is None:
        return {"C": C, "alpha": None}
    return {"C": None, "alpha": float(f"{1 / C:.12g}")}
