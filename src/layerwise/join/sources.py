"""Which of a dataset's shards come from which source: the first extraction's, and what was added later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerwise.store.records import Records

STDIN = "-"


@dataclass(frozen=True)
class Begun:
    """What a dataset holds of a source already.

    Attributes:
        shard, doc: the numbers of its first shard and of the first text in it.
        texts: how many texts each of its finished shards has.
        entry: its place among the manifest's sources, or how many there are.
        last: nothing follows it, so that more of it can be added.
    """

    shard: int = 0
    doc: int = 0
    texts: tuple[int, ...] = ()
    entry: int = 0
    last: bool = True


def begun(
    manifest: dict[str, Any] | None, records: Records | None, sources: Sequence[str], *, append: bool
) -> Begun:
    """Return what a finished dataset holds of a source.

    A source is known by the names of its files as they were given; more may follow them. One that isn't known
    is new where it is to be appended, else it is taken to be the first: a file may have been renamed. What
    came through standard input can't be known again.
    """
    if manifest is None or records is None:
        return Begun()
    entries = entries_of(manifest)
    texts = records.texts.tolist()
    first = 0
    for number, entry in enumerate(entries):
        files, behind = entry["files"], first + entry["shards"]
        if STDIN not in files and list(sources[: len(files)]) == files:
            own = tuple(texts[first:behind])
            return Begun(first, sum(texts[:first]), own, number, number + 1 == len(entries))
        first = behind
    if not append:
        own = tuple(texts[: entries[0]["shards"]] if entries else texts)
        return Begun(0, 0, own, 0, len(entries) <= 1)
    return Begun(len(texts), sum(texts), (), len(entries))


def entries_of(manifest: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the sources that a manifest lists, in the order of their shards."""
    return list((manifest or {}).get("sources", []))


def with_source(manifest: dict[str, Any] | None, at: Begun, sources: Sequence[str], shards: int) -> list[Any]:
    """Return the list of sources with one of so many shards in its place."""
    entries = entries_of(manifest)
    entries[at.entry : at.entry + 1] = [{"files": list(sources), "shards": shards}]
    return entries
