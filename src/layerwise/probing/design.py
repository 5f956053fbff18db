"""Who trains on what and is scored on what: the same for every candidate."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import RequestError
from layerwise.labels.folds import Mask, stratified_folds
from layerwise.probing.batched_solver import Fits
from layerwise.states import I64

INNER = 3  # inner folds: they only choose, so fewer and larger ones will do
_BLOCKS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
_ORDERS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Outer:
    """One scored fit: its number, the rows that score it, and the fits and rows that choose for it."""

    fit: int
    test: I64
    inner: tuple[tuple[int, I64], ...]
    repeat: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A block of the online code: its rows, the fit on all rows before it (none for the first), how many those are."""

    rows: I64
    fit: int | None
    before: int


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """All fits of one candidate, and what each is for.

    Attributes:
        fits: the training sets, over n rows.
        outers: what is scored: a fold of a repeat each, or the one test set.
        controls: for each fit of the control task the place of the outer fit that it repeats with random
            labels, and the number of these among the targets.
        orders: the blocks of each order of the online code.
        fixed: whether the user's own split is scored, instead of folds.
        text: what was done, in words.
    """

    fits: Fits
    outers: tuple[Outer, ...]
    controls: tuple[tuple[int, int], ...]
    orders: tuple[tuple[Block, ...], ...]
    fixed: bool
    text: str

    def scored(self) -> "Design":
        """Return the outer fits and those that choose for them alone, without control tasks and codes."""
        kept = sorted({fit for o in self.outers for fit in (o.fit, *(number for number, _ in o.inner))})
        place = {old: new for new, old in enumerate(kept)}
        outers = tuple(
            replace(o, fit=place[o.fit], inner=tuple((place[number], rows) for number, rows in o.inner))
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


class Builder:
    """Collects training sets and gives them numbers."""

    def __init__(self, groups: I64, targets: NDArray[np.float32] | I64, count: int, *, spread: bool) -> None:
        """Begin with the group and the target of each row; `spread` deals classes evenly to folds."""
        self.groups, self.count = groups, count
        self.targets: list[NDArray[np.float32] | I64] = [targets]
        self.classes = np.asarray(targets, np.int64) if spread else None
        self._train: list[Mask] = []
        self._family: list[int] = []
        self._families = 0

    def family(self) -> None:
        """Begin a family: the fits that follow are judged together."""
        self._families += 1

    def fit(self, train: Mask) -> int:
        """Add a training set and return its number."""
        self._train.append(train)
        self._family.append(self._families)
        return len(self._train) - 1

    def fits(self) -> Fits:
        """Return all training sets."""
        family = np.array(self._family, np.int64)
        labels = np.zeros(len(family), np.int64)  # those of the task
        return Fits(np.array(self._train), np.stack(self.targets), labels, self.count, family)

    def folds(self, among: Mask, folds: int, seed: int) -> list[Mask]:
        """Cut the rows of a mask into held-out masks, by whole groups."""
        rows = np.flatnonzero(among)
        classes = self.classes[rows] if self.classes is not None else None
        out = []
        for held in stratified_folds(self.groups[rows], classes, folds, seed):
            mask = np.zeros(len(among), bool)
            mask[rows[held]] = True
            out.append(mask)
        return out

    def nested(self, train: Mask, test: Mask, repeat: int, seed: int) -> Outer:
        """Add an outer fit and the inner fits that choose for it."""
        self.family()
        inner = tuple(
            (self.fit(train & ~held), np.flatnonzero(held)) for held in self.folds(train, INNER, seed)
        )
        return Outer(self.fit(train), np.flatnonzero(test), inner, repeat)


def crossed(build: Builder, repeats: int, folds: int, seed: int, controls: list[I64]) -> Design:
    """Return repeated nested cross-validation; `controls` are random labels for as many repeats."""
    everything = np.ones(len(build.groups), bool)
    outers = []
    build.targets += controls
    for repeat in range(repeats):
        for number, held in enumerate(build.folds(everything, folds, _seed(seed, repeat))):
            outers.append(build.nested(~held, held, repeat, _seed(seed, repeat, number + 1)))
    random = [(place, o.repeat + 1) for place, o in enumerate(outers) if o.repeat < len(controls)]
    orders = _orders(build, everything, seed)
    text = f"{repeats} × {folds}-fold cross-validation, {INNER} inner folds choose"
    return Design(build.fits(), tuple(outers), tuple(random), orders, False, text)


def split(build: Builder, roles: NDArray[np.str_], seed: int, controls: list[I64]) -> Design:
    """Return the design of the user's own split: chosen on dev, scored once on test.

    Raises:
        RequestError: no test rows, or a group on both sides.
    """
    train, dev, test = (roles == name for name in ("train", "dev", "test"))
    if not test.any():
        raise RequestError(
            "--split: its column has no labelled row with the value test, on which to score; name another column, or "
            "leave --split out for cross-validation"
        )
    build.targets += controls

    if dev.any():
        build.family()
        number = build.fit(train)
        outer = Outer(number, np.flatnonzero(test), ((number, np.flatnonzero(dev)),))
    else:
        outer = build.nested(train, test, 0, _seed(seed, 0))
    random = tuple((0, number + 1) for number in range(len(controls)))
    chosen = "dev chooses" if dev.any() else f"{INNER} inner folds of train choose"
    counts = f"{train.sum():,} train, {dev.sum():,} dev, {test.sum():,} test"
    orders = _orders(build, train, seed)
    return Design(build.fits(), (outer,), random, orders, True, f"your own split ({counts} rows): {chosen}")


def _orders(build: Builder, among: Mask, seed: int) -> tuple[tuple[Block, ...], ...]:
    if build.count < 2:
        return ()
    orders = []
    for order in range(_ORDERS):
        build.family()
        blocks, before = [], np.zeros(len(among), bool)
        for rows in online_blocks(build.groups, among, build.count, _seed(seed, order, 1000)):
            seen = int(before.sum())
            blocks.append(Block(rows, build.fit(before.copy()) if seen else None, seen))
            before[rows] = True
        orders.append(tuple(blocks))
    return tuple(orders)


def online_blocks(groups: I64, among: Mask, classes: int, seed: int) -> list[I64]:
    """Return the rows of each block of an online code: whole groups in random order, at 0.1 … 100% of the rows.

    A block has at least max(2K, 16) rows; a rest that has fewer joins the last.
    Source: Voita and Titov 2020, section 3.2 (their fractions).
    """
    rows = np.flatnonzero(among)
    names, own = np.unique(groups[rows], return_inverse=True)
    rank = np.random.default_rng(seed).permutation(len(names))
    rows = rows[np.argsort(rank[own], kind="stable")]
    ordered = groups[rows]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) + 1  # ends of whole groups
    least, ends = max(2 * classes, 16), [0]
    for share in _BLOCKS:
        wanted = max(share * len(rows), ends[-1] + least)
        place = int(np.searchsorted(last, wanted))
        if place < len(last) and len(rows) - last[place] >= least:
            ends.append(int(last[place]))
    return [rows[a:b] for a, b in zip(ends, [*ends[1:], len(rows)], strict=True) if a < b]


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence([part % 2**32 for part in parts]).generate_state(1)[0])
