"""Spans that the user gives: for each text a list of pairs of offsets."""

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

from layerwise.arguments import argument
from layerwise.errors import RequestError

Spans = list[list[tuple[int, int]]]


def read_spans(spans: Any, texts: int) -> Spans:
    """Return the spans of each text as pairs of numbers.

    Args:
        spans: for each text its (start, end) pairs, in lists or arrays.
        texts: the number of texts.

    Raises:
        RequestError: another type, or spans of another number of texts.
    """
    of_texts = _items(spans, "spans", "give a list with the spans of each text, such as [[(0, 6), (10, 14)]]")
    if len(of_texts) != texts:
        raise RequestError(
            f"{argument('spans')} has the spans of {len(of_texts):,} texts and there are {texts:,}; give a list for each text, "
            "empty where it has none"
        )
    return [
        [
            _pair(pair, number)
            for pair in _items(pairs, f"spans of text {number}", "give its (start, end) pairs")
        ]
        for number, pairs in enumerate(of_texts)
    ]


def _items(value: Any, name: str, advice: str) -> list[Any]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise RequestError(f"{name} is {value!r:.60}, no list; {advice}")
    return list(value)


def _pair(pair: Any, number: int) -> tuple[int, int]:
    advice = "give a (start, end) pair of whole numbers, such as (0, 6)"
    ends = _items(pair, f"a span of text {number}", advice)
    if len(ends) != 2 or not all(isinstance(end, Integral) and not isinstance(end, bool) for end in ends):
        raise RequestError(f"a span of text {number} is {pair!r:.60}; {advice}")
    return int(ends[0]), int(ends[1])
