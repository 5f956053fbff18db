"""Gold links of a word alignment: a line per sentence pair, `i-j` for sure links and `ipj` for possible ones."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.errors import RequestError, SourceError
from layerwise.read.files import find_files
from layerwise.read.lines import read_lines, without_end
from layerwise.read.parallel_texts import SentencePair, word_count
from layerwise.read.record import shown
from layerwise.texts import listed

Link = tuple[int, int]
_LINK = re.compile(r"(\d{1,9})([-p])(\d{1,9})", re.ASCII)
BASES = (0, 1)


@dataclass(frozen=True, slots=True)
class GoldLinks:
    """The gold links of a sentence pair, counted from 0; sure links are possible too.

    `place` is where they stand, for messages.
    """

    sure: frozenset[Link]
    possible: frozenset[Link]
    place: str


def read_gold(source: Any, base: int, encoding: str = "utf-8") -> list[GoldLinks]:
    """Return gold links, a line per sentence pair; an empty line has none.

    Args:
        source: the name of a file, or a list of such lines.
        base: the number of the first word in the source, 0 or 1.
        encoding: the encoding of the file.

    Raises:
        RequestError: another base.
        SourceError: a file that can't be read, something that is no link, a word before the first, or no link at all.
    """
    if base not in BASES or isinstance(base, bool):
        raise RequestError(
            f"{argument('gold_base', base)} doesn't exist; give 0 or 1, the number of the first word"
        )
    gold = [_links(place, text, base) for place, text in _lines(source, encoding)]
    if not any(links.possible for links in gold):
        raise SourceError(
            f"{argument('gold')} has no link in {count_of(len(gold), 'line')}; give gold links, or leave it out"
        )
    return gold


def _lines(source: Any, encoding: str) -> Iterable[tuple[str, str]]:
    if not isinstance(source, str | Path):
        yield from ((f"gold of text {number}", str(text)) for number, text in enumerate(listed(source)))
        return
    _, files = find_files(source, "txt")
    for file in files:
        for line in read_lines(file, encoding):
            place = f"{file.label}, line {line.number}"
            if line.wrong is not None:
                raise SourceError(f"{place}: {line.wrong}")
            yield place, without_end(line.text)


def _links(place: str, text: str, base: int) -> GoldLinks:
    sure, possible = set(), set()
    for item in text.split():
        match = _LINK.fullmatch(item)
        if match is None:
            raise SourceError(
                f"{place}: {shown(item)} is no link; write 3-4 for a sure link and 3p4 for a possible one, apart by blanks"
            )
        link = int(match[1]) - base, int(match[3]) - base
        if min(link) < 0:
            raise SourceError(
                f"{place}: {item} names word 0, and words are counted from 1; give {argument('gold_base', 0)} if they are "
                "counted from 0"
            )
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return GoldLinks(frozenset(sure), frozenset(possible), place)


def may_count_from_one(gold: Iterable[GoldLinks]) -> bool:
    """Return whether no link, counted from 0, names the first word of either side."""
    return all(min(link) > 0 for links in gold for link in links.possible)


def check_gold(gold: Sequence[GoldLinks], pairs: Iterable[SentencePair], base: int) -> None:
    """Check that there is a line of gold links for each sentence pair, and that they link words that exist.

    Raises:
        SourceError: more or fewer lines than pairs, or a word after the last; the message names the line.
    """
    count = 0
    for count, pair in enumerate(pairs, 1):
        if count <= len(gold):
            _check_line(gold[count - 1], pair, base)
    if count != len(gold):
        last = f" ({gold[-1].place} is its last)" if gold else ""
        raise SourceError(
            f"{argument('gold')} has {count_of(len(gold), 'line')}{last}, and there are "
            f"{count_of(count, 'sentence pair')}; give a line for each "
            "pair, an empty one where there is no link"
        )


def _check_line(gold: GoldLinks, pair: SentencePair, base: int) -> None:
    counts = word_count(pair.a), word_count(pair.b)
    for link in sorted(gold.possible):
        for word, words, side in zip(link, counts, "ab", strict=True):
            if word >= words:
                advice = f"; give {argument('gold_base', 1)} if they are counted from 1" if base == 0 else ""
                raise SourceError(
                    f"{gold.place}: {link[0] + base}-{link[1] + base} names word {word + base} of side {side}, which has "
                    f"{count_of(words, 'word')}, counted from {base}{advice}; see {pair.place}"
                )
