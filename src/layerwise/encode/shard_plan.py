"""Tokenise the texts of a shard, and plan their windows, rows and tables, before the model runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa

from layerwise import pooling
from layerwise.alignment import Groups
from layerwise.encode import rows as text_rows
from layerwise.encode.context import AddedContext, in_documents
from layerwise.encode.cuts import Cut, cut
from layerwise.encode.plan import Plan, PlannedText, make_plan
from layerwise.encode.request import Request
from layerwise.encode.rows import TextRows
from layerwise.encode.tokenizer import Tokenizer, Tokens
from layerwise.example import Example
from layerwise.schema import Carried, Coverage, index_table, texts_table


@dataclass(frozen=True)
class PlannedShard:
    """Texts ready for the model: the plan of their rows, the tables, and the counts (see `rows.COUNTS`)."""

    plan: Plan
    request: Request
    index: pa.Table
    texts: pa.Table
    counts: dict[str, int]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.plan.rows


@dataclass(frozen=True)
class ShardTexts:
    """The texts of a shard, and how their tables are made.

    Attributes:
        examples: the texts.
        first_doc: the number of the first one that is encoded.
        carried: which columns of the source the tables carry.
        spans: at span level, for each text its (start, end) pairs.
        only: the numbers of the texts that are encoded, in order; the others are only their context. None for all.
    """

    examples: Sequence[Example]
    first_doc: int = 0
    carried: Carried = field(default_factory=Carried)
    spans: Sequence[Sequence[tuple[int, int]]] | None = None
    only: Sequence[int] | None = None

    @property
    def encoded(self) -> Sequence[int]:
        """The numbers of the texts that are encoded."""
        return range(len(self.examples)) if self.only is None else self.only


def plan_shard(tokenizer: Tokenizer, texts: ShardTexts, request: Request) -> PlannedShard:
    """Return the plan of a shard; errors as of `Encoder.plan`."""
    return plan_tokens(tokenizer, texts, tokenised(tokenizer, texts.examples, [request]), request)


def plan_chunks(
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    requests: Sequence[Request],
    limit: int,
    spans: Sequence[Sequence[tuple[int, int]]] | None,
) -> list[list[PlannedShard]]:
    """Return the plans of texts in chunks of about `limit` tokens; arguments and errors as of `Encoder.plan_chunks`."""
    tokens = tokenised(tokenizer, examples, requests)
    return [
        [
            plan_tokens(
                tokenizer,
                ShardTexts(examples[texts], texts.start, spans=None if spans is None else spans[texts]),
                tokens[texts],
                request,
            )
            for request in requests
        ]
        for texts in _slices([len(tokens_of_text) for tokens_of_text in tokens], limit)
    ]


def _slices(sizes: Sequence[int], limit: int) -> list[slice]:
    """Cut a sequence into slices whose sizes add up to at most `limit`, each of at least one item.

    >>> _slices([3, 4, 9, 1], 7)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    slices: list[slice] = []
    begin = total = 0
    for end, size in enumerate(sizes):
        if end > begin and total + size > limit:
            slices.append(slice(begin, end))
            begin, total = end, 0
        total += size
    return [*slices, slice(begin, len(sizes))] if sizes else []


def tokenised(tokenizer: Tokenizer, examples: Sequence[Example], requests: Sequence[Request]) -> list[Tokens]:
    """Return the tokens of each text, with all that the rows of these requests need."""
    prompt = requests[0].prompt or ""
    # At text level no row needs the offsets of its tokens; they tell where a prompt ends.
    located = bool(prompt) or any(request.level != "text" for request in requests)
    return _tokens(tokenizer, examples, prompt, located=located)


def unknown_tokens(tokenizer: Tokenizer, examples: Sequence[Example], request: Request) -> tuple[int, int]:
    """Return how many tokens of texts are unknown to the model, and how many there are; errors as of `Tokenizer.texts`."""
    tokens_of_texts = tokenised(tokenizer, examples, [request])
    unknown = sum(int(np.count_nonzero(tokens.unknown)) for tokens in tokens_of_texts)
    return unknown, sum(map(len, tokens_of_texts))


def plan_tokens(
    tokenizer: Tokenizer, texts: ShardTexts, tokens_of_texts: Sequence[Tokens], request: Request
) -> PlannedShard:
    """Return the plan of a shard whose texts are `tokenised`; errors as of `Encoder.plan`."""
    cuts: list[tuple[int, Cut, Groups]] = []
    rows: list[TextRows] = []
    for place, number in enumerate(texts.encoded):
        example = texts.examples[number]
        where = partial(_where, texts.first_doc + place, example)
        keep_end = tokenizer.keeps_end if request.keep_end is None else request.keep_end
        of_text = cut(tokens_of_texts[number], request, where, keep_end=keep_end)
        spans_of_text = texts.spans[number] if texts.spans is not None else None
        rows.append(text_rows.rows_of(example, of_text.tokens, request, tokenizer, spans_of_text, where))
        cuts.append((number, of_text, pooling.choose(rows[-1].groups, request.pool)))
    coverage = [_coverage(each, of_text) for (_, each, _), of_text in zip(cuts, rows, strict=True)]
    added = None
    if request.context is None:
        planned = [PlannedText(each.tokens, each.windows, groups) for _, each, groups in cuts]
    else:
        planned, added = in_documents(texts.examples, tokens_of_texts, cuts, request)
        coverage = [
            replace(c, context_before=a.before, context_after=a.after)
            for c, a in zip(coverage, added, strict=True)
        ]
    return PlannedShard(
        make_plan(planned, types=tokenizer.takes_types),
        request,
        *_tables(texts, rows, coverage, request.level),
        _counts(coverage, rows, added),
    )


def _coverage(text: Cut, rows: TextRows) -> Coverage:
    unknown = int(np.count_nonzero(text.tokens.unknown))
    counts = (len(text.tokens), unknown, len(text.windows), text.truncated)
    return Coverage(*counts, rows.special_only, not text.tokens.own_body)


def _tables(
    texts: ShardTexts, rows: Sequence[TextRows], coverage: Sequence[Coverage], level: str
) -> tuple[pa.Table, pa.Table]:
    """Return the index and the texts of a shard."""
    examples, first_doc, carried = (
        [texts.examples[n] for n in texts.encoded],
        texts.first_doc,
        texts.carried,
    )
    return (
        index_table(examples, [of_text.rows for of_text in rows], first_doc, level, carried),
        texts_table(examples, coverage, first_doc, level, carried),
    )


def _counts(
    coverage: Sequence[Coverage], rows: Sequence[TextRows], added: Sequence[AddedContext] | None
) -> dict[str, int]:
    """Return the counts of a shard; those of contexts only where there are any."""
    counts = dict.fromkeys(text_rows.COUNTS, 0)
    for covered, of_text in zip(coverage, rows, strict=True):
        text_rows.count(counts, covered, of_text)
    if added is not None:
        counts["context_tokens"] = sum(each.before + each.after for each in added)
        counts["cut_contexts"] = sum(each.is_cut for each in added)
    return counts


def _tokens(tokenizer: Tokenizer, examples: Sequence[Example], prompt: str, *, located: bool) -> list[Tokens]:
    """Return the tokens of each text, in order, raw or pre-split; see `Tokenizer.texts`."""
    if examples and examples[0].pair is not None:
        return tokenizer.pairs([e.texts for e in examples], located=located, prompt=prompt)
    raw = [n for n, e in enumerate(examples) if e.words is None]
    if len(raw) == len(examples):
        return tokenizer.texts([e.text for e in examples], located=located, prompt=prompt)
    split = [n for n, e in enumerate(examples) if e.words is not None]
    tokens_of_texts = tokenizer.texts([examples[n].text for n in raw], located=located, prompt=prompt)
    tokens_of_texts += tokenizer.words([examples[n].words or () for n in split], prompt=prompt)
    by_number = dict(zip(raw + split, tokens_of_texts, strict=True))
    return [by_number[number] for number in range(len(examples))]


def _where(doc: int, example: Example) -> str:
    """Return the name of a text, for an error."""
    return f"text {doc}" + (f" ({example.where})" if example.source else "")
