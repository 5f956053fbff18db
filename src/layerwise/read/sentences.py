"""Sentences of a source with a word per row: consecutive rows with the same number of a sentence."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from layerwise.read.record import Record, Skipped

WORD_NAMES = ("word", "token", "words", "tokens", "form")
_SENTENCE = re.compile(r"(sentence|sent)s?[ _.#-]*(id|ids|idx|index|no|nr|num|number)?[ _.#]*", re.IGNORECASE)


def sentence_column(names: Iterable[str]) -> str | None:
    """Return the column that numbers sentences, by its name (`Sentence #`, `sent_id`)."""
    return next((name for name in names if _SENTENCE.fullmatch(name.strip())), None)


def word_column(names: Iterable[str]) -> str | None:
    """Return the column of words, by its name (`Word`, `token`)."""
    return next((name for name in names if name.strip().lower() in WORD_NAMES), None)


def numbers_sentences(values: Sequence[Any]) -> bool:
    """Return whether values stand for sentences of several rows: repeated in the next row, or empty below the first."""
    return any(value in ("", None, before) for before, value in itertools.pairwise(values))


def sentences(
    items: Iterable[Record | Skipped], column: str, whole: Sequence[str | None]
) -> Iterator[Record | Skipped]:
    """Yield a record per sentence; one bad row makes the whole sentence bad.

    Args:
        items: a record per word.
        column: the column that numbers sentences; an empty cell means the sentence of the row above.
        whole: the columns with one value per sentence, that of its first row; all others become lists.
    """
    rows: list[Record] = []
    bad: Skipped | None = None
    current: Any = None
    for item in items:
        if isinstance(item, Skipped):
            bad = bad or item
            continue
        number = item.fields.get(column)
        if number not in ("", None) and number != current and (rows or bad):
            yield bad or _sentence(rows, column, current, whole)
            rows, bad = [], None
        current = current if number in ("", None) else number
        rows.append(item)
    if rows or bad:
        yield bad or _sentence(rows, column, current, whole)


def _sentence(rows: Sequence[Record], column: str, number: Any, whole: Sequence[str | None]) -> Record:
    first = rows[0]
    fields: dict[str, Any] = {}
    for name in first.fields:
        fields[name] = [row.fields.get(name) for row in rows]
        if name in whole:
            fields[name] = first.fields[name]
    return Record(first.line, {**fields, column: number})
