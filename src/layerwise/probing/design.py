"""The design of a probe: training and test rows of every fit, the same for every candidate."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.errors import RequestError
from layerwise.labels.folds import stratified_folds
from layerwise.labels.labelled import Mask
from layerwise.probing.fits import Fits
from layerwise.wording import Message

INNER = 3  # inner folds only choose C and the candidate, so a few large ones are enough
_BLOCKS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class OuterFit:
    """A scored fit: its number, its test rows, and the inner fits and held-out rows that choose its C."""

    fit: int
    test: I64
    inner: tuple[tuple[int, I64], ...]
    repeat: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class CodeBlock:
    """A block of an online code: its rows, the fit on all rows before it (none for the first), the number of these."""

    rows: I64
    fit: int | None
    before: int


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """All fits of one candidate, and the use of each.

    Attributes:
        fits: the training sets, over n rows.
        outers: the scored fits: one per fold and repeat, or one for the test set.
        controls: for each fit of the control task, the index of the outer fit that it repeats with random
            labels, and the index of these labels in the targets.
        orders: the blocks of the online code in each random order.
        fixed: whether the test set of the user's own split is scored, instead of folds.
        text: a description of the design.
    """

    fits: Fits
    outers: tuple[OuterFit, ...]
    controls: tuple[tuple[int, int], ...]
    orders: tuple[tuple[CodeBlock, ...], ...]
    fixed: bool
    text: Message

    def scored_only(self) -> "Design":
        """Return the design with only the outer fits and their inner fits, without control tasks and codes."""
        kept = sorted({fit for o in self.outers for fit in (o.fit, *(number for number, _ in o.inner))})
        new_number = {old: new for new, old in enumerate(kept)}
        outers = tuple(
            replace(
                o, fit=new_number[o.fit], inner=tuple((new_number[number], rows) for number, rows in o.inner)
            )
            for o in self.outers
        )
        all_fits = self.fits
        fits = replace(
            all_fits,
            train=all_fits.train[kept],
            labels=all_fits.labels[kept],
            family=all_fits.family[kept],
        )
        return replace(self, fits=fits, outers=outers, controls=(), orders=())

    @property
    def n_train(self) -> float:
        """How many rows an outer fit trains on, on average."""
        return float(np.mean([self.fits.train[outer.fit].sum() for outer in self.outers]))

    @property
    def n_test(self) -> float:
        """How many rows score an outer fit, on average."""
        return float(np.mean([len(outer.test) for outer in self.outers]))


class DesignBuilder:
    """Collects training sets and numbers them."""

    def __init__(self, groups: I64, targets: NDArray[np.float32] | I64, count: int, *, spread: bool) -> None:
        """Store the group and the target of each row; with `spread`, each fold gets about the same share of each class."""
        self.groups, self.count = groups, count
        self.targets: list[NDArray[np.float32] | I64] = [targets]
        self.classes = _classes_to_spread(targets) if spread else None
        self._train: list[Mask] = []
        self._family: list[int] = []
        self._families = 0

    def family(self) -> None:
        """Begin a family: the fits added from now on end their paths together."""
        self._families += 1

    def fit(self, train: Mask) -> int:
        """Add a training set and return its number."""
        self._train.append(train)
        self._family.append(self._families)
        return len(self._train) - 1

    def fits(self) -> Fits:
        """Return all training sets."""
        family = np.array(self._family, np.int64)
        labels = np.zeros(len(family), np.int64)  # all learn the labels of the task
        return Fits(np.array(self._train), np.stack(self.targets), labels, self.count, family)

    def folds(self, mask: Mask, folds: int, seed: int) -> list[Mask]:
        """Cut the rows of a mask into masks of held-out rows, by whole groups."""
        rows = np.flatnonzero(mask)
        classes = self.classes[rows] if self.classes is not None else None
        out = []
        for held_out in stratified_folds(self.groups[rows], classes, folds, seed):
            held_mask = np.zeros(len(mask), bool)
            held_mask[rows[held_out]] = True
            out.append(held_mask)
        return out

    def nested(self, train: Mask, test: Mask, repeat: int, seed: int) -> OuterFit:
        """Add an outer fit and the inner fits that choose its C: all in the first repeat, later one of them."""
        self.family()
        folds = self.folds(train, INNER, seed)
        inner = tuple(
            (self.fit(train & ~held_out), np.flatnonzero(held_out))
            for held_out in (folds if repeat == 0 else folds[:1])
        )
        return OuterFit(self.fit(train), np.flatnonzero(test), inner, repeat)


def _classes_to_spread(targets: NDArray[Any]) -> I64:
    """Return a number per row (n,): its class, or which labels it has."""
    if targets.ndim == 1:
        return np.asarray(targets, np.int64)
    classes: I64 = np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)
    return classes


def crossed(
    builder: DesignBuilder, repeats: int, folds: int, seed: int, controls: list[I64], codes: int = 3
) -> Design:
    """Return the design of repeated nested cross-validation.

    `controls` has random labels for the first repeats; `codes` is the number of online codes.
    """
    everything = np.ones(len(builder.groups), bool)
    outers = []
    builder.targets += controls
    for repeat in range(repeats):
        for number, held_out in enumerate(builder.folds(everything, folds, _seed(seed, repeat))):
            outers.append(builder.nested(~held_out, held_out, repeat, _seed(seed, repeat, number + 1)))
    controlled = [(index, o.repeat + 1) for index, o in enumerate(outers) if o.repeat < len(controls)]
    orders = _orders(builder, everything, seed, codes)
    key = "design.folds.repeated" if repeats > 1 else "design.folds"
    text = Message(key, repeats=repeats, folds=folds, inner=INNER)
    return Design(builder.fits(), tuple(outers), tuple(controlled), orders, False, text)


def split(
    builder: DesignBuilder, roles: NDArray[np.str_], seed: int, controls: list[I64], codes: int = 3
) -> Design:
    """Return the design of the user's own split: C is chosen on dev, and test scores once.

    See `crossed` for `controls` and `codes`.

    Raises:
        RequestError: no test rows.
    """
    train, dev, test = (roles == name for name in ("train", "dev", "test"))
    if not test.any():
        raise RequestError(
            f"no row with a label has the value test in the column of {argument('split')}, so there is nothing to score; "
            "name another column, or leave it out for cross-validation"
        )
    builder.targets += controls

    if dev.any():
        builder.family()
        number = builder.fit(train)
        outer = OuterFit(number, np.flatnonzero(test), ((number, np.flatnonzero(dev)),))
    else:
        outer = builder.nested(train, test, 0, _seed(seed, 0))
    controlled = tuple((0, number + 1) for number in range(len(controls)))
    counts = {"train": int(train.sum()), "dev": int(dev.sum()), "test": int(test.sum())}
    key = "design.split.dev" if dev.any() else "design.split.folds"
    text = Message(key, inner=INNER, **counts)
    orders = _orders(builder, train, seed, codes)
    return Design(
        builder.fits(),
        (outer,),
        controlled,
        orders,
        True,
        text,
    )


def _orders(builder: DesignBuilder, mask: Mask, seed: int, codes: int) -> tuple[tuple[CodeBlock, ...], ...]:
    if builder.count < 2 or builder.targets[0].ndim == 2:
        return ()
    orders = []
    for order in range(codes):
        builder.family()
        blocks, before = [], np.zeros(len(mask), bool)
        for rows in online_blocks(builder.groups, mask, builder.count, _seed(seed, order, 1000)):
            rows_before = int(before.sum())
            fit = builder.fit(before.copy()) if rows_before else None
            blocks.append(CodeBlock(rows, fit, rows_before))
            before[rows] = True
        orders.append(tuple(blocks))
    return tuple(orders)


def online_blocks(groups: I64, mask: Mask, classes: int, seed: int) -> list[I64]:
    """Return the rows of each block of an online code: whole groups in random order, ending at 0.1 … 100% of the rows.

    A block has at least max(2K, 16) rows; fewer remaining rows are added to the last block.
    Source: Voita and Titov 2020, section 3.2 (their fractions).
    """
    rows = np.flatnonzero(mask)
    names, group_index = np.unique(groups[rows], return_inverse=True)
    rank = np.random.default_rng(seed).permutation(len(names))
    rows = rows[np.argsort(rank[group_index], kind="stable")]
    ordered = groups[rows]
    group_ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) + 1  # where a group ends
    min_rows, ends = max(2 * classes, 16), [0]
    for share in _BLOCKS:
        end = max(share * len(rows), ends[-1] + min_rows)
        index = int(np.searchsorted(group_ends, end))
        if index < len(group_ends) and len(rows) - group_ends[index] >= min_rows:
            ends.append(int(group_ends[index]))
    return [rows[a:b] for a, b in zip(ends, [*ends[1:], len(rows)], strict=True) if a < b]


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence([part % 2**32 for part in parts]).generate_state(1)[0])
