"""What is said of a folder that lacks the configuration or the weights of a model."""

from collections.abc import Iterator
from pathlib import Path

from layerwise._util.folder_kinds import other_kind
from layerwise.arguments import argument
from layerwise.encode.model_file_names import CONFIG, google_configs
from layerwise.encode.tensorflow.bundle import INDEX
from layerwise.encode.tensorflow.folder import find_weights
from layerwise.errors import ModelError

# Weights that aren't read.
_UNREAD = {
    "*.msgpack": "a file of Flax",
    "*.keras": "an archive of Keras",
    "*.h5": "a file of Keras",
    "saved_model.pb": "a SavedModel of TensorFlow without its variables",
    "*.ckpt": "a file of PyTorch Lightning, or of a version of TensorFlow before 1.0",
    "*.npz": "a file of numpy",
    "*.gguf": "a file of llama.cpp",
    "*.onnx": "a file of ONNX",
    "*.ot": "a file of rust-bert",
    "*.tflite": "a file of LiteRT",
}


def is_prefix(path: Path) -> bool:
    """Return whether a path is that of a checkpoint of TensorFlow without the endings of its files, as its tools take it."""
    try:
        return bool(path.name) and path.with_name(f"{path.name}{INDEX}").is_file()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def check_config(name: str, home: Path) -> None:
    """Check that a folder has a config.json, or one configuration of Google's.

    Raises:
        ModelError: none, or several.
    """
    configs = google_configs(home)
    if len(configs) > 1:
        shown = ", ".join(path.name for path in configs)
        raise ModelError(
            f"model {name!r}: {home} holds several configurations ({shown:.200}); keep one of them"
        )
    if configs or (home / CONFIG).is_file():
        return
    inner = [path.name for path in _folders(home) if (path / CONFIG).is_file() or google_configs(path)]
    other = other_kind(home, "a model")
    if other is not None:
        raise ModelError(f"model {name!r}: {home} is {other}; give the folder of a model")
    hint = f"; give one of its folders, {', '.join(inner):.200}" if inner else "; give the folder of a model"
    if find_weights(name, home):
        hint = "; its weights are of TensorFlow: put the configuration beside them (bert_config.json, or config.json)"
    raise ModelError(f"model {name!r}: {home} holds no config.json, so it is no transformers model{hint}")


def without_weights(name: str, home: Path, revision: str | None) -> ModelError:
    """Return the error for a folder without weights that are read; `revision`: that of the hub, if it is from there."""
    data = next(iter(sorted(home.glob("*.data-?????-of-?????"))), None)
    if data is not None:
        index = f"{data.name.rsplit('.data-', 1)[0]}{INDEX}"
        return ModelError(
            f"model {name!r}: {index}, which belongs to {data.name}, is missing; fetch it as well"
        )
    if any(home.glob("pytorch_model*.bin")):
        return ModelError(
            f"model {name!r} has its weights in a pickle, which can run code when it is read; "
            f"use a version with safetensors, or {argument('allow_pickle', True)} if you trust it"
        )
    unread = [(path.name, kind) for pattern, kind in _UNREAD.items() for path in sorted(home.glob(pattern))]
    if unread:
        return ModelError(
            f"model {name!r} has its weights in {unread[0][0]!r}, {unread[0][1]}, which isn't read; use a version with "
            "model.safetensors, or with a checkpoint of TensorFlow (.index and .data files, or tf_model.h5)"
        )
    pickle = f"; if its weights are a pickle, {argument('allow_pickle', True)} loads them"
    hint = pickle if revision else "; put the weights of the model there"
    return ModelError(f"model {name!r}: {home} holds no model.safetensors{hint}")


def _folders(home: Path) -> Iterator[Path]:
    return (path for path in sorted(home.iterdir()) if path.is_dir()) if home.is_dir() else iter(())
