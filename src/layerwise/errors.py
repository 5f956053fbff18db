"""All errors that layerwise raises on purpose.

    LayerwiseError
    ├── RequestError     an argument that can't be carried out (layers, pools, levels, options)
    ├── SourceError      a corpus that can't be read
    ├── ModelError       a model or tokenizer that can't be used
    ├── DatasetError     a dataset on disk that is missing, damaged, of another format version, or in use
    ├── HeadError        a trained head that is missing, damaged, of another format version, or of another model
    └── OutputError      a place that can't be written to

A message is one line: what was got, what is allowed, what to do.
"""


class LayerwiseError(Exception):
    """Base of all errors that layerwise raises on purpose; the command line shows it and exits with 2."""

    def __str__(self) -> str:
        """Return the message in one line, whatever names and entries of files it quotes."""
        return " ".join(super().__str__().splitlines())


class RequestError(LayerwiseError, ValueError):
    """An argument that can't be carried out: a layer, pool, level, mix or option."""


class SourceError(LayerwiseError):
    """A corpus that can't be read: missing, empty, broken, in another encoding."""


class ModelError(LayerwiseError):
    """A model or tokenizer that is unknown, unreachable, unsafe to load, or no text encoder."""


class DatasetError(LayerwiseError):
    """A dataset on disk that is missing, damaged, of another format version, in use, or made with other settings."""


class HeadError(LayerwiseError):
    """A trained head that is missing, damaged, of another format version, or doesn't belong to the model."""


class OutputError(LayerwiseError):
    """A place that can't be written to: a full disk, a read-only folder, a file where a folder should be."""
