"""An index of usearch: the only module that imports it."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np

from layerwise._util.paths import reason
from layerwise._util.silence import silenced
from layerwise.arguments import argument
from layerwise.array_types import F32, I64
from layerwise.errors import OutputError, RequestError
from layerwise.store import disk

NAME = "vectors.usearch"
LINKS = 16  # of a node of the graph


class UsearchIndex:
    """A graph of usearch (HNSW, Malkov and Yashunin 2018) over float16 vectors, compared by their cosine."""

    def __init__(self, width: int) -> None:
        """Begin without rows.

        Raises:
            RequestError: usearch isn't installed.
        """
        try:
            with silenced():
                from usearch.index import Index
        except ImportError:
            raise RequestError(
                f"{argument('to', 'usearch')} needs usearch, which isn't installed; pip install 'layerwise[usearch]'"
            ) from None
        self._index = Index(ndim=width, metric="cos", dtype="f16", connectivity=LINKS)
        self._rows = 0

    @staticmethod
    def bytes_per_row(width: int) -> int:
        """Return about how much memory a row takes."""
        return 2 * width + 4 * 3 * LINKS + 64

    def add(self, vectors: F32) -> None:
        """Add rows, (n, width); their keys go on from 0."""
        keys = np.arange(self._rows, self._rows + len(vectors), dtype=np.uint64)
        # Several threads give another graph each time, and a bad one of the first rows, which don't see each other.
        self._index.add(keys, np.ascontiguousarray(vectors, np.float32), threads=1)
        self._rows += len(vectors)

    def search(self, queries: F32, k: int) -> I64:
        """Return the keys of the rows nearest to each query, (queries, k), -1 where fewer are found."""
        keys = np.full((len(queries), k), -1, np.int64)
        for number, query in enumerate(np.ascontiguousarray(queries, np.float32)):
            matches = self._index.search(query, k)
            keys[number, : len(matches)] = matches.keys
        return keys

    def save(self, path: Path) -> None:
        """Write the index to a new file.

        Raises:
            OSError: the disk is full.
            OutputError: it can't be written for another reason.
        """
        length = self._index.serialized_length
        try:
            self._index.save(str(path))
        except RuntimeError as error:
            if not path.exists() or shutil.disk_usage(path.parent).free + path.stat().st_size >= length:
                raise OutputError(
                    f"can't write {path}: {reason(error)}; correct this and try again"
                ) from None
        if (
            path.stat().st_size != length
        ):  # usearch doesn't notice a full disk, or doesn't say that it is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        with path.open("rb") as file:
            disk.sync(file.fileno(), path)
