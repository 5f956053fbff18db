"""The description of an extracted dataset: the part of its manifest that doesn't follow from settings and shards."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from layerwise._util.versions import versions
from layerwise.read.record import LISTED
from layerwise.store.manifest import Description, Machine, Manifest, SkippedRecord, SourceEntry, Tolerance
from layerwise.tolerance import tolerance
from layerwise.wording import Message, some

if TYPE_CHECKING:
    from layerwise.extraction.shard_maker import WorkerDescription
    from layerwise.read.corpus import Corpus


def describe(worker: WorkerDescription, corpus: Corpus, sources: tuple[SourceEntry, ...]) -> Description:
    """Return the description of a dataset of one extraction, after its source was read."""
    settings, model = worker.settings, worker.model
    widths = {name: width for name, width in worker.widths.items() if width != model.width}
    description = Description(
        layers=settings.layers,
        level=settings.level,
        pool=settings.pool,
        blocks=model.blocks,
        width=model.width,
        widths=widths or None,
        dtype=settings.dtype,
        model=model,
        tolerance=Tolerance.from_json(tolerance(settings.precision, settings.dtype)),
        skipped=tuple(SkippedRecord(**asdict(record)) for record in corpus.skipped),
        notices=(),
        versions=versions(),
        machine=Machine(processor=platform.machine(), system=platform.system()),
        sources=sources,
    )
    return description.with_notices((*corpus.notices, *worker.notes))


def describe_grown(description: Description, earlier: Manifest, notices: Sequence[str]) -> Description:
    """Return the description of a dataset that was added to.

    Args:
        description: of the extraction that adds texts.
        earlier: the manifest before; its skipped records and notices stay.
        notices: further notices for the user.
    """
    skipped = (record for record in description.skipped if record not in earlier.skipped)
    all_notices = (*earlier.notice_messages, *description.notice_messages, *notices)
    return replace(description, skipped=(*earlier.skipped, *skipped), merged=earlier.merged).with_notices(
        all_notices
    )


def column_notices(lacks: Sequence[str], new: Sequence[str], sources: Sequence[str]) -> list[Message]:
    """Return a notice of the columns that the added texts lack, and one of the columns that only they have."""
    where = " ".join(sources)
    several = {"note.added.lacks": lacks, "note.added.new": new}
    return [
        Message(key, source=where, columns=some([repr(name) for name in columns], LISTED))
        for key, columns in several.items()
        if columns
    ]
