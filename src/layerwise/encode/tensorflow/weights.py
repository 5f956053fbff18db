"""Read the weights that TensorFlow wrote as those of transformers: by name, in its shapes, as float32.

What isn't of the encoder is left out and told. Every checksum is checked, that of tensors left out as well. Of
ELECTRA the discriminator is read, and the generator (`generator/…`) left out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layerwise.encode.tensorflow.bundle import INDEX, Bundle
from layerwise.encode.tensorflow.h5 import H5Files
from layerwise.encode.tensorflow.names import FAMILIES, is_of_encoder, is_slot, tensor_name
from layerwise.encode.tensorflow.object_graph import OBJECT_GRAPH, VALUE, variable_names

Tensors = dict[str, npt.NDArray[np.float32]]


def read_weights(
    files: Sequence[Path], family: str, blocks: int, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Tensors, tuple[str, ...]]:
    """Return the tensors of a model, and the names of those that were left out, as `cls/*`, in order.

    Args:
        files: the index and the data files of a checkpoint, or HDF5 files.
        family: the family of the model.
        blocks: its number of blocks.
        shapes: the shape of each tensor of transformers' model.

    Raises:
        OSError: a file that can't be read.
        ValueError: a damaged file, a tensor of another shape, or one of the encoder that the model doesn't have.
    """
    if family not in FAMILIES:
        raise ValueError(
            f"weights of TensorFlow are read for {', '.join(FAMILIES)}, and this is {family!r:.60}"
        )
    index = next((path for path in files if path.name.endswith(INDEX)), None)
    reader = Bundle(index) if index is not None else H5Files([p for p in files if p.suffix == ".h5"])
    tensors: Tensors = {}
    left_out = []
    for key, names in _names(reader).items():
        target = _target(names, family, blocks, shapes)
        if target is None:
            _check(reader, key)
            left_out.append(names[0])
            continue
        values = _shaped(names, reader.tensor(key), shapes[target])
        # Shared layers are stored once for each layer that uses them.
        if target in tensors and not np.array_equal(tensors[target], values):
            raise ValueError(f"it holds {target} twice, with different numbers; the second is {key!r}")
        tensors[target] = values
    if not tensors:
        shown = ", ".join(_groups(left_out)[:5])
        raise ValueError(f"it holds no tensors of {family}; it holds {shown[:200] or 'none at all'}")
    return tensors, _groups(left_out)


def _names(reader: Bundle | H5Files) -> dict[str, list[str]]:
    """Return the names of each tensor by its key: its own, and the one that it had in the model."""
    if isinstance(reader, H5Files):
        return {name: [name] for name in reader.names}
    names = {key: [key.removesuffix(VALUE)] for key in reader.entries if key != OBJECT_GRAPH}
    if OBJECT_GRAPH in reader.entries:
        for key, name in variable_names(reader.text(OBJECT_GRAPH)).items():
            if key in names and name:
                names[key].append(name)
    return names


def _check(reader: Bundle | H5Files, key: str) -> None:
    if isinstance(reader, Bundle):
        reader.check(key)


def _target(names: list[str], family: str, blocks: int, shapes: Mapping[str, Any]) -> str | None:
    """Return the tensor of transformers that a variable is; None for one that isn't of the encoder."""
    if any(map(is_slot, names)):
        return None
    targets = [tensor_name(name, family, blocks) for name in reversed(names)]
    expected = next((target for target in targets if target in shapes), None)
    if expected is None and (extra := next((n for n in names if is_of_encoder(n, family)), None)) is not None:
        raise ValueError(f"it holds {extra!r}, which the model of its configuration doesn't have")
    return expected


def _shaped(
    names: list[str], values: npt.NDArray[np.float32], shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Return a tensor in the shape of transformers: kernels are transposed, heads are joined."""
    is_kernel = any(name.endswith("kernel") for name in names)
    joined = (*shape[::-1],) if is_kernel else shape
    same = values.shape == joined or (values.ndim > len(joined) and _joins(values.shape, joined))
    if not same:
        raise ValueError(
            f"the tensor {names[0]!r} has the shape {list(values.shape)}, and the model needs {list(joined)}"
        )
    reshaped = values.reshape(joined)
    return np.ascontiguousarray(reshaped.T if is_kernel else reshaped)


def _joins(shape: tuple[int, ...], joined: tuple[int, ...]) -> bool:
    """Return whether a shape becomes another one if its last or first dimensions are joined, as those of heads are."""
    if len(joined) == 1:
        return math.prod(shape) == joined[0]
    return len(shape) == 3 and joined in (
        (shape[0], shape[1] * shape[2]),
        (shape[0] * shape[1], shape[2]),
    )


def _groups(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in order, where slots of optimisers and heads have become one: `*/adam_m`, `cls/*`."""
    return tuple(sorted({_group(name) for name in names}))


def _group(name: str) -> str:
    if ".OPTIMIZER_SLOT" in name:
        return "*/.OPTIMIZER_SLOT/*"
    first, _, rest = name.partition("/")
    if not rest:
        return name
    return f"*/{name.rsplit('/', 1)[-1]}" if is_slot(name) else f"{first}/*"
