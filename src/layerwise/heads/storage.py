"""Write and read a head: a folder of `head.json` and `head.safetensors`, without executable content.

head.json           format, version, the model with its hashes, how rows are encoded, tasks, training, versions
head.safetensors    the tensors of task 0 as `0.weight`, `0.bias`, …, then those of task 1; see `tensor_specs`

A folder is written under a temporary name and renamed, so that a head is never incomplete. `head.json` is checked
before anything in it is used, and `head.safetensors` is read only if its size and its hash fit.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from layerwise._util import json_checks
from layerwise._util.folder_kinds import other_kind
from layerwise._util.guarded import (
    HEAD_BYTES,
    check_regular,
    digest_regular,
    read_bytes,
    read_json,
)
from layerwise._util.paths import local_path, reason
from layerwise.array_types import F64
from layerwise.errors import HeadError, RequestError
from layerwise.heads.head import Fitted, HeadData, TaskHead, layer_widths
from layerwise.heads.mixing import Norms, input_width
from layerwise.heads.storage_checks import check_head
from layerwise.mixes import LayerStats, Mix, looks_like_mix, parse_mix
from layerwise.store import disk
from layerwise.store.layout import to_json

FORMAT = "layerwise-head"
VERSION = 2
JSON, TENSORS = "head.json", "head.safetensors"
_NUMPY = {"F32": np.float32, "F64": np.float64}
_BYTES = {"F32": 4, "F64": 8}
TensorSpec = tuple[str, tuple[int, ...]]
"""The safetensors type and the shape of an array."""


def write_head(head: HeadData, path: str | Path) -> None:
    """Write a head to the folder `path`.

    Raises:
        OutputError: a folder that exists or can't be written.
    """
    tensors = save(
        {
            f"{number}.{name}": values
            for number, task in enumerate(head.task_heads)
            for name, values in to_tensors(task).items()
        }
    )
    with disk.new(Path(path)) as part:
        part.mkdir()
        disk.write_file(part / TENSORS, tensors)
        disk.write_file(part / JSON, to_json({**head.provenance, **_description(head, tensors)}))


def _description(head: HeadData, tensors: bytes) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": dict(head.model),
        "rows": dict(head.rows),
        "pairs": None if head.pairs is None else list(head.pairs),
        "tasks": [_task(task) for task in head.task_heads],
        "tensors": {"bytes": len(tensors), "sha256": hashlib.sha256(tensors).hexdigest()},
        "training": _finite(dict(head.training)),
    }


def _task(task: TaskHead) -> dict[str, Any]:
    return {
        "name": task.name,
        "task": task.task,
        "label": task.label,
        "mix": str(task.mix),
        "classes": list(task.classes),
        "multi": task.multi,
        "label_separator": task.label_separator,
        "hidden": None if task.fitted.hidden is None else len(task.fitted.hidden[1]),
        "activation": task.fitted.activation,
    }


def _finite(value: Any) -> Any:
    """Return a value with `None` in place of NaN and infinity, which JSON can't hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def is_head_folder(text: str) -> bool:
    """Return whether a mix is meant as the folder of a head, by its form, or because there is such a folder."""
    if looks_like_mix(text):
        return False
    folder = Path(text)
    return len(folder.parts) > 1 or text.startswith(".") or folder.suffix == ".head" or folder.is_dir()


def _why_no_head(folder: Path) -> str:
    if (other := other_kind(folder, "a head")) is not None:
        return f"is {other}"
    if folder.is_file():
        return "is a file"
    return "holds no head.json" if folder.exists() else "doesn't exist"


def describe_head(path: str | Path) -> dict[str, Any]:
    """Return the checked content of `head.json`.

    Raises:
        HeadError: no head, a damaged one, or one of another format version.
    """
    folder = local_path(path)
    file = folder / JSON
    if not file.is_file():
        raise HeadError(f"{folder} {_why_no_head(folder)}; a head is a folder that `layerwise train` writes")
    try:
        value = read_json(file)
    except OSError as error:
        raise HeadError(f"can't read {file}: {reason(error)}; make it readable") from None
    except ValueError as error:
        raise HeadError(f"{file} is damaged, it holds no JSON ({error}); restore it from a copy") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise HeadError(
            f"{file} doesn't describe a layerwise head; a head is a folder that `layerwise train` writes"
        )
    version = value.get("version")
    if type(version) is int and 0 < version < VERSION:
        raise HeadError(
            f"{file} has format version {version}, of an older layerwise, and this one reads {VERSION}; "
            "train the head again with `layerwise train`"
        )
    if type(version) is int and version > VERSION:
        raise HeadError(
            f"{file} has format version {version}, this layerwise reads {VERSION}; "
            "update layerwise (pip install -U layerwise)"
        )
    wrong = check_head(value) if type(version) is int and version == VERSION else "version"
    if wrong:
        raise HeadError(
            f"{file} is damaged: {wrong} is {json_checks.entry(value, wrong)!r:.60}; restore it from a copy"
        )
    return value


def read_head(path: str | Path) -> HeadData:
    """Return the head in a folder; its versions, shapes and hash are checked.

    Raises:
        HeadError: no head, a damaged one, or one of another format version.
    """
    value = describe_head(path)
    mixes = _mixes(Path(path) / JSON, value)
    arrays = _arrays(Path(path) / TENSORS, value, _expected_tensors(value, mixes))
    arrays_of_tasks: list[dict[str, Any]] = [{} for _ in mixes]
    for name, array in arrays.items():
        number, _, tensor_name = name.partition(".")
        arrays_of_tasks[int(number)][tensor_name] = array
    tasks = []
    for entry, mix, task_arrays in zip(value["tasks"], mixes, arrays_of_tasks, strict=True):
        widths = layer_widths(value["model"], mix.layers)
        fitted, stats, norms = from_tensors(task_arrays, mix, entry["activation"], widths)
        tasks.append(
            TaskHead(
                name=entry["name"],
                task=entry["task"],
                label=entry["label"],
                mix=mix,
                classes=tuple(entry["classes"]),
                multi=entry["multi"],
                label_separator=entry["label_separator"],
                norms=norms,
                stats=stats,
                fitted=fitted,
            )
        )
    pairs = value.get("pairs")
    provenance = {name: value.get(name) for name in ("versions", "made")}
    both = None if pairs is None else (pairs[0], pairs[1])
    model, rows, training = value["model"], value["rows"], value["training"]
    # Older heads lack these; in the order of the file, so that a head that is written again has the same bytes.
    rows = rows | {name: None for name in ("prompt", "word_split") if name not in rows}
    return HeadData(model, rows, both, tuple(tasks), training, provenance, head_name(path))


def head_name(path: str | Path) -> str:
    """Return the name of a head: that of its folder, without the ending."""
    folder = Path(path)
    return (folder if folder.name not in ("", "..") else folder.resolve()).stem


def _mixes(file: Path, value: dict[str, Any]) -> list[Mix]:
    try:
        mixes = [parse_mix(entry["mix"], value["model"]["blocks"]) for entry in value["tasks"]]
        for mix in mixes:
            mix.out_width(layer_widths(value["model"], mix.layers))
    except RequestError as error:
        raise HeadError(f"{file} is damaged: {error!s:.300}; restore it from a copy") from None
    return mixes


def _expected_tensors(value: dict[str, Any], mixes: Sequence[Mix]) -> dict[str, TensorSpec]:
    """Return the tensors that `head.json` describes."""
    model, paired = value["model"], value.get("pairs") is not None
    return {
        f"{number}.{name}": tensor
        for number, (entry, mix) in enumerate(zip(value["tasks"], mixes, strict=True))
        for name, tensor in tensor_specs(
            mix, layer_widths(model, mix.layers), paired, len(entry["classes"]) or 1, entry.get("hidden")
        ).items()
    }


def _arrays(file: Path, value: dict[str, Any], expected_tensors: dict[str, TensorSpec]) -> dict[str, Any]:
    """Return the tensors of a head; they are read only if size and hash match `head.json`."""
    try:
        size, digest = check_regular(file), ""
        _check_bytes(file, size, expected_tensors)
        if size == value["tensors"]["bytes"]:
            digest = digest_regular(file)
        if digest != value["tensors"]["sha256"]:
            raise HeadError(f"{file} doesn't have the hash that {JSON} holds; restore both from a copy")
        arrays: dict[str, Any] = load(read_bytes(file, HEAD_BYTES))
    except OSError as error:
        raise HeadError(f"can't read {file}: {reason(error)}; restore it from a copy") from None
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise HeadError(f"{file} is damaged: {reason(error)}; restore it from a copy") from None
    _check_shapes(file, arrays, expected_tensors)
    return arrays


def _check_bytes(file: Path, size: int, expected_tensors: dict[str, TensorSpec]) -> None:
    """Raise HeadError for a file that is too large, or too small for the tensors that `head.json` describes."""
    least_size = sum(_BYTES[kind] * math.prod(shape) for kind, shape in expected_tensors.values())
    if size > HEAD_BYTES:
        raise HeadError(
            f"{file} has {size:,} bytes, and at most {HEAD_BYTES:,} are read; restore it from a copy"
        )
    if least_size > size:
        raise HeadError(
            f"{file} is damaged: it has {size:,} bytes and the tensors in {JSON} need {least_size:,}; restore both from a copy"
        )


def _check_shapes(file: Path, arrays: dict[str, Any], expected_tensors: dict[str, TensorSpec]) -> None:
    for name in sorted({*expected_tensors, *arrays}):
        if not _fits(arrays.get(name), expected_tensors.get(name)):
            got = "missing" if name not in arrays else f"{arrays[name].dtype} {arrays[name].shape}"
            allowed = (
                f"finite {expected_tensors[name][0]} {expected_tensors[name][1]}"
                if name in expected_tensors
                else "expected"
            )
            raise HeadError(
                f"{file} is damaged: tensor {name[:60]!r} is {got}, not {allowed}; restore it from a copy"
            )


def _fits(array: Any, tensor: TensorSpec | None) -> bool:
    if array is None or tensor is None:
        return False
    kind, shape = tensor
    return bool(array.shape == shape and array.dtype == _NUMPY[kind] and np.isfinite(array).all())


def tensor_specs(
    mix: Mix, widths: Mapping[str, int], paired: bool, outputs: int, hidden: int | None
) -> dict[str, TensorSpec]:
    """Return the tensors of a head of these sizes: safetensors type and shape of each, by name."""
    inputs = input_width(mix, widths, paired)
    count = len(mix.layers) if mix.how == "learned" else 1
    out: dict[str, TensorSpec] = {
        "mix.weights": ("F32", (count,)),
        "mix.scale": ("F32", (1,)),
        "mean": ("F64", (count, inputs)),
        "std": ("F64", (count, inputs)),
        "weight": ("F32", (hidden or inputs, outputs)),
        "bias": ("F32", (outputs,)),
    }
    if hidden is not None:
        out |= {"hidden.weight": ("F32", (inputs, hidden)), "hidden.bias": ("F32", (hidden,))}
    if mix.norm is not None and mix.how != "learned":
        of_layers = [widths[name] for name in mix.layers]
        equal = len(set(of_layers)) == 1
        shape = (len(of_layers), of_layers[0]) if equal else (sum(of_layers),)
        out |= dict.fromkeys(("norm.mean", "norm.std"), ("F64", shape))
    return out


def to_tensors(task: TaskHead) -> dict[str, np.ndarray[Any, Any]]:
    """Return the numbers of a task as named arrays; `from_tensors` is the inverse."""
    fitted = task.fitted
    out: dict[str, np.ndarray[Any, Any]] = {
        "mix.weights": np.asarray(fitted.mix_weights, np.float32),
        "mix.scale": np.array([fitted.scale], np.float32),
        "mean": np.stack([stats.mean for stats in task.stats]),
        "std": np.stack([stats.std for stats in task.stats]),
        "weight": np.ascontiguousarray(fitted.weight, np.float32),
        "bias": np.ascontiguousarray(fitted.bias, np.float32),
    }
    if fitted.hidden is not None:
        out["hidden.weight"], out["hidden.bias"] = (
            np.ascontiguousarray(part, np.float32) for part in fitted.hidden
        )
    if task.norms is not None:
        out["norm.mean"] = _joined([task.norms[name].mean for name in task.mix.layers])
        out["norm.std"] = _joined([task.norms[name].std for name in task.mix.layers])
    return out


def _joined(arrays: Sequence[F64]) -> F64:
    """Return statistics of layers as one array: (layers, width), or those of unequal widths one after the other."""
    return np.stack(arrays) if len({len(array) for array in arrays}) == 1 else np.concatenate(arrays)


def from_tensors(
    arrays: Mapping[str, Any], mix: Mix, activation: str, widths: Mapping[str, int] | None = None
) -> tuple[Fitted, tuple[LayerStats, ...], Norms | None]:
    """Return the weights, the statistics of the planes and those of the layers from named arrays.

    `widths` are those of the layers, where they are unequal.
    """
    hidden = (arrays["hidden.weight"], arrays["hidden.bias"]) if "hidden.bias" in arrays else None
    fitted = Fitted(
        mix_weights=arrays["mix.weights"],
        scale=float(arrays["mix.scale"][0]),
        hidden=hidden,
        weight=arrays["weight"],
        bias=arrays["bias"],
        epochs=0,
        dev_loss=0.0,
        activation=activation,
    )
    stats = tuple(map(LayerStats, arrays["mean"], arrays["std"]))
    norms = None
    if "norm.mean" in arrays:
        ends: list[int] = np.cumsum([widths[name] for name in mix.layers])[:-1].tolist() if widths else []
        mean, std = (
            array if array.ndim == 2 else np.split(array, ends)
            for array in (arrays["norm.mean"], arrays["norm.std"])
        )
        norms = dict(zip(mix.layers, map(LayerStats, mean, std), strict=True))
    return fitted, stats, norms
