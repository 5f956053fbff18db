"""A transform on a server: which model it is of, and which requests it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from layerwise._util.display import count_of
from layerwise.arguments import argument
from layerwise.errors import RequestError
from layerwise.mixes import Mix, parse_mix
from layerwise.serving.asks import EncodeAsk
from layerwise.transforms import Transform

if TYPE_CHECKING:
    from layerwise.encode.encoder import Encoder
    from layerwise.encode.request import Request


def model_of(transform: Transform, encoders: Sequence[Encoder]) -> Encoder:
    """Return the model that a transform is of.

    Raises:
        RequestError: none of them; or a transform of vectors that a server doesn't compute.
    """
    rows = transform.fitted
    if rows.of_head:
        raise RequestError(
            f"{argument('transform')} is of the trained mix of a head ({rows.mix}), and a server gives mixes without heads; "
            "export a mix string"
        )
    for encoder in encoders:
        if rows.hashes is None or all(encoder.hashes[name] == value for name, value in rows.hashes.items()):
            _check_mix(transform, encoder)
            return encoder
    served = ", ".join(encoder.checkpoint.name for encoder in encoders)
    raise RequestError(
        f"{argument('transform')} is of the model {rows.model!r:.80}, and these are served: {served}; serve that model, or leave "
        "the transform out"
    )


def _check_mix(transform: Transform, encoder: Encoder) -> None:
    """Raise RequestError where the model can't make the vectors that a transform takes."""
    mix = parse_mix(transform.fitted.mix, encoder.blocks)
    if mix.norm:
        raise RequestError(
            f"{argument('transform')} is of the mix {str(mix)!r}, which standardises with statistics of the exported rows, and a "
            "server doesn't have them; export a mix without norm=layer"
        )
    width = mix.out_width(encoder.widths_of(mix.layers))
    if width != transform.width:
        raise RequestError(
            f"{argument('transform')} takes {count_of(transform.width, 'number')}, and {str(mix)!r} of "
            f"{encoder.checkpoint.name!r} has {width:,}; give the transform of an export of this model"
        )


def completed(transform: Transform, ask: EncodeAsk) -> EncodeAsk:
    """Return what a client asks for, with the mix, the pool and the special tokens of the transform where it doesn't say."""
    rows = transform.fitted
    return replace(
        ask,
        mix=rows.mix if ask.mix is None else ask.mix,
        pool=rows.pool if ask.pool is None and ask.level == rows.level else ask.pool,
        special_tokens=rows.special_tokens if ask.level == rows.level else ask.special_tokens,
    )


def check_fits(transform: Transform, mix: Mix, request: Request) -> None:
    """Check that a transform is of the vectors that a request asks for.

    Raises:
        RequestError: another mix, level or pool, naming both.
    """
    rows = transform.fitted
    for name, asked_for, fitted in (
        ("mix", str(mix), rows.mix),
        ("level", request.level, rows.level),
        ("pool", request.pool, rows.pool),
    ):
        if asked_for != fitted:
            raise RequestError(
                f"{name} {asked_for} is asked for, and the transform of this server is of {name} {fitted}; ask for {fitted}, or "
                "use a server without a transform"
            )
