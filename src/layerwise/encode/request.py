"""The options of loading a model, and those of encoding texts after they were checked against the model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Loading:
    """The arguments of `load_encoder` besides the model's name; part of a pickled encoder."""

    revision: str | None = None
    device: str | None = None
    precision: str = "fp32"
    allow_pickle: bool = False
    trust_remote_code: bool = False
    random: int | None = None


@dataclass(frozen=True)
class Request:
    """The options of encoding, checked against the model.

    Attributes:
        layers: the names of the requested layers, in the order of the request.
        level, pool, special_tokens: how tokens become rows; see `Encoder.encode`.
        long: what is done with a text of more than `max_length` tokens, special ones included.
        overlap: tokens that neighbouring windows share.
        batch_tokens: the maximum number of tokens of a batch.
    """

    layers: tuple[str, ...]
    level: str
    pool: str | None
    special_tokens: bool
    long: str
    max_length: int
    overlap: int
    batch_tokens: int
