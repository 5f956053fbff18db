"""align: the words of parallel texts, aligned at every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise._util.paths import local_path
from layerwise._util.progress import Callback, tracking
from layerwise._util.threads import choose
from layerwise.arguments import argument
from layerwise.choices import ALIGNMENT_FORMATS, one_of, whole_number
from layerwise.encode.computing import computing
from layerwise.encode.load import model_of
from layerwise.errors import RequestError
from layerwise.geometry.word_alignment.formats import line_format
from layerwise.geometry.word_alignment.methods import chosen_methods
from layerwise.geometry.word_alignment.run import Aligner, AlignPlan
from layerwise.layers import LayerSpec, resolve_layers
from layerwise.options import AlignOptions, LoadOptions, check_types, part
from layerwise.read.gold_links import check_gold, may_count_from_one, read_gold
from layerwise.read.parallel_texts import counted, open_parallel
from layerwise.store import disk
from layerwise.store.line_file import line_file
from layerwise.wording import Message

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.geometry.word_alignment.result import Alignment


def align(
    a: Any,
    b: Any = None,
    *,
    out: str | Path | None = None,
    model: str | Path | Encoder = "minilm",
    revision: str | None = None,
    device: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    adapter: str | Path | None = None,
    batch_tokens: int | None = None,
    text: str | Sequence[str] | None = None,
    encoding: str = "utf-8",
    raw: bool = False,
    layers: LayerSpec = "all",
    method: str | Sequence[str] = (),
    centre: bool = False,
    gold: Any = None,
    gold_base: int = 0,
    to: str = "jsonl",
    seed: int = 0,
    progress: Callback | None = None,
    threads: int | None = None,
) -> Alignment:
    """Link the words of sentence pairs that translate each other, at every layer, and score the links against gold links.

    Every layer comes from one forward of each side; with `centre` and more text than fits into memory, from two. No prompt
    is put before the sentences.

    Args:
        a, b: two files with a sentence per line, or two lists of strings or of lists of words. Without `b`, a file, or a
            list of strings, with `|||` between the sides of each line; or a table with `text`.
        out: a new file for the links; by default the result holds them.
        model: a name for `load_encoder`, or an encoder; one that was trained on the languages of both sides.
        revision, device, allow_pickle, trust_remote_code, adapter: see `load_encoder`.
        batch_tokens: see `Encoder.request`.
        text: the two columns of a table that hold the sides, `a,b`.
        encoding: the encoding of files.
        raw: split sentences into words as `Encoder.encode` does; by default words stand between blanks.
        layers: a layer string, a name, a number, or a list of these.
        method: `argmax`, `itermax`, `match`, `softmax`, or several; argmax by default.
        centre: subtract the mean of all tokens of each side first.
        gold: a file, or a list, with a line of links per pair: `3-4` sure, `3p4` possible.
        gold_base: the number of the first word in the gold links, 0 or 1.
        to: the format of `out`: `jsonl`, or `pharaoh` for one layer and one method.
        seed: the seed of the halves that the advice uses, and of intervals.
        progress: called with the progress; see `lw.Progress`.
        threads: number of threads to compute with; see `lw.extract`.

    Returns:
        the error rates, or without gold the agreement of both directions, by method and layer.

    Raises:
        LayerwiseError: in one line, what can't be done and what to do.
    """
    options = AlignOptions(
        model=model,
        revision=revision,
        device=device,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
        adapter=adapter,
        batch_tokens=batch_tokens,
        text=text,
        encoding=encoding,
        raw=raw,
        layers=layers,
        method=method,
        centre=centre,
        gold=gold,
        gold_base=gold_base,
        to=to,
        seed=seed,
    )
    check_types(AlignOptions, vars(options))
    choose(threads)
    methods = chosen_methods(method)
    one_of("to", to, ALIGNMENT_FORMATS)
    whole_number("seed", seed, 0)
    _check_sources(a, b, gold, gold_base)
    target = None if out is None else local_path(out)
    if target is not None:
        disk.check_new(target)
    texts = open_parallel(a, b, text=text, encoding=encoding, raw=raw)
    links = None if gold is None else read_gold(gold, gold_base, encoding)
    total = counted(texts)
    if links is not None:
        check_gold(links, texts, gold_base)
    with computing(threads), tracking(progress) as track:
        encoder = model_of(model, **part(options, LoadOptions))
        _check_offsets(encoder, raw=raw)
        names = resolve_layers(layers, encoder.blocks)
        to_line = line_format(to, methods, names)
        encode = partial(encoder.encode, layers=names, level="token", prompt="", batch_tokens=batch_tokens)
        plan = AlignPlan(names, encoder.width, methods, centre, links, seed)
        aligner = Aligner(texts, encode, plan)
        pairs = aligner.pairs(total, track)
        if target is None:
            result = aligner.result(list(pairs))
        else:
            with line_file(target) as write:
                for pair in pairs:
                    write(to_line(pair))
                result = aligner.result()
    notes = result.notes
    if links is not None and gold_base == 0 and may_count_from_one(links):
        notes += (Message("align.note.base", option=argument("gold_base", 1)),)
    return replace(result, notes=notes, provenance={"model": encoder.description})


def _check_offsets(encoder: Encoder, *, raw: bool) -> None:
    """Raise RequestError for words of our splitter and a tokenizer that doesn't tell where its tokens are."""
    if raw and not encoder.tokenizer.has_offsets:
        raise RequestError(
            f"{argument('raw', True)} finds the tokens of a word by their offsets, and the tokenizer of "
            f"{encoder.checkpoint.name!r}, which is written in Python, gives none; leave it out, and put blanks between words"
        )


def _check_sources(a: Any, b: Any, gold: Any, gold_base: int) -> None:
    """Raise RequestError for two sources that are both stdin, or the base of gold links that aren't given."""
    if sum(isinstance(source, str) and source == "-" for source in (a, b, gold)) > 1:
        raise RequestError(
            "- is stdin, which can be read once, and is given twice; name a file for one of them"
        )
    if gold is None and gold_base:
        raise RequestError(
            f"{argument('gold_base', gold_base)} only applies to gold links; give {argument('gold')} with it"
        )
