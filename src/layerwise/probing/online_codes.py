"""Online codes of one candidate: how many bits each takes, with each block's C chosen by the blocks before it.

The last block of a code has half of its rows, and nothing is chosen by it: it is fitted at its chosen C alone.
"""

from collections.abc import Sequence

import numpy as np

from layerwise.array_types import F32, F64, I64
from layerwise.probing.design import CodeBlock

_FIRST = 2  # position of C for the first fitted block of a code, which no earlier block chooses


class OnlineCodes:
    """The bits of each block of some codes at each C, and the solutions from which the last blocks start."""

    def __init__(self, orders: Sequence[Sequence[CodeBlock]], gold: I64, classes: int, Cs: int) -> None:
        """Begin without bits.

        Args:
            orders: the blocks of each code, of which the first is not fitted.
            gold: the class of each row, (n,).
            classes: the number of classes.
            Cs: the number of Cs.
        """
        self._orders, self._gold, self._classes = orders, gold, classes
        self._bits = [np.full((len(blocks), Cs), np.inf) for blocks in orders]
        self._places = {
            block.fit: (order, number)
            for order, blocks in enumerate(orders)
            for number, block in enumerate(blocks)
            if block.fit is not None
        }
        # The number of the code by the number of the fit.
        self.orders = {fit: order for fit, (order, _) in self._places.items()}
        # By order and position of C: the solution of the block before the last.
        self._solutions: dict[tuple[int, int], F32] = {}

    @property
    def followed(self) -> I64:
        """The numbers of the fits that are followed along the path of Cs, ascending: all but the last ones."""
        last = set(self.last)
        return np.array(sorted(fit for fit in self._places if fit not in last), np.int64)

    @property
    def last(self) -> list[int]:
        """The number of the last fit of each code that has any."""
        return [blocks[-1].fit for blocks in self._orders if blocks and blocks[-1].fit is not None]

    def add(self, fit: int, c_index: int, values: F32, parameters: F32 | None = None) -> None:
        """Take the log-probabilities (K, n) by a fit at a C, and its solution (size,)."""
        order, number = self._places[fit]
        block = self._orders[order][number]
        self._bits[order][number, c_index] = block_bits(values, self._gold[block.rows], block)
        if parameters is not None and number == len(self._orders[order]) - 2:
            self._solutions[order, c_index] = parameters.copy()

    def may_stop(self, order: int) -> bool:
        """Return whether the path of a code may end: its length, which changes smoothly, has become longer."""
        bits = self._bits[order][1:-1].sum(axis=0)
        bits = bits[np.isfinite(bits)]
        return len(bits) > _FIRST and bool(bits[-1] > bits.min())

    def chosen(self, fit: int) -> int:
        """Return the position of the C at which a fit codes its block."""
        order, number = self._places[fit]
        return _chosen(self._bits[order], number)

    def starts(self, fits: Sequence[int]) -> F32 | None:
        """Return solutions (fits, size) of the blocks before the last, at the chosen Cs; `None` where one is missing."""
        solutions = [self._solutions.get((self._places[fit][0], self.chosen(fit))) for fit in fits]
        kept = [solution for solution in solutions if solution is not None]
        return np.stack(kept) if len(kept) == len(fits) else None

    def lengths(self) -> list[float]:
        """Return the length of each code in bits."""
        first = [len(blocks[0].rows) * float(np.log2(self._classes)) for blocks in self._orders]
        return [code_bits(table, bits) for table, bits in zip(self._bits, first, strict=True)]


def block_bits(logp: F32, gold: I64, block: CodeBlock) -> float:
    """Return the code length in bits of a block's labels, given log-probabilities (K, n) of all rows.

    A class that no earlier row had would cost infinitely many bits, so the uniform distribution is mixed in with the
    weight of one row: p = (m · model + 1 / K) / (m + 1), m being the number of rows before the block.
    """
    chances = np.exp(logp[gold, block.rows].astype(np.float64))
    mixed = (block.before * chances + 1 / len(logp)) / (block.before + 1)
    return float(-np.log2(mixed).sum())


def code_bits(table: F64, first: float) -> float:
    """Return the length of an online code in bits.

    Each block is coded at the C with the fewest bits over all fitted blocks before it; the second block of the code,
    before which no block was fitted, at a C in the middle of the grid. The first block takes `first` bits.

    Args:
        table: bits (blocks, Cs) of every block at every C; its first row isn't used.
        first: bits of the first block, log2 K per label.
    """
    return first + sum(float(table[block, _chosen(table, block)]) for block in range(1, len(table)))


def _chosen(table: F64, block: int) -> int:
    """Return the position of the C at which a block is coded."""
    return int(table[1:block].sum(axis=0).argmin()) if block > 1 else _FIRST
