"""Read the files that the TensorFlow classes of transformers wrote, `tf_model.h5`: the only module that imports h5py.

Such a file has no checksums. Data that are compressed, in other files, or larger than their file, aren't read.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layerwise._util.guarded import TENSORS, check_regular
from layerwise.errors import ModelError

_PIP = "pip install 'layerwise[tensorflow]'"


class H5Files:
    """The tensors of one or more HDF5 files, by name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """List the tensors.

        Raises:
            ModelError: h5py isn't installed.
            OSError: a file that can't be read, or no HDF5.
            ValueError: a file whose data aren't plain, in one line that names it.
        """
        self._places: dict[str, tuple[Path, str]] = {}
        for path in paths:
            size = check_regular(path)
            with _opened(path) as file:
                for place, dataset in _datasets(file):
                    _check_plain(path, place, dataset, size)
                    name = place.removesuffix(":0")
                    if name in self._places or len(self._places) >= TENSORS:
                        raise ValueError(
                            f"{path.name}: the tensor {name[:200]!r} occurs twice, or there are too many"
                        )
                    self._places[name] = (path, place)

    @property
    def names(self) -> list[str]:
        """The names of all tensors."""
        return list(self._places)

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """Return a tensor as float32.

        Raises:
            ValueError: a tensor of another type, or that can't be read.
        """
        path, place = self._places[name]
        with _opened(path) as file:
            dataset = file[place]
            if dataset.dtype.kind != "f":
                raise ValueError(f"the tensor {name!r} holds no floating-point numbers ({dataset.dtype})")
            return np.asarray(dataset[()], np.float32)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError:
        raise ModelError(f"{path.name} is read by h5py, which isn't installed; {_PIP}") from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is no HDF5 file, or damaged: {str(error)[:100]}") from None


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Yield path and dataset of each tensor; links aren't followed."""
    listed: list[tuple[str, Any]] = []

    def collect(name: str, item: Any) -> None:
        if hasattr(item, "shape"):
            listed.append((name, item))

    file.visititems(collect)
    yield from listed


def _check_plain(path: Path, name: str, dataset: Any, size: int) -> None:
    shape = dataset.shape or ()
    if dataset.external or dataset.is_virtual or dataset.compression:
        raise ValueError(f"{path.name}: the tensor {name[:200]!r} is compressed or in another file")
    if dataset.shape is None or math.prod(shape) * dataset.dtype.itemsize > size:
        raise ValueError(
            f"{path.name}: the tensor {name[:200]!r} has the shape {list(shape)}, more than the file"
        )
