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
    adapter: str | None = None


@dataclass(frozen=True)
class Context:
    """How many tokens of its neighbours in a document a text is encoded with.

    Attributes:
        before, after: the largest number of tokens before and after the text.
        in_one_pass: whether a document may go through the model once for all its texts: the model is causal, and no
            text reads what follows it.
    """

    before: int
    after: int
    in_one_pass: bool = False


@dataclass(frozen=True)
class Request:
    """The options of encoding, checked against the model.

    Attributes:
        layers: the names of the requested layers, in the order of the request.
        level, pool, special_tokens: how tokens become rows; see `Encoder.encode`.
        long: what is done with a text of more than `max_length` tokens, special ones included.
        overlap: tokens that neighbouring windows share.
        batch_tokens: the maximum number of tokens of a batch.
        prompt: what is put before each text; None for nothing.
        prompt_tokens: the number of tokens of the prompt alone, without special ones; None without a prompt.
        include_prompt: whether the prompt is included in the mean, max and sum of a text; None without a prompt.
        word_split: what a word of raw text is; see `word_split.split_words`.
        context: tokens of neighbours that each text is encoded with; None for texts alone.
    """

    layers: tuple[str, ...]
    level: str
    pool: str | None
    special_tokens: bool
    long: str
    max_length: int
    overlap: int
    batch_tokens: int
    prompt: str | None = None
    prompt_tokens: int | None = None
    include_prompt: bool | None = None
    word_split: str | None = None
    context: Context | None = None

    @property
    def keep_end(self) -> bool | None:
        """Whether a text that is cut loses its beginning; None for what the tokenizer does."""
        return None

    @property
    def skip(self) -> int | None:
        """See `rows.RowRequest`."""
        return None if self.include_prompt is not False else self.prompt_tokens


@dataclass(frozen=True)
class DirectedRequest(Request):
    """A request that says at which end texts are cut; for answers that aren't stored, as no manifest has room for it."""

    keep_end: bool | None = None


def directed(request: Request, keep_end: bool) -> Request:
    """Return the same request, under which a text that is cut loses its beginning, or its end."""
    return DirectedRequest(**vars(request), keep_end=keep_end)
