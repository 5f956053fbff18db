"""The encoder: texts in, every wanted layer out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from layerwise import choices, pooling
from layerwise._util.threads import computing
from layerwise.encode import checkpoint as checkpoints
from layerwise.encode import hf, int8
from layerwise.encode import rows as rowing
from layerwise.encode.batches import Sequences
from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.engine import Engine, PlainEngine
from layerwise.encode.gather import Memory, OnBatch, run_plan
from layerwise.encode.plan import Plan, make_plan
from layerwise.encode.probes import make_probes
from layerwise.encode.request import Loading, Request
from layerwise.encode.tokenizer import Tokenizer, Tokens
from layerwise.encode.transfer import Sink
from layerwise.errors import ModelError, RequestError
from layerwise.example import Example, clean
from layerwise.layers import LayerSpec, layer_names, resolve_layers
from layerwise.schema import Carried, Coverage, index_table, texts_table
from layerwise.states import F32, LayerStates
from layerwise.texts import listed, refuse
from layerwise.tolerance import COMPUTED

_BUDGET = {"cpu": 2048, "cuda": 32768, "mps": 8192}  # tokens of a batch


@dataclass(frozen=True)
class Shard:
    """A planned run of texts: its tables, its counts, and how many rows it will have."""

    plan: Plan
    request: Request
    index: pa.Table
    texts: pa.Table
    counts: dict[str, int]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.plan.rows


class Encoder:
    """A model with its tokenizer, ready to give every layer of any text. Made by `lw.load_encoder`.

    Attributes:
        layers: names of all layers, `('emb', '1', …)`.
        blocks, width: the number of blocks and of numbers per vector.
        max_length: tokens that the model takes at once, special ones included.
        default_pool: the model's own pooling where it has one, else `mean`.
        device, precision: where and how precisely it runs.
        loading: how it was loaded.
        home: the name, or the absolute folder, that the same model can be loaded by.

    Several threads may use it at the same time.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        loaded: hf.Loaded,
        loading: Loading,
        *,
        engine: type[Engine | PlainEngine] = Engine,
    ) -> None:
        self.checkpoint, self.loading = checkpoint, loading
        # Where a relative folder is now: the working directory may be another when the encoder is pickled.
        self.home = str(checkpoints.local_folder(checkpoint.name) or checkpoint.name)
        self.device, self.precision = str(loading.device), loading.precision
        self.family: str = loaded.config.model_type
        self._unused, self._notes = loaded.unused, checkpoint.notes + loaded.notes
        self.tokenizer = Tokenizer(loaded, checkpoint.name)
        self.position_limit = loaded.max_length
        probes = make_probes(self.tokenizer, loaded, checkpoint.name)
        samples = _samples(self.tokenizer, loaded) if self.precision == "int8" else None
        with hf.quiet():
            self._engine = engine(loaded, self.precision, probes, checkpoint.name, samples)
        self.blocks, self.width = self._engine.blocks, self._engine.width
        self.layers = layer_names(self.blocks)
        self.max_length = min(checkpoint.max_length or loaded.max_length, loaded.max_length)
        self.default_pool = checkpoint.pool or "mean"
        self.final_norm = self._engine.final_norm

    def __repr__(self) -> str:
        shape = f"{self.blocks} blocks, width {self.width}"
        drawn = ", random weights" if self.checkpoint.random is not None else ""
        return f"<Encoder {self.checkpoint.name}: {self.family}, {shape}{drawn}, {self.device}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Encoder":
        """Return the encoder itself: its use doesn't change it, and scikit-learn copies what estimators hold."""
        return self

    @property
    def is_plain(self) -> bool:
        """Whether each text goes through unchanged transformers, as the reference does."""
        return isinstance(self._engine, PlainEngine)

    @property
    def engine(self) -> dict[str, str]:
        """How batches are made and products computed, for the record."""
        return {"packing": self._engine.packing, "products": self._engine.products}

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of weights, tokenizer and configuration: what makes it this model and no other.

        Raises:
            ModelError: the files aren't those any more that were loaded.
        """
        return self.checkpoint.hashes()

    @property
    def description(self) -> dict[str, Any]:
        """What the model is, for manifests and `info`."""
        return {
            "id": self.checkpoint.name,
            "revision": self.checkpoint.revision,
            **({"random": self.checkpoint.random} if self.checkpoint.random is not None else {}),
            "family": self.family,
            "blocks": self.blocks,
            "width": self.width,
            "max_length": self.max_length,
            "default_pool": self.default_pool,
            "last_layer": "normed" if self.final_norm else "as its block gives it",
            "not_applied": list(self.checkpoint.not_applied),
            "unused": {"tensors": list(self._unused), "files": list(self.checkpoint.files.unused)},
            **self.hashes,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should be told about this model on this machine."""
        slow = self.precision == "bf16" and self.device == "cpu" and not hf.fast_bf16()
        lack = "this processor has no bf16 instructions, or ONEDNN_MAX_CPU_ISA keeps oneDNN from them"
        hint = (f"{lack}: --precision fp32 is faster here",)
        return self._notes + (hint if slow else ())

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
    ) -> Request:
        """Return a checked request.

        Raises:
            RequestError: a layer, level, pool or option that this model can't serve.
        """
        resolved = resolve_layers(layers, self.blocks)
        choices.one_of("long", long, choices.LONG)
        if level == "text" and pool is None:
            pool = self.default_pool
        pool = choices.fit_pool(level, pool)
        choices.fit_special(level, pool, special_tokens)
        if pool == "cls" and not self.tokenizer.has_cls:
            raise RequestError(
                f"pool 'cls' needs a classification token and {self.checkpoint.name!r} has none; use mean"
            )
        length = self._length(max_length)
        capacity = length - self.tokenizer.special
        if overlap is not None and long != "window":
            raise RequestError(
                f"--overlap {overlap} doesn't go with --long {long}; it belongs to --long window"
            )
        overlap = capacity // 4 if overlap is None else overlap
        if not 0 <= overlap < capacity:
            raise RequestError(
                f"--overlap {overlap} doesn't fit: windows hold {capacity} tokens; take 0 to {capacity - 1}"
            )
        budget = _BUDGET[torch.device(self.device).type] if batch_tokens is None else batch_tokens
        if budget < 1:
            raise RequestError(f"--batch-tokens {budget} is too small; take at least 1")
        return Request(resolved, level, pool, special_tokens, long, length, overlap, budget)

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
    ) -> LayerStates:
        """Return the wanted layers of `texts`, in memory.

        Args:
            texts: strings, or lists of words (pre-split input), in a list or a column (numpy, pandas, polars,
                Arrow, `datasets`).
            layers: a layer string, a name, a number, or a list of these.
            level: `token`, `word`, `span` or `text`.
            pool: how tokens become a row; the model's own at text level, else `mean`.
            spans: at span level, for each text its (start, end) pairs in code points.
            special_tokens: whether they count in the pools `mean`, `max` and `sum` of a text.
            long: what becomes of texts that are longer than the model takes: `window`, `truncate`, `error`.
            max_length: tokens that go through the model at once, special ones included; as many as it takes.
            overlap: tokens that windows share; a quarter of a window.
            batch_tokens: tokens of a batch.

        Returns:
            states with `rows` vectors of `width` float32 numbers per layer.

        Raises:
            RequestError: an argument that can't be carried out.
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
        )
        if (spans is not None) != (level == "span"):
            passed = "none" if spans is None else f"those of {len(spans)} texts"
            raise RequestError(
                f"spans go with level 'span' and only with it; got level {level!r} and spans: {passed}"
            )
        return self.states(_examples(texts), request, spans=spans)

    def states(
        self,
        examples: Sequence[Example],
        request: Request,
        *,
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
        on_batch: OnBatch | None = None,
    ) -> LayerStates:
        """Return what `request` wants of `examples`, in memory; `on_batch` as in `run`."""
        shard = self.plan(examples, request, spans=spans)
        memory = Memory(request.layers, shard.rows, self.width)
        self.run(shard, memory, on_batch)
        return LayerStates(
            memory.layers,
            level=request.level,
            pool=request.pool,
            blocks=self.blocks,
            index=shard.index,
            texts=shard.texts,
        )

    def attention(self, text: str | Sequence[str]) -> F32:
        """Return who looks at whom in one text: float32 of shape (blocks, heads, tokens, tokens).

        Each row sums to 1: the token in the row looks at those in the columns, special ones included, as at
        level `token`. Of a text that is longer than the model takes at once, only the first tokens that fit.

        Args:
            text: a string, or a list of words.

        Raises:
            ModelError: a family that gives no attention, or runs on an engine without it.
        """
        examples = _examples([text])
        shard = self.plan(examples, self.request("emb", "token", long="truncate"))
        hf.check_process(self.device, self.checkpoint)
        with computing():
            maps = self._engine.attention(shard.plan.sequences) if isinstance(self._engine, Engine) else None
        if maps is None:
            raise ModelError(f"model {self.checkpoint.name!r} ({self.family}) gives no attention maps")
        return np.stack([block.numpy() for block in maps])

    def plan(
        self,
        examples: Sequence[Example],
        request: Request,
        *,
        first_doc: int = 0,
        carried: Carried | None = None,
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> Shard:
        """Tokenise texts and lay out their rows, tables and windows, before the model runs.

        Raises:
            RequestError: with `long="error"`, a text that is too long; a span without a token.
        """
        carried = carried or Carried()
        capacity = request.max_length - self.tokenizer.special
        planned = []
        coverage: list[Coverage] = []
        rows = []
        counts = dict.fromkeys(rowing.COUNTS, 0)
        tokens_of_texts = self._tokens(examples, located=request.level != "text")
        for number, (example, tokens) in enumerate(zip(examples, tokens_of_texts, strict=True)):
            where = partial(_where, first_doc + number, example)
            cut = rowing.cut(tokens, request, capacity, where, keep_end=self.tokenizer.keeps_end)
            text_rows = rowing.rows_of(
                example,
                cut.tokens,
                request,
                self.tokenizer,
                spans[number] if spans is not None else None,
                where,
            )
            planned.append((cut.tokens, cut.windows, pooling.choose(text_rows.groups, request.pool)))
            rows.append(text_rows.rows)
            coverage.append(
                Coverage(len(cut.tokens), len(cut.windows), cut.truncated, text_rows.special_only)
            )
            rowing.count(counts, coverage[-1], text_rows)
        return Shard(
            make_plan(planned, types=self.tokenizer.takes_types),
            request,
            index_table(examples, rows, first_doc, request.level, carried),
            texts_table(examples, coverage, first_doc, request.level, carried),
            counts,
        )

    def run(self, shard: Shard, sink: Sink, on_batch: OnBatch | None = None) -> None:
        """Run the model over a planned shard and hand finished rows to `sink`.

        `on_batch` is called after each batch with the tokens and windows done by it.

        Raises:
            ModelError: a GPU that the parent of this forked process works with.
        """
        hf.check_process(self.device, self.checkpoint)
        with computing():
            run_plan(self._engine, shard.plan, shard.request, self.layers, sink, on_batch)

    def _tokens(self, examples: Sequence[Example], *, located: bool) -> list[Tokens]:
        """Return the tokens of each text, in order, raw or pre-split; see `Tokenizer.texts`."""
        raw = [n for n, e in enumerate(examples) if e.words is None]
        if len(raw) == len(examples):
            return self.tokenizer.texts([e.text for e in examples], located=located)
        out: list[Tokens | None] = [None] * len(examples)
        split = [n for n, e in enumerate(examples) if e.words is not None]
        tokens_of_texts = self.tokenizer.texts([examples[n].text for n in raw], located=located)
        tokens_of_texts += self.tokenizer.words([examples[n].words or () for n in split])
        for number, tokens in zip(raw + split, tokens_of_texts, strict=True):
            out[number] = tokens
        return [tokens for tokens in out if tokens is not None]

    def _length(self, max_length: int | None) -> int:
        length = self.max_length if max_length is None else max_length
        least = self.tokenizer.special + 1
        if not least <= length <= self.position_limit:
            raise RequestError(
                f"--max-length {length} doesn't fit this model; take {least} to {self.position_limit}"
            )
        return length


def _where(doc: int, example: Example) -> str:
    return f"text {doc}" + (f" ({example.where})" if example.source else "")


def _examples(texts: Iterable[Any]) -> list[Example]:
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


def _samples(tokenizer: Tokenizer, loaded: hf.Loaded) -> Sequences:
    """Return the texts from which fixed scales of int8 products are found: some in words, some of random tokens."""
    most = loaded.max_length - tokenizer.special
    tokens_of_texts = tokenizer.texts(int8.SAMPLES)
    frame = tokens_of_texts[0]
    before, behind = frame.ids[: frame.prefix], frame.ids[len(frame) - frame.suffix :]
    bodies = [one.ids[one.prefix : len(one) - one.suffix] for one in tokens_of_texts]
    bodies += int8.drawn(loaded.config.vocab_size, loaded.tokenizer.all_special_ids)
    ids = [np.concatenate([before, body[:most], behind]) for body in bodies]
    return Sequences(ids, [np.zeros_like(one) for one in ids] if tokenizer.takes_types else None)
