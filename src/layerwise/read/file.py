"""One file of a corpus."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise.read.arrivals import WatchedInput


@dataclass(slots=True, eq=False)
class File:
    """One file to read.

    `path` is `None` for standard input; `source` is stored with the records, `label` is used in messages; `id`
    is the id of the text where a file is one text. `size` and `done` count bytes (of a compressed file the compressed
    ones; Parquet: rows). A file with `once` (standard input, a pipe) can be read only once, so it isn't
    checked beforehand; `spent` after that. `format` is the format where it is known from elsewhere than the name,
    and `recognised` tells that the contents of a file say more than its name;
    `data` is a source in memory, of which `path` is `None`. `input` is what is read from a file with `once`.
    """

    path: Path | None
    source: str
    label: str
    id: str | None = None
    size: int = 0
    done: int = 0
    once: bool = False
    spent: bool = False
    compressed: bool = False
    format: str | None = None
    recognised: bool = False
    data: Any = None
    input: WatchedInput | None = None

    @property
    def waits(self) -> bool:
        """Whether reading on would wait for input; of a compressed file that isn't known."""
        return self.input is not None and not self.compressed and self.input.must_wait(self.done)
