"""Losses of batched fits, with their derivatives by the scores; f is the number of fits, n that of rows."""

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(scores (f, columns, n), targets, shares of rows (f, n)) -> losses (f,), their derivatives by the scores"""


def cross_entropy(scores: Tensor, classes: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss (f,) and its derivative by the scores (f, columns, n), which overwrites them."""
    if scores.shape[1] == 1:
        flat, gold = scores[:, 0], (classes == 1).float()
        loss = (share * (torch.nn.functional.softplus(flat) - gold * flat)).sum(1)
        return loss, ((torch.sigmoid(flat) - gold) * share)[:, None]
    picked = classes[:, None]
    gold_scores = scores.gather(1, picked)[:, 0]
    highest = scores.amax(1, keepdim=True)
    scores.sub_(highest).exp_()
    total = scores.sum(1, keepdim=True)
    loss = (share * (highest[:, 0] + total[:, 0].log() - gold_scores)).sum(1)
    scores.mul_(share[:, None] / total)
    scores.scatter_add_(1, picked, -share[:, None])
    return loss, scores


def logistic(scores: Tensor, labels: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss, summed over labels (f,), and its derivative by the scores (f, K, n)."""
    weight = share[:, None]
    loss = (weight * (torch.nn.functional.softplus(scores) - labels * scores)).sum((1, 2))
    return loss, (torch.sigmoid(scores) - labels) * weight


def squared(scores: Tensor, targets: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return half the mean squared error (f,) and its derivative by the scores (f, 1, n)."""
    error = scores[:, 0] - targets
    slope = share * error
    return 0.5 * (slope * error).sum(1), slope[:, None]


def balanced(share: Tensor, classes: Tensor, count: int) -> Tensor:
    """Return the shares of rows (f, n), weighted so that each class that a fit has gets the same total; their sum stays.

    `classes` (f, n) are class numbers below `count`. Source: scikit-learn's `class_weight="balanced"`.
    """
    totals = torch.zeros(len(share), count, dtype=share.dtype).scatter_add_(1, classes, share)
    weights = torch.where(totals > 0, 1.0 / totals, 0.0) / (totals > 0).sum(1, keepdim=True)
    return share * weights.gather(1, classes)


def log_probabilities(scores: Tensor) -> Tensor:
    """Return natural log-probabilities (f, K, n) of scores (f, columns, n)."""
    if scores.shape[1] == 1:
        return torch.cat([-torch.nn.functional.softplus(scores), -torch.nn.functional.softplus(-scores)], 1)
    return torch.log_softmax(scores, 1)
