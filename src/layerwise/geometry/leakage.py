"""What vectors give away: the measures of leakage as jobs, each worded as a lower bound by a simple attacker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from layerwise._util.progress import Tracker
from layerwise.arguments import argument
from layerwise.array_types import F32, F64, I64
from layerwise.columns import column_values, is_present
from layerwise.errors import RequestError
from layerwise.geometry.analysis import Measured
from layerwise.geometry.attacks import (
    TokenSets,
    centred_table,
    clustered_interval,
    guessed_classes,
    recovered,
    trained_queries,
)
from layerwise.geometry.sample import Sample
from layerwise.wording import Message

PREFIX = "leakage"
ATTRIBUTE = f"{PREFIX}_attribute:"
TOKENS = (f"{PREFIX}_tokens_untrained", f"{PREFIX}_tokens_trained", f"{PREFIX}_tokens_unseen")
WORDS = f"{PREFIX}_words"
_COMMON = 0.05  # a token of a larger share of the texts is no content word
_CLASSES, _TEXTS_PER_CLASS = 20, 5  # columns with more values, or fewer texts for a value, aren't attributes
_FOLDS = 5
_OURS = (
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


@dataclass(frozen=True, slots=True, eq=False)
class Attacker:
    """What an attacker knows, and the truth that the attack is scored against.

    Attributes:
        table: the embeddings of all tokens, float32 (V, d); it is overwritten.
        tokens: an index of level token of the sampled texts: `doc`, `token_id`, `word`, `special`.
        special: the numbers of special tokens.
    """

    table: F32
    tokens: pa.Table
    special: I64


AttackerOf = Callable[[I64], tuple[F32, pa.Table, I64]]
"""Gives the fields of an `Attacker` for texts by their numbers, ascending; called only if a measure needs one."""


class Leakage:
    """The attacks on the layers of a sample."""

    def __init__(self, sample: Sample, layers: Sequence[F32], attacker: AttackerOf | None, seed: int) -> None:
        self.sample, self.layers, self.attacker, self.seed = sample, layers, attacker, seed
        self.docs = sample.docs
        texts = np.unique(self.docs)
        fitted = np.random.default_rng(seed).permutation(texts)[: len(texts) // 2]
        self.fit = np.flatnonzero(np.isin(self.docs, fitted))
        self.test = np.flatnonzero(~np.isin(self.docs, fitted))
        self._truth: _Truth | None = None
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
        if named:
            return named
        carried = [name for name in self.sample.texts.column_names if name not in _OURS]
        chosen = [name for name in carried if self._is_attribute(name)]
        left_out = [repr(name) for name in carried if name not in chosen]
        if left_out:
            notes.append(
                Message("note.leakage.columns", columns=left_out, most=_CLASSES, least=_TEXTS_PER_CLASS)
            )
        return chosen

    def _is_attribute(self, column: str) -> bool:
        values = self.sample.texts[column].to_pylist()
        if any(isinstance(value, list | dict) for value in values):
            return False
        counts = Counter(str(value).strip() for value in values if is_present(value))
        return 2 <= len(counts) <= _CLASSES and min(counts.values()) >= _TEXTS_PER_CLASS

    @property
    def truth(self) -> _Truth:
        """The tokens of the rows, and the table; made once, at the first job that needs them."""
        if self._truth is None:
            assert self.attacker is not None
            self._truth = _Truth.of(self.sample, Attacker(*self.attacker(np.unique(self.docs))), self.fit)
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

    def _attack(self, name: str, truth: _Truth, place: int) -> tuple[float, float, float]:
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

    def _floor(self, name: str, truth: _Truth) -> float:
        """Return what is right if the commonest tokens of the known texts are always guessed."""
        if name == TOKENS[2] or not len(self.fit) or not len(self.test):
            return 1 / len(truth.entries)
        known = truth.sets.take(self.fit)
        order = [token for token, _ in Counter(known.ids.tolist()).most_common()]
        wanted = truth.tested
        shares = [
            np.isin(wanted.ids[begin:end], order[: end - begin]).mean()
            for begin, end in zip(wanted.begins, wanted.begins[1:], strict=False)
            if end > begin
        ]
        return float(np.mean(shares)) if shares else float("nan")

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
    if len(layer) == texts:
        return layer[np.argsort(of_text, kind="stable")]
    sums = np.zeros((texts, layer.shape[1]), np.float64)
    np.add.at(sums, of_text, layer)
    means: F32 = (sums / np.bincount(of_text, minlength=texts)[:, None]).astype(np.float32)
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
    known: dict[str, Any] = {}
    if floor is not None:
        known = {"floor": np.full(len(values), floor), "floor_of": Message("note.floor.commonest")}
    return Measured(values, unit, source, low=low, high=high, note=note, **known)


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    """The entries of the table, the tokens of each row, and what a map should give.

    `sets` are all rows, `tested` the test rows; `unseen`, bool (test rows,), is true for those without a token of the known
    texts; `goals` are float32 (n, d); `excluded` is never an answer.
    """

    entries: F32
    sets: TokenSets
    goals: F32
    tested: TokenSets
    unseen: NDArray[np.bool_]
    excluded: I64 | None

    @classmethod
    def of(cls, sample: Sample, attacker: Attacker, fit: I64) -> _Truth:
        sets = token_sets(sample, attacker.tokens)
        excluded = None
        if sample.level == "text":
            common = _common(sets)
            sets = sets.keep(~np.isin(sets.ids, common))
            excluded = np.unique(np.concatenate([common, attacker.special]))
        goals = _means(attacker.table, sets)
        test = np.flatnonzero(~np.isin(np.arange(sample.rows), fit))
        tested = sets.take(test)
        seen = tested.row_of_id[np.isin(tested.ids, sets.take(fit).ids)]
        unseen = ~np.isin(np.arange(len(test)), seen)
        return cls(centred_table(attacker.table), sets, goals, tested, unseen, excluded)


def _common(sets: TokenSets) -> I64:
    """Return the tokens of more than one text in twenty, which are no content words."""
    ids, counts = np.unique(sets.ids, return_counts=True)
    return ids[counts > max(1.0, _COMMON * len(sets.counts))]


def _means(table: F32, sets: TokenSets) -> F32:
    """Return the mean entry of the tokens of each row, float32 (n, d); 0 for a row without any."""
    sums = np.zeros((len(sets.counts), table.shape[1]), np.float32)
    np.add.at(sums, sets.row_of_id, table[sets.ids])
    means: F32 = sums / np.maximum(sets.counts, 1)[:, None].astype(np.float32)
    return means


def token_sets(sample: Sample, tokens: pa.Table) -> TokenSets:
    """Return the tokens of each row of a sample, from an index of the tokens of its texts, without special ones.

    Raises:
        RequestError: the tokens don't fit the rows, since the texts aren't those of the dataset.
    """
    tokens = tokens.filter(pc.invert(tokens["special"]))
    docs, ids = (tokens[name].to_numpy().astype(np.int64) for name in ("doc", "token_id"))
    rows = np.arange(sample.rows)
    if sample.level == "token":
        fits = np.array_equal(docs, sample.docs)
        stored = sample.index["token_id"].to_numpy() if "token_id" in sample.index.column_names else ids
        if not fits or not np.array_equal(stored, ids):
            raise _other_texts()
        return TokenSets.of(rows, ids, sample.rows)
    if sample.level == "text":
        place = np.searchsorted(sample.docs, docs)
        return TokenSets.of(place, ids, sample.rows)
    words = sample.index["word"].to_numpy()
    number = {pair: row for row, pair in enumerate(zip(sample.docs.tolist(), words.tolist(), strict=True))}
    pairs = list(zip(docs.tolist(), tokens["word"].to_pylist(), strict=True))
    place = np.array([number.get(pair, -1) for pair in pairs], np.int64)
    if not np.isin(rows, place).all():
        raise _other_texts()
    return TokenSets.of(place[place >= 0], ids[place >= 0], sample.rows)


def _other_texts() -> RequestError:
    return RequestError(
        "the texts have other tokens than the rows of the dataset, so they aren't those that it was made from; "
        f"give these in {argument('source')}"
    )
