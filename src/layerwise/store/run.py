"""What was measured while a dataset was made, in a file of its own: all other files are the same in every run.

Nothing depends on it: no hash covers it, and a dataset opens also if it is missing or damaged.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from layerwise.errors import DatasetError
from layerwise.store.json_object import JsonObject
from layerwise.store.layout import Folder, from_json, parsed
from layerwise.store.records import Amount, ShardRecord


@dataclass(frozen=True, kw_only=True)
class RunFile(JsonObject):
    """The file `run.json`: when and on which host the dataset was finished, and the seconds that each shard took."""

    finished: str
    host: str
    seconds: tuple[Amount | None, ...]


@dataclass(frozen=True)
class Run:
    """What was measured while a dataset was made.

    Attributes:
        finished: the time (UTC, ISO 8601); `None` when it isn't known.
        host: the name of the machine that wrote the manifest; `None` when it isn't known.
        seconds: how long each shard took; `None` where that isn't known.
        problem: why nothing is known; `None` when the file could be read.
    """

    finished: str | None = None
    host: str | None = None
    seconds: Mapping[int, float | None] = field(default_factory=dict)
    problem: str | None = None

    @property
    def total(self) -> float | None:
        """The seconds of all shards, summed over all processes; `None` when those of a shard aren't known."""
        measured = [seconds for seconds in self.seconds.values() if seconds is not None]
        return None if self.problem or len(measured) < len(self.seconds) else round(sum(measured), 3)


def read_run(folder: Folder, count: int) -> Run:
    """Return what was measured while a dataset of `count` shards was made; `problem` says why that isn't known."""
    try:
        entries = parsed(RunFile, from_json(folder.run), folder.run)
    except DatasetError as error:
        is_missing = isinstance(error.__cause__, FileNotFoundError)
        return Run(problem=f"{folder.run} is missing" if is_missing else str(error))
    if len(entries.seconds) < count:  # it may have more, of an addition that was interrupted
        return Run(
            problem=f"{folder.run} is of another dataset: it has {len(entries.seconds):,} shards instead of {count:,}"
        )
    return Run(entries.finished, entries.host, dict(enumerate(entries.seconds[:count])))


def run_file(records: Sequence[ShardRecord], earlier: Run) -> RunFile:
    """Return what was measured of a dataset that is finished now.

    Args:
        records: those of all shards; the ones of shards that were just made have their `seconds`.
        earlier: what was measured of the other shards.
    """
    seconds = tuple(
        record.seconds if record.seconds is not None else earlier.seconds.get(record.number)
        for record in records
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return RunFile(finished=now, host=platform.node(), seconds=seconds)
