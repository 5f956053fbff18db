"""Making the shards of a dataset: what a process needs to know, and how one is made."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise import encode
from layerwise._util.memory import give_back
from layerwise._util.progress import Tracker
from layerwise.example import Example, digest
from layerwise.extraction.parity import measured
from layerwise.parallel.executor import Report
from layerwise.schema import Carried, carried_columns
from layerwise.store import ShardWriter
from layerwise.store.layout import Folder
from layerwise.store.locks import hold_share
from layerwise.tolerance import tolerance

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.shard_plan import PlannedShard


@dataclass(frozen=True)
class Task:
    """A shard to be made.

    Attributes:
        number, first_doc: its number, and that of its first text.
        examples, carried: its texts, and how their columns are carried.
        before, behind: the share of the source that was read before it, and with it.
        measured: int8's error is measured on its texts.
    """

    number: int
    first_doc: int
    examples: Sequence[Example]
    carried: Carried
    before: float = 0.0
    behind: float | None = None
    measured: bool = False


@dataclass(frozen=True)
class About:
    """What all processes that make shards of a dataset agree on: settings, and what the manifest says besides."""

    settings: Mapping[str, Any]
    manifest: Mapping[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How the shards of a dataset are made; travels to other processes.

    Attributes:
        out: the folder of the dataset.
        model: a name for `load_encoder`, or an encoder.
        loading: what `load_encoder` takes besides.
        request: what `Encoder.request` takes.
        dtype: the stored type.
        together: several processes make shards at the same time.
    """

    out: Path
    model: str | Path | Encoder
    loading: Mapping[str, Any]
    request: Mapping[str, Any]
    dtype: str
    together: bool = False

    def start(self, index: int, count: int) -> ShardMaker:
        """Load the encoder, on one of the devices where there are several."""

        if isinstance(self.model, encode.encoder.Encoder):
            encoder = self.model
        else:
            device = encode.devices.choose_device(self.loading["device"], index if self.together else None)
            loading = encode.request.Loading(**{**self.loading, "device": device})
            # What several processes would each say stands in the manifest.
            told = not self.together
            encoder = (
                encode.load.load_encoder(self.model, **asdict(loading))
                if told
                else encode.load.load_quietly(self.model, loading)
            )
        return ShardMaker(self, encoder, (index, count) if self.together else None)


def summed(track: Tracker) -> Report:
    """Return what adds up what a maker reports of one task, and reports it as a part of the call."""
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
class Made:
    """A task whose rows are written; `record` is what else is known of it."""

    task: Task
    shard: PlannedShard
    into: ShardWriter
    record: dict[str, Any]


class ShardMaker:
    """Makes shards, one after the other."""

    def __init__(self, recipe: Recipe, encoder: Encoder, share: tuple[int, int] | None) -> None:
        self._recipe, self._encoder, self._share = recipe, encoder, share
        self._request = encoder.request(**recipe.request)
        self._held: Any = None

    def describe(self) -> About:
        """Return settings and provenance."""
        encoder, request, dtype = self._encoder, self._request, self._recipe.dtype
        settings = {
            "model": encoder.hashes,
            **asdict(request),
            "layers": list(request.layers),
            "precision": encoder.precision,
            "dtype": dtype,
            "device": encoder.device.split(":")[0],
            "engine": encoder.engine,
        }
        manifest = {
            "model": encoder.description,
            "layers": list(request.layers),
            "blocks": encoder.blocks,
            "width": encoder.width,
            "level": request.level,
            "pool": request.pool,
            "dtype": dtype,
            "tolerance": tolerance(encoder.precision, dtype),
        }
        return About(settings, manifest, encoder.notes)

    def prepare(self, task: Task) -> Ready:
        """Tokenise a shard's texts and lay out its rows."""
        start = time.perf_counter()
        shard = self._encoder.plan(
            task.examples, self._request, first_doc=task.first_doc, carried=task.carried
        )
        return Ready(task, shard, time.perf_counter() - start)

    def make(self, ready: Ready, report: Report) -> Made:
        """Write the rows of a shard."""
        folder = Folder(self._recipe.out)
        if self._share is not None and self._held is None:
            self._held = hold_share(folder, self._share)
        start = time.perf_counter() - ready.seconds
        task, shard = ready.task, ready.shard
        examples = task.examples
        windows = shard.plan.windows
        done = 0

        def on_batch(tokens: int, batch: int) -> None:
            nonlocal done
            texts = len(examples) * (done + batch) // windows - len(examples) * done // windows
            done += batch
            known = {} if task.behind is None else {"share": (task.behind - task.before) * batch / windows}
            report(texts=texts, tokens=tokens, **known)

        into = ShardWriter(
            folder, task.number, self._request.layers, shard.rows, self._encoder.width, self._recipe.dtype
        )
        try:
            self._encoder.run(shard, into, on_batch)
            record: dict[str, Any] = {"seconds": round(time.perf_counter() - start, 3)}
            if task.measured and self._encoder.precision == "int8":
                record["int8_error"] = self._measured(examples)
        except BaseException:
            into.abandon()
            raise
        give_back()
        return Made(task, shard, into, record)

    def commit(self, record: Made) -> dict[str, Any]:
        """Make a shard part of the dataset; returns its record."""
        examples, shard = record.task.examples, record.shard
        known = {
            "input": digest(examples),
            "counts": shard.counts,
            "columns": _stored(
                carried_columns(examples), {*shard.index.column_names, *shard.texts.column_names}
            ),
        }
        try:
            return record.into.commit(shard.index, shard.texts, {**known, **record.record})
        except BaseException:
            record.into.abandon()
            raise

    def _measured(self, examples: Sequence[Example]) -> dict[str, dict[str, float]]:

        # In packed batches, which are within 1e-5 of plain forwards: int8 is a thousand times farther away, and
        # plain forwards would take as long as four hundred texts.
        loading = replace(self._encoder.loading, precision="fp32")
        exact = encode.load.load_quietly(self._encoder.checkpoint.name, loading)
        return measured(examples, self._encoder, exact, self._request)


def _stored(columns: Mapping[str, Sequence[str]], stored: Set[str]) -> dict[str, list[str]]:
    """Return the carried columns that are stored: where texts are left out, those of text aren't even named."""
    return {kind: [name for name in names if name in stored] for kind, names in columns.items()}
