"""Read the settings of a sentence-transformers folder: pooling, maximum length, lower-casing, prompts, and those not applied.

Names and defaults are those of sentence-transformers.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from layerwise._util import json_checks
from layerwise._util.guarded import read_json
from layerwise._util.paths import reason
from layerwise.errors import ModelError
from layerwise.example import clean
from layerwise.wording import Message

MODULES = "modules.json"
# The first of these files with entries is used. Older versions named the file after the family.
SETTINGS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
PROMPTS = "config_sentence_transformers.json"
_POOLS = {"cls": "cls", "max": "max", "mean": "mean", "lasttoken": "eos"}
# Flags of older folders for the pooling, in the order in which several of them are concatenated.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_APPLIED = ("max_seq_length", "do_lower_case")
# Settings with their usual values, and settings that change no vector.
_USUAL: dict[str, Any] = {
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
}
_LAYOUT = ("unpad_inputs",)
_SETTINGS: json_checks.Schema = {"do_lower_case": json_checks.optional(json_checks.flag)}
_POOLING: json_checks.Schema = {
    "pooling_mode": lambda value: (
        json_checks.optional(json_checks.text)(value) or json_checks.list_of(json_checks.text)(value)
    ),
}
# Where a folder has both names, sentence-transformers uses the older one.
_TOKENIZER_SETTINGS = ("tokenizer_args", "processor_kwargs")
_PROMPTS: json_checks.Schema = {
    "prompts": json_checks.optional(json_checks.map_of(json_checks.nullable(json_checks.text))),
    "default_prompt_name": json_checks.optional(json_checks.text),
}


@dataclass(frozen=True)
class Prompts:
    """The prompts of a model: texts to put before its input.

    Attributes:
        texts: the prompts by name.
        default: the name of the one that is used where none is given; None for none.
        included: whether the tokens of a prompt are included in the mean, max and sum of a text.
    """

    texts: Mapping[str, str]
    default: str | None = None
    included: bool = True


NO_PROMPTS = Prompts({})


@dataclass(frozen=True)
class SentenceTransformersRecipe:
    """The settings of a sentence-transformers folder.

    Attributes:
        home: the folder of the transformer, which holds its configuration, weights and tokenizer.
        folders: the folders of all modules.
        pool: a pool of `choices.POOLS`; None without a Pooling module.
        max_length: maximum number of tokens, special ones included; None if not stated.
        lowercase: whether texts are made lower case first.
        prompts: the prompts, by name.
        not_applied: further settings, which aren't applied, as text.
        notes: what the user should know.
        own_code: whether a module is of code that comes with the folder.
    """

    home: Path
    folders: tuple[Path, ...]
    pool: str | None
    max_length: int | None
    lowercase: bool
    prompts: Prompts
    not_applied: tuple[str, ...]
    notes: tuple[str, ...]
    own_code: bool


def read_recipe(name: str, root: Path) -> SentenceTransformersRecipe:
    """Read the recipe of the folder `root`; `name` is the model's, for errors.

    Raises:
        ModelError: invalid entries, a module outside the folder, or a first module that isn't a Transformer.
    """
    modules = _modules(name, root)
    kinds = [kind.rsplit(".", 1)[-1] for kind, _ in modules]
    if kinds[0] != "Transformer":
        raise ModelError(
            f"model {name!r}: its first sentence-transformers module is {kinds[0]!r}, not a Transformer; use a model with one"
        )
    home = modules[0][1]
    settings = _settings(home)
    position = kinds.index("Pooling") if "Pooling" in kinds else None
    pooling = _pooling(name, modules[position][1] / "config.json") if position is not None else {}
    pool, notes = _pool(pooling) if position is not None else (None, ())
    included = bool(pooling.get("include_prompt", True))
    config = read_object(root / PROMPTS, _PROMPTS)
    rest = [kind for number, (kind, _) in enumerate(modules) if number not in (0, position)]
    own_code = [kind for kind, _ in modules if _is_own_code(kind)]
    not_applied = [
        # Transformer and Pooling are applied, except when the folder replaces them by its own code.
        *(f"{kind} (code of its own)" for kind in own_code if kind not in rest),
        *(f"{kind} (code of its own)" if kind in own_code else kind.rsplit(".", 1)[-1] for kind in rest),
        *_unusual(settings),
        *(["include_prompt false for pool cls"] if pool == "cls" and not included else []),
        *_of_folder(config),
    ]
    return SentenceTransformersRecipe(
        home,
        tuple(folder for _, folder in modules),
        pool,
        _max_length(name, settings),
        bool(settings.get("do_lower_case")),
        _prompts(config, included),
        tuple(map(_printable, not_applied)),
        notes,
        bool(own_code),
    )


def read_object(path: Path, entries: json_checks.Schema | None = None) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if there is no file.

    Raises:
        ModelError: no valid JSON, no object, or an entry that doesn't pass its check in `entries`.
    """
    value = _read_json(path, {})
    if not isinstance(value, dict):
        raise ModelError(
            f"{path} holds no JSON object but a {type(value).__name__}, so the model can't be loaded; its folder is damaged"
        )
    wrong = json_checks.first_wrong(value, entries or {})
    if wrong is not None:
        raise ModelError(
            f"{path}: {wrong} is {json_checks.entry(value, wrong)!r:.60}, which isn't valid, so the model "
            "can't be loaded; its folder is damaged"
        )
    return value


def _read_json(path: Path, missing: Any) -> Any:
    if not path.is_file():
        return missing
    try:
        return read_json(path, lenient=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} is no valid JSON ({reason(error)}), so the model can't be loaded; its folder is damaged"
        ) from None


def _modules(name: str, root: Path) -> list[tuple[str, Path]]:
    """Return the type and the folder of each module."""
    path = root / MODULES
    listed = _read_json(path, [])
    if not isinstance(listed, list) or not listed:
        raise ModelError(f"{path} lists no modules; the model's folder is damaged")
    modules = []
    for module in listed:
        kind, where = (module.get("type"), module.get("path")) if isinstance(module, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(where, str) or "\0" in where:
            raise ModelError(f"{path} has a module {str(module)[:60]!r}; each needs a type and a path")
        relative = PurePosixPath(where.replace("\\", "/"))
        if relative.is_absolute() or ".." in relative.parts:
            raise ModelError(
                f"model {name!r}: {MODULES} names {where!r}, which lies outside the model's folder; nothing is loaded from there"
            )
        modules.append((kind, root / relative))
    return modules


def _pooling(name: str, path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(
            f"model {name!r}: {MODULES} names a module Pooling, and its settings {path} don't exist; fetch the model "
            "again"
        )
    return read_object(path, _POOLING)


def _is_own_code(kind: str) -> bool:
    """Return whether a module's type isn't one of sentence-transformers itself."""
    return kind.split(".")[0] != "sentence_transformers"


def _settings(home: Path) -> dict[str, Any]:
    files = (read_object(home / name, _SETTINGS) for name in SETTINGS)
    return next((settings for settings in files if settings), {})


def _max_length(name: str, settings: Mapping[str, Any]) -> int | None:
    """Return the maximum length; one among the settings of the tokenizer has priority."""
    length = settings.get("max_seq_length")
    options = next((settings[key] for key in _TOKENIZER_SETTINGS if key in settings), None)
    if isinstance(options, dict) and "model_max_length" in options:
        length = options["model_max_length"]
    if length is not None and (type(length) is not int or length < 1):
        raise ModelError(
            f"model {name!r}: its sentence-transformers folder asks for a maximum length of {str(length)[:40]!r}; "
            "it must be a whole number of at least 1"
        )
    return length


def _pool(config: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the pool for the configuration of a Pooling module, old or new; mean and a note if layerwise lacks it."""
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [pool for flag, pool in _FLAGS.items() if config.get(flag)] or "mean"
    names = [mode] if isinstance(mode, str) else mode
    if len(names) == 1 and names[0] in _POOLS:
        return _POOLS[names[0]], ()
    stated = _printable("+".join(map(str, names)))
    return "mean", (Message("note.model.pooling", pooling=stated[:60] or str(names)),)


def _unusual(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings of a Transformer that aren't applied."""
    for key, value in settings.items():
        if key in _APPLIED or key in _LAYOUT or value in (None, False, "", [], {}):
            continue
        if key in _TOKENIZER_SETTINGS and isinstance(value, dict) and set(value) == {"model_max_length"}:
            continue
        # How other inputs than texts are read doesn't matter.
        if key == "modality_config" and isinstance(value, dict):
            value = {"text": value.get("text")}
        if value != _USUAL.get(key):
            yield f"{key} {_short(value)}"


def _prompts(config: Mapping[str, Any], included: bool) -> Prompts:
    texts = {name: clean(text or "") for name, text in (config.get("prompts") or {}).items()}
    default = config.get("default_prompt_name")
    return Prompts(texts, default if default in texts else None, included)


def _of_folder(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings of the folder that aren't applied: the name of a prompt that doesn't exist, `truncate_dim`."""
    default = config.get("default_prompt_name")
    if default is not None and default not in (config.get("prompts") or {}):
        yield f"default_prompt_name {_short(default)}, which is none of its prompts"
    if config.get("truncate_dim") is not None:
        yield f"truncate_dim {_short(config['truncate_dim'])}"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(text if len(text) <= 60 else text[:59] + "…")
