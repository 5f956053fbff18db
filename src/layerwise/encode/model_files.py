"""The files of a model's folder: which of them are read, and the hashes that identify the model.

A model is identified by three hashes over the bytes of its files. `weights` are the files that tensors are read from.
`tokenizer` and `config` are all other files that can change a vector. To miss none of them, this relies on two facts.
transformers and sentence-transformers open files by fixed names, at the top of the folder and in the folders of
modules, and all these names match `READ`. And an entry of a configuration that names any other file is refused
(`model_file_checks`). Code that comes with a model may open any file, so with such code all files count except documents.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise.encode.model_file_checks import (
    check_entries,
    check_files,
    check_inside,
    check_versioned,
    check_vocabulary,
)
from layerwise.encode.model_file_names import (
    CONFIG,
    GOOGLE_CONFIGS,
    PICKLED,
    SAFE,
    TENSORFLOW,
    TOKENIZER_CONFIG,
    WEIGHTS,
    config_files,
    is_plain,
    is_read,
    matches,
)
from layerwise.encode.recipe import MODULES, PROMPTS, SETTINGS, read_object
from layerwise.encode.tensorflow.folder import find_weights
from layerwise.errors import ModelError

_DOCUMENTS = (
    *("readme", "readme.txt", "license", "license.txt", "notice", "notice.txt"),
    *("*.md", "*.rst", "*.pdf", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.svg", "*.webp"),
)
_OF_CONFIG = (CONFIG, "config.*.json", *GOOGLE_CONFIGS, MODULES, PROMPTS, *SETTINGS, "*.py")
_AUTO = ("AutoConfig", "AutoModel", "AutoTokenizer")


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model, as paths relative to `root`, in order.

    Attributes:
        weights: the files that tensors are read from.
        tokenizer, config: all other files that can change a vector.
        unused: files of weights that nothing reads.
        code: whether code in the folder would be run in place of that of transformers, with `trust_remote_code`.
        stamps: size and time of modification of each file, to detect changes.
    """

    root: Path
    weights: tuple[str, ...]
    tokenizer: tuple[str, ...]
    config: tuple[str, ...]
    unused: tuple[str, ...]
    code: bool
    stamps: tuple[tuple[int, int], ...]

    @property
    def pickled(self) -> bool:
        """Whether the weights are in a pickle."""
        return any(name.endswith(PICKLED[2]) for name in self.weights)

    @property
    def of_tensorflow(self) -> bool:
        """Whether TensorFlow wrote the weights."""
        return bool(self.weights) and matches(Path(self.weights[0]), TENSORFLOW)

    @property
    def bytes(self) -> int:
        """The size of the weights in bytes."""
        return sum((self.root / name).stat().st_size for name in self.weights)

    def hashes(self) -> dict[str, str]:
        """Return SHA-256 of `weights`, `tokenizer` and `config`: of a single file, or of the list of the files' hashes.

        Raises:
            ModelError: a file has changed since it was found, and may not be the one that was loaded.
        """
        groups = {"weights": self.weights, "tokenizer": self.tokenizer, "config": self.config}
        try:
            hashes = {group: _hash_files(self.root, names) for group, names in groups.items()}
            unchanged = _stamps(self.root, (*self.weights, *self.tokenizer, *self.config)) == self.stamps
        except OSError:
            unchanged = False
        if not unchanged:
            raise ModelError(
                f"the files of the model in {self.root} have changed since they were read; load it again"
            )
        return hashes


def find_files(
    name: str,
    root: Path,
    home: Path,
    folders: Iterable[Path] = (),
    *,
    allow_pickle: bool = False,
    own_code: bool = False,
) -> ModelFiles:
    """Return the files of a model.

    Args:
        name: the model's name, for errors.
        root: the model's folder.
        home: the folder of configuration, weights and tokenizer: `root`, or a folder in it.
        folders: the folders of other modules.
        allow_pickle: whether weights may be in a pickle.
        own_code: whether a module is of code that comes with the folder.

    Raises:
        ModelError: a file that names files of other places, or that is a link to another place.
    """
    for folder in sorted({root, home, *folders}):
        check_files(name, folder)
    settings = read_object(home / TOKENIZER_CONFIG)
    check_versioned(name, home, settings)
    configs = {path.name: read_object(path) for path in config_files(home)}
    check_entries(name, home, configs, settings)
    check_vocabulary(name, home)
    weights = _weights(name, home, allow_pickle=allow_pickle)
    auto_maps = [entries.get("auto_map") for entries in (*configs.values(), settings)]
    code = own_code or any(auto_maps)
    files, links = _walk(root)
    # transformers looks into these folders, not into their subfolders. Code may open any file.
    top_files = [
        path for folder in sorted({root, home, *folders}) for path in _listed(folder) if is_read(path)
    ]
    nested_files = [path for path in files if _counts_anywhere(path, code)]
    counted = [path for path in dict.fromkeys([*top_files, *nested_files]) if path not in weights]
    check_inside(name, root, [*weights, *counted, *(links if code else ())])
    tokenizer = [path for path in counted if path.parent == home and _is_of_tokenizer(path)]
    of_config = [path for path in counted if path not in tokenizer]
    unused = [path for path in files if matches(path, WEIGHTS) and path not in [*counted, *weights]]
    names = [_relative(root, group) for group in (weights, tokenizer, of_config)]
    stamps = _stamps(root, (*names[0], *names[1], *names[2]))
    runs = any(map(_replaces_transformers, auto_maps))
    return ModelFiles(root, names[0], names[1], names[2], _relative(root, unused), runs, stamps)


def files_of_names(root: Path, weights: tuple[str, ...], config: tuple[str, ...]) -> ModelFiles:
    """Return files of a folder by their names: those of weights, and others that can change a vector.

    Raises:
        ModelError: a file that is a link to another place.
    """
    check_inside(str(root), root, [root / name for name in (*weights, *config)])
    return ModelFiles(root, weights, (), config, (), False, _stamps(root, (*weights, *config)))


def _replaces_transformers(auto_map: Any) -> bool:
    """Return whether an `auto_map` names code for configuration, model without a head, or tokenizer."""
    return any(key in auto_map for key in _AUTO) if isinstance(auto_map, dict) else bool(auto_map)


def _weights(name: str, home: Path, *, allow_pickle: bool) -> list[Path]:
    """Return the files that tensors are read from, with the index if there are several.

    Where there are files of transformers, those of TensorFlow aren't read.
    """
    for single, index, ending in (SAFE, PICKLED) if allow_pickle else (SAFE,):
        if (home / single).is_file():
            return [home / single]
        if (home / index).is_file():
            return [home / index, *_shards(name, home / index, ending)]
    return find_weights(name, home)


def _shards(name: str, index: Path, ending: str) -> list[Path]:
    """Return the files that an index of weights names."""
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index} names no files in weight_map; the model's folder is damaged")
    shards = sorted({str(shard) for shard in weight_map.values()})
    for shard in shards:
        if not is_plain(shard) or not shard.endswith(ending):
            raise ModelError(
                f"model {name!r}: {index.name} names {shard[:100]!r}; it may only name files *{ending} in its own folder"
            )
        if not (index.parent / shard).is_file():
            raise ModelError(
                f"model {name!r}: {index.name} names {shard!r}, which doesn't exist; fetch it again"
            )
    return [index.parent / shard for shard in shards]


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """Return all files below a folder, hidden ones excluded, and the links to folders, which aren't followed."""
    files, links = [], []
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        links += [path for path in (Path(parent, name) for name in folders) if path.is_symlink()]
        files += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    return [path for path in files if path.is_file()], links


def _listed(folder: Path) -> list[Path]:
    """Return the files in a folder, without those of its subfolders."""
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _is_of_tokenizer(path: Path) -> bool:
    return is_read(path) and not matches(path, _OF_CONFIG)


def _counts_anywhere(path: Path, code: bool) -> bool:
    """Return whether a file counts in any subfolder: code, and all files that code may open."""
    return path.suffix == ".py" or (code and not matches(path, _DOCUMENTS))


def _relative(root: Path, paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(root).as_posix() for path in paths))


def _stamps(root: Path, names: Iterable[str]) -> tuple[tuple[int, int], ...]:
    stats = [(root / name).stat() for name in names]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)


def _hash_files(root: Path, names: Sequence[str]) -> str:
    hashes = []
    for name in names:
        with (root / name).open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(hashes) == 1:
        return hashes[0]
    # A name may contain a line break. Quoted, it can't have the same list of hashes as several files.
    lines = [
        f"{digest}  {json.dumps(name) if chr(10) in name else name}\n"
        for digest, name in zip(hashes, names, strict=True)
    ]
    return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()
