"""The shard rule: where one shard of a corpus ends and the next begins. Needs no model."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from layerwise.choices import whole_number
from layerwise.example import Example

TEXTS = 2048
# Rows per token or word are many more per character than rows per text.
CHARACTERS = {"text": 4_194_304, "word": 262_144, "token": 262_144}


def shards(
    records: Iterable[Sequence[Example]],
    texts: int,
    characters: int,
    begun: Sequence[int] = (),
    *,
    waits: Callable[[], bool] = lambda: False,
) -> Iterator[list[Example]]:
    """Split a stream of records into shards: a shard ends after `texts` texts or `characters` characters.

    The texts of a record stay together, so a shard may hold one text or many characters more. The first shards
    have the numbers of texts in `begun`, whatever the rule says. A shard also ends where `waits` returns true, so that
    its texts don't wait for the next record.

    Raises:
        RequestError: a size below 1.
    """
    whole_number("shard_texts", texts, 1)
    shard: list[Example] = []
    size = 0
    remaining = list(reversed(begun))
    for examples in records:
        shard += examples
        size += sum(len(example.text) for example in examples)
        is_full = len(shard) >= remaining[-1] if remaining else (len(shard) >= texts or size >= characters)
        if is_full or waits():
            yield shard
            shard, size = [], 0
            remaining = remaining[:-1]
    if shard:
        yield shard
