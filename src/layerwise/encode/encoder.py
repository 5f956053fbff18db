"""The encoder: a model with its tokenizer, which gives the layers of texts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from layerwise import choices
from layerwise._util.threads import computing
from layerwise.arguments import argument, is_offered
from layerwise.array_types import F32
from layerwise.encode import checkpoint as checkpoints
from layerwise.encode import linear
from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.chunks import OnForward, TextChunk, run_chunks
from layerwise.encode.context import context_of
from layerwise.encode.cuts import no_room
from layerwise.encode.devices import check_process
from layerwise.encode.engine import Engine, PlainEngine
from layerwise.encode.gather import Memory, OnBatch, PlannedRows, run_plan
from layerwise.encode.hf import loading, reports
from layerwise.encode.identity import ModelIdentity
from layerwise.encode.int8_samples import calibration_texts
from layerwise.encode.probes import make_probes
from layerwise.encode.prompts import chosen_prompt, prompt_notes
from layerwise.encode.request import Loading, Request
from layerwise.encode.shard_plan import (
    PlannedShard,
    ShardTexts,
    plan_chunks,
    plan_shard,
    plan_tokens,
    tokenised,
)
from layerwise.encode.spans import read_spans
from layerwise.encode.tokenizer import Tokenizer
from layerwise.encode.transfer import Sink
from layerwise.errors import ModelError, RequestError
from layerwise.example import Example, clean
from layerwise.layers import LayerSpec, depth, in_order, layer_names, resolve_layers, site
from layerwise.schema import Carried
from layerwise.states import LayerStates
from layerwise.texts import listed, refuse
from layerwise.tolerance import COMPUTED
from layerwise.word_split import check_split
from layerwise.wording import Message

_BUDGET = {"cpu": 2048, "cuda": 32768, "mps": 8192}  # tokens of a batch


class Encoder:
    """A model with its tokenizer, which gives every layer of any text; created by `lw.load_encoder`.

    Several threads may use it at the same time.

    Attributes:
        layers: the names of all layers, `('emb', '1', …)`.
        sites: the names of all sites that can be encoded, `('value.1', 'attention.1', 'mlp.1', …)`.
        blocks, width: the number of blocks, and of numbers per vector.
        max_length: tokens that the model takes at once, special ones included.
        default_pool: the pooling that the model's folder states, else `mean`.
        prompts: the prompts that the model's folder states, by name.
        default_prompt: the name of the prompt that is used where none is given; None for none.
        causal: whether each token attends only to itself and to tokens before it, as in decoder-only models.
        device, precision: those that the model runs on and with.
        loading: the arguments that it was loaded with.
        home: the name, or the absolute folder, to load the same model by.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        loaded: loading.Loaded,
        loading: Loading,
        *,
        engine: type[Engine | PlainEngine] = Engine,
    ) -> None:
        self.checkpoint, self.loading = checkpoint, loading
        self.identity = ModelIdentity(checkpoint)
        # An absolute folder, because the working directory may have changed when the encoder is unpickled.
        self.home = str(checkpoints.local_folder(checkpoint.name) or checkpoint.name)
        self.device, self.precision = str(loading.device), loading.precision
        self.family: str = loaded.config.model_type
        self._unused, self._notes = loaded.unused, checkpoint.notes + loaded.notes
        self.tokenizer = Tokenizer(loaded, checkpoint.name)
        self.position_limit = loaded.max_length
        probes = make_probes(self.tokenizer, loaded, checkpoint.name)
        samples = calibration_texts(self.tokenizer, loaded) if self.precision == "int8" else None
        with reports.quiet():
            self._engine = engine(loaded, self.precision, probes, checkpoint.name, samples)
        self.blocks, self.width = self._engine.blocks, self._engine.width
        self.layers = layer_names(self.blocks)
        self.max_length = min(checkpoint.max_length or loaded.max_length, loaded.max_length)
        self.default_pool = checkpoint.pool or "mean"
        self.prompts = dict(checkpoint.prompts.texts)
        self.default_prompt = checkpoint.prompts.default
        self.final_norm, self.causal = self._engine.final_norm, self._engine.causal

    def __repr__(self) -> str:
        shape = f"{self.blocks} blocks, width {self.width}"
        weights = ", random weights" if self.checkpoint.random is not None else ""
        weights += f", with a {self.checkpoint.adapter.kind} adapter" if self.checkpoint.adapter else ""
        return f"<Encoder {self.checkpoint.name}: {self.family}, {shape}{weights}, {self.device}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Encoder":
        """Return the encoder itself: it never changes, and scikit-learn copies the attributes of estimators."""
        return self

    @property
    def is_plain(self) -> bool:
        """Whether this is the reference, which runs one text at a time through unchanged transformers."""
        return isinstance(self._engine, PlainEngine)

    @property
    def engine(self) -> dict[str, str]:
        """How batches are made and products computed, for manifests."""
        return {"packing": self._engine.packing, "products": self._engine.products}

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of weights, tokenizer and configuration, which together identify the model.

        Raises:
            ModelError: the files have changed since they were loaded.
        """
        return self.identity.hashes

    @property
    def description(self) -> dict[str, Any]:
        """Name, family, shape, limits and hashes of the model, for manifests and `info`."""
        return {
            "id": self.checkpoint.name,
            "revision": self.checkpoint.revision,
            **({"random": self.checkpoint.random} if self.checkpoint.random is not None else {}),
            **({"adapter": self.checkpoint.adapter.description} if self.checkpoint.adapter else {}),
            "family": self.family,
            "blocks": self.blocks,
            "width": self.width,
            "max_length": self.max_length,
            "default_pool": self.default_pool,
            **({"causal": True} if self.causal else {}),
            "last_layer": "normed" if self.final_norm else "as its block gives it",
            "not_applied": list(self.checkpoint.not_applied),
            "unused": {"tensors": list(self._unused), "files": list(self.checkpoint.files.unused)},
            **self.hashes,
        }

    @property
    def notes_besides_prompts(self) -> tuple[str, ...]:
        """The notes for verbs that don't leave the choice of a prompt to the user."""
        slow = self.precision == "bf16" and self.device == "cpu" and not linear.has_fast_bf16()
        hint = Message("note.model.bf16", option=argument("precision", "fp32"))
        return self._notes + ((hint,) if slow else ())

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about this model on this machine, one sentence each."""
        return (*self.notes_besides_prompts, *prompt_notes(self.checkpoint.name, self.checkpoint.prompts))

    @property
    def tolerance(self) -> float:
        """T in max |a − b| ≤ T · max(1, max |b|), per text and layer, against a plain one-text forward."""
        return COMPUTED[self.precision]

    def request(
        self,
        layers: LayerSpec = "all",
        level: str = "text",
        pool: str | None = None,
        *,
        special_tokens: bool = True,
        long: str = "window",
        max_length: int | None = None,
        overlap: int | None = None,
        batch_tokens: int | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        word_split: str | None = None,
    ) -> Request:
        """Return a checked request; the arguments are those of `encode`.

        Raises:
            RequestError: a layer, level, pool or option that this model can't serve.
        """
        resolved = resolve_layers(layers, self.blocks)
        self._check_sites(resolved)
        choices.one_of("long", long, choices.LONG)
        choices.one_of("level", level, choices.LEVELS)
        check_split(word_split)
        if level == "text" and pool is None:
            pool = self.default_pool
        pool = choices.fit_pool(level, pool)
        choices.fit_special(level, pool, special_tokens)
        if pool == "cls" and not self.tokenizer.has_cls:
            raise RequestError(
                f"{argument('pool')} 'cls' needs a classification token and {self.checkpoint.name!r} has none; use mean or eos"
            )
        if pool == "cls" and self.causal:
            raise RequestError(
                f"{argument('pool')} 'cls' takes the first token, and in {self.checkpoint.name!r} ({self.family}) each token "
                "attends only to those before it, so it knows nothing of the text; use eos or mean"
            )
        length = self._length(max_length)
        prompting = self._prompting(prompt, prompt_name, length)
        capacity = length - self.tokenizer.special - (prompting["prompt_tokens"] or 0)
        overlap = choices.fit_overlap(long, overlap)
        overlap = capacity // 4 if overlap is None else choices.whole_number("overlap", overlap, 0)
        if overlap >= capacity:
            raise RequestError(
                f"{argument('overlap', overlap)} doesn't fit: windows hold {capacity} tokens; give 0 to {capacity - 1}"
            )
        budget = _BUDGET[torch.device(self.device).type] if batch_tokens is None else batch_tokens
        choices.whole_number("batch_tokens", budget, 1)
        return Request(
            *(resolved, level, pool, special_tokens, long, length, overlap, budget),
            **prompting,
            word_split=word_split,
        )

    def with_context(self, request: Request, context: Sequence[int] | str | int | None) -> Request:
        """Return a request whose texts are encoded with tokens of their neighbours in a document.

        Texts of one document are consecutive examples with the same column `document`.

        Args:
            request: of this encoder.
            context: the largest number of tokens before and after each text; see `choices.read_context`.

        Raises:
            RequestError: no numbers of tokens, or more than a window has room for.
        """
        room = request.max_length - self.tokenizer.special - (request.prompt_tokens or 0)
        return replace(request, context=context_of(context, room, causal=self.causal))

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of all sites that can be encoded; none if the family offers none. Found when first asked for."""
        with computing():
            return in_order(self._engine.sited().widths)

    def widths_of(self, layers: Sequence[str]) -> dict[str, int]:
        """Return the number of dimensions of each of some layers and sites, by its name."""
        return {name: self._width_of(name) for name in layers}

    def _width_of(self, name: str) -> int:
        return self.width if site(name) is None else self._engine.sited().widths[name]

    def _check_sites(self, layers: Sequence[str]) -> None:
        """Raise RequestError for a site that the model doesn't offer, with the reason."""
        missing = [name for name in layers if site(name) is not None and name not in self.sites]
        if not missing:
            return
        problems = self._engine.sited().sites.problems
        problem = problems.get(depth(missing[0])) or problems.get(0)
        offered = f"its sites are {', '.join(self.sites)}" if self.sites else "it offers no sites"
        raise RequestError(
            f"{argument('layers')} {missing[0]!r}: in block {depth(missing[0])} of {self.checkpoint.name!r} "
            f"({self.family}), {problem}; {offered}; there are the layers {', '.join(self.layers)}"
        )

    def _prompting(self, prompt: str | None, prompt_name: str | None, length: int) -> dict[str, Any]:
        """Return the fields of a `Request` that the prompt determines, after checking that there is room for texts."""
        prompts = self.checkpoint.prompts
        text = chosen_prompt(self.checkpoint.name, prompts, prompt, prompt_name)
        if not text:
            return {"prompt": None, "prompt_tokens": None, "include_prompt": None}
        if not self.tokenizer.has_offsets:
            no_prompt = f"leave it out ({argument('prompt', '')})" if is_offered("prompt") else "leave it out"
            raise RequestError(
                f"the prompt {text!r:.60}: where it ends among the tokens is found by their offsets, and the tokenizer "
                f"of {self.checkpoint.name!r} gives none; {no_prompt} or put it into the texts"
            )
        tokens = self.tokenizer.texts([text], located=False)[0].body
        if tokens > length - self.tokenizer.special - 1:
            raise no_room(text, tokens, length, self.tokenizer.special)
        return {"prompt": text, "prompt_tokens": tokens, "include_prompt": prompts.included}

    def encode(
        self,
        texts: Iterable[str] | Iterable[Sequence[str]],
        layers: LayerSpec = "all",
        level: str = "text",
        pool: str | None = None,
        *,
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
        special_tokens: bool = True,
        long: str = "window",
        max_length: int | None = None,
        overlap: int | None = None,
        batch_tokens: int | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        word_split: str | None = None,
    ) -> LayerStates:
        """Return the layers of `texts`, in memory.

        Args:
            texts: strings, or lists of words (pre-split input), in a list or a column (numpy, pandas, polars,
                Arrow, `datasets`).
            layers: a layer string, a name, a number, or a list of these; with a site also `attention.6`, `mlp.-1`,
                `value.1:`, see `sites`.
            level: `token`, `word`, `span` or `text`.
            pool: how tokens become a row; by default `default_pool` at text level, else `mean`.
            spans: at span level, for each text its (start, end) pairs in code points.
            special_tokens: whether special tokens are included in the pools `mean`, `max` and `sum` of a text.
            long: what is done with texts longer than `max_length`: `window`, `truncate`, `error`.
            max_length: tokens that go through the model at once, special ones included; by default as many as it takes.
            overlap: tokens that neighbouring windows share; by default a quarter of a window.
            batch_tokens: the maximum number of tokens of a batch; by default depends on the device.
            prompt: what is put before each text, and before each window of a long one; `""` for nothing. By default the
                default prompt of the model, if it has one. Its tokens are no rows, and offsets count from the beginning of
                the text. They are included in the pools `mean`, `max` and `sum` of a text unless the model's folder says
                otherwise; then so are the special tokens before it left out.
            prompt_name: the name of one of `prompts`, instead.
            word_split: what a word of a string is: `chars` (each character, as the residues of proteins and the bases of
                DNA), by default a run of letters and digits, a CJK character, or another visible character; `jieba` is the
                default but for Chinese, whose characters that segmenter joins to words.

        Returns:
            LayerStates with `rows` vectors of `width` float32 numbers per layer.

        Raises:
            RequestError: an argument that doesn't fit the model, or a text that is too long with `long="error"`.
        """
        request = self.request(
            layers,
            level,
            pool,
            special_tokens=special_tokens,
            long=long,
            max_length=max_length,
            overlap=overlap,
            batch_tokens=batch_tokens,
            prompt=prompt,
            prompt_name=prompt_name,
            word_split=word_split,
        )
        if (spans is not None) != (level == "span"):
            raise RequestError(
                f"spans go with level 'span' and only with it; got level {level!r} and {'no spans' if spans is None else 'spans'}"
            )
        examples = examples_of_texts(texts)
        checked = None if spans is None else read_spans(spans, len(examples))
        return self.states(examples, request, spans=checked)

    def states(
        self,
        examples: Sequence[Example],
        request: Request,
        *,
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
        only: Sequence[int] | None = None,
        on_batch: OnBatch | None = None,
    ) -> LayerStates:
        """Return the requested layers of `examples`, in memory; `only` as in `plan`, `on_batch` as in `run`."""
        return self._states([self.plan(examples, request, spans=spans, only=only)], on_batch)[0]

    def states_of_requests(
        self, examples: Sequence[Example], requests: Sequence[Request], *, on_batch: OnBatch | None = None
    ) -> list[LayerStates]:
        """Return the layers of `examples` for each request, all from one forward; the same bits as of `states`,
        but where a document goes through a causal model in one pass, which is then done only for one request.

        Args:
            examples: the texts.
            requests: may differ in their layers, level, pool and special tokens, and in nothing else.
            on_batch: as in `run`.

        Raises:
            RequestError: as in `encode`, or requests that read texts in different ways.
        """
        _check_one_forward(requests)
        requests = _with_equal_windows(requests)
        tokens, texts = tokenised(self.tokenizer, examples, requests), ShardTexts(examples)
        shards = [plan_tokens(self.tokenizer, texts, tokens, request) for request in requests]
        return self._states(shards, on_batch)

    def plan_chunks(
        self,
        examples: Sequence[Example],
        requests: Sequence[Request],
        tokens: int,
        *,
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> list[list[PlannedShard]]:
        """Tokenise texts, and plan them in chunks, each with a plan per request, for `states_of_chunks`.

        Args:
            examples, requests: as for `states_of_requests`, with the same errors.
            tokens: the number of tokens after which a chunk ends; a text of more is a chunk by itself.
            spans: at span level, for each text its (start, end) pairs.
        """
        _check_one_forward(requests)
        return plan_chunks(self.tokenizer, examples, requests, tokens, spans)

    def states_of_chunks(
        self, chunks: Sequence[TextChunk], budget: int, *, on_forward: OnForward | None = None
    ) -> list[list[LayerStates]]:
        """Return the layers of each request of each chunk, from shared forwards; see `chunks.run_chunks`."""
        check_process(self.device, self.checkpoint.name)
        with computing():
            layers_of_chunks = run_chunks(
                self._engine, chunks, self._widths_of_chunks(chunks), budget, on_forward
            )
        return [
            [self._with_tables(shard, layers) for shard, layers in zip(chunk, layers_of_chunk, strict=True)]
            for chunk, layers_of_chunk in zip(chunks, layers_of_chunks, strict=True)
        ]

    def _widths_of_chunks(self, chunks: Sequence[TextChunk]) -> dict[str, int]:
        names = dict.fromkeys(name for chunk in chunks for shard in chunk for name in shard.request.layers)
        return self.widths_of(list(names))

    def _states(self, shards: Sequence[PlannedShard], on_batch: OnBatch | None) -> list[LayerStates]:
        memories = [
            Memory(shard.request.layers, shard.rows, self.widths_of(shard.request.layers)) for shard in shards
        ]
        self._run(shards, memories, on_batch)
        return [
            self._with_tables(shard, memory.layers) for shard, memory in zip(shards, memories, strict=True)
        ]

    def _with_tables(self, shard: PlannedShard, layers: Mapping[str, F32]) -> LayerStates:
        """Return the layers of a planned shard with its tables."""
        return LayerStates(
            layers,
            level=shard.request.level,
            pool=shard.request.pool,
            blocks=self.blocks,
            index=shard.index,
            texts=shard.texts,
            model=self.identity,
            word_split=shard.request.word_split,
            width=self.width,
        )

    def token_table(self) -> F32:
        """Return the embedding of every token of the vocabulary, float32 (vocabulary, width of the table), as a copy."""
        return self._engine.token_table()

    def attention(
        self, text: str | Sequence[str], *, prompt: str | None = None, prompt_name: str | None = None
    ) -> F32:
        """Return the attention weights of one text: float32 of shape (blocks, heads, tokens, tokens).

        The token of each row attends to the tokens of the columns; each row sums to 1. The tokens are those of level
        `token`, special ones included. A text that is longer than the model takes at once is truncated. With a prompt
        a row sums to less than 1: the rest is the attention to the tokens of the prompt. A block without attention, such
        as a convolution or a recurrence, has NaN.

        Args:
            text: a string, or a list of words.
            prompt, prompt_name: as in `encode`.

        Raises:
            ModelError: the family gives no attention weights, or this is an encoder for plain forwards.
        """
        examples = examples_of_texts([text])
        request = self.request("emb", "token", long="truncate", prompt=prompt, prompt_name=prompt_name)
        shard = self.plan(examples, request)
        check_process(self.device, self.checkpoint.name)
        with computing():
            maps = self._engine.attention(shard.plan.sequences) if isinstance(self._engine, Engine) else None
        if maps is None:
            raise ModelError(
                f"model {self.checkpoint.name!r} ({self.family}) gives no attention maps; leave them out, or use another model"
            )
        rows = shard.plan.whole.all.tokens
        of_blocks = {number: block.numpy()[:, rows][:, :, rows] for number, block in maps.items()}
        none = np.full_like(next(iter(of_blocks.values())), np.nan)
        return np.stack([of_blocks.get(number, none) for number in range(self.blocks)])

    def plan(
        self,
        examples: Sequence[Example],
        request: Request,
        *,
        first_doc: int = 0,
        carried: Carried | None = None,
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
        only: Sequence[int] | None = None,
    ) -> PlannedShard:
        """Tokenise texts, and plan their windows, rows and tables, before the model runs.

        Args:
            examples: the texts.
            request: which rows, and what is done with long texts.
            first_doc: the number of the first text.
            carried: which columns of the source the tables carry.
            spans: at span level, for each text its (start, end) pairs.
            only: the numbers of the texts that are encoded, ascending; the others are only their context. By default all.

        Raises:
            RequestError: with `long="error"`, a text that is too long; a span without a token.
        """
        texts = ShardTexts(examples, first_doc, carried or Carried(), spans, only)
        return plan_shard(self.tokenizer, texts, request)

    def run(self, shard: PlannedShard, sink: Sink, on_batch: OnBatch | None = None) -> None:
        """Run the model over a planned shard, and pass finished rows to `sink`.

        `on_batch` is called after each batch with its numbers of tokens and of windows.

        Raises:
            ModelError: the model is on a GPU that the parent of this forked process uses.
        """
        self._run([shard], [sink], on_batch)

    def _run(
        self, shards: Sequence[PlannedShard], sinks: Sequence[Sink], on_batch: OnBatch | None = None
    ) -> None:
        planned = [
            PlannedRows(shard.plan, shard.request, sink) for shard, sink in zip(shards, sinks, strict=True)
        ]
        check_process(self.device, self.checkpoint.name)
        widths = self.widths_of([name for shard in shards for name in shard.request.layers])
        with computing():
            run_plan(self._engine, planned, widths, on_batch)

    def _length(self, max_length: int | None) -> int:
        length = self.max_length if max_length is None else choices.whole_number("max_length", max_length, 1)
        shortest = self.tokenizer.special + 1
        if not shortest <= length <= self.position_limit:
            raise RequestError(
                f"{argument('max_length', length)} doesn't fit this model; give {shortest} to {self.position_limit}"
            )
        return length


def _with_equal_windows(requests: Sequence[Request]) -> list[Request]:
    """Return requests of which all or none take a document in one pass, as all have the same windows."""
    if len(requests) < 2:
        return list(requests)
    return [
        request
        if request.context is None
        else replace(request, context=replace(request.context, in_one_pass=False))
        for request in requests
    ]


def _check_one_forward(requests: Sequence[Request]) -> None:
    """Check that requests differ in their layers, level, pool and special tokens only."""
    fields = (
        (r.long, r.max_length, r.overlap, r.batch_tokens, r.prompt, r.context, r.keep_end) for r in requests
    )
    if len(set(fields)) > 1:
        raise RequestError(
            "the requests have different windows, batches, prompts or contexts, and one forward has one kind; encode them one "
            "by one"
        )


def examples_of_texts(texts: Iterable[Any]) -> list[Example]:
    """Return texts, given as strings or as lists of words, as examples.

    Raises:
        RequestError: no texts in order, or one that is neither a string nor a list of words.
    """
    examples = []
    for number, text in enumerate(listed(texts)):
        if isinstance(text, str):
            examples.append(Example(clean(text)))
        elif isinstance(text, list | tuple) and all(isinstance(word, str) for word in text):
            words = tuple(clean(word) for word in text)
            examples.append(Example(" ".join(words), words))
        else:
            refuse(number, text)
    return examples
