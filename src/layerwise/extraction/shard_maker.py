"""Making the shards of a dataset: the recipe that goes to each process, and the steps from texts to a committed shard."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise import encode
from layerwise._util.memory import give_back
from layerwise._util.progress import Tracker
from layerwise.example import Example, digest
from layerwise.extraction.parity import measured
from layerwise.layers import in_order
from layerwise.parallel.executor import Report
from layerwise.schema import Carried, carried_columns
from layerwise.store import ShardWriter
from layerwise.store.layout import Folder
from layerwise.store.locks import hold_share
from layerwise.store.manifest import EncoderSettings, ModelEntry, ModelHashes
from layerwise.store.records import ColumnNames, Counts, Int8Error, ShardFacts, ShardRecord

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.shard_plan import PlannedShard


@dataclass(frozen=True)
class Task:
    """A shard to make.

    Attributes:
        number, first_doc: its number, and that of its first text.
        examples, carried: its texts, and how their columns are carried.
        before, behind: the shares of the source that are read before the shard, and with it; `None` when not known.
        measured: whether int8's error is measured on its texts.
        redacted: whether its texts were redacted.
    """

    number: int
    first_doc: int
    examples: Sequence[Example]
    carried: Carried
    before: float = 0.0
    behind: float | None = None
    measured: bool = False
    redacted: bool = False


@dataclass(frozen=True)
class WorkerDescription:
    """What all processes that make shards of a dataset agree on.

    Attributes:
        settings: those that the encoder determines.
        model: the model's entry in the manifest; its `blocks` and `width` are the dataset's.
        widths: those of the layers.
        notes: what the user should know about the model.
        unknown: how many tokens of the recipe's sample are unknown to the model, and how many there are.
    """

    settings: EncoderSettings
    model: ModelEntry
    widths: Mapping[str, int]
    notes: tuple[str, ...]
    unknown: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class ShardRecipe:
    """How the shards of a dataset are made; travels to other processes.

    Attributes:
        out: the folder of the dataset.
        model: a name for `load_encoder`, or an encoder.
        loading: what `load_encoder` takes besides.
        request: what `Encoder.request` takes.
        dtype: the stored type.
        context: what `Encoder.with_context` takes; `None` for texts alone.
        together: several processes make shards at the same time.
        sample: a few of the texts, in which unknown tokens are counted before the work.
    """

    out: Path
    model: str | Path | Encoder
    loading: Mapping[str, Any]
    request: Mapping[str, Any]
    dtype: str
    context: tuple[int, int] | None = None
    together: bool = False
    sample: tuple[Example, ...] = ()

    @property
    def names_prompt(self) -> bool:
        """Whether the user has chosen what is put before texts, so that notes of the model's prompts say nothing new."""
        return any(self.request.get(name) is not None for name in ("prompt", "prompt_name"))

    def start(self, index: int, count: int) -> ShardMaker:
        """Load the encoder, and return a maker of shards; of several devices each process gets one."""
        if isinstance(self.model, encode.encoder.Encoder):
            encoder = self.model
        else:
            device = encode.devices.choose_device(self.loading["device"], index if self.together else None)
            loading = encode.request.Loading(**{**self.loading, "device": device})
            # Each of several processes would repeat the notes; the manifest has them.
            if self.together:
                encoder = encode.load.load_quietly(self.model, loading)
            else:
                load = encode.load.load_without_prompts if self.names_prompt else encode.load.load_encoder
                encoder = load(self.model, **asdict(loading))
        return ShardMaker(self, encoder, (index, count) if self.together else None)


def summed(track: Tracker) -> Report:
    """Return a callback that sums a maker's reports of one task, and reports the sum to `track`."""
    done = 0.0

    def report(*, texts: int = 0, tokens: int = 0, share: float | None = None) -> None:
        nonlocal done
        done += share or 0.0
        track.report(done, texts=texts, tokens=tokens)

    return report


@dataclass(frozen=True)
class Ready:
    """A task whose texts are tokenised and whose rows are laid out, and the seconds that this took."""

    task: Task
    shard: PlannedShard
    seconds: float


@dataclass(frozen=True)
class Written:
    """A task whose rows are written, and which isn't committed yet; `facts` are those of its record."""

    task: Task
    shard: PlannedShard
    writer: ShardWriter
    facts: ShardFacts


class ShardMaker:
    """Makes shards, one after the other."""

    def __init__(self, recipe: ShardRecipe, encoder: Encoder, share: tuple[int, int] | None) -> None:
        self._recipe, self._encoder, self._share = recipe, encoder, share
        request = encoder.with_context(encoder.request(**recipe.request), recipe.context)
        self._request = replace(request, layers=in_order(request.layers))
        self._widths = encoder.widths_of(self._request.layers)
        self._share_lock: Any = None

    def describe(self) -> WorkerDescription:
        """Return settings and provenance."""
        encoder = self._encoder
        settings = EncoderSettings(
            **{**vars(self._request), "context": self._recipe.context},
            model=ModelHashes.from_json(encoder.hashes),
            precision=encoder.precision,
            dtype=self._recipe.dtype,
            device=encoder.device.split(":")[0],
            engine=encoder.engine,
        )
        model = ModelEntry.from_json(encoder.description)
        unknown = encode.shard_plan.unknown_tokens(encoder.tokenizer, self._recipe.sample, self._request)
        return WorkerDescription(settings, model, self._widths, encoder.notes, unknown)

    def prepare(self, task: Task) -> Ready:
        """Tokenise a shard's texts and lay out its rows."""
        start = time.perf_counter()
        shard = self._encoder.plan(
            task.examples, self._request, first_doc=task.first_doc, carried=task.carried
        )
        return Ready(task, shard, time.perf_counter() - start)

    def make(self, ready: Ready, report: Report) -> Written:
        """Write the rows of a shard."""
        folder = Folder(self._recipe.out)
        if self._share is not None and self._share_lock is None:
            self._share_lock = hold_share(folder, self._share)
        start = time.perf_counter() - ready.seconds
        task, shard = ready.task, ready.shard
        examples = task.examples
        windows = shard.plan.windows
        done = 0

        def on_batch(tokens: int, batch: int) -> None:
            nonlocal done
            texts = len(examples) * (done + batch) // windows - len(examples) * done // windows
            done += batch
            share = None if task.behind is None else (task.behind - task.before) * batch / windows
            report(texts=texts, tokens=tokens, share=share)

        writer = ShardWriter(
            folder, task.number, self._request.layers, shard.rows, self._widths, self._recipe.dtype
        )
        try:
            self._encoder.run(shard, writer, on_batch)
            seconds = round(time.perf_counter() - start, 3)
            measures = task.measured and self._encoder.precision == "int8"
            facts = ShardFacts(
                input=digest(examples),
                counts=Counts.from_json(shard.counts),
                columns=_stored_columns(examples, shard),
                int8_error=self._measured(examples) if measures else None,
                redacted=dict(Counter(kind for e in examples for kind in e.redacted))
                if task.redacted
                else None,
                seconds=seconds,
            )
        except BaseException:
            writer.abandon()
            raise
        give_back()
        return Written(task, shard, writer, facts)

    def commit(self, written: Written) -> ShardRecord:
        """Make a shard part of the dataset; returns its record."""
        try:
            return written.writer.commit(written.shard.index, written.shard.texts, written.facts)
        except BaseException:
            written.writer.abandon()
            raise

    def _measured(self, examples: Sequence[Example]) -> dict[str, Int8Error]:
        """Return the error of int8 on a few texts, per layer."""
        # In packed batches, which are within 1e-5 of plain forwards: int8 is a thousand times farther away, and
        # plain forwards would take as long as four hundred texts.
        loading = replace(self._encoder.loading, precision="fp32")
        exact = encode.load.load_quietly(self._encoder.checkpoint.name, loading)
        errors = measured(examples, self._encoder, exact, self._request)
        return {layer: Int8Error.from_json(error) for layer, error in errors.items()}


def _stored_columns(examples: Sequence[Example], shard: PlannedShard) -> ColumnNames:
    """Return the names of the carried columns that are stored; columns that aren't kept aren't even named."""
    stored = {*shard.index.column_names, *shard.texts.column_names}
    columns = carried_columns(examples)
    return ColumnNames(
        text=tuple(name for name in columns["text"] if name in stored),
        word=tuple(name for name in columns["word"] if name in stored),
    )
