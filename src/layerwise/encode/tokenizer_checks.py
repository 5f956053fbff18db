"""Checks of a tokenizer that a model was loaded with: refusals, and notes for the user.

transformers makes a tokenizer of almost any folder. Without a vocabulary it makes one to which each word is unknown;
with the files of another model it makes one whose numbers mean other tokens. Both give vectors without an error.
"""

from typing import Any

from layerwise.encode.checkpoint import Checkpoint
from layerwise.errors import ModelError
from layerwise.wording import Message

_BLANK_TOKENS = ("", " ", "\u2581", "\u0120")
_CASED = 0.01  # share of a vocabulary's entries with capitals; fewer are stray letters


def check_tokens(checkpoint: Checkpoint, tokenizer: Any, backend: Any) -> None:
    """Check that a tokenizer has a vocabulary, and that its unknown token is in it.

    Args:
        checkpoint: the model, for errors.
        tokenizer: the tokenizer of transformers.
        backend: its tokenizer of the `tokenizers` library.

    Raises:
        ModelError: no tokens but special ones, or an unknown token that is none of the tokens.
    """
    tokens = set(backend.get_vocab(with_added_tokens=True))
    if tokens <= {*tokenizer.all_special_tokens, *_BLANK_TOKENS}:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer ({type(tokenizer).__name__}) knows no tokens but the {len(tokens)} "
            "special ones, so no vocabulary was found or it is empty; put the files of the model's tokenizer into its folder"
        )
    try:
        valid = tokenizer.unk_token_id is None or tokenizer.unk_token in tokens
    except RecursionError:  # transformers looks up a missing token as the unknown token, again and again
        valid = False
    if not valid:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer's unknown token {tokenizer.unk_token!r:.60} is none of its tokens; "
            "correct unk_token in tokenizer_config.json, or special_tokens_map.json"
        )


def casing_notes(checkpoint: Checkpoint, backend: Any) -> tuple[str, ...]:
    """Return a note where a tokenizer makes texts lower case although its vocabulary has capitals.

    transformers makes texts lower case for a folder with nothing but vocab.txt, as the first BERT did.
    """
    if checkpoint.lowercase or backend.normalizer is None or type(backend.model).__name__ != "WordPiece":
        return ()
    if backend.normalizer.normalize_str("A") != "a":
        return ()
    words = [word for word in backend.get_vocab(False) if not (word.startswith("[") and word.endswith("]"))]
    cased = sum(word != word.lower() for word in words)
    if cased <= _CASED * len(words):
        return ()
    return (Message("note.model.cased", model=repr(checkpoint.name), cased=cased, of=len(words)),)


def mismatch_notes(config: Any, tokenizer: Any, padding_idx: int | None) -> tuple[str, ...]:
    """Return a note for each special token that has another number in the tokenizer than in the model.

    Args:
        config: the model's configuration.
        tokenizer: the tokenizer of transformers.
        padding_idx: the number of the padding token in the model's table of positions.
    """
    pairs = {
        "padding": (tokenizer.pad_token_id, padding_idx),
        "mask": (tokenizer.mask_token_id, getattr(config, "mask_token_id", None)),
    }
    return tuple(
        Message(f"note.model.mismatch.{role}", tokenizer=str(of_tokenizer), model=str(of_model))
        for role, (of_tokenizer, of_model) in pairs.items()
        if of_tokenizer is not None and of_model is not None and of_tokenizer != of_model
    )


def vocabulary_notes(checkpoint: Checkpoint, backend: Any, entries: int) -> tuple[str, ...]:
    """Return a note where the vocabulary beside weights of TensorFlow is smaller than the embedding table.

    Those of Google's releases have equal sizes. Other tables are often padded, so that their size says nothing.

    Args:
        checkpoint: the model.
        backend: its tokenizer of the `tokenizers` library.
        entries: the number of entries of the table.
    """
    tokens = len(backend.get_vocab(with_added_tokens=True))
    if tokens >= entries or not checkpoint.files.of_tensorflow:
        return ()
    return (Message("note.model.vocabulary", model=repr(checkpoint.name), tokens=tokens, entries=entries),)
