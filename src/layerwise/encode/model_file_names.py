"""The names of the files that transformers reads from a model's folder."""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from layerwise.encode.recipe import read_object

CONFIG, TOKENIZER_CONFIG, TOKEN_MAP = "config.json", "tokenizer_config.json", "special_tokens_map.json"
TOKENIZER = "tokenizer.json"
ADAPTER_CONFIG = "adapter_config.json"
# The files that transformers may read besides weights.
READ = ("*.json", "*.txt", "*.model", "*.model.*", "*.tiktoken", "*.spm", "*.codes", "*.tokenizer", "*.py")
# The files among them that no vector depends on: settings of text generation, and records of the training. An adapter
# has hashes of its own.
_IRRELEVANT = (
    ADAPTER_CONFIG,
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
WEIGHTS = (
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.ckpt.*", "*.h5", "*.msgpack", "*.ot", "*.npz"),
    *("*.onnx", "*.onnx_data", "*.gguf", "*.tflite", "*.index", "*.data-*-of-*", "*.keras", "*.pb"),
)
# The name of a single file of weights, of the index of several files, and the ending of their names.
SAFE = ("model.safetensors", "model.safetensors.index.json", ".safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", ".bin")
# The first file of weights that TensorFlow wrote.
TENSORFLOW = ("*.index", "*.data-*-of-*", "*.h5", "*.h5.index.json")
# The configurations of Google's releases, which have no config.json; the first part is the family.
GOOGLE_CONFIGS = ("bert_config*.json", "albert_config*.json", "electra_config*.json")
# The entries that name files for versions of transformers, by the file that they are in.
VERSIONED = {CONFIG: "configuration_files", TOKENIZER_CONFIG: "fast_tokenizer_files"}


def config_files(home: Path) -> list[Path]:
    """Return config.json, and the files that it names for versions of transformers, one of which may replace it.

    A folder without it may have a configuration of Google's.
    """
    listed = read_object(home / CONFIG).get(VERSIONED[CONFIG]) or []
    names = [CONFIG, *(listed if isinstance(listed, list) else [listed])]
    files = [home / name for name in dict.fromkeys(names) if (home / name).is_file()]
    return files or google_configs(home)


def google_configs(home: Path) -> list[Path]:
    """Return the configurations in a folder of Google's; none if it has a config.json, which is read in their place."""
    if (home / CONFIG).is_file():
        return []
    return [path for pattern in GOOGLE_CONFIGS for path in sorted(home.glob(pattern))]


def is_read(path: Path) -> bool:
    """Return whether transformers may read a file of this name, and a vector may depend on it."""
    return matches(path, READ) and not matches(path, _IRRELEVANT)


def matches(path: Path, patterns: Sequence[str]) -> bool:
    """Return whether the name of a file matches one of the patterns, in any case."""
    return any(fnmatch(path.name.lower(), pattern) for pattern in patterns)


def is_plain(name: str) -> bool:
    """Return whether a name is that of a file in the same folder."""
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")
