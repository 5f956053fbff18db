"""The files of a model's folder: which are loaded, where they lie, and the hashes that tell one model from another.

A model is three hashes over the bytes of its files. `weights` are those that tensors are read from. `tokenizer` and
`config` share all others that can change a vector. That they miss none rests on this: transformers, and the recipe of
a sentence-transformers folder, open files by fixed names at the top of the folder and in the folders of modules, and
all these names end as `READ` says; what a file could name besides is refused, unless it is such a file of the folder.
Code that comes with a model may open anything, so where there is some, all files count but documents.
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

from layerwise.encode.recipe import MODULES, PROMPTS, SETTINGS, read_object
from layerwise.errors import ModelError

CONFIG, TOKENIZER_CONFIG, TOKEN_MAP = "config.json", "tokenizer_config.json", "special_tokens_map.json"
# What transformers reads besides weights.
READ = ("*.json", "*.txt", "*.model", "*.model.*", "*.tiktoken", "*.spm", "*.codes", "*.tokenizer", "*.py")
# Of these, what no vector depends on: nothing is generated, and what training wrote down is past.
_IDLE = (
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
# The one file of weights, its index where there are several, and how the names of these end.
_SAFE = ("model.safetensors", "model.safetensors.index.json", ".safetensors")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", ".bin")
# Entries of a tokenizer's configuration that would stand for the folder's files.
_STAND_INS = ("vocab", "merges", "gguf_file", "init_inputs")
# Entries that may name a kernel of the hub, which is code.
_KERNELS = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)
_AUTO = ("AutoConfig", "AutoModel", "AutoTokenizer")
_VERSIONED = {CONFIG: "configuration_files", TOKENIZER_CONFIG: "fast_tokenizer_files"}
# Without a tokenizer.json transformers reads as the vocabulary whatever has one of the others in its name, the first that
# the system lists.
_FULL_TOKENIZER, _VOCABULARIES = "tokenizer.json", ("tekken.json", "tokenizer.model", "tiktoken.model")
_NEVER_FOLDERS = (".json", ".txt", ".model")
_CODE = re.compile(r"((?:\w+/)*\w+)\.\w+")


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model, as paths relative to `root`, in order.

    Attributes:
        weights: those that tensors are read from.
        tokenizer, config: all others that can change a vector.
        unused: weights that nothing reads.
        code: they bring code that would be run in place of that of transformers, with --trust-remote-code.
        stamps: what tells whether a file was changed since it was found.
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
        """Whether the weights are a pickle."""
        return any(name.endswith(_PICKLED[2]) for name in self.weights)

    @property
    def bytes(self) -> int:
        """The size of the weights."""
        return sum((self.root / name).stat().st_size for name in self.weights)

    def hashes(self) -> dict[str, str]:
        """Return SHA-256 of `weights`, `tokenizer` and `config`: of the one file, or of the list of the files' hashes.

        Raises:
            ModelError: a file was changed since it was found, so that it may not be what was loaded.
        """
        groups = {"weights": self.weights, "tokenizer": self.tokenizer, "config": self.config}
        try:
            hashes = {group: _hash_files(self.root, names) for group, names in groups.items()}
            same = _stamps(self.root, (*self.weights, *self.tokenizer, *self.config)) == self.stamps
        except OSError:
            same = False
        if not same:
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
        name: of the model, for errors.
        root: its folder.
        home: where configuration, weights and tokenizer are: `root`, or a folder within.
        folders: those of its other modules.
        allow_pickle: weights may be a pickle.
        own_code: modules are of code that comes with the folder.

    Raises:
        ModelError: files that name others, or that lie outside the folder.
    """
    for folder in sorted({root, home, *folders}):
        _check_there(name, folder)
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
    runs = any(map(_replaces_ours, auto_maps))
    return ModelFiles(root, names[0], names[1], names[2], _relative(root, unused), runs, stamps)


def config_files(home: Path) -> list[Path]:
    """Return config.json and the files that it names for versions of transformers, one of which is read in its place."""
    listed = read_object(home / CONFIG).get(_VERSIONED[CONFIG]) or []
    names = [CONFIG, *(listed if isinstance(listed, list) else [listed])]
    return [home / name for name in dict.fromkeys(names) if (home / name).is_file()]


def check_code(name: str, home: Path) -> None:
    """Make sure that the code which a model brings is that of its folder, before it is run.

    Raises:
        ModelError: code of another place.
    """
    for file in (*config_files(home), home / TOKENIZER_CONFIG):
        for reference in _references(read_object(file).get("auto_map")):
            place = _CODE.fullmatch(reference) if isinstance(reference, str) else None
            if place is None or not (home / f"{place[1]}.py").is_file():
                raise ModelError(
                    f"model {name!r}: {file.name} takes code from {str(reference)[:100]!r}, which is no file of its folder; "
                    "put a copy of that code there and name it in auto_map, or leave --trust-remote-code out"
                )


def _replaces_ours(auto_map: Any) -> bool:
    """Tell whether an `auto_map` names code for what is loaded here: configuration, model without a head, tokenizer."""
    return any(key in auto_map for key in _AUTO) if isinstance(auto_map, dict) else bool(auto_map)


def _references(auto_map: Any) -> list[Any]:
    """Return what an `auto_map` names: a name for each class, of tokenizers two of which one may be null."""
    values = list(auto_map.values()) if isinstance(auto_map, dict) else [auto_map]
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return [reference for reference in flat if reference is not None]


def _weights(name: str, home: Path, *, allow_pickle: bool) -> list[Path]:
    """Return the files that transformers reads tensors from, with the index of several; none where there are none."""
    for single, index, ending in (_SAFE, _PICKLED) if allow_pickle else (_SAFE,):
        if (home / single).is_file():
            return [home / single]
        if (home / index).is_file():
            return [home / index, *_shards(name, home / index, ending)]
    return []


def _shards(name: str, index: Path, ending: str) -> list[Path]:
    """Return the files that an index of weights names."""
    placed = read_object(index).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise ModelError(f"{index} names no files in weight_map; the model's folder is damaged")
    shards = sorted({str(shard) for shard in placed.values()})
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
    """Refuse files for versions of transformers that aren't files of the folder, of the usual names."""
    for file, entries in ((CONFIG, read_object(home / CONFIG)), (TOKENIZER_CONFIG, settings)):
        key = _VERSIONED[file]
        listed = entries.get(key) or []
        for value in listed if isinstance(listed, list) else [listed]:
            if not isinstance(value, str) or not _is_plain(value) or not is_read(Path(value)):
                raise _elsewhere(name, file, key, value)


def _check_named(
    name: str, home: Path, configs: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]
) -> None:
    """Refuse entries by which weights, code or a tokenizer would come from anywhere but the folder's files."""
    for file, config in configs.items():
        if any(named is not None for named in _anywhere(config, ["transformers_weights"])):
            raise ModelError(
                f"model {name!r}: {file} names the file of its weights (transformers_weights), which isn't supported; "
                f"call that file {_SAFE[0]} and take the entry out"
            )
        for value in _anywhere(config, (*_KERNELS, *(f"{key}_internal" for key in _KERNELS))):
            if "/" in str(value):
                raise _elsewhere(name, file, "attn_implementation", value)
    for file, entries in ((TOKENIZER_CONFIG, settings), (TOKEN_MAP, read_object(home / TOKEN_MAP))):
        for key, value in entries.items():
            if (key in _STAND_INS and value) or _names_file(file, key, value, home):
                raise _elsewhere(name, file, key, value)


def _check_look_alikes(name: str, home: Path) -> None:
    """Refuse what transformers would take for a vocabulary by a part of its name, though it is none that counts."""
    if (home / _FULL_TOKENIZER).is_file():
        return
    names = sorted(path.name for path in home.iterdir())
    taken = [entry for entry in names if any(known in entry for known in (_FULL_TOKENIZER, *_VOCABULARIES))]
    wrong = [entry for entry in taken if entry not in _VOCABULARIES or not (home / entry).is_file()]
    if wrong or len(taken) > 1:
        raise ModelError(
            f"model {name!r}: {home} holds {', '.join(map(repr, wrong or taken))[:200]}, and transformers takes whatever is "
            "called so for the vocabulary; leave one, or give what is no vocabulary another name"
        )


def _check_there(name: str, folder: Path) -> None:
    """Refuse files that would be passed over as if there were none: links to nothing, and folders in their place."""
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
    """Tell whether an entry makes transformers open a file.

    What older versions wrote into tokenizer_config.json is passed over, unless the tokenizer's class doesn't know that
    key; most of it names files that are long gone.
    """
    if not key.endswith("_file") or key == "special_tokens_map_file" or not isinstance(value, str):
        return False
    return file == TOKEN_MAP or _leads_out(value, home)


def _elsewhere(name: str, file: str, key: str, value: Any) -> ModelError:
    return ModelError(
        f"model {name!r}: {file} names {str(value)[:100]!r} as {key}; only the folder's own files are read, by their "
        "usual names: take that entry out"
    )


def _leads_out(named: str, home: Path) -> bool:
    """Tell whether there is a file of that name which isn't in the folder."""
    try:
        return Path(named).is_file() and not Path(named).resolve().is_relative_to(home.resolve())
    except (OSError, ValueError):  # too long, or with a null character: there is none
        return False


def _anywhere(value: Any, keys: Sequence[str]) -> Iterator[Any]:
    """Yield what stands under one of `keys` anywhere in a JSON value."""
    if isinstance(value, dict):
        yield from (inner for key, inner in value.items() if key in keys)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _anywhere(inner, keys)


def _is_plain(named: str) -> bool:
    """Tell whether a name is that of a file beside the one that names it."""
    return named not in ("", ".", "..") and not set(named) & set("/\\\0")


def _check_inside(name: str, root: Path, paths: Iterable[Path]) -> None:
    """Refuse links that lead out of the folder; the hub's cache keeps the bytes of `snapshots/…` in `blobs` beside it."""
    home = root.resolve()
    allowed = [home, *(place.parent / "blobs" for place in home.parents if place.name == "snapshots")]
    for path in paths:
        target = path.resolve()
        if not any(target.is_relative_to(place) for place in allowed):
            raise ModelError(
                f"model {name!r}: {path.relative_to(root)} is a link to {target}, outside the model's folder; put the "
                "file itself there if it belongs to the model"
            )


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the files below a folder, but nothing hidden, and the links to folders, into which nobody goes."""
    files, links = [], []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        links += [path for path in (Path(place, name) for name in folders) if path.is_symlink()]
        files += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    return [path for path in files if path.is_file()], links


def _listed(folder: Path) -> list[Path]:
    """Return the files that stand in a folder itself."""
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def is_read(path: Path) -> bool:
    """Tell whether transformers may read a file of this name."""
    return _matches(path, READ) and not _matches(path, _IDLE)


def _is_of_tokenizer(path: Path) -> bool:
    return is_read(path) and not _matches(path, _OF_CONFIG)


def _counts_anywhere(path: Path, code: bool) -> bool:
    """Tell whether a file counts wherever it lies: code, and where code is run all that it may open."""
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
    # Names may be of any bytes; one of several lines must not pass for several files.
    lines = [
        f"{digest}  {json.dumps(name) if chr(10) in name else name}\n"
        for digest, name in zip(hashes, names, strict=True)
    ]
    return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()
