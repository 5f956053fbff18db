"""An index of faiss: the only module that imports it."""

from pathlib import Path
from typing import Any

import numpy as np

from layerwise._util.silence import silenced
from layerwise.arguments import argument
from layerwise.array_types import F32, I64
from layerwise.errors import RequestError
from layerwise.store import disk

NAME = "vectors.faiss"
LINKS, BUILD, SEARCH = (
    32,
    128,
    64,
)  # of a node of the graph; nodes looked at when one is added, and in a search


class FaissIndex:
    """A graph of faiss (HNSW, Malkov and Yashunin 2018) over float32 vectors of length 1, compared by dot product."""

    def __init__(self, width: int) -> None:
        """Begin without rows.

        Raises:
            RequestError: faiss isn't installed.
        """
        try:
            with silenced():  # SWIG's types lack names of modules
                import faiss
        except ImportError:
            raise RequestError(
                f"{argument('to', 'faiss')} needs faiss, which isn't installed; pip install 'layerwise[faiss]'"
            ) from None
        self._faiss: Any = faiss
        self._index = faiss.IndexHNSWFlat(width, LINKS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction, self._index.hnsw.efSearch = BUILD, SEARCH

    @staticmethod
    def bytes_per_row(width: int) -> int:
        """Return about how much memory a row takes."""
        return 4 * width + 4 * 2 * LINKS + 32

    def add(self, vectors: F32) -> None:
        """Add rows, (n, width); their numbers go on from 0."""
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)  # several give another graph each time
        try:
            self._index.add(np.ascontiguousarray(vectors, np.float32))
        finally:
            self._faiss.omp_set_num_threads(before)

    def search(self, queries: F32, k: int) -> I64:
        """Return the numbers of the rows nearest to each query, (queries, k), -1 where fewer are found."""
        rows: I64 = self._index.search(np.ascontiguousarray(queries, np.float32), k)[1]
        return rows

    def save(self, path: Path) -> None:
        """Write the index to a new file."""
        with disk.create(path) as file:
            # faiss itself doesn't notice a full disk when it closes a file.
            self._faiss.write_index(self._index, self._faiss.PyCallbackIOWriter(file.write))
            file.flush()
            disk.sync(file.fileno(), path)
