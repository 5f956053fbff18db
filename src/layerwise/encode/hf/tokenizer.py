"""Load the tokenizer of a model, with its part of the `tokenizers` library that gives offsets."""

from __future__ import annotations

from typing import Any

from transformers import AlbertTokenizer, AutoTokenizer, BertTokenizer, EsmTokenizer

from layerwise._util.silence import no_panic_shown
from layerwise.encode.checkpoint import Checkpoint
from layerwise.encode.esm_tokenizer import rebuilt_description, texts_to_compare
from layerwise.encode.model_errors import model_errors
from layerwise.encode.python_tokenizers import PythonBackend
from layerwise.encode.tokenizer_checks import check_tokens
from layerwise.errors import ModelError


def load_tokenizer(checkpoint: Checkpoint, trust_remote_code: bool) -> tuple[Any, Any]:
    """Return the tokenizer of transformers, and its tokenizer of the `tokenizers` library."""
    with model_errors(checkpoint, "has no tokenizer that can be loaded"), no_panic_shown():
        tokenizer = _of_google(checkpoint) or AutoTokenizer.from_pretrained(
            checkpoint.folder, trust_remote_code=trust_remote_code
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(tokenizer, EsmTokenizer):
        backend = _rebuilt(checkpoint, tokenizer)
    if backend is None:
        with model_errors(checkpoint, f"has a tokenizer ({type(tokenizer).__name__}) that can't be used"):
            backend = PythonBackend(tokenizer)
    if checkpoint.max_length is not None:
        # The settings of sentence-transformers override the tokenizer's, as in sentence-transformers itself.
        tokenizer.model_max_length = checkpoint.max_length
    with model_errors(checkpoint, "has no tokenizer that can be used"), no_panic_shown():
        backend.no_truncation()
        backend.no_padding()
        backend.encode("a")
    check_tokens(checkpoint, tokenizer, backend)
    if checkpoint.lowercase and isinstance(backend, PythonBackend):
        backend.lowercases = True
    elif checkpoint.lowercase:
        _lowercase_first(backend)
    return tokenizer, backend


def _rebuilt(checkpoint: Checkpoint, tokenizer: EsmTokenizer) -> Any:
    """Return the tokenizer of ESM as one of the `tokenizers` library, which gives offsets.

    Raises:
        ModelError: it gives other tokens than the original.
    """
    with model_errors(checkpoint, "has no tokenizer that can be used"), no_panic_shown():
        backend = _from_description(rebuilt_description(tokenizer))
        differing = [
            text
            for text in texts_to_compare(tokenizer)
            if backend.encode(text).ids != tokenizer(text)["input_ids"]
        ]
    if differing:
        raise ModelError(
            f"model {checkpoint.name!r}: its tokenizer (EsmTokenizer), rebuilt with offsets from vocab.txt, gives other tokens "
            f"for {differing[0]!r:.60}; use a vocabulary without added tokens, or one with a tokenizer.json"
        )
    return backend


def _from_description(description: str) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(description)


def _of_google(checkpoint: Checkpoint) -> Any:
    """Return the tokenizer of a folder of Google's, of `vocab.txt` or of a SentencePiece model; None for other folders."""
    if checkpoint.do_lower_case is None:
        return None
    if (checkpoint.folder / "vocab.txt").is_file():
        return BertTokenizer.from_pretrained(checkpoint.folder, do_lower_case=checkpoint.do_lower_case)
    vocabulary = next(checkpoint.folder.glob("*.model"))
    settings = {"vocab_file": str(vocabulary), "do_lower_case": checkpoint.do_lower_case}
    return AlbertTokenizer(**AlbertTokenizer.convert_to_native_format(**settings))


def _lowercase_first(backend: Any) -> None:
    """Make a tokenizer lowercase texts before anything else, unless one of its steps does it already."""
    from tokenizers import normalizers

    normalizer: Any = backend.normalizer
    is_sequence = isinstance(normalizer, normalizers.Sequence)
    steps: list[Any] = [*normalizer] if is_sequence else [] if normalizer is None else [normalizer]
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])
