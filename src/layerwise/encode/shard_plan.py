"""Tokenise the texts of a shard, and plan their windows, rows and tables, before the model runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from layerwise import pooling
from layerwise.encode import rows as text_rows
from layerwise.encode.plan import Plan, make_plan
from layerwise.encode.request import Request
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


def plan_shard(
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    request: Request,
    first_doc: int,
    carried: Carried,
    spans: Sequence[Sequence[tuple[int, int]]] | None,
) -> PlannedShard:
    """Return the plan of a shard; arguments and errors as of `Encoder.plan`."""
    return plan_tokens(
        tokenizer, examples, tokenised(tokenizer, examples, [request]), request, first_doc, carried, spans
    )


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
                examples[texts],
                tokens[texts],
                request,
                texts.start,
                Carried(),
                None if spans is None else spans[texts],
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


def plan_tokens(
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    tokens_of_texts: Sequence[Tokens],
    request: Request,
    first_doc: int,
    carried: Carried,
    spans: Sequence[Sequence[tuple[int, int]]] | None,
) -> PlannedShard:
    """Return the plan of a shard whose texts are `tokenised`; the other arguments and errors as of `Encoder.plan`."""
    planned = []
    coverage: list[Coverage] = []
    rows = []
    counts = dict.fromkeys(text_rows.COUNTS, 0)
    for number, (example, tokens) in enumerate(zip(examples, tokens_of_texts, strict=True)):
        where = partial(_where, first_doc + number, example)
        keep_end = tokenizer.keeps_end if request.keep_end is None else request.keep_end
        cut = text_rows.cut(tokens, request, where, keep_end=keep_end)
        spans_of_text = spans[number] if spans is not None else None
        rows_of_text = text_rows.rows_of(example, cut.tokens, request, tokenizer, spans_of_text, where)
        planned.append((cut.tokens, cut.windows, pooling.choose(rows_of_text.groups, request.pool)))
        rows.append(rows_of_text.rows)
        unknown = int(np.count_nonzero(cut.tokens.unknown))
        counts_of_text = (len(cut.tokens), unknown, len(cut.windows), cut.truncated)
        coverage.append(Coverage(*counts_of_text, rows_of_text.special_only, not cut.tokens.body))
        text_rows.count(counts, coverage[-1], rows_of_text)
    return PlannedShard(
        make_plan(planned, types=tokenizer.takes_types),
        request,
        index_table(examples, rows, first_doc, request.level, carried),
        texts_table(examples, coverage, first_doc, request.level, carried),
        counts,
    )


def _tokens(tokenizer: Tokenizer, examples: Sequence[Example], prompt: str, *, located: bool) -> list[Tokens]:
    """Return the tokens of each text, in order, raw or pre-split; see `Tokenizer.texts`."""
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
