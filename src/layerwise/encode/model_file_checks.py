"""Refuse a model's folder whose files lead elsewhere: to links, other folders, the hub, or code.

The hashes of a model cover the files of its folder (`model_files`). A file from another place could change without
another hash, or run code, so everything that makes transformers read one is refused.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from layerwise.arguments import argument
from layerwise.encode.model_file_names import (
    CONFIG,
    SAFE,
    TOKEN_MAP,
    TOKENIZER_CONFIG,
    VERSIONED,
    WEIGHTS,
    config_files,
    is_plain,
    is_read,
    matches,
)
from layerwise.encode.recipe import read_object
from layerwise.errors import ModelError

# Entries of a tokenizer's configuration that would replace the folder's files.
_REPLACEMENTS = ("vocab", "merges", "gguf_file", "init_inputs")
# Entries that may name a kernel on the hub, which is code.
_KERNELS = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
)
# Without a tokenizer.json, transformers reads the first file whose name contains one of the others as the vocabulary,
# in the order in which the system lists files.
_FULL_TOKENIZER, _VOCABULARIES = "tokenizer.json", ("tekken.json", "tokenizer.model", "tiktoken.model")
# Endings of files; transformers ignores a folder with such a name.
_NEVER_FOLDERS = (".json", ".txt", ".model")
# A reference to code: FILE.CLASS, or FOLDER/FILE.CLASS.
_CODE = re.compile(r"((?:\w+/)*\w+)\.\w+")


def check_files(name: str, folder: Path) -> None:
    """Raise ModelError for files that transformers would ignore: broken links, and folders with the name of a file."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not (is_read(path) or matches(path, WEIGHTS)):
            continue
        if path.is_symlink() and not path.exists():
            raise ModelError(
                f"model {name!r}: {path} is a link to {str(path.readlink())!r:.200}, which doesn't exist; fetch the model again, "
                "or remove the link"
            )
        if path.is_dir() and path.suffix in _NEVER_FOLDERS:
            raise ModelError(f"model {name!r}: {path} is a folder; put the right file there, or remove it")


def check_versioned(name: str, home: Path, settings: Mapping[str, Any]) -> None:
    """Raise ModelError for files for versions of transformers that are in another place or have unusual names."""
    for file, entries in ((CONFIG, read_object(home / CONFIG)), (TOKENIZER_CONFIG, settings)):
        key = VERSIONED[file]
        listed = entries.get(key) or []
        for value in listed if isinstance(listed, list) else [listed]:
            if not isinstance(value, str) or not is_plain(value) or not is_read(Path(value)):
                raise _other_place(name, file, key, value)


def check_entries(
    name: str, home: Path, configs: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]
) -> None:
    """Raise ModelError for entries by which weights, code or tokenizer would come from another place."""
    for file, config in configs.items():
        if any(value is not None for value in _nested(config, ["transformers_weights"])):
            raise ModelError(
                f"model {name!r}: {file} names the file of its weights (transformers_weights), which isn't supported; "
                f"call that file {SAFE[0]} and remove the entry"
            )
        for value in _nested(config, (*_KERNELS, *(f"{key}_internal" for key in _KERNELS))):
            if "/" in str(value):
                raise _other_place(name, file, "attn_implementation", value)
    for file, entries in ((TOKENIZER_CONFIG, settings), (TOKEN_MAP, read_object(home / TOKEN_MAP))):
        for key, value in entries.items():
            if (key in _REPLACEMENTS and value) or _names_file(file, key, value, home):
                raise _other_place(name, file, key, value)


def check_vocabulary(name: str, home: Path) -> None:
    """Raise ModelError for files that transformers would read as the vocabulary because of a part of their names."""
    if (home / _FULL_TOKENIZER).is_file():
        return
    names = sorted(path.name for path in home.iterdir())
    matches = [entry for entry in names if any(part in entry for part in (_FULL_TOKENIZER, *_VOCABULARIES))]
    wrong = [entry for entry in matches if entry not in _VOCABULARIES or not (home / entry).is_file()]
    if wrong or len(matches) > 1:
        raise ModelError(
            f"model {name!r}: {home} holds {', '.join(map(repr, wrong or matches))[:200]}, and transformers reads any "
            "file with such a name as the vocabulary; keep one of them, and rename files that are no vocabulary"
        )


def check_inside(name: str, root: Path, paths: Iterable[Path]) -> None:
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


def _references(auto_map: Any) -> list[Any]:
    """Return the classes that an `auto_map` names; for tokenizers it has lists of two, one of which may be null."""
    values = list(auto_map.values()) if isinstance(auto_map, dict) else [auto_map]
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return [reference for reference in flat if reference is not None]


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
        "usual names: remove that entry"
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
