"""The files of an adapter, such as LoRA: its base, and the hashes that become part of the model's. Nothing is loaded here.

An adapter is a folder that the `peft` library wrote, with `adapter_config.json` and its weights. `adapters` merges it.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise._util.guarded import check_model_folder
from layerwise._util.paths import reason
from layerwise._util.temporary import TemporaryFolder
from layerwise.arguments import argument
from layerwise.encode.model_file_names import ADAPTER_CONFIG, TOKENIZER
from layerwise.encode.model_files import ModelFiles, files_of_names
from layerwise.encode.recipe import read_object
from layerwise.errors import ModelError
from layerwise.wording import Message, some

WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"
# Kinds that change the computation and no weights, so that they can't be merged.
_LEARNED_INPUT = "puts learned vectors before each text"
_NOT_WEIGHTS = {
    "PROMPT_TUNING": _LEARNED_INPUT,
    "MULTITASK_PROMPT_TUNING": _LEARNED_INPUT,
    "P_TUNING": _LEARNED_INPUT,
    "CPT": _LEARNED_INPUT,
    "PREFIX_TUNING": "puts learned keys and values before those of each block",
    "CARTRIDGE": "puts learned keys and values before those of each block",
    "ADAPTION_PROMPT": "adds an attention to learned vectors",
    "XLORA": "chooses among several adapters for each token",
    "POLY": "chooses among several adapters for each task",
}
# What the names of an adapter's unused tensors begin with.
_OF_ADAPTER = "adapter: "
# Entries of a configuration that import other packages, or change which blocks there are.
_REFUSED_ENTRIES = ("layer_replication", "megatron_config")
_VOCABULARY_FILES = (
    TOKENIZER,
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
)


@dataclass(frozen=True)
class Adapter:
    """An adapter of a model.

    Attributes:
        name: the folder as the user gave it; None where the model's own folder is or holds the adapter.
        files: `weights` and `config`.
        kind: as peft names it, `LORA`.
        base, base_revision: the model that it was trained on, as it names it; None where it names none.
        entries: its configuration.
    """

    name: str | None
    files: ModelFiles
    kind: str
    base: str | None
    base_revision: str | None
    entries: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder that holds the files."""
        return self.files.root

    def hashes(self) -> dict[str, str]:
        """Return SHA-256 of the weights and of the configuration.

        Raises:
            ModelError: a file has changed since it was found.
        """
        hashes = self.files.hashes()
        return {"weights": hashes["weights"], "config": hashes["config"]}

    def merged_hash(self, weights: str) -> str:
        """Return the hash of base weights of the hash `weights` with this adapter."""
        hashes = self.hashes()
        return hashlib.sha256(
            f"{weights} adapter {hashes['weights']} {hashes['config']}".encode()
        ).hexdigest()

    @property
    def description(self) -> dict[str, Any]:
        """Folder, kind, base and hashes, for manifests, heads and `info`."""
        return {
            "folder": self.name,
            "kind": self.kind,
            "base": self.base,
            "base_revision": self.base_revision,
            **self.hashes(),
        }


def is_adapter(folder: Path) -> bool:
    """Return whether a folder is or holds an adapter."""
    return (folder / ADAPTER_CONFIG).exists()


def stored_adapter(stored: str | None, model: str | Path | None, adapter: str | None) -> str | None:
    """Return the adapter to load with the model of a dataset or head.

    Args:
        stored: the folder of its adapter, if it had one beside its model.
        model: where the model is now, if it isn't where it was; it may be or hold the adapter.
        adapter: where the adapter is now, if it isn't where it was.
    """
    if adapter is not None or (model is not None and is_adapter(Path(model).expanduser())):
        return adapter
    return stored


def find_adapter(name: str, *, allow_pickle: bool = False) -> Adapter:
    """Return the adapter in the folder `name`, for a model that is named beside it.

    Raises:
        ModelError: no folder, no adapter, or one that can't be merged.
    """
    folder = Path(name).expanduser()
    what = f"{argument('adapter')} {name!r:.200}"
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "doesn't exist"
        raise ModelError(
            f"{what} {state}; give the folder that holds {ADAPTER_CONFIG} (an adapter on the hub is given as "
            f"{argument('model')})"
        )
    if not is_adapter(folder):
        inner = sorted(path.parent.name for path in folder.glob(f"*/{ADAPTER_CONFIG}"))
        hint = f"one of its folders, {', '.join(inner)[:200]}" if inner else "the right folder"
        raise ModelError(f"{what} holds no {ADAPTER_CONFIG}, so it is no adapter of peft; give {hint}")
    return read_adapter(name, folder.absolute(), allow_pickle=allow_pickle, beside=True)


def read_adapter(
    name: str,
    folder: Path,
    further: tuple[str, ...] = (),
    *,
    allow_pickle: bool = False,
    beside: bool = False,
) -> Adapter:
    """Return the adapter in a folder.

    Args:
        name: the name that the user gave, for errors too.
        folder: the absolute path.
        further: the names of other files in it that change vectors.
        allow_pickle: whether its weights may be in a pickle.
        beside: whether its base is named beside it.

    Raises:
        ModelError: files that can't be read, or an adapter that can't be merged.
    """
    try:
        check_model_folder(folder)
        entries = read_object(folder / ADAPTER_CONFIG)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"adapter {name!r} can't be loaded: {reason(error)}; put the right file there"
        ) from None
    kind = entries.get("peft_type")
    if not isinstance(kind, str) or not kind:
        raise ModelError(
            f"adapter {name!r}: its {ADAPTER_CONFIG} has no peft_type, so peft didn't write it; merge it into its base with "
            "the library that wrote it, and give the folder of the result"
        )
    _check_kind(name, kind, entries)
    base, revision = (_text(entries.get(key)) for key in ("base_model_name_or_path", "revision"))
    weights = _weights(name, folder, allow_pickle)
    files = files_of_names(folder, (weights,), tuple(sorted({ADAPTER_CONFIG, *further})))
    return Adapter(name if beside else None, files, kind, base, revision, entries)


def tokenizer_notes(name: str, adapter: Adapter, base: Path) -> tuple[str, ...]:
    """Return a note where an adapter's folder holds another tokenizer than its base's, which isn't read."""
    if adapter.folder == base:
        return ()
    both = [
        file for file in _VOCABULARY_FILES if (adapter.folder / file).is_file() and (base / file).is_file()
    ]
    differing = next(
        (file for file in both if _content(adapter.folder / file) != _content(base / file)), None
    )
    if differing is None:
        return ()
    return (Message("note.model.adapter.tokenizer", model=repr(name), file=differing),)


@contextlib.contextmanager
def without_adapter(folder: Path) -> Iterator[Path]:
    """Yield a folder; of one that holds an adapter a copy without it, of links: transformers would load it, unmerged."""
    if not is_adapter(folder):
        yield folder
        return
    with TemporaryFolder() as temporary:
        links = temporary.path / folder.name
        links.mkdir()
        for path in folder.iterdir():
            if path.name != ADAPTER_CONFIG:
                (links / path.name).symlink_to(path.resolve())
        yield links


def unused_of_adapter(names: Iterable[str]) -> tuple[str, ...]:
    """Return tensors of an adapter that aren't used, as they are listed among those of its model."""
    return tuple(f"{_OF_ADAPTER}{name}" for name in names)


def head_notes(name: str, unused: Iterable[str]) -> tuple[str, ...]:
    """Return a note for tensors of an adapter that belong to a head; `unused`: those of the model and the adapter."""
    names = [tensor.removeprefix(_OF_ADAPTER) for tensor in unused if tensor.startswith(_OF_ADAPTER)]
    if not names:
        return ()
    return (Message("note.model.adapter.head", model=repr(name), n=len(names), names=some(names, 3)),)


def _content(path: Path) -> Any:
    """Return the content of a file of a tokenizer, without the settings of truncation and padding, which aren't used."""
    if path.name != TOKENIZER:
        return path.read_bytes()
    return {key: value for key, value in read_object(path).items() if key not in ("truncation", "padding")}


def _check_kind(name: str, kind: str, entries: dict[str, Any]) -> None:
    """Raise ModelError for an adapter that can't be merged into weights."""
    if kind in _NOT_WEIGHTS:
        raise ModelError(
            f"adapter {name!r:.200} is of the kind {kind}, which {_NOT_WEIGHTS[kind]} and changes no weights, so it can't be "
            "merged into its base; use an adapter of weights, such as LoRA"
        )
    for key in _REFUSED_ENTRIES:
        if entries.get(key):
            raise ModelError(
                f"adapter {name!r:.200} has {key} ({json.dumps(entries[key])[:60]}) in its {ADAPTER_CONFIG}, which isn't "
                "supported; merge it into its base (merge_and_unload of peft) and give the folder of the result"
            )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _weights(name: str, folder: Path, allow_pickle: bool) -> str:
    """Return the name of the file of weights."""
    if (folder / WEIGHTS).is_file():
        return WEIGHTS
    if not (folder / PICKLED).is_file():
        raise ModelError(f"adapter {name!r}: {folder} holds no {WEIGHTS}; fetch the adapter again")
    if not allow_pickle:
        raise ModelError(
            f"adapter {name!r} has its weights in a pickle ({PICKLED}), which can run code when it is read; use a version "
            f"with {WEIGHTS}, or {argument('allow_pickle', True)} if you trust it"
        )
    return PICKLED
