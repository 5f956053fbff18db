"""Pooling a dataset to a coarser level, without the model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from layerwise import alignment, choices, pooling
from layerwise._util.paths import place
from layerwise._util.progress import Tracker
from layerwise._util.versions import versions
from layerwise.arguments import argument
from layerwise.encode import rows as rowing
from layerwise.encode.rows import TextRows
from layerwise.encode.tokenizer import Tokens
from layerwise.errors import RequestError
from layerwise.extraction.stored_texts import StoredText, carried_as_stored, stored_columns, stored_texts
from layerwise.schema import index_table, texts_table
from layerwise.store import DatasetWriter, LayerDataset, open_dataset
from layerwise.store.manifest import Derived, Description, Tolerance
from layerwise.store.records import ColumnNames, Counts, ShardFacts
from layerwise.tolerance import STORED

_FINER = {"word": ("token",), "text": ("token", "word")}


@dataclass(frozen=True)
class _PoolRequest:
    """The options of an encoder's request that `rows_of` needs."""

    level: str
    pool: str | None
    special_tokens: bool
    word_split: str | None = None
    skip: int | None = None

    @staticmethod
    def cls_place(tokens: Tokens) -> int:
        if not tokens.prefix:
            raise RequestError(
                f"{argument('pool')} 'cls' needs a classification token at the beginning, and these texts have none; use mean"
            )
        return 0

    @staticmethod
    def names(ids: Sequence[int]) -> list[str]:
        """Never called: rows of tokens aren't pooled from others."""
        return [""] * len(ids)


def pool_dataset(
    finer: LayerDataset,
    out: str | Path,
    level: str,
    pool: str | None,
    *,
    special_tokens: bool,
    dtype: str | None,
    track: Tracker,
) -> LayerDataset:
    """Pool the rows of `finer`, and write them to the dataset `out`; see `api.pool`."""
    request = _check(finer, level, pool, special_tokens)
    dtype = choices.one_of("dtype", finer.dtype if dtype is None else dtype, choices.DTYPES)
    derived = Derived(manifest=finer.sha256, level=finer.level, pool=finer.pool)
    settings = replace(
        finer.manifest.settings,
        level=level,
        pool=request.pool,
        special_tokens=special_tokens,
        dtype=dtype,
        derived=derived,
    )
    numbers = range(finer.manifest.shards.count)
    with DatasetWriter(place(out), settings) as writer:
        steps = track.each(numbers, (f"shard {number}" for number in numbers))
        for (number, _), part in zip(steps, finer.parts(), strict=False):
            if number not in writer.committed:
                _write(writer, number, part, request, dtype)
        if not writer.finished:
            writer.finish(_description(finer, request, dtype, derived))
    return open_dataset(out)


def _check(finer: LayerDataset, level: str, pool: str | None, special_tokens: bool) -> _PoolRequest:
    choices.one_of("level", level, tuple(_FINER))
    word_split = finer.manifest.settings.word_split
    request = _PoolRequest(level, choices.fit_pool(level, pool), special_tokens, word_split)
    choices.fit_special(level, request.pool, special_tokens)
    if finer.level not in _FINER[level]:
        raise RequestError(
            f"{argument('level')} {level!r} can't be made from level {finer.level!r}; it needs a dataset of level "
            f"{' or '.join(_FINER[level])}"
        )
    needed = {"cls": "classification", "eos": "last special"}.get(request.pool or "")
    if finer.level == "word" and needed is not None:
        raise RequestError(
            f"{argument('pool')} {request.pool!r} needs the {needed} token, which a dataset of words doesn't hold; use mean"
        )
    if _lacks_prompt(finer, request):
        raise RequestError(
            f"{argument('pool')} {request.pool!r} includes the prompt {finer.manifest.settings.prompt!r:.60}, whose tokens a "
            f"dataset of tokens doesn't hold; use first, last, cls or eos, or extract with {argument('level', 'text')}"
        )
    if request.pool == "cls" and finer.manifest.model.causal:
        raise RequestError(
            f"{argument('pool')} 'cls' takes the first token, which in a causal model attends to no other; use eos or mean"
        )
    if level == "word" and "text" not in finer.texts.column_names:
        raise RequestError(
            f"words are looked up in the texts, and this dataset was made with {argument('no_text', True)}; extract with "
            f"{argument('level', 'word')}"
        )
    return request


def _lacks_prompt(finer: LayerDataset, request: _PoolRequest) -> bool:
    """Return whether a pool of texts needs the tokens of the prompt, which are no rows."""
    of_tokens = finer.level == "token" and request.level == "text"
    return (
        of_tokens and request.pool in ("mean", "max", "sum") and bool(finer.manifest.settings.include_prompt)
    )


def _write(writer: DatasetWriter, number: int, part: LayerDataset, request: _PoolRequest, dtype: str) -> None:
    start = time.perf_counter()
    columns = stored_columns(part)
    texts = stored_texts(part, columns)
    first_doc = part.texts["doc"][0].as_py()
    prompt_tokens = part.manifest.settings.prompt_tokens
    rows_of_texts = [
        _rows(text, _without_prompt(request, text, prompt_tokens), part.level, first_doc + number)
        for number, text in enumerate(texts)
    ]
    pairs = list(zip(texts, rows_of_texts, strict=True))
    coverage = [replace(text.coverage, special_only=rows.special_only) for text, rows in pairs]
    groups = alignment.concatenate(
        [pooling.choose(rows.groups, request.pool) for rows in rows_of_texts],
        [len(text.tokens) for text in texts],
    )
    into = writer.begin(part.layers, len(groups), part.widths, dtype, number)
    for layer in part.layers:
        into.put(layer, np.arange(len(groups)), pooling.reduce_array(part.layer(layer), groups, request.pool))
    counts = dict.fromkeys(rowing.COUNTS, 0)
    for covered, rows in zip(coverage, rows_of_texts, strict=True):
        rowing.count(counts, covered, rows)
    # What a window left out of contexts isn't in the tables.
    of_shard = next(iter(part.shards)).counts
    contexts = {"context_tokens": of_shard.context_tokens, "cut_contexts": of_shard.cut_contexts}
    facts = ShardFacts(
        input=None,
        counts=Counts.from_json({**counts, **contexts}),
        columns=ColumnNames(text=tuple(columns["text"]), word=tuple(columns["word"])),
        redacted=next(part.shards).redacted,
        seconds=round(time.perf_counter() - start, 3),
    )
    examples = [text.example for text in texts]
    carried = carried_as_stored(part, columns)
    into.commit(
        index_table(examples, [rows.rows for rows in rows_of_texts], first_doc, request.level, carried),
        texts_table(examples, coverage, first_doc, request.level, carried),
        facts,
    )


def _without_prompt(request: _PoolRequest, text: StoredText, prompt_tokens: int | None) -> _PoolRequest:
    """Return the request for a text of which the tokens of a prompt are no rows, and aren't pooled."""
    if prompt_tokens is None:
        return request
    # A token that begins in the prompt and ends in the text is a row, and counts among the tokens of the prompt alone.
    absent = text.coverage.tokens - len(text.tokens)
    return replace(request, skip=max(prompt_tokens - absent, 0))


def _rows(text: StoredText, request: _PoolRequest, level: str, doc: int) -> TextRows:
    if level == "word" and not len(text.tokens):
        raise RequestError(f"text {doc} has no word, so no row; pool a dataset of level token instead")
    return rowing.rows_of(text.example, text.tokens, request, request, None, lambda: f"text {doc}")


def _description(finer: LayerDataset, request: _PoolRequest, dtype: str, derived: Derived) -> Description:
    description = finer.manifest.part(Description)
    return replace(
        description,
        level=request.level,
        pool=request.pool,
        dtype=dtype,
        derived=derived,
        merged=None,
        tolerance=_loosened(description.tolerance, STORED[dtype]),
        versions=versions(),
    )


def _loosened(tolerance: Tolerance, rounding: float) -> Tolerance:
    """Return a tolerance plus the rounding error of storing the rows a second time."""
    layers = tolerance.layers
    if layers is not None:
        layers = {name: value + rounding for name, value in layers.items()}
    return replace(tolerance, value=tolerance.value + rounding, layers=layers)
