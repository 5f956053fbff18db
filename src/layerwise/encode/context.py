"""Put tokens of the neighbours in its document around each text, before the model runs; only its own tokens are rows.

The rows of a text are those that it has alone. Here only the places of its tokens change: the model reads the special tokens
and the prompt, what stands before the text, the text, what follows it, and the special tokens at the end. The text comes
first: neighbours get the room that it leaves in the window, half of it on each side, and what one side doesn't need goes
to the other.

In a causal model a token attends only to itself and to what stands before it. So where each text is to read its document
from the beginning, one pass over the document gives the rows of all its texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from layerwise import choices
from layerwise.alignment import Groups
from layerwise.arguments import argument
from layerwise.array_types import I64
from layerwise.encode.cuts import Cut
from layerwise.encode.plan import PlannedText
from layerwise.encode.request import Context, Request
from layerwise.encode.tokenizer import Tokens
from layerwise.errors import RequestError
from layerwise.example import Example, document_of

_NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class AddedContext:
    """How many tokens a text has before and after it, and whether it would have more in a larger window."""

    before: int
    after: int
    is_cut: bool


class _Side(NamedTuple):
    """The tokens of some neighbours, in order: their numbers and segments."""

    ids: I64
    types: I64


def context_of(value: Sequence[int] | str | int | None, room: int, *, causal: bool) -> Context | None:
    """Return the context of a request, or `None` for texts alone.

    Args:
        value: as `choices.read_context` takes it.
        room: tokens that a window has besides special tokens and the prompt.
        causal: whether each token of the model attends only to those before it.

    Raises:
        RequestError: no numbers of tokens, or more than a window has room for.
    """
    sides = choices.read_context(value)
    if sides is None:
        return None
    if sum(sides) > room:
        raise RequestError(
            f"{argument('context', choices.shown_context(sides))} is {sum(sides):,} tokens, and a window has room for {room:,} "
            f"besides its special tokens and prompt; give {room:,} or fewer, or a larger {argument('max_length')}"
        )
    return Context(*sides, in_one_pass=causal and not sides[1])


def documents(examples: Sequence[Example]) -> list[range]:
    """Return the numbers of the texts of each document; a text that is in none is alone.

    >>> documents([Example("a", columns={"document": name}) for name in ("x", "x", None, None, "y")])
    [range(0, 2), range(2, 3), range(3, 4), range(4, 5)]
    """
    begins = [0]
    for number in range(1, len(examples)):
        document = document_of(examples[number])
        if document is None or document != document_of(examples[number - 1]):
            begins.append(number)
    ends = [*begins[1:], len(examples)]
    return [range(begin, end) for begin, end in zip(begins, ends, strict=True) if begin < end]


def in_documents(
    examples: Sequence[Example],
    tokens_of_texts: Sequence[Tokens],
    cuts: Sequence[tuple[int, Cut, Groups]],
    request: Request,
) -> tuple[list[PlannedText], list[AddedContext]]:
    """Return texts with their context as the model reads them, and how much of it each has.

    Args:
        examples, tokens_of_texts: all texts, and the tokens of each.
        cuts: of each text that is encoded, in order: its number, its windows, and the tokens of each of its rows.
        request: has a context.
    """
    chosen = {number: (cut, groups) for number, cut, groups in cuts}
    planned: list[PlannedText] = []
    added: list[AddedContext] = []
    for numbers in documents(examples):
        document = _Document([tokens_of_texts[number] for number in numbers], request)
        texts = [(number - numbers.start, *chosen[number]) for number in numbers if number in chosen]
        added_to_texts = [document.added(number, cut) for number, cut, _ in texts]
        added += added_to_texts
        several = document.in_one_pass(texts, added_to_texts)
        planned += several or [
            document.surrounded(*text, each) for text, each in zip(texts, added_to_texts, strict=True)
        ]
    return planned, added


class _Document:
    """The texts of one document."""

    def __init__(self, texts: Sequence[Tokens], request: Request) -> None:
        assert request.context is not None
        self._context: Context = request.context
        self._max_length = request.max_length
        bodies = [slice(tokens.prefix, len(tokens) - tokens.suffix) for tokens in texts]
        pairs = list(zip(texts, bodies, strict=True))
        self._ids = np.concatenate([tokens.ids[body] for tokens, body in pairs])
        self._types = np.concatenate([tokens.types[body] for tokens, body in pairs])
        # Where each text begins among the tokens of all, and where the last one ends.
        self._borders = np.cumsum([0, *(tokens.body for tokens in texts)])

    def added(self, number: int, cut: Cut) -> AddedContext:
        """Return how much context a text has; none if it takes several windows, or is truncated."""
        begin, end = (int(border) for border in self._borders[number : number + 2])
        wanted_before = min(self._context.before, begin)
        wanted_after = min(self._context.after, len(self._ids) - end)
        room = max(self._max_length - cut.tokens.prefix - cut.tokens.suffix - (end - begin), 0)
        before = min(wanted_before, max(room - wanted_after, room - room // 2))
        after = min(wanted_after, room - before)
        return AddedContext(before, after, before + after < wanted_before + wanted_after)

    def surrounded(self, number: int, cut: Cut, groups: Groups, added: AddedContext) -> PlannedText:
        """Return a text between its neighbours."""
        tokens = cut.tokens
        if not added.before + added.after:
            return PlannedText(tokens, cut.windows, groups)
        begin, end = self._borders[number : number + 2]
        before, after = self._side(begin - added.before, begin), self._side(end, end + added.after)
        places = np.array([tokens.prefix, len(tokens) - tokens.suffix])
        ids, types = (
            np.concatenate([text[: places[0]], first, text[places[0] : places[1]], second, text[places[1] :]])
            for text, first, second in (
                (tokens.ids, before.ids, after.ids),
                (tokens.types, before.types, after.types),
            )
        )
        shifts = np.array([0, added.before, added.before + added.after])
        moved = groups.members + shifts[np.searchsorted(places, groups.members, side="right")]
        return PlannedText.of_one_window(ids, types, Groups(moved, groups.counts))

    def _side(self, begin: int, end: int) -> _Side:
        return _Side(self._ids[begin:end], self._types[begin:end])

    def in_one_pass(
        self, texts: Sequence[tuple[int, Cut, Groups]], added: Sequence[AddedContext]
    ) -> list[PlannedText]:
        """Return all texts in one window; nothing where that doesn't give the rows of each text between its neighbours."""
        if not self._context.in_one_pass or len(texts) < 2:
            return []
        first = texts[0][1].tokens
        head = first.ids[: first.prefix]
        for (number, cut, groups), each in zip(texts, added, strict=True):
            reaches_begin = each.before == self._borders[number] and not each.is_cut
            begins_alike = np.array_equal(cut.tokens.ids[: cut.tokens.prefix], head)
            # A token at the end would attend to the texts that follow.
            needs_end = bool((groups.members >= len(cut.tokens) - cut.tokens.suffix).any())
            if len(cut.windows) > 1 or cut.truncated or needs_end or not (reaches_begin and begins_alike):
                return []
        end = self._borders[texts[-1][0] + 1]
        members = [
            np.where(groups.members < len(head), groups.members, groups.members + self._borders[number])
            for number, _, groups in texts
        ]
        return [
            PlannedText.of_one_window(
                np.concatenate([head, self._ids[:end]]),
                np.concatenate([first.types[: len(head)], self._types[:end]]),
                Groups(np.concatenate(members), np.concatenate([groups.counts for _, _, groups in texts])),
            )
        ]
