"""What an attacker on vectors knows, and the tokens that each row was made of, by which the attack is scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from layerwise.arguments import argument
from layerwise.array_types import F32, I64
from layerwise.errors import RequestError
from layerwise.geometry.attacks import TokenSets, centred_table
from layerwise.geometry.sample import Sample

_COMMON = 0.05  # a token of a larger share of the texts is no content word


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


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
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
    def of(cls, sample: Sample, attacker: Attacker, fit: I64) -> Truth:
        """Return the truth of a sample, of which the rows `fit` are known to the attacker."""
        sets = token_sets(sample, attacker.tokens)
        excluded = None
        if sample.level == "text":
            common = _common(sets)
            sets = sets.keep(~np.isin(sets.ids, common))
            excluded = np.unique(np.concatenate([common, attacker.special]))
        goals = _means(attacker.table, sets)
        test = np.flatnonzero(~np.isin(np.arange(sample.rows), fit))
        tested = sets.take(test)
        known_rows = tested.row_of_id[np.isin(tested.ids, sets.take(fit).ids)]
        unseen = ~np.isin(np.arange(len(test)), known_rows)
        return cls(centred_table(attacker.table), sets, goals, tested, unseen, excluded)


def _common(sets: TokenSets) -> I64:
    """Return the tokens of more than one text in twenty, which are no content words."""
    ids, counts = np.unique(sets.ids, return_counts=True)
    return ids[counts > max(1.0, _COMMON * len(sets.counts))]


def _means(table: F32, sets: TokenSets) -> F32:
    """Return the mean entry of the tokens of each row, float32 (n, d); 0 for a row without any."""
    sums = np.zeros((len(sets.counts), table.shape[1]), np.float32)
    np.add.at(sums, sets.row_of_id, table[sets.ids])
    means: F32 = (sums / np.maximum(sets.counts, 1)[:, None]).astype(np.float32)
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
