"""Loading an encoder by name."""

import copyreg
import functools
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from layerwise import choices
from layerwise._util.locks import new_lock
from layerwise._util.threads import computing
from layerwise.encode import hf, int8
from layerwise.encode.checkpoint import find_checkpoint, local_folder
from layerwise.encode.encoder import Encoder
from layerwise.encode.engine import PlainEngine
from layerwise.encode.request import Loading
from layerwise.errors import RequestError

_LOG = logging.getLogger("layerwise")
_LOADING = new_lock()
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
    """Load a pretrained encoder; what the user should be told of it is logged, and stands in its `notes`.

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
    loading = Loading(revision, device, precision, allow_pickle, trust_remote_code, random)
    return _told(load_untold(model, loading))


def load_untold(model: str | Path, loading: Loading) -> Encoder:
    """Load an encoder for a process whose parent tells what there is to tell. Errors as for `load_encoder`."""
    with computing():
        return _load(model, loading)


def _told(encoder: Encoder) -> Encoder:
    for note in encoder.notes:
        _LOG.warning("%s", note)
    return encoder


def _load(model: str | Path, loading: Loading) -> Encoder:
    precision = loading.precision
    choices.one_of("precision", precision, choices.PRECISIONS)
    device = _device(loading.device)
    if precision == "int8":
        if device != "cpu":
            raise RequestError(
                f"precision 'int8' runs on a CPU and this is {device!r}; take bf16 or --device cpu"
            )
        if (why := int8.refusal()) is not None:
            raise RequestError(f"precision 'int8' {why}; take bf16 or fp32")
    # Of weights that aren't read no pickle can do harm.
    allowed = loading.allow_pickle or loading.random is not None
    trusted = loading.trust_remote_code
    checkpoint = find_checkpoint(model, loading.revision, allow_pickle=allowed, trust_remote_code=trusted)
    checkpoint = replace(checkpoint, random=loading.random)
    loaded = hf.load(checkpoint, device=device, precision=precision, trust_remote_code=trusted)
    # The revision is the one that was found: a branch may have moved on when the encoder is loaded again.
    loading = replace(loading, revision=checkpoint.revision, device=device)
    return Encoder(checkpoint, loaded, loading)


def shared_encoder(model: str | Path = "minilm", loading: Loading | None = None) -> Encoder:
    """Return an encoder that is loaded once a process, whoever asks; a folder that changed is loaded anew.

    Arguments and errors as for `load_encoder`.
    """
    loading = loading or Loading()
    folder = local_folder(model)
    encoder = [*folder.glob("*"), *folder.glob("*/*")] if folder else []
    files = sorted(path for path in encoder if path.is_file())
    stamp = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    with _LOADING:  # two threads would load it twice
        return _shared(str(folder or model), loading, stamp)


@functools.lru_cache(_KEPT)
def _shared(model: str, loading: Loading, _: object) -> Encoder:
    return load_encoder(model, **asdict(loading))


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
    loading = Loading(revision, device, "fp32", allow_pickle, trust_remote_code)
    with computing():
        checkpoint = find_checkpoint(
            model, revision, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code
        )
        loaded = hf.load(checkpoint, device=device, trust_remote_code=trust_remote_code)
        return _told(Encoder(checkpoint, loaded, loading, engine=PlainEngine))


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
        devices = ", ".join([*present, *_numbered()])
        raise RequestError(f"device {device!r} isn't on this machine; there is {devices}")
    return device


def _numbered() -> list[str]:
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def _reduced(encoder: Encoder) -> tuple[Any, ...]:
    """Let an encoder travel to another process as a name: the model is loaded there, once."""
    if encoder.is_plain:
        raise TypeError("an encoder of plain forwards is a reference and doesn't travel to other processes")
    return shared_encoder, (encoder.home, encoder.loading)


copyreg.pickle(Encoder, _reduced)
