"""Which tokens a token attends to, by the masks that transformers describes: a check of very long texts.

A packed batch has no masks; its attention gets a window, if the family passes one. Where the reach of a block is
longer than all probes (`probes`), comparing vectors can't show that a family passes none (chunks), or another one than
its masks have. But transformers describes masks by a function of two positions, also for texts of the maximum length,
before the first block. While ways of running a model are compared, these functions are evaluated at a few positions.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Reach:
    """A band of tokens: whether later ones are left out, and the window, keeping |i - j| < window (None for all)."""

    causal: bool
    window: int | None

    def within(self, tokens: int) -> "Reach":
        """Return the reach in a text of so many tokens."""
        return Reach(self.causal, None if self.window is None or self.window >= tokens else self.window)


@dataclass
class Reaches:
    """What was recorded.

    Attributes:
        attention: the reach of each kind of attention that was computed.
        masks: for each length of texts the reach of each of its masks; None for one that is no band.
    """

    attention: set[Reach] = field(default_factory=set)
    masks: dict[int, set[Reach | None]] = field(default_factory=dict)

    def agree(self) -> bool:
        """Return whether attention reaches what the masks of the longest text describe; True where there are none."""
        if not self.masks:
            return True
        tokens = max(self.masks)
        masks = self.masks[tokens]
        return None not in masks and {reach.within(tokens) for reach in self.attention} <= masks


class _Recording(threading.local):
    reaches: Reaches | None = None


_RECORDING = _Recording()


@contextmanager
def recorded() -> Iterator[Reaches]:
    """Record what forwards of this thread in the block attend to."""
    before, reaches = _RECORDING.reaches, Reaches()
    _RECORDING.reaches = reaches
    try:
        yield reaches
    finally:
        _RECORDING.reaches = before


def record_attention(causal: bool, window: int | None) -> None:
    """Record that attention of this reach was computed."""
    if _RECORDING.reaches is not None:
        _RECORDING.reaches.attention.add(Reach(causal, window))


def record_mask(mask_function: Callable[..., Any] | None, tokens: int) -> None:
    """Record the mask of one text of so many tokens, given as the function of transformers."""
    if _RECORDING.reaches is not None and mask_function is not None:
        _RECORDING.reaches.masks.setdefault(tokens, set()).add(band(mask_function, tokens))


def band(mask_function: Callable[..., Any], tokens: int) -> Reach | None:
    """Return the reach that a mask describes, by a few tokens of a text; None if it is no band.

    Args:
        mask_function: takes the numbers of a batch, a head, a token and the tokens that it may attend to.
        tokens: of the text.
    """
    keys = torch.arange(tokens)
    allowed = {
        query: torch.as_tensor(mask_function(0, 0, torch.tensor(query), keys)).expand(tokens)
        for query in sorted({0, tokens // 3, tokens // 2, tokens - 1})
    }
    last, first = allowed[tokens - 1], allowed[0]
    causal = tokens > 1 and not bool(first[1:].any())
    count = int(last.sum())
    reach = Reach(causal, None if count == tokens else count)
    width = tokens if reach.window is None else reach.window
    for query, row in allowed.items():
        distances = query - keys
        expected = (distances.abs() < width) & ((distances >= 0) | (not causal))
        if not torch.equal(row.bool(), expected):
            return None
    return reach
