"""show: every layer of one text."""

from pathlib import Path

from layerwise import choices
from layerwise._util.threads import choose
from layerwise.encode.computing import computing
from layerwise.encode.load import load_encoder
from layerwise.encode.overview import Overview, overview
from layerwise.layers import LayerSpec


def show(
    text: str,
    *,
    model: str | Path = "minilm",
    revision: str | None = None,
    device: str | None = None,
    layers: LayerSpec = "all",
    level: str = "text",
    pool: str | None = None,
    special_tokens: bool = True,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    threads: int | None = None,
) -> Overview:
    """Return every layer of one text. Arguments and errors as for `load_encoder` and `Encoder.encode`.

    `threads` is how many to compute with; see `lw.extract`.
    """
    choose(threads)
    choices.one_of("level", level, ("token", "word", "text"))
    with computing(threads):
        encoder = load_encoder(
            model,
            device=device,
            revision=revision,
            allow_pickle=allow_pickle,
            trust_remote_code=trust_remote_code,
        )
        states = encoder.encode([text], layers, level, pool, special_tokens=special_tokens)
    return overview(encoder, states)
