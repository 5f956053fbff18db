"""Sentences of a source with a word per row: consecutive rows with the same number of a sentence."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """Return whether values stand for sentences of several rows: repeated in the next row, or missing below the first."""
    return any(is_missing(value) or value == before for before, value in itertools.pairwise(values))


def is_missing(value: Any) -> bool:
    """Return whether a value is empty, null or NaN."""
    return value is None or value == "" or value != value


def is_single(value: Any) -> bool:
    """Return whether a text has at most one word, or a list at most one item; a missing value is none."""
    words = value.split() if isinstance(value, str) else value
    return is_missing(words) or (isinstance(words, list) and len(words) < 2)


def sentences(
    items: Iterable[Record | Skipped],
    column: str,
    whole: Sequence[str | None],
    tell_again: Callable[[int | None], None],
) -> Iterator[Record | Skipped]:
    """Yield a record per sentence; one bad row makes the whole sentence bad.

    Args:
        items: a record per word.
        column: the column that numbers sentences; an empty cell means the sentence of the row above.
        whole: the columns with one value per sentence, that of its first row; all others become lists.
        tell_again: called once, with its line, for a sentence whose number was another one's above.
    """
    rows: list[Record] = []
    bad: Skipped | None = None
    current: Any = None
    numbers: set[str] | None = set()
    for item in items:
        if isinstance(item, Skipped):
            bad = bad or item
            continue
        number = item.fields.get(column)
        if not is_missing(number) and number != current and (rows or bad):
            yield bad or _sentence(rows, column, current, whole)
            rows, bad = [], None
        if numbers is not None and not is_missing(number) and number != current:
            if repr(number) in numbers:
                tell_again(item.line)
                numbers = None
            else:
                numbers.add(repr(number))
        current = current if is_missing(number) else number
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
