"""Find what TensorFlow wrote in a model's folder: weights, and the settings that Google's folders state by their names."""

from pathlib import Path

from layerwise.encode.model_file_names import is_plain
from layerwise.encode.recipe import read_object
from layerwise.encode.tensorflow.bundle import INDEX, shard_name
from layerwise.encode.tensorflow.table import is_table
from layerwise.errors import ModelError

SAVED_MODEL = "variables"
_H5, _H5_INDEX = "tf_model.h5", "tf_model.h5.index.json"


def find_weights(name: str, home: Path) -> list[Path]:
    """Return the files of the weights that TensorFlow wrote: a checkpoint, those of a SavedModel, or HDF5.

    Args:
        name: the model's name, for errors.
        home: the model's folder.

    Raises:
        ModelError: several checkpoints, or an index of HDF5 files that names others.
    """
    indices = [path for path in sorted(home.glob(f"*{INDEX}")) if _is_checkpoint(path)]
    if len(indices) > 1:
        shown = ", ".join(path.name for path in indices)
        raise ModelError(f"model {name!r}: {home} holds several checkpoints ({shown:.200}); keep one of them")
    saved = home / SAVED_MODEL / f"variables{INDEX}"
    if indices or saved.is_file():
        index = indices[0] if indices else saved
        return [index, *_data_files(name, index)]
    if (home / _H5).is_file():
        return [home / _H5]
    return [home / _H5_INDEX, *_shards(name, home)] if (home / _H5_INDEX).is_file() else []


def _data_files(name: str, index: Path) -> list[Path]:
    prefix = index.name.removesuffix(INDEX)
    files = sorted(index.parent.glob(f"{_escaped(prefix)}.data-?????-of-?????"))
    shards = int(files[0].name[-5:]) if files and files[0].name[-5:].isdigit() else 1
    names = [shard_name(prefix, shard, shards) for shard in range(shards)]
    missing = next((file for file in names if not (index.parent / file).is_file()), None)
    if missing is not None:
        raise ModelError(
            f"model {name!r}: {missing}, which belongs to {index.name}, is missing; fetch it as well"
        )
    return files


def _is_checkpoint(index: Path) -> bool:
    return any(index.parent.glob(f"{_escaped(index.name.removesuffix(INDEX))}.data-*")) or is_table(index)


def _escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _shards(name: str, home: Path) -> list[Path]:
    weight_map = read_object(home / _H5_INDEX).get("weight_map")
    shards = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
    wrong = next(
        (s for s in shards if not (is_plain(s) and s.endswith(".h5") and (home / s).is_file())), None
    )
    if wrong is not None or not shards:
        raise ModelError(
            f"model {name!r}: {_H5_INDEX} names {str(wrong)[:100]!r}; it must name files *.h5 of its own folder, fetch them again"
        )
    return [home / shard for shard in shards]


def lowercases(name: str) -> bool:
    """Return whether Google's model of this name makes texts lower case.

    Google's code states the casing by the name of the folder (`validate_case_matches_checkpoint` in tokenization.py):
    `uncased_…`, `multilingual_…` and `chinese_…` do, `cased_…` and `multi_cased_…` don't. Its default is to do so.
    """
    lower = name.lower()
    return "uncased" in lower or "cased" not in lower
