"""Loading an encoder by name."""

import functools
import threading
from dataclasses import replace
from pathlib import Path

import torch

from layerwise import names
from layerwise.encode import hf, int8
from layerwise.encode.checkpoint import find_checkpoint, local_folder
from layerwise.encode.encoder import Encoder
from layerwise.encode.engine import PlainEngine
from layerwise.errors import RequestError

_LOADING = threading.Lock()
_KEPT = 2  # encoders: as many as are compared with each other, for each holds a model


def load_encoder(
    model: str | Path = "minilm",
    *,
    device: str | None = None,
    precision: str = "fp32",
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    random: int | None = None,
) -> Encoder:
    """Load a pretrained encoder.

    Args:
        model: `minilm` (the offline default), a folder, or a Hugging Face id.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; the fastest one present by default.
        precision: `fp32`; `bf16` (faster where the processor has it, less exact); or `int8` (on CPUs with VNNI;
            fastest, least exact).
        revision: a branch, tag or commit on the hub.
        allow_pickle: load weights from a pickle, which can run code.
        trust_remote_code: run code that comes with the model.
        random: a seed; the same architecture with weights drawn by it, as before any training, instead of the
            trained ones: what architecture and tokenizer give alone.

    Raises:
        ModelError: an unknown model, no network, or no text encoder.
        RequestError: an unknown device or precision, or one that this machine hasn't.
    """
    names.one_of("precision", precision, names.PRECISIONS)
    device = _device(device)
    if precision == "int8":
        if device != "cpu":
            raise RequestError(
                f"precision 'int8' runs on a CPU and this is {device!r}; take bf16 or --device cpu"
            )
        if (why := int8.refusal()) is not None:
            raise RequestError(f"precision 'int8' {why}; take bf16 or fp32")
    # Of weights that aren't read no pickle can do harm.
    found = find_checkpoint(model, revision, allow_pickle=allow_pickle or random is not None)
    found = replace(found, random=random)
    loaded = hf.load(
        found,
        device=device,
        precision=precision,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )
    return Encoder(found, loaded, device=device, precision=precision)


def shared_encoder(
    model: str | Path = "minilm",
    revision: str | None = None,
    device: str | None = None,
    precision: str = "fp32",
    random: int | None = None,
) -> Encoder:
    """Return an encoder that is loaded once a process, whoever asks; a folder that changed is loaded anew.

    Arguments and errors as for `load_encoder`.
    """
    folder = local_folder(model)
    found = [*folder.glob("*"), *folder.glob("*/*")] if folder else []
    files = sorted(path for path in found if path.is_file())
    stamp = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    with _LOADING:  # two threads would load it twice
        return _shared(str(folder or model), revision, device, precision, random, stamp)


@functools.lru_cache(_KEPT)
def _shared(
    model: str, revision: str | None, device: str | None, precision: str, random: int | None, _: object
) -> Encoder:
    return load_encoder(model, revision=revision, device=device, precision=precision, random=random)


def load_plain_encoder(
    model: str | Path,
    *,
    device: str | None = None,
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> Encoder:
    """Load an encoder that only does what transformers does: one text (or window) per forward, in fp32.

    It is slow, and the reference that `verify` and `bench` compare with. Arguments as for `load_encoder`.
    """
    device = _device(device)
    found = find_checkpoint(model, revision, allow_pickle=allow_pickle)
    loaded = hf.load(found, device=device, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    return Encoder(found, loaded, device=device, precision="fp32", engine=PlainEngine)


def device_of(device: str | None, process: int | None = None) -> str:
    """Return the device that is meant: the fastest there is without a name, and of several GPUs one per `process`.

    Raises:
        RequestError: a device that isn't here.
    """
    name = _device(device)
    if name == "cuda" and process is not None:
        return f"cuda:{process % torch.cuda.device_count()}"
    return name


def _device(device: str | None) -> str:
    present = ["cpu"]
    if torch.cuda.is_available():
        present.insert(0, "cuda")
    elif torch.backends.mps.is_available():
        present.insert(0, "mps")
    if device is None:
        return present[0]
    if device not in present and device not in _numbered():
        there = ", ".join([*present, *_numbered()])
        raise RequestError(f"device {device!r} isn't on this machine; there is {there}")
    return device


def _numbered() -> list[str]:
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
