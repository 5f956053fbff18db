"""Load an encoder by name."""

import copyreg
import functools
import logging
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from layerwise import choices
from layerwise._util.locks import new_lock
from layerwise._util.once import ToldMessages
from layerwise._util.threads import computing
from layerwise.arguments import argument
from layerwise.encode import int8
from layerwise.encode.checkpoint import STEPS, find_checkpoint, local_folder
from layerwise.encode.devices import choose_device
from layerwise.encode.encoder import Encoder
from layerwise.encode.engine import PlainEngine
from layerwise.encode.hf.loading import load
from layerwise.encode.prompts import prompt_notes
from layerwise.encode.request import Loading
from layerwise.errors import RequestError

_LOG = logging.getLogger("layerwise")
_STEP_NOTES = ToldMessages()
_LOADING = new_lock()
_KEPT = 2  # encoders, each with a model in memory: enough to compare two models


def load_encoder(
    model: str | Path = "minilm",
    *,
    device: str | None = None,
    precision: str = "fp32",
    revision: str | None = None,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    random: int | None = None,
    adapter: str | Path | None = None,
) -> Encoder:
    """Load a pretrained encoder, and log its `notes` as warnings.

    Args:
        model: `minilm` (the offline default), a folder, or a Hugging Face id; one with an adapter too.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; by default the fastest one of this machine.
        precision: `fp32`; `bf16` (faster where the processor has it, less exact); or `int8` (on CPUs with VNNI;
            fastest, least exact).
        revision: a branch, tag or commit on the hub.
        allow_pickle: load weights from a pickle, which can run code.
        trust_remote_code: run code that comes with the model.
        random: a seed for random weights of the same architecture, as before any training, instead of the trained
            ones: a baseline for what architecture and tokenizer give alone.
        adapter: the folder of an adapter of peft, such as LoRA, to merge into the model. A `model` that is an adapter
            brings its own.

    Raises:
        ModelError: an unknown model, no network, or no text encoder.
        RequestError: an unknown device or precision, or one that this machine doesn't have.
    """
    folder = None if adapter is None else str(adapter)
    loading = Loading(revision, device, precision, allow_pickle, trust_remote_code, random, folder)
    encoder = load_quietly(model, loading)
    log_notes(encoder.notes)
    return encoder


def load_without_prompts(model: str | Path = "minilm", **loading: Any) -> Encoder:
    """Load an encoder for a verb that knows what is put before texts: its notes of prompts aren't logged.

    Arguments and errors as for `load_encoder`.
    """
    encoder = load_quietly(model, _loading(**loading))
    log_notes(encoder.notes_besides_prompts)
    return encoder


def load_for_requests(model: str | Path = "minilm", **loading: Any) -> Encoder:
    """Load an encoder for a server, each request of which may name a prompt; arguments and errors as for `load_encoder`."""
    encoder = load_quietly(model, _loading(**loading))
    prompts = encoder.checkpoint.prompts
    log_notes(
        (*encoder.notes_besides_prompts, *prompt_notes(encoder.checkpoint.name, prompts, of_requests=True))
    )
    return encoder


def model_of(model: str | Path | Encoder, **loading: Any) -> Encoder:
    """Return an encoder as it is, or load one by name for a verb that puts no prompt before texts.

    `loading` are the other arguments of `load_encoder`.

    Raises:
        RequestError: an adapter for an encoder, which is loaded already; as of `load_encoder`.
        ModelError: as of `load_encoder`.
    """
    if not isinstance(model, Encoder):
        return load_without_prompts(model, **loading)
    useless = next((name for name, value in loading.items() if value), None)
    if useless is not None:
        raise RequestError(
            f"{argument(useless, loading[useless])} has no effect on a model that is loaded; give it to lw.load_encoder"
        )
    return model


def load_quietly(model: str | Path, loading: Loading) -> Encoder:
    """Load an encoder without logging its notes, for a process whose parent logs them. Errors as for `load_encoder`."""
    with computing():
        return _load(model, loading)


def _loading(**options: Any) -> Loading:
    adapter = options.get("adapter")
    return Loading(**{**options, "adapter": None if adapter is None else str(adapter)})


def log_notes(notes: Iterable[str]) -> None:
    """Log what the user should know of a model, as warnings; of steps that aren't applied once in a process.

    A script loads the same model for many verbs, and these steps concern none of the layers.
    """
    for note in notes:
        if getattr(note, "key", None) != STEPS or _STEP_NOTES.is_new(note):
            _LOG.warning("%s", note)


def _load(model: str | Path, loading: Loading) -> Encoder:
    precision = loading.precision
    choices.one_of("precision", precision, choices.PRECISIONS)
    device = choose_device(loading.device)
    if precision == "int8":
        if device != "cpu":
            raise RequestError(
                f"{argument('precision')} 'int8' runs on a CPU and this is {device!r}; use bf16 or {argument('device', 'cpu')}"
            )
        if (reason := int8.refusal()) is not None:
            raise RequestError(f"{argument('precision')} 'int8' {reason}; use bf16 or fp32")
    # With random weights a pickle isn't read, so it is harmless.
    allow_pickle = loading.allow_pickle or loading.random is not None
    trust = loading.trust_remote_code
    checkpoint = find_checkpoint(
        model, loading.revision, adapter=loading.adapter, allow_pickle=allow_pickle, trust_remote_code=trust
    )
    checkpoint = replace(checkpoint, random=loading.random)
    loaded = load(checkpoint, device=device, precision=precision, trust_remote_code=trust)
    # Record the commit, because a branch may have moved when the encoder is loaded again in another process.
    loading = replace(
        loading, revision=checkpoint.revision, device=device, adapter=_absolute(loading.adapter)
    )
    return Encoder(checkpoint, loaded, loading)


def shared_encoder(model: str | Path = "minilm", loading: Loading | None = None) -> Encoder:
    """Return an encoder that all callers in this process share; load it again if the files of its folder changed.

    Arguments and errors as for `load_encoder`.
    """
    loading = loading or Loading()
    folder = local_folder(model)
    # The files of a model are in its folder, or in the folders of sentence-transformers modules in it.
    paths = [*folder.glob("*"), *folder.glob("*/*")] if folder else []
    paths += Path(loading.adapter).glob("*") if loading.adapter else []
    files = sorted(path for path in paths if path.is_file())
    stamp = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    with _LOADING:  # otherwise two threads might load it twice
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
    random: int | None = None,
    adapter: str | Path | None = None,
) -> Encoder:
    """Load the reference encoder of `verify` and `bench`: plain transformers, one text (or window) per forward, fp32.

    Arguments as for `load_encoder`. Notes of prompts aren't logged: the dataset says what was put before its texts.
    """
    device = choose_device(device)
    folder = None if adapter is None else str(adapter)
    loading = Loading(revision, device, "fp32", allow_pickle, trust_remote_code, random, folder)
    with computing():
        checkpoint = find_checkpoint(
            model,
            revision,
            adapter=folder,
            allow_pickle=allow_pickle or random is not None,
            trust_remote_code=trust_remote_code,
        )
        checkpoint = replace(checkpoint, random=random)
        loaded = load(checkpoint, device=device, trust_remote_code=trust_remote_code)
        encoder = Encoder(checkpoint, loaded, loading, engine=PlainEngine)
    log_notes(encoder.notes_besides_prompts)
    return encoder


def _absolute(adapter: str | None) -> str | None:
    """Return the absolute path of a folder, as the working directory may change before it is read again."""
    return None if adapter is None else str(Path(adapter).expanduser().absolute())


def _reduced(encoder: Encoder) -> tuple[Any, ...]:
    """Pickle an encoder as its name and the arguments of loading: the receiving process loads the model, once."""
    if encoder.is_plain:
        raise TypeError("an encoder of plain forwards is a reference and doesn't travel to other processes")
    return shared_encoder, (encoder.home, encoder.loading)


copyreg.pickle(Encoder, _reduced)
