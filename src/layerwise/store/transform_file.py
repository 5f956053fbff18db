"""The file of a transform: `mean` and `components` as safetensors, and what they are as JSON in its metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from layerwise._util import json_checks
from layerwise._util.guarded import parse_json, read_bytes
from layerwise._util.paths import local_path, reason
from layerwise.choices import LEVELS, POOLS
from layerwise.errors import RequestError
from layerwise.store import disk
from layerwise.store.export_result import TRANSFORM
from layerwise.store.json_object import JsonObject, WrongEntryError
from layerwise.store.layout import to_json
from layerwise.store.records import Hash
from layerwise.transforms import KINDS, FittedRows, Transform

FORMAT, VERSION = "layerwise-transform", 1
_BYTES = 1 << 31  # of a file that is read: 23,000 components of as many dimensions
_ENTRY = "layerwise"  # of the metadata
_AGAIN = "restore it from a copy, or export again"


@dataclass(frozen=True, kw_only=True)
class TransformEntry(JsonObject):
    """The description of a transform; see `transforms.FittedRows`."""

    format: Annotated[str, json_checks.one_of((FORMAT,))]
    version: int
    kind: Annotated[str, json_checks.one_of(KINDS)]
    mix: str
    of_head: bool
    level: Annotated[str, json_checks.one_of(LEVELS)]
    pool: Annotated[str, json_checks.one_of(POOLS)] | None
    special_tokens: bool
    model: str | None
    hashes: Mapping[str, Hash] | None
    rows: Annotated[int, json_checks.whole(1)]
    split: str | None

    def fitted(self) -> FittedRows:
        """Return the rows that the transform was fitted on."""
        return FittedRows(
            self.mix,
            self.of_head,
            self.level,
            self.pool,
            self.special_tokens,
            self.model,
            self.hashes,
            self.rows,
            self.split,
        )


def write_transform(transform: Transform, path: Path) -> None:
    """Write a transform to a new file."""
    rows = transform.fitted
    description = TransformEntry(
        format=FORMAT,
        version=VERSION,
        kind=transform.kind,
        mix=rows.mix,
        of_head=rows.of_head,
        level=rows.level,
        pool=rows.pool,
        special_tokens=rows.special_tokens,
        model=rows.model,
        hashes=rows.hashes,
        rows=rows.rows,
        split=rows.split,
    )
    tensors = {"mean": transform.mean}
    if transform.components is not None:
        tensors["components"] = transform.components
    metadata = {_ENTRY: to_json(description.to_json()).decode("utf-8", "backslashreplace")}
    disk.write_file(path, save(tensors, metadata))


def load_transform(path: str | Path) -> Transform:
    """Return the transform in a file that `export` wrote beside small vectors; call it with the vectors of queries.

    >>> transform = load_transform("small/transform.safetensors")  # doctest: +SKIP
    >>> codes = transform(encoder.encode(["a query"]).mix("6"))  # doctest: +SKIP

    Args:
        path: the file, `transform.safetensors` in the folder of the export.

    Raises:
        RequestError: no such file, another file, a damaged one, or one of a newer version.
    """
    file = local_path(path)
    if file.is_dir():
        raise RequestError(f"{file} is a folder; give the file in it, {file / TRANSFORM}")
    try:
        data = read_bytes(file, _BYTES)
        tensors = load(data)
        metadata = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
        entry = parse_json(metadata[_ENTRY]) if _ENTRY in metadata else {}
    except OSError as error:
        raise RequestError(
            f"can't read {file}: {reason(error)}; give the {TRANSFORM} that export wrote"
        ) from None
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RequestError(
            f"{file} is no transform: {reason(error)}; give the {TRANSFORM} that export wrote"
        ) from None
    return _transform(tensors, _description(entry, file), file)


def _description(value: Any, file: Path) -> TransformEntry:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise RequestError(f"{file} doesn't describe a transform; give the {TRANSFORM} that export wrote")
    version = value.get("version")
    if type(version) is int and version > VERSION:
        raise RequestError(
            f"{file} has format version {version}, this layerwise reads {VERSION}; update layerwise (pip install -U layerwise)"
        )
    try:
        return TransformEntry.from_json(value)
    except WrongEntryError as error:
        raise RequestError(f"{file} is damaged: {error}; {_AGAIN}") from None


def _transform(tensors: Mapping[str, Any], description: TransformEntry, file: Path) -> Transform:
    expected = ["components", "mean"] if description.kind == "pca" else ["mean"]
    if sorted(tensors) != expected:
        raise RequestError(f"{file} is damaged: it holds {sorted(tensors)!r:.60}, not {expected}; {_AGAIN}")
    mean, components = tensors["mean"], tensors.get("components")
    shapes = mean.ndim == 1 and (
        components is None
        or (components.ndim == 2 and 0 < len(components) <= components.shape[1] == len(mean))
    )
    is_sound = all(array.dtype == np.float32 and np.isfinite(array).all() for array in tensors.values())
    if not (shapes and is_sound and len(mean)):
        raise RequestError(f"{file} is damaged: its numbers don't fit together, or aren't finite; {_AGAIN}")
    return Transform(description.kind, mean, components, description.fitted())
