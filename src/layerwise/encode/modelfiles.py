"""The files of a model's folder: which of them are read, and the hashes that identify the model.

A model is identified by three hashes over the bytes of its files. `weights` are the files that tensors are read from.
`tokenizer` and `config` are all other files that can change a vector. To miss none of them, this relies on two facts.
transformers and sentence-transformers open files by fixed names, at the top of the folder and in the folders of
modules, and all these names match `READ`. And an entry of a configuration that names any other file is refused here.
Code that comes with a model may open any file, so with such code all files count except documents.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from layerwise.arguments import argument
from layerwise.encode.recipe import MODULES, PROMPTS, SETTINGS, read_object
from layerwise.errors import ModelError

CONFIG, TOKENIZER_CONFIG, TOKEN_MAP = "config.json", "tokenizer_config.json", "special_tokens_map.json"
# The files that transformers may read besides weights.
READ = ("*.json", "*.txt", "*.model", "*.model.*", "*.tiktoken", "*.spm", "*.codes", "*.tokenizer", "*.py")
# The files among them that no vector depends on: settings of text generation, and records of the training.
_IRRELEVANT = (
    "generation_config.json",
    "data_config.json",
    "trainer_state.json",
    "*_results.json",
    "*.index.json",
    "requirements*.txt",
    "readme*",
    "license*",
    "notice*",
)
_DOCUMENTS = (
    *("readme", "readme.txt", "license", "license.txt", "notice", "notice.txt"),
    *("*.md", "*.rst", "*.pdf", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.svg", "*.webp"),
)
_OF_CONFIG = (CONFIG, "config.*.json", MODULES, PROMPTS, *SETTINGS, "*.py")
_OF_WEIGHTS = (
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.ckpt.*", "*.h5", "*.msgpack", "*.ot", "*.npz"),
    *("*.onnx", "*.onnx_data", "*.gguf", "*.tflite"),
)
# The name of a single file of weights, of the index of several files, and the ending of their names.
_SAFE = ("model.safetensors", "model.safetensors.index.json", ".safetensors")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", ".bin")
# Entries of a tokenizer's configuration that would replace the folder's files.
_REPLACEMENTS = ("vocab", "merges", "gguf_file", "init_inputs")
# Entries that may name a kernel on the hub, which is code.
_KERNELS = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)
_AUTO = ("AutoConfig", "AutoModel", "AutoTokenizer")
_VERSIONED = {CONFIG: "configuration_files", TOKENIZER_CONFIG: "fast_tokenizer_files"}
# Without a tokenizer.json, transformers takes the first file whose name contains one of the others for the vocabulary,
# in the order in which the system lists files.
_FULL_TOKENIZER, _VOCABULARIES = "tokenizer.json", ("tekken.json", "tokenizer.model", "tiktoken.model")
_NEVER_FOLDERS = (".json", ".txt", ".model")
_CODE = re.compile(r"((?:\w+/)*\w+)\.\w+")


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
        return any(name.endswith(_PICKLED[2]) for name in self.weights)

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
        _check_files(name, folder)
    settings = read_object(home / TOKENIZER_CONFIG)
    _check_versioned(name, home, settings)
    configs = {path.name: read_object(path) for path in config_files(home)}
    _check_named(name, home, configs, settings)
    _check_look_alikes(name, home)
    weights = _weights(name, home, allow_pickle=allow_pickle)
    auto_maps = [entries.get("auto_map") for entries in (*configs.values(), settings)]
    code = own_code or any(auto_maps)
    files, links = _walk(root)
    tops = [path for folder in sorted({root, home, *folders}) for path in _listed(folder) if is_read(path)]
    anywhere = [path for path in files if _counts_anywhere(path, code)]
    counted = [path for path in dict.fromkeys([*tops, *anywhere]) if path not in weights]
    _check_inside(name, root, [*weights, *counted, *(links if code else ())])
    tokenizer = [path for path in counted if path.parent == home and _is_of_tokenizer(path)]
    of_config = [path for path in counted if path not in tokenizer]
    unused = [path for path in files if _matches(path, _OF_WEIGHTS) and path not in [*counted, *weights]]
    names = [_relative(root, group) for group in (weights, tokenizer, of_config)]
    stamps = _stamps(root, (*names[0], *names[1], *names[2]))
    runs = any(map(_replaces_transformers, auto_maps))
    return ModelFiles(root, names[0], names[1], names[2], _relative(root, unused), runs, stamps)


def config_files(home: Path) -> list[Path]:
    """Return config.json, and the files that it names for versions of transformers, one of which may replace it."""
    listed = read_object(home / CONFIG).get(_VERSIONED[CONFIG]) or []
    names = [CONFIG, *(listed if isinstance(listed, list) else [listed])]
    return [home / name for name in dict.fromkeys(names) if (home / name).is_file()]


def check_code(name: str, home: Path) -> None:
    """Check that all code of a model is in its folder, before it is run.

    Raises:
        ModelError: code in another place.
    """
    for file in (*config_files(home), home / TOKENIZER_CONFIG):
        for reference in _references(read_object(file).get("auto_map")):
            match = _CODE.fullmatch(reference) if isinstance(reference, str) else None
            if match is None or not (home / f"{match[1]}.py").is_file():
                raise ModelError(
                    f"model {name!r}: {file.name} takes code from {str(reference)[:100]!r}, which is no file of its folder; "
                    f"put a copy of that code there and name it in auto_map, or leave {argument('trust_remote_code')} out"
                )


def _replaces_transformers(auto_map: Any) -> bool:
    """Return whether an `auto_map` names code for configuration, model without a head, or tokenizer."""
    return any(key in auto_map for key in _AUTO) if isinstance(auto_map, dict) else bool(auto_map)


def _references(auto_map: Any) -> list[Any]:
    """Return the classes that an `auto_map` names; for tokenizers it has lists of two, one of which may be null."""
    values = list(auto_map.values()) if isinstance(auto_map, dict) else [auto_map]
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return [reference for reference in flat if reference is not None]


def _weights(name: str, home: Path, *, allow_pickle: bool) -> list[Path]:
    """Return the files that transformers reads tensors from, with the index if there are several."""
    for single, index, ending in (_SAFE, _PICKLED) if allow_pickle else (_SAFE,):
        if (home / single).is_file():
            return [home / single]
        if (home / index).is_file():
            return [home / index, *_shards(name, home / index, ending)]
    return []


def _shards(name: str, index: Path, ending: str) -> list[Path]:
    """Return the files that an index of weights names."""
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index} names no files in weight_map; the model's folder is damaged")
    shards = sorted({str(shard) for shard in weight_map.values()})
    for shard in shards:
        if not _is_plain(shard) or not shard.endswith(ending):
            raise ModelError(
                f"model {name!r}: {index.name} names {shard[:100]!r}; it may only name files *{ending} beside itself"
            )
        if not (index.parent / shard).is_file():
            raise ModelError(
                f"model {name!r}: {index.name} names {shard!r}, which isn't there; fetch it again"
            )
    return [index.parent / shard for shard in shards]


def _check_versioned(name: str, home: Path, settings: Mapping[str, Any]) -> None:
    """Raise ModelError for files for versions of transformers that are in another place or have unusual names."""
    for file, entries in ((CONFIG, read_object(home / CONFIG)), (TOKENIZER_CONFIG, settings)):
        key = _VERSIONED[file]
        listed = entries.get(key) or []
        for value in listed if isinstance(listed, list) else [listed]:
            if not isinstance(value, str) or not _is_plain(value) or not is_read(Path(value)):
                raise _other_place(name, file, key, value)


def _check_named(
    name: str, home: Path, configs: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]
) -> None:
    """Raise ModelError for entries by which weights, code or tokenizer would come from another place."""
    for file, config in configs.items():
        if any(value is not None for value in _nested(config, ["transformers_weights"])):
            raise ModelError(
                f"model {name!r}: {file} names the file of its weights (transformers_weights), which isn't supported; "
                f"call that file {_SAFE[0]} and take the entry out"
            )
        for value in _nested(config, (*_KERNELS, *(f"{key}_internal" for key in _KERNELS))):
            if "/" in str(value):
                raise _other_place(name, file, "attn_implementation", value)
    for file, entries in ((TOKENIZER_CONFIG, settings), (TOKEN_MAP, read_object(home / TOKEN_MAP))):
        for key, value in entries.items():
            if (key in _REPLACEMENTS and value) or _names_file(file, key, value, home):
                raise _other_place(name, file, key, value)


def _check_look_alikes(name: str, home: Path) -> None:
    """Raise ModelError for files that transformers would take for the vocabulary by a part of their names."""
    if (home / _FULL_TOKENIZER).is_file():
        return
    names = sorted(path.name for path in home.iterdir())
    matches = [entry for entry in names if any(part in entry for part in (_FULL_TOKENIZER, *_VOCABULARIES))]
    wrong = [entry for entry in matches if entry not in _VOCABULARIES or not (home / entry).is_file()]
    if wrong or len(matches) > 1:
        raise ModelError(
            f"model {name!r}: {home} holds {', '.join(map(repr, wrong or matches))[:200]}, and transformers takes whatever is "
            "called so for the vocabulary; leave one, or give what is no vocabulary another name"
        )


def _check_files(name: str, folder: Path) -> None:
    """Raise ModelError for files that transformers would ignore: broken links, and folders with the name of a file."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not (is_read(path) or _matches(path, _OF_WEIGHTS)):
            continue
        if path.is_symlink() and not path.exists():
            raise ModelError(
                f"model {name!r}: {path} is a link to {str(path.readlink())!r:.200}, which isn't there; fetch the model again, "
                "or take the link away"
            )
        if path.is_dir() and path.suffix in _NEVER_FOLDERS:
            raise ModelError(f"model {name!r}: {path} is a folder; put the right file there, or take it away")


def _names_file(file: str, key: str, value: Any, home: Path) -> bool:
    """Return whether an entry makes transformers open a file.

    Older versions wrote paths into tokenizer_config.json, mostly of files that no longer exist. transformers ignores
    them unless the tokenizer's class doesn't know the key.
    """
    if not key.endswith("_file") or key == "special_tokens_map_file" or not isinstance(value, str):
        return False
    return file == TOKEN_MAP or _is_outside(value, home)


def _other_place(name: str, file: str, key: str, value: Any) -> ModelError:
    return ModelError(
        f"model {name!r}: {file} names {str(value)[:100]!r} as {key}; only the folder's own files are read, by their "
        "usual names: take that entry out"
    )


def _is_outside(path: str, home: Path) -> bool:
    """Return whether there is a file of that path outside the folder."""
    try:
        return Path(path).is_file() and not Path(path).resolve().is_relative_to(home.resolve())
    except (OSError, ValueError):  # too long, or with a null character: no such file
        return False


def _nested(value: Any, keys: Sequence[str]) -> Iterator[Any]:
    """Yield the values of `keys` at any depth of a JSON value."""
    if isinstance(value, dict):
        yield from (inner for key, inner in value.items() if key in keys)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nested(inner, keys)


def _is_plain(name: str) -> bool:
    """Return whether a name is that of a file in the same folder."""
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _check_inside(name: str, root: Path, paths: Iterable[Path]) -> None:
    """Raise ModelError for links out of the folder; in the hub's cache, `snapshots/…` holds links to `blobs` beside it."""
    home = root.resolve()
    allowed = [home, *(folder.parent / "blobs" for folder in home.parents if folder.name == "snapshots")]
    for path in paths:
        target = path.resolve()
        if not any(target.is_relative_to(folder) for folder in allowed):
            raise ModelError(
                f"model {name!r}: {path.relative_to(root)} is a link to {target}, outside the model's folder; put the "
                "file itself there if it belongs to the model"
            )


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


def is_read(path: Path) -> bool:
    """Return whether transformers may read a file of this name, and a vector may depend on it."""
    return _matches(path, READ) and not _matches(path, _IRRELEVANT)


def _is_of_tokenizer(path: Path) -> bool:
    return is_read(path) and not _matches(path, _OF_CONFIG)


def _counts_anywhere(path: Path, code: bool) -> bool:
    """Return whether a file counts in any subfolder: code, and all files that code may open."""
    return path.suffix == ".py" or (code and not _matches(path, _DOCUMENTS))


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch(path.name.lower(), pattern) for pattern in patterns)


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
