"""What vectors give away: the measures of leakage as jobs, each worded as a lower bound by a simple attacker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from layerwise._util.progress import Tracker
from layerwise.arguments import argument
from layerwise.array_types import F32, F64, I64
from layerwise.columns import column_values, is_present
from layerwise.errors import RequestError
from layerwise.geometry.analysis import Measured
from layerwise.geometry.attacks import (
    clustered_interval,
    guessed_classes,
    recovered,
    trained_queries,
)
from layerwise.geometry.sample import Sample
from layerwise.geometry.token_truth import Attacker, AttackerOf, Truth
from layerwise.wording import Message

PREFIX = "leakage"
ATTRIBUTE = f"{PREFIX}_attribute:"
TOKENS = (f"{PREFIX}_tokens_untrained", f"{PREFIX}_tokens_trained", f"{PREFIX}_tokens_unseen")
WORDS = f"{PREFIX}_words"
_CLASSES, _TEXTS_PER_CLASS = 20, 5  # columns with more values, or fewer texts for a value, aren't attributes
_FOLDS = 5
_OWN_COLUMNS = (
    "doc",
    "id",
    "source",
    "line",
    "text",
    "words",
    "tokens",
    "unknown",
    "windows",
    "truncated",
    "document",
    "context_before",
    "context_after",
    "part",
)


def needs() -> dict[str, str]:
    """Return what rows the measures need that don't apply to every dataset, by the name of the measure."""
    of_tokens = dict.fromkeys(TOKENS, f"rows of {argument('level', 'word')} or token")
    return {**of_tokens, WORDS: f"rows of {argument('level', 'text')}"}


class Leakage:
    """The attacks on the layers of a sample."""

    def __init__(self, sample: Sample, layers: Sequence[F32], attacker: AttackerOf | None, seed: int) -> None:
        self.sample, self.layers, self.attacker, self.seed = sample, layers, attacker, seed
        self.docs = sample.docs
        texts = np.unique(self.docs)
        fitted = np.random.default_rng(seed).permutation(texts)[: len(texts) // 2]
        self.fit = np.flatnonzero(np.isin(self.docs, fitted))
        self.test = np.flatnonzero(~np.isin(self.docs, fitted))
        self._truth: Truth | None = None
        self._trained: dict[
            int, F64
        ] = {}  # shares of the test rows by the place of a layer, for two measures

    def jobs(
        self, names: Sequence[str] | None, notes: list[Message]
    ) -> dict[str, Callable[[Tracker], Measured]]:
        """Return the measures that were asked for as jobs by name; none unless a name speaks of leakage."""
        if names is None or not any(PREFIX in name.lower() for name in names):
            return {}
        jobs: dict[str, Callable[[Tracker], Measured]] = {}
        if self.attacker is not None:
            of_tokens = (WORDS,) if self.sample.level == "text" else TOKENS
            jobs |= {name: partial(self._token_job, name) for name in of_tokens}
        for column in self._attributes(names, notes):
            jobs[ATTRIBUTE + column] = partial(self._attribute_job, column)
        return jobs

    def _attributes(self, names: Sequence[str], notes: list[Message]) -> list[str]:
        """Return the columns to guess: those that are named, else all that have few enough values."""
        named = [name.removeprefix(ATTRIBUTE) for name in names if name.startswith(ATTRIBUTE)]
        existing = dict.fromkeys([*self.sample.texts.column_names, *self.sample.index.column_names])
        for column in named:
            if column not in existing:
                raise RequestError(
                    f"there is no column {column!r} in the dataset; there are {', '.join(existing)}"
                )
            self._check_of_texts(column)
        if named:
            return named
        carried = [name for name in self.sample.texts.column_names if name not in _OWN_COLUMNS]
        chosen = [name for name in carried if self._is_attribute(name)]
        left_out = [repr(name) for name in carried if name not in chosen]
        if left_out:
            notes.append(
                Message("note.leakage.columns", columns=left_out, most=_CLASSES, least=_TEXTS_PER_CLASS)
            )
        return chosen

    def _check_of_texts(self, column: str) -> None:
        """Raise RequestError for a column with several values per text: texts are guessed, not words."""
        kind = (
            self.sample.texts.schema.field(column).type if column in self.sample.texts.column_names else None
        )
        if kind is None or pa.types.is_nested(kind):
            raise RequestError(
                f"{argument('measure', ATTRIBUTE + column)} needs a column with one value per text, and {column!r} has a value "
                "per word, or several; name another column"
            )

    def _is_attribute(self, column: str) -> bool:
        values = self.sample.texts[column].to_pylist()
        if any(isinstance(value, list | dict) for value in values):
            return False
        counts = Counter(str(value).strip() for value in values if is_present(value))
        return 2 <= len(counts) <= _CLASSES and min(counts.values()) >= _TEXTS_PER_CLASS

    @property
    def truth(self) -> Truth:
        """The tokens of the rows, and the table; made once, at the first job that needs them."""
        if self._truth is None:
            assert self.attacker is not None
            self._truth = Truth.of(self.sample, Attacker(*self.attacker(np.unique(self.docs))), self.fit)
        return self._truth

    def _token_job(self, name: str, track: Tracker) -> Measured:
        truth = self.truth
        results = []
        names = (f"layer {layer}" for layer in self.sample.layers)
        for place, _ in track.each(range(len(self.layers)), names):
            results.append(self._attack(name, truth, place))
        rows = len(self.docs) if name == TOKENS[0] else len(self.test)
        note = Message(
            "note.leakage.words" if name == WORDS else "note.leakage.tokens",
            rows=rows,
            fit=len(np.unique(self.docs[self.fit])),
        )
        unit = Message("unit.leakage.words" if name == WORDS else "unit.leakage.tokens")
        return _measured(results, unit, Message(f"source.{name}"), note, self._floor(name, truth))

    def _attack(self, name: str, truth: Truth, place: int) -> tuple[float, float, float]:
        layer = self.layers[place]
        if name == TOKENS[0]:
            if layer.shape[1] != truth.entries.shape[1]:
                return (float("nan"),) * 3
            queries = layer - layer.mean(axis=0, dtype=np.float64).astype(np.float32)
            return _scored(recovered(queries, truth.entries, truth.sets), self.docs)
        fit = self.fit[truth.sets.counts[self.fit] > 0]
        if not len(fit) or not len(self.test):
            return (float("nan"),) * 3
        if place not in self._trained:
            queries = trained_queries(layer, truth.goals, fit, self.test)
            self._trained[place] = recovered(queries, truth.entries, truth.tested, truth.excluded)
        shares = self._trained[place]
        if name == TOKENS[2]:
            shares = np.where(truth.unseen, shares, np.nan)
        return _scored(shares, self.docs[self.test])

    def _floor(self, name: str, truth: Truth) -> float:
        """Return what is right if the commonest tokens of the known texts are always guessed."""
        if name == TOKENS[2] or not len(self.fit) or not len(self.test):
            return 1 / len(truth.entries)
        tokens, counts = np.unique(truth.sets.take(self.fit).ids, return_counts=True)
        rank = np.full(len(truth.entries), len(truth.entries))
        rank[tokens[np.argsort(-counts, kind="stable")]] = np.arange(len(tokens))
        tested = truth.tested
        is_hit = rank[tested.ids] < tested.counts[tested.row_of_id]
        hits = np.bincount(tested.row_of_id, weights=is_hit, minlength=len(tested.counts))
        shares = hits[tested.counts > 0] / tested.counts[tested.counts > 0]
        return float(shares.mean()) if len(shares) else float("nan")

    def _attribute_job(self, column: str, track: Tracker) -> Measured:
        values, _ = column_values(self.sample, column)
        present = np.array([is_present(value) and not isinstance(value, list) for value in values], bool)
        texts, first, of_text = np.unique(self.docs, return_index=True, return_inverse=True)
        names = sorted({str(value).strip() for value, has in zip(values, present, strict=True) if has})
        number = {value: place for place, value in enumerate(names)}
        has = present[first]
        classes = np.array([number[str(values[row]).strip()] for row in first[has].tolist()], np.int64)
        if len(names) < 2 or len(classes) < 2 * _FOLDS:
            nothing = [(float("nan"),) * 3] * len(self.layers)
            note = Message("note.leakage.few", column=repr(column), n=len(classes), values=len(names))
            return _measured(
                nothing, Message("unit.leakage.attribute"), Message("source.leakage_attribute"), note
            )
        fold = np.random.default_rng(self.seed).permutation(len(classes)) % _FOLDS
        results = []
        for layer, _ in track.each(self.layers, (f"layer {name}" for name in self.sample.layers)):
            rows = _text_means(layer, of_text, len(texts))[has]
            results.append(_guessed(rows, classes, fold))
        note = Message("note.leakage.attribute", n=len(classes), values=len(names))
        floor = float(np.bincount(classes).max() / len(classes))
        unit = Message("unit.leakage.attribute")
        return _measured(results, unit, Message("source.leakage_attribute"), note, floor)


def _guessed(rows: F32, classes: I64, fold: I64) -> tuple[float, float, float]:
    hits = np.zeros(len(classes))
    for number in range(_FOLDS):
        test = np.flatnonzero(fold == number)
        hits[test] = guessed_classes(rows, classes, np.flatnonzero(fold != number), test) == classes[test]
    return clustered_interval(hits, np.arange(len(hits)))


def _text_means(layer: F32, of_text: I64, texts: int) -> F32:
    """Return the mean of the rows of each text, float32 (texts, d)."""
    order = np.argsort(of_text, kind="stable")
    if len(layer) == texts:
        return layer[order]
    begins = np.flatnonzero(np.diff(of_text[order], prepend=-1))
    sums = np.add.reduceat(layer[order], begins, axis=0, dtype=np.float64)
    means: F32 = (sums / np.bincount(of_text)[:, None]).astype(np.float32)
    return means


def _scored(shares: F64, docs: I64) -> tuple[float, float, float]:
    scored = ~np.isnan(shares)
    return clustered_interval(shares[scored], docs[scored])


def _measured(
    results: Sequence[tuple[float, ...]],
    unit: Message,
    source: Message,
    note: Message,
    floor: float | None = None,
) -> Measured:
    values, low, high = np.array(results, np.float64).T
    floors: dict[str, Any] = {}
    if floor is not None:
        floors = {"floor": np.full(len(values), floor), "floor_of": Message("note.floor.commonest")}
    return Measured(values, unit, source, low=low, high=high, note=note, **floors)
