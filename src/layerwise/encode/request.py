"""How a model is loaded, and what is wanted of each text, after it has been checked against the model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Loading:
    """How a model is loaded: what `load_encoder` takes besides its name. Travels with a pickled encoder."""

    revision: str | None = None
    device: str | None = None
    precision: str = "fp32"
    allow_pickle: bool = False
    trust_remote_code: bool = False
    random: int | None = None


@dataclass(frozen=True)
class Request:
    """What is wanted of each text, checked against the model.

    Attributes:
        layers: names, in the order wanted.
        level, pool, special_tokens: as in the surface; `special_tokens` matters at text level.
        long, max_length, overlap: what is done with a text of more than `max_length` tokens (special ones
            included); windows share `overlap` tokens.
        batch_tokens: tokens of a batch.
    """

    layers: tuple[str, ...]
    level: str
    pool: str | None
    special_tokens: bool
    long: str
    max_length: int
    overlap: int
    batch_tokens: int
